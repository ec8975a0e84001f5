#pragma once

#include <cudnn.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/kernels/cudnn_attention/descriptor.hpp>
#include <quire/kernels/cudnn_attention/graph.hpp>

namespace quire::kernels::cudnn {

/// Whom plans are made for: the device that a handle is of, or one that is described and need not be
/// here (its plans can be made, not run).
struct Target {
  cudnnHandle_t handle = nullptr;
  const Descriptor* device = nullptr;  // made by described_device()
};

/// A device from its description, as cuDNN writes it (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION).
[[nodiscard]] inline Descriptor described_device(std::string_view json) {
  Descriptor d(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "cudnn device from its description");
  d.set_all(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
            std::span<const char>(json.data(), json.size()));
  d.finish();
  return d;
}

/// How one shape is computed: the first of the library's proposals that it can build.
struct Plan {
  std::unique_ptr<AttentionGraph> graph;
  std::optional<Descriptor> engine_config, execution;
  std::int64_t workspace_bytes = 0;
  std::string incompatible;  // why there is none; then there is no execution
};

/// \errors state, for failures other than of not having what is asked for
[[nodiscard]] inline Plan make_plan(const AttentionShape& shape, const Target& target) {
  Plan plan;
  plan.incompatible = incompatible_because(shape);
  if (!plan.incompatible.empty()) return plan;
  plan.graph = std::make_unique<AttentionGraph>(shape, target.handle);
  const std::string& asked = plan.graph->asked();
  std::string words;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    Descriptor proposals(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, asked + ": proposals");
    proposals.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, plan.graph->graph())
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
    if (target.device != nullptr) proposals.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.device);
    if (const cudnnStatus_t status = proposals.try_to_finish(); status != CUDNN_STATUS_SUCCESS) {
      if (!refuses(status)) check(status, "cudnnBackendFinalize", asked + ": proposals");
      words = last_words();
      continue;
    }
    std::int64_t count = 0;
    check(cudnnBackendGetAttribute(proposals.raw(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
          "cudnnBackendGetAttribute CUDNN_ATTR_ENGINEHEUR_RESULTS", asked);
    std::vector<Descriptor> configs;
    std::vector<cudnnBackendDescriptor_t> raw;
    configs.reserve(static_cast<std::size_t>(count));
    raw.reserve(configs.capacity());
    for (std::int64_t i = 0; i < count; ++i) {
      raw.push_back(
          configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, asked + ": engine").raw());
    }
    check(cudnnBackendGetAttribute(proposals.raw(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, raw.data()),
          "cudnnBackendGetAttribute CUDNN_ATTR_ENGINEHEUR_RESULTS", asked);
    configs.erase(configs.begin() + count, configs.end());
    for (Descriptor& config : configs) {
      Descriptor execution(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, asked + ": plan");
      execution.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (target.handle != nullptr) {
        execution.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, target.handle);
      }
      if (target.device != nullptr) {
        execution.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.device);
      }
      if (const cudnnStatus_t status = execution.try_to_finish(); status != CUDNN_STATUS_SUCCESS) {
        if (!refuses(status)) check(status, "cudnnBackendFinalize", asked + ": plan");
        words = last_words();
        continue;
      }
      plan.workspace_bytes = execution.number(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
      plan.engine_config.emplace(std::move(config));
      plan.execution.emplace(std::move(execution));
      return plan;
    }
  }
  plan.incompatible = "cuDNN " + std::to_string(cudnnGetVersion()) + " has no engine for " + asked +
                      (words.empty() ? std::string() : " (" + words + ")");
  return plan;
}

}  // namespace quire::kernels::cudnn
