#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/eviction/replay.hpp>
#include <quire/workload/trace/open_trace.hpp>

namespace quire::experiment {

using References = eviction::ReferenceString;

/// Draws ranks with probability proportional to 1 / (rank + 1)^exponent, from a table.
class ZipfTable {
 public:
  ZipfTable(std::size_t ranks, double exponent) {
    double sum = 0;
    for (std::size_t r = 1; r <= ranks; ++r) {
      cumulative_.push_back(sum += std::pow(static_cast<double>(r), -exponent));
    }
  }
  std::size_t operator()(Rng& rng) const {
    const double u = rng.uniform() * cumulative_.back();
    return static_cast<std::size_t>(std::upper_bound(cumulative_.begin(), cumulative_.end(), u) -
                                    cumulative_.begin());
  }

 private:
  std::vector<double> cumulative_;
};

/// Single blocks, asked for alone, so that a row has no prefix: what a string of pages is elsewhere.
inline void ask(References& out, std::uint64_t content) { out.add(std::vector{content}); }

/// A hot set by Zipf 0.9 over 4,000 blocks; after every 500 references 400 that come once.
inline References scans(std::size_t references, std::uint64_t seed) {
  References out;
  const ZipfTable hot(4000, 0.9);
  Rng rng(seed);
  std::uint64_t once = 1'000'000;
  for (std::size_t i = 0; out.references().size() < references; ++i) {
    ask(out, 1 + hot(rng));
    if (i % 500 != 499) continue;
    for (int k = 0; k < 400; ++k) ask(out, ++once);
  }
  return out;
}

/// The same 4,000 blocks in the same order, over and over.
inline References loop(std::size_t references) {
  References out;
  for (std::size_t i = 0; i < references; ++i) ask(out, 1 + i % 4000);
  return out;
}

/// Zipf 0.9 over 4,000 blocks, exchanged for 4,000 others after each tenth of the string.
inline References shifts(std::size_t references, std::uint64_t seed) {
  References out;
  const ZipfTable hot(4000, 0.9);
  Rng rng(seed);
  for (std::size_t i = 0; i < references; ++i) {
    ask(out, 1 + 1'000'000 * (i * 10 / references) + hot(rng));
  }
  return out;
}

/// Requests of many tenants over one cache: each tenant has a system prompt, conversations that grow
/// turn by turn, and long documents that are asked about once.
struct TenantMix {
  std::size_t tenants = 24;          // popularity by Zipf 1
  double one_off = 0.15;             // of requests: a document nobody asks for again
  double goes_on = 0.6;              // of the others: the next turn of a recent conversation
  std::size_t recent = 400;          // conversations of which one goes on, the last more likely
  std::size_t longest_context = 64;  // blocks after which a conversation is not carried on
};

inline References tenants(std::size_t requests, std::uint64_t seed, const TenantMix& mix = {}) {
  struct Conversation {
    std::uint32_t tenant;
    std::int32_t turn;
    std::vector<std::uint64_t> blocks;
  };
  References out;
  Rng rng(seed);
  const ZipfTable popular(mix.tenants, 1.0), back(mix.recent, 0.8);
  std::vector<std::vector<std::uint64_t>> system(mix.tenants);
  std::uint64_t fresh = 1;
  for (auto& prompt : system) {
    for (std::uint64_t n = 2 + rng.below(11); n > 0; --n) prompt.push_back(fresh++);
  }
  std::vector<Conversation> conversations;
  const auto say = [&](std::vector<std::uint64_t>& blocks, std::uint64_t least,
                       std::uint64_t more) {
    for (std::uint64_t n = least + rng.below(more); n > 0; --n) blocks.push_back(fresh++);
  };
  for (std::size_t r = 0; r < requests; ++r) {
    const double what = rng.uniform();
    if (what < mix.one_off) {
      const auto tenant = static_cast<std::uint32_t>(popular(rng));
      std::vector<std::uint64_t> document = system[tenant];
      say(document, 16, 33);
      out.add(document, {tenant}, 1, 0);
      continue;
    }
    std::size_t which = conversations.size();
    if (rng.uniform() < mix.goes_on && !conversations.empty()) {
      const std::size_t ago = std::min(back(rng), conversations.size() - 1);
      if (conversations[conversations.size() - 1 - ago].blocks.size() < mix.longest_context) {
        which = conversations.size() - 1 - ago;
      }
    }
    if (which == conversations.size()) {
      const auto tenant = static_cast<std::uint32_t>(popular(rng));
      conversations.push_back({tenant, 0, system[tenant]});
    }
    Conversation c = conversations[which];  // who speaks is the most recent one
    conversations.erase(conversations.begin() + static_cast<std::ptrdiff_t>(which));
    say(c.blocks, 1, 6);
    out.add(c.blocks, {c.tenant}, 0, std::min(c.turn, 3));
    ++c.turn;
    conversations.push_back(std::move(c));
    if (conversations.size() > mix.recent) conversations.erase(conversations.begin());
  }
  return out;
}

/// The hash ids of a Mooncake trace, every one of every row, plus one: the trace counts from 0, which
/// is nobody's name here. \errors as open_trace().
inline References mooncake(const std::filesystem::path& file) {
  References out;
  std::vector<std::uint64_t> row;
  const auto trace = workload::trace::open_trace(file, {});
  for (const Request& r : trace.requests) {
    row.clear();
    for (const PromptChunk& chunk : r.chunks) row.push_back(chunk.content + 1);
    out.add(row, r.tenant, r.priority, r.turn);
  }
  return out;
}

}  // namespace quire::experiment
