#include <quire/model/known_shapes.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string_view>

namespace quire::model_test {
namespace {

// A shape with a wrong number shows in its parameter count. Counts as published with each model,
// in billions; norms and biases are left out of ours.
TEST(KnownShapes, HaveThePublishedParameterCounts) {
  struct Published {
    std::string_view name;
    double billions;
  };
  for (const Published p : {Published{"opt_13b", 12.85},
                            {"opt_66b", 65.7},
                            {"opt_175b", 174.6},
                            {"llama_7b", 6.738},
                            {"llama_13b", 13.016},
                            {"llama2_70b", 68.977},
                            {"llama3_8b", 8.030},
                            {"llama3_1_8b", 8.030},
                            {"llama3_1_70b", 70.554},
                            {"mistral_7b", 7.248},
                            {"qwen3_8b", 8.191},
                            {"qwen3_14b", 14.768},
                            {"qwen3_32b", 32.762},
                            {"mixtral_8x7b", 46.703}}) {
    const model::Shape* shape = model::find_shape(p.name);
    ASSERT_NE(shape, nullptr) << p.name;
    EXPECT_NEAR(1e-9 * static_cast<double>(shape->parameters()) / p.billions, 1.0, 0.005) << p.name;
  }
}

TEST(KnownShapes, AreConsistent) {
  for (const model::Shape* shape : model::known_shapes) {
    EXPECT_EQ(model::find_shape(shape->name), shape);
    if (shape->family != model::Family::qwen3) {  // whose heads are wider than that
      EXPECT_EQ(shape->heads * shape->head_dim, shape->hidden) << shape->name;
    }
    EXPECT_EQ(shape->heads % shape->kv_heads, 0) << shape->name;
    EXPECT_GT(shape->vocab, 0);
    EXPECT_EQ(shape->kv_values_per_token(), 2 * shape->layers * shape->kv_heads * shape->head_dim);
  }
  EXPECT_EQ(model::find_shape("gpt_5"), nullptr);
}

}  // namespace
}  // namespace quire::model_test
