// mechanism: a file of weights that are packed already
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <quire/checkpoint/model_config.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::checkpoint {

/// The weights' file in the directory of an image: safetensors, in which each matrix is the bytes that the
/// engine multiplies with. It is mapped and used as it lies: nothing is converted, and what no token needs
/// is not read.
///
/// `N.panels` U8 (panels, bytes) of matrix N, which several layers may share ("...q_proj+k_proj+v_proj");
/// `N.rows` U8 (rows, bytes) of a table; `N.bias` F32; `N.order` U32 of its inputs; norms as they are, F32.
/// Panels start on 64 bytes of the file. Its metadata: weight_format, layout (model/weight_image.hpp) and
/// version.
inline constexpr const char* image_file = "packed_weights.safetensors";
inline constexpr const char* image_version = "1";

/// Opens the weights' file of an image, and says in `packed` what its matrices are packed for.
/// \errors data, with file and place, for a file that is not sound, or not an image of this version
[[nodiscard]] inline TensorSet open_image(const std::string& path, const FileLoader& loader,
                                          std::optional<PackedWeights>& packed) {
  FileBytes file = loader.load(path);
  std::map<std::string, std::string> metadata;
  auto entries = safetensors::detail::read_entries(file, &metadata);
  const auto said = [&](const char* key) {
    const auto at = metadata.find(key);
    if (at != metadata.end()) return at->second;
    throw data_error(path + ": header: __metadata__", "there is no " + in_quotes(key),
                     "an image as `quire image` writes it");
  };
  if (const std::string version = said("version"); version != image_version) {
    throw data_error(path + ": header: __metadata__: version", in_quotes(version, 40),
                     std::string("\"") + image_version + "\"");
  }
  packed = PackedWeights{said("weight_format"), said("layout")};
  return TensorSet(path, std::move(entries), {std::move(file.owner)}, {path});
}

/// Writes the weights' file of an image; an old one is replaced at once, or kept. Matrices come first, in the
/// order given, so that they are read in the order of use.
/// \pre the bytes of what ends in .panels or .rows are whole multiples of 64
/// \errors state when it cannot be written
inline void write_image(const std::string& path, const PackedWeights& packed,
                        const std::vector<TensorSet::Entry>& entries) {
  std::vector<const TensorSet::Entry*> order;
  for (const bool matrices : {true, false}) {
    for (const TensorSet::Entry& e : entries) {
      if ((e.name.ends_with(".panels") || e.name.ends_with(".rows")) == matrices) {
        order.push_back(&e);
      }
    }
  }
  std::vector<safetensors::Declared> declared;
  declared.reserve(order.size());
  for (const auto* e : order) declared.push_back({e->name, e->dtype, e->shape});
  safetensors::write(
      path, declared, [&](std::size_t i) { return order[i]->bytes; },
      {{"format", "quire_image"},
       {"version", image_version},
       {"weight_format", packed.weight_format},
       {"layout", packed.layout}},
      4096, true);
}

}  // namespace quire::checkpoint
