#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/model/shape.hpp>

#include "tests/memory/kv_contents.hpp"
#include "tests/memory/naive_usage.hpp"

/// An executor whose "model" is a pure function of a sequence's text, and which keeps that text the
/// hard way: as contents of KV blocks, moved and overwritten as the plans say. A block that is
/// copied, swapped, shared or reused wrongly changes what is read back, and the test fails there.
namespace quire::engine_test {

/// A language model over a few tokens: the distribution after a text is a function of its hash.
struct TinyModel {
  static constexpr std::size_t vocab = 13;

  static std::vector<double> logprobs(std::uint64_t text) {
    std::vector<double> l(vocab);
    double sum = 0;
    for (std::size_t v = 0; v < vocab; ++v) {
      l[v] = 4 * unit_interval(counter_bits(17, text, v));
      sum += std::exp(l[v]);
    }
    for (double& x : l) x -= std::log(sum);
    return l;
  }
  /// Token drawn at random, by the text and the sample's seed alone.
  static TokenId draw(std::uint64_t text, std::uint64_t seed) {
    const std::vector<double> l = logprobs(text);
    double u = unit_interval(counter_bits(seed, text, 99));
    for (std::size_t v = 0; v < vocab; ++v) {
      u -= std::exp(l[v]);
      if (u < 0) return static_cast<TokenId>(v);
    }
    return vocab - 1;
  }
  static std::uint64_t text(std::span<const TokenId> tokens) {
    std::uint64_t h = memory_test::KvContents::garbage;
    for (const TokenId t : tokens) h = memory_test::KvContents::extend(h, t);
    return h;
  }
};

/// See the file's comment. Every step takes `seconds(plan)`.
struct Scripted {
  struct Options {
    SchedulerLimits limits{};
    std::int64_t device_blocks = 64;
    std::int64_t host_blocks = 0;
    std::int64_t disk_blocks = 0;
    std::int64_t max_length = 256;
    std::function<double(const StepPlan&)> seconds = [](const StepPlan& plan) {
      return 1.0 + 0.01 * static_cast<double>(plan.batched_tokens.value);
    };
    bool check_contents = true;
    /// Every so many fetches from a tier fail, chosen at random; 0: none.
    std::uint64_t fail_one_in = 0;
  };

  static model::Shape shape(const Options& options) {
    return {.name = "tiny",
            .layers = 1,
            .hidden = 8,
            .heads = 1,
            .kv_heads = 1,
            .head_dim = 8,
            .ffn = 8,
            .vocab = static_cast<std::int64_t>(TinyModel::vocab),
            .max_length = options.max_length};
  }
  template <class C>
  static KvGeometry geometry(const Options& options) {
    return {.device_blocks = options.device_blocks,
            .host_blocks = options.host_blocks,
            .block_tokens = C::BlockSize::tokens,
            .disk_blocks = options.disk_blocks,
            .tiers = tier_rules<typename C::Offload>()};
  }

  /// The same class for every configuration, so that those with equal memory share a control plane.
  class Steps {
   public:
    static constexpr std::string_view name = "scripted";
    static constexpr bool needs_tokens = true;

    Steps(const Options& options, const KvGeometry& g)
        : options_(options),
          block_tokens_(g.block_tokens),
          contents_(g.device_blocks, g.host_blocks + g.disk_blocks, g.block_tokens) {}

    void execute(const StepPlan& plan, StepResult& result) {
      result.clear();
      result.seconds = options_.seconds(plan);
      contents_.move(plan);
      fail(plan, result);
      std::int64_t tokens = 0;
      for (const SequencePlan& s : plan.sequences) {
        tokens += s.tokens.value;
        check_log(s);
        write(s);
      }
      EXPECT_EQ(plan.batched_tokens.value, tokens);
      for (const SequencePlan& s : plan.sequences) {
        result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
        const std::uint64_t text = read(s);
        if (s.draws > 0) draw(s, text, result);
      }
      result.begin.push_back(static_cast<std::uint32_t>(result.draws.size()));
    }

