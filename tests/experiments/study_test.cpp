// The laboratories over policies that are not Quire's own, as `experiments/study` compiles them.
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/core/json.hpp>
#include <quire/metrics/row_file.hpp>

#include "tests/experiments/command.hpp"

#if defined(QUIRE_USER_EVICTION)  // not built where QUIRE_EXPERIMENTS is off

namespace {

using quire::testing::Ran;
using quire::testing::TempDir;
using ::testing::HasSubstr;

/// A study's rows by their axis `part`; numbers alone.
using Row = std::map<std::string, double>;
struct Study {
  Ran ran;
  std::map<std::string, std::map<std::string, std::vector<Row>>> rows;  // by part, by variant
};

void add_numbers(const quire::json::Value& object, Row& row) {
  for (const auto& member : object.object()->members()) {
    if (member.value.object() != nullptr) add_numbers(member.value, row);
    if (const auto number = member.value.number()) row[member.key] = *number;
  }
}
std::string text_below(const quire::json::Value& object, const std::string& name) {
  for (const auto& member : object.object()->members()) {
    if (member.key == name && member.value.string() != nullptr) return *member.value.string();
    if (member.value.object() == nullptr) continue;
    if (const std::string found = text_below(member.value, name); !found.empty()) return found;
  }
  return {};
}

Study study(const std::string& program, const std::vector<std::string>& more) {
  const TempDir folder;
  const std::string out = (folder.path() / "rows.jsonl").string();
  std::vector<std::string> words{"--out", out, "--scale", "smoke"};
  words.insert(words.end(), more.begin(), more.end());
  Study s{quire::testing::run_program(program, words), {}};
  for (const std::string& line : quire::metrics::read_rows(out)) {
    const quire::json::Value row = quire::json::parse(line, "row");
    Row numbers;
    add_numbers(row, numbers);
    s.rows[text_below(row, "part")][text_below(row, "variant")].push_back(numbers);
  }
  return s;
}

TEST(Study, ShowsAnEvictionPolicyBesideKnownOnes) {
  Study s = study(QUIRE_USER_EVICTION, {});
  ASSERT_EQ(s.ran.exit_code, 0) << s.ran.err;
  EXPECT_THAT(s.ran.out, HasSubstr("Its hits over those of Belady's choice"));
  EXPECT_THAT(s.ran.out, HasSubstr("deepest_first"));
  for (const std::string part : {"curve", "breaks", "serving", "cost", "output"}) {
    EXPECT_FALSE(s.rows[part]["deepest_first"].empty()) << part;
    EXPECT_FALSE(s.rows[part]["lru"].empty()) << part;
  }
  // Belady's choice bounds every policy where each block stands for itself
  for (const auto& [variant, rows] : s.rows["curve"]) {
    for (const Row& row : rows) {
      EXPECT_GT(row.at("hits"), 0) << variant;
      EXPECT_LE(row.at("of_belady"), 1 + 1e-12) << variant;
    }
  }
  // and the order of eviction changes what is computed again, never what is said
  for (const auto& [variant, rows] : s.rows["output"]) {
    EXPECT_EQ(rows.at(0).at("different_tokens"), 0) << variant;
    EXPECT_GT(rows.at(0).at("generated_tokens"), 300) << variant;
    EXPECT_GT(rows.at(0).at("prefix_hit_tokens"), 0) << variant;
    EXPECT_GT(rows.at(0).at("evicted_blocks"), 100) << variant;
  }
  const auto found = [&](const std::string& policy) {
    return s.rows["output"][policy].at(0).at("prefix_hit_tokens");
  };
  EXPECT_NE(found("deepest_first"), found("fifo"));
}

TEST(Study, ShowsARetentionPolicyBesideKnownOnes) {
  Study s = study(QUIRE_USER_RETENTION, {"--axis", "budget=[32,128]"});
  ASSERT_EQ(s.ran.exit_code, 0) << s.ran.err;
  EXPECT_THAT(s.ran.out, HasSubstr("Exact recall of the induction model"));
  EXPECT_THAT(s.ran.out, HasSubstr("both_ends"));
  for (const std::string part : {"stories", "questions", "recall", "simulated", "cost"}) {
    EXPECT_FALSE(s.rows[part]["both_ends"].empty()) << part;
    EXPECT_FALSE(s.rows[part]["keep_all"].empty()) << part;
  }
  for (const Row& row : s.rows["recall"]["keep_all"]) EXPECT_EQ(row.at("recall_percent"), 100);
  for (const Row& row : s.rows["stories"]["both_ends"]) {
    EXPECT_LT(row.at("kept_percent"), 100);
    EXPECT_GT(row.at("perplexity"), s.rows["stories"]["keep_all"].at(0).at("perplexity"));
  }
}

TEST(Study, ShowsAReservationBesideThePresets) {
  const Ran ran = quire::testing::run_program(
      QUIRE_USER_RESERVATION, {"run", "--filter", ".", "--num-prompts", "60", "--workload",
                               "random", "--output-len", "100", "--request-rate", "4"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  for (const char* name : {"orca_max ", "orca_max+reservation=prompt_and_some ",
                           "orca_max+reservation=power_of_two ", "orca_max+reservation=oracle "}) {
    EXPECT_THAT(ran.out, HasSubstr(name));
  }
}

}  // namespace

#endif
