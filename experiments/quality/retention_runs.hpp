#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/quality/subject.hpp>
#include <quire/core/type_list.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/retention/h2o.hpp>
#include <quire/retention/streaming_llm.hpp>

/// Formats and retention together: does what a format costs change when a policy drops tokens?
namespace quire::experiment {
namespace detail {

template <class Policy>
struct Keeping : quality::Variant<kv_format::Fp32> {
  static constexpr std::string_view name = Policy::name;
  using Retention = Policy;
};

/// What a policy keeps: `sinks` are streaming_llm's alone.
struct Kept {
  std::int64_t budget = 64, sinks = 4;
};

template <class Policy>
[[nodiscard]] std::shared_ptr<const Reading> kept_reading(Subject& subject, const Kept& kept,
                                                          const quality::Format& format) {
  const std::string name = std::string(Policy::name) + " " + std::to_string(kept.budget) + " " +
                           std::to_string(kept.sinks) + " " + std::string(format.codec->name);
  return subject.reading(name, [&](const Subject::SharedReading& base) {
    quality::ReadOptions how;
    how.retention.budget = kept.budget;
    how.retention.sinks = kept.sinks;
    return quality::read_texts<Keeping<Policy>>(format, subject.model(), subject.texts(), base,
                                                how);
  });
}

/// interaction_percent: what both cost together beyond the policy's cost and the format's, on the same
/// tokens; 0 when the two add up.
template <class Policy>
[[nodiscard]] Run retention_run(const SharedSubject& subject, const Kept& what,
                                const quality::Format& format,
                                std::string_view part = "retention") {
  Run run;
  run.row.variant = std::string(Policy::name) + "+" + std::string(format.codec->name);
  run.row.workload = "stories";
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", part).add("retention", Policy::name).add("budget", what.budget);
  if (part == "sinks") run.row.axes.add("sinks", what.sinks);
  run.row.axes.add("kv_format", format.codec->name).add("weight_format", "fp32");
  run.measure = [subject, what, format] {
    const auto both = kept_reading<Policy>(*subject, what, format);
    const auto kept = kept_reading<Policy>(*subject, what, quality::format<kv_format::Fp32>());
    const auto packed = subject->reading(format);
    const auto base = subject->baseline();
    metrics::JsonObject out =
        losses(*subject, *both, std::string(Policy::name) + " + " + std::string(format.codec->name),
               format.token_bytes(1, 1, 64) * 8 / 128);
    const auto percent = [&](const std::string& name, const Interval& i) {
      out.add(name, as_percent(i.mean))
          .add(name + "_low", as_percent(i.low))
          .add(name + "_high", as_percent(i.high));
    };
    percent("format_cost_percent",
            quality::over_positions(*both, [&](std::size_t i, std::size_t p) {
              return static_cast<double>(both->nats[i][p]) - static_cast<double>(kept->nats[i][p]);
            }));
    percent(
        "interaction_percent", quality::over_positions(*both, [&](std::size_t i, std::size_t p) {
          return static_cast<double>(both->nats[i][p]) - static_cast<double>(kept->nats[i][p]) -
                 static_cast<double>(packed->nats[i][p]) + static_cast<double>(base->nats[i][p]);
        }));
    return out;
  };
  return run;
}

}  // namespace detail

/// Rows of two policies, with budgets of 64 tokens (and 128 when all are asked for), and four formats; and
/// of streaming_llm with fewer sinks.
inline void add_retention_runs(const SharedSubject& subject, bool all, std::vector<Run>& runs) {
  for_each_type(type_list<retention::StreamingLlm, retention::H2O>{}, [&]<class Policy>() {
    for (const std::int64_t budget : {64, 128}) {
      if (budget == 128 && !all) continue;
      for (const quality::Format& f :
           {quality::format<kv_format::Fp32>(), quality::format<kv_format::Int8PerTokenHead>(),
            quality::format<kv_format::Int4PerTokenHead>(),
            quality::format<kv_format::IntPerTokenHead<2>>()}) {
        runs.push_back(detail::retention_run<Policy>(subject, {.budget = budget}, f));
      }
    }
  });
  // Without the first tokens, and with one or four of them.
  for (const std::int64_t sinks : {0, 1, 4}) {
    for (const quality::Format& f :
         {quality::format<kv_format::Fp32>(), quality::format<kv_format::Int4PerTokenHead>()}) {
      runs.push_back(detail::retention_run<retention::StreamingLlm>(
          subject, {.budget = 64, .sinks = sinks}, f, "sinks"));
    }
  }
}

}  // namespace quire::experiment
