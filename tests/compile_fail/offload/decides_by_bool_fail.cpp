// expect: quire: offload: the policy has no `Preemption on_preempt(const PreemptionContext&) const`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The policy answers yes or no where one of two actions is asked for.
struct Mine : quire::offload::Recompute {
#ifndef QUIRE_FIXED
  static bool on_preempt(const quire::PreemptionContext&) { return true; }
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Offload = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
