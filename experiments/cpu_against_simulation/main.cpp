// The CPU executor for real beside its own simulation. README.md says what is run and why.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/cpu_against_simulation/axes.hpp>
#include <experiments/cpu_against_simulation/random_model.hpp>
#include <quire/cost_model/affine.hpp>
#include <quire/cost_model/calibrate.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/simulated.hpp>
#include <quire/executor/timed.hpp>
#include <quire/workload/workload.hpp>

namespace quire::experiment {
namespace {

using System = SarathiFp32;
using Clock = executor::BasicSimulated<cost_model::Affine>;
using Timed = executor::Timed<executor::Cpu>;

constexpr std::int64_t device_blocks = 1024;

SchedulerLimits limits() {
  return {.max_batched_tokens = 256, .max_sequences = 64, .watermark = 0, .chunk = 256};
}
template <class Options>
Options cpu_options() {
  Options o;
  o.model = random_model();
  o.limits = limits();
  o.device_blocks = device_blocks;
  o.wrap_tokens = true;
  return o;
}

/// Prompts of 16 to 240 tokens, answers of 8 to 120; Poisson arrivals, or all at once for rate 0.
workload::Workload requests_at(double rate, std::size_t count, std::uint64_t seed) {
  workload::Workload w;
  w.name = "uniform";
  Rng rng(seed);
  double now = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Request r;
    if (rate > 0) now += rng.exponential(1 / rate);
    r.arrival = now;
    r.prompt_length = static_cast<std::int64_t>(16 + rng.below(225));
    r.output_length = static_cast<std::int64_t>(8 + rng.below(113));
    w.requests.push_back(std::move(r));
  }
  return w;
}

calibrate::StepSample sample_of(const StepPlan& plan, Seconds seconds) {
  calibrate::StepSample s;
  for (const SequencePlan& row : plan.sequences) {
    const double before = static_cast<double>(row.computed.value);
    const double after = before + static_cast<double>(row.tokens.value);
    if (row.computed >= row.prompt_tokens) {
      s.context += after;
      s.sequences += 1;
    } else {
      s.prompt_tokens += after - before;
      s.prompt_squares += after * after - before * before;
    }
  }
  s.seconds = seconds.value;
  return s;
}

/// Plays a workload on the CPU and keeps what each step computed and took.
std::pair<Report, std::vector<calibrate::StepSample>> measured(const workload::Workload& w) {
  Engine<System, executor::Cpu> engine(cpu_options<executor::Cpu::Options>());
  std::vector<calibrate::StepSample> samples;
  ReplayOptions options;
  options.on_step = [&](const StepStats& stats, Seconds) {
    samples.push_back(sample_of(engine.last_plan(), stats.seconds));
  };
  Report report = replay(engine, w, options);
  return {std::move(report), std::move(samples)};
}

Clock::Options clock_options(const AffineCoefficients& coefficients) {
  Clock::Options o;
  o.model = random_model().config.shape;
  o.hardware.memory_bytes = 16e9;  // more than the model and its blocks take
  o.hardware.link_bandwidth = 1e10;
  o.limits = limits();
  const StorageCost storage = storage_cost<System>(o.model);
  o.memory.kv_bytes = static_cast<std::int64_t>(storage.kv_block_bytes *
                                                (static_cast<double>(device_blocks) + 0.5));
  o.affine = coefficients;
  return o;
}

double percent(double simulated, double real) { return 100 * (simulated / real - 1); }

/// What all rows share: one calibration, and the rate at which the engine is full.
struct Calibrated {
  AffineCoefficients coefficients;
  calibrate::Errors in_sample, held_out;
  double capacity = 0;  // requests/s
};

Calibrated calibrate_here(std::size_t count) {
  // batches from one request to a full engine; other requests than the ladder's
  std::vector<calibrate::StepSample> fitted, kept;
  Calibrated c;
  std::uint64_t seed = 1000;
  for (const double share : {0.0, 0.3, 0.6, 0.9, 0.0}) {
    const auto [report, samples] = measured(requests_at(share * c.capacity, count, seed++));
    if (share == 0) c.capacity = report.summary().request_throughput();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      (i % 5 == 4 ? kept : fitted).push_back(samples[i]);
    }
  }
  c.coefficients = calibrate::fit_affine(fitted);
  c.in_sample = calibrate::errors_of(c.coefficients, fitted);
  c.held_out = calibrate::errors_of(c.coefficients, kept);
  return c;
}

