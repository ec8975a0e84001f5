#pragma once

#include <string>
#include <utility>
#include <vector>

#include <experiments/common/reads.hpp>
#include <experiments/common/run_variant.hpp>
#include <quire/engine/registry.hpp>

namespace quire::experiment {

/// A registry's variants behind one type, whatever their executor is; options_of: Settings, and whether
/// the variant guesses with a draft model, to the executor's options.
template <class E, class MakeOptions>
[[nodiscard]] std::vector<RunVariant> erased(std::vector<Variant<E>> variants, metrics::Mode mode,
                                             MakeOptions options_of) {
  std::vector<RunVariant> out;
  for (Variant<E>& v : variants) {
    RunVariant r{
        .name = std::string(v.name), .slots = std::move(v.slots), .incompatible = v.incompatible};
    r.scheduler_reads = v.scheduler_reads;
    r.mode = mode;
    if (v.make != nullptr) {
      const bool drafts = detail::policy_of(r, "speculation") == "draft_model";
      r.make = [make = v.make, options_of, drafts](const Settings& s) {
        return make(options_of(s, drafts));
      };
    }
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace quire::experiment
