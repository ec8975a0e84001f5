// expect: quire: kv_format: the format has no `static void load(const std::byte* slab
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>

// What is stored can never be read back.
struct Mine {
  static constexpr std::string_view name = "mine";
  static constexpr std::size_t slab_bytes(std::size_t tokens, std::size_t dim) {
    return (tokens * dim + 63) / 64 * 64;
  }
  static constexpr double token_bytes(std::size_t dim) { return static_cast<double>(dim); }
  static void store(std::byte*, std::size_t, std::size_t, std::size_t, const float*) {}
#ifdef QUIRE_FIXED
  static void load(const std::byte*, std::size_t, std::size_t, std::size_t, float*) {}
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using KvFormat = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
