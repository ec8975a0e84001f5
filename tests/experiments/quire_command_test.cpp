// The quire program as a user meets it. QUIRE_COMMAND and QUIRE_USER_COMMAND are its paths.
#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>
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

TEST(QuireCommand, ListsEveryVariantAsJson) {
  const Ran ran = quire_command({"list", "--json"});
  ASSERT_EQ(ran.exit_code, 0);
  const auto all = quire::json::parse(ran.out, "list");
  std::set<std::string> names;
  for (const auto& v : *all.object()->find("variants")->array()) {
    EXPECT_TRUE(names.insert(text(v, "name")).second) << text(v, "name");
    for (const char* slot : {"block_size", "reservation", "prefix_index", "eviction", "admission",
                             "offload", "kv_format", "weight_format", "retention", "scheduler"}) {
      EXPECT_NE(text(v, slot), "") << slot;
    }
  }
  for (const char* preset : {"vllm", "vllm_prefix_cache", "orca_max", "orca_pow2", "orca_oracle",
                             "faster_transformer", "hf_transformers", "tgi", "torchserve",
                             "sarathi", "vllm_prefix_cache+sieve", "vllm+block_size=256"}) {
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
  ASSERT_EQ(variants.size(), 2u);
  EXPECT_EQ(text(variants[1], "name"), "highest_block_first");
  EXPECT_EQ(text(variants[1], "eviction"), "highest_block");
  const Ran run = quire::testing::run_program(
      QUIRE_USER_COMMAND,
      short_run({"--variant", "highest_block_first", "--workload", "shared_prefix"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("Successful requests:                    20"));
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
        "mean_normalized_latency_s", "swaps_refused", "preemptions", "recomputed_tokens"}) {
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
  std::set<std::int64_t> tracks;
  for (const auto& event : *trace.object()->find("traceEvents")->array()) {
    names.insert(text(event, "name"));
    if (text(event, "ph") == "X") tracks.insert(*event.object()->find("tid")->integer());
  }
  EXPECT_TRUE(names.contains("prefill"));
  EXPECT_TRUE(names.contains("decode"));
  EXPECT_TRUE(names.contains("KV tokens"));
  EXPECT_EQ(tracks.size(), 20u);  // one for each sequence
}

/// A model that continues a text as it went on when it last occurred: what it says is known.
constexpr const char* induction =
    QUIRE_SOURCE_DIR "/experiments/small_models/checkpoints/induction";

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
  EXPECT_EQ(texts[0], "defgh;abcdefgh;abcde");
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_EQ(texts[2], "23;0123;0123;0123;01");
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
  EXPECT_EQ(quire_command({"run", "--executor", "cpu"}).exit_code, 1);  // opt_13b is no folder
  EXPECT_EQ(quire_command({"list", "--executor", "gpu"}).exit_code, 2);
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
  refused({"generate", "/none", "--prompt", "a"}, 1);
  refused({"generate", induction, "--prompt-file", "/none"}, 1);
}

TEST(QuireCommand, SaysWhatItIs) {
  const Ran ran = quire_command({"info", "--json"});
  ASSERT_EQ(ran.exit_code, 0);
  const auto info = quire::json::parse(ran.out, "info");
  for (const char* name : {"git_sha", "version", "compiler", "cpu_model", "variants", "simd"}) {
    EXPECT_NE(info.object()->find(name), nullptr) << name;
  }
  EXPECT_THAT(quire_command({"info"}).out, HasSubstr("CUDA"));
}

}  // namespace

#endif
