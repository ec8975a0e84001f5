#include <quire/metrics/request_record.hpp>

#include <cmath>

#include <gtest/gtest.h>

namespace {

using quire::Seconds;
using quire::Tokens;
using namespace quire::metrics;

/// Arrives at 10, is scheduled at 11, gives tokens at 12, 12.5, 14 and 15.
RequestRecord four_tokens() {
  RequestRecord r;
  r.arrival = 10.0;
  r.first_scheduled = 11.0;
  r.first_token = 12.0;
  r.last_token = 15.0;
  r.finished = 15.0;
  r.token_times = {12, 12.5, 14, 15};
  r.prompt_tokens = 100;
  r.output_tokens = 4;
  return r;
}

TEST(RequestRecord, DefinesTheLatencies) {
  const RequestRecord r = four_tokens();
  EXPECT_EQ(ttft(r), Seconds(2.0));
  EXPECT_EQ(e2el(r), Seconds(5.0));
  EXPECT_EQ(tpot(r), Seconds(1.0));  // (5 - 2) / 3
  EXPECT_EQ(normalized_latency(r), Seconds(1.25));
  EXPECT_EQ(scheduling_delay(r), Seconds(1.0));
  EXPECT_EQ(inter_token_latencies(r), (std::vector<double>{0.5, 1.5, 1.0}));
}

TEST(RequestRecord, OneTokenHasNoTimePerToken) {
  RequestRecord r = four_tokens();
  r.output_tokens = 1;
  r.token_times = {12};
  EXPECT_TRUE(std::isnan(tpot(r).value));
  EXPECT_TRUE(inter_token_latencies(r).empty());
}

TEST(RequestRecord, SamplesOfOneRequestCountByTheirLength) {
  RequestRecord r = four_tokens();
  r.sequences = 4;
  r.output_tokens = 16;  // four of four tokens
  EXPECT_EQ(normalized_latency(r), Seconds(1.25));
  EXPECT_EQ(tpot(r), Seconds(1.0));
}

TEST(RequestRecord, IsTakenFromAFinishedGroup) {
  quire::SequenceGroup group;
  group.request.id = quire::RequestId{7};
  group.request.prompt_length = 30;
  group.timeline.arrival = 1.0;
  group.timeline.first_token = 2.0;
  group.timeline.finished = 4.0;
  group.timeline.preemptions = 2;
  group.sequences.resize(2);
  group.sequences[0].length = 35;
  group.sequences[1].length = 33;
  const RequestRecord r = record_of(group);
  EXPECT_EQ(r.id.value, 7u);
  EXPECT_EQ(r.output_tokens, Tokens(8));
  EXPECT_EQ(r.output_length(), 4);
  EXPECT_EQ(r.preemptions, 2);
  EXPECT_TRUE(r.completed());

  group.sequences[1].finish = quire::FinishReason::abort;
  EXPECT_EQ(record_of(group).error, "aborted");
  group.error = "too long";
  EXPECT_EQ(record_of(group).error, "too long");
}

}  // namespace
