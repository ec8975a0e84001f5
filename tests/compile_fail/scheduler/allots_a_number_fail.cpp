// expect: quire: scheduler: the policy has no `Tokens allot(const BatchState&, Tokens remaining) const`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// A plain number, where the concept asks for Tokens.
struct Mine : quire::scheduler::Fcfs {
  using Fcfs::Fcfs;
#ifndef QUIRE_FIXED
  long allot(const quire::BatchState&, quire::Tokens remaining) const { return remaining.value; }
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
