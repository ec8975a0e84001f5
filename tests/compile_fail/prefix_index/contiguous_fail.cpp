// expect: quire: prefix_index: blocks of a contiguous reservation cannot be shared
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// Two policies that are right alone and wrong together.
#ifdef QUIRE_FIXED
using Mine = quire::prefix_index::None;
#else
using Mine = quire::prefix_index::HashChain;
#endif

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Reservation = quire::reservation::MaxLength;
  using PrefixIndex = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
