#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/admission/concepts.hpp>
#include <quire/eviction/frequency_sketch.hpp>

namespace quire::admission {

/// A block is cached if its text was asked for more often lately than that of the block it would
/// push out; with free blocks, always.
/// \complexity O(1): one cache line for the block, one for its rival.
/// \errors none.
/// \source Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", TOS 2017.
/// Deviations: those of the sketch (eviction/frequency_sketch.hpp); and a block takes its place when
/// it is computed, so the rival is the block that would go next, not the one that made room.
class TinyLfu {
 public:
  static constexpr std::string_view name = "tiny_lfu";
  static constexpr bool admits_all = false;
  explicit TinyLfu(BlockCount capacity) : sketch_(capacity) {}

  void on_request(const BlockContext& context) { sketch_.add(context.content); }
  [[nodiscard]] bool admit(const BlockContext& context, std::optional<std::uint64_t> rival) const {
    return !rival || sketch_.estimate(context.content) > sketch_.estimate(*rival);
  }

 private:
  eviction::FrequencySketch sketch_;
};
static_assert(AdmissionPolicy<TinyLfu>);

}  // namespace quire::admission
