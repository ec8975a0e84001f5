// mechanism: of LLM's options, those that executors on the processor alone have
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <quire/checkpoint/load.hpp>
#include <quire/core/error.hpp>
#include <quire/core/units.hpp>

namespace quire::detail {

/// What executors on the processor have, and others need not. \errors usage, for what is asked in vain
template <class Asked, class Options>
void take_cpu_options(const Asked& options, Options& out) {
  if constexpr (requires { out.threads; }) {
    out.kv_calibration = options.kv_calibration;
    out.threads = options.threads > 0
                      ? options.threads
                      : std::max<std::size_t>(1, std::thread::hardware_concurrency());
    out.pin_threads = options.pin_threads;
    out.resident_weights = options.resident_weights;
    if (options.resident_weights > Bytes{0} && options.file_load != "mapped") {
      throw usage_error("resident_weights", "file load " + options.file_load + " reads all of them",
                        "mapped");
    }
    out.weight_cache = {options.weight_cache, checkpoint::file_loader_named(options.file_load),
                        options.weight_cache_capacity, options.weight_cache_tell};
  } else {
    const std::pair<std::string_view, bool> asked[] = {
        {"threads", options.threads > 0},
        {"pin_threads", options.pin_threads},
        {"kv_calibration", options.kv_calibration != nullptr},
        {"resident_weights", options.resident_weights > Bytes{0}},
        {"weight_cache", !options.weight_cache.empty()}};
    for (const auto& [name, is] : asked) {
      if (is) {
        throw usage_error(name, "this executor has nothing of the kind",
                          "quire::LLM<C, quire::executor::Cpu>, or the option left alone");
      }
    }
  }
}

}  // namespace quire::detail
