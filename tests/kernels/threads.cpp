// Kernels with one thread of the operating system a lane, small shapes, for ThreadSanitizer. A test
// that names a broken kernel is disabled: it must make ThreadSanitizer report a race, and is run on
// its own.
#include <vector>

#include <gtest/gtest.h>

#include <quire/kernels/layer_norm/layer_norm.cuh>
#include <quire/kernels/mixture/expert_product.cuh>
#include <quire/kernels/mixture/route.cuh>
#include <quire/kernels/paged_prefill/paged_prefill.cuh>
#include <quire/kernels/paged_prefill/warpgroup_prefill.cuh>
#include <quire/kernels/rms_norm/rms_norm.cuh>
#include <quire/kernels/sampling/sampling.cuh>
#include <tests/kernels/decode_harness.hpp>
#include <tests/kernels/simt_kernels.hpp>

namespace quire::kernels::testing {
namespace {

using namespace simt::testing;
namespace kv = kv_format;

TEST(Threads, Primitives) {
  std::vector<float> in(2 * 64, 1.0f), sums(2);
  simt::launch<BlockSum<64>>({{2}, 8}, {in.data(), sums.data()});
  EXPECT_EQ(sums, (std::vector<float>{64, 64}));
  std::vector<unsigned> ring(64);
  simt::launch<WarpRing<>>({{1}, 256}, {ring.data()});
  for (unsigned t = 0; t < 64; ++t) EXPECT_EQ(ring[t], t / 32 * 32 + (t + 2) % 32);
}
TEST(Threads, DISABLED_BlockBarrierMissing) {
  std::vector<float> in(2 * 64, 1.0f), sums(2);
  simt::launch<BlockSum<64, true>>({{2}, 8}, {in.data(), sums.data()});
}
TEST(Threads, DISABLED_WarpBarrierMissing) {
  std::vector<unsigned> ring(64);
  simt::launch<WarpRing<1>>({{1}, 256}, {ring.data()});
}

TEST(Threads, Decode) {
  constexpr DecodeTuning two{.warps = 2};
  check_decode<kv::Fp32, 4, 16, float, attention::Causal, two>(1, 2, {9, 20}, 1000, 1);
  check_decode<kv::Bf16, 4, 16, Bf16, attention::Causal, two>(1, 4, {17, 33}, 1000, 2);
}

/// Some chunk of one sequence by a prefill kernel.
template <class Kernel>
void run_prefill(std::int32_t position, std::uint32_t rows) {
  using Key = typename Kernel::Key;
  using Query = typename Key::Query;
  constexpr std::size_t head_dim = Key::head_dim;
  const std::int32_t length = position + static_cast<std::int32_t>(rows);
  PagedPool<typename Key::KvFormat, Key::block_tokens, head_dim> pool(1, {length}, 1);
  pool.fill(0, 0, static_cast<std::size_t>(length));
  const auto q = random_array<Query>(rows * head_dim, pool.rng);
  auto out = poisoned<Query>(rows * head_dim);
  const std::vector<PrefillSequence> sequences = {{0, rows, position, 0}};
  const auto work = plan_prefill(std::span<const PrefillSequence>(sequences), 1, Kernel::tile);
  typename Kernel::Params p;
  p.q = q.data();
  p.out = out.data();
  p.q_stride = p.out_stride = head_dim;
  p.cache = pool.view;
  p.blocks = pool.tables.data();
  p.sequences = sequences.data();
  p.work = work.data();
  p.heads = 1;
  const auto works = static_cast<unsigned>(work.size());
  if constexpr (requires { p.cache_map; }) {
    p.cache_map = Kernel::map_of(pool.view, pool.memory.size() / pool.view.block_bytes);
    p.works = works;
    simt::launch<Kernel>(Kernel::shape(works, 1, 1), p);
  } else {
    simt::launch<Kernel>({{works, 1}, Kernel::shared_bytes}, p);
  }
  for (const Query x : out) EXPECT_FALSE(std::isnan(to_float(x)));
}
TEST(Threads, Prefill) {
  using Key = KernelKey<kv::Int8PerTokenHead, 4, 16, Bf16>;
  run_prefill<PagedPrefill<Key, attention::Causal, PrefillTuning{.warps = 1, .tokens = 16}>>(0, 19);
}
TEST(Threads, WarpgroupPrefill) {
  using Key = KernelKey<kv::Bf16, 8, 64, Bf16>;
  run_prefill<WarpgroupPrefill<Key, attention::Causal, WarpgroupTuning{.tokens = 16}>>(5, 140);
}

TEST(Threads, NormAndSampling) {
  Rng rng(3);
  auto stream = random_array<float>(70, rng), out = poisoned<float>(70);
  const auto scale = random_array<float>(70, rng);
  using Norm = RmsNorm<float, PortableBlock<64>>;
  simt::launch<Norm>({{1}, Norm::shared_bytes},
                     {stream.data(), nullptr, 0, scale.data(), out.data(), nullptr, 70, 1e-5f});
  EXPECT_FALSE(std::isnan(out[69]));
  out = poisoned<float>(70);
  using Centered = LayerNorm<float, PortableBlock<64>>;
  simt::launch<Centered>(
      {{1}, Centered::shared_bytes},
      {stream.data(), nullptr, scale.data(), scale.data(), out.data(), nullptr, 70, 1e-5f});
  EXPECT_FALSE(std::isnan(out[69]));

  auto logits = random_array<float>(130, rng);
  std::vector<SampleRow> rows(1);
  rows[0].inverse_temperature = 1;
  rows[0].top_k = 5;
  rows[0].top_p = 0.9f;
  rows[0].draw = 1u << 31;
  std::vector<std::uint32_t> tokens(1, 999), broken(1, 9);
  using Draw = Sample<PortableBlock<64>>;
  simt::launch<Draw>({{1}, Draw::shared_bytes},
                     {logits.data(), 130, rows.data(), nullptr, tokens.data(), broken.data(), 130});
  EXPECT_LT(tokens[0], 130u);
  EXPECT_EQ(broken[0], 0u);
}

TEST(Threads, MixtureOfExperts) {
  Rng rng(4);
  constexpr std::uint32_t rows = 5, experts = 3, chosen = 2, inputs = 72, outputs = 17;
  const auto scores = random_array<float>(rows * experts, rng);
  std::vector<std::uint32_t> choices(rows * chosen), takers(experts * rows * chosen),
      counts(experts);
  auto shares = poisoned<float>(rows * chosen);
  simt::launch<Route>({{rows}}, {scores.data(), choices.data(), shares.data(), experts, chosen});
  simt::launch<ListTakers>({{experts}},
                           {choices.data(), takers.data(), counts.data(), rows * chosen});
  const auto weights = random_array<Bf16>(outputs * inputs, rng);
  const std::vector<const Bf16*> of(experts, weights.data());
  const auto x = random_array<Bf16>(rows * inputs, rng);
  auto y = poisoned<float>(rows * chosen * outputs), sums = poisoned<float>(rows * outputs);
  expert_product(ExpertProductParams<Bf16, Bf16>{of.data(), takers.data(), counts.data(), x.data(),
                                                 y.data(), rows * chosen, chosen, inputs, outputs},
                 experts, rows);
  simt::launch<JoinExperts>({{rows}}, {y.data(), shares.data(), sums.data(), outputs, chosen});
  for (const float sum : sums) EXPECT_FALSE(std::isnan(sum));
}

}  // namespace
}  // namespace quire::kernels::testing
