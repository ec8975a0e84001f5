#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace quire {

/// Names one thing of a kind; ids of different kinds do not mix.
template <class Tag, class Rep = std::uint32_t>
struct Id {
  using rep = Rep;
  Rep value{};
  friend constexpr auto operator<=>(const Id&, const Id&) = default;
};

/// Index of a physical KV block in a pool, 0 .. capacity - 1.
using BlockId = Id<struct BlockTag>;
/// One sequence (one sample or beam of a request); unique for the life of an engine.
using SequenceId = Id<struct SequenceTag, std::uint64_t>;
/// One request as submitted; unique for the life of an engine.
using RequestId = Id<struct RequestTag, std::uint64_t>;
/// One client, user or tenant. Blocks of different tenants with different salts are never shared.
using TenantId = Id<struct TenantTag>;
/// Index into a vocabulary. A plain number, because tensors of it are plain memory.
using TokenId = std::uint32_t;

}  // namespace quire

template <class Tag, class Rep>
struct std::hash<quire::Id<Tag, Rep>> {
  std::size_t operator()(const quire::Id<Tag, Rep>& id) const noexcept {
    return std::hash<Rep>{}(id.value);
  }
};
