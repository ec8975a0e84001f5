// What one call of a speculation policy costs, by length of the text: once a sequence and step; of one
// whose drafts a model makes, finding what the model has of the sequence. Beside it the sum of a text
// of that length, which reads each token once.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "benchmarks/common/ceiling.hpp"

#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/executor/draft_book.hpp>
#include <quire/speculation/speculation.hpp>

namespace {

using namespace quire;
using Policies = type_list<speculation::None, speculation::PromptLookup, speculation::DraftModel>;

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
  [[maybe_unused]] const Policy policy;
  [[maybe_unused]] executor::DraftBook book(4096, 16);
  for (auto _ : state) {
    if constexpr (speculation::drafts_by_model<Policy>) {
      book.begin_step();
      executor::DraftBook::Entry* known = book.take({1}, std::ssize(text) + Policy::most.value);
      const auto same =
          std::mismatch(known->text.begin(), known->text.end(), text.begin(), text.end());
      known->text.assign(text.begin(), text.end());
      benchmark::DoNotOptimize(same.first);
    } else {
      drafts.clear();
      policy.propose(text, Policy::most, drafts);
    }
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
