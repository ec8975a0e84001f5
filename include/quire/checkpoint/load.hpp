#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include <quire/checkpoint/config.hpp>
#include <quire/checkpoint/generation_config.hpp>
#include <quire/checkpoint/gguf/config.hpp>
#include <quire/checkpoint/gguf/file.hpp>
#include <quire/checkpoint/gguf/tensors.hpp>
#include <quire/checkpoint/gguf/tokenizer.hpp>
#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/checkpoint/tokenizer.hpp>

namespace quire::checkpoint {

/// Everything that a Hugging Face directory, or a GGUF file, says about a model.
struct Checkpoint {
  std::string directory;  // or file
  ModelConfig config;
  GenerationConfig generation;
  TensorSet tensors;
  std::optional<Tokenizer> tokenizer;  // empty when there is none
};

/// Opens a GGUF file: hyperparameters, tensors under Hugging Face's names and, if there, a tokenizer.
/// Weights are mapped as in open_checkpoint, but q and k of a llama: their rows are put in order.
/// \errors data, one line with file and place, for what is not sound or not supported
[[nodiscard]] inline Checkpoint open_gguf(const std::string& path) {
  const gguf::File file = gguf::open_file(path);
  Checkpoint out;
  out.directory = path;
  out.config = gguf::config_of(file);
  out.config.shape.name = file.name;
  out.generation = gguf::generation_of(file.metadata);
  const std::string tokenizer = gguf::tokenizer_text(file.metadata);
  if (!tokenizer.empty()) out.tokenizer = Tokenizer::from_text(tokenizer, path + ": tokenizer");
  out.tensors = gguf::tensors_of(file, out.config);
  return out;
}

/// Opens a Hugging Face directory: config.json, model.safetensors (or its shards) and, if
/// there, generation_config.json and tokenizer.json. Weights are mapped, not read: they come in
/// page by page as used. Or opens a GGUF file. \errors data, one line with file and place, when any of the files is
/// missing or not sound
[[nodiscard]] inline Checkpoint open_checkpoint(const std::string& directory) {
  if (is_gguf(directory)) return open_gguf(directory);
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
  out.config = read_config((folder / "config.json").string());
  const auto named = std::filesystem::absolute(folder, ignored).lexically_normal();
  out.config.shape.name = (named.has_filename() ? named : named.parent_path()).filename().string();
  const std::filesystem::path generation = folder / "generation_config.json";
  if (std::filesystem::exists(generation, ignored)) {
    out.generation = read_generation_config(generation.string());
  }
  const std::filesystem::path tokenizer = folder / "tokenizer.json";
  if (std::filesystem::exists(tokenizer, ignored)) {
    out.tokenizer = Tokenizer::from_file(tokenizer.string());
  }
  out.tensors = safetensors::open_directory(directory);
  return out;
}

}  // namespace quire::checkpoint
