// What schedulers buy: the figures of Sarathi-Serve, FastServe, Andes and VTC, and every policy at one
// table. README.md says what is run and why.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/common/rate_curve.hpp>
#include <experiments/common/workloads.hpp>
#include <experiments/scheduling/axes.hpp>
#include <quire/engine/replay.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/metrics/qoe.hpp>
#include <quire/metrics/service.hpp>

namespace quire::experiment {
namespace {

using Setup = executor::Simulated::Options;
using SharedWorkload = std::shared_ptr<const workload::Workload>;

constexpr metrics::Slo chat_slo{.ttft = 2.0, .tpot = 0.2};

template <class System>
Report play(const Setup& setup, const workload::Workload& requests, Seconds warm_up) {
  Engine<System, executor::Simulated> engine(setup);
  return replay(engine, requests,
                {.measure_from = warm_up, .record_from = warm_up, .slo = chat_slo});
}

/// Everything that a scheduler can be judged by.
metrics::JsonObject judged(const Report& report) {
  const metrics::ServingSummary s = report.summary();
  double qoe = 0;
  for (const metrics::RequestRecord& r : report.records) {
    if (r.completed()) qoe += metrics::qoe(r);
  }
  constexpr std::size_t parts = 60;
  const auto service = metrics::service_over_time(report.records, report.duration, parts);
  return metrics::JsonObject()
      .add("mean_ttft_ms", s.ttft.mean())
      .add("median_ttft_ms", s.ttft.median())
      .add("p99_ttft_ms", s.ttft.percentile(99))
      .add("mean_tpot_ms", s.tpot.mean())
      .add("p99_tpot_ms", s.tpot.percentile(99))
      .add("p99_itl_ms", s.itl.percentile(99))
      .add("median_scheduling_delay_ms", s.scheduling_delay.median())
      .add("mean_normalized_latency_s", s.normalized_latency.mean())
      .add("p95_normalized_latency_s", s.normalized_latency.percentile(95))
      .add("p99_normalized_latency_s", s.normalized_latency.percentile(99))
      .add("slo_attainment", s.attainment)
      .add("request_goodput", s.request_goodput)
      .add("mean_qoe", qoe / static_cast<double>(s.completed))
      .add("service_difference", metrics::service_difference(service))
      .add("speed_jain_index", metrics::speed_jain_index(report.records))
      .add("output_throughput", s.output_throughput())
      .add("preemptions", report.counters.preemptions)
      .add("swap_preemptions", report.counters.swap_preemptions)
      .add("swapped_out_tokens", report.counters.swapped_out_tokens.value)
      .add("hit_rate", ratio(report.counters.prefix_hit_tokens, report.counters.prompt_tokens))
      .add("recomputed_tokens", report.counters.recomputed_tokens.value)
      .add("completed", s.completed)
      .add("failed", s.failed)
      .add("steps", report.counters.steps)
      .add("duration", report.duration.value);
}

Run named(std::string_view part, std::string_view variant, const Setup& setup,
          std::string_view requests) {
  Run run;
  run.row.variant = variant;
  run.row.workload = requests;
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", part).add("model", setup.model.name);
  return run;
}

// ---- latency and quality against rate: FastServe, Andes -----------------------------------------

template <class System>
void add_ladder(std::vector<Run>& runs, const Options& options, std::string_view requests,
                double low, double high, double standard_seconds) {
  const std::size_t count = options.pick<std::size_t>(2, 5, 12);
  const double seconds = options.pick(60.0, standard_seconds, 3600.0);
  Setup setup = opt_13b_setup();
  setup.memory.host_bytes = std::int64_t{256} << 30;
  const auto curve = std::make_shared<RateCurve>([=](double rate) {
    const auto how = poisson_for(rate, seconds, 0);
    const Report report =
        play<System>(setup, requests == "alpaca" ? workload::alpaca(how) : workload::sharegpt(how),
                     seconds / 10);
    return Rung{.latency = report.summary().normalized_latency.mean(), .row = judged(report)};
  });
  std::vector<double> ladder;
  for (std::size_t i = 0; i < count; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(count - 1);
    ladder.push_back(three_digits(low * std::pow(high / low, share)));
    Run run = named("ladder", label<System>, setup, requests);
    run.row.axes.add("request_rate", ladder.back()).add("seconds", seconds);
    run.measure = [curve, rate = ladder.back()] { return curve->at(rate).row; };
    runs.push_back(std::move(run));
  }
  constexpr double level = 0.3;  // seconds a token, FastServe's limit
  Run limit = named("limit", label<System>, setup, requests);
  limit.row.axes.add("level_s_per_token", level).add("seconds", seconds);
  limit.measure = [=] { return find_limit(*curve, ladder, level).row(); };
  runs.push_back(std::move(limit));
}

// ---- Sarathi-Serve: the tail between tokens, and capacity -----------------------------------------

/// Lengths of openchat_sharegpt4: median and P90 of prompts 1,730 and 5,696, of outputs 415 and 834, at
/// most 8,192 in all. \source Agrawal et al., "Sarathi-Serve", OSDI '24, table 2.
workload::Workload chat_lengths(double rate, std::size_t count) {
  constexpr double z90 = 1.2815515655446004;
  const auto log_normal = [](double median, double p90, std::int64_t most) {
    const double sigma = std::log(p90 / median) / z90;
    return workload::LogNormalLength{median * std::exp(sigma * sigma / 2), sigma, most};
  };
  workload::Workload w = workload::synthetic(
      log_normal(1730, 5696, 7000), log_normal(415, 834, 1100), {.requests = count, .rate = rate});
  w.name = "openchat_sharegpt4";
  return w;
}

Setup sarathi_setup(std::int64_t chunk) {
  Setup setup = long_context_setup(model::mistral_7b);
  setup.model.max_length = 8192;
  setup.limits.max_batched_tokens = 8192;
  setup.limits.max_sequences = 128;
  setup.limits.chunk = chunk;
  return setup;
}

template <class System>
void add_sarathi(std::vector<Run>& runs, const Options& options, std::int64_t chunk) {
  const Setup setup = sarathi_setup(std::max<std::int64_t>(chunk, 1));
  const std::size_t count = options.pick<std::size_t>(100, 1024, 2048);
  for (const double rate : {0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0}) {
    if (options.scale == Scale::smoke && rate != 1.0) continue;
    Run run = named("sarathi", System::Scheduler::name, setup, "openchat_sharegpt4");
    run.row.axes.add("chunk", chunk).add("request_rate", rate).add("requests", count);
    run.measure = [=] { return judged(play<System>(setup, chat_lengths(rate, count), 0.0)); };
    runs.push_back(std::move(run));
  }
  for (const double limit_ms : {100.0, 500.0}) {  // strict and relaxed
    Run run = named("sarathi_capacity", System::Scheduler::name, setup, "openchat_sharegpt4");
    run.row.axes.add("chunk", chunk).add("p99_itl_limit_ms", limit_ms).add("requests", count);
    run.measure = [=] {
      const auto meets = [&](double rate) {
        const metrics::ServingSummary s =
            play<System>(setup, chat_lengths(rate, count), 0.0).summary();
        return s.itl.percentile(99) <= limit_ms && s.scheduling_delay.median() <= 2000 ? 1.0 : 0.0;
      };
      return metrics::JsonObject().add("capacity",
                                       metrics::highest_rate(meets, 1.0, 0.05, 8.0, 0.02));
    };
    runs.push_back(std::move(run));
  }
}

// ---- VTC: who is served ---------------------------------------------------------------------------

struct Client {
  double rate;  // requests a second, evenly spaced
  double weight = 1;
};

/// Clients of evenly spaced requests, 256 tokens in and out, for ten minutes.
workload::Workload of_clients(std::string_view name, const std::vector<Client>& clients,
                              double seconds) {
  workload::Workload w;
  w.name = name;
  for (std::size_t c = 0; c < clients.size(); ++c) {
    for (double at = 0; at < seconds; at += 1 / clients[c].rate) {
      Request r;
      r.arrival = at;
      r.prompt_length = 256;
      r.output_length = r.sampling.max_tokens = 256;
      r.tenant = TenantId{static_cast<std::uint32_t>(c)};
      r.weight = clients[c].weight;
      w.requests.push_back(std::move(r));
    }
  }
  std::stable_sort(w.requests.begin(), w.requests.end(),
                   [](const Request& a, const Request& b) { return a.arrival < b.arrival; });
  return w;
}

/// Llama-2-7B on one A10G with 10,000 tokens of keys and values.
/// \source Sheng et al., OSDI '24, and its artifact.
Setup vtc_setup() {
  Setup setup = opt_13b_setup();
  setup.model = model::llama_7b;
  setup.hardware = hardware::a10g;
  setup.memory.kv_bytes = 10'000 * std::int64_t{2 * 32 * 4096 * 2};
  return setup;
}

template <class System>
void add_vtc(std::vector<Run>& runs, const Options& options, std::string_view name,
             const std::vector<Client>& clients) {
  Run run = named("vtc", System::Scheduler::name, vtc_setup(), name);
  const double seconds = options.pick(120.0, 600.0, 600.0);
  run.row.axes.add("seconds", seconds);
  run.measure = [=] {
    const Report report = play<System>(vtc_setup(), of_clients(name, clients, seconds), 0.0);
    constexpr double part = 10;
    const auto count = static_cast<std::size_t>(std::ceil(report.duration.value / part)) + 1;
    const auto service =
        metrics::service_over_time(report.records, part * static_cast<double>(count), count);
    // all clients have work waiting for as long as requests come
    const auto last = static_cast<std::size_t>(seconds / part) - 1;
    constexpr std::size_t window = 6;  // parts: a minute, as in the paper's table
    double gap = 0, differences = 0;
    std::size_t windows = 0;
    std::string curve;
    for (std::size_t i = 0; i <= last; ++i) {
      double least = 1e300, most = 0;
      for (std::uint64_t c = 0; c < clients.size(); ++c) {
        least = std::min(least, service.at(c)[i] / clients[c].weight);
        most = std::max(most, service.at(c)[i] / clients[c].weight);
      }
      if (i >= window && i % window == 0) {
        double slow = 1e300, fast = 0;
        for (std::uint64_t c = 0; c < clients.size(); ++c) {
          const double got =
              (service.at(c)[i] - service.at(c)[i - window]) / clients[c].weight / (window * part);
          slow = std::min(slow, got);
          fast = std::max(fast, got);
        }
        differences += fast - slow;
        ++windows;
      }
      gap = std::max(gap, most - least);
      curve += (curve.empty() ? "[" : ", ") + metrics::json_number(most - least);
    }
    metrics::JsonObject out = judged(report);
    out.add("mean_difference_by_minute", differences / static_cast<double>(windows));
    out.add("largest_gap", gap).raw("gap_by_10_s", curve + "]");
    const double first = service.at(0)[last];
    for (std::uint64_t c = 0; c < clients.size(); ++c) {
      out.add("service_" + std::to_string(c), service.at(c)[last]);
      out.add("share_" + std::to_string(c), service.at(c)[last] / first);
    }
    return out;
  };
  runs.push_back(std::move(run));
}

// ---- all at one table -----------------------------------------------------------------------------

/// Requests a second at which schedulers meet on a conversation trace: near what the engine carries.
double tournament_rate(const RealTrace& trace) {
  return trace.name == "azure_conv" ? 2.0 : 0.45 * trace.top_rate;
}

/// Gives requests to three tenants, of which the first sends six in ten and the last one in ten; that
/// one is more urgent to schedulers with classes, and has twice the claim where claims are weighted.
workload::Workload of_three_tenants(workload::Workload w) {
  Rng rng(17);
  for (Request& r : w.requests) {
    const std::uint64_t draw = rng.below(10);
    r.tenant = TenantId{draw < 6 ? 0u : draw < 9 ? 1u : 2u};
    r.priority = draw < 9 ? 1 : 0;
    r.weight = draw < 9 ? 1 : 2;
  }
  return w;
}

template <class System>
void add_tournament(std::vector<Run>& runs, const Setup& setup, const SharedWorkload& requests,
                    double rate) {
  Run run = named("tournament", label<System>, setup, requests->name);
  run.row.trace_sha256 = requests->provenance.sha256;
  run.row.axes.add("request_rate", rate).add("requests", requests->requests.size());
  run.measure = [=] { return judged(play<System>(setup, *requests, 0.0)); };
  runs.push_back(std::move(run));
}

/// Goodput: the highest rate at which nine requests in ten meet chat_slo, by bisection.
template <class System>
void add_goodput(std::vector<Run>& runs, const Options& options) {
  Setup setup = opt_13b_setup();
  setup.memory.host_bytes = std::int64_t{256} << 30;
  Run run = named("tournament_goodput", label<System>, setup, "sharegpt");
  const double seconds = options.pick(60.0, 200.0, 1200.0);
  run.row.axes.add("seconds", seconds).add("attainment", 0.9);
  run.measure = [=] {
    const auto attained = [&](double rate) {
      return play<System>(setup,
                          of_three_tenants(workload::sharegpt(poisson_for(rate, seconds, 0))), 0.0)
          .summary()
          .attainment;
    };
    const metrics::RateInterval found =
        metrics::highest_rate_between(attained, 0.9, 0.2, 3.4, 0.04);
    return metrics::JsonObject()
        .add("highest_rate", found.attains)
        .add("highest_rate_fails_at", found.fails);
  };
  runs.push_back(std::move(run));
}

std::vector<Run> make_runs(const Options& options) {
  using namespace scheduler;
  std::vector<Run> runs;
  for_each_type(
      type_list<Swapping, Under<Mlfq>, SwappingAhead<Mlfq>, Under<LearningToRank>, Under<Qoe>>{},
      [&]<class System>() { add_ladder<System>(runs, options, "sharegpt", 1.0, 3.5, 300); });
  add_ladder<Swapping>(runs, options, "alpaca", 20, 70, 200);
  add_ladder<Under<Mlfq>>(runs, options, "alpaca", 20, 70, 200);
  add_ladder<SwappingAhead<Mlfq>>(runs, options, "alpaca", 20, 70, 200);
  add_sarathi<Swapping>(runs, options, 0);
  add_sarathi<Under<ChunkedPrefill>>(runs, options, 512);
  add_sarathi<Under<ChunkedPrefill>>(runs, options, 2048);
  const std::vector<Client> overload{{1.5}, {3.0}};
  add_vtc<Swapping>(runs, options, "overload", overload);
  add_vtc<Under<Vtc>>(runs, options, "overload", overload);
  add_vtc<Under<PredictiveVtc>>(runs, options, "overload", overload);
  add_vtc<Under<WeightedVtc>>(runs, options, "weighted", {{0.8, 1}, {0.8, 2}, {1.2, 3}, {1.6, 4}});
  const auto contest = [&](Setup setup, workload::Workload requests, double rate) {
    setup.memory.host_bytes = std::int64_t{256} << 30;  // room for who is swapped, as in the ladder
    const auto shared =
        std::make_shared<const workload::Workload>(of_three_tenants(std::move(requests)));
    for_each_type(Schedulers{},
                  [&]<class System>() { add_tournament<System>(runs, setup, shared, rate); });
  };
  const double seconds = options.pick(60.0, 600.0, 3600.0);
  contest(opt_13b_setup(), workload::sharegpt(poisson_for(1.9, seconds, 0)), 1.9);
  for_each_type(Schedulers{}, [&]<class System>() { add_goodput<System>(runs, options); });
  // the conversation traces by their fitted generators, and by their files where those are given
  const std::size_t count = options.pick<std::size_t>(100, 1000, 4000);
  for (const RealTrace& trace : real_traces) {
    const double rate = tournament_rate(trace);
    const workload::GeneratorOptions how{.requests = count, .rate = rate};
    workload::Workload fitted;
    if (trace.name == "azure_conv") {
      fitted = workload::azure_conversation(how);
      fitted.name = "azure_fitted";
    } else if (trace.name == "mooncake_conversation") {
      fitted = workload::mooncake_conversation(how);
      fitted.name = "mooncake_fitted";
    } else {
      continue;
    }
    std::erase_if(fitted.requests, [&](const Request& r) {
      return r.prompt_length + *r.output_length >= trace.max_length;
    });
    contest(long_context_setup(model_for(trace)), std::move(fitted), rate);
  }
  if (options.traces.empty()) return runs;
  for (const auto& [trace, requests] : open_traces(options.traces)) {
    if (!requests.timed) continue;
    const double rate = tournament_rate(trace);
    const auto some = workload::first_requests(requests, count);
    contest(long_context_setup(model_for(trace)), workload::at_rate(some, rate), rate);
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "scheduling",
      "Schedulers: latency and quality of experience against rate, the tail between tokens, "
      "service\n"
      "of unequal clients, and every scheduler at one table.\n\n"
      "Examples:\n"
      "  scheduling --out rows.jsonl\n"
      "  scheduling --out rows.jsonl --filter vtc --scale smoke\n",
      quire::experiment::make_runs);
}
