// mechanism: weights of a mapped image that come a layer ahead of their use, and go after it
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/processors.hpp>
#include <quire/core/units.hpp>
#include <quire/model/packed_matrix.hpp>

namespace quire::model {

/// Runs a model whose weights have less room than they need. Embedding, output matrix and the first layers
/// stay in memory; of the others the next one is read while one is computed, and dropped when its turn is
/// over. A pass so reads what does not fit, once, in large reads; left to itself the system would drop what
/// was used longest ago, which is what comes next, and read all of it, page by page.
///
/// Experts of a mixture are read as they are asked, and dropped with their layer.
/// \source Sheng et al., "FlexGen", ICML '23, section 4: weights split between tiers, by layers, with overlap
class WeightStream {
 public:
  using Part = std::span<const std::byte>;
  /// What a layer is made of.
  struct Layer {
    std::vector<Part> always;  // of each token
    std::vector<Part> asked;   // of some: experts
  };
  /// What the system is told of a range of whole pages. Tests take its place.
  enum class Advice { read, drop };
  using Advise = std::function<void(Advice, Part)>;

  /// resident: bytes that may be in memory at a time. fixed: bytes of what always is, beside the layers.
  /// \errors usage when there is no room for two layers at a time
  WeightStream(std::vector<Layer> layers, std::size_t fixed, std::int64_t resident,
               Advise advise = tell_system)
      : layers_(std::move(layers)), advise_(std::move(advise)) {
    std::size_t largest = 0;
    for (const Layer& layer : layers_) largest = std::max(largest, bytes_of(layer));
    std::size_t all = fixed;
    const auto room = static_cast<std::size_t>(std::max<std::int64_t>(resident, 0));
    for (const Layer& layer : layers_) all += bytes_of(layer);
    if (all <= room) {
      kept_ = layers_.size();
      return;
    }
    all = fixed + 2 * largest;
    if (all > room) {
      throw usage_error("resident_weights",
                        "two layers of this model do not fit beside its embedding in " +
                            std::to_string(resident) + " bytes",
                        "at least " + std::to_string(all) + " bytes");
    }
    for (; kept_ < layers_.size(); ++kept_) {
      all += bytes_of(layers_[kept_]);
      if (all > room) break;
    }
    thread_ = std::thread([this] { serve(); });
  }
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;
  ~WeightStream() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  /// Layers that stay.
  [[nodiscard]] std::size_t kept() const { return kept_; }

  /// A pass begins a layer: what comes after it is fetched, what came before it may go. Does not wait.
  void begin(std::size_t layer) {
    if (kept_ == layers_.size() || layer == now_) return;
    {
      const std::lock_guard lock(mutex_);
      if (now_ < layers_.size() && now_ >= kept_) tasks_.push_back({Advice::drop, now_});
      now_ = layer;
      // behind the last one comes the first that does not stay, of the next pass
      const std::size_t next = layer + 1 < layers_.size() ? std::max(layer + 1, kept_) : kept_;
      if (next != fetched_ && next != layer) {
        fetched_ = next;
        tasks_.push_back({Advice::read, next});
      }
    }
    changed_.notify_all();
  }
  /// Waits until all that was asked for is done.
  void settle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.empty() && !busy_; });
  }

  [[nodiscard]] static std::size_t bytes_of(const Layer& layer) {
    std::size_t all = 0;
    for (const auto* parts : {&layer.always, &layer.asked}) {
      for (const Part part : *parts) all += part.size();
    }
    return all;
  }

 private:
  struct Task {
    Advice advice;
    std::size_t layer;
  };
  static constexpr std::size_t page = 4096;

  void serve() {
    leave_pinned_processor();
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
      if (stop_) return;
      const Task task = tasks_.front();
      tasks_.pop_front();
      busy_ = true;
      lock.unlock();
      const Layer& layer = layers_[task.layer];
      for (const Part part : layer.always) advise_(task.advice, part);
      if (task.advice == Advice::drop) {
        for (const Part part : layer.asked) advise_(task.advice, part);
      }
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  /// Whole pages alone are dropped, so that a neighbour keeps its own; all that a range touches is read.
  static void tell_system(Advice advice, Part part) {
    const auto begin = reinterpret_cast<std::uintptr_t>(part.data()), end = begin + part.size();
    const bool read = advice == Advice::read;
    const std::uintptr_t first = (read ? begin : begin + page - 1) / page * page;
    const std::uintptr_t last = (read ? end + page - 1 : end) / page * page;
    if (first >= last) return;
    auto* const at = reinterpret_cast<void*>(first);
    // a wish in both cases: refused, pages come as they are touched and go as the system likes
#if defined(MADV_POPULATE_READ) && defined(MADV_PAGEOUT)
    if (::madvise(at, last - first, read ? MADV_POPULATE_READ : MADV_PAGEOUT) == 0) return;
#endif
    (void)::madvise(at, last - first, read ? MADV_WILLNEED : MADV_DONTNEED);
  }

  std::vector<Layer> layers_;
  Advise advise_;
  std::size_t kept_ = 0;
  std::size_t now_ = SIZE_MAX, fetched_ = SIZE_MAX;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool busy_ = false, stop_ = false;
};

/// What a stream needs to know of a model's weights.
/// \errors usage for weights that are in memory of the process: those cannot go
template <class Weights>
[[nodiscard]] std::vector<WeightStream::Layer> streamed_layers(const Weights& weights) {
  std::vector<WeightStream::Layer> layers;
  for (const auto& layer : weights.layers) {
    WeightStream::Layer out;
    const auto add = [](auto& parts, const auto& matrix) {
      if (matrix.empty()) return;
      if constexpr (requires { matrix.factored(); }) {
        if (matrix.factored()) {
          throw usage_error("resident_weights", "layers are stored as factors of low rank",
                            "a checkpoint whose layers are whole");
        }
      }
      const PackedMatrix packed = matrix.packed();
      if (packed.owner == nullptr) {
        throw usage_error("resident_weights", "the weights are in memory of this process",
                          "a start from an image or a weight cache, mapped");
      }
      parts.push_back(packed.bytes);
    };
    for (const auto* matrix :
         {&layer.qkv, &layer.attention_output, &layer.mlp.in, &layer.mlp.out, &layer.router}) {
      add(out.always, *matrix);
    }
    for (const auto& expert : layer.experts) {
      add(out.asked, expert.in);
      add(out.asked, expert.out);
    }
    layers.push_back(std::move(out));
  }
  return layers;
}

/// The stream of a model's weights, for `resident` bytes of them in memory.
template <class Weights>
[[nodiscard]] std::unique_ptr<WeightStream> stream_of(const Weights& weights,
                                                      std::int64_t resident) {
  auto layers = streamed_layers(weights);
  std::size_t fixed = weights.bytes();
  for (const WeightStream::Layer& layer : layers) fixed -= WeightStream::bytes_of(layer);
  return std::make_unique<WeightStream>(std::move(layers), fixed, resident);
}

}  // namespace quire::model
