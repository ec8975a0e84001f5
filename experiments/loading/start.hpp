#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quire::experiment {

/// One start of an engine, in a process of its own so that its memory and its page faults are its own.
struct Start {
  std::string model;      // folder of a checkpoint or of an image
  std::string file_load;  // as checkpoint::file_loaders()
  std::string format;     // one of loaded_formats
  std::size_t threads = 1;
  std::size_t prompt = 16, generated = 16;  // tokens
  std::string group = "-";                  // folder of a control group to run in
  std::size_t resident = 0;                 // bytes of weights in memory at a time; 0: all
};

/// What a start measured, in the order measured; and its logits, as a hash.
struct Started {
  std::vector<std::pair<std::string, double>> numbers;
  std::string logits;

  [[nodiscard]] std::optional<double> find(std::string_view name) const;
  [[nodiscard]] double at(std::string_view name) const;  // \errors state when it is not there
};

/// Writes the image of a model in one of loaded_formats.
void write_image_of(const std::string& model, const std::string& format, const std::string& image,
                    std::size_t threads);

/// Writes a model with its weights in one of file_formats but an image: a directory, or a GGUF file.
void write_format_of(const std::string& model, const std::string& format, const std::string& to);

/// The first argument of a process that makes one start and tells what it measured on standard output.
inline constexpr std::string_view start_word = "start-one";
int start_here(const std::vector<std::string>& words);

/// Has a start made by another process of this program; nothing where the system killed that, as it does
/// with a process that needs more than its group's memory. \errors state when it fails otherwise
[[nodiscard]] std::optional<Started> start_elsewhere(const Start& start);

}  // namespace quire::experiment
