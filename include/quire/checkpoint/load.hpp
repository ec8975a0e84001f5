#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <quire/checkpoint/config.hpp>
#include <quire/checkpoint/generation_config.hpp>
#include <quire/checkpoint/gguf/config.hpp>
#include <quire/checkpoint/gguf/file.hpp>
#include <quire/checkpoint/gguf/tensors.hpp>
#include <quire/checkpoint/gguf/tokenizer.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/tensor_file/tensor_file.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/checkpoint/tokenizer.hpp>
#include <quire/checkpoint/weight_image.hpp>

namespace quire::checkpoint {

/// Everything that a Hugging Face directory, or a GGUF file, says about a model.
struct Checkpoint {
  std::string directory;  // or file
  ModelConfig config;
  GenerationConfig generation;
  TensorSet tensors;
  std::optional<Tokenizer> tokenizer;  // empty when there is none

  /// How long it took to open each of them. \unit seconds
  struct Opening {
    double config = 0, tokenizer = 0, tensors = 0;
  } opening;
};

namespace detail {
/// Time since the last call.
class Lap {
 public:
  double seconds() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};
}  // namespace detail

/// Opens a GGUF file: hyperparameters, tensors under Hugging Face's names and, if there, a tokenizer.
/// Weights are mapped as in open_checkpoint, but q and k of a llama: their rows are put in order.
/// \errors data, one line with file and place, for what is not sound or not supported
[[nodiscard]] inline Checkpoint open_gguf(const std::string& path,
                                          const FileLoader& loader = mapped_files()) {
  detail::Lap lap;
  Checkpoint out;
  const gguf::File file = gguf::open_file(path, loader);
  out.opening.tensors = lap.seconds();
  out.directory = path;
  out.config = gguf::config_of(file);
  out.config.shape.name = file.name;
  out.generation = gguf::generation_of(file.metadata);
  out.opening.config = lap.seconds();
  const std::string tokenizer = gguf::tokenizer_text(file.metadata);
  if (!tokenizer.empty()) out.tokenizer = Tokenizer::from_text(tokenizer, path + ": tokenizer");
  out.opening.tokenizer = lap.seconds();
  out.tensors = gguf::tensors_of(file, out.config);
  out.opening.tensors += lap.seconds();
  return out;
}

/// Opens a Hugging Face directory: config.json, model.safetensors (or its shards, or an image, or a file of
/// tensor_file/) and, if there, generation_config.json and tokenizer.json. Or opens a GGUF file.
/// loader: of the weights' files; unless another is named they are mapped, and come in page by page as used
/// \errors data, one line with file and place, when any of the files is missing or not sound
[[nodiscard]] inline Checkpoint open_checkpoint(const std::string& directory,
                                                const FileLoader& loader = mapped_files()) {
  if (is_gguf(directory)) return open_gguf(directory, loader);
  const std::filesystem::path folder(directory);
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    const bool file = std::filesystem::exists(folder, ignored);
    throw data_error(directory,
                     file ? "is a file, and its name does not end in .gguf" : "no such directory",
                     "a Hugging Face checkpoint directory, or a .gguf");
  }
  Checkpoint out;
  out.directory = directory;
  detail::Lap lap;
  out.config = read_config((folder / "config.json").string());
  const auto named = std::filesystem::absolute(folder, ignored).lexically_normal();
  out.config.shape.name = (named.has_filename() ? named : named.parent_path()).filename().string();
  const std::filesystem::path generation = folder / "generation_config.json";
  if (std::filesystem::exists(generation, ignored)) {
    out.generation = read_generation_config(generation.string());
  }
  out.opening.config = lap.seconds();
  const std::filesystem::path tokenizer = folder / "tokenizer.json";
  if (std::filesystem::exists(tokenizer, ignored)) {
    out.tokenizer = Tokenizer::from_file(tokenizer.string());
  }
  out.opening.tokenizer = lap.seconds();
  const std::string image = (folder / image_file).string();
  out.tensors = std::filesystem::exists(image, ignored)
                    ? open_image(image, loader, out.config.packed)
                    : open_tensors(directory, loader);
  out.opening.tensors = lap.seconds();
  return out;
}

}  // namespace quire::checkpoint
