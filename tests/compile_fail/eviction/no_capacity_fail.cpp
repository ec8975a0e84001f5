// expect: quire: eviction: the policy cannot be built from a BlockCount
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/eviction/eviction.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The policy does not take the capacity of the pool.
struct Mine : quire::eviction::Fifo {
#ifdef QUIRE_FIXED
  using Fifo::Fifo;
#else
  Mine() : Fifo(100) {}
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Eviction = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
