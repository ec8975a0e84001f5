// expect: quire: every policy and configuration needs `static constexpr std::string_view name`
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/eviction/eviction.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// Everything is there but the word that tables show.
struct Mine {
#ifdef QUIRE_FIXED
  static constexpr std::string_view name = "mine";
#endif
  explicit Mine(quire::BlockCount) {}
  void on_insert(quire::BlockId, const quire::BlockContext&) {}
  void on_access(quire::BlockId, const quire::BlockContext&) {}
  void set_evictable(quire::BlockId, bool) {}
  void on_remove(quire::BlockId) {}
  std::optional<quire::BlockId> victim() { return std::nullopt; }
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Eviction = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
