#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include <quire/engine/override.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/vllm.hpp>

#include "tests/engine/scripted_engines.hpp"

namespace quire::engine_test {
namespace {

using BeamPaged = with<presets::Vllm, set_block_size<BlockSize<4>>>;

struct Hypothesis {
  std::vector<TokenId> tokens;  // generated
  double score = 0;             // sum of log-probabilities
};

/// Beam search over the whole vocabulary with texts in plain vectors.
std::vector<Hypothesis> reference(const Request& r) {
  const SamplingParams& p = r.sampling;
  const auto width = static_cast<std::size_t>(p.beam_width);
  auto normalised = [&](const Hypothesis& h) {
    return h.score / std::pow(static_cast<double>(h.tokens.size()), p.length_penalty);
  };
  auto better = [&](const Hypothesis& a, const Hypothesis& b) {
    return normalised(a) > normalised(b);
  };
  std::vector<Hypothesis> beams(1), ended;
  const std::int64_t limit = r.output_length.value_or(p.max_tokens).value;
  for (std::int64_t step = 1; !beams.empty(); ++step) {
    std::vector<Hypothesis> all;
    for (const Hypothesis& beam : beams) {
      std::vector<TokenId> text = r.prompt;
      text.insert(text.end(), beam.tokens.begin(), beam.tokens.end());
      const std::vector<double> l = TinyModel::logprobs(TinyModel::text(text));
      for (TokenId v = 0; v < TinyModel::vocab; ++v) {
        Hypothesis next = beam;
        next.tokens.push_back(v);
        next.score += static_cast<float>(l[v]);
        all.push_back(std::move(next));
      }
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
    beams.clear();
    for (std::size_t rank = 0; rank < all.size() && beams.size() < width; ++rank) {
      const auto& stops = p.stop_token_ids;
      const bool stop = !r.output_length && step >= p.min_tokens.value &&
                        std::count(stops.begin(), stops.end(), all[rank].tokens.back()) > 0;
      if (!stop) {
        beams.push_back(all[rank]);
      } else if (rank < width) {
        ended.push_back(all[rank]);
      }
    }
    std::stable_sort(ended.begin(), ended.end(), better);
    if (step == limit) {
      ended.insert(ended.end(), beams.begin(), beams.end());
      break;
    }
    if (ended.size() >= width && (p.early_stopping || beams.empty() ||
                                  normalised(ended[width - 1]) >= normalised(beams[0]))) {
      break;
    }
  }
  std::stable_sort(ended.begin(), ended.end(), better);
  ended.resize(std::min(ended.size(), static_cast<std::size_t>(p.n)));
  return ended;
}

template <class C>
void equals_reference(const Scripted::Options& options) {
  std::vector<Request> requests;
  Rng rng(3);
  for (std::uint64_t i = 0; i < 60; ++i) {
    Request r = request(i, static_cast<std::int64_t>(1 + rng.below(12)),
                        static_cast<std::int64_t>(1 + rng.below(14)));
    r.sampling.beam_width = 1 + static_cast<std::int32_t>(rng.below(5));
    r.sampling.n =
        1 + static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(r.sampling.beam_width)));
    r.sampling.length_penalty = rng.below(2) == 0 ? 1.0 : 0.3;
    r.sampling.early_stopping = rng.below(2) == 0;
    if (rng.below(3) != 0) {
      r.output_length.reset();
      r.sampling.stop_token_ids = {2, 4, 8};
      r.sampling.min_tokens = static_cast<std::int64_t>(rng.below(4));
    }
    requests.push_back(std::move(r));
  }
  Engine<C, Scripted> engine(options);
  for (const Request& r : requests) engine.submit(r);
  const Finished finished = drain(engine, [&] { check(engine); });
  ASSERT_EQ(finished.size(), requests.size());
  for (const auto& group : finished) {
    const auto expected = reference(requests[group->request.id.value]);
    ASSERT_EQ(group->sequences.size(), expected.size()) << group->request.id.value;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const Sequence& s = group->sequences[i];
      const std::vector<TokenId> tokens(s.tokens.begin() + group->prompt_length().value,
                                        s.tokens.end());
      EXPECT_EQ(tokens, expected[i].tokens) << "request " << group->request.id.value;
      EXPECT_NEAR(s.cumulative_logprob, expected[i].score, 1e-9);
      EXPECT_EQ(s.logprobs.size(), tokens.size());
      EXPECT_NE(s.finish, FinishReason::none);
    }
  }
}

