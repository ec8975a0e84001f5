// expect: quire: prefix_index: the policy has no `bool insert(
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The pool must learn whether the block was indexed.
struct Mine : quire::prefix_index::None {
  using None::None;
#ifndef QUIRE_FIXED
  void insert(std::optional<quire::BlockId>, std::span<const quire::TokenId>, std::uint64_t,
              quire::BlockId) {}
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using PrefixIndex = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
