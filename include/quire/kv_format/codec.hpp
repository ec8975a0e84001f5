// mechanism: a format's functions as values, so that kernels and engines are compiled once for all
#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include <quire/core/byte_floats.hpp>
#include <quire/core/code_layout.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/interleaved.hpp>

namespace quire::kv_format {

/// What a side of a format does, as functions. Those that it does not offer are null.
struct SideCodec {
  std::size_t (*slab_bytes)(std::size_t block_tokens, std::size_t head_dim) = nullptr;
  double (*token_bytes)(std::size_t head_dim) = nullptr;
  void (*load)(const std::byte*, std::size_t, std::size_t, std::size_t, float*) = nullptr;
  void (*store)(std::byte*, std::size_t, std::size_t, std::size_t, const float*) = nullptr;
  void (*seal)(std::byte*, std::size_t, std::size_t, const float*) = nullptr;
  void (*to_basis)(float*, std::size_t) = nullptr;
  void (*from_basis)(float*, std::size_t) = nullptr;
  void (*copy)(const std::byte*, std::size_t, std::byte*, std::size_t, std::size_t,
               std::size_t) = nullptr;
  std::string_view (*refusal)(std::size_t block_tokens, std::size_t head_dim) = nullptr;
  CodeLayout (*code_layout)(std::size_t block_tokens, std::size_t head_dim) = nullptr;
  simd::ByteFloatLayout (*byte_floats)(std::size_t head_dim) = nullptr;
  std::size_t residual = 0;
  std::size_t tokens_together = 1;  // a block must be a whole number of them
  bool before_rotation = false;
  bool is_fp32 = false;  // slabs are rows of floats, which can be read as they lie

  // Sides that are fitted to a model beforehand (FittedKvSlab).
  std::size_t (*fit_floats)(std::size_t head_dim) = nullptr;
  void (*fit)(const float* rows, std::size_t count, std::size_t head_dim, float* fitted) = nullptr;
  bool fits_layer = false;  // once for all heads of a layer
  void (*load_fitted)(const float* fitted, const std::byte*, std::size_t, std::size_t, std::size_t,
                      float*) = nullptr;
  void (*store_fitted)(const float* fitted, std::byte*, std::size_t, std::size_t, std::size_t,
                       const float*) = nullptr;

  /// load() or store(), with the numbers of a head where there are any.
  void read(const float* fitted, const std::byte* slab, std::size_t block_tokens,
            std::size_t head_dim, std::size_t slot, float* values) const {
    if (fitted == nullptr) return load(slab, block_tokens, head_dim, slot, values);
    load_fitted(fitted, slab, block_tokens, head_dim, slot, values);
  }
  void write(const float* fitted, std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
             std::size_t slot, const float* values) const {
    if (fitted == nullptr) return store(slab, block_tokens, head_dim, slot, values);
    store_fitted(fitted, slab, block_tokens, head_dim, slot, values);
  }
};

namespace detail {
/// Whether kernels multiply a side's whole numbers, so that it is stored as they take them.
template <class Side>
inline constexpr bool interleaves = requires(std::size_t n) {
  Side::code_layout(n, n);
}
&&TokenKvSlab<Side> && !FittedKvSlab<Side> && !SealedKvSlab<Side> && residual_of<Side> == 0;
}  // namespace detail

template <KvSide Side, bool keys>
[[nodiscard]] constexpr SideCodec side_codec() {
  SideCodec c;
  c.slab_bytes = &Side::slab_bytes;
  c.token_bytes = &Side::token_bytes;
  c.load = &Side::load;
  if constexpr (TokenKvSlab<Side>) c.store = &Side::store;
  if constexpr (SealedKvSlab<Side> && !TokenKvSlab<Side>) c.seal = &Side::seal;
  if constexpr (requires(float* x, std::size_t n) { Side::to_basis(x, n); }) {
    c.to_basis = &Side::to_basis;
    c.from_basis = &Side::from_basis;
  }
  constexpr bool copies = requires(const std::byte* f, std::byte* t, std::size_t n) {
    Side::copy(f, n, t, n, n, n);
  };
  if constexpr (copies) c.copy = &Side::copy;
  if constexpr (requires(std::size_t n) { Side::refusal(n, n); }) c.refusal = &Side::refusal;
  if constexpr (requires(std::size_t n) { Side::byte_floats(n); }) {
    c.byte_floats = &Side::byte_floats;
  }
  if constexpr (detail::interleaves<Side>) {
    using Stored = Interleaved<Side, keys>;
    c.load = &Stored::load;
    c.store = &Stored::store;
    if constexpr (copies) c.copy = &Stored::copy;
    c.code_layout = &Stored::code_layout;
  }
  c.residual = residual_of<Side>;
  if constexpr (requires { Side::tokens_together; }) c.tokens_together = Side::tokens_together;
  if constexpr (requires { typename Side::Element; }) {
    c.is_fp32 = std::is_same_v<typename Side::Element, float> && c.seal == nullptr;
  }
  if constexpr (FittedKvSlab<Side>) {
    c.fit_floats = &Side::fit_floats;
    c.fit = &Side::fit;
    if constexpr (requires { Side::fits_layer; }) c.fits_layer = Side::fits_layer;
    c.load_fitted = &Side::load;
    c.store_fitted = &Side::store;
  }
  if constexpr (requires { Side::before_rotation; }) c.before_rotation = Side::before_rotation;
  return c;
}

struct KvCodec {
  std::string_view name;
  SideCodec keys, values;

