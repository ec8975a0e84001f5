// A checkpoint's numbers on their way to a device: the same bits as by the host's reading, whatever the order of streams.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/float16.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/executor/device_matrix.cuh>
#include <quire/executor/uploads.cuh>
#include <quire/kernels/convert/convert.cuh>
#include <quire/model/matrix.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/fp16.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::executor {
namespace {

/// Numbers as a checkpoint holds them, as raw bits: infinities, NaN and subnormal ones among them.
template <class In>
std::vector<In> drawn(std::size_t count, Rng& rng) {
  std::vector<In> numbers(count);
  for (In& x : numbers) {
    const std::uint64_t kind = rng.below(20);
    const double value = kind == 0   ? std::numeric_limits<double>::infinity()
                         : kind == 1 ? std::numeric_limits<double>::quiet_NaN()
                         : kind == 2 ? 1e-41
                         : kind == 3 ? 7e4
                                     : rng.uniform() - 0.5;
    x = from_float<In>(static_cast<float>(value));
  }
  return numbers;
}

template <class In>
model::MatrixSource source_of(const std::vector<In>& numbers, std::size_t inputs) {
  model::MatrixSource m;
  m.outputs = numbers.size() / inputs;
  m.inputs = inputs;
  m.read = [&numbers, inputs](std::size_t first, std::size_t count, float* values) {
    for (std::size_t i = 0; i < count * inputs; ++i) {
      values[i] = to_float(numbers[first * inputs + i]);
    }
  };
  m.element = element_name<In>;
  m.stored = [&numbers, inputs](std::size_t first) {
    return model::StoredRows{reinterpret_cast<const std::byte*>(&numbers[first * inputs]),
                             numbers.size() / inputs - first};
  };
  return m;
}

template <class Format>
std::vector<typename Format::Element> on_device(const model::MatrixSource& source) {
  ThreadPool one(1);
  const DeviceMatrix<Format> matrix(source, one);
  const auto* at = matrix.weights();
  return {at, at + source.outputs * source.inputs};  // the emulator's memory is the host's
}

/// Bits, but of NaN, of which there are several, that it is one.
template <class Element>
void expect_same(const std::vector<Element>& a, const std::vector<Element>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(to_float(a[i])) && std::isnan(to_float(b[i]))) continue;
    ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(Element)), 0)
        << i << ": " << to_float(a[i]) << " and " << to_float(b[i]);
  }
}

template <class In, class Format>
void check(std::size_t outputs, std::size_t inputs, std::uint64_t seed) {
  Rng rng(seed);
  const auto numbers = drawn<In>(outputs * inputs, rng);
  const model::MatrixSource source = source_of(numbers, inputs);
  ASSERT_TRUE(Uploads::takes(source));
  model::MatrixSource by_reading = source;
  by_reading.element = {};
  ASSERT_FALSE(Uploads::takes(by_reading));
  expect_same(on_device<Format>(source), on_device<Format>(by_reading));
}

template <class In>
void check_all(std::size_t outputs, std::size_t inputs, std::uint64_t seed) {
  check<In, weight_format::Fp32>(outputs, inputs, seed);
  check<In, weight_format::Fp16>(outputs, inputs, seed);
  check<In, weight_format::Bf16>(outputs, inputs, seed);
}

TEST(Uploads, BringTheBitsThatReadingBrings) {
  using simt::emulator::Order;
  const std::size_t part = Uploads::part_bytes;
  std::uint64_t seed = 1;
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    const simt::emulator::ScopedSchedule scope({.order = order, .seed = seed});
    // one number; less than a part; to its end; a number behind it; many parts, rows across them
    for (const auto& [outputs, inputs] : std::vector<std::pair<std::size_t, std::size_t>>{
             {1, 1}, {3, 7}, {part / 32, 8}, {part / 4 + 1, 1}, {37, 301}}) {
      check_all<float>(outputs, inputs, ++seed);
      check_all<Fp16>(outputs, inputs, ++seed);
      check_all<Bf16>(outputs, inputs, ++seed);
    }
  }
}

TEST(Uploads, AStackOfMatricesGoesPartByPart) {
  const ScopedUploads lent;  // and so do all of this test through one pair of parts
  Rng rng(5);
  const std::size_t inputs = 96;
  const auto q = drawn<Bf16>(50 * inputs, rng), k = drawn<Bf16>(9 * inputs, rng),
             v = drawn<Bf16>(1 * inputs, rng);
  const auto stacked =
      model::stack({source_of(q, inputs), source_of(k, inputs), source_of(v, inputs)});
  EXPECT_EQ(stacked.element, "bf16");
  std::vector<Bf16> all = q;
  all.insert(all.end(), k.begin(), k.end());
  all.insert(all.end(), v.begin(), v.end());
  expect_same(on_device<weight_format::Bf16>(stacked), all);

  // Parts of several elements have none in common, and are read.
  const auto wide = drawn<float>(4 * inputs, rng);
  const auto mixed = model::stack({source_of(q, inputs), source_of(wide, inputs)});
  EXPECT_FALSE(Uploads::takes(mixed));
  const auto got = on_device<weight_format::Fp32>(mixed);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    if (std::isnan(wide[i])) continue;
    EXPECT_EQ(got[q.size() + i], wide[i]);
  }
}

TEST(Uploads, TheKernelWritesWhatItIsGivenAndNoMore) {
  using Kernel = kernels::Convert<float, Bf16>;
  for (const std::size_t count :
       {std::size_t{1}, std::size_t{31}, std::size_t{64}, std::size_t{200}}) {
    std::vector<float> numbers(count + 1, 2.0f);
    simt::DeviceArray<float> from{std::span<const float>(numbers)};
    simt::DeviceArray<Bf16> to{std::span<const Bf16>(std::vector<Bf16>(count + 1, to_bf16(7.0f)))};
    simt::launch<Kernel>({{2}}, {from.data(), to.data(), count});
    std::vector<Bf16> got(count + 1);
    to.download(got);
    for (std::size_t i = 0; i <= count; ++i) {
      EXPECT_EQ(to_float(got[i]), i < count ? 2.0f : 7.0f) << i << " of " << count;
    }
  }
}

TEST(Uploads, AScopeEndsWithItself) {
  EXPECT_EQ(Uploads::current(), nullptr);
  {
    const ScopedUploads outer;
    const Uploads* lent = Uploads::current();
    EXPECT_NE(lent, nullptr);
    { const ScopedUploads inner; }
    EXPECT_EQ(Uploads::current(), lent);
  }
  EXPECT_EQ(Uploads::current(), nullptr);
}

}  // namespace
}  // namespace quire::executor
