#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/simd.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/fitted.hpp>
#include <quire/kv_format/nuq.hpp>

namespace quire::kv_format {

/// Keys before rotary embedding, each channel between bounds that hold 99 % of what it was on some texts,
/// in levels of the head's own; the channels of a token that the levels miss most are kept in fp16.
/// bits + 24 / 100 bits a value, rounded up to whole outliers.
/// \shape fitted: middles, half widths (head_dim each), levels (2^bits); row: codes, outliers
template <unsigned bits>
struct NuqKeys : FittedRows<NuqKeys<bits>> {
  using Base = FittedRows<NuqKeys>;
  using Base::decode;
  using Base::encode;
  static constexpr bool before_rotation = true;
  static constexpr std::size_t levels = std::size_t{1} << bits;

  static constexpr std::size_t row_bytes(std::size_t head_dim) {
    return packing::bytes_of<bits>(head_dim) + nuq::Outliers::bytes(head_dim);
  }
  static constexpr std::string_view refusal(std::size_t /*block_tokens*/, std::size_t head_dim) {
    if (head_dim > Base::most_dim) return "heads have more than 256 channels";
    return head_dim % packing::granule<bits> == 0 ? "" : "its codes do not fill whole bytes";
  }
  static constexpr std::size_t fit_floats(std::size_t head_dim) { return 2 * head_dim + levels; }
  static void start(std::size_t head_dim, float* fitted) {
    std::fill_n(fitted, head_dim, 0.0f);
    std::fill_n(fitted + head_dim, head_dim, 4.0f);
    nuq::equal_levels(fitted + 2 * head_dim, levels);
  }

  static void fit(const float* rows, std::size_t count, std::size_t head_dim, float* fitted) {
    std::vector<float> channel(count);
    for (std::size_t c = 0; c < head_dim; ++c) {
      for (std::size_t t = 0; t < count; ++t) channel[t] = rows[t * head_dim + c];
      const auto cut = static_cast<std::ptrdiff_t>(count / 200);
      std::nth_element(channel.begin(), channel.begin() + cut, channel.end());
      const float low = channel[static_cast<std::size_t>(cut)];
      std::nth_element(channel.begin(), channel.end() - 1 - cut, channel.end());
      const float high = *(channel.end() - 1 - cut);
      fitted[c] = low + (high - low) * 0.5f;
      const float half = (high - low) * 0.5f;
      fitted[head_dim + c] = half >= 0x1p-100f ? half : 0x1p-100f;
    }
    nuq::Histogram seen;
    for (std::size_t t = 0; t < count; ++t) {
      for (std::size_t c = 0; c < head_dim; ++c) {
        const float half = fitted[head_dim + c];
        const float x = (rows[t * head_dim + c] - fitted[c]) / half;
        // What is outside is most likely an outlier: it shall not draw the levels apart.
        if (std::abs(x) <= 1) seen.add(x, static_cast<double>(half) * static_cast<double>(half));
      }
    }
    seen.fit(fitted + 2 * head_dim, levels);
  }
  static void encode(const float* fitted, const float* values, std::size_t head_dim,
                     std::byte* row) {
    const float* half = fitted + head_dim;
    const float* table = fitted + 2 * head_dim;
    const bool finite = std::isfinite(blockwise::largest(values, head_dim));
    std::array<std::uint8_t, Base::most_dim> codes;
    std::array<float, Base::most_dim> missed;
    for (std::size_t c = 0; c < head_dim; ++c) {
      const float x = finite ? values[c] : 0.0f;
      codes[c] = nuq::nearest(table, levels, (x - fitted[c]) / half[c]);
      missed[c] = std::abs(x - (table[codes[c]] * half[c] + fitted[c]));
    }
    packing::pack<bits>(codes.data(), head_dim, row);
    nuq::Outliers::put(nuq::Outliers::farthest(missed.data(), head_dim), values, finite, head_dim,
                       row + packing::bytes_of<bits>(head_dim));
  }
  static void decode(const float* fitted, const std::byte* row, std::size_t head_dim,
                     float* values) {
    packing::unpack_table<bits>(row, head_dim, fitted + 2 * head_dim, 1.0f, values);
    std::size_t c = 0;
    for (; c + simd::lanes <= head_dim; c += simd::lanes) {
      const auto scaled = simd::hn::Mul(simd::load(values + c), simd::load(fitted + head_dim + c));
      simd::store(simd::hn::Add(scaled, simd::load(fitted + c)), values + c);
    }
    for (; c < head_dim; ++c) values[c] = values[c] * fitted[head_dim + c] + fitted[c];
    nuq::Outliers::apply(row + packing::bytes_of<bits>(head_dim), head_dim, values);
  }
};

/// Values of a token between its own least and largest, in levels of the head's own; those farthest from
/// the token's mean are kept in fp16 and do not count among the bounds. bits + 24 / 100 bits a value,
/// rounded up to whole outliers, and 32 / head_dim for the bounds.
/// \shape fitted: levels (2^bits); row: codes, fp16 middle and half width, outliers
template <unsigned bits>
struct NuqValues : FittedRows<NuqValues<bits>> {
  using Base = FittedRows<NuqValues>;
  using Base::decode;
  using Base::encode;
  static constexpr std::size_t levels = std::size_t{1} << bits;

