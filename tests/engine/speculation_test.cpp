// Whatever is guessed, and however often it is wrong, clients get what they get without guesses.
#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/hash.hpp>
#include <quire/engine/engine.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/speculation/prompt_lookup.hpp>

#include "tests/common/engines.hpp"
#include "tests/common/fuzz.hpp"
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
  static inline std::vector<TokenId> always;  // where it is not empty, nothing else
  void propose(std::span<const TokenId> text, Tokens limit, std::vector<TokenId>& drafts) const {
    for (std::size_t i = 0; i < always.size() && i < static_cast<std::size_t>(limit.value); ++i) {
      drafts.push_back(always[i]);
    }
    if (!always.empty()) return;
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

/// Probabilities of the four tokens that top_k = 4 leaves after each of these texts, by token.
std::vector<std::map<TokenId, double>> next_of(const std::vector<std::vector<TokenId>>& texts) {
  std::vector<Request> asked(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    asked[i].prompt = texts[i];
    asked[i].sampling.max_tokens = 1;
    asked[i].sampling.temperature = 0;
    asked[i].sampling.logprobs = 4;
  }
  const Texts drawn = run<Swapping>(asked, 8, 100).texts;
  std::vector<std::map<TokenId, double>> out(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::vector<float>& best = drawn[i][0].alternatives;  // token, log-probability, ...
    double total = 0;
    for (std::size_t k = 1; k < best.size(); k += 2) total += std::exp(best[k]);
    for (std::size_t k = 0; k < best.size(); k += 2) {
      out[i][static_cast<TokenId>(best[k])] = std::exp(best[k + 1]) / total;
    }
  }
  return out;
}

TEST(Speculation, DrawsFromTheModelsDistribution) {
  // Three tokens of four choices each: 64 outcomes, whose probabilities the model says without guesses.
  const std::vector<TokenId> prompt = requests()[0].prompt;
  std::vector<std::vector<TokenId>> texts{prompt};
  std::map<std::vector<TokenId>, double> expected{{{}, 1.0}};
  for (int level = 0; level < 3; ++level) {
    std::map<std::vector<TokenId>, double> longer;
    std::vector<std::vector<TokenId>> asked;
    for (const auto& [tokens, p] : expected) {
      asked.push_back(prompt);
      asked.back().insert(asked.back().end(), tokens.begin(), tokens.end());
    }
    const auto next = next_of(asked);
    std::size_t i = 0;
    for (const auto& [tokens, p] : expected) {
      for (const auto& [token, q] : next[i]) {
        std::vector<TokenId> more = tokens;
        more.push_back(token);
        longer[more] = p * q;
      }
      ++i;
    }
    expected = std::move(longer);
  }
  ASSERT_EQ(expected.size(), 64u);

  const auto draws = static_cast<std::size_t>(testing::fuzz_count(5'000));  // 100,000 at scale 20
  std::vector<Request> asked(draws);
  for (std::size_t i = 0; i < draws; ++i) {
    asked[i].prompt = prompt;
    asked[i].sampling.max_tokens = 3;
    asked[i].sampling.top_k = 4;
    asked[i].sampling.seed = i;
  }
  Erratic::always = {one_by_one()[0][0].tokens[1]};  // what greedy decoding has in second place
  const Served served = run<Guessing>(asked, 64, 300);
  Erratic::always.clear();
  EXPECT_GT(served.counters.accepted_tokens, Tokens{static_cast<std::int64_t>(draws) / 20});
  EXPECT_GT(served.counters.drafted_tokens, 3 * served.counters.accepted_tokens / 2);
  std::map<std::vector<TokenId>, std::size_t> seen;
  for (const auto& text : served.texts) ++seen[text[0].tokens];
  double chi_square = 0;
  std::size_t in_all = 0;
  for (const auto& [tokens, p] : expected) {
    const double mean = p * static_cast<double>(draws);
    const auto count = static_cast<double>(seen[tokens]);
    in_all += seen[tokens];
    chi_square += (count - mean) * (count - mean) / mean;
  }
  EXPECT_EQ(in_all, draws);     // nothing but these
  EXPECT_LT(chi_square, 110.);  // 63 degrees of freedom: one run in five thousand has more
}

// ---- in simulated time --------------------------------------------------------------------------

using SimulatedGuesses = with<presets::Vllm, set_speculation<speculation::PromptLookup>>;
using Engine = quire::Engine<SimulatedGuesses, executor::Simulated>;

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

/// Steps to serve forty requests that come two at a time, with a budget of 64 tokens a step and no
/// guess that holds.
template <class C>
EngineCounters busy() {
  auto o = simulated(0);
  o.limits.max_batched_tokens = o.limits.chunk = 64;
  quire::Engine<C, executor::Simulated> engine(o);
  for (int sent = 0; sent < 40 || engine.has_work();) {
    for (int i = 0; i < 2 && sent < 40; ++i, ++sent) {
      Request r;
      r.prompt_length = 20 + sent;
      r.output_length = 30;
      engine.submit(std::move(r));
    }
    engine.step();
    EXPECT_LE(engine.last_plan().batched_tokens, Tokens{64});
    static_cast<void>(engine.take_finished());
  }
  return engine.counters();
}

TEST(Speculation, TakesTokenBudgetFromNobody) {
  using Chunked = with<presets::Sarathi, set_speculation<speculation::PromptLookup>>;
  const EngineCounters whole = busy<SimulatedGuesses>(), chunked = busy<Chunked>();
  EXPECT_EQ(whole.steps, busy<presets::Vllm>().steps);
  EXPECT_EQ(chunked.steps, busy<presets::Sarathi>().steps);
  EXPECT_GT(whole.drafted_tokens, Tokens{500});
  EXPECT_GT(chunked.drafted_tokens, Tokens{500});
}

TEST(Speculation, NamesThePolicyWhoseDraftIsNoToken) {
  Erratic::always = {101};
  try {
    static_cast<void>(run<Guessing>(requests(), 4, 300));
    ADD_FAILURE() << "it was not refused";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("speculation policy erratic"), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("below 101"), std::string::npos) << e.what();
  }
  Erratic::always.clear();
}

TEST(Speculation, IsRefusedWithStepsPlannedAhead) {
  auto o = simulated(0.5);
  o.limits.asynchronous = true;
  EXPECT_THROW(Engine{o}, Error);
  EXPECT_THROW(Engine{simulated(1.5)}, Error);
}

}  // namespace
}  // namespace quire::cpu_outputs
