// The draws that tests of other executors compare 4-bit keys, values and weights with are the CPU
// executor's.
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <experiments/quire/cpu_steps.hpp>
#include <quire/core/blockwise.hpp>
#include <quire/engine/config.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/retention/keep_all.hpp>

#include "tests/kernels/plans_by_hand.hpp"

namespace quire::executor {
namespace {

/// The CPU executor that the drivers compile anyway: the format through its codec, weights in fp32.
template <class Format>
struct FourBitKv {
  using BlockSize = quire::BlockSize<16>;
  using KvFormat = Format;
  using WeightFormat = weight_format::Fp32;
  using Offload = offload::SwapToHost;
  using Retention = retention::KeepAll;
};

/// The numbers that LinearOnly<Int4Grouped<32>, Fp16> keeps of a model.
checkpoint::Checkpoint rounded(const checkpoint::Checkpoint& model) {
  using Block = blockwise::Symmetric<4, 32>;
  checkpoint::TensorList list;
  list.keep(model.tensors);
  for (const checkpoint::TensorView& t : model.tensors.all()) {
    if (t.shape.size() != 2) {
      list.add(t);
      continue;
    }
    std::vector<float> w(static_cast<std::size_t>(t.elements()));
    checkpoint::read_floats(t, 0, w);
    const auto inputs = static_cast<std::size_t>(t.shape[1]);
    if (t.name.starts_with("model.layers.")) {
      for (std::size_t row = 0; row < w.size(); row += inputs) {
        for (std::size_t i = 0; i < inputs; i += Block::size) {
          const std::size_t count = std::min(Block::size, inputs - i);
          float values[Block::size]{};
          std::byte block[Block::bytes];
          std::copy_n(&w[row + i], count, values);
          Block::encode(values, block);
          Block::decode(block, values);
          std::copy_n(values, count, &w[row + i]);
        }
      }
    } else {
      for (float& x : w) x = to_float(to_fp16(x));
    }
    list.add(std::string(t.name), checkpoint::DType::f32, {t.shape.begin(), t.shape.end()}, w);
  }
  checkpoint::Checkpoint made = model;
  made.tensors = list.set(model.tensors.where() + ", rounded");
  return made;
}

template <class Format>
void expect_written_down() {
  const quire::testing::TempDir folder;
  const auto draws = testing::drawn_by_hand<Cpu, FourBitKv<Format>>(
      testing::four_bit_steps(), rounded(testing::four_bit_model(folder)));
  testing::expect_close(draws, testing::four_bit_draws<Format>, 1e-4f);
  if (!::testing::Test::HasFailure()) return;
  std::printf("%s:", std::string(Format::name).c_str());
  for (const Draw& d : draws) {
    std::printf(" {%u, %.6ff, 0, 0},", d.token, static_cast<double>(d.logprob));
  }
  std::printf("\n");
}
TEST(FourBits, DrawsAreThoseWrittenDown) {
  expect_written_down<kv_format::Int4PerTokenHead>();
  expect_written_down<kv_format::Mxfp4>();
  expect_written_down<kv_format::Nvfp4>();
  expect_written_down<kv_format::Int4Grouped<32>>();
}

}  // namespace
}  // namespace quire::executor
