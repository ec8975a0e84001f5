// What the CUDA executor tells its kernels of kept tokens and of pages that are selected: against lists that
// are made here one by one.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/attention/causal.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/keeping.cuh>
#include <quire/executor/step.hpp>
#include <quire/executor/step_data.cuh>
#include <quire/kernels/kv_access.hpp>
#include <quire/kernels/paged_decode/params.hpp>
#include <quire/kernels/paged_decode/plan.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/memory/block_table.hpp>
#include <quire/model/shape.hpp>
#include <quire/retention/h2o.hpp>
#include <quire/retention/lane.hpp>
#include <quire/retention/limits.hpp>
#include <quire/retention/quest.hpp>
#include <quire/retention/snap_kv.hpp>
#include <quire/retention/streaming_llm.hpp>
#include <quire/retention/tova.hpp>
#include <quire/simt/streams.cuh>

namespace quire::executor {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr std::size_t listed_layers = 2, listed_kv_heads = 3, listed_heads = 6, listed_dim = 8;
constexpr std::uint32_t listed_blocks = 40, listed_page = 4;

[[nodiscard]] model::Shape listed_shape() {
  model::Shape s;
  s.layers = listed_layers;
  s.heads = listed_heads;
  s.kv_heads = listed_kv_heads;
  s.head_dim = listed_dim;
  return s;
}
template <class Policy>
[[nodiscard]] auto keeping_of(const RetentionLimits& limits) {
  KvGeometry geometry;
  geometry.device_blocks = listed_blocks;
  geometry.block_tokens = listed_page;
  return typename detail::KeepingOf<Policy>::type(limits, listed_shape(), geometry);
}

/// A sequence whose blocks are `first`, first + 3, ...
struct ListedText {
  std::int64_t computed = 0, tokens = 1, prompt = 1;
  BlockTable table;
  std::vector<retention::Lane> lanes;

