// mechanism: what formats that are fitted to a model beforehand found, by layer and head
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/kv_format/codec.hpp>

namespace quire::kv_format {

/// Numbers of a fitted format for every head of a model; made by model::calibrate_kv.
struct Calibration {
  std::string format;
  std::vector<std::vector<float>> keys, values;  // by layer. \shape (kv_heads, fit_floats)
};

/// Numbers that one head of a side keeps; 0 where it is not fitted.
[[nodiscard]] inline std::size_t fit_floats(const SideCodec& side, std::size_t head_dim) {
  return side.fit_floats == nullptr ? 0 : side.fit_floats(head_dim);
}
/// Whether a format, or the one of a layer that it leaves out, is fitted to a model beforehand.
[[nodiscard]] inline bool needs_calibration(const KvCodec& codec) {
  const bool here = codec.keys.fit != nullptr || codec.values.fit != nullptr;
  return here || (codec.skipped != nullptr && needs_calibration(*codec.skipped));
}

/// Checks that a calibration is there if and only if the format wants one, and is that of the format
/// and the model. \errors usage
inline void check_calibration(const KvCodec& codec, const Calibration* found, std::size_t layers,
                              std::size_t kv_heads, std::size_t head_dim) {
  const std::string where = "kv_format " + std::string(codec.name);
  if (!needs_calibration(codec)) {
    if (found == nullptr) return;
    throw usage_error(where, "it is not fitted to a model, and a calibration is given", "none");
  }
  if (found == nullptr) {
    throw usage_error(where, "it is fitted to a model beforehand, and no calibration is given",
                      "the executor's kv_calibration, as model::calibrate_kv makes it");
  }
  bool fits =
      found->format == codec.name && found->keys.size() == layers && found->values.size() == layers;
  for (std::size_t l = 0; fits && l < layers; ++l) {
    const KvCodec& c = codec.of_layer(l, layers);
    fits = found->keys[l].size() == kv_heads * fit_floats(c.keys, head_dim) &&
           found->values[l].size() == kv_heads * fit_floats(c.values, head_dim);
  }
  if (fits) return;
  throw usage_error(where, "the calibration is of format " + found->format + " or of another model",
                    "one made with this model and format");
}

}  // namespace quire::kv_format
