#include <quire/metrics/result_row.hpp>

#include <string>

#include <gtest/gtest.h>

#include <quire/core/json.hpp>

namespace {

using namespace quire::metrics;

ResultRow row() {
  ResultRow r;
  r.experiment = "batching";
  r.variant = "vllm";
  r.workload = "sharegpt";
  r.seed = 3;
  r.axes.add("request_rate", 2.0).add("block_size", 16);
  r.mode = Mode::simulated;
  r.metrics.add("mean_ttft_ms", 12.5);
  return r;
}

TEST(ResultRow, IsOneLineOfTheSchema) {
  const std::string line = row().line();
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto value = quire::json::parse(line, "row");
  const auto* o = value.object();
  EXPECT_EQ(*o->find("schema")->string(), "quire.result/1");
  EXPECT_EQ(*o->find("variant")->string(), "vllm");
  EXPECT_EQ(*o->find("mode")->string(), "simulated");
  EXPECT_EQ(*o->find("block_size")->integer(), 16);
  EXPECT_EQ(*o->find("mean_ttft_ms")->number(), 12.5);
  EXPECT_TRUE(*o->find("provenance")->object()->find("simulated")->boolean());
}

TEST(ResultRow, TheIdNamesTheCellAndNotItsOutcome) {
  const std::string id = row().run_id();
  EXPECT_EQ(id.size(), 16u);
  ResultRow other = row();
  other.metrics.add("more", 1);
  other.mode = Mode::measured;
  EXPECT_EQ(other.run_id(), id);
  other.seed = 4;
  EXPECT_NE(other.run_id(), id);
  other = row();
  other.axes.add("model", "opt_13b");
  EXPECT_NE(other.run_id(), id);
  other = row();
  other.trace_sha256 = "00";
  EXPECT_NE(other.run_id(), id);
}

}  // namespace
