#pragma once

#include <cstdint>

#include <quire/core/units.hpp>

namespace quire {

/// Where the KV slots of a pool are at one moment, in tokens. The six parts add up to the
/// capacity. \source categories of Kwon et al., SOSP '23, Figure 2, which shows rounding and free
/// together as "external & others".
struct MemoryUsage {
  Tokens capacity = 0;
  Tokens token_states = 0;         // hold the keys and values of a token
  Tokens reserved = 0;             // will hold one before the sequence ends
  Tokens internal = 0;             // given to a sequence that will never use them
  Tokens rounding = 0;             // added by the allocator to make a run a power of two
  Tokens holes = 0;                // lost their token inside a block that is kept (retention)
  Tokens free = 0;                 // in no sequence's hands; cached prefixes count as free
  BlockCount logical_blocks = 0;   // entries of all block tables
  BlockCount physical_blocks = 0;  // distinct blocks behind them
  Tokens swapped = 0;              // token states in the host tier, not part of the capacity

  MemoryUsage& operator-=(const MemoryUsage& o) {
    capacity -= o.capacity;
    token_states -= o.token_states;
    reserved -= o.reserved;
    internal -= o.internal;
    rounding -= o.rounding;
    holes -= o.holes;
    free -= o.free;
    logical_blocks -= o.logical_blocks;
    physical_blocks -= o.physical_blocks;
    swapped -= o.swapped;
    return *this;
  }
};

}  // namespace quire
