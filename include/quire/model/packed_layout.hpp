// mechanism: what the bytes of packed weights depend on beside the weights
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <quire/checkpoint/model_config.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/simd.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/codec.hpp>

namespace quire::model {

/// Names a format, and how its panels lie in memory: by the width of panels and vectors, and by a hash of
/// what the format makes of a panel of fixed numbers. Code that packs in another way, on another processor
/// or in another version of Quire, so has another name for it, whoever forgot to give it one.
[[nodiscard]] inline checkpoint::PackedWeights packed_as(const weight_format::WeightCodec& format) {
  constexpr std::size_t outputs = PanelMatrix<weight_format::Packed>::panel_outputs, inputs = 512;
  std::uint64_t h = 0;
  for (const weight_format::WeightCodec* codec : {&format, &format.of_head()}) {
    for (const std::size_t n : {outputs, std::size_t{1}}) {  // a matrix's panel, and a table's row
      std::vector<float> numbers(n * inputs);
      Rng rng(1);
      for (float& x : numbers) x = static_cast<float>(rng.below(4001)) / 1000.0f - 2.0f;
      AlignedArray<std::byte> panel(codec->panel_bytes(n, inputs));
      codec->pack(panel.data(), n, inputs, numbers.data());
      h = hash_bytes({panel.data(), panel.size()}, h);
    }
  }
  char text[64];
  std::snprintf(text, sizeof text, "%zux%zu-%016llx", outputs, simd::lanes,
                static_cast<unsigned long long>(h));
  return {std::string(format.name), text};
}

}  // namespace quire::model
