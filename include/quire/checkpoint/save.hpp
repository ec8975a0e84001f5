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
/// \errors state when a file cannot be written; usage when the directory is the model's own; data when
/// the model's own config.json cannot be read
inline void save_checkpoint(const Checkpoint& model, const std::string& directory) {
  namespace fs = std::filesystem;
  const fs::path from(model.directory), to(directory);
  std::error_code failed;
  fs::create_directories(to, failed);
  if (failed) throw state_error(directory, "cannot make the directory (" + failed.message() + ")");
  if (fs::equivalent(from, to, failed)) {
    throw usage_error(directory, "is where the model came from", "another directory");
  }
  std::string config = read_file((from / "config.json").string(), longest_config);
  if (model.config.quantisation && !read_config((from / "config.json").string()).quantisation) {
    const std::size_t end = config.rfind('}');
    config = config.substr(0, end) +
             ",\n\"quantization_config\": " + quantisation_text(*model.config.quantisation) +
             "\n}\n";
  }
  safetensors::save((to / "model.safetensors").string(), model.tensors.all());
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    if (!fs::exists(from / name)) continue;
    fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing, failed);
    if (failed) throw state_error((to / name).string(), "cannot write it");
  }
  // Last: a directory without it is no checkpoint, so that a save that ends early leaves none.
  std::ofstream file(to / "config.json", std::ios::binary);
  file << config << std::flush;
  if (!file) throw state_error((to / "config.json").string(), "cannot write it");
}

}  // namespace quire::checkpoint
