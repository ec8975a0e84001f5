// mechanism: files that are in the system's page cache, or not
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <vector>

#include <quire/checkpoint/file_map.hpp>
#include <quire/core/error.hpp>

namespace quire::experiment {

/// Share of a range of a mapped file that is in the page cache. \pre it starts on a page
[[nodiscard]] inline double resident_share(const std::byte* begin, std::size_t bytes) {
  constexpr std::size_t page = 4096;
  std::vector<unsigned char> pages((bytes + page - 1) / page);
  if (pages.empty()) return 0;
  // mincore takes a mutable pointer and changes nothing
  if (::mincore(const_cast<std::byte*>(begin), bytes, pages.data()) != 0) {
    throw state_error("mincore", checkpoint::FileHandle::reason("failed"));
  }
  std::size_t resident = 0;
  for (const unsigned char p : pages) resident += p & 1;
  return static_cast<double>(resident) / static_cast<double>(pages.size());
}
[[nodiscard]] inline double resident_share(const std::string& path) {
  const checkpoint::FileMap map(path);
  return resident_share(map.bytes().data(), map.bytes().size());
}

/// Sends what is written to the disk and drops the file from the page cache; no privilege is needed.
/// What lies below the system, such as a hypervisor's cache, stays warm. \errors state when pages stay
inline void make_cold(const std::string& path) {
  const checkpoint::FileHandle file(path);
  (void)::fdatasync(file.descriptor());
  (void)::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  if (const double left = resident_share(path); left > 0.01) {
    throw state_error(path, std::to_string(left) + " of it stays in the page cache",
                      "a file that nobody else has mapped, on a disk");
  }
}
/// Reads all of a file, so that the page cache has it.
inline void make_warm(const std::string& path) {
  const checkpoint::FileHandle file(path);
  std::vector<std::byte> room(std::size_t{1} << 20);
  while (::read(file.descriptor(), room.data(), room.size()) > 0) {
  }
}

}  // namespace quire::experiment
