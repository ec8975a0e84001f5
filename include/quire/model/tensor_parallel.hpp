#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/low_rank.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>
#include <quire/model/tensor_names.hpp>

namespace quire::model {

/// What one of `ranks` computes of a model, as a model of its own: a part of the heads and of the MLP's
/// width, such that the ranks' results add up to the whole's after each attention and each MLP.
/// Everyone has embedding, norms and output. A bias of what is added up is rank 0's; others have zeros.
/// \pre 0 <= rank < ranks
/// \cost copies the attention output's and the MLP's second matrices; other tensors stay where they are
/// \errors usage when heads, KV heads, width or blocks of elements cannot be parted so, and for models
/// without such tensors; data when a tensor cannot
/// \source Shoeybi et al., "Megatron-LM", 2019.
[[nodiscard]] inline checkpoint::Checkpoint share_of_rank(const checkpoint::Checkpoint& whole,
                                                          std::int64_t rank, std::int64_t ranks) {
  if (ranks == 1) return whole;
  const Shape& s = whole.config.shape;
  const std::string where = "a share of model " + whole.config.model_type;
  if (s.experts > 0 || whole.config.transposed_linear || whole.config.quantisation ||
      checkpoint::has_low_rank(whole.tensors)) {
    throw usage_error(
        where,
        "mixtures of experts, stacked projections, quantised checkpoints and factors of "
        "low rank are not parted among ranks",
        "a llama, mistral, qwen2, qwen3 or opt model as it was trained");
  }
  for (const auto& [size, what] : {std::pair(s.heads, "heads"), std::pair(s.kv_heads, "KV heads"),
                                   std::pair(s.ffn, "columns of the MLP")}) {
    if (size % ranks == 0) continue;
    throw usage_error(where,
                      std::to_string(size) + " " + what + " do not part among " +
                          std::to_string(ranks) + " ranks",
                      "a number of ranks that divides heads, KV heads and the MLP's width");
  }

  enum class Part { rows, columns, of_first };
  std::map<std::string, Part, std::less<>> parts;
  const TensorNames names = tensor_names(s.family);
  const std::string prefix = prefix_in(whole.tensors, names) + std::string(names.layer);
  for (std::int64_t i = 0; i < s.layers; ++i) {
    const std::string layer = prefix + std::to_string(i) + ".";
    for (const auto* list : {&names.qkv, &names.mlp_in}) {
      for (const std::string_view name : *list) {
        parts[layer + std::string(name) + ".weight"] = Part::rows;
        parts[layer + std::string(name) + ".bias"] = Part::rows;
      }
    }
    for (const std::string_view name : {names.attention_output, names.mlp_out}) {
      parts[layer + std::string(name) + ".weight"] = Part::columns;
      parts[layer + std::string(name) + ".bias"] = Part::of_first;
    }
  }

  checkpoint::TensorList list;
  list.keep(whole.tensors);
  for (const checkpoint::TensorView& t : whole.tensors.all()) {
    const auto found = parts.find(t.name);
    if (found == parts.end() || (found->second == Part::of_first && rank == 0)) {
      list.add(t);
      continue;
    }
    std::vector<std::int64_t> shape(t.shape.begin(), t.shape.end());
    const std::size_t axis = found->second == Part::columns ? 1 : 0;
    if (shape.size() <= axis || shape[axis] % ranks != 0 || shape[0] < 1) {
      throw data_error(
          whole.tensors.where(),
          "tensor " + in_quotes(t.name, 120) + " has shape " + checkpoint::shape_text(t.shape),
          "one whose axis " + std::to_string(axis) + " parts among " + std::to_string(ranks) +
              " ranks");
    }
    if (found->second == Part::of_first) {
      list.add(std::string(t.name), t.dtype, std::move(shape),
               std::vector<std::byte>(t.bytes.size()));  // 0 in every type
      continue;
    }
    shape[axis] /= ranks;
    const std::size_t count = axis == 0 ? 1 : static_cast<std::size_t>(shape[0]);
    const std::size_t all = t.bytes.size() / count, mine = all / static_cast<std::size_t>(ranks);
    const std::size_t from = mine * static_cast<std::size_t>(rank);
    if (axis == 0) {
      list.add({t.name, t.dtype, shape, t.bytes.subspan(from, mine)});
      continue;
    }
    if (shape[1] % checkpoint::block_of(t.dtype) != 0) {
      throw usage_error(where,
                        "tensor " + in_quotes(t.name, 120) + " has elements in blocks of " +
                            std::to_string(checkpoint::block_of(t.dtype)) +
                            ", which lie across ranks",
                        "fewer ranks, or elements that stand alone");
    }
    std::vector<std::byte> columns(count * mine);
    for (std::size_t row = 0; row < count; ++row) {
      std::memcpy(columns.data() + row * mine, t.bytes.data() + row * all + from, mine);
    }
    list.add(std::string(t.name), t.dtype, std::move(shape), std::move(columns));
  }

  checkpoint::Checkpoint share = whole;
  share.config.shape.heads /= ranks;
  share.config.shape.kv_heads /= ranks;
  share.config.shape.ffn /= ranks;
  share.tensors = list.set(whole.tensors.where() + ", rank " + std::to_string(rank) + " of " +
                           std::to_string(ranks));
  return share;
}

}  // namespace quire::model
