#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/model/weights.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/fp32.hpp>

#include "tests/common/checkpoints.hpp"

namespace quire::model {
namespace {

/// The checkpoint's tensors, with one changed by `edit`.
template <class F>
checkpoint::TensorSet edited(const checkpoint::Checkpoint& from, F&& edit) {
  std::vector<checkpoint::TensorSet::Entry> entries;
  for (const auto& view : from.tensors.all()) {
    checkpoint::TensorSet::Entry e{
        std::string(view.name), view.dtype, {view.shape.begin(), view.shape.end()}, view.bytes};
    if (edit(e)) entries.push_back(std::move(e));
  }
  return checkpoint::TensorSet("memory", std::move(entries),
                               {std::make_shared<checkpoint::TensorSet>(from.tensors)});
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Weights, TransposedAndStackedTensorsLandInTheirRows) {
  const auto c = quire::testing::golden("gpt2");
  ThreadPool threads(2);
  const auto w = load_weights<weight_format::Fp32>(c.config, c.tensors, threads);
  const auto& stored = c.tensors.at("transformer.h.1.attn.c_attn.weight");  // (inputs, outputs)
  const auto inputs = static_cast<std::size_t>(stored.shape[0]);
  const auto outputs = static_cast<std::size_t>(stored.shape[1]);
  std::vector<float> all(inputs * outputs), row(inputs);
  checkpoint::read_floats(stored, 0, all);
  for (std::size_t n = 0; n < outputs; ++n) {
    w.layers[1].qkv.read_row(n, row.data());
    for (std::size_t k = 0; k < inputs; ++k) EXPECT_EQ(row[k], all[k * outputs + n]);
  }
}

TEST(Weights, Bf16TakesHalfTheMemory) {
  const auto c = quire::testing::golden("mixtral");
  ThreadPool threads(1);
  const auto full = load_weights<weight_format::Fp32>(c.config, c.tensors, threads);
  const auto half = load_weights<weight_format::Bf16>(c.config, c.tensors, threads);
  EXPECT_EQ(full.bytes(), 2 * half.bytes());
  EXPECT_EQ(full.layers[0].experts.size(), 4u);
}

TEST(Weights, BothSpellingsOfThePrefixLoad) {
  const auto c = quire::testing::golden("qwen2");
  ThreadPool threads(1);
  const auto bare = edited(c, [](auto& e) {
    if (e.name.starts_with("model.")) e.name = e.name.substr(6);
    return true;
  });
  EXPECT_EQ(load_weights<weight_format::Fp32>(c.config, bare, threads).bytes(),
            load_weights<weight_format::Fp32>(c.config, c.tensors, threads).bytes());
}

TEST(Weights, ErrorsNameTheTensor) {
  const auto c = quire::testing::golden("llama");
  ThreadPool threads(1);
  auto load = [&](const checkpoint::TensorSet& t) {
    return error_of([&] { (void)load_weights<weight_format::Fp32>(c.config, t, threads); });
  };
  EXPECT_NE(load(edited(c, [](auto& e) { return e.name != "model.layers.1.mlp.up_proj.weight"; }))
                .find("model.layers.1.mlp.up_proj.weight"),
            std::string::npos);
  EXPECT_NE(load(edited(c,
                        [](auto& e) {
                          if (e.name == "model.norm.weight") e.shape = {16, 2};
                          return true;
                        }))
                .find("[16, 2]"),
            std::string::npos);
  EXPECT_NE(load(edited(c,
                        [](auto& e) {
                          if (e.name == "lm_head.weight") e.dtype = checkpoint::DType::i32;
                          return true;
                        }))
                .find("lm_head.weight"),
            std::string::npos);
}

}  // namespace
}  // namespace quire::model