/// One rate. The machine's speed drifts, so the steps around the run calibrate it: the same workload
/// generator with other seeds, before and after.
metrics::JsonObject compare(double share, std::size_t count, std::uint64_t seed) {
  Calibrated c = calibrate_here(count);
  const double rate = share * c.capacity;
  const workload::Workload w = requests_at(rate, count, seed);
  const auto [real, samples] = measured(w);
  Engine<System, Clock> simulated(clock_options(c.coefficients));
  ReplayOptions keep;
  keep.keep_steps = true;
  const Report model = replay(simulated, w, keep);
  const auto here = model.summary(), there = real.summary();

  // the same durations on the CPU: the same decisions
  auto forced = cpu_options<Timed::Options>();
  forced.seconds = std::make_shared<const std::vector<double>>(model.step_seconds);
  Engine<System, Timed> again(forced);
  const Report repeated = replay(again, w);

  return metrics::JsonObject()
      .add("request_rate", rate)
      .add("capacity", c.capacity)
      .add("mean_normalized_latency_s", here.normalized_latency.mean())
      .add("real_mean_normalized_latency_s", there.normalized_latency.mean())
      .add("error_mean_normalized_latency_percent",
           percent(here.normalized_latency.mean(), there.normalized_latency.mean()))
      .add("request_throughput", here.request_throughput())
      .add("real_request_throughput", there.request_throughput())
      .add("error_request_throughput_percent",
           percent(here.request_throughput(), there.request_throughput()))
      .add("latency_difference_percent",
           std::abs(percent(here.normalized_latency.mean(), there.normalized_latency.mean())))
      .add("throughput_difference_percent",
           std::abs(percent(here.request_throughput(), there.request_throughput())))
      .add("error_mean_ttft_percent", percent(here.ttft.mean(), there.ttft.mean()))
      .add("error_mean_tpot_percent", percent(here.tpot.mean(), there.tpot.mean()))
      .add("step_error_in_sample_percent", 100 * c.in_sample.mean)
      .add("step_error_held_out_percent", 100 * c.held_out.mean)
      .add("steps", real.counters.steps)
      .add("decision_logs_equal", repeated.decision_hash == model.decision_hash);
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  const std::size_t count = options.pick<std::size_t>(40, 300, 1000);
  const std::vector<double> some{0.5, 1.1}, most{0.25, 0.5, 0.9, 1.1, 1.4},
      all{0.25, 0.5, 0.75, 0.9, 1.1, 1.4};
  for (const double share : options.pick(some, most, all)) {
    Run run;
    run.row.variant = System::name;
    run.row.workload = "uniform";
    run.row.seed = 1;
    run.row.mode = metrics::Mode::measured;
    run.row.axes.add("part", "ladder")
        .add("share_of_capacity", share)
        .add("beyond_capacity", share > 1);
    run.measure = [=] { return compare(share, count, 1); };
    runs.push_back(std::move(run));
  }
  // the steps themselves, for `quire calibrate --steps`
  const std::size_t kept = options.pick<std::size_t>(10, 100, 2000);
  const auto steps = std::make_shared<std::vector<calibrate::StepSample>>();
  for (std::size_t i = 0; i < kept; ++i) {
    Run run;
    run.row.variant = System::name;
    run.row.workload = "uniform";
    run.row.seed = 2;
    run.row.mode = metrics::Mode::measured;
    run.row.axes.add("part", "step").add("step", i);
    run.measure = [=] {
      if (steps->empty()) *steps = measured(requests_at(0, count, 2)).second;
      const calibrate::StepSample& s = (*steps)[i * steps->size() / kept];
      return metrics::JsonObject()
          .add("prompt_tokens", s.prompt_tokens)
          .add("prompt_squares", s.prompt_squares)
          .add("context", s.context)
          .add("sequences", s.sequences)
          .add("step_seconds", s.seconds);
    };
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "cpu_against_simulation",
      "A small model served on this machine's processor, beside the simulator calibrated on its "
      "steps.\n\n"
      "Examples:\n"
      "  cpu_against_simulation --out rows.jsonl\n"
      "  cpu_against_simulation --out rows.jsonl --filter ladder\n",
      quire::experiment::make_runs);
}
