// The CPU executor for real beside its own simulation. README.md says what is run and why.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/cpu_against_simulation/axes.hpp>
#include <experiments/cpu_against_simulation/drifting.hpp>
#include <experiments/cpu_against_simulation/random_model.hpp>
#include <experiments/quire/cpu_steps.hpp>
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
using Timed = executor::Timed<Clock>;
using DriftingClock = Drifting<Clock>;

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

/// An engine that serves requests of its own, one step whenever it is asked. Its steps and those of a run
/// take turns on one thread, so that whatever slows a shared machine down slows both.
class Beside {
 public:
  Beside(double rate, std::size_t count, std::uint64_t seed)
      : rate_(rate), count_(count), seed_(seed), engine_(cpu_options<executor::Cpu::Options>()) {}

  /// Runs the next step that is not idle; begins again with other requests when all are served.
  void step() {
    for (;;) {
      if (next_ == waiting_.requests.size() && !engine_.has_work()) {
        waiting_ = requests_at(rate_, count_, seed_++);
        for (Request& r : waiting_.requests) r.arrival += engine_.now();
        next_ = 0;
      }
      auto& requests = waiting_.requests;
      while (next_ < requests.size() && requests[next_].arrival <= engine_.now()) {
        engine_.submit(requests[next_++]);
      }
      const StepStats& stats = engine_.step();
      static_cast<void>(engine_.take_finished());
      if (!stats.idle) {
        samples_.push_back(sample_of(engine_.last_plan(), stats.seconds));
        return;
      }
      engine_.advance_to(requests[next_].arrival);
    }
  }
  [[nodiscard]] const std::vector<calibrate::StepSample>& samples() const { return samples_; }

 private:
  double rate_;
  std::size_t count_;
  std::uint64_t seed_;
  Engine<System, executor::Cpu> engine_;
  workload::Workload waiting_;
  std::size_t next_ = 0;
  std::vector<calibrate::StepSample> samples_;
};

/// Plays a workload on the CPU and keeps what each step computed and took; a step of `beside` follows
/// each of its own.
std::pair<Report, std::vector<calibrate::StepSample>> measured(const workload::Workload& w,
                                                               Beside* beside = nullptr) {
  Engine<System, executor::Cpu> engine(cpu_options<executor::Cpu::Options>());
  std::vector<calibrate::StepSample> samples;
  ReplayOptions options;
  options.keep_steps = true;
  options.on_step = [&](const StepStats& stats, Seconds) {
    samples.push_back(sample_of(engine.last_plan(), stats.seconds));
    if (beside != nullptr) beside->step();
  };
  Report report = replay(engine, w, options);
  return {std::move(report), std::move(samples)};
}

template <class Options>
Options clock_options(const AffineCoefficients& coefficients) {
  Options o;
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

/// Means over runs of the same rate with other requests.
struct Means {
  double latency = 0, ttft = 0, tpot = 0;  // over requests
  double requests = 0, seconds = 0;

  void add(const Report& report) {
    const auto summary = report.summary();
    const auto n = static_cast<double>(summary.normalized_latency.count());
    latency += n * summary.normalized_latency.mean();
    ttft += n * summary.ttft.mean();
    tpot += n * summary.tpot.mean();
    requests += n;
    seconds += report.duration.value;
  }
  [[nodiscard]] double throughput() const { return requests / seconds; }
};

/// How much slower than on average the machine was, in the course of a run's own steps, as the steps between
/// them say: what those of a few seconds around a moment took, over what `coefficients` say of them, as far
/// as every other step of them says the same as the rest. What is not the machine's speed but the chance of
/// single steps would be added to the run's own, and chance makes queues longer.
/// \pre `run` and `between` took turns.
Drift drift_of(const AffineCoefficients& coefficients,
               const std::vector<calibrate::StepSample>& run,
               const std::vector<calibrate::StepSample>& between) {
  struct Half {
    double taken = 0, said = 0;  // seconds
    void add(const Half& other) {
      taken += other.taken;
      said += other.said;
    }
    [[nodiscard]] double ratio() const { return said > 0 ? taken / said : 1; }
  };
  using Both = std::array<Half, 2>;
  Drift drift{.interval = 0.3};
  constexpr std::size_t reach = 5;  // intervals to each side
  std::vector<Both> seen;           // by interval
  Half all;
  double now = 0;
  for (std::size_t i = 0; i < run.size() && i < between.size(); ++i) {
    const auto at = static_cast<std::size_t>(now / drift.interval.value);
    if (at >= seen.size()) seen.resize(at + 1);
    const Half one{between[i].seconds, calibrate::predicted(coefficients, between[i])};
    seen[at][i % 2].add(one);
    all.add(one);
    now += run[i].seconds;
  }
  double agreed = 0, varied = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    Both near;
    for (std::size_t k = i - std::min(i, reach); k <= i + reach && k < seen.size(); ++k) {
      for (const std::size_t half : {std::size_t{0}, std::size_t{1}}) near[half].add(seen[k][half]);
    }
    const double a = near[0].ratio() - all.ratio(), b = near[1].ratio() - all.ratio();
    agreed += a * b;
    varied += (a + b) * (a + b) / 4;
    near[0].add(near[1]);
    drift.factors.push_back(near[0].ratio());
  }
  const double share = varied > 0 ? std::clamp(agreed / varied, 0.0, 1.0) : 0;
  for (double& factor : drift.factors) factor = all.ratio() + share * (factor - all.ratio());
  return drift;
}

