// expect: quire: block_size: the configuration has no usable `using BlockSize =
// quire::BlockSize<16>`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// A number where a type is asked for.
#ifdef QUIRE_FIXED
using Mine = quire::BlockSize<16>;
#else
struct Mine {
  static constexpr int value = 16;
};
#endif

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using BlockSize = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