  ListedText(std::uint32_t first, std::uint32_t blocks, std::int64_t done, std::int64_t now,
             std::int64_t asked)
      : computed(done), tokens(now), prompt(asked) {
    for (std::uint32_t b = 0; b < blocks; ++b) table.append(BlockId{first + 3 * b});
  }
  /// A lane of `kept` tokens, the step's own last, in every slot from the `from`-th on.
  void keep(std::size_t kept, std::uint32_t from = 0) {
    retention::Lane lane;
    for (std::size_t i = 0; i < kept; ++i) {
      const auto back = static_cast<std::int64_t>(kept - i);
      lane.entries.push_back({computed + tokens - back, from + static_cast<std::uint32_t>(i)});
    }
    lanes.push_back(std::move(lane));
  }
};
[[nodiscard]] StepPlan plan_of(const std::vector<ListedText>& texts) {
  StepPlan plan;
  for (const ListedText& t : texts) {
    SequencePlan s;
    s.computed = t.computed;
    s.tokens = t.tokens;
    s.prompt_tokens = t.prompt;
    s.tables = {&t.table, 1};
    s.lanes = t.lanes;
    plan.sequences.push_back(s);
  }
  return plan;
}
template <class T>
[[nodiscard]] std::vector<T> sent(const StepData& data, std::size_t at, std::size_t count) {
  return {data.at<T>(at), data.at<T>(at) + count};
}

using PagedTokens = kernels::KernelKey<kv_format::Fp32, listed_page, listed_dim, float>;
using ListedTokens = kernels::ListedKey<PagedTokens>;

/// Blocks of keys and values of all layers, zeros at first.
struct ListedPool {
  static constexpr std::size_t layer_bytes = 2 * listed_kv_heads * PagedTokens::slab_bytes;
  std::vector<float> memory =
      std::vector<float>(listed_blocks * listed_layers * layer_bytes / sizeof(float), 0.0f);
  [[nodiscard]] kernels::KvPool layer(std::size_t l) {
    return {reinterpret_cast<std::byte*>(memory.data()) + l * layer_bytes,
            listed_layers * layer_bytes, listed_kv_heads};
  }
};

/// One row and two, whose lanes differ in what they keep: at most 6 and 9 tokens.
[[nodiscard]] std::vector<ListedText> lanes_of_heads() {
  std::vector<ListedText> texts{{1, 3, 20, 1, 12}, {2, 4, 9, 2, 30}};
  for (std::uint32_t lane = 0; lane < listed_layers * listed_kv_heads; ++lane) {
    texts[0].keep(6 - lane % 4, lane);
    texts[1].keep(4 + lane, 5 - lane);
  }
  return texts;
}

TEST(Keeping, ListsTheSlotsOfEachLane) {
  const auto texts = lanes_of_heads();
  auto keeping = keeping_of<retention::H2O>({});
  std::vector<std::uint32_t> tables{99};
  for (int again = 0; again < 2; ++again) keeping.gather(plan_of(texts), tables);

  std::vector<std::uint32_t> expected{listed_blocks * listed_page};
  std::vector<std::uint32_t> begin[listed_layers];
  std::vector<std::int32_t> lengths[listed_layers];
  std::int32_t longest[listed_layers][3] = {};
  std::size_t row = 0;
  for (const ListedText& t : texts) {
    std::vector<std::uint32_t> starts;
    for (const retention::Lane& lane : t.lanes) {
      starts.push_back(static_cast<std::uint32_t>(expected.size()));
      for (const retention::Entry& e : lane.entries) {
        expected.push_back(t.table[e.slot / listed_page].value * listed_page +
                           e.slot % listed_page);
      }
    }
    for (std::int64_t i = 0; i < t.tokens; ++i, ++row) {
      for (std::size_t lane = 0; lane < t.lanes.size(); ++lane) {
        const std::size_t l = lane / listed_kv_heads;
        // what comes after the row in the same step is not seen
        const auto seen =
            static_cast<std::int32_t>(std::ssize(t.lanes[lane].entries) - (t.tokens - 1 - i));
        begin[l].push_back(starts[lane]);
        lengths[l].push_back(seen);
        longest[l][row] = std::max(longest[l][row], seen);
      }
    }
  }
  EXPECT_EQ(tables, expected);
  EXPECT_EQ(keeping.asked(), 3u);
  EXPECT_EQ(keeping.turned(), 0u);
  EXPECT_TRUE(keeping.alike(3));
  EXPECT_FALSE(keeping.alike(4));
  for (std::size_t l = 0; l < listed_layers; ++l) {
    const auto& kept = keeping.kept(l);
    EXPECT_EQ(kept.begin, begin[l]);
    EXPECT_EQ(kept.lengths, lengths[l]);
    ASSERT_EQ(kept.runs.size(), 3u);
    for (std::uint32_t r = 0; r < 3; ++r) {
      EXPECT_EQ(kept.runs[r].query, r);
      EXPECT_EQ(kept.runs[r].into, r);
      EXPECT_EQ(kept.runs[r].begin, 0);
      EXPECT_EQ(kept.runs[r].end, longest[l][r]);
    }
  }
}

/// A recorded step's lists have the lengths of its rows, whatever is in them.
TEST(Keeping, PadsWhatIsRecorded) {
  const auto texts = lanes_of_heads();
  auto keeping = keeping_of<retention::H2O>({});
  std::vector<std::uint32_t> tables;
  keeping.gather(plan_of(texts), tables);
  StepData data(16);
  keeping.add(data, {}, 4, true, 20);
  ASSERT_FALSE(data.send({}));  // 16 bytes were not enough
  for (std::size_t l = 0; l < listed_layers; ++l) {
    const auto& kept = keeping.kept(l);
    EXPECT_EQ(kept.work, 20u);
    EXPECT_EQ(kept.merges, 4u);
    EXPECT_EQ(kept.voting.size(), 20u);
    ASSERT_EQ(kept.begin.size(), 4 * listed_kv_heads);
    ASSERT_EQ(kept.lengths.size(), 4 * listed_kv_heads);
    EXPECT_THAT(std::span(kept.begin).last(listed_kv_heads), Each(0u));
    EXPECT_THAT(std::span(kept.lengths).last(listed_kv_heads), Each(1));
    EXPECT_EQ(sent<std::uint32_t>(data, kept.begin_at, kept.begin.size()), kept.begin);
    EXPECT_EQ(sent<std::int32_t>(data, kept.lengths_at, kept.lengths.size()), kept.lengths);
    const auto merges = sent<kernels::MergeWork>(data, kept.merges_at, kept.merges);
    for (std::uint32_t r = 0; r < 3; ++r) {
      EXPECT_EQ(merges[r].sequence, r);
      EXPECT_EQ(merges[r].count, 1u);
    }
    EXPECT_EQ(merges[3].sequence, 4u);  // where nobody reads
    EXPECT_EQ(merges[3].count, 0u);
  }
}

/// Rows that nobody asks have neither merges nor log-sum-exps nor room of votes.
TEST(Keeping, AsksThoseThatThePolicyNames) {
  const RetentionLimits limits{.budget = 8, .observation = 2};
  std::vector<ListedText> texts{{1, 3, 8, 1, 8}, {2, 3, 4, 5, 12}};
  for (ListedText& t : texts) {
    for (std::size_t lane = 0; lane < listed_layers * listed_kv_heads; ++lane) t.keep(9);
  }
  std::vector<std::uint32_t> tables;
  auto prompts = keeping_of<retention::SnapKv>(limits);
  const std::size_t lse = 4 * 7 * listed_heads, entries = 6 * 9;
  kernels::PagedDecodeParams<float, attention::Causal> nothing;
  nothing.heads = listed_heads;
  nothing.cache.kv_heads = listed_kv_heads;
  for (const bool padded : {false, true}) {
    prompts.gather(plan_of({texts[0]}), tables);
    EXPECT_EQ(prompts.asked(), 0u);
    StepData data(16);
    prompts.add(data, {}, 1, padded, 20);
    EXPECT_EQ(prompts.kept(1).merges, padded ? 1u : 0u);
    EXPECT_TRUE(prompts.kept(1).voting.empty());
    EXPECT_EQ(prompts.reserve(6, listed_heads), !padded);
    EXPECT_EQ(prompts.lse(), nullptr);
    EXPECT_EQ(prompts.device_bytes(), lse);
    // no memory is behind any of these, and no kernel starts on a grid without blocks
    prompts.clear_votes({});
    prompts.vote<ListedTokens>(nothing, prompts.kept(1), data, {});
    prompts.turn<listed_dim, float>(nullptr, 1, listed_heads, nullptr, data, {});
    prompts.fetch_votes({});
    StepResult result;
    prompts.end(result);
    EXPECT_EQ(result.votes, std::vector<std::int64_t>(6 * 9, 0));
    EXPECT_EQ(prompts.fetched_bytes(), 0u);
  }
  // of the second one's rows those of positions 4 to 8, and its prompt ends at 12: none; then at 9: two
  prompts.gather(plan_of(texts), tables);
  EXPECT_EQ(prompts.asked(), 0u);
  texts[1].prompt = 9;
  prompts.gather(plan_of(texts), tables);
  EXPECT_EQ(prompts.asked(), 2u);
  EXPECT_FALSE(prompts.alike(6));
  StepData data(16);
  prompts.add(data, {}, 6, false, 20);
  EXPECT_EQ(prompts.kept(1).merges, 6u);
  std::vector<std::uint32_t> who;
  for (const kernels::DecodeWork& w : prompts.kept(1).voting) who.push_back(w.sequence);
  EXPECT_THAT(who, ::testing::UnorderedElementsAre(4u, 5u));
  EXPECT_TRUE(prompts.reserve(6, listed_heads));
  EXPECT_NE(prompts.lse(), nullptr);
  EXPECT_EQ(prompts.device_bytes(), lse + 8 * 2 * (2 * entries + 1));

  auto last = keeping_of<retention::Tova>(limits);
  for (ListedText& t : texts) t.lanes.resize(listed_layers);
  last.gather(plan_of(texts), tables);
  EXPECT_EQ(last.asked(), 2u);  // the last row of each
}

/// Room is made for twice what is needed, once.
TEST(Keeping, MakesRoomOfVotesWhereItLacks) {
  const auto texts = [](std::size_t kept) {
    std::vector<ListedText> of{{1, 30, 200, 1, 12}};
    for (std::size_t lane = 0; lane < 6; ++lane) of[0].keep(kept + (lane == 0 ? 1 : 0));
    return of;
  };
  auto keeping = keeping_of<retention::H2O>({});
  std::vector<std::uint32_t> tables;
  const auto reserve = [&](std::size_t kept, std::size_t rows) {
    keeping.gather(plan_of(texts(kept)), tables);
    return keeping.reserve(rows, listed_heads);
  };
  const auto bytes = [](std::size_t rows, std::size_t votes) {
    return 4 * rows * listed_heads + 8 * votes;
  };
  EXPECT_TRUE(reserve(4, 3));  // 25 entries, and one that padded rows vote on
  EXPECT_EQ(keeping.device_bytes(), bytes(4, 52));
  EXPECT_FALSE(reserve(4, 3));
  EXPECT_TRUE(reserve(4, 4));
  EXPECT_EQ(keeping.device_bytes(), bytes(5, 52));
  EXPECT_FALSE(reserve(8, 4));  // 49 entries
  auto more = texts(8);         // 51: all of the room with that one
  more[0].lanes[1].entries.resize(10);
  keeping.gather(plan_of(more), tables);
  EXPECT_FALSE(keeping.reserve(4, listed_heads));
  more[0].lanes[1].entries.resize(11);
  keeping.gather(plan_of(more), tables);
  EXPECT_TRUE(keeping.reserve(4, listed_heads));
  EXPECT_EQ(keeping.device_bytes(), bytes(5, 106));
}

/// What a head's lane moves lies in its slabs; what a layer's lane moves, in those of all of its heads.
TEST(Keeping, MovesTheTokensOfALane) {
  auto texts = lanes_of_heads();
  const auto expect = [&](auto keeping, const std::vector<std::uint32_t>& slabs) {
    StepPlan plan = plan_of(texts);
    plan.slot_moves = {{.lane = 1, .from_block = 5, .from_slot = 2, .to_block = 7, .to_slot = 3}};
    std::vector<std::uint32_t> tables, found;
    keeping.gather(plan, tables);
    EXPECT_TRUE(keeping.has_moves());
    EXPECT_TRUE(keeping.moves_into({7}));
    EXPECT_FALSE(keeping.moves_into({5}));
    StepData data(1024);
    keeping.add_moves(data);
    (void)data.send({});
    for (const auto& m : sent<kernels::TokenMove>(data, 0, slabs.size())) {  // the only list
      EXPECT_EQ(m.from_block, 5u);
      EXPECT_EQ(m.from_slot, 2u);
      EXPECT_EQ(m.to_block, 7u);
      EXPECT_EQ(m.to_slot, 3u);
      found.push_back(m.head);
    }
    EXPECT_EQ(found, slabs);
  };
  expect(keeping_of<retention::H2O>({}), {1});
  for (ListedText& t : texts) t.lanes.resize(listed_layers);
  // behind the first layer's three heads of keys, and three of values
  expect(keeping_of<retention::Tova>({}), {6, 7, 8});
}

/// Every key of every lane has an equal part of both of its heads' votes.
TEST(Keeping, BringsTheVotesOfEachEntry) {
  std::vector<ListedText> texts{{1, 3, 7, 1, 1}};
  for (std::size_t lane = 0; lane < 6; ++lane) texts[0].keep(4, 2);
  auto keeping = keeping_of<retention::H2O>({});
  std::vector<std::uint32_t> tables;
  ListedPool pool;
  const std::vector<float> q(listed_heads * listed_dim, 0.0f);
  for (int again = 1; again <= 2; ++again) {
    keeping.gather(plan_of(texts), tables);
    StepData data(1 << 12);
    keeping.add(data, {}, 1, false, 0);
    (void)data.send({});
    keeping.reserve(1, listed_heads);
    keeping.clear_votes({});
    std::fill_n(keeping.lse(), listed_heads, std::log2(4.0f));
    for (std::size_t l = 0; l < listed_layers; ++l) {
      kernels::PagedDecodeParams<float, attention::Causal> p;
      p.q = q.data();
      p.q_stride = q.size();
      p.cache = pool.layer(l);
      p.blocks = tables.data();
      p.table_begin = keeping.kept(l).begin.data();
      p.lengths = keeping.kept(l).lengths.data();
      p.heads = listed_heads;
      keeping.vote<ListedTokens>(p, keeping.kept(l), data, {});
    }
    keeping.fetch_votes({});
    StepResult result;
    keeping.end(result);
    EXPECT_EQ(result.votes, std::vector<std::int64_t>(24, 2 * retention::whole_vote / 4));
    EXPECT_THAT(result.votes_begin, ElementsAre(0u, 24u));
    EXPECT_EQ(keeping.fetched_bytes(), 8u * 24 * static_cast<unsigned>(again));
  }
}

/// Keys between which nothing was dropped are of one query, turned by what was dropped behind them.
TEST(Keeping, TurnsAQueryForEachRun) {
  std::vector<ListedText> texts{{1, 3, 2, 1, 3}, {2, 3, 11, 2, 30}};
  texts[0].keep(3);  // all of it
  texts[1].lanes.resize(1);
  std::uint32_t slot = 0;
  for (const std::int64_t position : {0, 1, 5, 9, 10, 11, 12}) {
    texts[1].lanes[0].entries.push_back({position, slot++});
  }
  auto keeping = keeping_of<retention::StreamingLlm>({});
  std::vector<std::uint32_t> tables;
  keeping.gather(plan_of(texts), tables);
  EXPECT_EQ(tables.size(), 11u);
  EXPECT_EQ(keeping.turned(), 4u);
  EXPECT_FALSE(keeping.alike(3));
  StepData data(16);
  keeping.add(data, {}, 3, false, 0);
  (void)data.send({});
  const auto& kept = keeping.kept(0);
  struct Run {
    std::uint32_t query, into;
    std::int32_t begin, end;
  };
  const Run runs[] = {{0, 0, 0, 3}, {3, 1, 0, 2}, {4, 1, 2, 3}, {1, 1, 3, 6},
                      {5, 2, 0, 2}, {6, 2, 2, 3}, {2, 2, 3, 7}};
  ASSERT_EQ(kept.runs.size(), std::size(runs));
  for (std::size_t i = 0; i < std::size(runs); ++i) {
    EXPECT_EQ(kept.runs[i].query, runs[i].query) << i;
    EXPECT_EQ(kept.runs[i].into, runs[i].into) << i;
    EXPECT_EQ(kept.runs[i].begin, runs[i].begin) << i;
    EXPECT_EQ(kept.runs[i].end, runs[i].end) << i;
  }
  // five computed tokens are kept of eleven: six were dropped behind the first two, three behind the third
  const auto turned = sent<kernels::TurnedQuery>(data, 0, 4);  // the first list
  const std::pair<std::uint32_t, std::uint32_t> by[] = {{1, 6}, {1, 3}, {2, 6}, {2, 3}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(turned[i].row, by[i].first);
    EXPECT_EQ(turned[i].by, by[i].second);
  }
  // rows, and then the turned queries' own; all heads alike
  std::vector<std::uint32_t> begin;
  std::vector<std::int32_t> lengths;
  for (const std::int32_t length : {3, 6, 7, 6, 6, 7, 7}) {
    for (std::size_t h = 0; h < listed_kv_heads; ++h) {
      begin.push_back(length == 3 ? 1 : 4);
      lengths.push_back(length);
    }
  }
  EXPECT_EQ(kept.begin, begin);
  EXPECT_EQ(kept.lengths, lengths);
}

/// Ranges of what came from elsewhere and of what the step writes, each block once.
TEST(Keeping, MakesRangesOfWhatChanged) {
  const std::vector<ListedText> texts{{1, 4, 14, 1, 1}, {2, 3, 3, 6, 1}, {3, 3, 7, 1, 1}};
  auto keeping = keeping_of<retention::Quest>({.budget = 8, .dense_layers = 1});
  for (const std::uint32_t block : {4u, 10u, 5u, 30u}) keeping.brought_in(BlockId{block});
  keeping.gather(plan_of(texts));
  StepData data(1024);
  const std::int32_t lengths[] = {15, 4, 5, 6, 7, 8, 9, 8};
  const std::uint32_t rows[] = {0, 1, 2, 3, 4, 5, 6, 7};
  keeping.add(data, {}, rows, lengths);
  (void)data.send({});
  // the first one's second block as it came and its fourth with a token more; the others' as they write
  const std::vector<std::pair<std::uint32_t, std::uint32_t>> expected = {{2, 4}, {4, 4}, {5, 4},
                                                                         {6, 4}, {8, 1}, {10, 3}};
  const auto work = sent<kernels::RangeWork>(data, 0, expected.size());  // the first list
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(work[i].block, expected[i].first);
    EXPECT_EQ(work[i].tokens, expected[i].second);
  }
  StepResult result;
  keeping.end(result);
  EXPECT_EQ(result.pages_held, 2 * 3 * (4 + 2));
  EXPECT_EQ(result.pages_read, 3 * (4 + 2) + 3 * (2 + 2));
}

