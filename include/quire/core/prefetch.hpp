#pragma once

namespace quire {

/// Asks for the line of memory at `p`, which somebody will read in a while.
/// g++ takes a function that does nothing but prefetch for one without effect and drops its calls; an
/// empty statement that it must not drop keeps them.
inline void prefetch(const void* p) {
  __builtin_prefetch(p);
  asm volatile("");
}

}  // namespace quire
