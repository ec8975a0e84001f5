#include <quire/metrics/slo.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

using quire::Seconds;
using namespace quire::metrics;

/// Four tokens; the first after `first` seconds, then one every `gap`.
RequestRecord request(double first, double gap) {
  RequestRecord r;
  r.first_token = first;
  r.finished = first + 3 * gap;
  r.output_tokens = 4;
  return r;
}

TEST(Slo, AsksForEveryObjective) {
  const Slo slo{.ttft = 0.25, .tpot = 0.125};
  EXPECT_TRUE(meets(request(0.25, 0.09), slo));
  EXPECT_FALSE(meets(request(0.26, 0.09), slo));
  EXPECT_FALSE(meets(request(0.25, 0.25), slo));
  EXPECT_TRUE(meets(request(9, 9), Slo{}));
  EXPECT_FALSE(meets(request(0.2, 0.05), Slo{.e2el = 0.3}));
  RequestRecord failed = request(0.1, 0.01);
  failed.error = "rejected";
  EXPECT_FALSE(meets(failed, Slo{}));
  const std::vector<RequestRecord> all{request(0.2, 0.05), request(0.3, 0.05), failed,
                                       request(0.125, 0.125)};
  EXPECT_DOUBLE_EQ(slo_attainment(all, slo), 0.5);
  EXPECT_TRUE(std::isnan(slo_attainment({}, slo)));
}

TEST(Slo, ReadsTheWordsOfTheFlag) {
  const Slo slo = parse_slo(std::vector<std::string>{"ttft:200", "tpot:50.5"});
  EXPECT_EQ(slo.ttft, Seconds(0.2));
  EXPECT_EQ(slo.tpot, Seconds(0.0505));
  EXPECT_FALSE(slo.e2el.has_value());
  for (const char* bad :
       {"ttft", "ttft:", "ttft:x", "ttft:-1", "ttft:0", "ttft:nan", "itl:5", ""}) {
    EXPECT_THROW(static_cast<void>(parse_slo(std::vector<std::string>{bad})), quire::Error) << bad;
  }
  EXPECT_THROW(static_cast<void>(parse_slo(std::vector<std::string>{"ttft:5", "ttft:6"})),
               quire::Error);
}

TEST(Slo, GoodputIsTheLastRateOfTheUnbrokenLadder) {
  const std::vector<RatePoint> points{{1, 1.0}, {2, 0.95}, {3, 0.85}, {4, 0.92}};
  EXPECT_EQ(largest_rate(points, 0.9), 2);
  EXPECT_EQ(largest_rate(points, 0.5), 4);
  EXPECT_EQ(largest_rate(points, 1.1), 0);
  EXPECT_EQ(largest_rate(std::vector<RatePoint>{{1, std::nan("")}}, 0.5), 0);
}

TEST(HighestRate, IsFoundByBisection) {
  int runs = 0;
  const auto falls_at = [&runs](double edge) {
    return [&runs, edge](double rate) {
      ++runs;
      return rate <= edge ? 0.95 : 0.5;
    };
  };
  EXPECT_NEAR(highest_rate(falls_at(3.7), 0.9, 0.1, 100), 3.7, 0.04);
  EXPECT_LT(runs, 20);
  EXPECT_EQ(highest_rate(falls_at(0.01), 0.9, 0.1, 100), 0);
  EXPECT_EQ(highest_rate(falls_at(1000), 0.9, 0.1, 100), 100);
  EXPECT_THROW((void)highest_rate(falls_at(1), 0.9, 0, 100), quire::Error);
  EXPECT_THROW((void)highest_rate(falls_at(1), 0.9, 2, 1), quire::Error);
}

}  // namespace
