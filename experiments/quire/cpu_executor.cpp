// The variants that run for real on this machine's processor.
#include <cstdint>
#include <vector>

#include <experiments/common/make_run.hpp>
#include <experiments/quire/commands.hpp>
#include <experiments/quire/erased.hpp>
#include <quire/engine/registry.hpp>
#include <quire/executor/cpu.hpp>

/// Generated from the program's CPU_LIST (quire_add_variants).
std::vector<quire::Variant<quire::executor::Cpu>> cpu_variants();

namespace quire::experiment {
namespace {

/// What the CPU executor is told: --model is the folder of a checkpoint.
executor::Cpu::Options cpu_options(const Settings& s, bool) {
  const auto gib = [](double x) { return static_cast<std::int64_t>(x * 1024 * 1024 * 1024); };
  executor::Cpu::Options options{.model = checkpoint::open_checkpoint(s.model),
                                 .limits = limits_of(s)};
  options.threads = threads_of(s);
  options.pin_threads = s.thread_places == "pinned";
  if (s.kv_memory_gib > 0) options.kv_memory = gib(s.kv_memory_gib);
  if (s.swap_space_gib > 0) options.host_memory = gib(s.swap_space_gib);
  options.disk.directory = s.disk_dir;
  options.wrap_tokens = true;  // prompts of workloads are known by identity, not by text
  return options;
}

}  // namespace

std::vector<RunVariant> variants_on_cpu() {
  return erased(cpu_variants(), metrics::Mode::measured, cpu_options);
}

}  // namespace quire::experiment
