#include <experiments/common/cells.hpp>
#include <experiments/common/make_run.hpp>
#include <experiments/common/settings.hpp>

#include <set>
#include <string>

#include <gtest/gtest.h>

#include <quire/core/json.hpp>

namespace {

using namespace quire::experiment;

void set(Settings& s, std::string_view name, const std::string& value) {
  set_setting(s, *find_setting(name), value, "--" + std::string(name));
}
std::string error_of(std::string_view name, const std::string& value) {
  Settings s;
  try {
    set(s, name, value);
  } catch (const quire::Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    return error.what();
  }
  return {};
}

TEST(Settings, EveryFieldReadsBackWhatItWrites) {
  const Settings defaults;
  std::set<std::string_view> names;
  for (const SettingField& f : setting_fields()) {
    EXPECT_TRUE(names.insert(f.name).second) << f.name;
    const auto value = quire::json::parse(f.json(defaults), "value");
    std::string text;
    if (const auto* word = value.string()) {
      text = *word;
    } else if (const auto* whole = value.integer()) {
      text = std::to_string(*whole);
    } else {
      text = f.json(defaults);
    }
    Settings copy;
    set_setting(copy, f, text, "here");
    EXPECT_EQ(f.json(copy), f.json(defaults)) << f.name;
  }
  EXPECT_EQ(find_setting("nothing"), nullptr);
}

TEST(Settings, RefusesValuesWithTheNearest) {
  EXPECT_NE(error_of("workload", "sharegtp").find("expected sharegpt (the nearest)"),
            std::string::npos);
  EXPECT_NE(error_of("request_rate", "-1"), "");
  EXPECT_NE(error_of("request_rate", "nan"), "");
  EXPECT_EQ(error_of("request_rate", "inf"), "");
  EXPECT_NE(error_of("burstiness", "inf"), "");
  EXPECT_NE(error_of("watermark", "1.5"), "");
  EXPECT_NE(error_of("num_prompts", "0"), "");
  EXPECT_NE(error_of("num_prompts", "10x"), "");
  EXPECT_NE(error_of("num_prompts", "99999999999999999999"), "");
  EXPECT_NE(error_of("n", "2000"), "");
}

TEST(Settings, MakeTheWorkloadTheyName) {
  Settings s;
  set(s, "num_prompts", "20");
  set(s, "request_rate", "4");
  for (const char* name : {"sharegpt", "alpaca", "shared_prefix", "chat", "random"}) {
    set(s, "workload", name);
    const auto w = workload_of(s);
    EXPECT_EQ(w.requests.size(), 20u);
    EXPECT_GT(w.requests.back().arrival.value, 0) << name;
  }
  set(s, "range_ratio", "0.5");
  for (const auto& r : workload_of(s).requests) {
    EXPECT_GE(r.prompt_length.value, 512);
    EXPECT_LE(r.prompt_length.value, 1536);
  }
  set(s, "workload", "trace");
  EXPECT_THROW(static_cast<void>(workload_of(s)), quire::Error);
  set(s, "trace", QUIRE_SOURCE_DIR "/tests/golden/traces/azure.csv");
  set(s, "arrival", "trace");
  set(s, "request_rate", "inf");
  EXPECT_NEAR(workload_of(s).requests.back().arrival.value, 14.31941, 1e-9);
  set(s, "request_rate", "1");
  EXPECT_NEAR(workload_of(s).requests.back().arrival.value, 2, 1e-9);
  set(s, "trace", QUIRE_SOURCE_DIR "/tests/golden/traces/sarathi.csv");
  EXPECT_THROW(static_cast<void>(workload_of(s)), quire::Error);  // lengths alone
  set(s, "arrival", "even");
  EXPECT_EQ(workload_of(s).requests.back().arrival.value, 1);
  set(s, "workload", "sharegpt");
  EXPECT_THROW(static_cast<void>(workload_of(s)), quire::Error);  // a trace that is not read
}

TEST(Settings, NameModelsAndDevices) {
  Settings s;
  EXPECT_EQ(simulated_options(s).model.name, "opt_13b");
  s.model = "opt-13b";
  try {
    static_cast<void>(simulated_options(s));
    FAIL();
  } catch (const quire::Error& error) {
    EXPECT_NE(std::string(error.what()).find("opt_13b (the nearest)"), std::string::npos);
  }
  s.model = "opt_13b";
  s.hardware = "a100";
  EXPECT_THROW(static_cast<void>(simulated_options(s)), quire::Error);
}

TEST(Settings, OfASchedulerOfOnesOwnAreReadWhereItSaysSo) {
  RunVariant mine{.name = "mine"};
  mine.slots[detail::slot_index("scheduler")] = "of_my_own";
  const Settings s;
  EXPECT_EQ(unread_because("chunk_size", s, mine), "");  // who knows
  EXPECT_TRUE(may_be_unread("chunk_size", mine));
  EXPECT_FALSE(may_be_unread("max_num_seqs", mine));  // every engine reads it
  static constexpr std::string_view reads[] = {"max_batch"};
  mine.scheduler_reads = reads;
  EXPECT_NE(unread_because("chunk_size", s, mine), "");
  EXPECT_EQ(unread_because("max_batch", s, mine), "");
  EXPECT_FALSE(may_be_unread("chunk_size", mine));
  mine.slots[detail::slot_index("scheduler")] = "fcfs";
  mine.scheduler_reads.reset();
  EXPECT_FALSE(may_be_unread("chunk_size", mine));
}

}  // namespace
