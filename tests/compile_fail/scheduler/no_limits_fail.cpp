// expect: quire: scheduler: the policy cannot be built from a SchedulerLimits
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The policy does not take the limits that the user sets.
struct Mine : quire::scheduler::Fcfs {
#ifdef QUIRE_FIXED
  using Fcfs::Fcfs;
#else
  Mine() : Fcfs(quire::SchedulerLimits{}) {}
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Scheduler = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
