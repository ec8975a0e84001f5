// expect: quire: scheduler: it never preempts, so it needs a reservation for all of a request
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// Two policies that are right alone and wrong together.
#ifdef QUIRE_FIXED
using Mine = quire::scheduler::Fcfs;
#else
using Mine = quire::scheduler::Orca;
#endif

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Scheduler = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
