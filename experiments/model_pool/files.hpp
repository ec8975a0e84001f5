#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace quire::experiment {

/// Images of llamas of random weights and different sizes, in a folder that is removed with this.
class ImageFiles {
 public:
  /// small: for a run of seconds
  ImageFiles(std::size_t count, bool small);
  ImageFiles(const ImageFiles&) = delete;
  ImageFiles& operator=(const ImageFiles&) = delete;
  ~ImageFiles();
  [[nodiscard]] const std::vector<std::string>& paths() const { return paths_; }

 private:
  std::filesystem::path folder_;
  std::vector<std::string> paths_;
};

}  // namespace quire::experiment
