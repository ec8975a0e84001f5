// GPTQ, AWQ and pruning against what their papers say, done naively.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/weight_format/awq.hpp>
#include <quire/weight_format/bitmap.hpp>
#include <quire/weight_format/gptq.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/int4_zero_point.hpp>
#include <quire/weight_format/pruning.hpp>
#include <quire/weight_format/sparse_24.hpp>

namespace quire::weight_format {
namespace {

constexpr std::size_t inputs = 32, outputs = 6;

/// Inputs that hang together, some larger than others.
InputStatistics statistics(std::uint64_t seed, std::size_t rows = 200) {
  Rng rng(seed);
  InputStatistics s{inputs, static_cast<double>(rows), std::vector<double>(inputs * inputs),
                    std::vector<double>(inputs), std::vector<float>(inputs)};
  std::vector<double> mix(inputs * inputs), x(inputs), part(inputs);
  for (double& v : mix) v = rng.normal() / 6;
  for (std::size_t r = 0; r < rows; ++r) {
    for (double& v : part) v = rng.normal();
    for (std::size_t k = 0; k < inputs; ++k) {
      x[k] = 0;
      for (std::size_t i = 0; i < inputs; ++i) x[k] += part[i] * mix[i * inputs + k];
      if (k % 7 == 3) x[k] *= 8;
      s.magnitude[k] += std::abs(x[k]);
    }
    for (std::size_t i = 0; i < inputs * inputs; ++i) s.moments[i] += x[i / inputs] * x[i % inputs];
  }
  return s;
}
std::vector<float> weights(std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> w(outputs * inputs);
  for (float& v : w) v = static_cast<float>(rng.normal());
  return w;
}
double error_of(const InputStatistics& s, const std::vector<float>& w, const Grouped& q) {
  std::vector<float> back(w.size());
  q.read(0, outputs, back.data());
  return output_error(s, w, back);
}

/// First column of the inverse of the lower right corner of `m` from `first` on, by elimination.
std::vector<double> inverse_column(const std::vector<double>& m, std::size_t first) {
  const std::size_t n = inputs - first;
  std::vector<std::vector<double>> a(n, std::vector<double>(n + 1));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < n; ++k) a[i][k] = m[(first + i) * inputs + first + k];
    a[i][n] = i == 0 ? 1 : 0;
  }
  for (std::size_t p = 0; p < n; ++p) {
    for (std::size_t i = 0; i < n; ++i) {
      if (i == p) continue;
      const double f = a[i][p] / a[p][p];
      for (std::size_t k = p; k <= n; ++k) a[i][k] -= f * a[p][k];
    }
  }
  std::vector<double> column(n);
  for (std::size_t i = 0; i < n; ++i) column[i] = a[i][n] / a[i][i];
  return column;
}

/// Optimal brain quantisation in a fixed order: the inverse is taken anew for the inputs left.
std::vector<std::uint8_t> naive_gptq(const std::vector<float>& w, const InputStatistics& s,
                                     const GptqOptions& o) {
  std::vector<double> h(s.moments);
  double mean = 0;
  for (std::size_t k = 0; k < inputs; ++k) mean += h[k * inputs + k] / inputs;
  for (std::size_t k = 0; k < inputs; ++k) h[k * inputs + k] += o.damping * mean;
  Grouped q(outputs, inputs, o.bits, o.group);
  for (std::size_t row = 0; row < outputs; ++row) {
    std::vector<double> left(inputs);
    for (std::size_t k = 0; k < inputs; ++k) left[k] = static_cast<double>(w[row * inputs + k]);
    for (std::size_t i = 0; i < inputs; ++i) {
      if (i % o.group == 0) {
        const std::vector<float> part(left.begin() + static_cast<std::ptrdiff_t>(i),
                                      left.begin() + static_cast<std::ptrdiff_t>(i + o.group));
        q.choose_grid(row, i / o.group, part.data(), o.symmetric);
      }
      const std::vector<double> inverse = inverse_column(h, i);
      const auto rounded = static_cast<double>(q.round(row, i, static_cast<float>(left[i])));
      const double error = (left[i] - rounded) / inverse[0];
      for (std::size_t k = i; k < inputs; ++k) left[k] -= error * inverse[k - i];
    }
  }
  return q.codes;
}

TEST(Gptq, EqualsOptimalBrainQuantisationDoneNaively) {
  for (const bool symmetric : {true, false}) {
    for (const unsigned bits : {2u, 3u, 4u, 8u}) {
      const GptqOptions o{bits, 16, symmetric, false, 0.01};
      const auto w = weights(bits);
      const InputStatistics s = statistics(bits + 10);
      EXPECT_EQ(gptq(w, outputs, s, o).codes, naive_gptq(w, s, o)) << bits << symmetric;
    }
  }
}