   private:
    /// Spoils some of the blocks that were fetched, and says so.
    void fail(const StepPlan& plan, StepResult& result) {
      spoilt_.clear();
      for (std::uint32_t i = 0; i < plan.swap_in.size() && options_.fail_one_in > 0; ++i) {
        if (rng_.below(options_.fail_one_in) != 0) continue;
        result.failed.push_back(i);
        spoilt_.insert(plan.swap_in[i].device.value);
        contents_.spoil(plan.swap_in[i].device);
      }
      for (const BlockCopy& c : plan.copies) {
        if (spoilt_.contains(c.from.value)) spoilt_.insert(c.to.value);
      }
    }
    void write(const SequencePlan& s) {
      EXPECT_GE(s.tokens, Tokens{1});
      EXPECT_GE(std::ssize(s.history), (s.computed + s.tokens).value);
      std::uint64_t h =
          TinyModel::text(s.history.first(static_cast<std::size_t>(s.computed.value)));
      for (std::int64_t t = s.computed.value; t < (s.computed + s.tokens).value; ++t) {
        h = memory_test::KvContents::extend(h, s.history[static_cast<std::size_t>(t)]);
        contents_.at(s.tables[0], t) = h;
      }
    }
    /// What attention over the sequence's blocks would see: every token must be the right one.
    std::uint64_t read(const SequencePlan& s) {
      const std::int64_t end = (s.computed + s.tokens).value;
      const auto blocks = s.tables[0].blocks();
      const bool sound = std::none_of(blocks.begin(), blocks.end(),
                                      [this](BlockId b) { return spoilt_.contains(b.value); });
      if (options_.check_contents && sound) {
        std::uint64_t h = memory_test::KvContents::garbage;
        for (std::int64_t t = 0; t < end; ++t) {
          h = memory_test::KvContents::extend(h, s.history[static_cast<std::size_t>(t)]);
          if (contents_.at(s.tables[0], t) == h) continue;
          ADD_FAILURE() << "sequence " << s.sequence.value << " of request " << s.request.value
                        << " lost token " << t << " of " << end;
          break;
        }
      }
      return contents_.at(s.tables[0], end - 1);
    }
    void draw(const SequencePlan& s, std::uint64_t text, StepResult& result) {
      const std::vector<double> l = TinyModel::logprobs(text);
      if (s.sampling->beam_width > 0) {
        std::vector<TokenId> order(TinyModel::vocab);
        for (std::size_t v = 0; v < order.size(); ++v) order[v] = static_cast<TokenId>(v);
        std::stable_sort(order.begin(), order.end(),
                         [&l](TokenId a, TokenId b) { return l[a] > l[b]; });
        const auto count = std::min(order.size(), static_cast<std::size_t>(s.draws));
        for (std::size_t i = 0; i < count; ++i) {
          result.draws.push_back({order[i], static_cast<float>(l[order[i]])});
        }
        return;
      }
      for (std::int32_t d = 0; d < s.draws; ++d) {
        const auto sample = static_cast<std::uint64_t>(s.sample_index + d);
        const TokenId token = TinyModel::draw(text, s.sampling->seed + sample);
        result.draws.push_back({token, static_cast<float>(l[token])});
      }
    }
    /// The decision log hashes of a table what it has not shown before; the rest must not change.
    void check_log(const SequencePlan& s) {
      const auto blocks = s.tables[0].blocks();
      std::vector<BlockId>& shown = shown_[s.sequence.value];
      if (!s.admitted) {
        const auto first = static_cast<std::size_t>(s.computed.value / block_tokens_.value);
        EXPECT_LE(first, shown.size());
        EXPECT_TRUE(std::equal(blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(first),
                               shown.begin()))
            << "a table changed where the decision log does not look";
      }
      shown.assign(blocks.begin(), blocks.end());
    }

