#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <quire/core/error.hpp>
#include <quire/workload/trace/sha256.hpp>

namespace quire::workload::trace {

/// Reads a text file line by line in constant memory, and hashes it on the way.
/// A byte-order mark at the start and a carriage return at the end of a line are dropped, lines of
/// white space are passed over, and a last line without a line feed counts as a line.
/// \errors quire::Error of kind data: the file cannot be read, is compressed or a Git LFS pointer,
/// or has a line longer than max_line.
class LineReader {
 public:
  static constexpr std::size_t max_line = std::size_t{16} << 20;

  explicit LineReader(const std::filesystem::path& path) : path_(path.string()) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
      throw data_error(path_, "is a directory", "a trace file");
    }
    file_.open(path, std::ios::binary);
    if (!file_) throw data_error(path_, "cannot be opened", "a readable file");
    fill();
    const std::string_view head = std::string_view(buffer_).substr(0, 64);
    if (head.starts_with("\x1f\x8b")) {
      throw data_error(path_, "is compressed with gzip", "plain text: decompress it first");
    }
    if (head.starts_with("version https://git-lfs")) {
      throw data_error(path_, "is a Git LFS pointer, not the data",
                       "the file itself: run `git lfs pull` in its repository");
    }
    if (head.starts_with("\xef\xbb\xbf")) begin_ = 3;
  }

  /// The next line that is not blank; false at the end. The line is valid until the next call.
  [[nodiscard]] bool next(std::string_view& line) {
    do {
      std::size_t end = buffer_.find('\n', begin_);
      while (end == std::string::npos && !ended_) {
        const std::size_t searched = buffer_.size() - begin_;
        if (searched > max_line) {
          ++number_;
          throw data_error(where(), "the line is too long",
                           "at most " + std::to_string(max_line) + " bytes");
        }
        fill();
        end = buffer_.find('\n', begin_ + searched);
      }
      if (end == std::string::npos && begin_ == buffer_.size()) return false;
      const std::size_t stop = end == std::string::npos ? buffer_.size() : end;
      line = std::string_view(buffer_).substr(begin_, stop - begin_);
      begin_ = end == std::string::npos ? stop : stop + 1;
      ++number_;
      if (line.ends_with('\r')) line.remove_suffix(1);
    } while (line.find_first_not_of(" \t") == std::string_view::npos);
    return true;
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::size_t line_number() const { return number_; }

  /// `file: line 7, field 'x'`, as errors name the place.
  [[nodiscard]] std::string where(std::string_view field = {}) const {
    std::string place = path_ + ": line " + std::to_string(number_);
    if (!field.empty()) place.append(", field '").append(field).append("'");
    return place;
  }

  /// SHA-256 of the whole file, reading what is left of it. \pre called once, as the last call.
  [[nodiscard]] std::string digest() {
    while (!ended_) {
      begin_ = buffer_.size();
      fill();
    }
    return digest_.hex();
  }

 private:
  static constexpr std::size_t chunk = std::size_t{1} << 16;

  /// Drops what was given out and reads one chunk more.
  void fill() {
    buffer_.erase(0, std::exchange(begin_, 0));
    const std::size_t kept = buffer_.size();
    buffer_.resize(kept + chunk);
    file_.read(buffer_.data() + kept, static_cast<std::streamsize>(chunk));
    const auto got = static_cast<std::size_t>(file_.gcount());
    buffer_.resize(kept + got);
    digest_.update(std::string_view(buffer_).substr(kept));
    if (file_.bad()) throw data_error(path_, "cannot be read to its end", "a readable file");
    ended_ = got < chunk;
  }

  std::string path_;
  std::ifstream file_;
  std::string buffer_;
  Sha256 digest_;
  std::size_t begin_ = 0;   // first byte not given out yet
  std::size_t number_ = 0;  // of the line given out last, from 1
  bool ended_ = false;
};

}  // namespace quire::workload::trace