TEST(Gptq, ErrsLessThanNearestInAnyOrder) {
  double ordered = 0, plain = 0, nearest = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto w = weights(seed);
    const InputStatistics s = statistics(seed + 50);
    nearest += error_of(s, w, round_to_nearest(w.data(), outputs, inputs, 3, 16, true));
    plain += error_of(s, w, gptq(w, outputs, s, {3, 16, true, false, 0.01}));
    ordered += error_of(s, w, gptq(w, outputs, s, {3, 16, true, true, 0.01}));
  }
  EXPECT_LT(plain, 0.8 * nearest);
  EXPECT_LT(ordered, 0.8 * plain);  // inputs are of unlike size
}

TEST(Gptq, InputsThatAreNeverUsedAndNothingSeen) {
  InputStatistics s = statistics(1);
  for (std::size_t k = 0; k < inputs; ++k)
    s.moments[5 * inputs + k] = s.moments[k * inputs + 5] = 0;
  const auto w = weights(2);
  EXPECT_LT(error_of(s, w, gptq(w, outputs, s, {4, 16})), 1e30);
  s.moments.assign(inputs * inputs, 0.0);
  EXPECT_THROW((void)gptq(w, outputs, s, {4, 32}), Error);
  EXPECT_THROW((void)gptq(w, outputs, statistics(1), {4, 24}), Error);
  EXPECT_THROW((void)gptq(w, outputs, statistics(1), {5, 32}), Error);
}

TEST(Awq, FactorsAreTheBestOfItsGridAndLoseNothing) {
  const auto w = weights(3);
  const InputStatistics s = statistics(4);
  AwqOptions o;
  o.bits = 3;
  o.group = 16;
  const auto loss = [&](const std::vector<float>& factors) {
    std::vector<float> scaled(w);
    for (std::size_t i = 0; i < w.size(); ++i) scaled[i] *= factors[i % inputs];
    const Grouped q = round_to_nearest(scaled.data(), outputs, inputs, 3, 16, false);
    double total = 0;
    for (std::size_t n = 0; n < outputs; ++n) {  // (d M d^T), d as it reaches the outputs
      for (std::size_t i = 0; i < inputs; ++i) {
        for (std::size_t k = 0; k < inputs; ++k) {
          const auto gap = [&](std::size_t at) {
            return static_cast<double>(w[n * inputs + at] - q.at(n, at) / factors[at]);
          };
          total += gap(i) * s.moments[i * inputs + k] * gap(k);
        }
      }
    }
    return total;
  };
  const double best = loss(awq_factors(w, outputs, s, o));
  for (int step = 0; step < o.steps; ++step) {
    std::vector<float> factors(inputs);
    double low = 1e30, high = 0;
    for (std::size_t k = 0; k < inputs; ++k) {
      const double f = std::pow(s.magnitude[k] / s.rows, step / 20.0);
      factors[k] = static_cast<float>(f);
      low = std::min(low, f);
      high = std::max(high, f);
    }
    for (float& f : factors) f /= static_cast<float>(std::sqrt(low * high));
    EXPECT_LE(best, loss(factors) * 1.0001) << step;
  }
  EXPECT_LT(best, 0.8 * loss(std::vector<float>(inputs, 1.0f)));
  o.shared.resize(inputs);  // two and two share a factor
  for (std::size_t k = 0; k < inputs; ++k) o.shared[k] = k / 2;
  const auto shared = awq_factors(w, outputs, s, o);
  for (std::size_t k = 0; k < inputs; k += 2) EXPECT_EQ(shared[k], shared[k + 1]);
}

TEST(Awq, NarrowerRangesNeverErrMoreInTheirGroup) {
  const auto w = weights(5);
  InputStatistics s = statistics(6);
  for (std::size_t i = 0; i < inputs; ++i) {  // groups by themselves: what the search looks at
    for (std::size_t k = 0; k < inputs; ++k) {
      if (i / 16 != k / 16) s.moments[i * inputs + k] = 0;
    }
  }
  AwqOptions o;
  o.bits = 3;
  o.group = 16;
  const double clipped = error_of(s, w, round_clipped(w, outputs, s, o));
  o.clip = false;
  EXPECT_LT(clipped, error_of(s, w, round_clipped(w, outputs, s, o)));
}