    Options options_;
    Tokens block_tokens_;
    memory_test::KvContents contents_;
    std::map<std::uint64_t, std::vector<BlockId>> shown_;
    std::set<std::uint32_t> spoilt_;
    Rng rng_{29};
  };
  template <class>
  using Bound = Steps;
};

/// A request with a prompt of its own and the length of its answer.
inline Request request(std::uint64_t text, std::int64_t prompt, std::int64_t output,
                       std::int32_t n = 1) {
  Request r;
  Rng rng(text);
  for (std::int64_t i = 0; i < prompt; ++i) {
    r.prompt.push_back(static_cast<TokenId>(rng.below(TinyModel::vocab)));
  }
  r.output_length = output;
  r.sampling.max_tokens = output;
  r.sampling.n = n;
  r.sampling.seed = 1000 * text;
  return r;
}

using Finished = std::vector<std::unique_ptr<SequenceGroup>>;

/// Runs an engine until it has no work. A driver's loop in its smallest form: an idle engine is
/// woken when it asks for it; one that neither runs nor asks is stuck, which is a failure.
template <class AnEngine>
Finished drain(AnEngine& engine, const std::function<void()>& after_step = {}) {
  Finished finished;
  std::int64_t steps = 0;
  while (engine.has_work()) {
    const StepStats& stats = engine.step();
    if (stats.idle && engine.has_work()) {
      const std::optional<Seconds> wake = stats.wake_at;
      if (!wake || *wake <= engine.now()) {
        ADD_FAILURE() << "the engine is stuck after " << steps << " steps";
        break;
      }
      engine.advance_to(*wake);
    }
    if (after_step) after_step();
    if (++steps > 1'000'000) {
      ADD_FAILURE() << "the engine runs for ever";
      break;
    }
  }
  for (auto& group : engine.take_finished()) finished.push_back(std::move(group));
  return finished;
}

/// Generated tokens of every sequence of every request, by request id.
using Outputs = std::map<std::uint64_t, std::vector<std::vector<TokenId>>>;
inline Outputs outputs_of(const Finished& finished) {
  Outputs out;
  for (const auto& group : finished) {
    auto& sequences = out[group->request.id.value];
    for (const Sequence& s : group->sequences) {
      const auto prompt = std::min(group->prompt_length().value, std::ssize(s.tokens));
      sequences.emplace_back(s.tokens.begin() + prompt, s.tokens.end());
    }
  }
  return out;
}

template <class C>
Outputs run(const Scripted::Options& options, const std::vector<Request>& requests,
            EngineCounters* counters = nullptr) {
  Engine<C, Scripted> engine(options);
  for (const Request& r : requests) engine.submit(r);
  const Outputs out = outputs_of(drain(engine));
  if (counters != nullptr) *counters = engine.counters();
  return out;
}

/// What holds between any two steps: each block is referenced as often as tables list it, nothing
/// is in two queues, and the parts of the memory add up.
template <class C, class E>
void check(const Engine<C, E>& engine) {
  const auto capacity = engine.memory().capacity();
  std::vector<std::uint32_t> entries(static_cast<std::size_t>(capacity.value));
  std::vector<BlockId> host;
  for (const auto& group : engine.requests()) {
    for (const Sequence& s : group->sequences) {
      for (const BlockId b : s.tables[0].blocks()) ++entries.at(b.value);
      host.insert(host.end(), s.host_blocks.begin(), s.host_blocks.end());
      ASSERT_EQ(s.tokens.size(), static_cast<std::size_t>(s.length.value));
      ASSERT_LE(s.computed, s.length);
      if (group->status == GroupStatus::waiting) {
        ASSERT_TRUE(s.tables[0].empty() && s.host_blocks.empty())
            << "a waiting request holds memory";
      }
      if (group->status == GroupStatus::swapped && !s.finished()) {
        const bool parked = group->parked > BlockCount{0};  // it has its blocks still, or again
        ASSERT_EQ(s.tables[0].empty(), !parked);
        ASSERT_EQ(s.host_blocks.empty(), parked);
      }
      if (group->status == GroupStatus::running && !s.finished()) {
        ASSERT_TRUE(!s.tables[0].empty() && s.host_blocks.empty());
      }
    }
    for (const BlockRun run : group->spare_runs) {
      for (std::uint32_t b = 0; b < run.blocks; ++b) ++entries.at(run.first.value + b);
    }
  }
  std::int64_t held = 0;
  for (std::uint32_t b = 0; b < entries.size(); ++b) {
    held += entries[b] > 0;
    if constexpr (C::Reservation::contiguous) {
      ASSERT_LE(entries[b], 1u) << "block " << b << " is in two runs";
    } else {
      ASSERT_EQ(engine.memory().pool().references(BlockId{b}), entries[b]) << "block " << b;
    }
  }
  if constexpr (C::Reservation::contiguous) {
    ASSERT_EQ(engine.memory().buddy().free_blocks().value, capacity.value - held);
  }
  std::sort(host.begin(), host.end());
  const auto distinct = std::unique(host.begin(), host.end()) - host.begin();
  ASSERT_EQ(engine.memory().host_free().value + distinct,
            C::Reservation::contiguous ? 0 : engine.geometry().host_blocks.value);
  const MemoryUsage u = engine.usage();
  if constexpr (std::is_same_v<typename Engine<C, E>::Memory, PagedMemory<C>>) {
    memory_test::NaiveUsage naive(capacity, C::BlockSize::tokens);
    const Tokens longest = engine.limits().max_length;
    for (const auto& group : engine.requests()) {
      const Request& r = group->request;
      const Tokens output = std::min(r.output_length.value_or(r.sampling.max_tokens), longest);
      naive.add(*group, std::min(r.prompt_length + output, longest));
    }
    naive.expect_equal(u);
  }
  ASSERT_EQ(u.token_states + u.reserved + u.internal + u.rounding + u.holes + u.free, u.capacity);
  for (const Tokens part : {u.token_states, u.reserved, u.internal, u.rounding, u.holes, u.free}) {
    ASSERT_GE(part, Tokens{0});
  }
  ASSERT_EQ(u.capacity.value, capacity.value * C::BlockSize::tokens.value);
  ASSERT_EQ(u.physical_blocks.value, held);
}

}  // namespace quire::engine_test