/// Rows of one token with more pages than they may read choose, but in layers that attend to all.
TEST(Keeping, ListsWhatRowsChoose) {
  const std::vector<ListedText> texts{
      {1, 4, 14, 1, 1}, {2, 3, 5, 3, 1}, {3, 3, 7, 1, 1}, {4, 6, 16, 1, 1}};
  const RetentionLimits limits{.budget = 8, .dense_layers = 1};
  auto keeping = keeping_of<retention::Quest>(limits);
  const std::size_t ranges = listed_blocks * listed_layers * listed_kv_heads * 2 * listed_dim;
  EXPECT_EQ(keeping.device_bytes(), 4 * ranges);
  const std::int32_t lengths[] = {15, 6, 7, 8, 8, 17};
  const std::uint32_t rows[] = {0, 1, 2, 3, 4, 5};
  StepData data(1 << 14);
  keeping.gather(plan_of(texts));
  keeping.add(data, {}, rows, lengths);
  (void)data.send({});
  const auto& all = keeping.choice(0);
  EXPECT_TRUE(all.rows.empty());
  EXPECT_EQ(all.work, 6u);
  EXPECT_EQ(all.chosen_work, 0u);
  const auto& some = keeping.choice(1);
  EXPECT_THAT(some.rows, ElementsAre(0u, 5u));
  EXPECT_EQ(sent<std::uint32_t>(data, some.rows_at, 2), some.rows);
  EXPECT_EQ(some.work, 4u);
  EXPECT_EQ(some.chosen_work, 2u);
  // two pages a head, of which the last one has 3 tokens, and 1
  std::vector<std::uint32_t> begin(6 * listed_kv_heads, 0);
  std::vector<std::int32_t> tokens(6 * listed_kv_heads, 0);
  for (std::uint32_t h = 0; h < listed_kv_heads; ++h) {
    begin[h] = h * 8;
    tokens[h] = 7;
    begin[5 * listed_kv_heads + h] = (3 + h) * 8;
    tokens[5 * listed_kv_heads + h] = 5;
  }
  EXPECT_EQ(sent<std::uint32_t>(data, some.begin_at, begin.size()), begin);
  EXPECT_EQ(sent<std::int32_t>(data, some.lengths_at, tokens.size()), tokens);
  for (const kernels::DecodeWork& w :
       sent<kernels::DecodeWork>(data, some.chosen_work_at, some.chosen_work)) {
    EXPECT_EQ(w.end, w.sequence == 0 ? 7 : 5);
  }
  // twice the scores of two rows and five pages, and twice the slots of what they choose
  const std::size_t room = 4 * (ranges + 2 * (2 * 3 * 5) + 2 * (2 * 3 * 8));
  EXPECT_EQ(keeping.device_bytes(), room);
  const std::vector<ListedText> four(4, texts[3]);  // which are enough for four such rows
  const std::int32_t long_ones[] = {17, 17, 17, 17};
  data.clear();
  keeping.gather(plan_of(four));
  keeping.add(data, {}, std::span(rows).first(4), long_ones);
  EXPECT_EQ(keeping.device_bytes(), room);

  auto dense = keeping_of<retention::Quest>({.budget = 8, .dense_layers = 2});
  dense.gather(plan_of(four));
  dense.add(data, {}, std::span(rows).first(4), long_ones);
  EXPECT_TRUE(dense.choice(1).rows.empty());
  EXPECT_EQ(dense.device_bytes(), 4 * ranges);
}

