// The quire program as a user meets it. QUIRE_COMMAND and QUIRE_USER_COMMAND are its paths.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/core/json.hpp>
#include <quire/metrics/row_file.hpp>

#include "tests/experiments/command.hpp"

#if defined(QUIRE_COMMAND)  // not built where QUIRE_EXPERIMENTS is off

namespace {

using quire::metrics::read_rows;
using quire::testing::Ran;
using quire::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::Not;
using Words = std::vector<std::string>;

Ran quire_command(const Words& words) { return quire::testing::run_program(QUIRE_COMMAND, words); }
/// A run that takes a fraction of a second.
Words short_run(Words more) {
  Words words{"run", "--num-prompts", "20", "--request-rate", "4"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}
std::string text(const quire::json::Value& object, std::string_view name) {
  const auto* member = object.object()->find(name);
  return member == nullptr || member->string() == nullptr ? "" : *member->string();
}

TEST(QuireCommand, HelpAndVersionGoToStdout) {
  for (const Words& words : {Words{"--help"},
                             {"run", "--help"},
                             {"sweep", "run", "--help"},
                             {"list", "-h"},
                             {"--version"}}) {
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, 0);
    EXPECT_FALSE(ran.out.empty());
    EXPECT_EQ(ran.err, "");
  }
  EXPECT_THAT(quire_command({"--help"}).out, HasSubstr("Examples:"));
  EXPECT_THAT(quire_command({"run", "--help"}).out, HasSubstr("--request-rate"));
}

TEST(QuireCommand, WrongUsageIsTwoAndNamesTheNearest) {
  const auto refused = [](const Words& words, const std::string& nearest) {
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, 2) << words.back();
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, HasSubstr(nearest));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  };
  refused({"lst"}, "expected list (the nearest)");
  refused({"run", "--variannt", "vllm"}, "expected --variant (the nearest)");
  refused({"run", "--variant", "vlm"}, "expected vllm (the nearest)");
  refused({"run", "--axis", "evictoin=[lru]"}, "expected eviction (the nearest)");
  refused({"run", "--axis", "eviction=[lruu]"}, "expected lru (the nearest)");
  refused({"run", "--axis", "model=[opt_12b]"}, "expected opt_13b (the nearest)");
  refused({"run", "--workload", "sharegtp"}, "expected sharegpt (the nearest)");
  refused({"run", "--model", "opt13b"}, "expected opt_13b (the nearest)");
  refused({"run", "--hardware", "a100-40gb"}, "expected a100_40gb (the nearest)");
  refused({"run", "--format", "jsn"}, "expected json (the nearest)");
  refused({"run", "--kv-format", "fp32"}, "expected --axis kv_format=NAME");
  refused({"run", "--num-prompts", "many"}, "--num-prompts");
  refused({"run", "--num-prompts"}, "--num-prompts");
  refused({"run", "--filter", "("}, "is not a regular expression");
  refused({"run", "--goodput", "ttft"}, "ttft:MS");
  refused({"run", "--shard", "5/4"}, "i from 1 to n");
  refused({"run", "--resume"}, "--out");
  refused({"run", "no_such_experiment"}, "unknown experiment");
  refused({"run", "--trace", "x"}, "does not read");
  refused({"sweep", "run", "--out", "x", "--index", "4", "--count", "4"}, "from 0 to count - 1");
  refused({"run", "--axis", "seed=[1,2]", "--chrome-trace", "x"}, "needs one run");
  refused({"run", "--hardware", "a100"}, "expected a100_40gb (the nearest)");
  refused({"run", "--model", "something_else"}, "expected one of");
  refused({"run", "--max-model-len", "99999"}, "at most 2048");
  refused({"run", "--tensor-parallel-size", "3"}, "the 40 heads of opt_13b");
  refused({"run", "--executor", "cpu"}, "--model DIR");
  refused({"run", "--variant", "vllm+speculation=draft_model", "--draft-model", "llama_7b"},
          "two models with one vocabulary");
  refused({"generate", "x", "-p", "y", "--speculation", "draft_model"}, "--draft DIR");
  refused({"generate", "x", "-p", "y", "--draft", "z"}, "--speculation is none");
  refused({"random-model", "x", "--shape", "llama_1_1"}, "expected llama_1_1b (the nearest)");
  refused({"run", "--out", "-"}, "--format jsonl");
  refused({"run", "--repetitions", "3"}, "--axis seed=[0:2]");
  refused({"sweep", "plan", "--label", "x"}, "runs nothing and writes no rows");
  refused({"sweep", "collect"}, "quire sweep collect --help");
  refused({"sweep", "run", "--out", "x", "--bad-flag"}, "quire sweep run: unknown flag");
}

TEST(QuireCommand, WhatIsSaidTwiceIsRefused) {
  const auto refused = [](const Words& words, const std::string& why) {
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, 2) << words.back();
    EXPECT_THAT(ran.err, HasSubstr(why));
  };
  refused({"run", "--axis", "seed=[0:1]", "--axis", "seed=[2:3]"}, "is given twice");
  refused({"run", "--axis", "seed=[1,1]"}, "has \"1\" twice");
  refused({"run", "--axis", "request_rate=[1,1.0]"}, "has \"1.0\" twice");
  refused({"run", "--axis", "eviction=[lru,lru]"}, "has \"lru\" twice");
  refused({"run", "--axis", "seed=[0:1]", "--seed", "3"}, "exclude each other");
  refused({"run", "--variant", "vllm,vllm"}, "has vllm twice");
}

TEST(QuireCommand, SettingsThatChangeNothingAreRefused) {
  const auto refused = [](const Words& words, const std::string& why) {
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, 2) << words.back();
    EXPECT_THAT(ran.err, HasSubstr("changes nothing here: " + why));
  };
  refused({"run", "--input-len", "500"}, "it is of --workload random");
  refused({"run", "--axis", "input_len=[1,2]"}, "it is of --workload random");
  refused({"run", "--prefix-len", "5"}, "it is of --workload shared_prefix");
  refused({"run", "--context", "5"}, "it is of --workload chat");
  refused({"run", "--variant", "vllm", "--axis", "chunk_size=[1,2]"}, "it is of the scheduler");
  refused({"run", "--variant", "sarathi", "--max-num-batched-tokens", "5000"}, "chunked_prefill");
  refused({"run", "--variant", "orca_max", "--watermark", "0.1"}, "a contiguous reservation");
  refused({"run", "--burstiness", "2", "--request-rate", "1"}, "it is of --arrival gamma");
  refused({"run", "--arrival", "even"}, "all requests come at once");
  refused({"run", "--arrival", "saturated", "--request-rate", "1"}, "--arrival saturated");
  refused({"run", "--threads", "2"}, "it is of --executor cpu");
  for (const char* flag : {"--tensor-parallel-size", "--gpu-memory-utilization"}) {
    refused({"run", "--executor", "cpu", "--model", "x", flag, "1"}, "");
  }
  refused({"run", "--executor", "cpu", "--model", "x", "--hardware", "a100_40gb"}, "the machine");
  // One variant of two reads it: the other runs once, whatever the values.
  const Ran both = quire_command(
      {"run", "--variant", "vllm,sarathi", "--axis", "chunk_size=[128,256]", "--dry-run"});
  EXPECT_THAT(both.out, HasSubstr("3 runs\n")) << both.err;
}

/// The only row of a run that prints it.
quire::json::Value row_of(const Ran& ran) { return quire::json::parse(ran.out, "row"); }
double number(const quire::json::Value& row, std::string_view name) {
  const auto* member = row.object()->find(name);
  return member == nullptr || !member->number() ? -1 : *member->number();
}

TEST(QuireCommand, RowsHaveTheSettingsThatWereReadAndWhatTheyCameTo) {
  const auto row = row_of(quire_command(short_run({"--format", "jsonl"})));
  for (const char* unread : {"input_len", "prefix_len", "context", "jitter", "burstiness",
                             "threads", "max_batch", "chunk_size", "max_delay_ms"}) {
    EXPECT_EQ(row.object()->find(unread), nullptr) << unread;
  }
  EXPECT_EQ(number(row, "max_num_batched_tokens"), 2560);  // as the paper has it, for OPT
  EXPECT_EQ(number(row, "requests"), 20);
  const auto longer = row_of(quire_command(
      short_run({"--model", "llama3_8b", "--hardware", "a100_80gb", "--format", "jsonl"})));
  EXPECT_EQ(number(longer, "max_num_batched_tokens"), 8192);  // vLLM: at least the model's length
}

TEST(QuireCommand, ARunAloneCanBeRunAgainFromItsRow) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows").string();
  ASSERT_EQ(
      quire_command({"run", "--variant", "vllm_prefix_cache", "--axis", "eviction=[lru,sieve]",
                     "--axis", "seed=[3,4]", "--num-prompts", "10", "--goodput", "ttft:200",
                     "--metric-percentiles", "50,99.9", "--out", out, "-q"})
          .exit_code,
      0);
  const auto rows = read_rows(out);
  ASSERT_EQ(rows.size(), 4u);
  const auto row = quire::json::parse(rows[3], "row");
  Words words;
  std::istringstream line(text(row, "rerun"));
  for (std::string word; line >> word;) words.push_back(word);
  ASSERT_GT(words.size(), 4u);
  words.erase(words.begin());  // the program
  const Ran again = quire_command(words);
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(text(row_of(again), "run_id"), text(row, "run_id"));
  EXPECT_EQ(text(row_of(again), "decision_hash"), text(row, "decision_hash"));
}

TEST(QuireCommand, WhatFailedIsSaid) {
  const Words all{"run", "--workload", "random", "--input-len", "5000", "--num-prompts", "10"};
  const auto with = [&all](const Words& more) {
    Words words = all;
    words.insert(words.end(), more.begin(), more.end());
    return quire_command(words);
  };
  const Ran none = with({});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("10 of 10 requests failed: 10: the prompt has 5000 tokens"));
  EXPECT_THAT(none.out, Not(HasSubstr("nan")));
  EXPECT_THAT(with({"-q"}).err, HasSubstr("10 of 10 requests failed"));
  const auto row = row_of(with({"--format", "jsonl"}));
  EXPECT_EQ(number(row, "failed"), 10);
  EXPECT_THAT(text(row, "failures"), HasSubstr("10: the prompt has 5000 tokens"));

  const Words some{"run", "--workload",    "random", "--input-len",  "2000", "--range-ratio",
                   "0.5", "--num-prompts", "20",     "--output-len", "4",    "--seed",
                   "1"};
  const Ran part = quire_command(some);
  EXPECT_EQ(part.exit_code, 0);
  EXPECT_THAT(part.err, HasSubstr("of 20 requests failed: "));
  Words table = some;
  table.insert(table.end(), {"--format", "md"});
  EXPECT_THAT(quire_command(table).out, HasSubstr(" failed "));
  EXPECT_THAT(quire_command(short_run({"--format", "md"})).out, Not(HasSubstr(" failed ")));
}

