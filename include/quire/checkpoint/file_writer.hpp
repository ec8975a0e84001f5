// mechanism: a file that appears whole or not at all
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <quire/core/error.hpp>

namespace quire::checkpoint {

/// Writes beside a file's place and takes that place in finish(): an old file of the name is replaced at
/// once, or kept. What is not finished is removed.
class FileWriter {
 public:
  /// \errors state when it cannot be written there
  explicit FileWriter(std::string path)
      : path_(std::move(path)), part_(path_ + ".part"), file_(std::fopen(part_.c_str(), "wb")) {
    if (file_ != nullptr) return;
    throw state_error(path_, std::string("cannot be written (") + std::strerror(errno) + ")",
                      "a place that can be written");
  }
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter() {
    file_.reset();
    if (!part_.empty()) std::remove(part_.c_str());
  }

  /// Bytes written so far.
  [[nodiscard]] std::uint64_t at() const { return at_; }
  /// \errors state when the disk does not take them
  void write(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;  // a tensor of no elements has no place in memory
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) fail();
    at_ += bytes.size();
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Zeros up to the next multiple.
  void align(std::size_t to) { write(std::string((to - at_ % to) % to, '\0')); }
  /// durable: waits until the disk has it, so that not even a machine that stops leaves half a file
  /// \errors state when the disk has not taken all of it
  void finish(bool durable = false) {
    if (durable && (std::fflush(file_.get()) != 0 || ::fdatasync(::fileno(file_.get())) != 0)) {
      fail();
    }
    if (std::fclose(file_.release()) != 0) fail();
    std::error_code failed;
    std::filesystem::rename(part_, path_, failed);
    if (failed) fail();
    part_.clear();
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  [[noreturn]] void fail() const { throw state_error(path_, "cannot write it"); }

  std::string path_, part_;
  std::unique_ptr<std::FILE, Close> file_;
  std::uint64_t at_ = 0;
};

}  // namespace quire::checkpoint
