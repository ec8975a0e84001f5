// expect: quire: retention: a block whose tokens were dropped cannot be found by its text
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>
#include <quire/retention/retention.hpp>

// Two policies that are right alone and wrong together; one that only selects pages drops nothing.
#ifdef QUIRE_FIXED
using Mine = quire::retention::Quest;
#else
using Mine = quire::retention::H2O;
#endif

struct Variant : quire::presets::VllmPrefixCache {
  static constexpr std::string_view name = "vllm_prefix_cache+mine";
  using Retention = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
