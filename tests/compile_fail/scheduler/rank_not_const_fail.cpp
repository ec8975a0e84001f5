// expect: quire: scheduler: the policy has no `double rank(const SequenceGroup&, Seconds now) const`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The engine asks for ranks while it sorts, of a policy that must not change meanwhile.
struct Mine : quire::scheduler::Fcfs {
  using Fcfs::Fcfs;
#ifdef QUIRE_FIXED
  double rank(const quire::SequenceGroup&, quire::Seconds) const { return 0; }
#else
  double rank(const quire::SequenceGroup&, quire::Seconds) { return 0; }
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
