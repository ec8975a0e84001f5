#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <quire/checkpoint/file_load/concepts.hpp>
#include <quire/checkpoint/file_load/read_chunks.hpp>
#include <quire/core/disk_io.hpp>

namespace quire::file_load {

/// Reads a file past the page cache with many chunks under way at a time, on one thread, through io_uring;
/// where the system has none, with a few calls at a time.
/// \source InstantTensor's direct I/O of tuned size and concurrency
struct IoUring {
  static constexpr std::string_view name = "io_uring";
  unsigned depth = 16;                       // chunks under way
  std::size_t chunk = std::size_t{2} << 20;  // in bytes, a multiple of 4096

  [[nodiscard]] checkpoint::FileBytes load(const std::string& path) const {
    const checkpoint::FileHandle direct(path, true), buffered(path);
    if (direct.size() != buffered.size()) {
      throw detail::cut_off(path, std::min(direct.size(), buffered.size()), direct.size());
    }
    const std::size_t size = direct.size();
    auto memory = detail::room_for(size);
    // whole sectors: the end of a file need not be one
    const std::size_t whole = size / detail::sector * detail::sector;
    std::vector<disk::Transfer> transfers((whole + chunk - 1) / chunk);
    disk::Queue queue(true, depth);
    std::size_t started = 0, done = 0;
    const disk::Transfer* failed = nullptr;
    while (done < (failed != nullptr ? started : transfers.size())) {
      while (failed == nullptr && started < transfers.size() && queue.under_way() < depth) {
        disk::Transfer& t = transfers[started];
        t.file = direct.descriptor();
        t.buffered = buffered.descriptor();
        t.offset = started * chunk;
        t.bytes = std::min(chunk, whole - started * chunk);
        t.data = memory->data() + t.offset;
        queue.start(t);
        ++started;
      }
      if (const disk::Transfer* t = queue.wait()) {
        ++done;
        if (t->error != 0 && failed == nullptr) failed = t;
      }
    }
    if (failed != nullptr) {
      throw detail::cannot_read(path, static_cast<std::size_t>(failed->offset), failed->error);
    }
    detail::read_chunk(buffered, path, whole, size - whole, memory->data() + whole);
    return {path, {memory->data(), size}, memory};
  }
};
static_assert(FileLoadPolicy<IoUring>);

}  // namespace quire::file_load
