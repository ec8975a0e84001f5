#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <quire/checkpoint/config_writer.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/quantisation_config.hpp>
#include <quire/checkpoint/tensor_file/tensor_file.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/checkpoint/weight_image.hpp>
#include <quire/core/error.hpp>

namespace quire::checkpoint {

namespace detail {

/// Writes a directory that appears whole or not at all: beside its place, and then renamed.
/// fill(part): writes the files. model: the directory whose tokenizer and generation_config go along; those of
/// a GGUF file are for fill to write
/// \errors usage when the directory is there and not empty; state when a file cannot be written
template <class Fill>
void write_directory(const std::string& directory, const std::string& model, Fill&& fill) {
  namespace fs = std::filesystem;
  const fs::path from(model);
  fs::path to = fs::path(directory).lexically_normal();
  if (!to.has_filename()) to = to.parent_path();  // a name that ends with a slash
  std::error_code failed;
  if (fs::exists(to, failed) && !(fs::is_directory(to, failed) && fs::is_empty(to, failed))) {
    throw usage_error(directory, "is there already", "a directory that is not, or an empty one");
  }
  const fs::path part(to.string() + ".part");
  const auto cannot = [&](const fs::path& path) {
    return state_error(path.string(), "cannot write it (" + failed.message() + ")");
  };
  fs::remove_all(part, failed);  // of a save that was killed
  fs::create_directories(part, failed);
  if (failed) throw cannot(part);
  try {
    fill(part);
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
      if (!fs::exists(from / name)) continue;
      fs::copy_file(from / name, part / name, failed);
      if (failed) throw cannot(to / name);
    }
    fs::rename(part, to, failed);
    if (failed) throw cannot(to);
  } catch (...) {
    fs::remove_all(part, failed);
    throw;
  }
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (!file) throw state_error(path.string(), "cannot write it");
}

}  // namespace detail

/// Writes a model as a Hugging Face directory: its tensors, and the other files of the directory that it
/// came from, quantisation added to config.json. open_checkpoint gives every tensor back bit for bit.
/// The directory appears whole or not at all. format: of the weights' file
/// \errors usage when the directory is there and not empty, the model came from a GGUF file or an image, or
/// the format has no place for its weights; state when a file cannot be written; data when the model's own config.json cannot be read
inline void save_checkpoint(const Checkpoint& model, const std::string& directory,
                            const TensorFile& format = tensor_file_of<tensor_file::Safetensors>()) {
  if (model.config.packed) {
    throw usage_error(model.directory, "is an image, packed already", "a Hugging Face directory");
  }
  const std::filesystem::path from(model.directory);
  std::error_code ignored;
  if (!std::filesystem::is_directory(from, ignored)) {
    throw usage_error(model.directory, "has no config.json to go with the weights",
                      "a Hugging Face directory");
  }
  detail::write_directory(directory, model.directory, [&](const std::filesystem::path& part) {
    const std::string path = (from / "config.json").string();
    std::string config = read_file(path, longest_config);
    if (model.config.quantisation && !read_config(path).quantisation) {
      config = config.substr(0, config.rfind('}')) +
               ",\n\"quantization_config\": " + quantisation_text(*model.config.quantisation) +
               "\n}\n";
    }
    format.save((part / format.file).string(), model.tensors.all());
    detail::write_text(part / "config.json", config);
  });
}

/// Writes the directory of an image: its weights' file, and the other files of the model's own directory, or
/// what a GGUF file says in their place.
/// The directory appears whole or not at all.
/// \errors usage when it is there and not empty; data for a GGUF file whose hyperparameters no config.json can
/// say; state when a file cannot be written
inline void save_image(const std::string& directory, const Checkpoint& model,
                       const PackedWeights& packed, const std::vector<TensorSet::Entry>& entries) {
  detail::write_directory(directory, model.directory, [&](const std::filesystem::path& part) {
    write_image((part / image_file).string(), packed, entries);
    if (!is_gguf(model.directory)) {
      const std::filesystem::path from = std::filesystem::path(model.directory) / "config.json";
      detail::write_text(part / "config.json", read_file(from.string(), longest_config));
      return;
    }
    detail::write_text(part / "config.json", config_text(model.config, model.directory));
    const gguf::File file = gguf::open_file(model.directory);
    for (const auto& [name, text] :
         {std::pair{"tokenizer.json", gguf::tokenizer_text(file.metadata)},
          std::pair{"generation_config.json", generation_text(model.generation)}}) {
      if (!text.empty()) detail::write_text(part / name, text);
    }
  });
}

}  // namespace quire::checkpoint
