// Kernels of mixtures of experts against plain loops in double precision, with poison where nothing is to
// be written.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/kernels/mixture/expert_product.cuh>
#include <quire/kernels/mixture/grouped_experts.cuh>
#include <quire/kernels/mixture/route.cuh>

#include "tests/kernels/paged_harness.hpp"

namespace quire::kernels::testing {
namespace {

struct Routed {
  std::vector<std::uint32_t> choices;
  std::vector<float> weights;
};
Routed route(const std::vector<float>& scores, std::uint32_t experts, std::uint32_t chosen,
             bool normalised) {
  const auto rows = static_cast<unsigned>(scores.size() / experts);
  Routed r{std::vector<std::uint32_t>(rows * chosen, 999), poisoned<float>(rows * chosen)};
  simt::launch<Route>(
      {{rows}}, {scores.data(), r.choices.data(), r.weights.data(), experts, chosen, normalised});
  return r;
}

TEST(Route, ChoosesTheBestAndWeighsThem) {
  Rng rng(1);
  for (const std::uint32_t experts : {1u, 8u, 31u, 32u, 33u, 128u}) {
    for (const std::uint32_t chosen : {1u, 2u, 8u}) {
      if (chosen > experts) continue;
      auto scores = random_array<float>(5 * experts, rng);
      for (float& s : scores) s = std::round(s * 4) / 2;  // many are equal
      for (const bool normalised : {true, false}) {
        const Routed r = route(scores, experts, chosen, normalised);
        for (std::size_t row = 0; row < 5; ++row) {
          const float* s = &scores[row * experts];
          std::vector<std::uint32_t> order(experts);
          std::iota(order.begin(), order.end(), 0u);
          std::stable_sort(order.begin(), order.end(),
                           [&](std::uint32_t a, std::uint32_t b) { return s[a] > s[b]; });
          double all = 0, few = 0;
          for (std::uint32_t e = 0; e < experts; ++e) all += std::exp(double(s[e]));
          for (std::uint32_t i = 0; i < chosen; ++i) few += std::exp(double(s[order[i]]));
          for (std::uint32_t i = 0; i < chosen; ++i) {
            ASSERT_EQ(r.choices[row * chosen + i], order[i]) << experts << " " << chosen;
            ASSERT_NEAR(r.weights[row * chosen + i],
                        std::exp(double(s[order[i]])) / (normalised ? few : all), 1e-6);
          }
        }
      }
    }
  }
}

/// Of which none is left as a power of e.
TEST(Route, WeighsLargeScores) {
  const Routed r = route({300, 301, -400, 299}, 4, 2, true);
  EXPECT_EQ(r.choices, (std::vector<std::uint32_t>{1, 0}));
  EXPECT_NEAR(r.weights[0], 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(r.weights[1], 1 / (1 + std::exp(1.0)), 1e-6);
}

/// Whatever a broken model gives, no expert is named that is not there.
TEST(Route, NamesExpertsThatAreThere) {
  std::vector<float> scores(12, std::nanf(""));
  for (const std::uint32_t e : route(scores, 12, 3, true).choices) EXPECT_LT(e, 12u);
}

TEST(ListTakers, ListsChoicesInTheirOrder) {
  Rng rng(2);
  for (const std::uint32_t count : {1u, 31u, 32u, 33u, 100u}) {
    constexpr std::uint32_t experts = 5;
    std::vector<std::uint32_t> choices(count), takers(experts * count, 999), counts(experts, 999);
    for (auto& c : choices)
      c = static_cast<std::uint32_t>(rng.below(experts - 1));  // none: the last
    simt::launch<ListTakers>({{experts}}, {choices.data(), takers.data(), counts.data(), count});
    for (std::uint32_t e = 0; e < experts; ++e) {
      std::vector<std::uint32_t> expected;
      for (std::uint32_t i = 0; i < count; ++i) {
        if (choices[i] == e) expected.push_back(i);
      }
      ASSERT_EQ(counts[e], expected.size());
      for (std::uint32_t i = 0; i < count; ++i) {
        ASSERT_EQ(takers[e * count + i], i < expected.size() ? expected[i] : 999u);
      }
    }
  }
}

TEST(JoinExperts, AddsWeightedResults) {
  Rng rng(3);
  constexpr std::uint32_t width = 300, chosen = 3;
  const auto results = random_array<float>(2 * chosen * width, rng),
             weights = random_array<float>(2 * chosen, rng);
  auto out = poisoned<float>(2 * width);
  simt::launch<JoinExperts>({{2, 2}}, {results.data(), weights.data(), out.data(), width, chosen});
  for (std::size_t i = 0; i < 2 * width; ++i) {
    double sum = 0;
    for (std::size_t c = 0; c < chosen; ++c) {
      const std::size_t choice = i / width * chosen + c;
      sum += double(weights[choice]) * double(results[choice * width + i % width]);
    }
    ASSERT_NEAR(out[i], sum, 1e-6);
  }
}

/// Choices of `rows` rows, `chosen` each, all different within a row; nobody takes the last expert.
template <class In, class Weight, class Run>
void check_products(std::uint32_t rows, std::uint32_t chosen, std::uint32_t sharing,
                    std::uint32_t inputs, std::uint32_t outputs, double tolerance, const Run& run) {
  constexpr std::uint32_t experts = 6;
  Rng rng(rows + inputs);
  const std::uint32_t count = rows * chosen;
  std::vector<std::uint32_t> choices, takers(experts * count, 0xffffffff), counts(experts);
  for (std::uint32_t r = 0; r < rows; ++r) {
    const auto first = static_cast<std::uint32_t>(rng.below(experts - 1));
    for (std::uint32_t c = 0; c < chosen; ++c) choices.push_back((first + c) % (experts - 1));
  }
  simt::launch<ListTakers>({{experts}}, {choices.data(), takers.data(), counts.data(), count});
  std::vector<std::vector<Weight>> weights;
  std::vector<const Weight*> begins;
  for (std::uint32_t e = 0; e + 1 < experts; ++e) {
    weights.push_back(random_array<Weight>(outputs * inputs, rng));
    begins.push_back(weights.back().data());
  }
  begins.push_back(nullptr);  // not to be read
  const auto x = random_array<In>(count / sharing * inputs, rng);
  auto y = poisoned<float>(count * outputs);
  ExpertProductParams<In, Weight> p;
  p.weights = begins.data();
  p.takers = takers.data();
  p.counts = counts.data();
  p.x = x.data();
  p.y = y.data();
  p.count = count;
  p.sharing = sharing;
  p.inputs = inputs;
  p.outputs = outputs;
  run(p, experts, rows);
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t o = 0; o < outputs; ++o) {
      double sum = 0;
      for (std::uint32_t k = 0; k < inputs; ++k) {
        sum += double(simt::widen(x[i / sharing * inputs + k])) *
               double(simt::widen(weights[choices[i]][o * inputs + k]));
      }
      ASSERT_NEAR(y[i * outputs + o], sum, tolerance) << "choice " << i << ", output " << o;
    }
  }
}

TEST(ExpertProduct, EveryChoiceMeetsItsExpert) {
  const auto run = [](const auto& p, std::uint32_t experts, std::uint32_t most) {
    expert_product(p, experts, most);
  };
  for (const std::uint32_t rows : {1u, 3u, 40u}) {
    for (const std::uint32_t inputs : {8u, 64u, 72u}) {
      check_products<float, float>(rows, 2, 2, inputs, 40, 4e-5, run);
      check_products<float, Bf16>(rows, 2, 1, inputs, 5, 4e-5, run);
      check_products<Bf16, Bf16>(rows, 2, 2, inputs, 33, 1e-4, run);
      check_products<Fp16, Fp16>(rows, 2, 1, inputs, 16, 1e-4, run);
    }
  }
}

TEST(ExpertProduct, NothingToDo) {
  expert_product(ExpertProductParams<float, float>{}, 3, 0);
  expert_product(ExpertProductParams<Bf16, Bf16>{}, 3, 0);
}

TEST(ExpertProduct, ManyChoicesTakeWiderTiles) {
  const auto run = [](const ExpertProductParams<Bf16, Bf16>& p, std::uint32_t experts,
                      std::uint32_t most) {
    using Kernel = ExpertProduct<Bf16, 32, 2>;
    simt::launch<Kernel>({{(p.outputs + 15) / 16, (most + 31) / 32, experts}, Kernel::shared_bytes},
                         p);
  };
  for (const std::uint32_t rows : {33u, 100u}) {
    check_products<Bf16, Bf16>(rows, 2, 2, 104, 33, 1e-4, run);
  }
}

/// Packed experts, against what their format reads from them, in double. Nobody takes the last expert.
template <class Format, class Half>
void check_grouped_experts(std::uint32_t rows, std::uint32_t chosen, std::uint32_t sharing,
                           std::uint32_t inputs, std::uint32_t outputs, unsigned columns) {
  constexpr std::uint32_t experts = 6;
  Rng rng(rows * 131 + inputs);
  const std::uint32_t count = rows * chosen;
  std::vector<std::uint32_t> choices, takers(experts * count, 0xffffffff), counts(experts);
  for (std::uint32_t r = 0; r < rows; ++r) {
    const auto first = static_cast<std::uint32_t>(rng.below(experts - 1));
    for (std::uint32_t c = 0; c < chosen; ++c) choices.push_back((first + c) % (experts - 1));
  }
  simt::launch<ListTakers>({{experts}}, {choices.data(), takers.data(), counts.data(), count});
  std::vector<std::vector<std::byte>> panels(experts - 1);
  std::vector<ExactBytes> codes;
  std::vector<GroupedWeights> ordered;
  std::vector<const std::byte*> codes_at;
  std::vector<const Fp16*> scales_at;
  codes.reserve(experts);
  ordered.reserve(experts);
  for (auto& panel : panels) {
    const auto weights = random_array<float>(std::size_t{outputs} * inputs, rng);
    panel.resize(Format::panel_bytes(outputs, inputs));
    Format::pack(panel.data(), outputs, inputs, weights.data());
    ordered.push_back(order_for_device<Format>(panel, outputs, inputs));
    codes.emplace_back(ordered.back().codes.size());
    std::copy(ordered.back().codes.begin(), ordered.back().codes.end(), codes.back().data());
    codes_at.push_back(codes.back().data());
    scales_at.push_back(ordered.back().scales.data());
  }
  codes_at.push_back(nullptr);  // not to be read
  scales_at.push_back(nullptr);
  const auto x = random_array<Half>(count / sharing * inputs, rng);
  auto y = poisoned<float>((count + 1) * outputs);
  GroupedExpertsParams<Half> p;
  p.codes = codes_at.data();
  p.scales = scales_at.data();
  p.takers = takers.data();
  p.counts = counts.data();
  p.x = x.data();
  p.y = y.data();
  p.count = count;
  p.sharing = sharing;
  p.inputs = inputs;
  p.outputs = outputs;
  const simt::emulator::ScopedSchedule schedule({.seed = rng()});
  if (columns == 8) {
    grouped_experts<Format>(p, experts, rows);
  } else {
    using Kernel = GroupedExperts<Format, Half, 16, 2>;
    simt::launch<Kernel>({{(outputs + 15) / 16, (rows + 15) / 16, experts}, Kernel::shared_bytes},
                         p);
  }
  std::vector<float> w(inputs);
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t o = 0; o < outputs; ++o) {
      Format::read(panels[choices[i]].data(), outputs, inputs, o, w.data());
      double sum = 0;
      for (std::uint32_t k = 0; k < inputs; ++k) {
        sum += double(w[k]) * double(simt::widen(x[i / sharing * inputs + k]));
      }
      ASSERT_NEAR(y[i * outputs + o], sum, 1e-4) << "choice " << i << ", output " << o;
    }
  }
  for (std::uint32_t o = 0; o < outputs; ++o) {
    ASSERT_TRUE(std::isnan(y[count * outputs + o])) << "wrote beyond the last choice";
  }
}
TEST(GroupedExperts, EveryChoiceMeetsItsExpertInFewBits) {
  namespace wf = weight_format;
  for (const std::uint32_t rows : {1u, 3u, 40u}) {
    check_grouped_experts<wf::Int4Grouped<32>, Fp16>(rows, 2, 2, 72, 33, 8);
    check_grouped_experts<wf::Int4Grouped<128>, Bf16>(rows, 2, 1, 256, 16, 8);
    check_grouped_experts<wf::Int8Grouped<64>, Bf16>(rows, 3, 3, 64, 5, 8);
    check_grouped_experts<wf::Int8Grouped<32>, Fp16>(rows, 2, 1, 24, 40, 16);
  }
}

TEST(GroupedExperts, NothingToDo) {
  grouped_experts<weight_format::Int4Grouped<128>>(GroupedExpertsParams<Bf16>{}, 3, 0);
}

}  // namespace
}  // namespace quire::kernels::testing
