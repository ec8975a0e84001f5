// expect: quire: weight_format: the format has no `static void unpack(const std::byte* panel
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>
#include <quire/weight_format/weight_format.hpp>

// Packed weights that nothing can read.
struct Mine {
  static constexpr std::string_view name = "mine";
  static constexpr std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) {
    return (outputs * inputs + 63) / 64 * 64;
  }
  static constexpr double weight_bytes(std::size_t) { return 1.0; }
  static void pack(std::byte*, std::size_t, std::size_t, const float*) {}
#ifdef QUIRE_FIXED
  static void unpack(const std::byte*, std::size_t, std::size_t, std::size_t, std::size_t, float*) {
  }
  static void read(const std::byte*, std::size_t, std::size_t, std::size_t, float*) {}
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using WeightFormat = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