TEST(QuireCommand, PromptsLongerThanAStepAreSaid) {
  const Words words{"run", "--workload",    "random", "--input-len", "1000", "--output-len",
                    "4",   "--num-prompts", "6"};
  EXPECT_EQ(quire_command(words).err, "");
  Words small = words;
  small.insert(small.end(), {"--max-num-batched-tokens", "500", "--format", "jsonl"});
  const Ran ran = quire_command(small);
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr("6 prompts longer than --max-num-batched-tokens 500"));
  EXPECT_EQ(number(row_of(ran), "prompts_over_budget"), 6);
}

TEST(QuireCommand, AnswersThatTheModelsLengthCutsAreSaid) {
  const Ran ran = quire_command({"run", "--workload", "random", "--input-len", "2040",
                                 "--output-len", "500", "--num-prompts", "3", "--format", "jsonl"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr("3 answers cut short"));
  EXPECT_THAT(ran.err, HasSubstr("the 2048 tokens of a sequence"));
  EXPECT_THAT(ran.out, HasSubstr("\"outputs_cut\": 3"));
  EXPECT_EQ(quire_command(short_run({})).err, "");
}

TEST(QuireCommand, ReportsSayWhatRanAndTracesWhatWasLeftOut) {
  EXPECT_THAT(quire_command(short_run({})).out,
              HasSubstr("vllm: opt_13b on a100_40gb; sharegpt, 20 requests, poisson arrivals at "
                        "4/s, seed 0; simulated\n"));
  EXPECT_THAT(quire_command(short_run({})).out, HasSubstr("% free"));
  const TempDir folder;
  const std::string trace =
      folder.write("mine.csv", "input,output\n10,5\n0,5\n10,0\n10,5\n").string();
  const Ran ran = quire_command({"run", "--workload", "trace", "--trace", trace});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("mine, 2 requests"));
  EXPECT_THAT(ran.err, HasSubstr("2 lines of the trace without input or without output"));
  const std::string wrong =
      folder.write("wrong.csv", "arrival_time,input,output\n0,1,1\n").string();
  EXPECT_THAT(quire_command({"run", "--workload", "trace", "--trace", wrong}).err,
              HasSubstr("unknown column \"arrival_time\"; expected columns input and output, and "
                        "any of arrival, n, "));
  // Columns are called what they are in the file, not what flags are called that mean the same.
  EXPECT_THAT(quire_command({"run", "--workload", "trace", "--trace", wrong}).err,
              HasSubstr(", beam_width, prefix, "));
  // What can be read once alone is refused before it is read to an end that may never come.
  const Ran endless = quire_command({"run", "--workload", "trace", "--trace", "/dev/zero"});
  EXPECT_EQ(endless.exit_code, 1);
  EXPECT_THAT(endless.err, HasSubstr("/dev/zero: is a pipe or a device"));
}

TEST(QuireCommand, ASweepShowsWhatItsAxisDecides) {
  for (const char* axis : {"eviction=[lru,sieve]", "admission=[always,tiny_lfu]"}) {
    const Ran ran = quire_command({"run", "--variant", "vllm_prefix_cache", "--workload",
                                   "shared_prefix", "--num-prompts", "10", "--axis", axis});
    EXPECT_THAT(ran.out, HasSubstr("hit_rate")) << axis;
    EXPECT_THAT(ran.out, HasSubstr("evictions")) << axis;
  }
  const Ran other = quire_command({"run", "--variant", "vllm", "--axis", "eviction=[sieve]"});
  EXPECT_EQ(other.exit_code, 3);
  EXPECT_THAT(other.err, HasSubstr("the axis is compiled for vllm_prefix_cache"));
}

TEST(QuireCommand, SimulatesTheShapeOfACheckpoint) {
  const std::string stories = QUIRE_SOURCE_DIR "/experiments/small_models/checkpoints/stories";
  const auto row = row_of(quire_command({"run", "--model", stories, "--num-prompts", "5",
                                         "--workload", "alpaca", "--format", "jsonl"}));
  EXPECT_EQ(text(row, "model"), "stories");
  EXPECT_EQ(text(row, "model_hash").size(), 16u);
  EXPECT_EQ(text(row, "mode"), "simulated");
}

TEST(QuireCommand, NothingMatchedIsThree) {
  for (const Words& words : {Words{"list", "--filter", "nothing_like_it"},
                             {"run", "--filter", "nothing_like_it"},
                             {"run", "--axis", "eviction=[sieve]", "--axis", "block_size=[2]"}}) {
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, 3);
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1);
  }
}

TEST(QuireCommand, ARunThatFailsIsOne) {
  EXPECT_EQ(quire_command({"run", "--model", "opt_175b"}).exit_code, 1);  // does not fit
  EXPECT_EQ(quire_command({"run", "--workload", "trace", "--trace", "/none"}).exit_code, 1);
  EXPECT_EQ(quire_command({"run", "--num-prompts", "20", "--out", "/proc/x/rows"}).exit_code, 1);
}

TEST(QuireCommand, ARunThatFailsLeavesNoFileBehind) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows").string();
  EXPECT_EQ(quire_command({"run", "--model", "opt_175b", "--out", out}).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(out));
  folder.write("notes", "some text");
  const std::string notes = (folder.path() / "notes").string();
  EXPECT_EQ(quire_command({"run", "--num-prompts", "2", "--out", notes, "--append"}).exit_code, 1);
  EXPECT_EQ(quire::testing::read_file(notes), "some text");
}

#if !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)  // which take addresses themselves
TEST(QuireCommand, ARunThatDoesNotFitIntoThisMachineFails) {
  const Ran ran = quire::testing::run_program(
      "/bin/sh", {"-c", "ulimit -v 4000000; exec " QUIRE_COMMAND
                        " run --model opt_125m --num-prompts 5 --swap-space-gib 1048576"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("does not fit into this machine's memory; expected fewer"));
}
#endif

TEST(QuireCommand, NumbersOutOfRangeAreSaidInPlainWords) {
  const auto refused = [](const Words& words, const std::string& says) {
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, 2) << words.back();
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, HasSubstr(says));
    EXPECT_LT(ran.err.size(), 300u) << ran.err;
  };
  refused({"run", "--jobs", "0"},
          "--jobs: \"0\" is out of range or no number; expected a whole "
          "number from 1 to 1024");
  refused({"run", "--timeout", "0"}, "expected a positive number");
  refused({"run", "--seed", "1", "--seed", "2"}, "--seed is given 2 times; expected it once");
  refused({"run", "--variant"}, "--variant has no value; expected one");
  // as "$OUT" is where nobody has set it
  refused({"run", "--out", ""}, "--out: \"\" is no path");
  refused({"run", "--out="}, "--out");
  refused({"run", "--chrome-trace", ""}, "--chrome-trace: \"\" is no path");
  refused({"run", "--trace", ""}, "--trace: \"\" is no value");
  refused({"run", "--timeout", "nan"}, "expected a positive number");
  refused({"run", "--metric-percentiles", "50,nan"}, "\"nan\" is out of range");
  refused({"run", "--metric-percentiles", "99,50,99"}, "--metric-percentiles: has 99 twice");
  refused({"run", "--goodput", "ttft:5", "ttft:6"}, "ttft:6: is a second ttft");
  refused({"run", "--attainment", "nan"}, "expected a share from 0 to 1");
  refused({"run", "--swap-space-gib", "1e300"}, "expected 0 to 1048576 GiB");
  refused({"run", "--kv-memory-gib", "1e300"}, "expected 0 to 1048576 GiB");
  refused({"run", "--axis", "seed=[0:9"}, "has one bracket of two");
  refused({"run", "--n", "3", "--beam-width", "4"}, "changes nothing here: a beam search");
  refused({"run", "--hardware", "/none.txt"}, "a .json of `quire calibrate`");
  refused({"compare", "x", "--format", "xml"}, "expected one of text, md, csv, jsonl");
  refused({"compare"}, "expected what `quire compare --help` says");
  refused({"random-model", QUIRE_SOURCE_DIR "/experiments/small_models/checkpoints/stories"},
          "holds a model already");
  const Ran warming = quire_command(short_run({"--warmup-s", "1e9"}));
  EXPECT_EQ(warming.exit_code, 1);
  EXPECT_THAT(warming.err, HasSubstr("after --warmup-s 1e+09"));
}

TEST(QuireCommand, AnAxisThatIsNotCompiledPointsToAListOfOnesOwn) {
  for (const Words& words : {Words{"run", "--axis", "weight_format=[nf4]"},
                             {"run", "--variant", "vllm", "--axis", "eviction=[sieve]"}}) {
    EXPECT_THAT(quire_command(words).err, HasSubstr("quire_driver()"));
  }
}

TEST(QuireCommand, AReportSaysWhatThePrefixCacheFound) {
  const Ran ran =
      quire_command(short_run({"--variant", "vllm_prefix_cache", "--workload", "shared_prefix"}));
  EXPECT_THAT(ran.out, HasSubstr("\nprefix cache: ")) << ran.err;
  EXPECT_THAT(quire_command(short_run({})).out, Not(HasSubstr("prefix cache")));
}

TEST(QuireCommand, ListsEveryVariantAsJson) {
  const Ran ran = quire_command({"list", "--json"});
  ASSERT_EQ(ran.exit_code, 0);
  const auto all = quire::json::parse(ran.out, "list");
  std::set<std::string> names;
  for (const auto& v : *all.object()->find("variants")->array()) {
    EXPECT_TRUE(names.insert(text(v, "name")).second) << text(v, "name");
    for (const char* slot :
         {"block_size", "reservation", "prefix_index", "eviction", "admission", "offload",
          "kv_format", "weight_format", "retention", "scheduler", "speculation"}) {
      EXPECT_NE(text(v, slot), "") << slot;
    }
  }
  for (const char* preset :
       {"vllm", "vllm_prefix_cache", "orca_max", "orca_pow2", "orca_oracle", "faster_transformer",
        "hf_transformers", "tgi", "torchserve", "sarathi", "vllm_prefix_cache+eviction=sieve",
        "vllm+block_size=256", "vllm+scheduler=priority", "vllm+offload=recompute"}) {
    EXPECT_TRUE(names.contains(preset)) << preset;
  }
  for (const char* key :
       {"policies", "experiments", "executors", "workloads", "models", "hardware", "settings"}) {
    EXPECT_NE(all.object()->find(key), nullptr) << key;
  }
  EXPECT_THAT(quire_command({"list", "--filter", "^orca"}).out, Not(HasSubstr("vllm ")));
}

