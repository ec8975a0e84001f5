// expect: quire: every policy and configuration needs `static constexpr std::string_view name`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>
#include <quire/weight_format/weight_format.hpp>

// A number type is not yet a format.
#ifdef QUIRE_FIXED
using Mine = quire::weight_format::Fp32;
#else
using Mine = float;
#endif

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using WeightFormat = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
