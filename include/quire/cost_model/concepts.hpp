#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include <quire/core/units.hpp>
#include <quire/cost_model/affine_coefficients.hpp>
#include <quire/cost_model/hardware.hpp>
#include <quire/cost_model/host_overhead.hpp>
#include <quire/executor/step.hpp>
#include <quire/model/shape.hpp>

namespace quire {

/// How many bytes the chosen formats take, so that a cost model need not know the formats.
struct StorageCost {
  double weight_bytes = 2;    // one weight, scales included
  double kv_token_bytes = 0;  // keys and values of one token, all layers, all heads
  double kv_block_bytes = 0;  // one block of all layers
  Tokens block_tokens = 16;
};

/// What a step takes: time, and where it is known energy.
struct StepCost {
  Seconds seconds = 0.0;
  Joules joules = 0.0;
  Bytes bytes_moved = 0;
};

class OperatorProfile;

/// Everything a cost model is made from.
struct CostInputs {
  model::Shape model;
  Hardware hardware;
  std::int64_t tensor_parallel = 1;
  StorageCost storage;
  HostOverhead host;
  std::shared_ptr<const OperatorProfile> profile{};  // for models that look times up
  bool rest_by_roofline = false;  // what the profile lacks is priced by the roofline, not refused
  BlockCount host_slots = std::int64_t{1} << 40;  // tier slots from here on are the disk's
  bool overlaps = false;  // transfers of a layer go on while the one before is computed
  std::optional<AffineCoefficients> affine{};  // for the model of that name
  /// Where decoding selects pages: how many, of storage.block_tokens each, and in how many layers it
  /// does not; 0 pages: it reads all that is cached.
  std::int64_t selected_pages = 0, dense_layers = 0;

  /// Cached keys that a sequence's step reads, in the mean over layers. Selecting pages costs reading
  /// the range of keys of each page there is: two vectors, as many as a token has.
  [[nodiscard]] Tokens attended(const SequencePlan& s) const {
    if (selected_pages == 0 || s.tokens != Tokens{1}) return s.keys_cached();
    const std::int64_t page = storage.block_tokens.value;
    const std::int64_t pages = ceil_div(s.keys_cached().value + 1, page);
    if (pages <= selected_pages) return s.keys_cached();
    const std::int64_t chosen = (selected_pages - 1) * page + s.keys_cached().value % page + pages;
    const std::int64_t dense = std::min(dense_layers, model.layers);
    return (dense * s.keys_cached().value + (model.layers - dense) * chosen) / model.layers;
  }
};

/// Predicts what executing a StepPlan costs; a pure function of the plan.
template <class M>
concept CostModel = std::constructible_from<M, const CostInputs&> &&
    requires(const M& model, const StepPlan& plan) {
  { M::name } -> std::convertible_to<std::string_view>;
  { model.cost(plan) } -> std::same_as<StepCost>;
};

/// A cost model that is chosen at run time, and what makes one for an engine: for drivers, which have every
/// model at hand. Code that knows its model names the type.
using AnyCost = std::function<StepCost(const StepPlan&)>;
using CostMaker = std::function<AnyCost(const CostInputs&)>;

}  // namespace quire