TEST(QuireCommand, AUsersPolicyIsListedAndRuns) {
  const Ran list = quire::testing::run_program(QUIRE_USER_COMMAND, {"list", "--json"});
  ASSERT_EQ(list.exit_code, 0);
  const auto all = quire::json::parse(list.out, "list");
  const auto& variants = *all.object()->find("variants")->array();
  ASSERT_EQ(variants.size(), 4u);
  EXPECT_EQ(text(variants[1], "name"), "highest_block_first");
  EXPECT_EQ(text(variants[1], "eviction"), "highest_block");
  const Ran run = quire::testing::run_program(
      QUIRE_USER_COMMAND,
      short_run({"--variant", "highest_block_first", "--workload", "shared_prefix"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Successful requests:                    20"));
}

TEST(QuireCommand, WhatAUsersPolicyThrowsIsToldWithItsRun) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows.jsonl").string();
  const Ran ran = quire::testing::run_program(
      QUIRE_USER_COMMAND,
      {"run", "--variant", "highest_block_first,losing_count", "--workload", "shared_prefix",
       "--prefix-len", "512", "--num-prefixes", "50", "--num-prompts", "100", "--kv-memory-gib",
       "2", "--out", out, "--quiet"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("losing_count shared_prefix"));
  EXPECT_THAT(ran.err, HasSubstr(": my own table is inconsistent"));
  EXPECT_EQ(quire::metrics::read_rows(out).size(), 1u);  // of the run before it
}

TEST(QuireCommand, AUsersKvFormatRunsEverywhere) {
  // serving, on the processor
  const std::string model = QUIRE_SOURCE_DIR "/experiments/small_models/checkpoints/induction";
  const Ran cpu = quire::testing::run_program(
      QUIRE_USER_COMMAND, {"run", "--executor", "cpu", "--variant", "highest_block_first_log_bytes",
                           "--model", model, "--workload", "random", "--input-len", "20",
                           "--output-len", "2", "--num-prompts", "2", "--kv-memory-gib", "0.01"});
  EXPECT_EQ(cpu.exit_code, 0) << cpu.err;
  EXPECT_THAT(cpu.out, HasSubstr("highest_block_first_log_bytes: "));
  // planner and sweep, in simulated time
  const TempDir folder;
  const std::string rows = (folder.path() / "rows.jsonl").string();
  const Ran sweep = quire::testing::run_program(
      QUIRE_USER_COMMAND,
      short_run({"--variant", "vllm,vllm_log_bytes", "--axis", "seed=[1,2]", "--out", rows}));
  EXPECT_EQ(sweep.exit_code, 0) << sweep.err;
  std::ifstream file(rows);
  std::vector<double> blocks[2];  // that the planner found room for
  for (std::string line; std::getline(file, line);) {
    const auto row = quire::json::parse(line, rows);
    const std::size_t at = line.find("\"kv_blocks\":");
    ASSERT_NE(at, std::string::npos) << line;
    blocks[text(row, "variant") == "vllm" ? 0 : 1].push_back(std::stod(line.substr(at + 12)));
  }
  ASSERT_EQ(blocks[0].size(), 2u);
  ASSERT_EQ(blocks[1].size(), 2u);
  const double head_dim = 128;  // 2 bytes a value against 1 and 4 a token and head
  EXPECT_NEAR(blocks[1][0] / blocks[0][0], 2 * head_dim / (head_dim + 4), 0.05);
  // the laboratory
  const std::string quality = (folder.path() / "quality.jsonl").string();
  const Ran lab = quire::testing::run_program(
      QUIRE_USER_QUALITY, {"--out", quality, "--scale", "smoke", "--axis", "keys=as_trained"});
  EXPECT_EQ(lab.exit_code, 0) << lab.err;
  EXPECT_THAT(lab.out, HasSubstr("log_bytes"));
  std::ifstream measured(quality);
  std::string line;
  ASSERT_TRUE(std::getline(measured, line));
  EXPECT_NE(line.find("\"bits_per_value\": 8.5,"), std::string::npos) << line;
}

TEST(QuireCommand, PrintsTheSummaryAndWritesARow) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows.jsonl").string();
  const Words words = short_run({"--variant", "vllm", "--out", out, "--label", "first",
                                 "--metadata", "who=me", "--goodput", "ttft:2000", "tpot:200"});
  const Ran ran = quire_command(words);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");  // no progress, since this is no terminal
  EXPECT_THAT(ran.out, HasSubstr("============ Serving Benchmark Result ============"));
  const auto rows = read_rows(out);
  ASSERT_EQ(rows.size(), 1u);
  const auto row = quire::json::parse(rows[0], "row");
  EXPECT_EQ(text(row, "schema"), "quire.result/1");
  EXPECT_EQ(text(row, "variant"), "vllm");
  EXPECT_EQ(text(row, "mode"), "simulated");
  EXPECT_EQ(text(row, "label"), "first");
  EXPECT_EQ(text(row, "metadata_who"), "me");
  EXPECT_EQ(*row.object()->find("block_size")->integer(), 16);
  EXPECT_EQ(*row.object()->find("request_rate")->number(), 4);
  EXPECT_EQ(*row.object()->find("completed")->number(), 20);
  for (const char* name :
       {"mean_ttft_ms", "p99_tpot_ms", "median_itl_ms", "std_e2el_ms", "request_throughput",
        "output_throughput", "total_token_throughput", "request_goodput", "duration",
        "mean_normalized_latency_s", "swaps_refused", "preemptions", "recomputed_tokens",
        "swap_preemptions", "recompute_preemptions", "swapped_out_tokens", "bytes_moved"}) {
    ASSERT_NE(row.object()->find(name), nullptr) << name;
    EXPECT_TRUE(row.object()->find(name)->number().has_value()) << name;
  }
  const auto* provenance = row.object()->find("provenance");
  EXPECT_THAT(text(*provenance, "cmdline"), HasSubstr("quire run --num-prompts 20"));
  EXPECT_TRUE(*provenance->object()->find("simulated")->boolean());

  EXPECT_EQ(quire_command(words).exit_code, 2);  // rows are there
  EXPECT_EQ(read_rows(out), rows);
  Words again = words;
  again.push_back("--append");
  EXPECT_EQ(quire_command(again).exit_code, 0);
  const auto two = read_rows(out);
  ASSERT_EQ(two.size(), 2u);
  const auto second = quire::json::parse(two[1], "row");
  EXPECT_EQ(text(second, "run_id"), text(row, "run_id"));
  EXPECT_EQ(text(second, "decision_hash"), text(row, "decision_hash"));
}

TEST(QuireCommand, ShardsCoverTheSweepAndCollectJoinsThem) {
  const TempDir folder;
  const Words axes{"--axis",    "eviction=[lru,fifo,sieve]", "--axis",        "seed=[0,1]",
                   "--variant", "vllm_prefix_cache",         "--num-prompts", "10"};
  const auto with = [&axes](Words words, const Words& more) {
    words.insert(words.end(), axes.begin(), axes.end());
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const Ran plan = quire_command(with({"sweep", "plan"}, {}));
  EXPECT_EQ(plan.exit_code, 0);
  EXPECT_EQ(std::count(plan.out.begin(), plan.out.end(), '\n'), 6);
  EXPECT_THAT(quire_command(with({"run"}, {"--dry-run"})).out, HasSubstr("6 runs\n"));

  Words collect{"sweep", "collect"};
  std::size_t rows = 0;
  for (int i = 0; i < 4; ++i) {
    const std::string out = (folder.path() / std::to_string(i)).string();
    const Ran ran = quire_command(
        with({"sweep", "run"}, {"--index", std::to_string(i), "--count", "4", "--out", out, "-q"}));
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_EQ(ran.out, "");
    rows += read_rows(out).size();
    collect.push_back(out);
  }
  EXPECT_EQ(rows, 6u);
  collect.push_back(collect.back());  // one file twice: its rows count once
  const std::string joined = (folder.path() / "all").string();
  collect.insert(collect.end(), {"--out", joined});
  EXPECT_EQ(quire_command(collect).exit_code, 0);
  std::set<std::string> cells;
  for (const std::string& line : read_rows(joined)) {
    const auto row = quire::json::parse(line, "row");
    cells.insert(text(row, "eviction") + std::to_string(*row.object()->find("seed")->integer()));
  }
  EXPECT_EQ(cells, (std::set<std::string>{"fifo0", "fifo1", "lru0", "lru1", "sieve0", "sieve1"}));
  EXPECT_EQ(read_rows(joined).size(), 6u);
}

TEST(QuireCommand, ResumeRunsWhatIsMissing) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows").string();
  const Words words = short_run({"--axis", "seed=[0:3]", "--out", out, "--format", "csv"});
  Words part = words;
  part.insert(part.end(), {"--shard", "1/2"});
  ASSERT_EQ(quire_command(part).exit_code, 0);
  ASSERT_EQ(read_rows(out).size(), 2u);
  std::ofstream(out, std::ios::app) << "{\"torn";
  Words resume = words;
  resume.push_back("--resume");
  const Ran ran = quire_command(resume);
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr("2 runs were finished before"));
  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 3);  // a head and two rows
  EXPECT_EQ(read_rows(out).size(), 4u);
  EXPECT_THAT(quire_command(resume).err, HasSubstr("4 runs were finished before"));
  EXPECT_EQ(read_rows(out).size(), 4u);
  // Other objectives or percentiles are other rows; another label is not.
  const auto kept = [&resume](const Words& more) {
    Words again = resume;
    again.insert(again.end(), more.begin(), more.end());
    return quire_command(again).err;
  };
  EXPECT_THAT(kept({"--label", "again"}), HasSubstr("4 runs were finished before"));
  EXPECT_EQ(kept({"--goodput", "ttft:200"}), "");
  EXPECT_EQ(kept({"--goodput", "ttft:300"}), "");
  EXPECT_THAT(kept({"--goodput", "ttft:200"}), HasSubstr("4 runs were finished before"));
  EXPECT_EQ(kept({"--metric-percentiles", "50,99.9"}), "");
}

TEST(QuireCommand, FindsTheHighestRateThatKeepsWhatIsAsked) {
  const Words engine{"run", "--variant", "vllm", "--num-prompts", "60", "--format", "jsonl"};
  const auto ran = [&engine](const Words& more) {
    Words words = engine;
    words.insert(words.end(), more.begin(), more.end());
    return quire_command(words);
  };
  const Words limits{"--goodput", "ttft:500", "tpot:31"};
  Words search{"--search-rate", "0.5:16"};
  search.insert(search.end(), limits.begin(), limits.end());
  const auto found = row_of(ran(search));
  const double rate = number(found, "highest_rate"), fails = number(found, "highest_rate_fails_at");
  EXPECT_GT(rate, 0.5);
  EXPECT_LT(fails, 16);
  EXPECT_LE(fails, 1.02 * rate);
  EXPECT_GE(number(found, "slo_attainment"), 0.9);
  EXPECT_EQ(found.object()->find("request_rate"), nullptr);  // it has no other rate
  const auto attained = [&](double at) {
    char exactly[32];
    std::snprintf(exactly, sizeof exactly, "%.17g", at);
    Words words{"--request-rate", exactly};
    words.insert(words.end(), limits.begin(), limits.end());
    return number(row_of(ran(words)), "slo_attainment");
  };
  EXPECT_GE(attained(rate), 0.9);
  EXPECT_LT(attained(fails), 0.9);
  // a number of the whole run, as in Sarathi's capacity
  const auto capacity = row_of(ran({"--search-rate", "0.5:16", "--keep", "p99_itl_ms:60"}));
  EXPECT_LE(number(capacity, "p99_itl_ms"), 60);
  EXPECT_GT(number(capacity, "highest_rate"), 0.5);

  const auto refused = [&ran](const Words& more, const std::string& why) {
    const Ran out = ran(more);
    EXPECT_EQ(out.exit_code, 2);
    EXPECT_THAT(out.err, HasSubstr(why));
  };
  refused({"--search-rate", "0.5:4"}, "--goodput, or --keep");
  refused({"--search-rate", "4:1", "--goodput", "ttft:500"}, "LOW below HIGH");
  refused({"--search-rate", "1:4", "--keep", "p99_itl:60"}, "p99_itl_ms (the nearest)");
  refused({"--keep", "p99_itl_ms:60"}, "--search-rate LOW:HIGH");
  refused({"--search-rate", "1:4", "--goodput", "ttft:500", "--request-rate", "2"},
          "no --request-rate");
}

