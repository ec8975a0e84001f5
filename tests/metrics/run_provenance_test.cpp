#include <quire/metrics/run_provenance.hpp>

#include <sstream>

#include <gtest/gtest.h>

#include <quire/core/json.hpp>

namespace {

using namespace quire::metrics;

TEST(RunProvenance, CommandLinesCanBeTypedAgain) {
  const char* words[] = {"/usr/bin/quire", "run", "--filter", "a b|c", "it's", ""};
  EXPECT_EQ(command_line(6, words), "quire run --filter 'a b|c' 'it'\\''s' ''");
}

TEST(RunProvenance, TimeIsUtc) {
  EXPECT_EQ(utc_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_time(1700158546), "2023-11-16T18:15:46Z");
}

/// Virtual machines call several generations alike: two of these have one name.
TEST(RunProvenance, ProcessorsAreToldApartByFamilyAndModel) {
  const auto of = [](const char* text) {
    std::istringstream cpus(text);
    return processor(cpus);
  };
  EXPECT_EQ(of("processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n"
               "model name\t: AMD EPYC\nflags\t\t: fpu\n\nprocessor\t: 1\nmodel name\t: other\n"),
            "AMD EPYC, family 25 model 17");
  EXPECT_EQ(of("cpu family\t: 26\nmodel name\t: AMD EPYC\n"), "AMD EPYC, family 26");
  EXPECT_EQ(of("model name\t: Some Board\nno colon\n:\n"), "Some Board");
  EXPECT_EQ(of("Features\t: fp asimd\n"), "");
  EXPECT_EQ(of(""), "");
}

TEST(RunProvenance, KnowsTheMachineAndSaysWhetherItWasSimulated) {
  const char* words[] = {"quire"};
  const RunProvenance p = provenance_now({.git_sha = "abc", .version = "0.1"}, 1, words);
  EXPECT_GT(p.num_cpus, 0u);
  EXPECT_FALSE(p.compiler_version.empty());
  const auto row = quire::json::parse(p.json(true).text(), "row");
  for (const char* name : {"git_sha", "git_dirty", "version", "host", "cpu_model", "num_cpus",
                           "gpu", "driver", "compiler", "compiler_version", "cxx_flags",
                           "build_type", "cuda", "cmdline", "time_utc", "simulated"}) {
    EXPECT_NE(row.object()->find(name), nullptr) << name;
  }
  EXPECT_EQ(*row.object()->find("git_sha")->string(), "abc");
  EXPECT_TRUE(*row.object()->find("simulated")->boolean());
}

}  // namespace
