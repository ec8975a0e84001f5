// quire compare: what one change changes, from rows that differ in nothing else.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/cells.hpp>
#include <experiments/common/flag_values.hpp>
#include <experiments/common/output.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/common/table.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/core/json.hpp>
#include <quire/engine/config.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/metrics/paired_difference.hpp>
#include <quire/metrics/row_file.hpp>

namespace quire::experiment {
namespace compared {  // the commands are compiled as one file

struct CompareOptions {
  std::vector<std::string> files{};
  std::string between{}, baseline{};
  std::vector<std::string> metrics{};
  double level = 0.95;
  std::string format = "text";
};

/// What is shown when nobody names metrics, of those that rows have.
constexpr std::string_view usual_metrics[] = {"request_throughput",
                                              "output_throughput",
                                              "request_goodput",
                                              "slo_attainment",
                                              "mean_ttft_ms",
                                              "p99_ttft_ms",
                                              "mean_tpot_ms",
                                              "p99_itl_ms",
                                              "mean_e2el_ms",
                                              "p99_e2el_ms",
                                              "mean_normalized_latency_s",
                                              "hit_rate",
                                              "evictions",
                                              "preemptions",
                                              "swapped_out_blocks",
                                              "recomputed_tokens",
                                              "mean_batched_requests"};

/// A result row: what was chosen, and what came out.
struct Row {
  std::vector<std::pair<std::string, std::string>> choices{};  // in the row's order
  std::map<std::string, double, std::less<>> outcomes{};
  std::string draw{};  // seed and repetition, which pairs share
  std::string decisions{}, program{}, where{};

