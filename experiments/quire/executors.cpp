// The registries of variants, one for each executor, behind one type.
#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <experiments/common/make_run.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/engine/registry.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/simulated.hpp>

/// Generated from the program's list and from cpu_variants.hpp (quire_add_variants).
std::vector<quire::Variant<quire::executor::Simulated>> all_variants();
std::vector<quire::Variant<quire::executor::Cpu>> cpu_variants();

namespace quire::experiment {
namespace {

/// What the CPU executor is told: --model is the folder of a checkpoint.
executor::Cpu::Options cpu_options(const Settings& s) {
  const auto gib = [](double x) { return static_cast<std::int64_t>(x * 1024 * 1024 * 1024); };
  executor::Cpu::Options options{.model = checkpoint::open_checkpoint(s.model),
                                 .limits = limits_of(s)};
  options.threads = s.threads > 0 ? static_cast<std::size_t>(s.threads)
                                  : std::max<std::size_t>(1, std::thread::hardware_concurrency());
  if (s.kv_memory_gib > 0) options.kv_memory = gib(s.kv_memory_gib);
  if (s.swap_space_gib > 0) options.host_memory = gib(s.swap_space_gib);
  options.wrap_tokens = true;  // prompts of workloads are known by identity, not by text
  return options;
}

template <class E, class MakeOptions>
std::vector<RunVariant> erased(std::vector<Variant<E>> variants, metrics::Mode mode,
                               MakeOptions options_of) {
  std::vector<RunVariant> out;
  for (Variant<E>& v : variants) {
    RunVariant r{.name = v.name, .slots = std::move(v.slots), .incompatible = v.incompatible};
    r.mode = mode;
    if (v.make != nullptr) {
      r.make = [make = v.make, options_of](const Settings& s) { return make(options_of(s)); };
    }
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace

std::vector<RunVariant> variants_of(const std::string& executor) {
  if (executor == "simulated") {
    return erased(all_variants(), metrics::Mode::simulated, simulated_options);
  }
  if (executor == "cpu") return erased(cpu_variants(), metrics::Mode::measured, cpu_options);
  throw unknown_name("--executor", "executor", executor, detail::executor_names);
}

}  // namespace quire::experiment
