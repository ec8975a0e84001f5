#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <quire/core/units.hpp>

namespace quire {

/// How the keys, or the values, of one head are stored in a block.
///
/// The unit is one head's slab of one block: `block_tokens` tokens of `head_dim` values, with whatever
/// scales the format keeps. A slab starts 64-byte aligned; slabs lie in the order (key or value, head).
/// - slab_bytes(block_tokens, head_dim): size of a slab, a multiple of 64.
/// - load(slab, block_tokens, head_dim, slot, values): reads token `slot` as fp32.
///   \shape values (head_dim)
/// - token_bytes(head_dim): bytes that one more token costs in the long run, scales included, padding
///   not.
/// A slab full of ones (bytes 0xff) reads as NaN: so unwritten memory shows. A NaN that is stored token by token
/// reads as NaN too, and spoils no other token: so do faults of a model.
template <class F>
concept KvSlab = requires(const std::byte* slab, std::size_t n, float* out) {
  { F::slab_bytes(n, n) } -> std::same_as<std::size_t>;
  { F::token_bytes(n) } -> std::same_as<double>;
  { F::load(slab, n, n, n, out) } -> std::same_as<void>;
};

/// Tokens are written one by one, in any order.
/// - store(slab, block_tokens, head_dim, slot, values): writes token `slot`. \shape values (head_dim)
template <class F>
concept TokenKvSlab = KvSlab<F> && requires(std::byte* slab, std::size_t n, const float* in) {
  { F::store(slab, n, n, n, in) } -> std::same_as<void>;
};

/// A block's tokens are written together, once all are known; until then they are kept beside the
/// pool in fp16 (kv_format/open_blocks.hpp).
/// - seal(slab, block_tokens, head_dim, rows): writes a slab. \shape rows (block_tokens, head_dim)
/// - residual: tokens that are sealed together, a whole number of blocks.
template <class F>
concept SealedKvSlab = KvSlab<F> && requires(std::byte* slab, std::size_t n, const float* in) {
  { F::seal(slab, n, n, in) } -> std::same_as<void>;
  { F::residual } -> std::convertible_to<std::size_t>;
};

/// A side that is fitted to a model beforehand, one head of one layer by itself.
/// - fit_floats(head_dim): numbers that it keeps for a head.
/// - fit(rows, count, head_dim, fitted): finds them. \shape rows (count, head_dim): keys or values
/// - store(fitted, slab, ...) and load(fitted, slab, ...): with those numbers. Without them, store() and
///   load() take what fits everything somehow; engines refuse to.
/// - `static constexpr bool fits_layer = true`: fit() is given all heads of a layer at once, and they share
///   what it finds.
template <class F>
concept FittedKvSlab = TokenKvSlab<F> &&
    requires(std::byte* slab, std::size_t n, float* out, const float* in) {
  { F::fit_floats(n) } -> std::same_as<std::size_t>;
  { F::fit(in, n, n, out) } -> std::same_as<void>;
  { F::store(in, slab, n, n, n, in) } -> std::same_as<void>;
  { F::load(in, slab, n, n, n, out) } -> std::same_as<void>;
};

template <class F>
concept KvSide = TokenKvSlab<F> || SealedKvSlab<F>;

/// How keys and values are stored in a block: one KvSide for both, or `Keys` and `Values`.
/// `Skipped`, a format, and skips(layer, layers): layers that are stored in that format instead.
/// What else a side may say; with another signature than SideCodec's (kv_format/codec.hpp), or another type,
/// it is refused (engine/explain_optional.hpp):
/// - `static constexpr std::size_t residual` with store(): the newest so many tokens are read as they
///   were, from fp16 beside the pool, those before as they were stored.
/// - to_basis(x, head_dim), from_basis(x, head_dim): an orthonormal change of basis and its inverse;
///   load() then gives values in that basis, and attention brings the queries there, or the sum back.
///   store() takes values as they are.
/// - `static constexpr bool before_rotation = true`: keys are stored without the turn by which rotary
///   embedding tells their position, and turned again where they are read.
/// - refusal(block_tokens, head_dim): a sentence where the sizes do not suit it, else empty.
/// - code_layout(block_tokens, head_dim): where a token's whole numbers and scales lie
///   (core/code_layout.hpp); kernels then multiply them as they are, in place of load(). The CPU's slabs
///   hold them in another order (kv_format/interleaved.hpp): they are written and read through codec_of().
/// - byte_floats(head_dim): a token's row of FP8 and its scale (core/byte_floats.hpp); kernels then widen
///   it by themselves where the processor can, in place of load(), which means the same.
/// - `static constexpr std::size_t tokens_together`: tokens of a block that share a scale; blocks are a whole
///   number of them.
/// - copy(from, from_slot, to, to_slot, block_tokens, head_dim): copies one token bit for bit; needed
///   where a retention policy moves tokens.
template <class F>
concept KvFormatPolicy = requires {
  { F::name } -> std::convertible_to<std::string_view>;
}
&&(KvSide<F> || (KvSide<typename F::Keys> && KvSide<typename F::Values>));

/// A format whose slab is a plain array: `Element` is float, Bf16 or Fp16, a slab is Element
/// (block_tokens, head_dim) in row-major order. Kernels read such slabs in place; every other
/// format goes through load(), one token at a time, with the same results.
template <class F>
concept PlainKvFormat = KvFormatPolicy<F> && TokenKvSlab<F> && requires {
  typename F::Element;
};

namespace kv_format {

namespace detail {
template <class F>
struct Sides {
  using Keys = F;
  using Values = F;
};
template <class F>
requires requires {
  typename F::Keys;
  typename F::Values;
}
struct Sides<F> {
  using Keys = typename F::Keys;
  using Values = typename F::Values;
};
}  // namespace detail

/// What stores a format's keys, and what its values.
template <class F>
using keys_of = typename detail::Sides<F>::Keys;
template <class F>
using values_of = typename detail::Sides<F>::Values;

/// Whether a format stores a layer in another one, its `Skipped`.
template <KvFormatPolicy F>
[[nodiscard]] constexpr bool skips([[maybe_unused]] std::size_t layer,
                                   [[maybe_unused]] std::size_t layers) {
  if constexpr (requires { typename F::Skipped; }) {
    return F::skips(layer, layers);
  } else {
    return false;
  }
}
/// Calls f.template operator()<Keys, Values>() for every layer, with what stores it.
template <KvFormatPolicy F, class Do>
constexpr void for_layers(std::size_t layers, Do&& f) {
  for (std::size_t i = 0; i < layers; ++i) {
    if constexpr (requires { typename F::Skipped; }) {
      if (F::skips(i, layers)) {
        f.template operator()<keys_of<typename F::Skipped>, values_of<typename F::Skipped>>();
        continue;
      }
    }
    f.template operator()<keys_of<F>, values_of<F>>();
  }
}
/// Bytes that a block takes in a pool, over all layers and heads.
template <KvFormatPolicy F>
[[nodiscard]] constexpr std::size_t block_bytes(std::size_t layers, std::size_t kv_heads,
                                                std::size_t block_tokens, std::size_t head_dim) {
  std::size_t all = 0;
  for_layers<F>(layers, [&]<class Keys, class Values>() {
    all += Keys::slab_bytes(block_tokens, head_dim) + Values::slab_bytes(block_tokens, head_dim);
  });
  return all * kv_heads;
}
/// Bytes that one more token costs in the long run, over all layers and heads.
template <KvFormatPolicy F>
[[nodiscard]] constexpr double token_bytes(std::size_t layers, std::size_t kv_heads,
                                           std::size_t head_dim) {
  double all = 0;
  for_layers<F>(layers, [&]<class Keys, class Values>() {
    all += Keys::token_bytes(head_dim) + Values::token_bytes(head_dim);
  });
  return all * static_cast<double>(kv_heads);
}
/// Tokens at the end of a sequence that a side keeps as they are, beside the pool.
template <class Side>
inline constexpr std::size_t residual_of = [] {
  if constexpr (requires { Side::residual; }) {
    return static_cast<std::size_t>(Side::residual);
  } else {
    return std::size_t{0};
  }
}();
/// Whether tokens lie beside the pool before they are packed: what moves blocks about has to know.
template <class F>
inline constexpr bool keeps_open_blocks = [] {
  bool keeps = residual_of<keys_of<F>> + residual_of<values_of<F>> > 0 ||
               !TokenKvSlab<keys_of<F>> || !TokenKvSlab<values_of<F>>;
  if constexpr (requires { typename F::Skipped; }) {
    keeps = keeps || keeps_open_blocks<typename F::Skipped>;
  }
  return keeps;
}();
/// Whether a side keeps the newest tokens as they are for longer than their block fills.
template <class F>
inline constexpr bool keeps_window = [] {
  bool keeps = residual_of<keys_of<F>> + residual_of<values_of<F>> > 0;
  if constexpr (requires { typename F::Skipped; }) {
    keeps = keeps || keeps_window<typename F::Skipped>;
  }
  return keeps;
}();
/// Whether blocks of so many tokens suit a format that packs tokens together.
template <class F>
[[nodiscard]] constexpr bool divides_block(std::int64_t block_tokens) {
  const auto fits = [block_tokens]<class Side>() {
    const auto tokens = static_cast<std::size_t>(block_tokens);
    bool good = residual_of<Side> % tokens == 0;
    if constexpr (requires { Side::tokens_together; }) {
      good = good && tokens % Side::tokens_together == 0;
    }
    return good;
  };
  bool good = fits.template operator()<keys_of<F>>() && fits.template operator()<values_of<F>>();
  if constexpr (requires { typename F::Skipped; }) {
    good = good && divides_block<typename F::Skipped>(block_tokens);
  }
  return good;
}
/// Whether some layers are stored in another format.
template <class F>
inline constexpr bool layers_differ = requires {
  typename F::Skipped;
};
/// What the other slots have to know of a KV format (engine/compatible.hpp): of a type, or of a format
/// that is chosen at run time (KvCodec::traits).
struct KvTraits {
  bool keeps_open_blocks = false;  // tokens lie beside the pool before they are packed
  bool keeps_window = false;       // for longer than their block fills
  bool before_rotation = false;    // keys are stored before rotary embedding
  bool layers_differ = false;      // some are stored in another format
  bool divides_block = true;       // blocks of the size at hand suit it

  friend constexpr bool operator==(const KvTraits&, const KvTraits&) = default;
};
/// Whether keys are stored before rotary embedding, in some layer at least.
template <class F>
inline constexpr bool stores_before_rotation = [] {
  bool before = false;
  if constexpr (requires { keys_of<F>::before_rotation; }) {
    before = static_cast<bool>(keys_of<F>::before_rotation);
  }
  if constexpr (requires { typename F::Skipped; }) {
    before = before || stores_before_rotation<typename F::Skipped>;
  }
  return before;
}();
template <class F>
[[nodiscard]] constexpr KvTraits traits_of(std::int64_t block_tokens) {
  return {.keeps_open_blocks = keeps_open_blocks<F>,
          .keeps_window = keeps_window<F>,
          .before_rotation = stores_before_rotation<F>,
          .layers_differ = layers_differ<F>,
          .divides_block = divides_block<F>(block_tokens)};
}

}  // namespace kv_format
}  // namespace quire
