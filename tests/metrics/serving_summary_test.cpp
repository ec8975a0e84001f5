#include <quire/metrics/serving_summary.hpp>

#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace quire::metrics;

std::vector<RequestRecord> three_requests() {
  RequestRecord a;  // first token after 1 s, then two gaps of 0.5 s
  a.first_scheduled = 0.5;
  a.first_token = 1.0;
  a.finished = 2.0;
  a.token_times = {1, 1.5, 2};
  a.prompt_tokens = 100;
  a.output_tokens = 3;
  a.preemptions = 1;
  RequestRecord b = a;  // one token after 3 s
  b.arrival = 1.0;
  b.first_scheduled = 3.5;
  b.first_token = b.finished = 4.0;
  b.token_times = {4};
  b.prompt_tokens = 50;
  b.output_tokens = 1;
  b.preemptions = 0;
  RequestRecord c;
  c.error = "the prompt is empty";
  return {a, b, c};
}

std::map<std::string, double> values_of(const ServingSummary& s) {
  std::map<std::string, double> out;
  for (const auto& [name, value] : named_values(s)) out[name] = value;
  return out;
}

TEST(ServingSummary, CarriesTheNamesOfTheField) {
  auto v = values_of(summarize(three_requests(), 10.0));
  EXPECT_EQ(v.at("completed"), 2);
  EXPECT_EQ(v.at("failed"), 1);
  EXPECT_EQ(v.at("duration"), 10);
  EXPECT_EQ(v.at("total_input_tokens"), 150);
  EXPECT_EQ(v.at("total_output_tokens"), 4);
  EXPECT_DOUBLE_EQ(v.at("request_throughput"), 0.2);
  EXPECT_DOUBLE_EQ(v.at("output_throughput"), 0.4);
  EXPECT_DOUBLE_EQ(v.at("total_token_throughput"), 15.4);
  EXPECT_DOUBLE_EQ(v.at("mean_ttft_ms"), 2000);
  EXPECT_DOUBLE_EQ(v.at("median_ttft_ms"), 2000);
  EXPECT_DOUBLE_EQ(v.at("std_ttft_ms"), 1000);
  EXPECT_DOUBLE_EQ(v.at("p99_ttft_ms"), 2980);
  EXPECT_DOUBLE_EQ(v.at("mean_tpot_ms"), 500);  // of the one request that has a TPOT
  EXPECT_DOUBLE_EQ(v.at("mean_itl_ms"), 500);
  EXPECT_DOUBLE_EQ(v.at("mean_e2el_ms"), 2500);
  EXPECT_DOUBLE_EQ(v.at("mean_scheduling_delay_ms"), 1500);
  EXPECT_DOUBLE_EQ(v.at("mean_normalized_latency_s"), (2.0 / 3 + 3) / 2);
  EXPECT_EQ(v.at("preemptions"), 1);
  EXPECT_TRUE(std::isnan(v.at("request_goodput")));
}

TEST(ServingSummary, GoodputCountsFailuresAsMissed) {
  auto v = values_of(summarize(three_requests(), 10.0, {.ttft = 2.0}));
  EXPECT_DOUBLE_EQ(v.at("slo_attainment"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(v.at("request_goodput"), 0.1);
}

TEST(ServingSummary, TakesOtherPercentiles) {
  const double wanted[] = {50, 99.9};
  std::map<std::string, double> v;
  for (const auto& [name, value] : named_values(summarize(three_requests(), 10.0), wanted)) {
    v[name] = value;
  }
  EXPECT_TRUE(v.contains("p99.9_ttft_ms"));
  EXPECT_DOUBLE_EQ(v.at("p50_ttft_ms"), 2000);
  EXPECT_FALSE(v.contains("p99_ttft_ms"));
}

TEST(ServingSummary, PrintsVllmsBlock) {
  std::ostringstream out;
  out << summarize(three_requests(), 10.0);
  const std::string text = out.str();
  EXPECT_NE(text.find("============ Serving Benchmark Result ============\n"), std::string::npos);
  EXPECT_NE(text.find("Successful requests:                    2\n"), std::string::npos);
  EXPECT_NE(text.find("Mean TTFT (ms):                         2000.00\n"), std::string::npos);
  EXPECT_NE(text.find("Failed requests:                        1\n"), std::string::npos);
  EXPECT_EQ(text.find("nan"), std::string::npos);
  std::ostringstream nothing;
  nothing << summarize({}, 1.0);
  EXPECT_EQ(nothing.str().find("nan"), std::string::npos);
}

}  // namespace
