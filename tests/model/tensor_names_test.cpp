#include <gtest/gtest.h>

#include <quire/model/tensor_names.hpp>

namespace quire::model {
namespace {

TEST(TensorNames, FollowTheFamily) {
  EXPECT_EQ(tensor_names(Family::llama).mlp_in.size(), 2u);
  EXPECT_EQ(tensor_names(Family::llama).router, "");
  EXPECT_EQ(tensor_names(Family::qwen3).query_norm, "self_attn.q_norm");
  EXPECT_EQ(tensor_names(Family::mixtral).router, "block_sparse_moe.gate");
  EXPECT_EQ(tensor_names(Family::mixtral).expert_in[1], "w3");
  EXPECT_EQ(tensor_names(Family::qwen3_moe).expert, "mlp.experts.");
  EXPECT_EQ(tensor_names(Family::opt).positions, "embed_positions");
  EXPECT_EQ(tensor_names(Family::gpt2).qkv.size(), 1u);
}

}  // namespace
}  // namespace quire::model
