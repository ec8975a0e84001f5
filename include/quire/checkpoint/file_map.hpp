#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include <quire/core/error.hpp>

namespace quire::checkpoint {

/// An open regular file; anything else (a directory, a pipe, a device) is refused without waiting.
class FileHandle {
 public:
  /// direct: reads pass the page cache by, where the file system allows it; they are then aligned
  explicit FileHandle(const std::string& path, bool direct = false) {
    // O_NONBLOCK: opening a pipe must not wait for a writer.
    constexpr int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    if (direct) descriptor_ = ::open(path.c_str(), flags | O_DIRECT);
    direct_ = descriptor_ >= 0;
    if (descriptor_ < 0) descriptor_ = ::open(path.c_str(), flags);
    if (descriptor_ < 0) throw data_error(path, reason("cannot open it"), "a readable file");
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      throw data_error(path, "not a regular file", "a readable file");
    }
    size_ = static_cast<std::size_t>(status.st_size);
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  ~FileHandle() { ::close(descriptor_); }

  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool direct() const { return direct_; }
  [[nodiscard]] static std::string reason(const char* what) {
    return std::string(what) + " (" + std::strerror(errno) + ")";
  }

 private:
  int descriptor_ = -1;
  std::size_t size_ = 0;
  bool direct_ = false;
};

/// A whole file mapped read-only into memory, page by page as it is touched.
/// The file must keep its length while mapped: reading past a later truncation kills the process
/// (SIGBUS), as with any mapping.
class FileMap {
 public:
  /// \errors data when the file cannot be opened or is not a regular file; state when it cannot be
  /// mapped
  /// flags: of mmap, beside MAP_PRIVATE
  explicit FileMap(const std::string& path, int flags = 0) : path_(path) {
    const FileHandle file(path);
    if (file.size() == 0) return;
    void* at = ::mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE | flags, file.descriptor(), 0);
    if (at == MAP_FAILED) throw state_error(path, FileHandle::reason("cannot map it"));
    bytes_ = {static_cast<const std::byte*>(at), file.size()};
  }
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;
  FileMap(FileMap&& other) noexcept
      : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}
  FileMap& operator=(FileMap&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~FileMap() {
    if (!bytes_.empty()) {
      // munmap takes a mutable pointer, though the pages are read-only.
      ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    }
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::string path_;
  std::span<const std::byte> bytes_;
};

/// Reads a whole small file.
/// \errors data when it cannot be read, or is longer than `longest` bytes
[[nodiscard]] inline std::string read_file(const std::string& path, std::size_t longest) {
  const FileHandle file(path);
  if (file.size() > longest) {
    throw data_error(path, "the file has " + std::to_string(file.size()) + " bytes",
                     "at most " + std::to_string(longest));
  }
  std::string out(file.size(), '\0');
  std::size_t done = 0;
  while (done < out.size()) {
    const auto got = ::read(file.descriptor(), out.data() + done, out.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw data_error(path, FileHandle::reason("cannot read it"), "a readable file");
    done += static_cast<std::size_t>(got);
  }
  return out;
}

}  // namespace quire::checkpoint
