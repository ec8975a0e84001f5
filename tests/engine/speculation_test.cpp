// Whatever is guessed, and however often it is wrong, clients get what they get without guesses.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/hash.hpp>
#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/speculation/prompt_lookup.hpp>

#include "tests/engine/cpu_outputs.hpp"

namespace quire::cpu_outputs {
namespace {

/// Prompts with the texts that follow them without speculation.
const std::vector<std::vector<TokenId>>& known_texts() {
  static const auto texts = [] {
    std::vector<std::vector<TokenId>> all;
    const auto asked = requests();
    for (std::size_t i = 0; i < asked.size(); ++i) {
      for (const Text& text : one_by_one()[i]) {
        auto& whole = all.emplace_back(asked[i].prompt);
        whole.insert(whole.end(), text.tokens.begin(), text.tokens.end());
      }
    }
    return all;
  }();
  return texts;
}

/// By turns what comes, what comes with one wrong token in it, the published guesses, nonsense, and
/// nothing: drafts of every length, of which any number holds.
struct Erratic {
  static constexpr std::string_view name = "erratic";
  static constexpr Tokens most = 10;
  void propose(std::span<const TokenId> text, Tokens limit, std::vector<TokenId>& drafts) const {
    const std::uint64_t bits = mix64(text.size() * 31 + text.back());
    const auto count =
        std::min<std::size_t>(1 + bits / 8 % 10, static_cast<std::size_t>(limit.value));
    if (bits % 8 == 0) return;
    if (bits % 8 == 1) return speculation::PromptLookup{}.propose(text, limit, drafts);
    if (bits % 8 > 2) {
      for (const auto& whole : known_texts()) {
        if (whole.size() <= text.size() || !std::equal(text.begin(), text.end(), whole.begin())) {
          continue;
        }
        const auto rest = std::span(whole).subspan(text.size());
        drafts.assign(rest.begin(),
                      rest.begin() + std::ssize(rest.first(std::min(count, rest.size()))));
        if (bits % 8 > 5) {
          TokenId& wrong = drafts[bits / 128 % drafts.size()];
          wrong = (wrong + 1) % 101;
        }
        return;
      }
    }
    for (std::size_t i = 0; i < count; ++i)
      drafts.push_back(static_cast<TokenId>((bits >> i) % 101));
  }
};
static_assert(SpeculationPolicy<Erratic>);

using Guessing = with<Swapping, set_speculation<Erratic>>;
using GuessingCached = with<Cached, set_speculation<Erratic>>;

TEST(Speculation, LeavesTextsAsTheyAre) {
  const Served wide = run<Guessing>(requests(), 18, 300, 2);
  EXPECT_GT(wide.counters.accepted_tokens, Tokens{60});
  EXPECT_GT(wide.counters.drafted_tokens, wide.counters.accepted_tokens + 100);
  EXPECT_EQ(wide.texts, one_by_one());
  EXPECT_LT(wide.counters.steps, run<Swapping>(requests(), 18, 300).counters.steps);
}

TEST(Speculation, LeavesTextsAsTheyAreWhereBlocksAreShort) {
  const Served tight = run<Guessing>(requests(), 18, 20);
  EXPECT_GT(tight.counters.preemptions, 3);
  EXPECT_GT(tight.counters.swapped_out_blocks, BlockCount{0});
  EXPECT_GT(tight.counters.accepted_tokens, Tokens{60});
  EXPECT_EQ(tight.texts, one_by_one());
}

TEST(Speculation, LeavesNoWrongTokenInAPrefixIndex) {
  // a second round asks for what the first has generated, and a little more
  auto twice = requests();
  for (std::size_t i = 0, first = twice.size(); i < first; ++i) {
    const Text& before = one_by_one()[i].front();
    Request again = twice[i];
    again.prompt.insert(again.prompt.end(), before.tokens.begin(), before.tokens.end());
    twice.push_back(std::move(again));
  }
  const Served off = run<Cached>(twice, 4, 400), on = run<GuessingCached>(twice, 4, 400);
  EXPECT_EQ(on.counters.prefix_hit_tokens, off.counters.prefix_hit_tokens);
  EXPECT_GT(on.counters.prefix_hit_tokens, Tokens{300});
  EXPECT_GT(on.counters.accepted_tokens, Tokens{60});
  EXPECT_EQ(on.texts, off.texts);
  const Served tight = run<GuessingCached>(twice, 18, 80);  // evicts, preempts and finds again
  EXPECT_GT(tight.counters.preemptions, 0);
  EXPECT_EQ(tight.texts, off.texts);
}

// ---- in simulated time --------------------------------------------------------------------------

using Simulated = with<presets::Vllm, set_speculation<speculation::PromptLookup>>;
using Engine = quire::Engine<Simulated, executor::Simulated>;

executor::Simulated::Options simulated(double acceptance) {
  executor::Simulated::Options o{.model = model::llama_13b, .hardware = hardware::a100_40gb};
  o.acceptance = acceptance;
  return o;
}

/// Steps that a request of so many tokens takes behind its prompt, on average over requests.
double steps_per_request(double acceptance, std::int64_t output) {
  Engine engine(simulated(acceptance));
  constexpr std::int64_t requests = 40;
  for (std::int64_t i = 0; i < requests; ++i) {
    Request r;
    r.prompt_length = 20;
    r.output_length = output;
    engine.submit(std::move(r));
    while (engine.has_work()) {
      engine.step();
      EXPECT_TRUE(engine.take_finished().empty() || !engine.has_work());
    }
  }
  EXPECT_EQ(engine.counters().output_tokens, Tokens{requests * output});
  return static_cast<double>(engine.counters().steps - requests) / requests;
}

TEST(Speculation, SimulatedStepsAreAsManyAsTheFormulaSays) {
  // Leviathan et al. (2023), equation 1: (1 - a^(k+1)) / (1 - a) tokens a step, at the end fewer
  EXPECT_EQ(steps_per_request(0, 101), 100);
  EXPECT_EQ(steps_per_request(1, 111), 10);  // eleven tokens a step
  const double a = 0.7, expected = (1 - std::pow(a, 11)) / (1 - a);
  EXPECT_NEAR(1000 / steps_per_request(a, 1001), expected, 0.05 * expected);
}

TEST(Speculation, IsRefusedWithStepsPlannedAhead) {
  auto o = simulated(0.5);
  o.limits.asynchronous = true;
  EXPECT_THROW(Engine{o}, Error);
  EXPECT_THROW(Engine{simulated(1.5)}, Error);
}

}  // namespace
}  // namespace quire::cpu_outputs
