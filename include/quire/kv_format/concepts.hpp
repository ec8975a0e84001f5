#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>

#include <quire/core/units.hpp>

namespace quire {

/// How keys and values are stored in a block.
///
/// The unit is one head's slab of one block: `block_tokens` tokens of `head_dim` values, with whatever
/// scales the format keeps. A slab starts 64-byte aligned; slabs lie in the order (key or value, head).
/// - slab_bytes(block_tokens, head_dim): size of a slab, a multiple of 64.
/// - store(slab, block_tokens, head_dim, slot, values): writes token `slot`. \shape values (head_dim)
/// - load(slab, block_tokens, head_dim, slot, values): reads it back as fp32. \shape values (head_dim)
/// - token_bytes(head_dim): bytes that one more token costs in the long run, scales included, padding
///   not.
template <class F>
concept KvFormatPolicy = requires(std::byte* slab, const std::byte* const_slab, std::size_t n,
                                  const float* in, float* out) {
  { F::name } -> std::convertible_to<std::string_view>;
  { F::slab_bytes(n, n) } -> std::same_as<std::size_t>;
  { F::token_bytes(n) } -> std::same_as<double>;
  { F::store(slab, n, n, n, in) } -> std::same_as<void>;
  { F::load(const_slab, n, n, n, out) } -> std::same_as<void>;
};

/// A format whose slab is a plain array: `Element` is float, Bf16 or Fp16, a slab is Element
/// (block_tokens, head_dim) in row-major order. Kernels read such slabs in place; every other
/// format goes through load(), one token at a time, with the same results.
template <class F>
concept PlainKvFormat = KvFormatPolicy<F> && requires {
  typename F::Element;
};

}  // namespace quire
