// expect: quire: eviction: the policy has no `std::optional<BlockId> victim()`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/eviction/eviction.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The policy answers with a block even when it has none to give.
struct Mine : quire::eviction::Fifo {
  using Fifo::Fifo;
#ifndef QUIRE_FIXED
  quire::BlockId victim() { return {}; }
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
