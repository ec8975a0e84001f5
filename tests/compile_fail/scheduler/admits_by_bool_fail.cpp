// expect: quire: scheduler: the policy has no `Admission admit(const BatchState&, const
// SequenceGroup&) const`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The policy answers yes or no where Admission is asked for.
struct Mine : quire::scheduler::Fcfs {
  using Fcfs::Fcfs;
#ifndef QUIRE_FIXED
  bool admit(const quire::BatchState&, const quire::SequenceGroup&) const { return true; }
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
