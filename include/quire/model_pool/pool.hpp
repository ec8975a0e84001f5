#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/text.hpp>
#include <quire/core/units.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/model_pool/concepts.hpp>

namespace quire::model_pool {

/// Several models, of which as many as fit are kept in memory: a request finds its model there, or waits
/// until it is started in place of others. Which those are is chosen by the same policies that order KV
/// blocks: a model is a block of its own size, whose recomputation is its start.
///
/// A model that is in use, or that was kept for good, is not dropped.
/// \complexity a request: the policy's own, for each model that is dropped
/// \source Fu et al., "ServerlessLLM", OSDI '24 (checkpoints kept in a server's memory, LRU); Cherkasova,
/// "GreedyDual-Size-Frequency", HP Labs 1998 (objects of different sizes). Deviation: a policy's capacity
/// is in models, as many as could ever be there at once.
template <EvictionPolicy Eviction, ModelSource Source>
class ModelPool {
 public:
  using Model = typename Source::Model;

  /// What became of a request.
  struct Request {
    const Model* model = nullptr;  // valid until it is released
    bool hit = false;              // it was in memory
    Seconds waited = 0;            // for its start
    std::size_t dropped = 0;       // models that made room
  };
  struct Counts {
    std::uint64_t requests = 0, hits = 0, starts = 0, dropped = 0;
    Bytes requested = 0, hit = 0, started = 0;
    Seconds waited = 0;
  };

  /// \errors usage, for no memory at all
  ModelPool(Bytes capacity, Source source)
      : source_(std::move(source)),
        capacity_(capacity),
        slots_of_(source_.count()),
        slots_(most_at_once(source_, capacity)),
        order_(BlockCount(static_cast<std::int64_t>(std::max<std::size_t>(1, slots_.size())))) {
    if (capacity <= Bytes{0}) throw usage_error("model pool", "has no memory", "some");
    free_.reserve(slots_.size());
    for (std::size_t i = slots_.size(); i-- > 0;) free_.push_back(static_cast<std::uint32_t>(i));
  }

  [[nodiscard]] Bytes used() const { return used_; }
  [[nodiscard]] Bytes capacity() const { return capacity_; }
  [[nodiscard]] const Counts& counts() const { return counts_; }
  [[nodiscard]] const Source& source() const { return source_; }
  [[nodiscard]] bool resident(std::size_t model) const { return slots_of_.at(model).has_value(); }

  /// Starts a model before anybody asks for it, where it has room beside those that are there.
  /// keep: it is never dropped. Gives back whether it is in memory now. \errors as Source::start
  bool preload(std::size_t model, bool keep = false) {
    if (!resident(model)) {
      if (source_.bytes(model) > capacity_ - used_) return false;
      (void)start(model, std::nullopt);
    }
    if (keep && !slot(model).kept) {
      slot(model).kept = true;
      if (slot(model).users == 0) order_.set_evictable(block(model), false);
    }
    return true;
  }

  /// Gives a model, which stays until release(model) is called as often as this.
  /// next_use: when it is asked for again, on the policy's count of uses; for policies that know the future
  /// \errors usage for a model that never fits; state where all that could make room is in use; as Source::start
  [[nodiscard]] Request acquire(std::size_t model, std::optional<std::uint64_t> next_use = {}) {
    const Bytes bytes = source_.bytes(model);
    Request out;
    out.hit = resident(model);
    if (out.hit) {
      order_.on_access(block(model), context(model, next_use));
    } else {
      out.dropped = make_room(model);
      out.waited = start(model, next_use);
      counts_.waited += out.waited;
    }
    ++counts_.requests;
    counts_.requested += bytes;
    if (out.hit) {
      ++counts_.hits;
      counts_.hit += bytes;
    }
    if (slot(model).users++ == 0 && !slot(model).kept) order_.set_evictable(block(model), false);
    out.model = &*slot(model).model;
    return out;
  }
  /// \pre acquired and not released since
  void release(std::size_t model) {
    if (--slot(model).users == 0 && !slot(model).kept) order_.set_evictable(block(model), true);
  }

 private:
  struct Slot {
    std::optional<Model> model;
    std::size_t index = 0;  // of the model
    std::size_t users = 0;
    bool kept = false;
  };

  /// Models that could be in memory together: the smallest.
  [[nodiscard]] static std::size_t most_at_once(const Source& source, Bytes capacity) {
    std::vector<Bytes> sizes(source.count());
    for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = source.bytes(i);
    std::sort(sizes.begin(), sizes.end());
    std::size_t n = 0;
    for (Bytes sum = 0; n < sizes.size() && sum + sizes[n] <= capacity; ++n) sum += sizes[n];
    return n;
  }
  [[nodiscard]] BlockId block(std::size_t model) const { return {*slots_of_[model]}; }
  [[nodiscard]] Slot& slot(std::size_t model) { return slots_[*slots_of_[model]]; }
  [[nodiscard]] BlockContext context(std::size_t model,
                                     std::optional<std::uint64_t> next_use) const {
    BlockContext c;
    c.recompute = source_.start_cost(model).value;
    c.size = source_.bytes(model);
    c.content = model + 1;  // 0 would be unknown
    c.next_use = next_use;
    return c;
  }

  std::size_t make_room(std::size_t model) {
    const Bytes bytes = source_.bytes(model);
    if (bytes > capacity_) {
      throw usage_error(
          "model pool",
          in_quotes(source_.name(model)) + " has " + std::to_string(bytes.value) + " bytes",
          "at most " + std::to_string(capacity_.value) + ", the pool's memory");
    }
    // what is in use is known before anything is dropped
    Bytes held = 0;
    for (const Slot& s : slots_) {
      if (s.model && (s.users > 0 || s.kept)) held += source_.bytes(s.index);
    }
    if (bytes > capacity_ - held) {
      throw state_error("model pool",
                        in_quotes(source_.name(model)) + " has " + std::to_string(bytes.value) +
                            " bytes, and models in use hold " + std::to_string(held.value) +
                            " of " + std::to_string(capacity_.value),
                        "one of them to be released");
    }
    std::size_t dropped = 0;
    for (; bytes > capacity_ - used_; ++dropped) drop(*order_.victim());
    return dropped;
  }
  void drop(BlockId b) {
    Slot& s = slots_[b.value];
    order_.on_remove(b);
    used_ -= source_.bytes(s.index);
    slots_of_[s.index].reset();
    s = {};
    free_.push_back(b.value);
    ++counts_.dropped;
  }
  /// \pre there is room
  Seconds start(std::size_t model, std::optional<std::uint64_t> next_use) {
    Started<Model> started = source_.start(model);
    const std::uint32_t at = free_.back();
    free_.pop_back();
    slots_[at] = {std::move(started.model), model, 0, false};
    slots_of_[model] = at;
    used_ += source_.bytes(model);
    order_.on_insert({at}, context(model, next_use));
    order_.set_evictable({at}, true);
    ++counts_.starts;
    counts_.started += source_.bytes(model);
    return started.seconds;
  }

  Source source_;
  Bytes capacity_, used_ = 0;
  std::vector<std::optional<std::uint32_t>> slots_of_;  // by model
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  Eviction order_;
  Counts counts_;
};

}  // namespace quire::model_pool