/// One rate: as many requests as come in `span`, `count` at least. Each run has its own calibration: the steps
/// that an engine with other requests took in between.
metrics::JsonObject compare(double share, std::size_t count, Seconds span, int repetitions) {
  const double capacity =
      measured(requests_at(0, count, 1000)).first.summary().request_throughput();
  const double rate = share * capacity;
  count = std::max(count, static_cast<std::size_t>(rate * span.value));
  Means here, there;
  double in_sample = 0, held_out = 0, predicted = 0, taken = 0;
  std::int64_t steps = 0;
  bool equal = true;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const auto number = static_cast<std::uint64_t>(repetition);
    const workload::Workload w = requests_at(rate, count, 1 + number);
    Beside beside(rate, count, 2000 + 100 * number);
    const auto [real, samples] = measured(w, &beside);
    std::vector<calibrate::StepSample> fitted, kept;
    for (std::size_t i = 0; i < beside.samples().size(); ++i) {
      (i % 5 == 4 ? kept : fitted).push_back(beside.samples()[i]);
    }
    const AffineCoefficients coefficients = calibrate::fit_affine(fitted);
    in_sample += calibrate::errors_of(coefficients, fitted).mean / repetitions;
    held_out += calibrate::errors_of(coefficients, kept).mean / repetitions;
    for (const calibrate::StepSample& s : samples) {
      predicted += calibrate::predicted(coefficients, s);
      taken += s.seconds;
    }
    auto drifting = clock_options<DriftingClock::Options>(coefficients);
    drifting.drift = drift_of(coefficients, samples, beside.samples());
    Engine<System, DriftingClock> simulated(drifting);
    here.add(replay(simulated, w));
    there.add(real);
    steps += real.counters.steps;

    // the durations of the run in the simulator: the decisions of the run
    auto forced = clock_options<Timed::Options>(coefficients);
    forced.seconds = std::make_shared<const std::vector<double>>(real.step_seconds);
    Engine<System, Timed> again(forced);
    equal = equal && replay(again, w).decision_hash == real.decision_hash;
  }
  const double latency = percent(here.latency, there.latency);
  const double throughput = percent(here.throughput(), there.throughput());
  return metrics::JsonObject()
      .add("request_rate", rate)
      .add("capacity", capacity)
      .add("mean_normalized_latency_s", here.latency / here.requests)
      .add("real_mean_normalized_latency_s", there.latency / there.requests)
      .add("error_mean_normalized_latency_percent", latency)
      .add("request_throughput", here.throughput())
      .add("real_request_throughput", there.throughput())
      .add("error_request_throughput_percent", throughput)
      .add("latency_difference_percent", std::abs(latency))
      .add("throughput_difference_percent", std::abs(throughput))
      .add("error_mean_ttft_percent", percent(here.ttft, there.ttft))
      .add("error_mean_tpot_percent", percent(here.tpot, there.tpot))
      .add("error_same_steps_percent", percent(predicted, taken))
      .add("step_error_in_sample_percent", 100 * in_sample)
      .add("step_error_held_out_percent", 100 * held_out)
      .add("requests", here.requests)
      .add("steps", steps)
      .add("decision_logs_equal", equal);
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  const std::size_t count = options.pick<std::size_t>(40, 200, 1000);
  const Seconds span = options.pick(0.0, 10.0, 60.0);
  const std::vector<double> some{0.5, 1.1}, most{0.25, 0.5, 0.9, 1.1},
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
    run.measure = [=] { return compare(share, count, span, 2); };
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
