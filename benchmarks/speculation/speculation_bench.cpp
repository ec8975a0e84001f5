// What one call of a speculation policy costs, by length of the text: once a sequence and step. Beside
// it the sum of a text of that length, which reads each token once.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/speculation/speculation.hpp>

namespace {

using namespace quire;
using Policies = type_list<speculation::None, speculation::PromptLookup>;

/// A text of a vocabulary of 32,000 in which the last two tokens stood nowhere before: the longest
/// search. \shape (tokens)
std::vector<TokenId> prose(std::int64_t tokens) {
  Rng rng(3);
  std::vector<TokenId> text;
  for (std::int64_t i = 0; i < tokens; ++i) text.push_back(static_cast<TokenId>(rng.below(32000)));
  return text;
}

template <class Policy>
void propose(benchmark::State& state) {
  const auto text = prose(state.range(0));
  std::vector<TokenId> drafts;
  const Policy policy;
  for (auto _ : state) {
    drafts.clear();
    policy.propose(text, Policy::most, drafts);
    benchmark::DoNotOptimize(drafts.data());
  }
  quire_bench::count_items(state, state.range(0));
  quire_bench::against(state, "read_text/" + std::to_string(state.range(0)));
}

void read_text(benchmark::State& state) {
  const auto text = prose(state.range(0));
  for (auto _ : state) {
    benchmark::DoNotOptimize(std::accumulate(text.begin(), text.end(), TokenId{0}));
  }
  quire_bench::count_items(state, state.range(0));
}

const bool registered = [] {
  for (const std::int64_t n : {128, 2048, 32768}) {
    benchmark::RegisterBenchmark("read_text", read_text)->Arg(n);
    for_each_type(Policies{}, [n]<class Policy>() {
      benchmark::RegisterBenchmark(("propose/" + std::string(Policy::name)).c_str(),
                                   propose<Policy>)
          ->Arg(n);
    });
  }
  return true;
}();

}  // namespace
