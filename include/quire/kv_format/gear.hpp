#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <type_traits>
#include <vector>

#include <quire/core/blockwise.hpp>
#include <quire/core/simd.hpp>
#include <quire/kv_format/channel_groups.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/int4_grouped.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Tokens in integers, what those leave of them as a product of `rank` columns and rows in fp16, and
/// `percent` of the values as they are. Each group of 32 tokens by itself, when its block is complete.
/// along_tokens: the integers are grouped along tokens (keys), else along channels (values).
/// \shape slab: the integers' slab without its padding, then for each group of 32 tokens: columns
/// (rank, 32), rows (rank, head_dim), outliers' values, all fp16, and outliers' places, ascending
template <unsigned bits, bool along_tokens, std::size_t rank, std::size_t percent>
struct GearSide {
  using Backbone = std::conditional_t<along_tokens, ChannelGroups<bits, 32>, IntGrouped<bits, 32>>;
  static constexpr std::size_t residual = 0;
  static constexpr std::size_t group = 32, tokens_together = group;

  static constexpr std::size_t slab_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return (backbone_bytes(block_tokens, head_dim) + block_tokens / group * part_bytes(head_dim) +
            63) /
           64 * 64;
  }
  static constexpr double token_bytes(std::size_t head_dim) {
    return Backbone::token_bytes(head_dim) +
           static_cast<double>(part_bytes(head_dim)) / static_cast<double>(group);
  }
  static constexpr std::string_view refusal(std::size_t block_tokens, std::size_t head_dim) {
    if (block_tokens % group != 0) return "a block is no whole number of its groups of tokens";
    if (head_dim > most_dim) return "heads have more than 256 channels";
    return Backbone::refusal(block_tokens, head_dim);
  }

  static void seal(std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                   const float* rows) {
    std::vector<float> plain(rows, rows + block_tokens * head_dim);
    std::byte* part = slab + backbone_bytes(block_tokens, head_dim);
    for (std::size_t first = 0; first < block_tokens; first += group) {
      take_outliers(plain.data() + first * head_dim, head_dim,
                    part + first / group * part_bytes(head_dim));
    }
    if constexpr (along_tokens) {
      Backbone::seal(slab, block_tokens, head_dim, plain.data());
    } else {
      for (std::size_t t = 0; t < block_tokens; ++t) {
        Backbone::store(slab, block_tokens, head_dim, t, plain.data() + t * head_dim);
      }
    }
    std::vector<float> rest(group * head_dim), stored(head_dim);
    for (std::size_t first = 0; first < block_tokens; first += group) {
      for (std::size_t t = 0; t < group; ++t) {
        Backbone::load(slab, block_tokens, head_dim, first + t, stored.data());
        for (std::size_t c = 0; c < head_dim; ++c) {
          const float gap = plain[(first + t) * head_dim + c] - stored[c];
          rest[t * head_dim + c] = std::isfinite(gap) ? gap : 0.0f;
        }
      }
      factorise(rest.data(), head_dim, part + first / group * part_bytes(head_dim));
    }
  }
  static void load(const std::byte* slab, std::size_t block_tokens, std::size_t head_dim,
                   std::size_t slot, float* values) {
    Backbone::load(slab, block_tokens, head_dim, slot, values);
    const std::byte* part =
        slab + backbone_bytes(block_tokens, head_dim) + slot / group * part_bytes(head_dim);
    const std::size_t t = slot % group, n = outliers(head_dim);
    for (std::size_t r = 0; r < rank; ++r) {
      const float u = half(part, r * group + t);
      const auto* row =
          reinterpret_cast<const quire::Fp16*>(part + 2 * (rank * group + r * head_dim));
      std::size_t c = 0;
      for (; c + simd::lanes <= head_dim; c += simd::lanes) {
        simd::store(simd::hn::MulAdd(simd::set(u), simd::load(row + c), simd::load(values + c)),
                    values + c);
      }
      for (; c < head_dim; ++c) values[c] += u * to_float(row[c]);
    }
    const std::byte* kept = part + 2 * rank * (group + head_dim);
    const auto place = [kept, n](std::size_t i) {
      return std::size_t{blockwise::get<std::uint16_t>(kept + 2 * (n + i))};
    };
    std::size_t low = 0;
    for (std::size_t high = n; low < high;) {
      const std::size_t middle = (low + high) / 2;
      if (place(middle) < t * head_dim) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    for (; low < n && place(low) < (t + 1) * head_dim; ++low) {
      values[place(low) - t * head_dim] = half(kept, low);
    }
  }

 private:
  static constexpr std::size_t most_dim = 256;
  static constexpr std::size_t outliers(std::size_t head_dim) {
    return group * head_dim * percent / 100;
  }
  static constexpr std::size_t backbone_bytes(std::size_t block_tokens, std::size_t head_dim) {
    return static_cast<std::size_t>(Backbone::token_bytes(head_dim) *
                                    static_cast<double>(block_tokens));
  }
  static constexpr std::size_t part_bytes(std::size_t head_dim) {
    return 2 * rank * (group + head_dim) + 4 * outliers(head_dim);
  }
  static float half(const std::byte* from, std::size_t i) {
    return to_float(blockwise::get<quire::Fp16>(from + 2 * i));
  }
  static float put_half(std::byte* to, std::size_t i, float x) {
    const quire::Fp16 stored = to_fp16(std::clamp(x, -65504.0f, 65504.0f));
    blockwise::put(to + 2 * i, stored);
    return to_float(stored);
  }

  /// Writes the values farthest from the mean of their channel, or token, and puts that mean in their
  /// places: the integers are spared them. \shape rows (group, head_dim)
  static void take_outliers(float* rows, std::size_t head_dim, std::byte* part) {
    const std::size_t n = outliers(head_dim), all = group * head_dim;
    if (n == 0) return;
    std::vector<float> mean(along_tokens ? head_dim : group);
    for (std::size_t i = 0; i < all; ++i)
      mean[along_tokens ? i % head_dim : i / head_dim] += rows[i];
    for (float& m : mean) m /= static_cast<float>(along_tokens ? group : head_dim);
    std::vector<float> distance(all);
    for (std::size_t i = 0; i < all; ++i) {
      const float gap = std::abs(rows[i] - mean[along_tokens ? i % head_dim : i / head_dim]);
      distance[i] = std::isfinite(gap) ? gap : 0.0f;
    }
    std::vector<std::uint16_t> places(all);
    std::iota(places.begin(), places.end(), std::uint16_t{0});
    std::partial_sort(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(n), places.end(),
                      [&](std::uint16_t a, std::uint16_t b) {
                        return distance[a] != distance[b] ? distance[a] > distance[b] : a < b;
                      });
    std::sort(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(n));
    std::byte* kept = part + 2 * rank * (group + head_dim);
    for (std::size_t k = 0; k < n; ++k) {
      const std::size_t at = places[k];
      const bool finite = std::isfinite(rows[at]);
      blockwise::put(kept + 2 * k,
                     to_fp16(finite ? std::clamp(rows[at], -65504.0f, 65504.0f) : rows[at]));
      blockwise::put(kept + 2 * (n + k), places[k]);
      const float middle = mean[along_tokens ? at % head_dim : at / head_dim];
      if (finite && std::isfinite(middle)) rows[at] = middle;
    }
  }

  /// Writes the columns and rows whose product is nearest to what the integers left, one pair after the
  /// other, by power iteration. \shape rest (group, head_dim): becomes what is left then
  static void factorise(float* rest, std::size_t head_dim, std::byte* part) {
    std::array<float, group> u;
    std::array<float, most_dim> v;
    for (std::size_t r = 0; r < rank; ++r) {
      std::size_t longest = 0;
      double most = -1;
      for (std::size_t t = 0; t < group; ++t) {
        const double square = std::inner_product(rest + t * head_dim, rest + (t + 1) * head_dim,
                                                 rest + t * head_dim, 0.0);
        if (square > most) {
          most = square;
          longest = t;
        }
      }
      std::copy_n(rest + longest * head_dim, head_dim, v.begin());
      for (int round = 0; round < 8; ++round) {
        normalise(v.data(), head_dim);
        multiply(rest, head_dim, v.data(), u.data());
        std::fill_n(v.begin(), head_dim, 0.0f);
        for (std::size_t t = 0; t < group; ++t) {
          for (std::size_t c = 0; c < head_dim; ++c) v[c] += u[t] * rest[t * head_dim + c];
        }
      }
      normalise(v.data(), head_dim);
      multiply(rest, head_dim, v.data(), u.data());
      for (std::size_t t = 0; t < group; ++t) u[t] = put_half(part, r * group + t, u[t]);
      std::byte* row = part + 2 * (rank * group + r * head_dim);
      for (std::size_t c = 0; c < head_dim; ++c) v[c] = put_half(row, c, v[c]);
      for (std::size_t t = 0; t < group; ++t) {
        for (std::size_t c = 0; c < head_dim; ++c) rest[t * head_dim + c] -= u[t] * v[c];
      }
    }
  }
  static void multiply(const float* rest, std::size_t head_dim, const float* v, float* u) {
    for (std::size_t t = 0; t < group; ++t) {
      u[t] = std::inner_product(v, v + head_dim, rest + t * head_dim, 0.0f);
    }
  }
  static void normalise(float* v, std::size_t n) {
    const double square = std::inner_product(v, v + n, v, 0.0);
    const float inverse = square > 1e-60 ? static_cast<float>(1 / std::sqrt(square)) : 0.0f;
    for (std::size_t c = 0; c < n; ++c) v[c] *= inverse;
  }
};

/// Integers, a product of low rank for what they leave, and outliers as they are; keys grouped along
/// tokens, values along channels. bits + 1 + 16 rank (1 / head_dim + 1 / 32) + 0.32 percent bits a value.
/// \source Kang et al., "GEAR", 2024, over KIVI's integers. Deviations: a block of tokens is packed where
/// the paper packs 20 at a time; outliers are the farthest of 32 tokens together, not of each vector.
template <unsigned bits, std::size_t rank = 1, std::size_t percent = 2>
struct Gear {
  static constexpr auto text =
      Name<>().add("gear").add(bits).add("_r").add(rank).add("_s").add(percent);
  static constexpr std::string_view name = text;
  using Keys = GearSide<bits, true, rank, percent>;
  using Values = GearSide<bits, false, rank, percent>;
};
static_assert(KvFormatPolicy<Gear<2>>);

}  // namespace quire::kv_format
