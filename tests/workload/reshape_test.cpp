#include <quire/workload/reshape.hpp>

#include <cmath>

#include <gtest/gtest.h>

#include <quire/workload/generator.hpp>

namespace {

using quire::Seconds;
using namespace quire::workload;

Workload three(double a, double b, double c) {
  Workload w;
  w.name = "three";
  for (const double t : {a, b, c}) w.requests.push_back({.arrival = t});
  return w;
}

TEST(Reshape, StretchesAPatternToARate) {
  const Workload w = at_rate(three(10, 11, 14), 4.0);  // two gaps in 4 s were 0.5 a second
  EXPECT_EQ(w.requests[0].arrival, Seconds(0.0));
  EXPECT_EQ(w.requests[1].arrival, Seconds(0.125));
  EXPECT_EQ(w.requests[2].arrival, Seconds(0.5));
  EXPECT_EQ(arrival_rate(w), 4.0);
  EXPECT_THROW(static_cast<void>(at_rate(three(0, 0, 0), 4.0)), quire::Error);
  EXPECT_THROW(static_cast<void>(at_rate(three(0, 1, 2), 0)), quire::Error);
}

TEST(Reshape, DrawsArrivalsAnew) {
  Workload w = three(0, 0, 0);
  w.timed = false;
  const Workload timed = with_arrivals(w, EvenlySpaced{2.0}, 3);
  EXPECT_TRUE(timed.timed);
  EXPECT_EQ(timed.requests[2].arrival, Seconds(1.0));
  EXPECT_EQ(timed.provenance.seed, 3u);
}

TEST(Reshape, TakesTheFirstAndAsksForSamples) {
  EXPECT_EQ(first_requests(three(0, 1, 2), 2).requests.size(), 2u);
  EXPECT_EQ(first_requests(three(0, 1, 2), 9).requests.size(), 3u);
  EXPECT_EQ(with_samples(three(0, 1, 2), 4).requests[1].sampling.n, 4);
  EXPECT_EQ(with_samples(three(0, 1, 2), 1, 6).requests[1].sampling.width(), 6);
  EXPECT_THROW(static_cast<void>(with_samples(three(0, 1, 2), 0)), quire::Error);
  EXPECT_TRUE(std::isinf(arrival_rate(three(5, 5, 5))));
}

}  // namespace
