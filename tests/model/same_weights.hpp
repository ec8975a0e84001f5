#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/load.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/weights.hpp>

namespace quire::model {

/// All that an executor multiplies with and norms with, by name; valid while the weights are.
template <class Format>
struct Parts {
  Parts(const checkpoint::Checkpoint& model, const weight_format::WeightCodec& codec)
      : weights(load_weights<Format>(model.config, model.tensors, threads, codec, &list)) {}
  ThreadPool threads{2};
  std::vector<checkpoint::TensorSet::Entry> list;
  Weights<Format> weights;
};
template <class Format>
void expect_same(const Parts<Format>& a, const Parts<Format>& b) {
  ASSERT_EQ(a.list.size(), b.list.size());
  ASSERT_GT(a.list.size(), 5u);
  for (std::size_t i = 0; i < a.list.size(); ++i) {
    EXPECT_EQ(a.list[i].name, b.list[i].name);
    EXPECT_EQ(a.list[i].shape, b.list[i].shape);
    ASSERT_EQ(a.list[i].bytes.size(), b.list[i].bytes.size());
    EXPECT_EQ(std::memcmp(a.list[i].bytes.data(), b.list[i].bytes.data(), a.list[i].bytes.size()),
              0)
        << a.list[i].name;
  }
  EXPECT_EQ(a.weights.bytes(), b.weights.bytes());
}

}  // namespace quire::model
