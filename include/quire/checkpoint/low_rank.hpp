#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

/// Linear layers that are stored as two matrices, NAME.low_rank_in (rank, inputs) and NAME.low_rank_out
/// (outputs, rank) in place of NAME.weight, which is their product. A bias stays NAME.bias.
namespace quire::checkpoint {

inline constexpr std::string_view low_rank_in = ".low_rank_in";
inline constexpr std::string_view low_rank_out = ".low_rank_out";

/// Whether any layer is stored so.
[[nodiscard]] inline bool has_low_rank(const TensorSet& tensors) {
  const auto all = tensors.all();
  return std::any_of(all.begin(), all.end(), [](const TensorView& t) {
    return t.name.ends_with(low_rank_in) || t.name.ends_with(low_rank_out);
  });
}

/// Both matrices of a layer.
struct LowRankTensors {
  TensorView in, out;
  std::int64_t rank = 0;
};
/// Those of layer `name`; nothing where it is stored in another way.
/// \errors data, with file and tensor, when one is missing, they are no matrices of these sizes and one
/// rank, or the product is there too
[[nodiscard]] inline std::optional<LowRankTensors> low_rank_tensors(const TensorSet& tensors,
                                                                    const std::string& name,
                                                                    std::int64_t outputs,
                                                                    std::int64_t inputs) {
  const std::string first = name + std::string(low_rank_in);
  const std::string second = name + std::string(low_rank_out);
  const TensorView *in = tensors.find(first), *out = tensors.find(second);
  if (in == nullptr && out == nullptr) return std::nullopt;
  if (in == nullptr || out == nullptr) {
    throw data_error(tensors.where(),
                     "there is no tensor " + in_quotes(in == nullptr ? first : second, 120),
                     "one beside " + in_quotes(in == nullptr ? second : first, 120));
  }
  if (tensors.contains(name + ".weight")) {
    throw data_error(tensors.where(),
                     "tensor " + in_quotes(name + ".weight", 120) +
                         " is there beside its factors " + in_quotes(first, 120) + " and " +
                         in_quotes(second, 120),
                     "the one or the others");
  }
  const auto refuse = [&](const TensorView& t, const std::string& expected) {
    throw data_error(tensors.where(),
                     "tensor " + in_quotes(t.name, 120) + " has shape " + shape_text(t.shape),
                     expected);
  };
  if (in->shape.size() != 2 || in->shape[0] < 1 || in->shape[1] != inputs) {
    refuse(*in, "[rank, " + std::to_string(inputs) + "], rank 1 or more");
  }
  const std::int64_t wanted[] = {outputs, in->shape[0]};
  if (!out->has_shape(wanted)) {
    refuse(*out, shape_text(wanted) + ", of the rank of " + in_quotes(first, 120));
  }
  return LowRankTensors{*in, *out, in->shape[0]};
}

}  // namespace quire::checkpoint