/// Each layer and head chooses by its own keys, here among no more pages than a block has warps.
TEST(Keeping, ChoosesByTheRangesOfALayer) {
  const std::vector<ListedText> texts{{1, 4, 12, 1, 1}};
  auto keeping = keeping_of<retention::Quest>({.budget = 8, .dense_layers = 0});
  ListedPool pool;
  const auto best = [](std::size_t layer, std::size_t head) { return (2 * layer + head) % 3; };
  for (const BlockId block : texts[0].table.blocks()) keeping.brought_in(block);
  for (std::size_t l = 0; l < listed_layers; ++l) {
    for (unsigned h = 0; h < listed_kv_heads; ++h) {
      const std::uint32_t block = texts[0].table[best(l, h)].value;
      auto* keys = const_cast<std::byte*>(PagedTokens::key_slab(pool.layer(l), block, h));
      std::fill_n(reinterpret_cast<float*>(keys), listed_page * listed_dim, 1.0f);
    }
  }
  keeping.gather(plan_of(texts));
  StepData data(1 << 12);
  const std::int32_t lengths[] = {13};
  const std::uint32_t rows[] = {0}, begin[] = {0}, tables[] = {1, 4, 7, 10};
  keeping.add(data, {}, rows, lengths);
  (void)data.send({});
  for (std::size_t l = 0; l < listed_layers; ++l) {
    keeping.update<PagedTokens>(pool.layer(l), l, data, {});
  }
  const std::vector<float> q(listed_heads * listed_dim, 1.0f);
  for (std::size_t l = 0; l < listed_layers; ++l) {
    kernels::PagedDecodeParams<float, attention::Causal> p;
    p.q = q.data();
    p.q_stride = q.size();
    p.cache = pool.layer(l);
    p.blocks = tables;
    p.table_begin = begin;
    p.lengths = lengths;
    p.heads = listed_heads;
    keeping.choose<PagedTokens>(p, keeping.choice(l), l, data, {});
    for (std::uint32_t h = 0; h < listed_kv_heads; ++h) {
      const std::uint32_t* chosen = keeping.chosen() + h * 8;
      EXPECT_EQ(chosen[0], tables[best(l, h)] * listed_page) << l << " " << h;
      EXPECT_EQ(chosen[4], 10 * listed_page);
    }
  }
}

}  // namespace
}  // namespace quire::executor