/// A model that continues a text as it went on when it last occurred: what it says is known.
constexpr const char* induction =
    QUIRE_SOURCE_DIR "/experiments/small_models/checkpoints/induction";

TEST(QuireCommand, ResumeTellsCheckpointsOfOneNameApart) {
  const TempDir folder;
  for (const char* side : {"a", "b"}) {
    std::filesystem::create_directory(folder.path() / side);
    std::filesystem::copy(induction, folder.path() / side / "model");
  }
  const auto weights = folder.path() / "b" / "model" / "model.safetensors";
  std::filesystem::permissions(weights, std::filesystem::perms::owner_all);
  std::string bytes = quire::testing::read_file(weights);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  std::ofstream(weights, std::ios::binary) << bytes;
  const std::string out = (folder.path() / "rows").string();
  const auto run = [&](const char* side) {
    return quire_command({"run", "--executor", "cpu", "--model",
                          (folder.path() / side / "model").string(), "--workload", "random",
                          "--input-len", "20", "--output-len", "2", "--num-prompts", "2",
                          "--kv-memory-gib", "0.01", "--out", out, "--resume", "-q"});
  };
  EXPECT_EQ(run("a").exit_code, 0);
  EXPECT_EQ(run("b").exit_code, 0);
  EXPECT_EQ(run("a").exit_code, 0);
  const auto rows = read_rows(out);
  ASSERT_EQ(rows.size(), 2u);
  // and the threads that ran, where none were asked for
  EXPECT_GE(number(quire::json::parse(rows[0], "row"), "threads"), 1);
}

TEST(QuireCommand, AnInterruptedSweepKeepsItsRowsAndResumes) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows").string();
  // Each run is a tenth of a second or so; all of them would take many minutes.
  const Words words{
      "run", "--axis", "seed=[0:4999]", "--num-prompts", "300", "--out", out, "--request-rate",
      "1"};
  const pid_t child = quire::testing::start(QUIRE_COMMAND, words, folder);
  for (int i = 0; i < 3000 && read_rows(out).size() < 2; ++i) {  // a minute at most
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(child, SIGINT);
  const Ran ran = quire::testing::wait_for(child, folder);
  EXPECT_EQ(ran.exit_code, 130);
  EXPECT_THAT(ran.err, HasSubstr("interrupted"));
  bool torn = true;
  const auto rows = read_rows(out, &torn);
  EXPECT_FALSE(torn);
  EXPECT_GE(rows.size(), 2u);
  for (const std::string& row : rows) {
    EXPECT_NO_THROW(static_cast<void>(quire::json::parse(row, "row")));
  }
  Words resume{"run", "--axis",         "seed=[0:1]", "--num-prompts", "300", "--out",
               out,   "--request-rate", "1",          "--resume",      "-q"};
  EXPECT_EQ(quire_command(resume).exit_code, 0);
  EXPECT_EQ(read_rows(out).size(), rows.size());
}

TEST(QuireCommand, DrawsATimelineForPerfetto) {
  const TempDir folder;
  const std::string path = (folder.path() / "trace.json").string();
  ASSERT_EQ(quire_command(short_run({"--chrome-trace", path})).exit_code, 0);
  const auto trace = quire::json::parse(quire::testing::read_file(path), "trace");
  std::set<std::string> names;
  std::set<std::int64_t> tracks, steps;
  for (const auto& event : *trace.object()->find("traceEvents")->array()) {
    names.insert(text(event, "name"));
    if (text(event, "ph") != "X") continue;
    tracks.insert(*event.object()->find("tid")->integer());
    const auto* step = event.object()->find("args")->object()->find("step")->integer();
    steps.insert(step == nullptr ? -1 : *step);
  }
  EXPECT_TRUE(names.contains("prefill"));
  EXPECT_TRUE(names.contains("decode"));
  EXPECT_TRUE(names.contains("KV tokens"));
  EXPECT_EQ(tracks.size(), 20u);  // one for each sequence
  EXPECT_EQ(*steps.begin(), 0);   // steps are counted from 0, and each ran something
  EXPECT_EQ(*steps.rbegin() + 1, static_cast<std::int64_t>(steps.size()));
}

TEST(QuireCommand, RunsOnACalibratedDeviceAndWithEveryCostModel) {
  const TempDir folder;
  const std::string device = (folder.path() / "mine.json").string();
  std::string gemm = "m,k,n,latency_us\n";
  for (const int m : {1, 64, 256, 2048}) {
    gemm += std::to_string(m) + ",5120,5120," + std::to_string(40 + m / 2) + "\n";
  }
  const std::string products = folder.write("gemm.csv", gemm).string();
  const Ran fitted = quire_command({"calibrate", "--hardware", "a100_40gb", "--profile", products,
                                    "--held-out", products, "--out", device});
  ASSERT_EQ(fitted.exit_code, 0) << fitted.err;
  EXPECT_THAT(fitted.out, HasSubstr("held out gemm.csv"));
  const auto row = [&](Words more) {
    more.insert(more.end(), {"--format", "jsonl"});
    const Ran ran = quire_command(short_run(more));
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return quire::json::parse(ran.out.empty() ? "{}" : ran.out, "row");
  };
  const auto number = [](const quire::json::Value& value, std::string_view name) {
    const auto* member = value.object()->find(name);
    return member == nullptr || !member->number() ? -1 : *member->number();
  };
  const auto plain = row({}), mine = row({"--hardware", device});
  EXPECT_EQ(text(plain, "joules_from"), "power table");
  EXPECT_EQ(text(mine, "hardware"), "mine");
  EXPECT_EQ(text(mine, "hardware_hash").size(), 16u);
  EXPECT_NE(number(mine, "mean_tpot_ms"), number(plain, "mean_tpot_ms"));
  // what a row says of itself runs it again
  EXPECT_THAT(text(mine, "rerun"), HasSubstr("--hardware " + device));

  const std::string terms =
      folder
          .write("terms.json",
                 "{\"facebook/opt-13b\": {\"1\": {\"decoding_large_small_bs_threshold\": 95,"
                 " \"prefill\": [10, 0, 0], \"decoding_smallbs\": [10, 0, 0],"
                 " \"decoding_largebs\": [10, 0, 0]}}}")
          .string();
  const auto ten = row({"--cost-model", "affine", "--profile", terms});
  EXPECT_NEAR(number(ten, "median_itl_ms"), 10, 1e-6);
  EXPECT_GT(number(ten, "joules"), 0);
  EXPECT_THAT(text(ten, "rerun"), HasSubstr("--profile " + terms));
  const std::string decode =
      folder.write("decode.csv", "batch_size,kv_len,latency_us\n1,100,500\n64,100,500\n").string();
  const std::string prefill =
      folder.write("prefill.csv", "seq_len,latency_us\n1,1\n9,9\n").string();
  const auto looked_up =
      row({"--cost-model", "tabulated_or_roofline", "--profile", decode + "," + prefill});
  EXPECT_GT(number(looked_up, "median_itl_ms"), 40 * 0.5);  // layers

  const auto refused = [](const Words& words, const std::string& why) {
    const Ran ran = quire_command(short_run(words));
    EXPECT_TRUE(ran.exit_code == 1 || ran.exit_code == 2) << ran.exit_code;
    EXPECT_THAT(ran.err, HasSubstr(why));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  };
  refused({"--cost-model", "tabulated", "--profile", decode}, "no times for embedding, layernorm");
  refused({"--cost-model", "tabulated"}, "has no tables");
  refused({"--cost-model", "affine"}, "has no coefficients");
  refused({"--cost-model", "afine"}, "expected affine (the nearest)");
  refused({"--profile", decode}, "it is of --cost-model affine or tabulated");
  refused({"--hardware", "none.json"}, "cannot be read");
  refused({"--hardware", terms}, "schema");
  refused({"--hardware", folder
                             .write("bare.json",
                                    "{\"schema\": \"quire.hardware/1\","
                                    " \"name\": \"x\"}")
                             .string()},
          "no bandwidth");
}

TEST(QuireCommand, GeneratesTextFromACheckpoint) {
  const Words greedy{"generate", induction, "--temperature", "0", "--max-tokens", "20"};
  const auto with = [&greedy](const Words& more) {
    Words words = greedy;
    words.insert(words.end(), more.begin(), more.end());
    return quire_command(words);
  };
  const Ran one = with({"--prompt", "abcdefghijkl 0123;abcd"});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(one.out, "abcdefghijkl 0123;abcdefghijkl 0123;abcdef\n");
  EXPECT_EQ(with({"--prompt", "abcdefghijkl 0123;abcd", "--no-stream"}).out, one.out);
  const Ran stopped = with({"--prompt", "abcdefghijkl 0123;abcd", "--stop", "23;", "--stop", "zz"});
  EXPECT_EQ(stopped.out, "abcdefghijkl 0123;abcdefghijkl 01\n");

  const TempDir folder;
  const std::string prompts = folder.write("prompts", "abcdefgh;abc\r\n\n0123;01").string();
  const Ran two = with({"--prompt-file", prompts, "--n", "2", "--json"});
  ASSERT_EQ(two.exit_code, 0) << two.err;
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < two.out.size();) {
    const std::size_t end = two.out.find('\n', at);
    texts.push_back(text(quire::json::parse(two.out.substr(at, end - at), "line"), "text"));
    at = end + 1;
  }
  ASSERT_EQ(texts.size(), 4u);
  const Ran likely = with({"--prompt", "abcdefgh;abc", "--json", "--logprobs", "2"});
  const auto tops = quire::json::parse(likely.out, "line");
  ASSERT_NE(tops.object()->find("top_logprobs"), nullptr);
  EXPECT_EQ(tops.object()->find("top_logprobs")->array()->begin()->array()->size(), 2u);
  const Ran cut = quire_command({"generate", induction, "--prompt", "abcdefgh;abc", "--no-stream",
                                 "--max-tokens", "5000", "--max-model-len", "40"});
  EXPECT_EQ(cut.exit_code, 0);
  EXPECT_THAT(cut.err, HasSubstr("not at --max-tokens 5000"));
  EXPECT_EQ(texts[0], "defgh;abcdefgh;abcde");
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_EQ(texts[2], "23;0123;0123;0123;01");
}

