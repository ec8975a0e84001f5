#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/error.hpp>
#include <quire/model/tensor_parallel.hpp>

#include "tests/common/checkpoints.hpp"

namespace quire::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::TensorView;

std::vector<float> floats(const TensorView& t) {
  std::vector<float> out(static_cast<std::size_t>(t.elements()));
  checkpoint::read_floats(t, 0, out);
  return out;
}

// Every tensor of the whole, put together from what the ranks have of it.
TEST(TensorParallel, SharesMakeUpTheModel) {
  const Checkpoint whole = quire::testing::golden("llama_bias");
  const Checkpoint ranks[] = {share_of_rank(whole, 0, 2), share_of_rank(whole, 1, 2)};
  EXPECT_EQ(ranks[1].config.shape.heads, 2);
  EXPECT_EQ(ranks[1].config.shape.kv_heads, 1);
  EXPECT_EQ(ranks[1].config.shape.ffn, 32);
  EXPECT_EQ(ranks[1].config.shape.head_dim, whole.config.shape.head_dim);
  int rows = 0, columns = 0, sums = 0, same = 0;
  for (const TensorView& t : whole.tensors.all()) {
    const TensorView& first = ranks[0].tensors.at(t.name);
    const TensorView& second = ranks[1].tensors.at(t.name);
    ASSERT_TRUE(first.has_shape(second.shape));
    const std::vector<float> all = floats(t), a = floats(first), b = floats(second);
    std::vector<float> together = a;
    if (t.shape.size() == 2 && first.shape[1] != t.shape[1]) {
      ++columns;
      const auto half = static_cast<std::size_t>(first.shape[1]);
      together.clear();
      for (std::size_t i = 0; i < a.size(); i += half) {
        const auto at = static_cast<std::ptrdiff_t>(i), end = static_cast<std::ptrdiff_t>(i + half);
        together.insert(together.end(), a.begin() + at, a.begin() + end);
        together.insert(together.end(), b.begin() + at, b.begin() + end);
      }
    } else if (first.shape[0] != t.shape[0]) {
      ++rows;
      together.insert(together.end(), b.begin(), b.end());
    } else if (b != a) {
      ++sums;
      for (std::size_t i = 0; i < b.size(); ++i) together[i] += b[i];
    } else {
      ++same;
    }
    EXPECT_EQ(together, all) << t.name;
  }
  // a layer: q, k, v, gate and up with their biases; two outputs; their biases; two norms
  EXPECT_EQ(rows, 2 * 10);
  EXPECT_EQ(columns, 2 * 2);
  EXPECT_EQ(sums, 2 * 2);
  EXPECT_EQ(same, 2 * 2 + 3);
}

TEST(TensorParallel, OneRankHasAll) {
  const Checkpoint whole = quire::testing::golden("gpt2");
  EXPECT_EQ(share_of_rank(whole, 0, 1).config.shape.heads, whole.config.shape.heads);
}

TEST(TensorParallel, RefusesWhatDoesNotPart) {
  const auto refused = [](const Checkpoint& whole, std::int64_t ranks, const std::string& why) {
    try {
      (void)share_of_rank(whole, 0, ranks);
      ADD_FAILURE() << "not refused: " << why;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(why), std::string::npos) << e.what();
    }
  };
  refused(quire::testing::golden("llama"), 4, "2 KV heads do not part among 4 ranks");
  refused(quire::testing::golden("llama"), 3, "4 heads do not part");
  refused(quire::testing::golden("gpt2"), 2, "stacked projections");
  refused(quire::testing::golden("mixtral"), 2, "mixtures");
  refused(quire::testing::golden("llama_awq_int4"), 2, "quantised");
  Checkpoint odd = quire::testing::golden("llama");
  checkpoint::TensorList list;
  list.keep(odd.tensors);
  for (const TensorView& t : odd.tensors.all()) {
    if (!t.name.ends_with("layers.1.self_attn.o_proj.weight")) {
      list.add(t);
      continue;
    }
    list.add(std::string(t.name), t.dtype, {32, 31}, std::vector<float>(32 * 31));
  }
  odd.tensors = list.set("made");
  refused(odd, 2, "o_proj.weight");
}

}  // namespace
}  // namespace quire::model
