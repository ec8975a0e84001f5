// expect: quire: retention: a policy that drops tokens needs `void after_step(
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/presets/presets.hpp>
#include <quire/retention/compaction.hpp>

// It says that it drops tokens, but not which.
struct Mine {
  static constexpr std::string_view name = "mine";
  static constexpr bool keeps_all = false;
  static constexpr auto scope = quire::retention::Scope::sequence;
  static constexpr bool reassigns_positions = false;
  using Votes = quire::retention::NoVotes;
  using Compaction = quire::retention::LeaveHoles;
  Mine(const quire::RetentionLimits&, std::int64_t /*layers*/) {}
#ifdef QUIRE_FIXED
  void after_step(quire::retention::Lane& lane, std::span<const std::int64_t>,
                  const quire::retention::LaneStep&, std::vector<std::uint32_t>& drop) const {
    if (lane.entries.size() > 100) drop.push_back(0);
  }
#endif
};

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+mine";
  using Retention = Mine;
};

int main() {
  quire::Engine<Variant, quire::executor::Simulated> engine({});
  engine.step();
}
