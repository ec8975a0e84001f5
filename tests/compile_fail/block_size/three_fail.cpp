// expect: quire: block_size: the block size must be a power of two from 1 to 256
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

#ifdef QUIRE_FIXED
inline constexpr int tokens = 4;
#else
inline constexpr int tokens = 3;
#endif

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using BlockSize = quire::BlockSize<tokens>;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
