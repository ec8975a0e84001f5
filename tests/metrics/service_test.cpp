#include <quire/metrics/service.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace quire::metrics {
namespace {

RequestRecord of(std::uint32_t tenant, std::int64_t prompt, std::vector<double> times) {
  RequestRecord r;
  r.tenant = TenantId{tenant};
  r.prompt_tokens = prompt;
  r.output_tokens = static_cast<std::int64_t>(times.size());
  r.first_token = times.front();
  r.last_token = r.finished = times.back();
  r.token_times = std::move(times);
  return r;
}

TEST(Service, CountsInputsAndOutputsWhenTheyAreServed) {
  const std::vector<RequestRecord> records{of(0, 10, {1, 2, 3}), of(1, 4, {1, 7}), of(1, 2, {9})};
  const auto service = service_over_time(records, 10.0, 5, {.input = 1, .output = 2});
  EXPECT_EQ(service.at(0), (std::vector<double>{12, 16, 16, 16, 16}));
  EXPECT_EQ(service.at(1), (std::vector<double>{6, 6, 6, 8, 12}));
  EXPECT_DOUBLE_EQ(service_difference(service), 10);
  EXPECT_DOUBLE_EQ(service_jain_index(service), 28.0 * 28 / (2 * (16 * 16 + 12 * 12)));
  EXPECT_EQ(service_difference({}), 0);
}

TEST(Service, SpeedsAreAlikeWhenTenantsWaitAlike) {
  // normalized latencies 1 (3 s for 3 tokens); 3.5 and 9, which make 6.25 in the mean
  const std::vector<RequestRecord> records{of(0, 10, {1, 2, 3}), of(1, 4, {1, 7}), of(1, 2, {9})};
  const double a = 1, b = 1 / 6.25;
  EXPECT_DOUBLE_EQ(speed_jain_index(records), (a + b) * (a + b) / (2 * (a * a + b * b)));
  const std::vector<RequestRecord> alike{of(0, 1000, {2, 4}),
                                         of(1, 1, {1, 2, 3, 4, 5, 6, 7, 8, 9, 20})};
  EXPECT_DOUBLE_EQ(speed_jain_index(alike), 1);
  EXPECT_TRUE(std::isnan(speed_jain_index({})));
}

}  // namespace
}  // namespace quire::metrics
