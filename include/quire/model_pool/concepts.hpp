#pragma once

#include <concepts>
#include <cstddef>
#include <string>

#include <quire/core/units.hpp>

namespace quire {

namespace model_pool {

/// How long starts take: a while, and as long as the bytes take from a disk.
struct StartRates {
  double bytes_per_second = 5e9;
  Seconds setup = 0.5;

  [[nodiscard]] Seconds cost(Bytes bytes) const {
    return setup + static_cast<double>(bytes.value) / bytes_per_second;
  }
};

/// What a source gives for a model that was asked for.
template <class Model>
struct Started {
  Model model;
  Seconds seconds = 0;  // until it could be used
};

}  // namespace model_pool

/// Where the models of a pool come from, 0 .. count() - 1.
/// - Model: what keeps one in memory while it lives
/// - bytes(i): of memory that it takes; start_cost(i): what starting it is expected to take, for policies that
///   weigh it. Both stay as they are.
/// - start(i): brings it into memory. \errors as the source says; the pool is then as before
template <class S>
concept ModelSource = requires(S source, const S& known, std::size_t model) {
  typename S::Model;
  { known.count() } -> std::same_as<std::size_t>;
  { known.name(model) } -> std::convertible_to<std::string>;
  { known.bytes(model) } -> std::same_as<Bytes>;
  { known.start_cost(model) } -> std::same_as<Seconds>;
  { source.start(model) } -> std::same_as<model_pool::Started<typename S::Model>>;
};

}  // namespace quire
