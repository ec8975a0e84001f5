#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include <quire/core/error.hpp>
#include <quire/core/units.hpp>
#include <quire/cost_model/concepts.hpp>
#include <quire/kv_format/concepts.hpp>

namespace quire {

/// How much memory the planner may use, and for what.
struct MemoryBudget {
  double utilization = 0.9;                 // share of device memory the engine takes
  Bytes workspace = std::int64_t{1} << 30;  // activations and library buffers, each device
  Bytes kv_bytes = 0;  // > 0: this much for keys and values over all devices, beside the weights
  Bytes host_bytes = std::int64_t{4} << 30;    // host tier for swapped blocks, over all devices
  Bytes disk_bytes = std::int64_t{100} << 30;  // disk tier, where a policy has one
};

/// A division of device memory into weights and KV blocks, with the numbers it came from.
struct MemoryPlan {
  double device_bytes = 0;  // all devices together
  double weight_bytes = 0;
  double kv_bytes = 0;
  double block_bytes = 0;
  Tokens block_tokens = 16;
  BlockCount device_blocks = 0;
  BlockCount host_blocks = 0;
  BlockCount disk_blocks = 0;

  [[nodiscard]] Tokens slots() const { return device_blocks.value * block_tokens.value; }

  /// The plan as a sentence with every term.
  [[nodiscard]] std::string explain() const {
    char text[320];
    std::snprintf(
        text, sizeof text,
        "%.1f GB of device memory: %.1f GB weights, %.1f GB keys and values = %lld blocks "
        "of %lld tokens (%.0f KB each) = %lld tokens; %lld host blocks",
        device_bytes / 1e9, weight_bytes / 1e9, kv_bytes / 1e9,
        static_cast<long long>(device_blocks.value), static_cast<long long>(block_tokens.value),
        block_bytes / 1e3, static_cast<long long>(slots().value),
        static_cast<long long>(host_blocks.value));
    return text;
  }
};

/// What lies beside the model's own: a draft model's weights, and its part of each block.
struct MemoryBeside {
  double weight_bytes = 0;
  double block_bytes = 0;
};

/// Turns model, device and formats into a number of KV blocks.
/// \errors quire::Error (state) when the weights, with the keys and values that were asked for, do not
/// fit into the devices, (usage) for shares and numbers of devices that are none.
[[nodiscard]] inline MemoryPlan plan_memory(const CostInputs& in, const MemoryBudget& budget,
                                            const MemoryBeside& beside = {}) {
  if (in.tensor_parallel < 1) {
    throw usage_error("tensor_parallel", std::to_string(in.tensor_parallel) + " devices",
                      "at least one");
  }
  if (!(budget.utilization > 0 && budget.utilization <= 1)) {
    throw usage_error("memory.utilization", "it is no share of the device's memory",
                      "above 0, at most 1");
  }
  const auto devices = static_cast<double>(in.tensor_parallel);
  MemoryPlan plan;
  plan.device_bytes = in.hardware.memory_bytes * devices;
  plan.weight_bytes =
      static_cast<double>(in.model.parameters()) * in.storage.weight_bytes + beside.weight_bytes;
  plan.block_bytes = in.storage.kv_block_bytes;
  plan.block_tokens = in.storage.block_tokens;
  auto gigabytes = [](double bytes) {
    char text[40];
    std::snprintf(text, sizeof text, "%.1f GB", bytes / 1e9);
    return std::string(text);
  };
  auto refuse = [&](const std::string& what, double room) {
    throw state_error(in.model.name + " on " + std::to_string(in.tensor_parallel) + " x " +
                          std::string(in.hardware.name),
                      gigabytes(plan.weight_bytes) + " of weights " + what + " " + gigabytes(room),
                      "more devices (tensor_parallel), a larger one, or a smaller format");
  };
  if (budget.kv_bytes > Bytes{0}) {
    plan.kv_bytes = static_cast<double>(budget.kv_bytes.value);
    if (plan.weight_bytes + plan.kv_bytes > plan.device_bytes) {
      refuse("and " + gigabytes(plan.kv_bytes) + " of keys and values do not fit into",
             plan.device_bytes);
    }
  } else {
    plan.kv_bytes = plan.device_bytes * budget.utilization - plan.weight_bytes -
                    static_cast<double>(budget.workspace.value) * devices;
    if (plan.kv_bytes < plan.block_bytes) {
      refuse("leave no room for keys and values in", plan.device_bytes * budget.utilization);
    }
  }
  plan.device_blocks =
      static_cast<std::int64_t>(plan.kv_bytes / (plan.block_bytes + beside.block_bytes));
  plan.host_blocks =
      static_cast<std::int64_t>(static_cast<double>(budget.host_bytes.value) / plan.block_bytes);
  plan.disk_blocks =
      static_cast<std::int64_t>(static_cast<double>(budget.disk_bytes.value) / plan.block_bytes);
  return plan;
}

/// Bytes that configuration C's formats need for a model.
template <class C>
[[nodiscard]] StorageCost storage_cost(const model::Shape& m) {
  StorageCost cost;
  const auto head_dim = static_cast<std::size_t>(m.head_dim);
  cost.weight_bytes = C::WeightFormat::weight_bytes(static_cast<std::size_t>(m.hidden));
  cost.kv_token_bytes = kv_format::token_bytes<typename C::KvFormat>(
      static_cast<std::size_t>(m.layers), static_cast<std::size_t>(m.kv_heads), head_dim);
  cost.block_tokens = C::BlockSize::tokens;
  cost.kv_block_bytes = cost.kv_token_bytes * static_cast<double>(cost.block_tokens.value);
  return cost;
}

}  // namespace quire
