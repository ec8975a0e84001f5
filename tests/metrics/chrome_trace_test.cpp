#include <quire/metrics/chrome_trace.hpp>

#include <gtest/gtest.h>

#include <quire/core/json.hpp>

#include "tests/common/temp_file.hpp"

namespace {

using quire::metrics::ChromeTrace;
using quire::metrics::JsonObject;
using quire::testing::TempDir;

TEST(ChromeTrace, IsValidJsonWithMicroseconds) {
  const TempDir folder;
  const auto path = folder.path() / "trace.json";
  {
    ChromeTrace trace(path);
    trace.name_process(1, "vllm \"quoted\"");
    trace.name_track(1, 7, "sequence 7");
    trace.span(1, 7, "prefill", 0.5, 0.25, JsonObject().add("tokens", 512));
    trace.instant(1, 7, "preempted", 0.75);
    trace.counter(1, "KV blocks", 0.75, JsonObject().add("used", 3).add("free", 1));
    trace.close();
    trace.close();
  }
  const auto value = quire::json::parse(quire::testing::read_file(path), "trace");
  const auto& events = *value.object()->find("traceEvents")->array();
  ASSERT_EQ(events.size(), 5u);
  const auto* span = events[2].object();
  EXPECT_EQ(*span->find("ph")->string(), "X");
  EXPECT_EQ(*span->find("ts")->number(), 500000);
  EXPECT_EQ(*span->find("dur")->number(), 250000);
  EXPECT_EQ(*span->find("tid")->integer(), 7);
  EXPECT_EQ(*span->find("args")->object()->find("tokens")->integer(), 512);
  EXPECT_EQ(*events[4].object()->find("ph")->string(), "C");
}

TEST(ChromeTrace, WithoutEventsOrCloseItIsStillJson) {
  const TempDir folder;
  const auto path = folder.path() / "trace.json";
  { ChromeTrace trace(path); }
  EXPECT_NO_THROW(static_cast<void>(quire::json::parse(quire::testing::read_file(path), "trace")));
  EXPECT_THROW(ChromeTrace("/proc/quire/trace.json"), quire::Error);
}

}  // namespace