  const KvCodec* skipped = nullptr;  // of layers that skips(layer, layers) names
  bool (*skips)(std::size_t layer, std::size_t layers) = nullptr;

  [[nodiscard]] constexpr const KvCodec& of_layer(std::size_t layer, std::size_t layers) const {
    return skipped != nullptr && skips(layer, layers) ? *skipped : *this;
  }
  /// Whether tokens lie beside the pool before they are packed: in the layers that are not skipped,
  [[nodiscard]] constexpr bool packs_later() const {
    return keys.seal != nullptr || values.seal != nullptr || keys.residual + values.residual > 0;
  }
  /// and in any.
  [[nodiscard]] constexpr bool keeps_open_blocks() const {
    return packs_later() || (skipped != nullptr && skipped->packs_later());
  }
  /// Whether keys are stored before rotary embedding, in some layer at least.
  [[nodiscard]] constexpr bool stores_before_rotation() const {
    return keys.before_rotation || (skipped != nullptr && skipped->stores_before_rotation());
  }
  /// As traits_of<F>() of the format's type.
  [[nodiscard]] constexpr KvTraits traits(std::size_t block_tokens) const {
    KvTraits t{.keeps_open_blocks = keeps_open_blocks(),
               .keeps_window = keys.residual + values.residual > 0,
               .before_rotation = stores_before_rotation(),
               .layers_differ = skipped != nullptr,
               .divides_block = true};
    for (const SideCodec* side : {&keys, &values}) {
      t.divides_block = t.divides_block && side->residual % block_tokens == 0 &&
                        block_tokens % side->tokens_together == 0;
    }
    if (skipped == nullptr) return t;
    const KvTraits other = skipped->traits(block_tokens);
    t.keeps_window = t.keeps_window || other.keeps_window;
    t.divides_block = t.divides_block && other.divides_block;
    return t;
  }
  /// As block_bytes<F>() and token_bytes<F>() of the format's type.
  [[nodiscard]] std::size_t block_bytes(std::size_t layers, std::size_t kv_heads,
                                        std::size_t block_tokens, std::size_t head_dim) const {
    std::size_t all = 0;
    for (std::size_t i = 0; i < layers; ++i) {
      const KvCodec& c = of_layer(i, layers);
      all +=
          c.keys.slab_bytes(block_tokens, head_dim) + c.values.slab_bytes(block_tokens, head_dim);
    }
    return all * kv_heads;
  }
  [[nodiscard]] double token_bytes(std::size_t layers, std::size_t kv_heads,
                                   std::size_t head_dim) const {
    double all = 0;
    for (std::size_t i = 0; i < layers; ++i) {
      const KvCodec& c = of_layer(i, layers);
      all += c.keys.token_bytes(head_dim) + c.values.token_bytes(head_dim);
    }
    return all * static_cast<double>(kv_heads);
  }
};

namespace detail {
template <KvFormatPolicy F>
inline constexpr KvCodec codec = [] {
  KvCodec c{F::name, side_codec<keys_of<F>, true>(), side_codec<values_of<F>, false>()};
  if constexpr (requires { typename F::Skipped; }) {
    c.skipped = &codec<typename F::Skipped>;
    c.skips = &F::skips;
  }
  return c;
}();
}  // namespace detail

/// A format's functions; one table a format, for the length of the program.
template <KvFormatPolicy F>
[[nodiscard]] constexpr const KvCodec& codec_of() {
  return detail::codec<F>;
}

/// Stands for every format that is read through a codec: what is compiled for it serves them all.
struct Packed {
  static constexpr std::string_view name = "packed";
};

namespace detail {
template <class F>
struct StorageOf {
  using type = Packed;
};
template <PlainKvFormat F>
struct StorageOf<F> {
  using type = F;
};
template <>
struct StorageOf<Packed> {
  using type = Packed;
};
}  // namespace detail

/// What kernels and engines are compiled for: a plain format itself, Packed for all others.
template <class F>
using storage_of = typename detail::StorageOf<F>::type;

/// A format, or Packed with a codec to come.
template <class S>
concept KvStorage = KvFormatPolicy<S> || std::same_as<S, Packed>;

}  // namespace quire::kv_format
