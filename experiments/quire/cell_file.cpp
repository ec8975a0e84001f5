// Files of cells: what `quire sweep plan --out` writes and `quire sweep run --cells` reads.
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/quire/sweep.hpp>
#include <quire/core/json.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {
namespace {

constexpr std::string_view cell_schema = "quire.cell/1";

/// The options that the words of a cell come to.
RunOptions options_of(const std::vector<std::string>& words, const std::string& where) {
  RunOptions options;
  CLI::App app;
  add_run_flags(app, options);
  std::vector<std::string> reversed(words.rbegin(), words.rend() - 1);  // without `run`
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    throw data_error(where, std::string("its words are not those of a run: ") + error.what(),
                     "a cell that this program's `quire sweep plan` wrote");
  }
  settle_measurement(options);
  return options;
}

std::string measured_as(const RunOptions& o) {
  std::string text = o.measurement.stream ? "stream " : "";
  for (const std::string& word : o.goodput) text += word + " ";
  if (!o.search_rate.empty()) {
    text += o.search_rate + " " + detail::plain_number(o.measurement.search.attainment) + " ";
    for (const std::string& word : o.keep) text += word + " ";
  }
  for (const double p : o.measurement.percentiles) text += detail::plain_number(p) + " ";
  return text;
}

}  // namespace

std::vector<std::string> lines_of_plan(const std::filesystem::path& path) {
  constexpr const char* whole = "a whole one, as `quire sweep plan --out` wrote it";
  if (!std::filesystem::is_regular_file(path)) throw data_error(path.string(), "is no file", whole);
  bool torn = false;
  std::vector<std::string> lines = metrics::read_rows(path, &torn);
  if (torn) {
    throw data_error(path.string() + ": line " + std::to_string(lines.size() + 1),
                     "the file ends inside it", whole);
  }
  if (lines.empty()) throw data_error(path.string(), "holds no cell", whole);
  return lines;
}

void write_cells(const std::filesystem::path& path, const Prepared& prepared,
                 const std::vector<std::size_t>& which) {
  // Renamed when it is whole: nobody runs half a plan.
  const std::filesystem::path unfinished = path.string() + ".unfinished";
  std::error_code ignored;
  if (!path.parent_path().empty()) {
    std::filesystem::create_directories(path.parent_path(), ignored);
  }
  std::ofstream file(unfinished, std::ios::trunc);
  for (const std::size_t i : which) {
    const Cell& cell = prepared.cells[i];
    const std::vector<std::string> words = rerun_words(cell, prepared.how, prepared.program);
    std::string list;
    for (std::size_t w = 1; w < words.size(); ++w) {
      list += (list.empty() ? "[" : ", ") + metrics::json_quoted(words[w]);
    }
    file << metrics::JsonObject()
                .add("schema", cell_schema)
                .add("cell", row_of(prepared, i).run_id())
                .add("repetition", cell.repetition)
                .raw("words", list + "]")
                .text()
         << '\n';
  }
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(unfinished, path, error);
  if (!file || error) throw state_error(path.string(), "cannot be written", "a writable folder");
}

std::vector<Cell> read_cells(const std::filesystem::path& path, RunOptions& o,
                             std::vector<std::string>& hashes) {
  const bool asked = !o.selection.variants.empty() || !o.selection.filter.empty() ||
                     !o.axes.empty() || !o.selection.given.empty() || !o.goodput.empty() ||
                     !o.search_rate.empty() || o.selection.repetitions > 1 ||
                     o.measurement.stream || o.measurement.percentiles != Measurement{}.percentiles;
  if (asked) {
    throw usage_error("--cells " + path.string(), "says what is run, and so do other flags",
                      "one of both");
  }
  std::vector<std::string> lines = lines_of_plan(path);
  std::vector<std::size_t> numbers(lines.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
  const Shard shard = shard_of(o);
  std::erase_if(numbers, [&shard](std::size_t i) { return !shard.has(i); });
  std::vector<RunOptions> runs;
  std::vector<std::uint64_t> repetitions;
  std::string how;
  Selection all;  // names every variant
  for (const std::size_t i : numbers) {
    const std::string where = path.string() + ": line " + std::to_string(i + 1);
    const json::Value line = json::parse(lines[i], where);
    const std::string* schema = text_member(&line, "schema");
    const std::string* hash = text_member(&line, "cell");
    if (schema == nullptr || *schema != cell_schema || hash == nullptr) {
      throw data_error(where, "is no cell", "schema quire.cell/1 and a cell");
    }
    const json::Value* list = line.object()->find("words");
    const json::Value* repetition = line.object()->find("repetition");
    if (list == nullptr || list->array() == nullptr || list->array()->empty() ||
        repetition == nullptr || repetition->integer() == nullptr || *repetition->integer() < 0) {
      throw data_error(where, "is no whole cell", "a repetition and the words of a run");
    }
    std::vector<std::string> words;
    for (const json::Value& word : *list->array()) {
      if (word.string() == nullptr) throw data_error(where, "has a word that is none", "text");
      words.push_back(*word.string());
    }
    RunOptions one = options_of(words, where);
    if (runs.empty()) {
      all.settings.executor = o.selection.settings.executor = one.selection.settings.executor;
      o.measurement.slo = one.measurement.slo;
      o.measurement.percentiles = one.measurement.percentiles;
      o.measurement.stream = one.measurement.stream;
      o.measurement.search = one.measurement.search;
      how = measured_as(one);
    } else if (one.selection.settings.executor != o.selection.settings.executor ||
               measured_as(one) != how) {
      throw data_error(where, "has another executor or other objectives than the cells before it",
                       "a file for each");
    }
    repetitions.push_back(static_cast<std::uint64_t>(*repetition->integer()));
    all.variants.insert(all.variants.end(), one.selection.variants.begin(),
                        one.selection.variants.end());
    hashes.push_back(*hash);
    runs.push_back(std::move(one));
  }
  std::vector<Cell> cells;
  if (!runs.empty()) {
    o.variants = variants_of(o.selection.settings.executor);
    add_chosen(o.variants, all);
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    std::vector<Cell> made = make_cells(o.variants, runs[i].selection);
    if (made.size() != 1) {
      throw data_error(path.string() + ": line " + std::to_string(numbers[i] + 1),
                       "its words make " + std::to_string(made.size()) + " runs", "one");
    }
    made.front().repetition = repetitions[i];
    check_cell(made.front());
    cells.push_back(std::move(made.front()));
  }
  if (o.jobs > 1 && !o.variants.empty() && o.variants.front().mode == metrics::Mode::measured) {
    throw usage_error("--jobs", "runs at once would measure each other",
                      "--jobs 1 with --executor " + o.selection.settings.executor);
  }
  return cells;
}

void check_hashes(const std::filesystem::path& path, const Prepared& prepared,
                  const std::vector<std::string>& hashes) {
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (row_of(prepared, i).run_id() == hashes[i]) continue;
    throw data_error(path.string() + ": cell " + hashes[i],
                     "is another one now: a trace, a checkpoint or this program has changed since "
                     "it was planned (" +
                         describe(prepared.cells[i]) + ")",
                     "a new `quire sweep plan`");
  }
}

}  // namespace quire::experiment
