#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include <quire/checkpoint/file_load/concepts.hpp>
#include <quire/checkpoint/file_map.hpp>
#include <quire/core/processors.hpp>

namespace quire::file_load {

/// Maps a file and reads ahead of whoever uses it: a thread goes through the file from its beginning, so
/// that reading and packing overlap. It ends early when the file is let go.
/// \source vLLM's safetensors_load_strategy "prefetch", which warms the page cache
struct MappedAhead {
  static constexpr std::string_view name = "mapped_ahead";

  [[nodiscard]] checkpoint::FileBytes load(const std::string& path) const {
    auto ahead = std::make_shared<const Ahead>(path);
    return {path, ahead->bytes(), ahead};
  }

 private:
  class Ahead {
   public:
    explicit Ahead(const std::string& path) : map_(path) {
      if (!map_.bytes().empty()) {
        thread_ = std::thread([this] { read(); });
      }
    }
    Ahead(const Ahead&) = delete;
    Ahead& operator=(const Ahead&) = delete;
    ~Ahead() {
      stop_ = true;
      if (thread_.joinable()) thread_.join();
    }
    [[nodiscard]] std::span<const std::byte> bytes() const { return map_.bytes(); }

   private:
    static constexpr std::size_t step = std::size_t{4} << 20, page = 4096;

    void read() const {
      leave_pinned_processor();
      const std::span<const std::byte> all = map_.bytes();
      for (std::size_t at = 0; at < all.size() && !stop_; at += step) {
        const std::span<const std::byte> part = all.subspan(at, std::min(step, all.size() - at));
#ifdef MADV_POPULATE_READ
        // a mapping is advised through a mutable pointer, though nothing is written
        auto* const from = const_cast<std::byte*>(part.data());
        if (::madvise(from, part.size(), MADV_POPULATE_READ) == 0) continue;
        if (errno != EINVAL) return;  // whoever uses the file is told
#endif
        for (std::size_t i = 0; i < part.size() && !stop_; i += page) {  // on older systems
          (void)*static_cast<const volatile std::byte*>(part.data() + i);
        }
      }
    }

    checkpoint::FileMap map_;
    std::atomic<bool> stop_ = false;
    std::thread thread_;
  };
};
static_assert(FileLoadPolicy<MappedAhead>);

}  // namespace quire::file_load
