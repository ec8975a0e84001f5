#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>

namespace quire::disk {

/// What the slots of a disk tier's file hold, as a list of entries of one size that only grows:
/// `put` after a block has been written, `drop` before its slot is overwritten, and `seal` as the
/// last one of a tier that was closed in order. Of several entries for a slot the last counts.
///
/// Everything in it is under a checksum: the header under its own, and each entry under one that also
/// depends on the header and on the entry's place, so that entries of another file or place are not
/// taken for this one's.
/// \shape header (64 bytes), entry (48 + 4 * block_tokens bytes, rounded up to 8), ...
namespace manifest {

inline constexpr std::array<char, 8> magic{'q', 'u', 'i', 'r', 'e', 'k', 'v', '1'};
/// Of the manifest and of what a block's bytes mean: 2 since whole numbers lie in runs of tokens
/// (core/code_layout.hpp).
inline constexpr std::uint64_t version = 2;

/// What a tier must have been made for, to be of use to the one that opens it.
struct Identity {
  std::uint64_t fingerprint = 0;  // of the model, its weights, formats and block size
  std::uint64_t slot_bytes = 0;
  std::uint64_t block_tokens = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

enum class Kind : std::uint32_t { put = 1, drop = 2, seal = 3 };

struct Entry {
  Kind kind = Kind::put;
  std::uint32_t slot = 0;  // of a seal: live slots, to be found by whoever opens it
  std::uint64_t id = 0, parent = 0, salt = 0;
  std::uint64_t checksum = 0;   // of the slot's bytes
  std::vector<TokenId> tokens;  // \shape (block_tokens); empty but for put
};

inline constexpr std::size_t header_bytes = 64;
[[nodiscard]] inline std::size_t entry_bytes(const Identity& identity) {
  return (48 + 4 * static_cast<std::size_t>(identity.block_tokens) + 7) / 8 * 8;
}

namespace detail {
template <class T>
void store(std::vector<std::byte>& out, std::size_t at, const T& value) {
  std::memcpy(out.data() + at, &value, sizeof(T));
}
template <class T>
[[nodiscard]] T load(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}
[[nodiscard]] inline std::uint64_t entry_seed(const Identity& identity, std::uint64_t place) {
  return hash_combine(mix64(identity.fingerprint), place);
}
}  // namespace detail

[[nodiscard]] inline std::vector<std::byte> encode_header(const Identity& identity) {
  std::vector<std::byte> out(header_bytes);
  detail::store(out, 0, magic);
  detail::store(out, 8, version);
  detail::store(out, 16, identity.fingerprint);
  detail::store(out, 24, identity.slot_bytes);
  detail::store(out, 32, identity.block_tokens);
  detail::store(out, 56, hash_bytes(std::span(out).first(56)));
  return out;
}

/// place: number of the entry in the file, from 0.
[[nodiscard]] inline std::vector<std::byte> encode_entry(const Identity& identity,
                                                         const Entry& entry, std::uint64_t place) {
  std::vector<std::byte> out(entry_bytes(identity));
  detail::store(out, 0, static_cast<std::uint32_t>(entry.kind));
  detail::store(out, 4, entry.slot);
  detail::store(out, 8, entry.id);
  detail::store(out, 16, entry.parent);
  detail::store(out, 24, entry.salt);
  detail::store(out, 32, entry.checksum);
  if (!entry.tokens.empty()) {
    std::memcpy(out.data() + 40, entry.tokens.data(), 4 * entry.tokens.size());
  }
  const std::size_t end = out.size() - 8;
  detail::store(out, end,
                hash_bytes(std::span(out).first(end), detail::entry_seed(identity, place)));
  return out;
}

/// What was read from a manifest, and what is wrong with it; an empty `fault` means nothing.
struct Content {
  std::vector<Entry> entries;  // of slots that hold something, one each
  std::string fault;
  std::size_t damaged = 0;  // entries that were left out
};

/// Reads what can be trusted. \complexity O(bytes). \errors none: `fault` says what was found.
[[nodiscard]] inline Content decode(const Identity& identity, std::span<const std::byte> bytes) {
  Content out;
  const auto refuse = [&out](std::string why) {
    out.entries.clear();
    out.fault = std::move(why);
    return out;
  };
  if (bytes.size() < header_bytes) return refuse("is cut off within its header");
  if (detail::load<std::array<char, 8>>(bytes, 0) != magic) return refuse("is no tier manifest");
  if (detail::load<std::uint64_t>(bytes, 56) != hash_bytes(bytes.first(56))) {
    return refuse("has a damaged header");
  }
  const Identity found{detail::load<std::uint64_t>(bytes, 16),
                       detail::load<std::uint64_t>(bytes, 24),
                       detail::load<std::uint64_t>(bytes, 32)};
  if (detail::load<std::uint64_t>(bytes, 8) != version || found != identity) {
    return refuse("was made for another model, format or version");
  }
  bytes = bytes.subspan(header_bytes);
  const std::size_t size = entry_bytes(identity);
  std::vector<std::size_t> last;  // entry that counts, by slot; 0: none, else its place + 1
  std::vector<Entry> all;
  bool sealed = false;
  std::uint32_t told = 0;
  for (std::uint64_t place = 0; (place + 1) * size <= bytes.size(); ++place) {
    const auto raw = bytes.subspan(place * size, size);
    all.emplace_back();
    if (detail::load<std::uint64_t>(raw, size - 8) !=
        hash_bytes(raw.first(size - 8), detail::entry_seed(identity, place))) {
      ++out.damaged;
      continue;
    }
    Entry& e = all.back();
    e.kind = static_cast<Kind>(detail::load<std::uint32_t>(raw, 0));
    e.slot = detail::load<std::uint32_t>(raw, 4);
    e.id = detail::load<std::uint64_t>(raw, 8);
    e.parent = detail::load<std::uint64_t>(raw, 16);
    e.salt = detail::load<std::uint64_t>(raw, 24);
    e.checksum = detail::load<std::uint64_t>(raw, 32);
    sealed = e.kind == Kind::seal;
    if (sealed) {
      told = e.slot;
      continue;
    }
    if (e.slot >= (1u << 28)) continue;
    if (last.size() <= e.slot) last.resize(e.slot + 1);
    last[e.slot] = 0;
    if (e.kind != Kind::put) continue;
    last[e.slot] = static_cast<std::size_t>(place) + 1;
    e.tokens.resize(static_cast<std::size_t>(identity.block_tokens));
    std::memcpy(e.tokens.data(), raw.data() + 40, 4 * e.tokens.size());
  }
  for (const std::size_t place : last) {
    if (place > 0) out.entries.push_back(std::move(all[place - 1]));
  }
  if (out.damaged > 0) {
    out.fault = "has " + std::to_string(out.damaged) + " damaged entries";
  } else if (bytes.size() % size != 0) {
    out.fault = "is cut off within an entry";
  } else if (!sealed) {
    out.fault = "was not closed";
  } else if (told != out.entries.size()) {
    out.fault = "lacks entries";
  }
  return out;
}

}  // namespace manifest
}  // namespace quire::disk
