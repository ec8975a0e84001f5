#include <quire/workload/generator.hpp>

#include <gtest/gtest.h>

namespace {

using quire::Tokens;
using namespace quire::workload;

Workload make(double rate, std::uint64_t seed) {
  return synthetic(UniformLength{1, 1000}, UniformLength{1, 1000},
                   {.requests = 200, .rate = rate, .seed = seed});
}

TEST(Generator, NumbersRequestsAndFixesTheirOutput) {
  const Workload w = make(3, 1);
  EXPECT_EQ(w.name, "synthetic");
  ASSERT_EQ(w.requests.size(), 200u);
  for (std::size_t i = 0; i < 200; ++i) {
    const auto& r = w.requests[i];
    EXPECT_EQ(r.id.value, i);
    EXPECT_EQ(r.sampling.max_tokens, *r.output_length);
    EXPECT_TRUE(r.sampling.ignore_eos);
    EXPECT_GE(r.arrival, w.requests[i == 0 ? 0 : i - 1].arrival);
  }
  EXPECT_EQ(w.provenance.seed, 1u);
}

TEST(Generator, LengthsDoNotChangeWithTheRate) {
  const Workload a = make(1, 4);
  const Workload b = make(8, 4);
  const Workload c = make(1, 5);
  std::size_t same = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    EXPECT_EQ(a.requests[i].prompt_length, b.requests[i].prompt_length);
    EXPECT_EQ(a.requests[i].output_length, b.requests[i].output_length);
    same += a.requests[i].prompt_length == c.requests[i].prompt_length;
  }
  EXPECT_LT(same, 10u);
}

TEST(Generator, AsksForSamplesAndBeams) {
  const auto samples = synthetic(FixedLength{4}, FixedLength{4}, {.requests = 1, .n = 6});
  EXPECT_EQ(samples.requests[0].sampling.width(), 6);
  EXPECT_EQ(samples.requests[0].sampling.beam_width, 0);
  const auto beams = synthetic(FixedLength{4}, FixedLength{4}, {.requests = 1, .beam_width = 4});
  EXPECT_EQ(beams.requests[0].sampling.width(), 4);
  EXPECT_EQ(beams.requests[0].sampling.n, 4);
}

TEST(Generator, RefusesWhatCannotBe) {
  const LengthDistribution one = FixedLength{1};
  EXPECT_THROW(static_cast<void>(synthetic(one, one, {.requests = 0})), quire::Error);
  EXPECT_THROW(static_cast<void>(synthetic(one, one, {.rate = 0})), quire::Error);
  EXPECT_THROW(static_cast<void>(synthetic(one, one, {.rate = -1})), quire::Error);
  EXPECT_THROW(static_cast<void>(synthetic(one, one, {.n = 0})), quire::Error);
  EXPECT_THROW(static_cast<void>(synthetic(FixedLength{0}, one)), quire::Error);
}

}  // namespace
