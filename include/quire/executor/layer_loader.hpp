// mechanism: brings blocks to the device layer by layer while a step computes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <quire/core/processors.hpp>
#include <quire/core/units.hpp>

namespace quire::executor {

/// Copies blocks on a thread of its own, the first layer of all of them, then the second of all, so
/// that a layer can be computed while the next ones are on their way. A layer is a stretch of a
/// block's bytes; all are equally long.
/// \complexity start() O(1); the thread is made when it is first needed.
class LayerLoader {
 public:
  struct Copy {
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
  };

  /// \pre layers > 0, and a block is a whole number of layers
  LayerLoader(std::size_t layers, std::size_t block_bytes)
      : layers_(layers), layer_bytes_(block_bytes / layers), loaded_(layers) {}
  LayerLoader(const LayerLoader&) = delete;
  LayerLoader& operator=(const LayerLoader&) = delete;
  ~LayerLoader() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  /// Begins to copy; sources and targets must stay as they are until wait() has answered for the last
  /// layer. `least`: what it takes at the least, for links that are slower than memory.
  void start(std::vector<Copy>& copies, Seconds least) {
    if (copies.empty()) return;
    wait(layers_ - 1);
    {
      const std::lock_guard lock(mutex_);
      copies_.swap(copies);
      least_ = least;
      loaded_ = 0;
    }
    copies.clear();
    if (!thread_.joinable()) thread_ = std::thread([this] { serve(); });
    changed_.notify_all();
  }
  /// Returns when a layer of all blocks has come; at once when nothing is under way.
  void wait(std::size_t layer) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return loaded_ > layer; });
  }
  void wait() { wait(layers_ - 1); }

 private:
  void serve() {
    leave_pinned_processor();
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stop_ || loaded_ < layers_; });
      if (loaded_ == layers_) return;  // what was begun is ended first
      const auto start = std::chrono::steady_clock::now();
      for (std::size_t layer = 0; layer < layers_; ++layer) {
        lock.unlock();
        const std::size_t at = layer * layer_bytes_;
        for (const Copy& c : copies_) std::memcpy(c.to + at, c.from + at, layer_bytes_);
        const double part = static_cast<double>(layer + 1) / static_cast<double>(layers_);
        if (least_ > Seconds{0.0}) {
          std::this_thread::sleep_until(start + std::chrono::duration<double>(least_.value * part));
        }
        lock.lock();
        loaded_ = layer + 1;
        changed_.notify_all();
      }
    }
  }

  std::size_t layers_, layer_bytes_;
  std::mutex mutex_;  // of loaded_ and stop_; the rest changes only while nothing is under way
  std::condition_variable changed_;
  std::vector<Copy> copies_;
  Seconds least_ = 0.0;
  std::size_t loaded_;  // layers that have come
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace quire::executor
