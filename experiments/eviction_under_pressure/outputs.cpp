#include <experiments/eviction_under_pressure/outputs.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <experiments/common/checkpoints.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <experiments/retention/texts.hpp>
#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::eviction_lab {
namespace {

struct Alone : presets::Vllm {
  static constexpr std::string_view name = "no_prefix_index";
  using Offload = offload::Recompute;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};
struct Cached : presets::VllmPrefixCache {
  static constexpr std::string_view name = "prefix_index+chosen";
  using Eviction = Chosen;
  using Offload = offload::Recompute;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};

/// Beginnings of stories, some asked for more often than others, each time up to another place.
std::vector<std::vector<TokenId>> prompts_of(const std::vector<experiment::Story>& stories) {
  std::vector<std::vector<TokenId>> prompts;
  Rng rng(1);
  while (prompts.size() < 96) {
    const auto& tokens = stories[rng.below(1 + rng.below(stories.size()))].tokens;
    const auto length = static_cast<std::ptrdiff_t>(64 + 16 * rng.below(7));
    prompts.emplace_back(tokens.begin(), tokens.begin() + std::min(length, std::ssize(tokens) - 1));
  }
  return prompts;
}

/// \return generated tokens by request
template <class C>
std::vector<std::vector<TokenId>> generate(const checkpoint::Checkpoint& model,
                                           const std::vector<std::vector<TokenId>>& prompts,
                                           Outputs* seen) {
  executor::Cpu::Options options;
  options.model = model;
  options.limits = {.max_sequences = 2, .watermark = 0};
  options.device_blocks = 48;  // two requests want up to 22; all beginnings together 160
  options.poison = true;
  Engine<C, executor::Cpu> engine(options);
  for (const auto& prompt : prompts) {
    Request r;
    r.prompt = prompt;
    r.output_length = 8;
    r.sampling.max_tokens = 8;
    r.sampling.temperature = 0;
    engine.submit(std::move(r));
  }
  std::vector<std::vector<TokenId>> out(prompts.size());
  while (engine.has_work()) {
    engine.step();
    if (seen != nullptr) {
      seen->evicted_blocks += static_cast<std::int64_t>(engine.last_plan().evicted.size());
    }
    for (const auto& group : engine.take_finished()) {
      if (!group->error.empty()) throw state_error("eviction", group->error, "more KV blocks");
      const auto& tokens = group->sequences.front().tokens;
      out[group->request.id.value].assign(tokens.begin() + group->request.prompt_length.value,
                                          tokens.end());
    }
  }
  if (seen != nullptr) seen->hit_tokens = engine.counters().prefix_hit_tokens.value;
  return out;
}

}  // namespace

Outputs outputs_under(const Policy& policy) {
  const std::string source(QUIRE_SOURCE_DIR);
  const checkpoint::Checkpoint model =
      experiment::opened_checkpoint(source + "/experiments/small_models/checkpoints/stories");
  const auto prompts = prompts_of(experiment::read_stories(
      source + "/experiments/retention/held_out.jsonl", *model.tokenizer, 16));
  Outputs out;
  const auto want = generate<Alone>(model, prompts, nullptr);
  Chosen::choose(policy);
  const auto got = generate<Cached>(model, prompts, &out);
  for (std::size_t i = 0; i < want.size(); ++i) {
    for (std::size_t t = 0; t < want[i].size(); ++t) {
      out.tokens += 1;
      out.different += t >= got[i].size() || got[i][t] != want[i][t];
    }
  }
  return out;
}

}  // namespace quire::eviction_lab
