// mechanism: a whole file read into memory of our own, a chunk at a time
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <quire/checkpoint/file_load/concepts.hpp>
#include <quire/checkpoint/file_map.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/huge_vector.hpp>
#include <quire/core/processors.hpp>

namespace quire::file_load::detail {

inline constexpr std::size_t sector = 4096;  // what transfers past the page cache are aligned to

/// Room for a file, rounded up to whole sectors, on huge pages where the system gives them.
[[nodiscard]] inline std::shared_ptr<AlignedArray<std::byte>> room_for(std::size_t bytes) {
  const std::size_t rounded = (bytes + sector - 1) / sector * sector;
  auto memory =
      std::make_shared<AlignedArray<std::byte>>(rounded, rounded < huge_page ? sector : huge_page);
  ask_for_huge_pages(memory->data(), memory->size());
  return memory;
}

[[nodiscard]] inline Error cannot_read(const std::string& path, std::size_t at, int error) {
  return data_error(path + ": byte " + std::to_string(at),
                    std::string("cannot read it (") + std::strerror(error) + ")",
                    "a file that can be read");
}
[[nodiscard]] inline Error cut_off(const std::string& path, std::size_t at, std::size_t bytes) {
  return data_error(path + ": byte " + std::to_string(at), "the file ends while it is being read",
                    std::to_string(bytes) + " bytes, as when it was opened");
}

/// Reads [at, at + bytes) of a file of `size` bytes; a last sector may be asked for beyond its end.
/// \errors data when it cannot be read, or ends before
inline void read_chunk(const checkpoint::FileHandle& file, const std::string& path, std::size_t at,
                       std::size_t bytes, std::byte* to) {
  const std::size_t end = std::min(at + bytes, file.size());
  while (at < end) {
    const ssize_t n = ::pread(file.descriptor(), to, bytes, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw cannot_read(path, at, errno);
    auto got = static_cast<std::size_t>(n);
    // the next call must be aligned too; less than a sector is there at the end alone
    if (file.direct() && at + got < end) got = got / sector * sector;
    if (got == 0) throw cut_off(path, at, file.size());
    at += got, to += got, bytes -= got;
  }
}

/// Reads a file on several threads, each the next chunk that none has taken.
/// chunk: in bytes, a multiple of a sector. direct: past the page cache, where the system lets us
/// read: as read_chunk
/// \errors the first that a thread met, when all have ended: a file that is not whole is never given
template <class Read = decltype(&read_chunk)>
checkpoint::FileBytes read_in_chunks(const std::string& path, std::size_t threads,
                                     std::size_t chunk, bool direct, Read read = &read_chunk) {
  const checkpoint::FileHandle file(path, direct);
  auto memory = room_for(file.size());
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failed;
  const auto work = [&] {
    try {
      for (;;) {
        const std::size_t at = next.fetch_add(chunk);
        if (at >= file.size()) return;
        // threads that share a file look like one that jumps about: the system would not read ahead
        if (!direct) {
          (void)::posix_fadvise(file.descriptor(), static_cast<off_t>(at),
                                static_cast<off_t>(chunk), POSIX_FADV_WILLNEED);
        }
        read(file, path, at, std::min(chunk, memory->size() - at), memory->data() + at);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failed) failed = std::current_exception();
      next = file.size();
    }
  };
  std::vector<std::thread> others;
  const std::size_t chunks = (file.size() + chunk - 1) / chunk;
  for (std::size_t i = 1; i < std::min(threads, chunks); ++i) {
    others.emplace_back([&] {
      leave_pinned_processor();
      work();
    });
  }
  work();
  for (std::thread& t : others) t.join();
  if (failed) std::rethrow_exception(failed);
  return {path, {memory->data(), file.size()}, memory};
}

}  // namespace quire::file_load::detail
