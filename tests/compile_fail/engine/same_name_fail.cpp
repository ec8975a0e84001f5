// expect: quire: two variants of the list have the same name
#include <string_view>
#include <vector>

#include <quire/engine/registry.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/vllm.hpp>

// A variant that does not name itself has its base's name, and its rows could not be told apart.
struct Mine : quire::presets::Vllm {
#ifdef QUIRE_FIXED
  static constexpr std::string_view name = "mine";
#endif
  using Offload = quire::offload::SwapToHost;
};

int main() {
  std::vector<quire::Variant<quire::executor::Simulated>> out;
  quire::append_variants<quire::executor::Simulated, quire::type_list<quire::presets::Vllm, Mine>,
                         0, 2>(out);
}
