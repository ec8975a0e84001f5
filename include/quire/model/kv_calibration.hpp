#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <quire/attention/kv_view.hpp>
#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/core/units.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/model/decoder.hpp>

namespace quire::model {

/// Fits a KV format to a model: reads texts, and hands each head's keys and values (or those of all heads of
/// a layer, where the side wants that) to its side of the format, keys before rotary embedding where the format stores them so.
/// \pre decoder: anything with the functions of Decoder, in the weights that will serve
/// \errors usage for a format that is not fitted, or no texts
template <class DecoderType>
[[nodiscard]] std::shared_ptr<const kv_format::Calibration> calibrate_kv(
    const DecoderType& decoder, std::span<const std::vector<TokenId>> texts,
    const kv_format::KvCodec& codec, ThreadPool& threads) {
  using Format = kv_format::Fp32;
  constexpr Tokens block_tokens = 64;
  const Shape& shape = decoder.config().shape;
  const auto layers = static_cast<std::size_t>(shape.layers);
  const auto heads = static_cast<std::size_t>(shape.kv_heads);
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  if (!kv_format::needs_calibration(codec)) {
    throw usage_error("kv_format " + std::string(codec.name), "it is not fitted to a model",
                      "a format that is");
  }
  std::size_t tokens = 0;
  for (const auto& text : texts) tokens += text.size();
  if (tokens == 0) throw usage_error("calibration", "no texts", "a few");

  // \shape (layers, (keys, values), heads)(tokens, dim)
  std::vector<std::vector<float>> seen(layers * 2 * heads);
  for (auto& rows : seen) rows.reserve(tokens * dim);
  Activations memory;
  std::vector<float> logits(decoder.logits_stride()), row(dim), angles(dim);
  for (const auto& text : texts) {
    if (text.empty()) continue;
    const BlockCount blocks = blocks_for(std::ssize(text), block_tokens);
    // Through the codec: what serves packed formats is compiled already.
    kv_format::Arena<kv_format::Packed> arena(shape, blocks, block_tokens,
                                              kv_format::codec_of<Format>());
    std::vector<BlockId> table;
    for (std::uint32_t b = 0; b < static_cast<std::uint32_t>(blocks.value); ++b) {
      table.push_back({b});
    }
    Batch batch;
    batch.add(text, 0, table);
    batch.logits_rows.push_back(text.size() - 1);
    decoder.forward(batch, arena, memory, threads, logits.data());
    for (std::size_t l = 0; l < layers; ++l) {
      const auto cache = arena.layer(l);
      const bool back = codec.of_layer(l, layers).keys.before_rotation && decoder.config().rotary;
      for (std::size_t h = 0; h < heads; ++h) {
        for (std::size_t t = 0; t < text.size(); ++t) {
          const BlockId block = table[t / static_cast<std::size_t>(block_tokens.value)];
          const std::size_t slot = t % static_cast<std::size_t>(block_tokens.value);
          const auto tokens_of_block = static_cast<std::size_t>(block_tokens.value);
          Format::load(cache.keys(block, h), tokens_of_block, dim, slot, row.data());
          if (back) {
            decoder.rope().angles(static_cast<std::int64_t>(t), angles.data());
            attention::turn(angles.data(), dim, true, row.data());
          }
          auto& keys = seen[(l * 2) * heads + h];
          keys.insert(keys.end(), row.begin(), row.end());
          Format::load(cache.values(block, h), tokens_of_block, dim, slot, row.data());
          auto& values = seen[(l * 2 + 1) * heads + h];
          values.insert(values.end(), row.begin(), row.end());
        }
      }
    }
  }
  auto out = std::make_shared<kv_format::Calibration>();
  out->format = codec.name;
  out->keys.resize(layers);
  out->values.resize(layers);
  threads.parallel_for(layers * 2, [&](std::size_t task) {
    const std::size_t l = task / 2;
    const kv_format::KvCodec& c = codec.of_layer(l, layers);
    const kv_format::SideCodec& side = task % 2 == 0 ? c.keys : c.values;
    const std::size_t floats = kv_format::fit_floats(side, dim);
    std::vector<float>& fitted = (task % 2 == 0 ? out->keys : out->values)[l];
    fitted.resize(heads * floats);
    if (side.fits_layer) {
      std::vector<float> all;
      for (std::size_t h = 0; h < heads; ++h) {
        const auto& rows = seen[task * heads + h];
        all.insert(all.end(), rows.begin(), rows.end());
      }
      side.fit(all.data(), heads * tokens, dim, fitted.data());
      for (std::size_t h = 1; h < heads; ++h) {
        std::copy_n(fitted.begin(), floats,
                    fitted.begin() + static_cast<std::ptrdiff_t>(h * floats));
      }
      return;
    }
    for (std::size_t h = 0; h < heads && floats > 0; ++h) {
      side.fit(seen[task * heads + h].data(), tokens, dim, fitted.data() + h * floats);
    }
  });
  return out;
}

}  // namespace quire::model