  static constexpr std::size_t row_bytes(std::size_t head_dim) {
    return packing::bytes_of<bits>(head_dim) + 4 + nuq::Outliers::bytes(head_dim);
  }
  static constexpr std::string_view refusal(std::size_t block_tokens, std::size_t head_dim) {
    return NuqKeys<bits>::refusal(block_tokens, head_dim);
  }
  static constexpr std::size_t fit_floats(std::size_t /*head_dim*/) { return levels; }
  static void start(std::size_t /*head_dim*/, float* fitted) { nuq::equal_levels(fitted, levels); }

  static void fit(const float* rows, std::size_t count, std::size_t head_dim, float* fitted) {
    nuq::Histogram seen;
    for (std::size_t t = 0; t < count; ++t) {
      const Token token = bounds(rows + t * head_dim, head_dim);
      if (!token.finite || token.half <= 0) continue;
      for (std::size_t c = 0; c < head_dim; ++c) {
        const float x = (rows[t * head_dim + c] - token.middle) / token.half;
        if (std::abs(x) <= 1) {
          seen.add(x, static_cast<double>(token.half) * static_cast<double>(token.half));
        }
      }
    }
    seen.fit(fitted, levels);
  }
  static void encode(const float* fitted, const float* values, std::size_t head_dim,
                     std::byte* row) {
    const Token token = bounds(values, head_dim);
    const float inverse = blockwise::inverse_of(token.half);
    std::array<std::uint8_t, Base::most_dim> codes;
    for (std::size_t c = 0; c < head_dim; ++c) {
      const float x = token.finite ? (values[c] - token.middle) * inverse : 0.0f;
      codes[c] = nuq::nearest(fitted, levels, x);
    }
    packing::pack<bits>(codes.data(), head_dim, row);
    std::byte* after = row + packing::bytes_of<bits>(head_dim);
    blockwise::put(after, to_fp16(token.middle));
    blockwise::put(after + 2, to_fp16(token.half));
    nuq::Outliers::put(token.outliers, values, token.finite, head_dim, after + 4);
  }
  static void decode(const float* fitted, const std::byte* row, std::size_t head_dim,
                     float* values) {
    const std::byte* after = row + packing::bytes_of<bits>(head_dim);
    const float middle = to_float(blockwise::get<quire::Fp16>(after));
    const float half = to_float(blockwise::get<quire::Fp16>(after + 2));
    packing::unpack_table<bits>(row, head_dim, fitted, half, values);
    for (std::size_t c = 0; c < head_dim; ++c) values[c] += middle;
    nuq::Outliers::apply(after + 4, head_dim, values);
  }

 private:
  struct Token {
    float middle = 0, half = 0;  // as fp16 holds them
    bool finite = true;
    std::array<std::uint8_t, nuq::Outliers::most> outliers{};
  };
  static Token bounds(const float* values, std::size_t head_dim) {
    Token out;
    out.finite = std::isfinite(blockwise::largest(values, head_dim));
    if (!out.finite) return out;
    double sum = 0;
    for (std::size_t c = 0; c < head_dim; ++c) sum += static_cast<double>(values[c]);
    const auto mean = static_cast<float>(sum / static_cast<double>(head_dim));
    std::array<float, Base::most_dim> distance;
    for (std::size_t c = 0; c < head_dim; ++c) distance[c] = std::abs(values[c] - mean);
    out.outliers = nuq::Outliers::farthest(distance.data(), head_dim);
    float low = mean, high = mean;
    for (std::size_t c = 0; c < head_dim; ++c) {
      bool kept = false;
      for (std::size_t k = 0; k < nuq::Outliers::count(head_dim); ++k) {
        kept = kept || out.outliers[k] == c;
      }
      if (kept) continue;
      low = std::min(low, values[c]);
      high = std::max(high, values[c]);
    }
    const auto stored = [](float x) {
      return to_float(to_fp16(std::clamp(x, -65504.0f, 65504.0f)));
    };
    out.middle = stored(low + (high - low) * 0.5f);
    out.half = stored(std::max(high - out.middle, out.middle - low));
    return out;
  }
};

/// Keys a channel before rotary embedding, values a token, both in levels at unequal distances that are
/// fitted to the model, one value in a hundred outside them.
/// \source Hooper et al., "KVQuant", NeurIPS '24: nuq with 1 % outliers. Deviations: levels a head and
/// not a layer, weighted by the squared width of the channel or token and not by Fisher information; as
/// many outliers in each token, those that the levels miss most, not those beyond a threshold, so that
/// tokens have one size; bounds of values a head and token; the first token like all others.
template <unsigned bits>
struct Kvquant {
  static constexpr auto text = Name<>().add("kvquant").add(bits);
  static constexpr std::string_view name = text;
  using Keys = NuqKeys<bits>;
  using Values = NuqValues<bits>;
};
static_assert(KvFormatPolicy<Kvquant<3>> && FittedKvSlab<NuqKeys<3>>);

}  // namespace quire::kv_format
