#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/checkpoints.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/quality/subject.hpp>
#include <experiments/quality/weight_runs.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/weight_format/int4_zero_point.hpp>

/// What training does beyond what is done to a finished model: weights that learned to be rounded, and students that
/// learned from the model. The checkpoints are those of experiments/small_models.
namespace quire::experiment {
namespace detail {

/// One format three ways, on the same texts: rounded to nearest, by GPTQ, and trained to be rounded. The baseline is the
/// model that was trained for as many steps without rounding.
template <unsigned bits>
void add_qat_runs_of(const SharedSubject& subject, const std::shared_ptr<CalibrationTexts>& seen,
                     const std::string& checkpoints, std::vector<Run>& runs) {
  using F = weight_format::IntZeroPoint<bits, 128>;
  std::vector<WeightRun> ways;
  add_calibrated<F>(false, seen, ways);
  ways.resize(2);  // without GPTQ's other order and AWQ
  const std::string path = checkpoints + "qat_int" + std::to_string(bits) + "_g128";
  ways.push_back({"qat_" + std::string(F::name), ways.front().codec,
                  [path](const checkpoint::Checkpoint&) { return opened_checkpoint(path); }});
  for (const WeightRun& way : ways) {
    metrics::JsonObject axes;
    axes.add("part", "qat").add("weight_format", way.name).add("bits", std::int64_t{bits});
    runs.push_back(weight_run(subject, way, std::move(axes)));
  }
  const auto compare = [&](const WeightRun& better, const WeightRun& worse) {
    metrics::JsonObject axes;
    axes.add("part", "qat").add("better", better.name).add("worse", worse.name);
    runs.push_back(weight_order_run(subject, better, worse, std::move(axes)));
  };
  compare(ways[1], ways[0]);
  compare(ways[2], ways[0]);
  compare(ways[2], ways[1]);
}

/// Students of one objective, by their seeds; what they say, beside what the teacher says.
inline constexpr std::size_t student_seeds = 3;

[[nodiscard]] inline std::shared_ptr<const Reading> student_reading(Subject& teacher,
                                                                    const std::string& path,
                                                                    const std::string& name) {
  return teacher.reading(name, [&](const Subject::SharedReading& base) {
    quality::ReadOptions how;
    how.overlap = true;
    return quality::read_texts(quality::format<kv_format::Fp32>(), opened_checkpoint(path + name),
                               teacher.texts(), base, how);
  });
}

/// Share of tokens whose most probable one was right.
[[nodiscard]] inline Interval accuracy(const Subject& subject, const Reading& r) {
  return quality::over_positions(r, [&](std::size_t i, std::size_t p) {
    return r.best[i][p] == (*subject.texts())[i][p + 1] ? 1.0 : 0.0;
  });
}

/// Readings of the same texts as one reading of each text several times: what is said of all of them.
[[nodiscard]] inline Reading joined(const std::vector<std::shared_ptr<const Reading>>& readings) {
  Reading all;
  const auto append = [](auto& to, const auto& from) {
    to.resize(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      to[i].insert(to[i].end(), from[i].begin(), from[i].end());
    }
  };
  for (const auto& r : readings) {
    append(all.best, r->best);
    append(all.nats, r->nats);
    append(all.divergence, r->divergence);
    append(all.overlap, r->overlap);
  }
  return all;
}

[[nodiscard]] inline std::string student_name(std::string_view objective, std::size_t seed) {
  return "student_" + std::string(objective) + "_" + std::to_string(seed);
}

[[nodiscard]] inline Run student_run(const SharedSubject& teacher, const std::string& path,
                                     std::string_view objective, std::size_t seed) {
  Run run;
  run.row.variant = student_name(objective, seed);
  run.row.workload = teacher->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", "distillation").add("objective", objective).add("student", seed);
  run.measure = [teacher, path, name = std::string(run.row.variant)] {
    const auto r = student_reading(*teacher, path, name);
    metrics::JsonObject out = losses(*teacher, *r, name, 32);
    add_interval(out, "overlap", quality::over_positions(*r, [&](std::size_t i, std::size_t p) {
                   return r->overlap[i][p];
                 }));
    const auto base = teacher->baseline();
    const double expected = quality::over_positions(*base, [&](std::size_t i, std::size_t p) {
                              return base->nats[i][p];
                            }).mean;
    const double right = accuracy(*teacher, *r).mean;
    out.add("accuracy_percent", 100 * right)
        .add("kept_accuracy_percent", 100 * right / accuracy(*teacher, *base).mean)
        .add("teacher_perplexity", std::exp(expected));
    const model::Shape s = opened_checkpoint(path + name).config.shape;
    const model::Shape& large = teacher->model().config.shape;
    out.add("layer_weights", s.layers * (s.attention_weights() + s.mlp_weights()))
        .add("teacher_layer_weights",
             large.layers * (large.attention_weights() + large.mlp_weights()));
    return out;
  };
  return run;
}

/// One objective against another: students of one seed, or of all.
[[nodiscard]] inline Run objective_run(const SharedSubject& teacher, const std::string& path,
                                       std::string_view better, std::string_view worse,
                                       const std::vector<std::size_t>& seeds) {
  Run run;
  run.row.variant = better;
  run.row.workload = teacher->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", "distillation").add("better", better).add("worse", worse);
  run.row.axes.add("students", seeds.size() == 1 ? std::to_string(seeds.front()) : "all");
  run.measure = [teacher, path, better = std::string(better), worse = std::string(worse), seeds] {
    const auto of = [&](const std::string& objective) {
      std::vector<std::shared_ptr<const Reading>> found;
      for (const std::size_t seed : seeds) {
        found.push_back(student_reading(*teacher, path, student_name(objective, seed)));
      }
      return joined(found);
    };
    const Reading a = of(better), b = of(worse);
    metrics::JsonObject out = gap(a, b, better + " better than " + worse);
    add_interval(out, "overlap_gap", quality::over_positions(a, [&](std::size_t i, std::size_t p) {
                   return static_cast<double>(a.overlap[i][p]) -
                          static_cast<double>(b.overlap[i][p]);
                 }));
    return out;
  };
  return run;
}

}  // namespace detail

/// Rows with part=qat. subject: checkpoints/bytes, which saw the same rows in the last stage without rounding
inline void add_qat_runs(const SharedSubject& subject,
                         const std::shared_ptr<CalibrationTexts>& seen,
                         const std::string& checkpoints, std::vector<Run>& runs) {
  detail::add_qat_runs_of<4>(subject, seen, checkpoints, runs);
  detail::add_qat_runs_of<3>(subject, seen, checkpoints, runs);
  detail::add_qat_runs_of<2>(subject, seen, checkpoints, runs);
}

/// Rows with part=distillation, on pieces as long as the students' context. large: checkpoints/bytes
/// \errors data where a student is missing
inline void add_distillation_runs(const checkpoint::Checkpoint& large, const std::string& text,
                                  std::size_t count, const std::string& checkpoints,
                                  std::vector<Run>& runs) {
  const checkpoint::Checkpoint student =
      opened_checkpoint(checkpoints + detail::student_name("kd", 1));
  const auto teacher =
      std::make_shared<Subject>(large, quality::pieces_of(text, student, count), nullptr, "prose");
  std::vector<std::size_t> all;
  for (std::size_t seed = 1; seed <= detail::student_seeds; ++seed) {
    all.push_back(seed);
    for (const std::string_view objective : {"ce", "kd"}) {
      runs.push_back(detail::student_run(teacher, checkpoints, objective, seed));
    }
    runs.push_back(detail::objective_run(teacher, checkpoints, "kd", "ce", {seed}));
  }
  runs.push_back(detail::objective_run(teacher, checkpoints, "kd", "ce", all));
}

}  // namespace quire::experiment
