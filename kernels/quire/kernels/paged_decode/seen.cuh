#pragma once

#include <cstddef>
#include <cstdint>

#include <quire/kernels/paged_decode/params.hpp>
#include <quire/simt/simt.cuh>

namespace quire::kernels {

/// What a block of threads attends to: a part of one row's keys, as its KV head lists them.
struct Seen {
  DecodeWork work;
  const std::uint32_t* table;
  std::int32_t position;  // of the query: its own key is the last that it sees
};
/// Where a token lies.
struct Place {
  std::uint32_t block;
  unsigned slot;
};
/// KV heads with tables of their own may have fewer tokens than the work says, down to none.
template <class Key, class Params>
[[nodiscard]] QUIRE_DEVICE Seen seen_by(const Params& p, unsigned kv_head) {
  DecodeWork work = p.work[simt::block().x];
  const std::size_t at = Key::table_of(work.sequence, p.cache.kv_heads, kv_head);
  const std::int32_t length = p.lengths[at];
  if constexpr (Key::listed) {
    if (work.end > length) work.end = length;
  }
  return {work, p.blocks + p.table_begin[at], length - 1};
}

template <class Key>
[[nodiscard]] QUIRE_DEVICE Place place_of(const std::uint32_t* table, unsigned t) {
  const std::uint32_t entry = table[Key::entry_of(t)];
  return {Key::block_of(entry), Key::slot_of(entry, t)};
}

}  // namespace quire::kernels