/// Packed once, then mapped: the same text from an image and from a cache, and what does not fit is said.
TEST(QuireCommand, WritesImagesThatStartWithoutPacking) {
  namespace fs = std::filesystem;
  const TempDir folder;
  const auto at = [&](const std::string& name) { return (folder.path() / name).string(); };
  const auto says = [](const std::string& path, Words more) {
    more.insert(more.begin(), {"generate", path, "--prompt", "abcdefgh;abc", "--temperature", "0",
                               "--max-tokens", "12", "--no-stream"});
    return quire_command(more);
  };
  const std::string want = says(induction, {}).out;
  ASSERT_EQ(quire_command({"image", induction, "--to", at("image")}).exit_code, 0);
  EXPECT_TRUE(fs::exists(at("image/packed_weights.safetensors")));
  const Ran image = says(at("image"), {"--stats", "--file-load", "direct"});
  EXPECT_EQ(image.out, want);
  EXPECT_THAT(image.err, HasSubstr("started in "));
  for (int start = 0; start < 2; ++start) {
    EXPECT_EQ(says(induction, {"--weight-cache", at("cache")}).out, want);
    EXPECT_EQ(std::distance(fs::directory_iterator(at("cache")), {}), 1);
  }
  // a GGUF file has an image too; and weights may lie in files of other formats
  ASSERT_EQ(quire_command({"convert", induction, at("m.gguf")}).exit_code, 0);
  ASSERT_EQ(quire_command({"image", at("m.gguf"), at("of_gguf")}).exit_code, 0);
  EXPECT_EQ(says(at("of_gguf"), {}).out, want);
  for (const char* format : {"flatbuffers", "protobuf", "protobuf_chunked", "json_text"}) {
    ASSERT_EQ(quire_command({"convert", induction, at(format), "--file-format", format}).exit_code,
              0);
    EXPECT_EQ(says(at(format), {}).out, want);
  }
  ASSERT_EQ(quire_command({"image", induction, at("q8_0"), "--weight-format", "q8_0"}).exit_code,
            0);
  const auto refused = [&](const Words& words, int code, const std::string& what) {
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, code);
    EXPECT_THAT(ran.err, HasSubstr(what));
  };
  EXPECT_EQ(says(at("q8_0"), {}).exit_code, 0);  // in its own format
  refused({"generate", at("q8_0"), "--prompt", "a", "--weight-format", "fp32"}, 2,
          "is an image of weight format \"q8_0\"");
  refused({"image", induction, at("q8_0")}, 2, "is there already");
  refused({"image", induction, at("x"), "--weight-format", "q8"}, 2, "expected q8_0");
  refused({"image", "/none", at("x")}, 1, "/none: no such directory");
  refused({"convert", induction, at("y.gguf"), "--file-format", "protobuf"}, 2,
          "a GGUF file has a format of its own");
  refused({"convert", at("image"), at("y"), "--file-format", "protobuf"}, 2, "packed already");
  refused({"convert", induction, at("y"), "--file-format", "pickle"}, 2, "pickle");
  refused({"convert", at("image"), at("x.gguf")}, 2, "is an image, packed already");
  refused({"convert", at("image"), at("x"), "--weight-format", "nf4"}, 2, "packed already");
  refused({"image", at("image"), at("y"), "--weight-format", "q8_0"}, 2, "is an image of weight");
  refused({"generate", induction, "--prompt", "a", "--file-load", "mmap"}, 2,
          "mapped, mapped_ahead");
  EXPECT_FALSE(fs::exists(at("x")));
}

/// What other tools' readers look for is there, it is smaller, and it is read again.
TEST(QuireCommand, ConvertsToQuantisedCheckpointsThatAreReadAgain) {
  namespace fs = std::filesystem;
  const std::string stories = QUIRE_SOURCE_DIR "/experiments/small_models/checkpoints/stories";
  const std::string notes = QUIRE_SOURCE_DIR "/README.md";
  const TempDir folder;
  const auto at = [&](const std::string& name) { return (folder.path() / name).string(); };
  const auto says = [&](const std::string& path) {
    const Ran ran = quire_command({"generate", path, "--prompt", "Once upon a time",
                                   "--temperature", "0", "--max-tokens", "12", "--no-stream"});
    EXPECT_EQ(ran.exit_code, 0) << path << ran.err;
    return ran.out;
  };
  const auto whole = fs::file_size(stories + "/model.safetensors");
  const auto convert = [&](Words words) {
    words.insert(words.begin(), {"convert", stories});
    return quire_command(words);
  };
  const std::string text = says(stories);
  const std::tuple<std::string, std::string, std::string> formats[] = {
      {"nf4", "bitsandbytes__nf4", "load_in_4bit"},
      {"w8a8", "weight_scale", "int-quantized"},
      {"fp8_w8a8", "F8_E4M3", "float-quantized"},
      {"int4_zero_point_g32", "weight_packed", "pack-quantized"},
      {"int8_per_channel", "weight_packed", "\"strategy\":\"channel\""},
      {"gptq_act_order_int4_g32", "g_idx", "\"quant_method\":\"gptq\""},
      {"awq_int4_zero_point_g64", "qzeros", "\"quant_method\":\"awq\""}};
  for (const auto& [format, tensor, config] : formats) {
    SCOPED_TRACE(format);
    Words words{"--to", at(format), "--weight-format", format};
    const bool fitted = format.starts_with("gptq") || format.starts_with("awq");
    if (fitted) words.insert(words.end(), {"--calibration-text", notes});
    const Ran made = convert(words);
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_THAT(quire::testing::read_file(at(format) + "/config.json"), HasSubstr(config));
    EXPECT_THAT(quire::testing::read_file(at(format) + "/model.safetensors"), HasSubstr(tensor));
    EXPECT_LT(fs::file_size(at(format) + "/model.safetensors"), whole * 7 / 10);
    EXPECT_FALSE(fs::exists(at(format) + ".part"));
    const std::string said = says(at(format));
    EXPECT_TRUE(said.starts_with("Once upon a time")) << said;
    if (format == "int8_per_channel" || format == "w8a8") {
      EXPECT_EQ(said, text);
    }
  }
  // floats, of which some are zero: the folder is as large as before, and is read as any other
  const Ran pruned = convert(
      {"--to", at("pruned"), "--weight-format", "wanda_2_of_4", "--calibration-text", notes});
  ASSERT_EQ(pruned.exit_code, 0) << pruned.err;
  EXPECT_NE(says(at("pruned")), text);
  ASSERT_EQ(convert({"--to", at("all"), "--weight-format", "magnitude_0_percent"}).exit_code, 0);
  EXPECT_EQ(says(at("all")), text);
  ASSERT_EQ(convert({"--to", at("m.gguf"), "--weight-format", "q8_0"}).exit_code, 0);
  EXPECT_EQ(says(at("m.gguf")), text);

  // two matrices in place of one: smaller, read again, and refused where only whole ones go
  for (const std::string format : {"svd_10_percent", "asvd_10_percent", "svd_llm_50_percent"}) {
    SCOPED_TRACE(format);
    Words words{"--to", at(format), "--weight-format", format};
    if (format != "svd_10_percent") words.insert(words.end(), {"--calibration-text", notes});
    const Ran made = convert(words);
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_THAT(quire::testing::read_file(at(format) + "/model.safetensors"),
                HasSubstr("model.layers.0.self_attn.q_proj.low_rank_out"));
    EXPECT_LT(fs::file_size(at(format) + "/model.safetensors"),
              format == "svd_llm_50_percent" ? whole * 2 / 3 : whole * 95 / 100);
    EXPECT_TRUE(says(at(format)).starts_with("Once upon a time"));
  }
  const Ran image = quire_command({"image", at("svd_10_percent"), at("image")});
  EXPECT_EQ(image.exit_code, 2);
  EXPECT_THAT(image.err, HasSubstr("images of weights do not hold"));
  EXPECT_FALSE(fs::exists(at("image")));

  const auto refused = [&](const Words& words, const std::string& part) {
    const Ran ran = convert(words);
    EXPECT_EQ(ran.exit_code, 2) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(part));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  };
  refused({"--to", at("nf4"), "--weight-format", "nf4"}, "is there already");
  refused({"--to", at("a"), "--weight-format", "q4_k"}, "GGUF files alone");
  refused({"--to", at("a.gguf"), "--weight-format", "nf4"}, "type of a GGUF file");
  refused({"--to", at("a")}, "would be a copy");
  refused({"--to", at("a"), "--weight-format", "gptq_int4_g32"}, "--calibration-text FILE");
  refused({"--to", at("a"), "--weight-format", "nf4", "--calibration-text", notes}, "fitted");
  refused({"--to", at("a"), "--weight-format", "wanda_2_of_4"}, "--calibration-text FILE");
  refused({"--to", at("a"), "--weight-format", "magnitude_2_of_4", "--calibration-text", notes},
          "fitted");
  refused({"--to", at("a"), "--weight-format", "magnitude_101_percent"}, "unknown format");
  refused({"--to", at("a"), "--weight-format", "svd_llm_20_percent"}, "--calibration-text FILE");
  refused({"--to", at("a"), "--weight-format", "svd_20_percent", "--calibration-text", notes},
          "fitted");
  refused({"--to", at("a"), "--weight-format", "svd_0_percent"}, "unknown format");
  refused({"--to", at("a"), "--weight-format", "asvd_100_percent"}, "unknown format");
  refused({"--to", at("a"), "--weight-format", "nf5"}, "nf4 (the nearest)");
  refused({"--to", at("a"), "--weight-format", "int5_g32"}, "unknown format");
  refused({"--to", at("a"), "--weight-format", "int4_g48"}, "groups of 48");
  const Ran twice =
      quire_command({"convert", at("nf4"), "--to", at("a"), "--weight-format", "int4_g32"});
  EXPECT_EQ(twice.exit_code, 2);
  EXPECT_THAT(twice.err,
              HasSubstr(at("nf4") + ": calibration: of a model that is quantised already"));
  EXPECT_FALSE(fs::exists(at("a")));
  EXPECT_FALSE(fs::exists(at("a.part")));
}

TEST(QuireCommand, MeasuresARealEngineOnACheckpoint) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows").string();
  const Words run{"run",    "--executor",      "cpu",  "--model",      induction, "--workload",
                  "random", "--input-len",     "20",   "--output-len", "6",       "--num-prompts",
                  "5",      "--kv-memory-gib", "0.01", "--threads",    "1",       "--out",
                  out};
  const Ran ran = quire_command(run);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Total generated tokens:                 30"));
  const auto row = quire::json::parse(read_rows(out).at(0), "row");
  EXPECT_EQ(text(row, "mode"), "measured");
  EXPECT_EQ(text(row, "variant"), "vllm_fp32");
  EXPECT_EQ(text(row, "model"), "induction");
  EXPECT_FALSE(*row.object()->find("provenance")->object()->find("simulated")->boolean());
  EXPECT_THAT(quire_command({"list", "--executor", "cpu"}).out, HasSubstr("int8_per_token_head"));
  Words parallel = run;
  parallel.insert(parallel.end(), {"--jobs", "2", "--append"});
  EXPECT_EQ(quire_command(parallel).exit_code, 2);
  EXPECT_EQ(quire_command({"run", "--executor", "cpu", "--model", "/none"}).exit_code, 1);
  EXPECT_EQ(quire_command({"list", "--executor", "gpu"}).exit_code, 2);
}

