#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/kernel_roofline/axes.hpp>
#include <experiments/kernel_roofline/measure.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/factored_matrix.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/model/matrix.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/low_rank.hpp>

/// Two products of a low rank in place of one: what they save of its time.
namespace quire::experiment {
namespace detail {

/// A linear layer of a model.
struct LayerShape {
  std::string_view name;
  std::size_t outputs, inputs;
};
[[nodiscard]] inline std::vector<LayerShape> layer_shapes(const model::Shape& s) {
  const auto hidden = static_cast<std::size_t>(s.hidden), ffn = static_cast<std::size_t>(s.ffn);
  return {{"attention_output", hidden, hidden}, {"gate", ffn, hidden}, {"down", hidden, ffn}};
}

/// One layer in bf16, whole (rank 0) or as factors, as many copies as fill some memory.
class Copies {
 public:
  Copies(const LayerShape& shape, std::size_t rank, double memory) {
    using model::MatrixSource;
    const std::size_t m = shape.outputs, n = shape.inputs;
    const auto source = [](std::size_t outputs, std::size_t inputs) {
      MatrixSource s;
      s.outputs = outputs;
      s.inputs = inputs;
      s.read = [values = random_floats(16 * inputs, 1), inputs](std::size_t, std::size_t count,
                                                                float* to) {
        for (std::size_t i = 0; i < count; ++i) {
          std::copy_n(values.data() + i % 16 * inputs, inputs, to + i * inputs);
        }
      };
      return s;
    };
    MatrixSource all = source(m, n);
    if (rank > 0) {
      all.factors = std::make_shared<const model::FactorSources>(
          model::FactorSources{source(rank, n), source(m, rank)});
    }
    do {
      matrices_.emplace_back(all, *one_);
    } while (static_cast<double>(matrices_.size() * bytes()) < memory);
  }
  [[nodiscard]] std::size_t bytes() const { return matrices_.front().bytes(); }
  /// Seconds of a product with so many rows, the mean of every copy once, or of fewer.
  [[nodiscard]] double seconds(std::size_t rows) {
    const auto& first = matrices_.front();
    x_.resize(rows * first.inputs(), 0.1f);
    y_.resize(rows * first.padded_outputs());
    const std::size_t calls = std::max<std::size_t>(1, matrices_.size() / rows);
    const double start = now_seconds();
    for (std::size_t i = 0; i < calls; ++i) {
      matrices_[turn_++ % matrices_.size()].multiply(x_.data(), first.inputs(), rows, y_.data(),
                                                     first.padded_outputs(), *one_);
    }
    return (now_seconds() - start) / static_cast<double>(calls);
  }

 private:
  std::unique_ptr<ThreadPool> one_ = std::make_unique<ThreadPool>(1);
  std::vector<model::FactoredMatrix<model::PanelMatrix<weight_format::Bf16>>> matrices_;
  std::vector<float> x_, y_;
  std::size_t turn_ = 0;
};

/// Median of each, and of the first over each, of several that take turns, in both orders.
struct Turns {
  std::vector<double> seconds, speedup;
};
[[nodiscard]] inline Turns in_turns(std::vector<Copies>& all, std::size_t rows,
                                    std::size_t rounds) {
  const std::size_t n = all.size();
  std::vector<std::vector<double>> times(n), ratios(n);
  for (Copies& each : all) (void)each.seconds(rows);
  for (std::size_t r = 0; r < rounds; ++r) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t which = r % 2 == 0 ? i : n - 1 - i;
      times[which].push_back(all[which].seconds(rows));
    }
    for (std::size_t i = 0; i < n; ++i) ratios[i].push_back(times[0].back() / times[i].back());
  }
  Turns out;
  for (std::size_t i = 0; i < n; ++i) {
    out.seconds.push_back(median(times[i]));
    out.speedup.push_back(median(ratios[i]));
  }
  return out;
}

