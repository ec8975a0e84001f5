#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/engine/engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/presets/presets.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/cpu_steps.hpp"

/// Requests of every kind, run for real to their ends: what a policy must leave as it is.
namespace quire::cpu_outputs {

struct Base : presets::Vllm {
  static constexpr std::string_view name = "base";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Offload = offload::Recompute;
};
struct Swapping : Base {
  static constexpr std::string_view name = "swapping";
  using Offload = offload::SwapToHost;
};
struct Cached : Base {
  static constexpr std::string_view name = "cached";
  using BlockSize = quire::BlockSize<4>;
  using PrefixIndex = prefix_index::HashChain;
};
struct Contiguous : presets::OrcaMax {
  static constexpr std::string_view name = "contiguous";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};

inline checkpoint::Checkpoint model() {
  return testing::opened(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models/llama").string());
}

/// Prompts that share beginnings, and every way of sampling.
inline std::vector<Request> requests() {
  Rng rng(3);
  std::vector<TokenId> common;
  for (int i = 0; i < 30; ++i) common.push_back(static_cast<TokenId>(rng.below(101)));
  std::vector<Request> all;
  for (std::uint64_t i = 0; i < 18; ++i) {
    Request r;
    if (i % 2 == 0) r.prompt = common;
    for (std::uint64_t n = 1 + rng.below(25), k = 0; k < n; ++k) {
      r.prompt.push_back(static_cast<TokenId>(rng.below(101)));
    }
    SamplingParams& p = r.sampling;
    p.max_tokens = 4 + static_cast<std::int64_t>(rng.below(24));
    p.seed = 1000 + i;
    p.temperature = i % 3 == 0 ? 0 : 0.9;
    if (i % 4 == 1) p.n = 3;
    if (i % 5 == 2) p.top_p = 0.9;
    if (i % 6 == 3) p.repetition_penalty = 1.3;
    if (i % 6 == 5) p.beam_width = p.n = 3;
    if (i % 7 == 4) p.logprobs = 2;
    all.push_back(std::move(r));
  }
  return all;
}

/// What a client gets of one sample.
struct Text {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs, alternatives;
  bool operator==(const Text&) const = default;
};
using Texts = std::vector<std::vector<Text>>;  // request, sample

struct Served {
  Texts texts;
  EngineCounters counters;
};

/// Submits requests, `at_once` of them at a time, and runs them to their ends.
template <class C>
Served run(const std::vector<Request>& requests, std::size_t at_once, std::int64_t blocks,
           std::size_t threads = 1, std::optional<checkpoint::Checkpoint> draft = {}) {
  executor::Cpu::Options options{.model = model(), .threads = threads, .poison = true};
  options.device_blocks = blocks;
  options.host_blocks = 200;
  options.draft_model = std::move(draft);
  Engine<C, executor::Cpu> engine(options);
  Served out;
  out.texts.resize(requests.size());
  std::map<RequestId, std::size_t> who;
  std::size_t next = 0;
  while (next < requests.size() || engine.has_work()) {
    while (next < requests.size() && who.size() < at_once) {
      who[engine.submit(requests[next])] = next;
      ++next;
    }
    if (engine.has_work()) {
      const StepStats& stats = engine.step();
      if (stats.idle && stats.wake_at) engine.advance_to(*stats.wake_at);
    }
    for (const auto& group : engine.take_finished()) {
      EXPECT_EQ(group->error, "");
      const std::size_t i = who.at(group->request.id);
      for (const Sequence& s : group->sequences) {
        Text& text = out.texts[i].emplace_back();
        text.tokens.assign(s.tokens.begin() + group->prompt_length().value, s.tokens.end());
        text.logprobs = s.logprobs;
        for (const TokenLogprob& a : s.alternatives) {
          text.alternatives.push_back(static_cast<float>(a.token));
          text.alternatives.push_back(a.logprob);
        }
      }
      who.erase(group->request.id);
    }
  }
  out.counters = engine.counters();
  return out;
}

/// The texts of requests(), one request at a time.
inline const Texts& one_by_one() {
  static const Texts texts = run<Base>(requests(), 1, 64).texts;
  return texts;
}

}  // namespace quire::cpu_outputs