// One control plane: the same variant preempts, swaps and evicts alike whether a processor or a device (here its
// emulator) computes.
TEST(QuireCommand, AVariantDecidesOnADeviceAsOnAProcessor) {
#ifndef QUIRE_USER_COMMAND_HAS_CUDA
  GTEST_SKIP() << "ThreadSanitizer does not follow the emulator's fibers";
#endif
  const auto row_of = [](const std::string& executor, const Words& more) {
    const TempDir folder;
    const auto at = [&folder](const char* name) { return (folder.path() / name).string(); };
    Words words{"run",
                "--executor",
                executor,
                "--model",
                induction,
                "--variant",
                "highest_block_first_fp32",
                "--workload",
                "random",
                "--input-len",
                "40",
                "--disk-dir",
                at("tier"),
                "--out",
                at("rows")};
    words.insert(words.end(), more.begin(), more.end());
    const Ran ran = quire::testing::run_program(QUIRE_USER_COMMAND, words);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return quire::json::parse(read_rows(at("rows")).at(0), "row");
  };
  // Requests for three times the blocks that there are.
  const Words pressed{"--output-len", "12", "--num-prompts", "10", "--kv-memory-gib", "0.0005"};
  const auto processor = row_of("cpu", pressed), device = row_of("cuda", pressed);
  EXPECT_EQ(text(device, "decision_hash"), text(processor, "decision_hash"));
  for (const char* count : {"steps", "preemptions", "bytes_moved", "evictions", "kv_blocks"}) {
    EXPECT_EQ(number(device, count), number(processor, count)) << count;
    EXPECT_GT(number(device, count), 0) << count;
  }
  EXPECT_EQ(text(device, "mode"), "measured");
  const auto* made = device.object()->find("provenance");
  EXPECT_EQ(text(*made, "gpu"), "emulator");
  EXPECT_EQ(text(*processor.object()->find("provenance"), "gpu"), "");

  // Told no size, the pool takes what its share of the device, 2 GiB, has left beside the weights and 1 GiB of buffers.
  const auto sized = row_of(
      "cuda", {"--output-len", "1", "--num-prompts", "1", "--gpu-memory-utilization", "0.52"});
  const double room = 0.52 * 2 * 1073741824.0 - 1073741824.0;
  const double block = number(device, "kv_pool_bytes") / number(device, "kv_blocks");
  EXPECT_LT(number(sized, "kv_pool_bytes"), room);
  EXPECT_GT(number(sized, "kv_pool_bytes"), room - 8e6 - block);  // the weights are less than 8 MB
}

TEST(QuireCommand, GeneratesTheSameTextOnADevice) {
#ifndef QUIRE_USER_COMMAND_HAS_CUDA
  GTEST_SKIP() << "ThreadSanitizer does not follow the emulator's fibers";
#endif
  const TempDir folder;
  const auto text_of = [](const std::string& program, const Words& more) {
    Words words{"generate", induction,      "--prompt", "abcabcab", "--temperature",
                "0",        "--max-tokens", "6",        "--stats",  "--kv-memory-mib",
                "1"};
    words.insert(words.end(), more.begin(), more.end());
    return quire::testing::run_program(program, words);
  };
  const Ran processor = text_of(QUIRE_COMMAND, {});
  const Ran device = text_of(
      QUIRE_USER_COMMAND, {"--executor", "cuda", "--disk-dir", (folder.path() / "tier").string()});
  ASSERT_EQ(device.exit_code, 0) << device.err;
  EXPECT_EQ(device.out, processor.out);
  EXPECT_GT(device.out.size(), std::string("abcabcab\n").size());
  EXPECT_THAT(device.err, HasSubstr("6 steps of highest_block_first_fp32 on the emulator"));

  const auto refused = [&](const Words& more, const std::string& why) {
    const Ran ran = text_of(QUIRE_USER_COMMAND, more);
    EXPECT_EQ(ran.exit_code, 2) << more.back();
    EXPECT_THAT(ran.err, HasSubstr(why));
  };
  refused({"--executor", "cuda"}, "--disk-dir: is empty");
  refused({"--executor", "cuda", "--threads", "2"}, "it is of --executor cpu");
  refused({"--executor", "cuda", "--variant", "vlm"}, "\"vlm\"");
  refused({"--executor", "cuda", "--max-model-len", "99999"}, "--max-model-len 99999");
  refused({"--variant", "vllm"}, "it is of --executor cuda");
}

TEST(QuireCommand, ADeviceIsRefusedWhereNoneIsCompiledFor) {
  const auto refused = [](const std::string& program, const Words& words, const std::string& why) {
    const Ran ran = quire::testing::run_program(program, words);
    EXPECT_EQ(ran.exit_code, 2) << words.back();
    EXPECT_THAT(ran.err, HasSubstr(why));
  };
  const Words run{"run", "--executor", "cuda", "--model", induction};
  const auto with = [&run](const Words& more) {
    Words words = run;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
#ifndef QUIRE_COMMAND_HAS_CUDA
  refused(QUIRE_COMMAND, run, "cmake --preset cuda");
  refused(QUIRE_COMMAND, {"list", "--executor", "cuda"}, "CUDA_LIST");
  refused(QUIRE_COMMAND, {"generate", "--executor", "cuda", induction, "-p", "a"}, "CUDA_LIST");
  EXPECT_THAT(quire_command({"info"}).out, HasSubstr("CUDA        none: "));
#endif
#ifdef QUIRE_USER_COMMAND_HAS_CUDA
  refused(QUIRE_USER_COMMAND, with({"--threads", "2"}), "it is of --executor cpu");
  refused(QUIRE_USER_COMMAND, with({"--hardware", "a100_40gb"}), "the machine is this one");
  refused(QUIRE_USER_COMMAND, with({"--kv-memory-gib", "1", "--gpu-memory-utilization", "0.5"}),
          "--kv-memory-gib says how much");
  refused(QUIRE_USER_COMMAND, with({"--axis", "eviction=[lru]"}),
          "a program with its own CUDA_LIST");
  refused(QUIRE_USER_COMMAND, {"run", "--executor", "cuda"}, "--model DIR");
#endif
}

// Formats that no variant was compiled with are chosen as the engine is made: pools, names and rows are theirs.
TEST(QuireCommand, KvAndWeightFormatsAreAxesOnTheProcessor) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows").string();
  const Words run{"--executor",  "cpu", "--model",         induction, "--workload",    "random",
                  "--input-len", "20",  "--output-len",    "6",       "--num-prompts", "3",
                  "--threads",   "1",   "--kv-memory-gib", "0.001"};
  const auto with = [&run](const Words& first, const Words& more) {
    Words words = first;
    words.insert(words.end(), run.begin(), run.end());
    words.insert(words.end(), more.begin(), more.end());
    return quire_command(words);
  };
  const Ran ran = with({"run"}, {"--axis", "kv_format=[fp32,int8_per_token_head,fp8_e4m3]",
                                 "--axis", "weight_format=[fp32,q8_0]", "--out", out});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const auto lines = read_rows(out);
  ASSERT_EQ(lines.size(), 6u);
  std::set<std::string> hashes;
  std::map<std::string, double> bytes;
  for (const std::string& line : lines) {
    const auto row = quire::json::parse(line, "row");
    const std::string kv = text(row, "kv_format");
    const std::string chosen = kv == "fp32" ? "" : "+kv_format=" + kv;
    const std::string weights = text(row, "weight_format") == "fp32" ? "" : "+weight_format=q8_0";
    EXPECT_EQ(text(row, "variant"), "vllm_fp32" + chosen + weights);
    EXPECT_EQ(number(row, "completed"), 3);
    EXPECT_GT(number(row, "peak_memory_bytes"), 1e6);
    const auto [at, fresh] = bytes.emplace(kv, number(row, "kv_bytes_per_token"));
    EXPECT_EQ(at->second, number(row, "kv_bytes_per_token"));
    const double block = 16 * at->second;
    EXPECT_EQ(number(row, "kv_blocks"), std::floor(0.001 * 1024 * 1024 * 1024 / block));
    EXPECT_EQ(number(row, "kv_pool_bytes"), number(row, "kv_blocks") * block);
    EXPECT_THAT(text(row, "rerun"), HasSubstr("vllm_fp32" + chosen + weights + " "));
  }
  EXPECT_LT(bytes.at("int8_per_token_head"), bytes.at("fp32"));
  EXPECT_LT(bytes.at("fp8_e4m3"), bytes.at("int8_per_token_head"));
  // compare pairs them
  const Ran compared = quire_command({"compare", out, "--between", "kv_format", "--metric",
                                      "kv_bytes_per_token", "--format", "csv"});
  ASSERT_EQ(compared.exit_code, 0) << compared.err;
  EXPECT_THAT(compared.out, HasSubstr("q8_0,kv_format,fp32,fp8_e4m3,kv_bytes_per_token,1,"));
  // a plan of such cells runs in other processes
  const std::string cells = (folder.path() / "cells").string(), rows = cells + ".rows";
  ASSERT_EQ(
      with({"sweep", "plan"}, {"--axis", "kv_format=[q8_0,int8_per_token_head]", "--out", cells})
          .exit_code,
      0);
  const Ran swept = quire_command({"sweep", "run", "--cells", cells, "--out", rows});
  ASSERT_EQ(swept.exit_code, 0) << swept.err;
  EXPECT_EQ(read_rows(rows).size(), 2u);
  // what is wrong is said before anything runs
  const auto refused = [&](const Words& more, int code, const std::string& says) {
    const Ran no = with({"run"}, more);
    EXPECT_EQ(no.exit_code, code) << no.err;
    EXPECT_EQ(no.out, "");
    EXPECT_THAT(no.err, HasSubstr(says));
  };
  refused({"--axis", "kv_format=[fp32,nf5]"}, 2,
          "unknown kv_format \"nf5\"; expected nf4 (the nearest)");
  refused({"--axis", "weight_format=[q8_1]"}, 2, "expected q8_0 (the nearest)");
  refused({"--variant", "vllm_fp32+kv_format=fp8_e4m2"}, 2, "expected fp8_e4m3 (the nearest)");
  refused({"--variant", "vllm_fp32+kv_format=kivi2_g32_r128"}, 2,
          "block_size: a block is no whole");
  refused({"--variant", "vllm_fp32+kv_format=kvquant3"}, 2, "--kv-calibration-text");
  refused({"--variant", "vllm_fp32+retention=streaming_llm+kv_format=q8_0"}, 2, "keep_all");
  const Ran list = quire_command({"list", "--executor", "cpu"});
  for (const char* name : {"turboquant", "kivi2_g32_r128", "q4_k"}) {
    EXPECT_THAT(list.out, HasSubstr(name));
  }
  EXPECT_THAT(quire_command({"list", "--executor", "cpu", "--json"}).out, HasSubstr("\"gear2"));
  EXPECT_THAT(quire_command({"list"}).out, Not(HasSubstr("turboquant")));
}

