// The cost model that the settings of a run ask for.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <experiments/common/make_run.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/cost_model/affine.hpp>
#include <quire/cost_model/profile_layouts.hpp>
#include <quire/cost_model/tabulated.hpp>

namespace quire::experiment {
namespace {

/// DistServe's files have the names under which models were published.
std::string published_name(const model::Shape& shape) {
  std::string name(shape.name);
  for (char& c : name) {
    if (c == '_') c = '-';
  }
  return name.starts_with("opt-") ? "facebook/" + name : name;
}

AffineCoefficients coefficients_of(const Settings& s) {
  if (!s.profile.empty()) {
    return read_affine(s.profile, published_name(shape_of(s)), s.tensor_parallel_size);
  }
  if (const HardwareFile file = hardware_of(s); file.affine) return *file.affine;
  throw usage_error("--cost-model affine", "has no coefficients",
                    "--profile FILE, DistServe's, or --hardware FILE, one that `quire calibrate "
                    "--steps` wrote");
}

OperatorProfile profile_of(const Settings& s) {
  if (s.profile.empty()) {
    throw usage_error("--cost-model " + s.cost_model, "has no tables",
                      "--profile FILE,FILE or the prefix of LLMServingSim's tables");
  }
  if (std::error_code none; std::filesystem::exists(s.profile + "dense.csv", none)) {
    return OperatorProfile::read(s.profile);
  }
  return read_profile_files(profile_files_of(s), s.tensor_parallel_size);
}

}  // namespace

CostMaker cost_choice(const Settings& s) {
  if (s.cost_model == "roofline") return {};
  if (s.cost_model == "affine") {
    return [c = coefficients_of(s)](CostInputs in) -> AnyCost {
      in.affine = c;
      return [model = cost_model::Affine(in)](const StepPlan& plan) { return model.cost(plan); };
    };
  }
  const auto profile = std::make_shared<const OperatorProfile>(profile_of(s));
  const bool rest = s.cost_model == "tabulated_or_roofline";
  const CostMaker maker = [profile, rest](CostInputs in) -> AnyCost {
    in.profile = profile;
    in.rest_by_roofline = rest;
    return [model = cost_model::Tabulated(in)](const StepPlan& plan) { return model.cost(plan); };
  };
  CostInputs in;
  in.model = shape_of(s);
  static_cast<void>(maker(in));  // says what is missing before anything runs
  return maker;
}

}  // namespace quire::experiment