/// Factors with a share of the numbers less, against the layer whole.
[[nodiscard]] inline metrics::JsonObject factored_product(const LayerShape& shape, double share,
                                                          std::size_t rows, std::size_t rounds,
                                                          double memory) {
  const std::size_t rank = weight_format::rank_without(share, shape.outputs, shape.inputs);
  std::vector<Copies> both;
  both.reserve(2);
  both.emplace_back(shape, 0, memory);
  both.emplace_back(shape, rank, memory);
  const Turns found = in_turns(both, rows, rounds);
  const auto rate = [&](std::size_t i) {
    return static_cast<double>(both[i].bytes()) / found.seconds[i];
  };
  return metrics::JsonObject()
      .add("rank", rank)
      .add("dense_us", 1e6 * found.seconds[0])
      .add("factored_us", 1e6 * found.seconds[1])
      .add("speedup", found.speedup[1])
      .add("bytes_ratio",
           static_cast<double>(both[0].bytes()) / static_cast<double>(both[1].bytes()))
      .add("dense_read_share", rate(0) / ceilings().read)
      .add("factored_read_share", rate(1) / ceilings().read)
      .add("read_gigabytes_per_s", 1e-9 * ceilings().read)
      .add("rounds", rounds);
}

/// The rank at which factors take as long as the layer whole: on a line through the ranks on both sides.
[[nodiscard]] inline metrics::JsonObject break_even(const LayerShape& shape, std::size_t rows,
                                                    std::size_t rounds, double memory) {
  const double whole = static_cast<double>(shape.outputs * shape.inputs);
  const double formula = whole / static_cast<double>(shape.outputs + shape.inputs);
  std::vector<std::size_t> ranks{0};
  std::vector<Copies> all;
  constexpr double parts[] = {0.6, 0.7, 0.8, 0.9, 1.0, 1.1};
  all.reserve(std::size(parts) + 1);
  all.emplace_back(shape, 0, memory);
  for (const double part : parts) {
    ranks.push_back(static_cast<std::size_t>(part * formula));
    all.emplace_back(shape, ranks.back(), memory);
  }
  const Turns found = in_turns(all, rows, rounds);
  double at = 0;  // 0: no rank of these gains; or the last one does
  for (std::size_t i = 1; i < all.size() && found.speedup[i] >= 1; ++i) {
    at = static_cast<double>(ranks[i]);
    if (i + 1 == all.size() || found.speedup[i + 1] >= 1) continue;
    const double high = found.speedup[i] - 1, low = 1 - found.speedup[i + 1];
    at += static_cast<double>(ranks[i + 1] - ranks[i]) * high / (high + low);
  }
  return metrics::JsonObject()
      .add("break_even_rank", at)
      .add("break_even_formula", formula)
      .add("break_even_share", at / formula)
      .add("rounds", rounds);
}

}  // namespace detail

/// Rows with part=low_rank: layers of the 1.1B model.
inline void add_low_rank(std::vector<Run>& runs, const Options& options) {
  const std::size_t rounds = options.pick<std::size_t>(1, 9, 21);
  const double memory = options.pick<double>(cold_bytes / 8, cold_bytes, cold_bytes);
  const LowRankAxes axes = low_rank_axes(options);
  const auto add = [&](const detail::LayerShape& shape, std::int64_t rows, const std::string& what,
                       std::function<metrics::JsonObject()> measure) {
    Run run;
    run.row.variant = "low_rank/" + std::string(shape.name) + "/" + what;
    run.row.workload = "random_numbers";
    run.row.mode = metrics::Mode::measured;
    run.row.axes.add("part", "low_rank").add("layer", shape.name).add("rows", rows);
    run.row.axes.add("removed", what);
    run.measure = std::move(measure);
    runs.push_back(std::move(run));
  };
  for (const detail::LayerShape& shape : detail::layer_shapes(model::llama_1_1b)) {
    for (const std::int64_t rows : axes.rows) {
      const auto count = static_cast<std::size_t>(rows);
      for (const std::int64_t percent : axes.percents) {
        add(shape, rows, std::to_string(percent) + "_percent", [=] {
          return detail::factored_product(shape, static_cast<double>(percent) / 100, count, rounds,
                                          memory);
        });
      }
      add(shape, rows, "break_even",
          [=] { return detail::break_even(shape, count, rounds, memory); });
    }
  }
}

}  // namespace quire::experiment
