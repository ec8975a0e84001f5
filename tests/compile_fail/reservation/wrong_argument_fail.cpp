// expect: quire: reservation: the policy has no `static Tokens reserve(const LengthHint&)`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The policy asks for a length that nobody gives it.
struct Mine {
  static constexpr std::string_view name = "mine";
  static constexpr bool contiguous = false;
#ifdef QUIRE_FIXED
  static quire::Tokens reserve(const quire::LengthHint& hint) { return hint.prompt; }
#else
  static quire::Tokens reserve(quire::Tokens prompt, quire::Tokens output);
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Reservation = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
