// expect: quire: retention: the policy has no `static constexpr bool keeps_all`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// Whether blocks can be shared depends on the answer that is missing.
struct Mine {
  static constexpr std::string_view name = "mine";
#ifdef QUIRE_FIXED
  static constexpr bool keeps_all = true;
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Retention = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
