#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>

namespace quire::metrics {

/// Appends lines to a file so that each is on the disk whole or not at all when append() returns,
/// however many processes append to it. A line that a dying process left unfinished is cut off
/// before the next one is written. A file that it made and nobody wrote to is gone when it ends.
/// \errors state error: the file cannot be opened, locked or written.
class RowFile {
 public:
  explicit RowFile(const std::filesystem::path& path) : path_(path.string()) {
    const std::filesystem::path folder = path.parent_path();
    std::error_code ignored;
    if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
    open();
    const int directory = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
    if (directory >= 0) {  // the file's name must be on the disk too
      static_cast<void>(::fsync(directory));
      ::close(directory);
    }
  }
  RowFile(RowFile&& other) noexcept
      : path_(std::move(other.path_)),
        file_(std::exchange(other.file_, -1)),
        made_(std::exchange(other.made_, false)) {}
  RowFile(const RowFile&) = delete;
  RowFile& operator=(const RowFile&) = delete;
  RowFile& operator=(RowFile&&) = delete;
  ~RowFile() {
    if (file_ < 0) return;
    // Under the lock, and append() looks whether the file is still there: no row goes with it.
    if (made_ && ::flock(file_, LOCK_EX) == 0 && is_linked() && ::lseek(file_, 0, SEEK_END) == 0) {
      ::unlink(path_.c_str());
    }
    ::close(file_);
  }

  /// line: without a line feed in it.
  void append(std::string_view line) {
    std::string text(line);
    text.push_back('\n');
    std::optional<Lock> lock(std::in_place, *this);
    while (!is_linked()) {  // another process made it and took it away again
      lock.reset();
      ::close(file_);
      open();
      lock.emplace(*this);
    }
    cut_torn_line();
    const off_t end = ::lseek(file_, 0, SEEK_END);
    const ssize_t written = ::write(file_, text.data(), text.size());
    if (written != static_cast<ssize_t>(text.size())) {
      const int reason = written < 0 ? errno : ENOSPC;
      if (end >= 0) static_cast<void>(::ftruncate(file_, end));
      errno = reason;
      fail("a row could not be written");
    }
    if (::fsync(file_) != 0) fail("a row could not be brought to the disk");
  }

 private:
  struct Lock {
    explicit Lock(RowFile& f) : owner(f) {
      while (::flock(owner.file_, LOCK_EX) != 0) {
        if (errno != EINTR) owner.fail("cannot be locked");
      }
    }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() { ::flock(owner.file_, LOCK_UN); }
    RowFile& owner;
  };

  void open() {
    constexpr int flags = O_RDWR | O_APPEND | O_CLOEXEC;
    file_ = ::open(path_.c_str(), flags | O_CREAT | O_EXCL, 0644);
    made_ = file_ >= 0;
    if (!made_ && errno == EEXIST) file_ = ::open(path_.c_str(), flags | O_CREAT, 0644);
    if (file_ < 0) fail("cannot be opened for appending");
  }
  [[nodiscard]] bool is_linked() const {
    struct stat status {};
    return ::fstat(file_, &status) != 0 || status.st_nlink > 0;
  }

  [[noreturn]] void fail(std::string_view what) const {
    throw state_error(path_, std::string(what) + ": " + std::strerror(errno), "a writable file");
  }

  void cut_torn_line() {
    off_t end = ::lseek(file_, 0, SEEK_END);
    const off_t whole = end;
    char byte = '\n';
    while (end > 0) {
      if (::pread(file_, &byte, 1, end - 1) != 1) fail("cannot be read");
      if (byte == '\n') break;
      --end;
    }
    if (end != whole && ::ftruncate(file_, end) != 0) fail("cannot be shortened");
  }

  std::string path_;
  int file_ = -1;
  bool made_ = false;
};

/// The whole lines of a file; blank ones are passed over, a torn last one is left out.
/// torn: set when there was one. A file that is not there has no lines.
/// \errors data error: the file is there and cannot be read.
[[nodiscard]] inline std::vector<std::string> read_rows(const std::filesystem::path& path,
                                                        bool* torn = nullptr) {
  if (torn != nullptr) *torn = false;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path, ignored)) {
    throw data_error(path.string(), "cannot be read", "a file of result rows");
  }
  std::vector<std::string> rows;
  std::string line;
  while (std::getline(file, line)) {
    if (file.eof()) {  // no line feed: the write was interrupted
      if (torn != nullptr) *torn = true;
      break;
    }
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) rows.push_back(line);
  }
  return rows;
}

}  // namespace quire::metrics
