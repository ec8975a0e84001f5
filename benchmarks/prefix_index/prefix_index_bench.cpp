// What a prefix index costs: lookup against depth, insertion and erasure; beside the ceiling of
// hashing the same tokens and of comparing them (every match does both).
//
// items_per_second counts blocks, bytes_per_second the token ids.
#include <benchmark/benchmark.h>

#include <cstring>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/prefix_index/prefix_index.hpp>

namespace {

using namespace quire;

using all_policies = type_list<prefix_index::None, prefix_index::HashChain, prefix_index::RadixTree,
                               prefix_index::TokenRadixTree>;

constexpr std::size_t block_tokens = 16;

/// Texts of `depth` blocks each, all different from their second block on, blocks scattered over the
/// pool: together `blocks` of them, which is more than the caches hold.
struct Cached {
  Cached(std::size_t blocks, std::size_t depth) : texts(blocks / depth) {
    Rng rng(7);
    ids.resize(blocks);
    std::iota(ids.begin(), ids.end(), 0u);
    for (std::size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[rng.below(i)]);
    for (auto& text : texts) {
      text.resize(depth * block_tokens);
      for (TokenId& t : text) t = static_cast<TokenId>(rng.below(128000));
    }
  }
  template <class Index>
  void insert_into(Index& index, std::size_t text, std::size_t depth) {
    std::optional<BlockId> parent;
    for (std::size_t b = 0; b < depth; ++b) {
      const BlockId block{ids[text * depth + b]};
      index.insert(parent,
                   std::span<const TokenId>(texts[text]).subspan(b * block_tokens, block_tokens), 0,
                   block);
      parent = block;
    }
  }
  std::vector<std::uint32_t> ids;
  std::vector<std::vector<TokenId>> texts;
};

constexpr std::size_t pool = 200000;  // blocks: 12.8 MB of token ids

template <class Index>
void match(benchmark::State& state) {
  const auto depth = static_cast<std::size_t>(state.range(0));
  Cached cached(pool, depth);
  Index index(BlockCount{pool}, Tokens{block_tokens});
  for (std::size_t t = 0; t < cached.texts.size(); ++t) cached.insert_into(index, t, depth);
  std::vector<BlockId> out;
  out.reserve(depth);
  std::size_t t = 0;
  for (auto _ : state) {
    out.clear();
    index.match(cached.texts[t], 0, out);
    benchmark::DoNotOptimize(out.data());
    t = (t + 7919) % cached.texts.size();
  }
  const auto blocks = static_cast<std::int64_t>(depth) * state.iterations();
  state.SetItemsProcessed(blocks);
  state.SetBytesProcessed(blocks * static_cast<std::int64_t>(block_tokens * sizeof(TokenId)));
}

/// A prompt of 256 blocks of which nothing is cached.
template <class Index>
void miss(benchmark::State& state) {
  Cached cached(pool, 10);
  Index index(BlockCount{pool}, Tokens{block_tokens});
  for (std::size_t t = 0; t < cached.texts.size(); ++t) cached.insert_into(index, t, 10);
  std::vector<TokenId> text(256 * block_tokens);
  std::vector<BlockId> out;
  TokenId fresh = 1000000;
  for (auto _ : state) {
    text[0] = ++fresh;
    index.match(text, 0, out);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(state.iterations());
}

/// The last block of a text leaves and comes back.
template <class Index>
void turnover(benchmark::State& state) {
  constexpr std::size_t depth = 10;
  Cached cached(pool, depth);
  Index index(BlockCount{pool}, Tokens{block_tokens});
  for (std::size_t t = 0; t < cached.texts.size(); ++t) cached.insert_into(index, t, depth);
  std::size_t t = 0;
  for (auto _ : state) {
    const BlockId last{cached.ids[t * depth + depth - 1]};
    const BlockId before{cached.ids[t * depth + depth - 2]};
    index.erase(last);
    index.insert(before, std::span<const TokenId>(cached.texts[t]).last(block_tokens), 0, last);
    t = (t + 7919) % cached.texts.size();
  }
  state.SetItemsProcessed(state.iterations());
}

/// The ceiling of match: the chain of hashes alone.
void hash_only(benchmark::State& state) {
  const auto depth = static_cast<std::size_t>(state.range(0));
  Cached cached(pool, depth);
  std::size_t t = 0;
  for (auto _ : state) {
    std::uint64_t key = 0;
    for (std::size_t b = 0; b < depth; ++b) {
      key = prefix_index::Xxh3ChainHash{}(
          std::span<const TokenId>(cached.texts[t]).subspan(b * block_tokens, block_tokens), key);
    }
    benchmark::DoNotOptimize(key);
    t = (t + 7919) % cached.texts.size();
  }
  const auto blocks = static_cast<std::int64_t>(depth) * state.iterations();
  state.SetItemsProcessed(blocks);
  state.SetBytesProcessed(blocks * static_cast<std::int64_t>(block_tokens * sizeof(TokenId)));
}

const bool registered = [] {
  for (const std::int64_t depth : {1, 10, 100, 1000}) {
    benchmark::RegisterBenchmark("hash_only", hash_only)->Arg(depth);
  }
  for_each_type(all_policies{}, []<class Index>() {
    const std::string name(Index::name);
    for (const std::int64_t depth : {1, 10, 100, 1000}) {
      benchmark::RegisterBenchmark(("match/" + name).c_str(), match<Index>)->Arg(depth);
    }
    benchmark::RegisterBenchmark(("miss/" + name).c_str(), miss<Index>);
    if constexpr (Index::enabled) {
      benchmark::RegisterBenchmark(("turnover/" + name).c_str(), turnover<Index>);
    }
  });
  return true;
}();

}  // namespace
