#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>

#include <quire/simt/simt.cuh>

namespace quire::executor {

/// Adds up between the ranks that compute a model's layers together, each with its share of the weights
/// (model::share_of_rank) and of every block's heads.
/// - sum(x, count, stream): in the stream's order, each of x[0 .. count) on this rank's device becomes
///   the sum of it over all ranks, the same bits on each. Ranks call it equally often, with equal counts.
///   Graphs record it as they do a launch.
template <class C>
concept Communicator = std::copyable<C> &&
    requires(C c, float* x, std::size_t count, simt::Stream stream) {
  { C::name } -> std::convertible_to<std::string_view>;
  c.sum(x, count, stream);
};

/// One rank, which has the whole model.
struct Alone {
  static constexpr std::string_view name = "alone";
  static void sum(float* /*x*/, std::size_t /*count*/, simt::Stream /*stream*/) {}
};
static_assert(Communicator<Alone>);

}  // namespace quire::executor
