#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/quantisation_config.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/core/error.hpp>

namespace quire::checkpoint {

/// Writes a model as a Hugging Face directory: its tensors, and the other files of the directory that it
/// came from, quantisation added to config.json. open_checkpoint gives every tensor back bit for bit.
/// The directory appears whole or not at all: it is written beside its place and then renamed.
/// \errors usage when the directory is there and not empty, or the model came from a GGUF file; state when
/// a file cannot be written; data when the model's own config.json cannot be read
inline void save_checkpoint(const Checkpoint& model, const std::string& directory) {
  namespace fs = std::filesystem;
  const fs::path from(model.directory);
  fs::path to = fs::path(directory).lexically_normal();
  if (!to.has_filename()) to = to.parent_path();  // a name that ends with a slash
  std::error_code failed;
  if (fs::exists(to, failed) && !(fs::is_directory(to, failed) && fs::is_empty(to, failed))) {
    throw usage_error(directory, "is there already", "a directory that is not, or an empty one");
  }
  if (!fs::is_directory(from, failed)) {
    throw usage_error(model.directory, "has no config.json to go with the weights",
                      "a Hugging Face directory");
  }
  std::string config = read_file((from / "config.json").string(), longest_config);
  if (model.config.quantisation && !read_config((from / "config.json").string()).quantisation) {
    const std::size_t end = config.rfind('}');
    config = config.substr(0, end) +
             ",\n\"quantization_config\": " + quantisation_text(*model.config.quantisation) +
             "\n}\n";
  }
  const fs::path part(to.string() + ".part");
  const auto cannot = [&](const fs::path& path) {
    return state_error(path.string(), "cannot write it (" + failed.message() + ")");
  };
  fs::remove_all(part, failed);  // of a save that was killed
  fs::create_directories(part, failed);
  if (failed) throw cannot(part);
  try {
    safetensors::save((part / "model.safetensors").string(), model.tensors.all());
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
      if (!fs::exists(from / name)) continue;
      fs::copy_file(from / name, part / name, failed);
      if (failed) throw cannot(to / name);
    }
    std::ofstream file(part / "config.json", std::ios::binary);
    file << config << std::flush;
    if (!file) throw state_error((to / "config.json").string(), "cannot write it");
    fs::rename(part, to, failed);
    if (failed) throw cannot(to);
  } catch (...) {
    fs::remove_all(part, failed);
    throw;
  }
}

}  // namespace quire::checkpoint