  [[nodiscard]] std::string choice(std::string_view name) const {
    for (const auto& [key, value] : choices) {
      if (key == name) return value;
    }
    return "";
  }
};

std::string text_of(const json::Value& value) {
  if (const auto* text = value.string()) return *text;
  if (const auto* truth = value.boolean()) return *truth ? "true" : "false";
  if (const auto* whole = value.integer()) return std::to_string(*whole);
  if (const auto number = value.number()) return metrics::json_number(*number);
  return "";
}

Row read_row(const std::string& line, const std::string& where) {
  const json::Value value = json::parse(line, where);
  const json::Object* object = value.object();
  if (object == nullptr || text_member(&value, "run_id") == nullptr ||
      object->find("mode") == nullptr) {
    throw data_error(where, "is no result row", "an object with the members 'run_id' and 'mode'");
  }
  Row row;
  row.where = where;
  bool chosen = true;  // what stands before the mode names the run
  for (const auto& [name, member] : object->members()) {
    if (name == "mode") chosen = false;
    if (name == "schema" || name == "run_id") continue;
    if (name == "seed" || name == "repetition") {
      row.draw += (row.draw.empty() ? "" : ", ") + name + " " + text_of(member);
    } else if (chosen || name == "mode") {
      row.choices.emplace_back(name, text_of(member));
    } else if (name == "decision_hash") {
      row.decisions = text_of(member);
    } else if (const auto number = member.number()) {
      row.outcomes.emplace(name, *number);
    }
  }
  if (const std::string* program = text_member(object->find("provenance"), "program")) {
    row.program = *program;
  }
  return row;
}

/// torn: files whose last line is not whole, and was left out
std::vector<Row> read_all(const std::vector<std::string>& files, std::vector<std::string>& torn) {
  std::vector<Row> rows;
  for (const std::string& file : files) {
    std::error_code none;
    if (!std::filesystem::exists(file, none)) {
      throw data_error(file, "no such file", "result rows, as `quire run --out` writes them");
    }
    if (std::filesystem::is_character_file(file, none)) {  // it may have no end
      throw data_error(file, "is a device", "a file of result rows");
    }
    std::size_t number = 0;
    bool cut = false;
    for (const std::string& line : metrics::read_rows(file, &cut)) {
      rows.push_back(read_row(line, file + ": row " + std::to_string(++number)));
    }
    if (cut) torn.push_back(file);
  }
  return rows;
}

bool is_slot(std::string_view name) {
  return std::find(std::begin(slot_names), std::end(slot_names), name) != std::end(slot_names);
}

/// A variant's name without the slot in question: vllm+eviction=sieve becomes vllm.
std::string without(const std::string& variant, const std::string& slot) {
  const std::size_t at = variant.find("+" + slot + "=");
  if (at == std::string::npos) return variant;
  const std::size_t end = variant.find('+', at + 1);
  return variant.substr(0, at) + (end == std::string::npos ? "" : variant.substr(end));
}

/// Choices that stay equal when only `between` changes.
std::vector<std::pair<std::string, std::string>> rest_of(const Row& row,
                                                         const std::string& between) {
  std::vector<std::pair<std::string, std::string>> rest;
  for (const auto& [name, value] : row.choices) {
    if (name == between || (between == "variant" && is_slot(name))) continue;
    rest.emplace_back(name, name == "variant" ? without(value, between) : value);
  }
  return rest;
}

/// Names of choices with several values; a variant's name follows its slots.
std::vector<std::string> varying(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  std::map<std::string, std::set<std::string>> values;
  for (const Row& row : rows) {
    for (const auto& [name, value] : row.choices) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      values[name].insert(name == "variant" ? value.substr(0, value.find('+')) : value);
    }
  }
  if (values["variant"].size() > 1) std::erase_if(names, is_slot);  // presets differ in them
  std::erase_if(names, [&](const std::string& name) { return values[name].size() < 2; });
  return names;
}

/// What to compare: as asked, or the only choice that varies.
std::string chosen_axis(const CompareOptions& o, const std::vector<Row>& rows) {
  const std::vector<std::string> names = varying(rows);
  if (!o.between.empty()) {
    std::vector<std::string> known;
    for (const auto& [name, value] : rows.front().choices) known.push_back(name);
    if (std::find(known.begin(), known.end(), o.between) == known.end()) {
      throw unknown_name("quire compare", "choice", o.between, known);
    }
    return o.between;
  }
  if (names.empty()) {
    throw usage_error("quire compare", "the rows differ in no choice",
                      "rows of two runs, such as those of --axis eviction=[lru,sieve]");
  }
  if (names.size() > 1) {
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
    throw usage_error("quire compare", "the rows differ in " + all, "--between with one of them");
  }
  return names.front();
}

std::vector<std::string> chosen_metrics(const CompareOptions& o, const std::vector<Row>& rows) {
  std::set<std::string, std::less<>> known;
  for (const Row& row : rows) {
    for (const auto& [name, value] : row.outcomes) known.insert(name);
  }
  for (const std::string& name : o.metrics) {
    if (!known.contains(name)) throw unknown_name("quire compare", "metric", name, known);
  }
  if (!o.metrics.empty()) return o.metrics;
  std::vector<std::string> found;
  for (const std::string_view name : usual_metrics) {
    if (known.contains(name)) found.emplace_back(name);
  }
  if (found.empty()) found.assign(known.begin(), known.end());
  return found;
}

template <class Names>
std::string list_of(const Names& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

using Choices = std::vector<std::pair<std::string, std::string>>;

/// What two rows chose together. A row leaves out settings that its run does not read: those do not tell
/// two rows apart.
struct Joined {
  Choices all;
  std::vector<std::string> differing, lacking;  // names: of two values, and of one row alone
};
Joined join(const Choices& a, const Choices& b) {
  const auto find = [](const Choices& in, const std::string& name) {
    return std::find_if(in.begin(), in.end(), [&](const auto& c) { return c.first == name; });
  };
  Joined out{a, {}, {}};
  for (const auto& [name, value] : a) {
    const auto other = find(b, name);
    if (other == b.end()) {
      out.lacking.push_back(name);
    } else if (other->second != value) {
      out.differing.push_back(name);
    }
  }
  for (const auto& choice : b) {
    if (find(a, choice.first) != a.end()) continue;
    out.lacking.push_back(choice.first);
    out.all.push_back(choice);
  }
  return out;
}

/// Pairs of equal draw whose rows differ in one choice alone.
struct Cell {
  Choices rest;
  std::size_t baseline = 0;  // the first baseline's row
  std::size_t value = 0;     // which one stands against the baseline
  std::vector<std::pair<const Row*, const Row*>> pairs;
};

struct Paired {
  std::vector<Cell> cells;
  std::set<std::string> lacking;                    // settings that one row of a pair does not read
  std::optional<std::vector<std::string>> nearest;  // what those differ in that nearly are a pair
  std::size_t unpaired = 0;
};

/// \errors data_error where a run is there twice
Paired pair_up(const std::vector<Row>& rows, const std::string& between,
               const std::vector<std::string>& values, std::size_t baseline) {
  std::vector<Choices> rest;
  std::vector<std::size_t> value_of;
  std::map<std::string, std::vector<std::size_t>> baselines;  // rows by draw
  std::map<std::string, const Row*> seen;
  for (const Row& row : rows) {
    rest.push_back(rest_of(row, between));
    const auto at = std::find(values.begin(), values.end(), row.choice(between));
    value_of.push_back(static_cast<std::size_t>(at - values.begin()));
    std::string key = row.draw + '\0' + *at;
    for (const auto& [name, value] : rest.back()) key += '\0' + name + '\0' + value;
    const auto [there, fresh] = seen.emplace(key, &row);
    if (!fresh) {
      throw data_error(row.where, "is the run of " + there->second->where + " once more",
                       "each run once: other seeds, or one of the files");
    }
    if (value_of.back() == baseline) baselines[row.draw].push_back(rest.size() - 1);
  }
  Paired out;
  std::map<std::string, std::size_t> place;
  std::vector<bool> paired(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (value_of[i] == baseline) continue;
    for (const std::size_t base : baselines[rows[i].draw]) {
      const Joined both = join(rest[base], rest[i]);
      if (!both.differing.empty()) {
        if (!out.nearest || both.differing.size() < out.nearest->size()) {
          out.nearest = both.differing;
        }
        continue;
      }
      out.lacking.insert(both.lacking.begin(), both.lacking.end());
      std::string key = values[value_of[i]];
      for (const auto& [name, value] : both.all) key += '\0' + name + '\0' + value;
      const auto [at, fresh] = place.try_emplace(key, out.cells.size());
      if (fresh) out.cells.push_back({both.all, base, value_of[i], {}});
      out.cells[at->second].pairs.emplace_back(&rows[base], &rows[i]);
      paired[base] = paired[i] = true;
    }
  }
  out.unpaired = static_cast<std::size_t>(std::count(paired.begin(), paired.end(), false));
  std::stable_sort(out.cells.begin(), out.cells.end(), [](const Cell& a, const Cell& b) {
    return std::pair(a.baseline, a.value) < std::pair(b.baseline, b.value);
  });
  return out;
}

int compare(const CompareOptions& o) {
  std::vector<std::string> torn;
  const std::vector<Row> rows = read_all(o.files, torn);
  if (rows.empty()) {
    std::string names;
    for (const std::string& file : o.files) names += (names.empty() ? "" : ", ") + file;
    throw NothingMatched{"quire compare: no whole row in " + names};
  }
  const std::string between = chosen_axis(o, rows);
  const std::vector<std::string> metrics = chosen_metrics(o, rows);

  std::vector<std::string> values;  // of the choice, in the rows' order
  std::set<std::string> programs;
  for (const Row& row : rows) {
    const std::string value = row.choice(between);
    if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    programs.insert(row.program);
  }
  const std::string baseline = o.baseline.empty() ? values.front() : o.baseline;
  const auto chosen = std::find(values.begin(), values.end(), baseline);
  if (chosen == values.end()) {
    throw unknown_name("quire compare", "value of " + between, baseline, values);
  }
  const Paired paired =
      pair_up(rows, between, values, static_cast<std::size_t>(chosen - values.begin()));

  std::vector<std::string> apart;  // what tells cells from each other
  for (const std::string& name : varying(rows)) {
    if (name != between && !(between == "variant" && is_slot(name))) apart.push_back(name);
  }
  std::vector<std::pair<std::string, std::string>> lines;  // metric, JSON
  std::vector<std::string> remarks;
  std::set<std::string> moved;                  // metrics that are not equal in every pair
  std::map<std::string, std::size_t> left_out;  // metrics: pairs of which a row has no number
  std::size_t shown = 0, intervals = 0, single = 0;
  for (const Cell& cell : paired.cells) {
    const auto& pairs = cell.pairs;
    const std::string& value = values[cell.value];
    std::string name = between + " " + value + " against " + baseline;
    for (const auto& [key, said] : cell.rest) {
      if (std::find(apart.begin(), apart.end(), key) != apart.end())
        name += ", " + key + " " + said;
    }
    if (std::all_of(pairs.begin(), pairs.end(), [](const auto& p) {
          return !p.first->decisions.empty() && p.first->decisions == p.second->decisions;
        })) {
      remarks.push_back(name + ": the same decisions in every pair");
    }
    if (pairs.size() == 1) ++single;
    for (const std::string& metric : metrics) {
      std::vector<double> before, after;
      for (const auto& [from, to] : pairs) {
        const auto a = from->outcomes.find(metric), b = to->outcomes.find(metric);
        if (a == from->outcomes.end() || b == to->outcomes.end()) {
          ++left_out[metric];
          continue;
        }
        before.push_back(a->second);
        after.push_back(b->second);
      }
      if (before.empty()) continue;
      const auto d = metrics::paired_difference(before, after, o.level);
      const bool equal = before == after;
      if (d.pairs > 1 && !equal) ++intervals;
      if (d.is_shown()) ++shown;
      if (!equal) moved.insert(metric);
      metrics::JsonObject line;
      for (const auto& [key, said] : cell.rest) {
        if (std::find(apart.begin(), apart.end(), key) != apart.end()) line.add(key, said);
      }
      line.add("between", between).add("baseline", baseline).add("other", value);
      line.add("metric", metric).add("pairs", d.pairs).add("before", d.before);
      line.add("after", d.after).add("difference", d.difference);
      line.add("low", d.low).add("high", d.high);
      line.add("percent", d.before == 0 ? std::nan("") : 100 * d.difference / d.before);
      line.add("verdict", equal              ? "equal"
                          : d.pairs == 1     ? "one pair"
                          : !d.is_shown()    ? "not shown"
                          : d.difference > 0 ? "higher"
                                             : "lower");
      lines.emplace_back(metric, line.text());
    }
  }
  if (lines.empty()) {
    const std::string why = values.size() == 1 ? "all have " + baseline
                            : paired.nearest
                                ? "the nearest differ in " + list_of(*paired.nearest) + " too"
                                : "none of " + baseline + " has the seed of another";
    throw NothingMatched{"quire compare: no two rows differ in " + between + " alone; " + why};
  }

  const bool table = o.format == "text" || o.format == "md";
  if (table && !moved.empty()) {  // what nothing moved is told in one line
    std::string still;
    for (const std::string& metric : metrics) {
      if (!moved.contains(metric)) still += (still.empty() ? "" : ", ") + metric;
    }
    if (!still.empty()) remarks.push_back("equal in every pair: " + still);
    std::erase_if(lines, [&](const auto& line) { return !moved.contains(line.first); });
  }
  std::vector<std::string> texts;
  for (const auto& [metric, text] : lines) texts.push_back(text);
  if (o.format == "jsonl") {
    for (const std::string& text : texts) std::cout << text << '\n';
  } else if (o.format == "csv") {
    Table(texts).print_csv(std::cout);
  } else {
    std::vector<Table::Column> columns;
    for (const std::string& name : apart) columns.push_back({name});
    columns.push_back({"other", Table::Show::if_different});
    for (const char* name : {"metric", "pairs", "before", "after", "difference", "low", "high",
                             "percent", "verdict"}) {
      columns.push_back({name});
    }
    std::cout << between << ": before is " << baseline << ", after is "
              << (values.size() == 2 ? values[values.front() == baseline ? 1 : 0] : "`other`")
              << "; low to high holds the difference with " << 100 * o.level
              << " % confidence, over pairs of equal seed\n\n";
    Table(texts).print_markdown(std::cout, columns);
    std::cout << '\n' << std::flush;
  }
  if (intervals > 1) {
    remarks.push_back(
        std::to_string(shown) + " of " + std::to_string(intervals) +
        " intervals exclude 0; with no difference at all about " +
        metrics::json_number(std::round(10 * static_cast<double>(intervals) * (1 - o.level)) / 10) +
        " would");
  }
  if (single > 0) {
    remarks.emplace_back("one pair has no interval: run more seeds, as --axis seed=[0:9:1]");
  }
  if (!paired.lacking.empty()) {
    remarks.push_back("one run of a pair does not read " + list_of(paired.lacking));
  }
  if (paired.unpaired > 0) {
    remarks.push_back(std::to_string(paired.unpaired) +
                      (paired.unpaired == 1 ? " row has" : " rows have") +
                      " no partner that differs in " + between + " alone and was left out");
  }
  std::map<std::size_t, std::vector<std::string>> incomplete;
  for (const auto& [metric, count] : left_out) incomplete[count].push_back(metric);
  for (const auto& [count, names] : incomplete) {
    remarks.push_back(list_of(names) + ": " + std::to_string(count) +
                      (count == 1 ? " pair was" : " pairs were") +
                      " left out, of which a row has no number there");
  }
  for (const std::string& file : torn) {
    remarks.push_back(file + ": the last line is not a whole row and was left out");
  }
  if (programs.size() > 1) {
    remarks.push_back("the rows come from " + std::to_string(programs.size()) +
                      " different programs");
  }
  for (const std::string& remark : remarks) std::cerr << remark << '\n';
  return 0;
}

}  // namespace compared

void add_compare(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "compare",
      "Says what one change changes: pairs rows that differ in one choice alone and share their\n"
      "seed, and prints the mean difference of each metric with its interval.\n\n"
      "Examples:\n"
      "  quire run --variant vllm_prefix_cache --workload shared_prefix --num-prefixes 200\\\n"
      "    --kv-memory-gib 6 --request-rate 3 --axis eviction=[lru,sieve] --axis seed=[0:9:1]\\\n"
      "    --out rows.jsonl\n"
      "  quire compare rows.jsonl\n"
      "  quire compare rows.jsonl --between eviction --baseline sieve --metric "
      "hit_rate,p99_ttft_ms\n"
      "  quire compare monday.jsonl tuesday.jsonl --between scheduler --format csv");
  const auto o = std::make_shared<compared::CompareOptions>();
  command->add_option("files", o->files, "files of result rows")->required();
  command->add_option(
      "--between", o->between,
      "the choice that was changed: a slot, a setting or variant; not needed where\n"
      "the rows differ in one alone");
  command->add_option("--baseline", o->baseline, "its value before; that of the first row");
  command->add_option("--metric", o->metrics, "metrics, comma-separated; the usual ones")
      ->delimiter(',');
  command->add_option("--level", o->level, "share of intervals that hold the true difference")
      ->check(number_between(0.5, 0.9999, "a share from 0.5 to 0.9999"))
      ->capture_default_str();
  command->add_option("--format", o->format, "text, md, csv or jsonl")
      ->check(one_of("format", {"text", "md", "csv", "jsonl"}))
      ->capture_default_str();
  command->callback([o, &exit_code] { exit_code = compared::compare(*o); });
}

}  // namespace quire::experiment