TEST(BeamSearch, EqualsTheReferenceInPagedMemory) {
  equals_reference<BeamPaged>({.device_blocks = 2000});
}
TEST(BeamSearch, EqualsTheReferenceWhenSwapped) {
  equals_reference<BeamPaged>({.device_blocks = 40, .host_blocks = 300});
}
TEST(BeamSearch, EqualsTheReferenceWhenRecomputedWithFewTokensAStep) {
  Scripted::Options options{.device_blocks = 40};
  options.limits.max_batched_tokens = 6;
  equals_reference<BeamPaged>(options);
}
// A step with room for six tokens and two groups of four beams: one of them has to sit it out whole,
// though there is room for half of it.
TEST(BeamSearch, BeamsOfAGroupDrawTogetherOrNotAtAll) {
  for (const std::int64_t blocks : {2000, 14}) {
    Scripted::Options options{.device_blocks = blocks};
    options.limits.max_batched_tokens = 6;
    options.limits.watermark = 0;
    Engine<BeamPaged, Scripted> engine(options);
    std::vector<Request> requests;
    for (std::uint64_t i = 0; i < 24; ++i) {
      Request r = request(i, static_cast<std::int64_t>(1 + i % 2), 12);
      r.sampling.beam_width = r.sampling.n = 2 + static_cast<std::int32_t>(i % 3);
      requests.push_back(r);
      engine.submit(std::move(r));
    }
    int waited = 0;
    const Finished finished = drain(engine, [&] {
      std::map<std::uint64_t, int> rows;
      for (const SequencePlan& s : engine.last_plan().sequences) ++rows[s.request.value];
      for (const auto& group : engine.requests()) {
        if (group->status == GroupStatus::running) waited += rows[group->request.id.value] == 0;
      }
    });
    EXPECT_GT(waited, 0) << "the budget is too large to test anything";
    if (blocks < 100) {
      EXPECT_GT(engine.counters().recomputed_tokens, Tokens{0});
    }
    for (const auto& group : finished) {
      const auto expected = reference(requests[group->request.id.value]);
      ASSERT_EQ(group->sequences.size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const std::vector<TokenId>& all = group->sequences[i].tokens;
        EXPECT_EQ(std::vector<TokenId>(all.begin() + group->prompt_length().value, all.end()),
                  expected[i].tokens);
      }
    }
  }
}
TEST(BeamSearch, EqualsTheReferenceInContiguousMemory) {
  equals_reference<presets::OrcaMax>({.device_blocks = 160, .max_length = 64});
}

TEST(BeamSearch, SharesBlocksAndCopiesOnlyWhenTwoBeamsWriteOne) {
  Request r = request(5, 8, 12);
  r.sampling.beam_width = r.sampling.n = 4;
  Engine<BeamPaged, Scripted> engine({});
  engine.submit(r);
  std::size_t copies = 0, rows = 0;
  BlockCount most = 0;
  drain(engine, [&] {
    copies += engine.last_plan().copies.size();
    rows += engine.last_plan().sequences.size();
    most = std::max(most, engine.usage().physical_blocks);
  });
  EXPECT_GT(copies, 0u);
  EXPECT_LT(copies, rows);
  // 20 tokens are 5 blocks; four beams apart would take 20, the prompt's two are always shared.
  EXPECT_LE(most, BlockCount{2 + 4 * 3});
}

TEST(BeamSearch, CopiesNothingForBeamsThatHaveEnded) {
  Request r = request(5, 8, 1);
  r.sampling.beam_width = 4;
  Engine<presets::OrcaMax, Scripted> engine({.device_blocks = 160, .max_length = 64});
  engine.submit(r);
  engine.submit(request(6, 8, 4));
  std::size_t copies = 0;
  drain(engine, [&] { copies += engine.last_plan().copies.size(); });
  EXPECT_EQ(copies, 0u);
}

}  // namespace
}  // namespace quire::engine_test
