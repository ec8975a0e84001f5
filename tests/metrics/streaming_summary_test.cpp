#include <quire/metrics/streaming_summary.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/metrics/serving_summary.hpp>

namespace quire::metrics {
namespace {

std::vector<RequestRecord> some_records() {
  Rng rng(2);
  std::vector<RequestRecord> records;
  for (int i = 0; i < 3000; ++i) {
    RequestRecord r;
    r.arrival = 0.01 * i;
    r.first_scheduled = r.arrival + Seconds{rng.exponential(0.2)};
    r.first_token = r.first_scheduled + Seconds{0.1 + rng.exponential(0.2)};
    r.token_times = {r.first_token.value};
    for (std::uint64_t t = rng.below(30); t > 0; --t) {
      r.token_times.push_back(r.token_times.back() + 0.01 + rng.exponential(0.02));
    }
    r.last_token = r.finished = r.token_times.back();
    r.prompt_tokens = 100;
    r.output_tokens = static_cast<std::int64_t>(r.token_times.size());
    r.preemptions = i % 7 == 0;
    if (i % 50 == 0) r.error = "rejected";
    records.push_back(std::move(r));
  }
  return records;
}

TEST(StreamingSummary, SaysWhatTheSummaryOfAllRecordsSays) {
  const auto records = some_records();
  const Slo slo{.ttft = 0.5, .tpot = 0.04};
  StreamingSummary half, rest;
  half.slo = rest.slo = slo;
  for (std::size_t i = 0; i < records.size(); ++i) (i % 2 == 0 ? half : rest).add(records[i]);
  half.merge(rest);
  const double percentiles[] = {90, 99};
  std::map<std::string, double> streamed;
  for (const auto& [name, value] : named_values(half, 30.0, percentiles)) streamed[name] = value;
  const auto exact = named_values(summarize(records, 30.0, slo), percentiles);
  ASSERT_EQ(exact.size(), streamed.size());
  for (const auto& [name, value] : exact) {
    ASSERT_TRUE(streamed.contains(name)) << name;
    EXPECT_NEAR(streamed[name], value, 0.005 * std::abs(value) + 1e-9) << name;
  }
}

TEST(StreamingSummary, GivesNoNumberWithoutAnObjective) {
  StreamingSummary s;
  std::map<std::string, double> values;
  for (const auto& [name, value] : named_values(s, 1.0)) values[name] = value;
  EXPECT_TRUE(std::isnan(values.at("request_goodput")));
  EXPECT_TRUE(std::isnan(values.at("mean_ttft_ms")));
}

}  // namespace
}  // namespace quire::metrics