TEST(QuireCommand, GeneratesInAFormat) {
  const Words greedy{"generate",      induction, "--prompt",     "abcdefghijkl 0123;abcd",
                     "--temperature", "0",       "--max-tokens", "20",
                     "--no-stream"};
  const auto with = [&greedy](const Words& more) {
    Words words = greedy;
    words.insert(words.end(), more.begin(), more.end());
    return quire_command(words);
  };
  const std::string own = with({}).out;
  const Ran int8 =
      with({"--kv-format", "int8_per_token_head", "--weight-format", "q8_0", "--stats"});
  EXPECT_EQ(int8.exit_code, 0) << int8.err;
  EXPECT_EQ(int8.out, own);  // a copy survives 8 bits,
  EXPECT_THAT(int8.err, HasSubstr("keys and values in int8_per_token_head: "));
  const Ran two = with({"--kv-format", "int2"});
  EXPECT_EQ(two.exit_code, 0) << two.err;
  EXPECT_NE(two.out, own);                                          // and not 2
  EXPECT_EQ(with({"--kv-format", "kivi2_g32_r128"}).exit_code, 0);  // of blocks of its own
  const TempDir folder;
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += "abcdefghijkl 0123;abcdefghijkl 0123;";
  const std::string fitted = folder.write("text", lines).string();
  const Ran calibrated = with({"--kv-format", "fp8_per_head_mse", "--kv-calibration-text", fitted});
  EXPECT_EQ(calibrated.exit_code, 0) << calibrated.err;
  EXPECT_EQ(calibrated.out, own);
  const auto refused = [&](const Words& more, const std::string& says) {
    const Ran no = with(more);
    EXPECT_EQ(no.exit_code, 2) << no.err;
    EXPECT_EQ(no.out, "");
    EXPECT_THAT(no.err, HasSubstr(says));
    EXPECT_EQ(std::count(no.err.begin(), no.err.end(), '\n'), 1) << no.err;
  };
  refused({"--kv-format", "nf5"}, "expected nf4 (the nearest)");
  refused({"--weight-format", "q8_1"}, "expected q8_0 (the nearest)");
  refused({"--kv-format", "fp8_per_head_mse"}, "--kv-calibration-text: is not given");
  refused({"--kv-calibration-text", fitted}, "--kv-format fp32 is not fitted");
  refused({"--kv-format", "kivi2_g32_r128", "--speculation", "prompt_lookup"},
          "does not go together with --speculation prompt_lookup");
}

TEST(QuireCommand, ErrorsNameTheFlagThatCausedThem) {
  const Ran few = quire_command(short_run({"--n", "8", "--max-num-seqs", "4"}));
  EXPECT_THAT(few.err, HasSubstr("the request asks for 8 sequences, --max-num-seqs is 4"));
  const Ran small = quire_command({"run", "--executor", "cpu", "--model", induction,
                                   "--num-prompts", "2", "--kv-memory-gib", "0.000001"});
  EXPECT_THAT(small.err, HasSubstr("--kv-memory-gib: 1073 bytes hold no block"));
  const Ran tiny =
      quire_command({"generate", induction, "--prompt", "a b c d e", "--max-model-len", "3"});
  EXPECT_THAT(tiny.err, HasSubstr("--max-model-len leaves it 2"));
}

/// A result row with what `quire compare` reads.
std::string row_of(const std::string& eviction, int seed, double ttft, const std::string& hash = "",
                   const std::string& rate = "1") {
  const std::string changed = eviction == "lru" ? "" : "+eviction=" + eviction;
  return R"({"run_id":"x","experiment":"run","variant":"vllm)" + changed + R"(","seed":)" +
         std::to_string(seed) + R"(,"eviction":")" + eviction + R"(","request_rate":)" + rate +
         R"(,"mode":"simulated","mean_ttft_ms":)" + std::to_string(ttft) +
         R"(,"preemptions":0,"decision_hash":")" + hash + R"(","provenance":{"program":"p"}})" +
         "\n";
}

TEST(QuireCommand, ComparesPairsOfEqualSeed) {
  const TempDir folder;
  const std::string file = (folder.path() / "rows.jsonl").string();
  const auto compared = [&](const std::string& rows, Words more) {
    std::ofstream(file) << rows;
    Words words{"compare", file};
    words.insert(words.end(), more.begin(), more.end());
    return quire_command(words);
  };
  // seeds differ by hundreds, policies by 1, 2 and 3; rows in any order, one without a partner
  const std::string rows = row_of("lru", 0, 100) + row_of("sieve", 2, 303) + row_of("lru", 1, 200) +
                           row_of("sieve", 0, 101) + row_of("lru", 2, 300) +
                           row_of("sieve", 1, 202) + row_of("sieve", 7, 9);
  const Ran ran = compared(rows, {"--format", "jsonl", "--metric", "mean_ttft_ms"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const auto line = quire::json::parse(ran.out, "line");
  const auto number = [&](const char* name) { return *line.object()->find(name)->number(); };
  EXPECT_EQ(number("pairs"), 3);
  EXPECT_EQ(number("before"), 200);
  EXPECT_EQ(number("difference"), 2);
  EXPECT_NEAR(number("low"), 2 - 2.48414, 1e-4);
  EXPECT_NEAR(number("high"), 2 + 2.48414, 1e-4);
  EXPECT_EQ(number("percent"), 1);
  EXPECT_EQ(text(line, "verdict"), "not shown");
  EXPECT_EQ(text(line, "baseline"), "lru");
  EXPECT_THAT(ran.err, HasSubstr("1 row has no partner"));
  EXPECT_THAT(compared(rows, {"--level", "0.6"}).out, HasSubstr("higher"));
  EXPECT_THAT(compared(rows, {"--baseline", "sieve", "--level", "0.6"}).out, HasSubstr("lower"));
  EXPECT_THAT(compared(rows, {}).err, HasSubstr("equal in every pair: preemptions"));
  // what varies beside makes cells of its own
  const std::string faster = row_of("lru", 0, 5, "", "2") + row_of("sieve", 0, 4, "", "2");
  const Ran cells = compared(rows + faster, {"--between", "eviction", "--format", "csv"});
  EXPECT_THAT(cells.out, HasSubstr("request_rate,between"));
  EXPECT_THAT(cells.out, HasSubstr("2,eviction,lru,sieve,mean_ttft_ms,1,5,4,-1,,,-20,one pair"));
  EXPECT_EQ(compared(rows + faster, {}).exit_code, 2);  // which of the two?
  EXPECT_THAT(
      compared(row_of("lru", 0, 12345.6) + row_of("sieve", 0, 12347.6), {"--format", "md"}).out,
      AllOf(HasSubstr(" 12346 "), HasSubstr(" 12348 ")));
  // a pair of which one side has no number, as where nothing completed, is not left out unsaid
  std::string null = row_of("sieve", 0, 101);
  null.replace(null.find("101.000000"), 10, "null");
  const Ran lost =
      compared(row_of("lru", 0, 100) + null + row_of("lru", 1, 200) + row_of("sieve", 1, 202) +
                   row_of("lru", 2, 200) + row_of("sieve", 2, 203),
               {"--metric", "mean_ttft_ms", "--format", "csv"});
  EXPECT_THAT(lost.out, HasSubstr("mean_ttft_ms,2,200,202.5,"));
  EXPECT_THAT(lost.err,
              HasSubstr("mean_ttft_ms: 1 pair was left out, of which a row has no number there"));
  // a change that decided nothing
  EXPECT_THAT(compared(row_of("lru", 0, 1, "h") + row_of("sieve", 0, 1, "h"), {}).err,
              HasSubstr("the same decisions in every pair"));
}

/// A run names the settings that it reads and no others: the one that swaps has room to swap to.
TEST(QuireCommand, ComparesRunsThatReadDifferentSettings) {
  const TempDir folder;
  const std::string file = (folder.path() / "rows.jsonl").string();
  const auto row = [](const std::string& offload, const std::string& room, int seed, int ttft) {
    return R"({"run_id":"x","variant":"vllm","seed":)" + std::to_string(seed) + R"(,"offload":")" +
           offload + R"(",)" + (room.empty() ? "" : R"("swap_space_gib":)" + room + ",") +
           R"("mode":"simulated","mean_ttft_ms":)" + std::to_string(ttft) + "}\n";
  };
  const auto compared = [&](const std::string& rows, Words more) {
    std::ofstream(file) << rows;
    Words words{"compare", file, "--between", "offload", "--format", "csv"};
    words.insert(words.end(), more.begin(), more.end());
    return quire_command(words);
  };
  const std::string rows = row("recompute", "", 0, 10) + row("recompute", "", 1, 30) +
                           row("swap", "4", 0, 11) + row("swap", "4", 1, 31);
  const Ran one = compared(rows, {});
  EXPECT_THAT(one.out, HasSubstr("offload,recompute,swap,mean_ttft_ms,2,20,21,1,"));
  EXPECT_THAT(one.err, HasSubstr("one run of a pair does not read swap_space_gib\n"));
  EXPECT_THAT(one.err, Not(HasSubstr("no partner")));
  // rooms of two sizes stand apart, whichever side names them
  const std::string more = rows + row("swap", "8", 0, 13) + row("swap", "8", 1, 33);
  const Ran two = compared(more, {});
  EXPECT_THAT(two.out, HasSubstr("4,offload,recompute,swap,mean_ttft_ms,2,20,21,1,"));
  EXPECT_THAT(two.out, HasSubstr("8,offload,recompute,swap,mean_ttft_ms,2,20,23,3,"));
  const Ran back = compared(more, {"--baseline", "swap"});
  EXPECT_THAT(back.out, HasSubstr("4,offload,swap,recompute,mean_ttft_ms,2,21,20,-1,"));
  EXPECT_THAT(back.out, HasSubstr("8,offload,swap,recompute,mean_ttft_ms,2,23,20,-3,"));
  // a row that was cut is told of
  EXPECT_THAT(compared(rows + row("swap", "8", 0, 13).substr(0, 20), {}).err,
              HasSubstr("rows.jsonl: the last line is not a whole row and was left out"));
  EXPECT_THAT(compared(row("recompute", "", 0, 10) + row("swap", "4", 1, 31), {}).err,
              HasSubstr("none of recompute has the seed of another"));
}

TEST(QuireCommand, CompareRefusesInOneLine) {
  const TempDir folder;
  const std::string file = (folder.path() / "rows.jsonl").string();
  const auto refused = [&](const std::string& rows, Words more, int code, const char* says) {
    std::ofstream(file) << rows;
    Words words{"compare", file};
    words.insert(words.end(), more.begin(), more.end());
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, code) << ran.err;
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, HasSubstr(says));
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  };
  const std::string rows = row_of("lru", 0, 1) + row_of("sieve", 0, 2);
  refused(row_of("lru", 0, 1), {}, 2, "differ in no choice");
  refused(rows, {"--between", "evicton"}, 2, "eviction (the nearest)");
  refused(rows, {"--between", "request_rate"}, 3,
          "no two rows differ in request_rate alone; all have 1");
  refused(row_of("lru", 0, 1) + row_of("sieve", 0, 2, "", "2"), {"--between", "request_rate"}, 3,
          "no two rows differ in request_rate alone; the nearest differ in variant, eviction too");
  refused(rows, {"--metric", "mean_ttft"}, 2, "mean_ttft_ms (the nearest)");
  refused(rows, {"--baseline", "fifo"}, 2, "unknown value of eviction");
  refused(rows + row_of("lru", 0, 1), {}, 1, "row 3");
  refused(rows + "{\"run_id\":1}\n", {}, 1, "row 3");
  refused("", {}, 3, "no whole row in ");
  refused("{\"run_id\": \"torn", {}, 3, "no whole row in ");
  refused(rows, {"--level", "nan"}, 2, "--level: \"nan\" is out of range");
  EXPECT_THAT(quire_command({"compare", "/none"}).err, HasSubstr("no such file"));
  EXPECT_THAT(quire_command({"compare", "/dev/zero"}).err, HasSubstr("/dev/zero: is a device"));
}