/// What calibration chose is what a panel holds, code for code.
template <class F>
void expect_packed_as_they_are(bool symmetric) {
  const auto w = weights(7);
  const Grouped q = gptq(w, outputs, statistics(8), {F::Block::code_bits, 16, symmetric, true});
  std::vector<std::byte> panel(F::panel_bytes(4, inputs));
  std::vector<float> row(inputs);
  for (std::size_t first : {0u, 4u}) {  // the second panel has two rows only
    F::pack_codes(panel.data(), 4, q, first);
    for (std::size_t n = 0; n < 4; ++n) {
      F::read(panel.data(), 4, inputs, n, row.data());
      for (std::size_t k = 0; k < inputs; ++k) {
        EXPECT_EQ(row[k], first + n < outputs ? q.at(first + n, k) : 0.0f);
      }
    }
  }
}
TEST(Grouped, FormatsHoldTheCodesAsTheyAre) {
  expect_packed_as_they_are<IntGrouped<3, 16>>(true);
  expect_packed_as_they_are<Int4Grouped<16>>(true);
  expect_packed_as_they_are<Int4ZeroPoint<16>>(false);
}

using Pruning = PruningOptions::Method;

PruningOptions pruning(Pruning method, bool two_of_four, double share = 0.5) {
  PruningOptions o;
  o.method = method;
  o.two_of_four = two_of_four;
  o.share = share;
  o.block = 8;
  return o;
}
std::size_t zeros(const std::vector<float>& w, std::size_t first, std::size_t count) {
  const auto begin = w.begin() + static_cast<std::ptrdiff_t>(first);
  return static_cast<std::size_t>(
      std::count(begin, begin + static_cast<std::ptrdiff_t>(count), 0.0f));
}

TEST(Pruning, DropsAsManyAsAskedForAndTheLowestOfThem) {
  const InputStatistics s = statistics(3);
  const auto w = weights(4);
  for (const Pruning method : {Pruning::magnitude, Pruning::wanda}) {
    const auto score = [&](std::size_t i) {
      const double norm =
          method == Pruning::wanda ? std::sqrt(s.moments[i % inputs * (inputs + 1)]) : 1.0;
      return std::abs(static_cast<double>(w[i])) * norm;
    };
    for (const double share : {0.0, 0.3, 0.5, 1.0}) {
      const std::size_t together = method == Pruning::wanda ? inputs : w.size();
      const auto kept = prune(w, outputs, s, pruning(method, false, share));
      for (std::size_t first = 0; first < w.size(); first += together) {
        EXPECT_EQ(zeros(kept, first, together),
                  static_cast<std::size_t>(share * static_cast<double>(together)));
        double dropped = 0, least = 1e30;
        for (std::size_t i = first; i < first + together; ++i) {
          if (kept[i] == 0) {
            dropped = std::max(dropped, score(i));
          } else {
            least = std::min(least, score(i));
            EXPECT_EQ(kept[i], w[i]);
          }
        }
        EXPECT_LE(dropped, least);
      }
    }
    const auto fours = prune(w, outputs, s, pruning(method, true));
    for (std::size_t first = 0; first < w.size(); first += 4) {
      EXPECT_EQ(zeros(fours, first, 4), 2u);
      double dropped = 0, least = 1e30;
      for (std::size_t i = first; i < first + 4; ++i) {
        if (fours[i] == 0) dropped = std::max(dropped, score(i));
        if (fours[i] != 0) least = std::min(least, score(i));
      }
      EXPECT_LE(dropped, least);
    }
  }
}

/// SparseGPT as its paper derives it: what a weight costs and how the ones after it make up for it, from the
/// inverse taken anew for the inputs left.
std::vector<double> naive_sparse_gpt(const std::vector<float>& w, const InputStatistics& s,
                                     const PruningOptions& o) {
  std::vector<double> h(s.moments), left(w.begin(), w.end());
  double mean = 0;
  for (std::size_t k = 0; k < inputs; ++k) mean += h[k * inputs + k] / inputs;
  for (std::size_t k = 0; k < inputs; ++k) h[k * inputs + k] += o.damping * mean;
  const std::size_t block = o.two_of_four ? 4 : o.block;
  for (std::size_t first = 0; first < inputs; first += block) {
    std::vector<std::vector<double>> inverse;
    for (std::size_t k = first; k < first + block; ++k) inverse.push_back(inverse_column(h, k));
    std::vector<std::pair<double, std::size_t>> costs;  // and where
    for (std::size_t i = 0; i < w.size(); ++i) {
      const std::size_t k = i % inputs;
      if (k >= first && k < first + block) {
        costs.emplace_back(left[i] * left[i] / inverse[k - first][0], i);
      }
    }
    std::vector<std::size_t> dropped;
    const auto drop = [&](std::vector<std::pair<double, std::size_t>> some, std::size_t count) {
      std::sort(some.begin(), some.end());
      for (std::size_t i = 0; i < count; ++i) dropped.push_back(some[i].second);
    };
    if (o.two_of_four) {
      for (std::size_t row = 0; row < outputs; ++row) {
        drop({costs.begin() + static_cast<std::ptrdiff_t>(row * 4),
              costs.begin() + static_cast<std::ptrdiff_t>(row * 4 + 4)},
             2);
      }
    } else {
      drop(costs, static_cast<std::size_t>(o.share * static_cast<double>(costs.size())));
    }
    std::sort(dropped.begin(), dropped.end());
    for (const std::size_t i : dropped) {
      const std::size_t k = i % inputs;
      const double error = left[i] / inverse[k - first][0];
      for (std::size_t j = k; j < inputs; ++j) left[i - k + j] -= error * inverse[k - first][j - k];
      left[i] = 0;
    }
  }
  return left;
}

