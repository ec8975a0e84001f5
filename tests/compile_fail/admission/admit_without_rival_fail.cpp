// expect: quire: admission: the policy has no `bool admit(const BlockContext&, std::optional<std::uint64_t> rival)`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// The policy decides without being told whose place the block would take.
struct Mine {
  static constexpr std::string_view name = "mine";
  static constexpr bool admits_all = false;
  explicit Mine(quire::BlockCount) {}
  void on_request(const quire::BlockContext&) {}
#ifdef QUIRE_FIXED
  bool admit(const quire::BlockContext&, std::optional<std::uint64_t>) { return false; }
#else
  bool admit(const quire::BlockContext&) { return false; }
#endif
};

struct Variant : quire::presets::VllmPrefixCache {
  static constexpr std::string_view name = "vllm_prefix_cache+mine";
  using Admission = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