TEST(QuireCommand, DropsTokensOnTheProcessor) {
  const TempDir folder;
  const std::string rows = (folder.path() / "rows.jsonl").string();
  Words words{"run",     "--executor",      "cpu",    "--model",
              induction, "--workload",      "random", "--input-len",
              "60",      "--output-len",    "4",      "--num-prompts",
              "4",       "--kv-memory-gib", "0.001",  "--retention-budget",
              "16"};
  EXPECT_THAT(quire_command(words).err, HasSubstr("the variant keeps all tokens"));
  words.insert(words.end(), {"--variant", "vllm_fp32+retention=streaming_llm", "--out", rows});
  const Ran ran = quire_command(words);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const auto row = quire::json::parse(read_rows(rows).at(0), "row");
  EXPECT_EQ(text(row, "retention"), "streaming_llm");
  words.insert(words.end(), {"--disk-dir", rows});
  EXPECT_THAT(quire_command(words).err, HasSubstr("the offload policy has no disk tier"));
}

// The user's variant has a disk tier: the second process finds there what the first left, also where
// the first had room for all and evicted nothing.
TEST(QuireCommand, AUsersPolicyRunsOnTheProcessorAboveADiskTier) {
  const TempDir folder;
  const std::string rows = (folder.path() / "rows.jsonl").string();
  // Six blocks on the device and as many on the host: most of eight prompts goes on to disk.
  Words words{"run",    "--executor",      "cpu",    "--model",          induction, "--workload",
              "random", "--input-len",     "40",     "--output-len",     "2",       "--num-prompts",
              "8",      "--kv-memory-gib", "0.0001", "--swap-space-gib", "0.0001"};
  const auto run = [&] { return quire::testing::run_program(QUIRE_USER_COMMAND, words); };
  EXPECT_EQ(run().exit_code, 2);
  EXPECT_THAT(run().err, HasSubstr("--disk-dir: is not given, and highest_block_first_fp32 has a "
                                   "disk tier"));
  Words other = words;
  other.insert(other.end(), {"--axis", "eviction=arc"});
  EXPECT_THAT(quire::testing::run_program(QUIRE_USER_COMMAND, other).err,
              HasSubstr("no variant that this program compiled for --executor cpu has eviction "
                        "\"arc\": each brings kernels of its own, so they are few; expected "
                        "highest_block, or"));
  words.insert(words.end(), {"--disk-dir", (folder.path() / "tier").string(), "--out", rows});
  for (int process = 0; process < 2; ++process) {
    const Ran ran = run();
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("highest_block_first_fp32: "));
    EXPECT_THAT(ran.out, HasSubstr("; measured\n"));
    if (process == 0) words.emplace_back("--append");
  }
  const auto give = [&](const char* flag, const std::string& value) {
    *(std::find(words.begin(), words.end(), flag) + 1) = value;
  };
  give("--kv-memory-gib", "0.01");
  give("--disk-dir", (folder.path() / "roomy").string());
  for (int process = 0; process < 2; ++process) EXPECT_EQ(run().exit_code, 0);
  const auto written = read_rows(rows);
  ASSERT_EQ(written.size(), 4u);
  const auto of = [&](std::size_t i, std::string_view name) {
    return number(quire::json::parse(written[i], "row"), name);
  };
  for (const std::size_t first : {0u, 2u}) {
    EXPECT_EQ(of(first, "hit_rate"), 0);
    EXPECT_EQ(of(first, "disk_blocks_found"), 0);
    EXPECT_GT(of(first + 1, "hit_rate"), 0);
    EXPECT_GT(of(first + 1, "disk_blocks_found"), 0);
  }
  EXPECT_EQ(of(2, "evictions"), 0);
}

// Runs of one sweep do not warm each other; the same sweep again, or one of its rows, finds its own.
TEST(QuireCommand, RunsOfASweepHaveEachAFolderOfTheDiskTier) {
  namespace fs = std::filesystem;
  const TempDir folder;
  const fs::path tier = folder.path() / "tier";
  const auto run = [&](const Words& more) {
    Words words{"run",    "--executor",      "cpu", "--model",      induction, "--workload",
                "random", "--input-len",     "40",  "--output-len", "2",       "--num-prompts",
                "4",      "--kv-memory-gib", "0.01"};
    words.insert(words.end(), more.begin(), more.end());
    return quire::testing::run_program(QUIRE_USER_COMMAND, words);
  };
  const auto refused = [&](const Words& more, const char* says) {
    const Ran ran = run(more);
    EXPECT_EQ(ran.exit_code, 2);
    EXPECT_THAT(ran.err, HasSubstr(says));
    EXPECT_FALSE(fs::exists(tier));
  };
  refused({"--axis", "disk_dir=[" + tier.string() + "]"}, "each run has a folder of its own");
  refused({"--disk-dir", tier.string(), "--search-rate", "1:2", "--keep", "mean_ttft_ms:100"},
          "each would find in --disk-dir what the one before it left");
  for (const bool warm : {false, true}) {
    const std::string rows = (folder.path() / (warm ? "warm" : "cold")).string();
    const Ran ran = run(
        {"--disk-dir", tier.string(), "--repetitions", "2", "--axis", "seed=[0,1]", "--out", rows});
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
    const auto written = read_rows(rows);
    ASSERT_EQ(written.size(), 4u);
    for (const std::string& line : written) {
      const auto row = quire::json::parse(line, "row");
      EXPECT_EQ(number(row, "disk_blocks_found") > 0, warm);
      EXPECT_EQ(number(row, "hit_rate") > 0, warm);
      const std::string own = (tier / text(row, "run_id")).string();
      EXPECT_TRUE(fs::is_directory(own));
      EXPECT_THAT(text(row, "rerun"), HasSubstr("--disk-dir " + own));
    }
  }
}

TEST(QuireCommand, GenerateRefusesInOneLine) {
  const auto refused = [](const Words& words, int code) {
    const Ran ran = quire_command(words);
    EXPECT_EQ(ran.exit_code, code) << ran.err;
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  };
  refused({"generate"}, 2);
  refused({"generate", induction}, 2);  // no prompt
  refused({"generate", induction, "--prompt", "a", "--temperature", "-1"}, 2);
  refused({"generate", induction, "--prompt", "a", "--n", "4", "--beam-width", "2"}, 2);
  refused({"generate", induction, "--prompt", "a", "--max-token", "2"}, 2);
  const std::string file = QUIRE_SOURCE_DIR "/README.md";
  refused({"generate", file, "--prompt", "a"}, 1);
  EXPECT_THAT(quire_command({"generate", file, "--prompt", "a"}).err, HasSubstr("is a file"));
  // Not even the prompt is printed where the text behind it is refused.
  refused({"generate", induction, "--prompt", "a b c d e", "--max-model-len", "3"}, 2);
  for (const char* flag : {"--temperature", "--top-p", "--min-p", "--repetition-penalty",
                           "--presence-penalty", "--length-penalty", "--top-k", "--seed"}) {
    const Words words{"generate", induction, "--prompt", "a", flag, "nan"};
    refused(words, 2);
    EXPECT_THAT(quire_command(words).err,
                HasSubstr("quire generate: " + std::string(flag) +
                          ": \"nan\" is out of range or no number; expected "));
  }
  refused({"generate", induction, "--prompt", "a", "--stop", ""}, 2);
  refused({"generate", induction, "--prompt", "a", "--min-tokens", "9", "--max-tokens", "8"}, 2);
  refused({"generate", induction, "--prompt", "a", "--beam-width", "2", "--top-k", "3"}, 2);
  refused({"generate", induction, "--prompt", "a", "--temperature", "0", "--top-k", "3"}, 2);
  refused({"generate", induction, "--prompt", "a", "--length-penalty", "2"}, 2);
  refused({"generate", induction, "--prompt", "a", "--weight-cache-mib", "3"}, 2);
  refused({"generate", induction, "--prompt", "a", "--logprobs", "2"}, 2);
  const Words fitted{"generate",
                     induction,
                     "--prompt",
                     "a",
                     "--kv-format",
                     "kvquant3",
                     "--kv-calibration-text",
                     file,
                     "--speculation",
                     "draft_model",
                     "--draft",
                     induction};
  refused(fitted, 2);
  EXPECT_THAT(quire_command(fitted).err, HasSubstr("--draft " + std::string(induction) + ": "));
  EXPECT_THAT(quire_command(fitted).err, HasSubstr("a draft model runs in it as well"));
  refused({"generate", "/none", "--prompt", "a"}, 1);
  EXPECT_THAT(quire_command({"generate", "/none", "--prompt", "a"}).err,
              HasSubstr("no such directory"));
  const std::string text = QUIRE_SOURCE_DIR "/README.md";
  EXPECT_THAT(quire_command({"run", "--executor", "cpu", "--model", text}).err,
              HasSubstr(text + ": is a file, and its name does not end in .gguf"));
  refused({"generate", induction, "--prompt", "a", "--top-p", "0"}, 2);
  refused({"generate", induction, "--prompt", "a", "--max-model-len", "99999"}, 2);
  EXPECT_THAT(quire_command({"generate", induction}).err, Not(HasSubstr("quire: quire")));
  refused({"generate", induction, "--prompt-file", "/none"}, 1);
  const Words many{"generate", induction, "--prompt", "a", "--pin-threads", "-t", "4096"};
  refused(many, 2);
  EXPECT_THAT(quire_command(many).err, HasSubstr("4096 threads cannot have a processor each"));
}

TEST(QuireCommand, PinsThreadsOfTheProcessorAlone) {
  Words words{"run", "--workload",    "random", "--input-len",     "20",    "--output-len",
              "2",   "--num-prompts", "2",      "--thread-places", "pinned"};
  EXPECT_THAT(quire_command(words).err, HasSubstr("it is of --executor cpu"));
  words.insert(words.end(),
               {"--executor", "cpu", "--model", induction, "--kv-memory-gib", "0.001"});
  Words many = words;
  many.insert(many.end(), {"--threads", "4096"});
  EXPECT_THAT(quire_command(many).err, HasSubstr("4096 threads cannot have a processor each"));
  words.insert(words.end(), {"--threads", "1"});
  const Ran ran = quire_command(words);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
}

TEST(QuireCommand, SaysWhatItIs) {
  const Ran ran = quire_command({"info", "--json"});
  ASSERT_EQ(ran.exit_code, 0);
  const auto info = quire::json::parse(ran.out, "info");
  for (const char* name : {"git_sha", "version", "compiler", "cpu_model", "variants", "simd"}) {
    EXPECT_NE(info.object()->find(name), nullptr) << name;
  }
  EXPECT_EQ(text(info, "program").size(), 16u);
  EXPECT_THAT(quire_command({"info"}).out, HasSubstr("CUDA"));
}

}  // namespace

#endif
