#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/kernels/block_primitives.cuh>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

struct ChoosePagesParams {
  const float* scores =
      nullptr;  // \shape (grid.x, kv_heads, score_stride), as PageScores leaves them
  std::size_t score_stride = 0;
  const std::uint32_t* blocks = nullptr;       // \shape (entries): all block tables
  const std::uint32_t* table_begin = nullptr;  // \shape (rows)
  const std::int32_t* lengths = nullptr;       // \shape (rows): tokens
  const std::uint32_t* rows = nullptr;         // \shape (grid.x)
  /// \shape (grid.x, kv_heads, count * block_tokens): the slots of the chosen pages, as ListedKey reads
  /// them
  std::uint32_t* chosen = nullptr;
  std::uint32_t count =
      0;  // pages of a query, the last one among them; > 0, and fewer than there are
  std::uint32_t block_tokens = 0;
};

/// The pages with the highest scores and the last one, in rising order; among equals the latest: what
/// retention::Quest::choose() does on the host. The least of the chosen scores is found bit by bit, so
/// that nothing is sorted. Grid: (rows that choose, kv_heads).
/// \cost reads each score some sixty times, from cache \source Tang et al., "Quest", ICML '24
template <BlockPrimitives Block>
struct ChoosePages {
  using Params = ChoosePagesParams;
  static constexpr std::string_view name = "choose_pages";
  static constexpr unsigned threads = Block::threads;
  static constexpr std::size_t shared_bytes = Block::bytes;
  static constexpr unsigned page_bits = 26;  // and 32 of the score

  QUIRE_DEVICE static void run(const Params& p) {
    const std::size_t at = std::size_t{simt::block().x} * simt::grid().y + simt::block().y;
    const float* scores = p.scores + at * p.score_stride;
    std::uint32_t* chosen = p.chosen + at * p.count * p.block_tokens;
    const std::uint32_t row = p.rows[simt::block().x];
    const std::uint32_t* table = p.blocks + p.table_begin[row];
    const unsigned last = (static_cast<unsigned>(p.lengths[row]) - 1) / p.block_tokens;
    const Block block{0};
    unsigned long long least = ~0ULL;  // of the chosen pages' ranks
    if (p.count > 1) {
      least = 0;
      for (unsigned bit = 32 + page_bits; bit-- > 0;) {
        const unsigned long long with = least | 1ULL << bit;
        unsigned long long many = 0;
        for (unsigned page = simt::thread(); page < last; page += threads) {
          many += rank(scores[page], page) >= with ? 1 : 0;
        }
        if (block.sum(many) >= p.count - 1) least = with;
      }
    }
    unsigned long long before = 0;  // chosen in pages before these
    for (unsigned first = 0; first <= last; first += threads) {
      const unsigned page = first + simt::thread();
      const bool here = page == last || (page < last && rank(scores[page], page) >= least);
      const unsigned long long place = before + block.sum_before(here ? 1ULL : 0ULL);
      before += block.sum(here ? 1ULL : 0ULL);
      if (!here) continue;
      for (unsigned slot = 0; slot < p.block_tokens; ++slot) {
        chosen[place * p.block_tokens + slot] = table[page] * p.block_tokens + slot;
      }
    }
  }

 private:
  /// In the order of scores, and of pages where scores are equal; no two pages have the same.
  [[nodiscard]] QUIRE_DEVICE static unsigned long long rank(float score, unsigned page) {
    const auto bits = simt::bit_cast<std::uint32_t>(score + 0.0f);  // -0 is 0
    const std::uint32_t ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
    return static_cast<unsigned long long>(ordered) << page_bits | page;
  }
};

}  // namespace quire::kernels
