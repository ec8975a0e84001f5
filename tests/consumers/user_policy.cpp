// A policy of another project, in its own namespace: it runs in an engine without a line of Quire
// being touched.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <set>
#include <string_view>

#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/presets.hpp>

namespace lab {

std::int64_t victims = 0;  // for this program's own check; a policy has no use for it

/// Gives up the evictable block of the highest number: easy to predict, no good otherwise.
class HighestNumber {
 public:
  static constexpr std::string_view name = "highest_number";
  explicit HighestNumber(quire::BlockCount) {}
  void on_insert(quire::BlockId, const quire::BlockContext&) {}
  void on_access(quire::BlockId, const quire::BlockContext&) {}
  void set_evictable(quire::BlockId block, bool evictable) {
    if (evictable) {
      evictable_.insert(block);
    } else {
      evictable_.erase(block);
    }
  }
  void on_remove(quire::BlockId block) { evictable_.erase(block); }
  std::optional<quire::BlockId> victim() const {
    if (evictable_.empty()) return std::nullopt;
    ++victims;
    return *evictable_.rbegin();
  }

 private:
  std::set<quire::BlockId> evictable_;
};

struct Variant : quire::presets::VllmPrefixCache {
  static constexpr std::string_view name = "vllm+prefix_cache+highest_number";
  using Eviction = HighestNumber;
};
static_assert(quire::changed_slots<Variant, quire::presets::VllmPrefixCache> ==
              quire::Slot::eviction);

}  // namespace lab

template <class Config>
quire::EngineCounters serve(std::uint64_t& decisions) {
  quire::Engine<Config, quire::executor::Simulated> engine(
      {.model = quire::model::llama_13b,
       .hardware = quire::hardware::a100_40gb,
       .memory = {.kv_bytes = std::int64_t{1} << 30}});
  quire::Rng rng(1);
  for (int i = 0; i < 200; ++i) {  // ten shared beginnings, each with its own question
    quire::Request request;
    request.chunks = {{.content = rng.below(10), .tokens = 256},
                      {.content = 1000 + rng.below(1u << 30), .tokens = 40}};
    request.prompt_length = 296;
    request.output_length = 30;
    engine.submit(std::move(request));
  }
  while (engine.has_work()) {
    if (engine.step().idle) break;
    static_cast<void>(engine.take_finished());
  }
  if (engine.has_work()) std::exit(1);
  decisions = engine.decision_hash();
  return engine.counters();
}

int main() {
  std::uint64_t mine = 0, again = 0, lru = 0;
  const auto counters = serve<lab::Variant>(mine);
  serve<lab::Variant>(again);
  serve<quire::presets::VllmPrefixCache>(lru);
  std::cout << quire::describe<lab::Variant>() << "\nevictions asked for: " << lab::victims
            << "\ntokens found in the cache: " << counters.prefix_hit_tokens.value << '\n';
  const bool well = lab::victims > 0 && counters.prefix_hit_tokens > 0 && mine == again;
  return well && mine != lru ? 0 : 1;
}