TEST(Pruning, SparseGptEqualsItsDerivationDoneNaively) {
  for (const bool two_of_four : {true, false}) {
    for (const double share : {0.25, 0.5}) {
      const auto o = pruning(Pruning::sparse_gpt, two_of_four, share);
      const auto w = weights(11);
      const InputStatistics s = statistics(12);
      const auto got = prune(w, outputs, s, o);
      const auto want = naive_sparse_gpt(w, s, o);
      for (std::size_t i = 0; i < w.size(); ++i) {
        EXPECT_NEAR(got[i], want[i], 1e-4 * (1 + std::abs(want[i]))) << i;
        EXPECT_EQ(got[i] == 0, want[i] == 0) << i;
      }
    }
  }
}

TEST(Pruning, InputsAndWhatTheOthersCanMakeUpForCount) {
  for (const bool two_of_four : {true, false}) {
    double magnitude = 0, wanda = 0, sparse_gpt = 0;
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const auto w = weights(seed);
      const InputStatistics s = statistics(seed + 50);
      const auto error = [&](Pruning method) {
        return output_error(s, w, prune(w, outputs, s, pruning(method, two_of_four)));
      };
      magnitude += error(Pruning::magnitude);
      wanda += error(Pruning::wanda);
      sparse_gpt += error(Pruning::sparse_gpt);
    }
    EXPECT_LT(wanda, 0.9 * magnitude) << two_of_four;
    EXPECT_LT(sparse_gpt, 0.8 * wanda) << two_of_four;
  }
}

TEST(Pruning, PairsOfFourAreStoredWithoutAnotherLoss) {
  const auto kept = prune(weights(1), outputs, statistics(2), pruning(Pruning::sparse_gpt, true));
  std::vector<std::byte> panel(Sparse24::panel_bytes(outputs, inputs));
  Sparse24::pack(panel.data(), outputs, inputs, kept.data());
  std::vector<float> row(inputs);
  for (std::size_t n = 0; n < outputs; ++n) {
    Sparse24::read(panel.data(), outputs, inputs, n, row.data());
    for (std::size_t k = 0; k < inputs; ++k) {
      EXPECT_EQ(row[k], to_float(to_bf16(kept[n * inputs + k])));
    }
  }
}

/// What Wanda keeps of each output is what a bitmap has room for, whatever the rounding.
template <unsigned percent>
void expect_room_for_wanda() {
  const auto kept = prune(weights(1), outputs, statistics(2),
                          pruning(Pruning::wanda, false, (100 - percent) / 100.0));
  std::vector<std::byte> panel(Bitmap<percent>::panel_bytes(outputs, inputs));
  Bitmap<percent>::pack(panel.data(), outputs, inputs, kept.data());
  std::vector<float> row(inputs);
  for (std::size_t n = 0; n < outputs; ++n) {
    Bitmap<percent>::read(panel.data(), outputs, inputs, n, row.data());
    for (std::size_t k = 0; k < inputs; ++k) {
      EXPECT_EQ(row[k], to_float(to_bf16(kept[n * inputs + k])));
    }
  }
}
TEST(Pruning, BitmapsHaveRoomForWhatWandaKeeps) {
  expect_room_for_wanda<30>();
  expect_room_for_wanda<40>();
  expect_room_for_wanda<50>();
  expect_room_for_wanda<70>();
}

TEST(Pruning, RefusesWhatIsNoShareAndInputsNeverSeen) {
  const auto w = weights(2);
  InputStatistics s = statistics(1);
  EXPECT_THROW((void)prune(w, outputs, s, pruning(Pruning::wanda, false, 1.5)), Error);
  EXPECT_THROW((void)prune(w, outputs, s, pruning(Pruning::wanda, false, std::nan(""))), Error);
  s.moments.assign(inputs * inputs, 0.0);
  EXPECT_THROW((void)prune(w, outputs, s, pruning(Pruning::sparse_gpt, true)), Error);
}

}  // namespace
}  // namespace quire::weight_format
