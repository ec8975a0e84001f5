#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <experiments/common/driver.hpp>
#include <experiments/quality/format.hpp>
#include <experiments/quality/lab.hpp>
#include <experiments/quality/subject.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/model/known_shapes.hpp>

/// KV formats: what they cost in quality, alone and against each other.
namespace quire::experiment {
namespace detail {

[[nodiscard]] inline metrics::JsonObject measure_kv(Subject& subject,
                                                    const quality::Format& format) {
  const std::shared_ptr<const Reading> r = subject.reading(format);
  const model::Shape& s = subject.model().config.shape;
  const double values = 2.0 * static_cast<double>(s.layers * s.kv_heads * s.head_dim);
  const double bits = 8 * r->pool_bytes_per_token() / values;
  metrics::JsonObject out = losses(subject, *r, format.codec->name, bits);
  out.add("bits_per_value", 8 *
                                format.token_bytes(static_cast<std::size_t>(s.layers),
                                                   static_cast<std::size_t>(s.kv_heads),
                                                   static_cast<std::size_t>(s.head_dim)) /
                                values)
      .add("pool_bytes_per_token", r->pool_bytes_per_token())
      .add("pool_bits_per_value", bits)
      .add("open_bytes", static_cast<std::int64_t>(r->open_bytes))
      .add("sequences_in_40gb_of_llama3_8b",
           quality::sequences_in(std::int64_t{40'000'000'000}, model::llama3_8b, *format.codec, 32,
                                 2048));
  return out;
}

/// axes: of its row
[[nodiscard]] inline Run kv_run(const SharedSubject& subject, metrics::JsonObject axes,
                                const quality::Format& format) {
  Run run;
  run.row.variant = format.codec->name;
  run.row.workload = subject->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes = std::move(axes);
  run.measure = [subject, format] { return measure_kv(*subject, format); };
  return run;
}

/// Two formats against each other on the same tokens.
[[nodiscard]] inline Run order_run(const SharedSubject& subject, metrics::JsonObject axes,
                                   const quality::Format& better, const quality::Format& worse) {
  Run run;
  run.row.variant = better.codec->name;
  run.row.workload = subject->texts_name();
  run.row.mode = metrics::Mode::measured;
  run.row.axes = std::move(axes);
  run.measure = [subject, better, worse] {
    return gap(*subject->reading(better), *subject->reading(worse),
               std::string(better.codec->name) + " better than " + std::string(worse.codec->name));
  };
  return run;
}

}  // namespace detail
}  // namespace quire::experiment
