// expect: quire: the configuration combines slots that exclude each other
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/kv_format/kivi.hpp>
#include <quire/presets/presets.hpp>

// KIVI's groups of 32 tokens in vLLM's blocks of 16.
struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+kivi";
  using KvFormat = quire::kv_format::Kivi<2>;
#ifdef QUIRE_FIXED
  using BlockSize = quire::BlockSize<32>;
#endif
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
