#include <quire/workload/conversations.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace quire::workload {
namespace {

struct Seen {
  double input_mean, output_mean, input_median, output_median;
};

Seen look(const Workload& w) {
  std::vector<double> in, out;
  double ins = 0, outs = 0;
  for (const Request& r : w.requests) {
    ins += in.emplace_back(static_cast<double>(r.prompt_length.value));
    outs += out.emplace_back(static_cast<double>(r.output_length->value));
  }
  const auto middle = static_cast<std::ptrdiff_t>(in.size() / 2);
  std::nth_element(in.begin(), in.begin() + middle, in.end());
  std::nth_element(out.begin(), out.begin() + middle, out.end());
  const auto n = static_cast<double>(in.size());
  return {ins / n, outs / n, in[in.size() / 2], out[out.size() / 2]};
}

TEST(Conversations, HaveTheMeansAndMediansOfTheirTraces) {
  const Seen azure = look(azure_conversation({.requests = 100000, .seed = 1}));
  EXPECT_NEAR(azure.input_mean, 1154.7, 12);
  EXPECT_NEAR(azure.output_mean, 211.1, 3);
  EXPECT_NEAR(azure.input_median, 1020, 10);
  EXPECT_NEAR(azure.output_median, 129, 2);
  const Seen mooncake = look(mooncake_conversation({.requests = 100000, .seed = 1}));
  EXPECT_NEAR(mooncake.input_mean, 12035.1, 200);
  EXPECT_NEAR(mooncake.output_mean, 342.6, 4);
  EXPECT_NEAR(mooncake.input_median, 6909, 150);
  EXPECT_NEAR(mooncake.output_median, 350, 3);
}

TEST(Conversations, AzureArrivesALittleMoreInBurstsThanPoisson) {
  const auto variation = [](const Workload& w) {
    double sum = 0, squares = 0;
    for (std::size_t i = 1; i < w.requests.size(); ++i) {
      const double gap = (w.requests[i].arrival - w.requests[i - 1].arrival).value;
      sum += gap;
      squares += gap * gap;
    }
    const auto n = static_cast<double>(w.requests.size() - 1);
    return std::sqrt(squares / n / (sum / n * sum / n) - 1);
  };
  EXPECT_NEAR(variation(azure_conversation({.requests = 100000, .rate = 5, .seed = 2})), 1.09,
              0.02);
  EXPECT_NEAR(variation(mooncake_conversation({.requests = 100000, .rate = 5, .seed = 2})), 1.0,
              0.02);
  const Workload even =
      azure_conversation({.requests = 100, .rate = 5, .arrivals = EvenlySpaced{2}});
  EXPECT_DOUBLE_EQ(even.requests[10].arrival.value, 5.0);  // another process is left alone
}

}  // namespace
}  // namespace quire::workload
