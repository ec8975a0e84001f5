// expect: quire: speculation: the policy has no `void propose(std::span<const TokenId> text, Tokens
#include <span>
#include <string_view>
#include <vector>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// A policy that is not told how many guesses are wanted.
struct Mine {
  static constexpr std::string_view name = "mine";
  static constexpr quire::Tokens most = 4;
#ifdef QUIRE_FIXED
  void propose(std::span<const quire::TokenId> text, quire::Tokens,
               std::vector<quire::TokenId>& out) const {
#else
  void propose(std::span<const quire::TokenId> text, std::vector<quire::TokenId>& out) const {
#endif
      out.push_back(text.back());
}
}
;
struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "variant";
  using Speculation = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
