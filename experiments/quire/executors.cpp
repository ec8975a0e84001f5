// The registries of variants, one for each executor, behind one type.
#include <string>
#include <string_view>
#include <vector>

#include <experiments/common/make_run.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/quire/commands.hpp>
#include <experiments/quire/erased.hpp>
#include <quire/engine/registry.hpp>
#include <quire/executor/simulated.hpp>

/// Generated from the program's list (quire_add_variants).
std::vector<quire::Variant<quire::executor::Simulated>> all_variants();

namespace quire::experiment {

std::vector<RunVariant> variants_of(const std::string& executor) {
  if (executor == "simulated") {
    return erased(all_variants(), metrics::Mode::simulated, [](const Settings& s, bool drafts) {
      executor::Simulated::Options options = simulated_options(s, drafts);
      options.priced_by = cost_choice(s);
      return options;
    });
  }
  if (executor == "cpu") return variants_on_cpu();
  if (executor == "cuda") return variants_on_cuda();
  throw unknown_name("--executor", "executor", executor, detail::executor_names);
}

std::vector<std::string> chosen_names(const std::string& executor, std::string_view slot) {
  if (executor != "cpu") return {};
  return chosen_names_on_cpu(slot);
}

void add_chosen(std::vector<RunVariant>& all, const Selection& selection) {
  if (selection.settings.executor == "cpu") add_chosen_on_cpu(all, selection);
}

}  // namespace quire::experiment
