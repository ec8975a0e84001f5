// Runs cells: what `quire run` and `quire sweep run` share.
#include <experiments/quire/runner.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/build_info.hpp>
#include <experiments/common/eta.hpp>
#include <experiments/common/flag_values.hpp>
#include <experiments/common/flag_words.hpp>
#include <experiments/common/table.hpp>
#include <quire/core/thread_pool.hpp>

namespace quire::experiment {
namespace {

constexpr std::string_view formats[] = {"text", "md", "csv", "json", "jsonl"};
const Settings defaults{};
constexpr const char* too_large =
    "the run does not fit into this machine's memory; expected fewer requests, or less "
    "--kv-memory-gib, --swap-space-gib or --disk-space-gib";

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// SHA-256 of each trace that the cells read, so that a row names it before it is run.
std::map<std::string, std::string> trace_hashes(const std::vector<Cell>& cells) {
  std::map<std::string, std::string> hashes;
  for (const Cell& cell : cells) {
    const std::string& path = cell.settings.trace;
    if (path.empty() || hashes.contains(path)) continue;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored) && !std::filesystem::is_directory(path, ignored) &&
        !std::filesystem::is_regular_file(path, ignored)) {
      throw data_error(path, "is a pipe or a device, and a trace is read more than once",
                       "a trace file");
    }
    hashes[path] = workload::trace::LineReader(path).digest();
  }
  return hashes;
}

/// What the settings of each cell come to; a checkpoint is read once, however many cells run it.
void resolve(std::vector<Cell>& cells) {
  std::map<std::string, std::string> hashes;
  for (Cell& cell : cells) {
    const Settings& s = cell.settings;
    const bool measured = cell.variant->mode == metrics::Mode::measured;
    const model::Shape shape = shape_of(s);
    Resolved& r = cell.resolved;
    r.max_model_len = s.max_model_len > 0 ? s.max_model_len : shape.max_length.value;
    r.max_num_batched_tokens = s.max_num_batched_tokens > 0
                                   ? s.max_num_batched_tokens
                                   : std::max<std::int64_t>(2560, r.max_model_len);
    if (s.executor == "cpu") r.threads = static_cast<std::int64_t>(threads_of(s));
    const auto hash_of = [&hashes](const std::string& name, std::vector<std::filesystem::path> of) {
      const auto [at, fresh] = hashes.emplace(name, "");
      if (fresh) at->second = files_hash(of);
      return at->second;
    };
    if (!measured && is_hardware_file(s)) r.hardware_hash = hash_of(s.hardware, {s.hardware});
    if (!measured && !s.profile.empty() && s.cost_model != "roofline") {
      const auto files = profile_files_of(s);
      r.profile_hash = hash_of("profile " + s.profile, {files.begin(), files.end()});
    }
    if (!is_checkpoint(s)) continue;
    const auto [at, fresh] = hashes.emplace(s.model, "");
    if (fresh) at->second = checkpoint_hash(s.model, !measured);
    r.model_hash = at->second;
  }
}

std::string flag_of(std::string_view name) {
  std::string flag = "--";
  for (const char c : name) flag.push_back(c == '_' ? '-' : c);
  return flag;
}

/// `ttft:200 tpot:50`, in this order, however they were given.
std::vector<std::string> words_of(const metrics::Slo& slo) {
  std::vector<std::string> words;
  const auto add = [&words](const char* name, const std::optional<Seconds>& value) {
    if (value) words.push_back(name + detail::plain_number(value->value * 1000));
  };
  add("ttft:", slo.ttft);
  add("tpot:", slo.tpot);
  add("e2el:", slo.e2el);
  return words;
}
std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}
std::string percentiles_of(const Measurement& how) {
  std::vector<std::string> words;
  for (const double p : how.percentiles) words.push_back(detail::plain_number(p));
  return joined(words, ",");
}

/// The flags of a search for a rate.
std::vector<std::string> search_words(const Measurement& how) {
  using detail::plain_number;
  std::vector<std::string> words{
      "--search-rate", plain_number(how.search.low) + ":" + plain_number(how.search.high)};
  if (!how.slo.empty() && how.search.attainment != RateSearch{}.attainment) {
    words.insert(words.end(), {"--attainment", plain_number(how.search.attainment)});
  }
  if (!how.search.kept.empty()) words.emplace_back("--keep");
  for (const KeptBelow& k : how.search.kept) {
    words.push_back(k.metric + ":" + plain_number(k.most));
  }
  return words;
}

/// One line over a report: what ran on what.
std::string headline(const Cell& cell, const Outcome& outcome) {
  Settings s = cell.settings;
  const metrics::ResultRow row = identity_of(cell);
  std::string text = std::string(cell.variant->name) + ": ";
  if (outcome.highest_rate) s.request_rate = outcome.rate;
  if (outcome.highest_rate) {
    text = "highest rate " + detail::plain_number(outcome.highest_rate->attains) +
           " requests/s (not kept at " + detail::plain_number(outcome.highest_rate->fails) + ")\n" +
           text;
  }
  if (cell.variant->mode == metrics::Mode::measured) {
    text += s.model + " on " +
            (s.executor == "cuda"
                 ? cuda_device().said()
                 : "this machine, " + std::to_string(cell.resolved.threads) + " threads");
  } else {
    text += s.model + " on " +
            (s.tensor_parallel_size > 1 ? std::to_string(s.tensor_parallel_size) + " " : "") +
            s.hardware;
  }
  text += "; " + row.workload + ", " + std::to_string(outcome.requests) + " requests, ";
  if (s.arrival == "trace") {
    text += "arrivals of the trace";
    if (!std::isinf(s.request_rate)) text += " at " + detail::plain_number(s.request_rate) + "/s";
  } else if (std::isinf(s.request_rate) || s.arrival == "saturated") {
    text += "all at once";
  } else {
    text += s.arrival + " arrivals at " + detail::plain_number(s.request_rate) + "/s";
  }
  text += ", seed " + std::to_string(s.seed) + "; ";
  return text.append(metrics::to_string(cell.variant->mode));
}

/// What a user must know of an outcome beside its numbers; one sentence each.
std::vector<std::string> notices_of(const Cell& cell, const Outcome& outcome) {
  std::vector<std::string> notices;
  const auto count = [](std::int64_t n, const char* what) {
    return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
  };
  std::int64_t failed = 0;
  for (const Failures& f : outcome.report.failures()) failed += f.count;
  if (failed > 0) {
    notices.push_back(std::to_string(failed) + " of " + count(outcome.requests, "request") +
                      " failed: " + failures_of(outcome.report));
  }
  if (outcome.prompts_over_budget > 0) {
    notices.push_back(count(outcome.prompts_over_budget, "prompt") +
                      " longer than --max-num-batched-tokens " +
                      std::to_string(cell.resolved.max_num_batched_tokens) +
                      ": each waits until the batch has drained, and all others wait behind it "
                      "(vLLM asks for at least the model's length)");
  }
  if (outcome.outputs_cut > 0) {
    notices.push_back(count(outcome.outputs_cut, "answer") +
                      " cut short: prompt and output together are longer than the " +
                      std::to_string(cell.resolved.max_model_len) + " tokens of a sequence");
  }
  if (outcome.lines_without_tokens > 0) {
    notices.push_back(count(outcome.lines_without_tokens, "line") +
                      " of the trace without input or without output tokens left out");
  }
  return notices;
}

void print_rows(const std::vector<std::string>& lines, const std::string& format) {
  if (lines.empty()) return;
  if (format == "jsonl") {
    for (const std::string& line : lines) std::cout << line << '\n';
  } else if (format == "json") {
    for (std::size_t i = 0; i < lines.size(); ++i) {
      std::cout << (i == 0 ? "[\n  " : ",\n  ") << lines[i];
    }
    std::cout << "\n]\n";
  } else if (format == "csv") {
    Table(lines).print_csv(std::cout);
  } else {
    using Show = Table::Show;
    const Table table(lines);
    std::vector<Table::Column> columns{{"variant"}};
    for (const SettingField& f : setting_fields()) columns.push_back({f.name, Show::if_different});
    for (const char* name : {"repetition", "skipped"})
      columns.push_back({name, Show::if_different});
    columns.insert(columns.end(), {{"completed"},
                                   {"failed", Show::if_not_zero},
                                   {"unfinished", Show::if_not_zero},
                                   {"prompts_over_budget", Show::if_not_zero}});
    for (const char* name : {"request_throughput", "mean_ttft_ms", "p99_ttft_ms", "mean_tpot_ms",
                             "mean_normalized_latency_s", "mean_batched_requests",
                             "token_states_share", "preemptions"}) {
      columns.push_back({name});
    }
    // What the policies that vary decide.
    if (table.differs("eviction") || table.differs("admission") || table.differs("prefix_index")) {
      columns.insert(columns.end(), {{"hit_rate"}, {"evictions"}});
    }
    if (table.differs("kv_format") || table.differs("weight_format")) {
      columns.insert(
          columns.end(),
          {{"output_throughput"}, {"kv_bytes_per_token"}, {"kv_blocks"}, {"peak_memory_bytes"}});
    }
    if (table.differs("offload")) {
      columns.insert(columns.end(), {{"swapped_out_blocks"}, {"recomputed_tokens"}});
    }
    if (table.differs("speculation")) {
      columns.insert(columns.end(), {{"steps"}, {"drafted_tokens"}, {"accepted_tokens"}});
    }
    table.print_markdown(std::cout, columns);
  }
}

/// The labels that the user gives rows, as members of them.
metrics::JsonObject labels_of(const RunOptions& options) {
  metrics::JsonObject out;
  if (!options.label.empty()) out.add("label", options.label);
  for (const std::string& pair : options.metadata) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw usage_error("--metadata " + pair, "is no pair", "KEY=VALUE");
    }
    out.add("metadata_" + pair.substr(0, equals), pair.substr(equals + 1));
  }
  return out;
}

}  // namespace

void add_run_flags(CLI::App& command, RunOptions& o) {
  command.add_option("--variant", o.selection.variants, "variants by name, comma-separated")
      ->delimiter(',')
      ->group("Selection");
  command.add_option("-f,-R,--filter", o.selection.filter, "variants whose name matches REGEX")
      ->group("Selection");
  command
      .add_option("-a,--axis", o.axes,
                  "name=[v1,v2], name=[start:stop:step] or name[pow2]=[0:8] for 2^0 to 2^8, of a "
                  "slot or of any setting below; every combination is run")
      ->allow_extra_args(false)
      ->group("Selection");
  command
      .add_option("-r,--repetitions", o.selection.repetitions,
                  "runs of each cell of --executor cpu and cuda")
      ->check(whole_number(1, 1'000'000))
      ->group("Selection");
  for (const SettingField& field : setting_fields()) {
    const std::string flag = flag_of(field.name);
    std::string names = flag;
    if (!field.alias.empty()) names += "," + flag_of(field.alias);
    command
        .add_option_function<std::string>(
            names,
            [&o, &field, flag](const std::string& value) {
              if (value.empty())
                throw usage_error(flag, "\"\" is no value", "one, or no such flag");
              set_setting(o.selection.settings, field, value, flag);
              o.selection.given.emplace_back(field.name);
            },
            std::string(field.help))
        ->default_str(field.json(defaults))
        ->group("Settings");
  }
  command
      .add_option("--goodput", o.goodput,
                  "objectives in milliseconds: ttft:200 tpot:50 e2el:5000; gives request_goodput")
      ->expected(1, 3)
      ->group("Measurement");
  command
      .add_option("--metric-percentiles", o.measurement.percentiles,
                  "percentiles, comma-separated [99]")
      ->delimiter(',')
      ->check(number_between(0, 100, "a percentile from 0 to 100"))
      ->group("Measurement");
  command
      .add_flag("--stream", o.measurement.stream,
                "sum requests up as they end, for millions: percentiles within 0.1 %")
      ->group("Measurement");
  command
      .add_option("--search-rate", o.search_rate,
                  "LOW:HIGH: find the highest request rate between these that keeps --goodput for "
                  "--attainment of the requests, and --keep; the row is that rate's")
      ->group("Measurement");
  command
      .add_option("--attainment", o.measurement.search.attainment,
                  "share of requests that must meet --goodput [0.9]")
      ->check(share())
      ->group("Measurement");
  command
      .add_option("--keep", o.keep,
                  "METRIC:MOST of the whole run, such as p99_itl_ms:100 "
                  "median_scheduling_delay_ms:2000")
      ->expected(1, 8)
      ->group("Measurement");
  command.add_option("--timeout", o.measurement.timeout_s, "wall-clock seconds a run may take")
      ->check(positive_number())
      ->group("Measurement");
  command
      .add_option("--chrome-trace", o.measurement.chrome_trace,
                  "timeline of the run for ui.perfetto.dev; one run only")
      ->check(a_path())
      ->group("Measurement");
  command.add_option("-o,--out", o.out, "file to which rows are appended, one JSON object a line")
      ->check(a_path())
      ->group("Output");
  command.add_flag("--append", o.append, "add to rows that are there")->group("Output");
  command.add_flag("--resume", o.resume, "leave out what this program has finished in --out")
      ->group("Output");
  command.add_flag("--force", o.force, "start --out anew")->group("Output");
  command.add_option("--format", o.format, "what is printed: text, md, csv, json or jsonl")
      ->group("Output");
  command
      .add_flag_callback(
          "--json", [&o] { o.format = "json"; }, "--format json")
      ->group("Output");
  command.add_option("--label", o.label, "written into every row; not compared by --resume")
      ->group("Output");
  command.add_option("--metadata", o.metadata, "KEY=VALUE, written into every row")
      ->allow_extra_args(false)
      ->group("Output");
  command.add_flag("--progress", o.progress, "show progress even if stderr is no terminal")
      ->group("Output");
  command.add_flag("--no-progress", o.no_progress, "show none")->group("Output");
  command.add_flag("-q,--quiet", o.quiet, "print nothing but errors")->group("Output");
  command.add_option("--shard", o.shard, "run part i of n of the cells: i/n, from 1/n to n/n")
      ->group("Control");
  command.add_option("--jobs", o.jobs, "cells at once")
      ->check(whole_number(1, 1024))
      ->group("Control");
  command.add_flag("--dry-run", o.dry_run, "print the cells, run none")->group("Control");
  command.add_flag("--continue-on-error", o.continue_on_error, "go on after a run that failed")
      ->group("Control");
}

void settle_measurement(RunOptions& o) {
  o.measurement.slo = metrics::parse_slo(o.goodput);
  const std::vector<double>& percentiles = o.measurement.percentiles;
  for (auto p = percentiles.begin(); p != percentiles.end(); ++p) {
    if (std::find(percentiles.begin(), p, *p) == p) continue;
    throw usage_error("--metric-percentiles", "has " + detail::plain_number(*p) + " twice",
                      "each percentile once");
  }
  RateSearch& search = o.measurement.search;
  search.kept.clear();
  for (const std::string& text : o.keep) {
    search.kept.push_back(parse_kept(text, o.measurement.percentiles));
  }
  if (o.search_rate.empty()) {
    if (o.keep.empty() && search.attainment == RateSearch{}.attainment) return;
    throw usage_error("--keep --attainment", "say when a rate is too high, and none is looked for",
                      "--search-rate LOW:HIGH");
  }
  parse_rates(o.search_rate, search);
  if (o.goodput.empty() && o.keep.empty()) {
    throw usage_error("--search-rate", "nothing says when a rate is too high",
                      "--goodput, or --keep METRIC:MOST");
  }
  Selection& s = o.selection;
  const bool given = std::find(s.given.begin(), s.given.end(), "request_rate") != s.given.end() ||
                     std::any_of(o.axes.begin(), o.axes.end(), [](const std::string& axis) {
                       return axis.starts_with("request_rate");
                     });
  if (given || s.settings.arrival == "saturated") {
    throw usage_error("--search-rate", "the rate is said already",
                      "no --request-rate, and arrivals "
                      "that have one");
  }
  s.settings.request_rate = search.high;
}

std::string describe(const Cell& cell) {
  std::string text(cell.variant->name);
  text += " " + cell.settings.workload;
  for (const SettingField& f : setting_fields()) {
    if (f.name == "workload" || !unread_because(f.name, cell.settings, *cell.variant).empty()) {
      continue;
    }
    const std::string value = f.json(cell.settings);
    if (value != f.json(defaults)) text.append(" ").append(f.name).append("=").append(value);
  }
  if (cell.repetition > 0) text += " repetition=" + std::to_string(cell.repetition);
  if (!cell.variant->incompatible.empty()) {
    text.append(" (cannot run: ").append(cell.variant->incompatible).append(")");
  }
  return text;
}

Existing existing_of(const RunOptions& o) {
  if (o.append + o.resume + o.force > 1) {
    throw usage_error("--append --resume --force", "exclude each other", "one of them");
  }
  return o.append   ? Existing::append
         : o.resume ? Existing::resume
         : o.force  ? Existing::force
                    : Existing::refuse;
}

metrics::ResultRow row_of(const Prepared& p, std::size_t i) {
  const Cell& cell = p.cells[i];
  Cell named = cell;
  named.rate_is_sought = p.how.search.wanted();
  metrics::ResultRow row = identity_of(named);
  if (!cell.settings.trace.empty()) row.trace_sha256 = p.trace_hashes.at(cell.settings.trace);
  // Objectives and percentiles name it too: a row without them is not the one that was asked for.
  // The label does not.
  if (!p.how.slo.empty()) row.axes.add("goodput", joined(words_of(p.how.slo), " "));
  row.axes.add("metric_percentiles", percentiles_of(p.how));
  if (p.how.stream) row.axes.add("stream", true);
  if (p.how.search.wanted()) row.axes.add("search", joined(search_words(p.how), " "));
  return row;
}

std::vector<std::string> rerun_words(const Cell& cell, const Measurement& how,
                                     const std::string& program) {
  std::vector<std::string> words{program, "run", "--variant", std::string(cell.variant->name)};
  for (const SettingField& f : setting_fields()) {
    const std::string value = f.json(cell.settings);
    if (value == f.json(defaults) ||
        !unread_because(f.name, cell.settings, *cell.variant).empty() ||
        (how.search.wanted() && f.name == "request_rate")) {
      continue;
    }
    words.push_back(flag_of(f.name));
    const auto absolute = [](const std::string& path) {
      return std::filesystem::absolute(path).lexically_normal().string();
    };
    const Settings& s = cell.settings;
    if (f.name == "trace" || f.name == "disk_dir" || (f.name == "model" && is_checkpoint(s)) ||
        (f.name == "hardware" && is_hardware_file(s))) {
      words.push_back(absolute(f.name == "trace"      ? s.trace
                               : f.name == "disk_dir" ? s.disk_dir
                               : f.name == "model"    ? s.model
                                                      : s.hardware));
    } else if (f.name == "profile") {
      const auto files = profile_files_of(s);
      std::string paths;
      for (const std::string& file : files) paths += (paths.empty() ? "" : ",") + absolute(file);
      const bool prefix = !files.empty() && files.front() == s.profile + "dense.csv";
      words.push_back(prefix ? absolute(s.profile) : paths);
    } else {
      words.push_back(value.starts_with('"') ? value.substr(1, value.size() - 2) : value);
    }
  }
  if (!how.slo.empty()) {
    words.push_back("--goodput");
    for (std::string& word : words_of(how.slo)) words.push_back(std::move(word));
  }
  if (how.percentiles != Measurement{}.percentiles) {
    words.insert(words.end(), {"--metric-percentiles", percentiles_of(how)});
  }
  if (how.stream) words.push_back("--stream");
  if (how.search.wanted()) {
    for (std::string& word : search_words(how)) words.push_back(std::move(word));
  }
  words.insert(words.end(), {"--format", "jsonl"});
  return words;
}

void check_cell(const Cell& cell) {
  if (cell.settings.executor == "simulated") {
    const bool drafts = detail::policy_of(*cell.variant, "speculation") == "draft_model";
    static_cast<void>(simulated_options(cell.settings, drafts));
    if (drafts && cell.settings.cost_model != "roofline") {
      throw usage_error("--cost-model " + cell.settings.cost_model,
                        "prices one model, and this variant has a draft model beside it",
                        "--cost-model roofline");
    }
    static_cast<void>(cost_choice(cell.settings));
  } else if (model::find_shape(cell.settings.model) != nullptr) {
    throw usage_error("--executor " + cell.settings.executor,
                      "runs a checkpoint, and " + cell.settings.model + " is a shape alone",
                      "--model DIR, a folder with config.json, safetensors and tokenizer.json");
  } else if (cell.settings.disk_dir.empty() &&
             detail::is_one_of(detail::policy_of(*cell.variant, "offload"),
                               {"attention_store", "cost_based", "tiered", "tiered_look_ahead",
                                "tiered_overlapped"})) {
    throw usage_error("--disk-dir",
                      "is not given, and " + std::string(cell.variant->name) + " has a disk tier",
                      "a folder for it; one that is not there is made");
  }
  check_workload(cell.settings);
}

namespace {

/// Says which flags and axes no scheduler is known to read.
void tell_what_may_be_unread(const Selection& selection, const std::vector<Cell>& cells) {
  const auto tell = [&cells](const std::string& name, const std::string& where) {
    std::string_view scheduler;
    for (const Cell& cell : cells) {
      if (!unread_because(name, cell.settings, *cell.variant).empty()) continue;
      if (!may_be_unread(name, *cell.variant)) return;
      scheduler = detail::policy_of(*cell.variant, "scheduler");
    }
    if (scheduler.empty()) return;
    std::cerr << "quire: " << where << ": scheduler " << scheduler
              << " does not say what it reads, so this may change nothing (`reads` in "
                 "quire/scheduler/concepts.hpp)\n";
  };
  for (const std::string& name : selection.given) tell(name, flag_of(name));
  for (const Axis& axis : selection.axes) tell(axis.name, "--axis " + axis.name);
}

}  // namespace

Shard shard_of(const RunOptions& o) {
  if (!o.shard.empty() && o.count > 0) {
    throw usage_error("--shard", "and --index exclude each other", "one of them");
  }
  return !o.shard.empty() ? parse_shard(o.shard)
         : o.count > 0    ? checked_shard(o.index, o.count)
                          : Shard{};
}

std::vector<Cell> planned_cells(RunOptions& o) {
  for (const std::string& text : o.axes) o.selection.axes.push_back(parse_axis(text));
  if (!o.format.empty() &&
      std::find(std::begin(formats), std::end(formats), o.format) == std::end(formats)) {
    throw unknown_name("--format", "format", o.format, formats);
  }
  settle_measurement(o);
  static_cast<void>(labels_of(o));
  const Shard shard = shard_of(o);
  o.variants = variants_of(o.selection.settings.executor);
  add_chosen(o.variants, o.selection);
  if (o.jobs > 1 && o.variants.front().mode == metrics::Mode::measured) {
    throw usage_error("--jobs", "runs at once would measure each other",
                      "--jobs 1 with --executor " + o.selection.settings.executor);
  }
  if (o.selection.repetitions > 1 && o.variants.front().mode == metrics::Mode::simulated) {
    throw usage_error("--repetitions " + std::to_string(o.selection.repetitions),
                      "a simulated run repeats itself exactly",
                      "--axis seed=[0:" + std::to_string(o.selection.repetitions - 1) + "]");
  }
  std::vector<Cell> cells = make_cells(o.variants, o.selection);
  for (const Cell& cell : cells) check_cell(cell);
  if (!o.quiet) tell_what_may_be_unread(o.selection, cells);
  const auto on_disk = std::count_if(cells.begin(), cells.end(), lies_on_disk);
  o.several_on_disk = on_disk > 1;
  if (on_disk > 0 && o.measurement.search.wanted()) {
    throw usage_error("--search-rate",
                      "runs many times, and each would find in --disk-dir what "
                      "the one before it left",
                      "--axis request_rate=[...], whose runs have a folder each");
  }
  if (!o.measurement.chrome_trace.empty() && o.measurement.search.wanted()) {
    throw usage_error("--chrome-trace", "a search for a rate is many runs", "one --request-rate");
  }
  if (!o.measurement.chrome_trace.empty() && cells.size() != 1) {
    throw usage_error("--chrome-trace", "needs one run, not " + std::to_string(cells.size()),
                      "one variant, and no axis of several values");
  }
  std::vector<Cell> mine;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (shard.has(i)) mine.push_back(std::move(cells[i]));
  }
  return mine;
}

Prepared prepare(std::vector<Cell> cells, const RunOptions& o, const Invocation& invocation,
                 Stamp stamp) {
  Prepared p;
  resolve(cells);
  p.trace_hashes = trace_hashes(cells);
  p.how = o.measurement;
  p.cells = std::move(cells);
  if (o.several_on_disk) {
    // By what it runs, so that a part of a sweep, or the same one again, finds its own and no other's.
    for (std::size_t i = 0; i < p.cells.size(); ++i) {
      if (!lies_on_disk(p.cells[i])) continue;
      std::string& folder = p.cells[i].settings.disk_dir;
      folder = (std::filesystem::path(folder) / row_of(p, i).run_id()).string();
    }
  }
  p.provenance = metrics::provenance_now(build_info(), invocation.argc, invocation.argv);
  p.provenance.program = program_hash();
  if (o.selection.settings.executor == "cuda") {
    const DeviceSaid device = cuda_device();
    p.provenance.gpu = device.name;
    p.provenance.driver = device.driver;
    p.provenance.cuda = device.cuda;
  }
  p.labels = labels_of(o);
  p.program = invocation.argv[0];
  p.stamp = stamp;
  return p;
}

CellRun run_one(const Prepared& p, std::size_t i) {
  const Cell& cell = p.cells[i];
  metrics::ResultRow row = row_of(p, i);
  const bool timed = p.stamp == Stamp::moment || cell.variant->mode == metrics::Mode::measured;
  const std::vector<std::string> rerun = rerun_words(cell, p.how, p.program);
  std::vector<const char*> argv;
  for (const std::string& word : rerun) argv.push_back(word.c_str());
  const std::string command = metrics::command_line(static_cast<int>(argv.size()), argv.data());
  row.provenance = p.provenance;
  if (p.stamp == Stamp::timeless) row.provenance.cmdline = command;
  row.metrics.append(p.labels);
  CellRun run;
  try {
    if (!cell.variant->make && p.cells.size() > 1) {
      row.metrics.add("skipped", cell.variant->incompatible);
    } else {
      Outcome outcome = p.how.search.wanted() ? run_at_highest_rate(cell, p.how)
                                              : run_cell(cell, workload_of(cell.settings), p.how);
      row.metrics.append(metrics_of(outcome, p.how.percentiles, timed));
      row.metrics.add("rerun", command);
      run.wall_seconds = outcome.wall_seconds;
      const Report& report = outcome.report;
      run.nothing_completed =
          (report.is_streamed ? report.streamed.completed : report.summary().completed) == 0;
      run.notices = notices_of(cell, outcome);
      if (run.nothing_completed && run.notices.empty()) {
        const double warmup = cell.settings.warmup_s;
        run.notices.push_back(warmup > 0 ? "no request that arrived after --warmup-s " +
                                               detail::plain_number(warmup) + " has ended"
                                         : "no request has ended");
      }
      run.outcome = std::move(outcome);
    }
    row.provenance.time_utc = timed ? metrics::utc_time(std::time(nullptr)) : "";
    run.line = row.line();
  } catch (const Error& error) {
    // What a file must hold is named in the file's words: its column beam_width is no flag.
    run.error = error.kind() == ErrorKind::data ? error.what() : in_flags(error.what());
    run.exit_code = error.exit_code();
  } catch (const std::bad_alloc&) {
    run.error = too_large;
    run.exit_code = 1;
  } catch (const std::length_error&) {  // a vector of more than there are addresses for
    run.error = too_large;
    run.exit_code = 1;
  } catch (const std::exception&
               error) {  // of a policy of somebody's own: where it was thrown is told too
    run.error = error.what();
    run.exit_code = 1;
  }
  return run;
}

Tally::Tally(const Prepared& prepared, const RunOptions& options)
    : prepared_(&prepared),
      options_(&options),
      output_(open_output(options.out, existing_of(options), prepared.provenance.program)),
      progress_(options.no_progress || options.quiet ? Progress::Show::never
                : options.progress                   ? Progress::Show::always
                                                     : Progress::Show::when_terminal),
      lines_(prepared.cells.size()),
      begun_(wall_clock()) {}

bool Tally::was_finished(std::size_t i) {
  if (!output_.finished.contains(row_of(*prepared_, i).run_id())) return false;
  const std::lock_guard lock(mutex_);
  ++kept_;
  ++done_;
  return true;
}

void Tally::say(const std::string& text) {
  progress_.clear();
  std::cerr << "quire: " << text << '\n';
}

void Tally::show(std::string_view what) {
  const std::lock_guard lock(mutex_);
  progress_.show(
      done_, lines_.size(),
      eta_text(kept_, done_, lines_.size(), wall_clock() - begun_) + "  " + std::string(what));
}

void Tally::add(std::size_t i, CellRun run) {
  const std::string cell = describe(prepared_->cells[i]);
  {
    const std::lock_guard lock(mutex_);
    if (run.line.empty()) {
      say(cell + ": " + run.error);
      ++failed_;
      ++errors_;
      failure_code_ = lines_.size() == 1 ? run.exit_code : 1;
      return;
    }
    lines_[i] = std::move(run.line);
    if (output_.file) output_.file->append(lines_[i]);
    ++done_;
    if (run.nothing_completed) {
      ++failed_;
      failure_code_ = 1;
    }
    // Notices of a few runs; the rows have those of all.
    if (!run.notices.empty() && (!options_->quiet || run.nothing_completed)) {
      if (++said_ > 5) {
        ++unsaid_;
      } else {
        for (const std::string& notice : run.notices) {
          say((lines_.size() > 1 ? cell + ": " : "") + notice);
        }
      }
    }
    if (lines_.size() == 1) only_ = std::move(run.outcome);
  }
  show(cell);
}

int Tally::close() {
  progress_.clear();
  std::erase(lines_, std::string());
  if (!options_->quiet) {
    if (only_ && (options_->format.empty() || options_->format == "text")) {
      std::cout << headline(prepared_->cells.front(), *only_) << '\n' << only_->report;
    } else {
      print_rows(lines_, options_->format);
    }
    std::cout.flush();
  }
  if (unsaid_ > 0) std::cerr << "quire: the same of " << unsaid_ << " other runs: see their rows\n";
  if (kept_ > 0 && !options_->quiet) std::cerr << kept_ << " runs were finished before\n";
  if (Interruption::requested()) {
    std::cerr << "quire: interrupted; " << lines_.size() << " of "
              << prepared_->cells.size() - kept_ << " runs finished"
              << (output_.file ? ", their rows are written" : "") << '\n';
    return 130;
  }
  return failed_ > 0 ? failure_code_ : 0;
}

int run_planned(std::vector<Cell> cells, RunOptions& o, const Invocation& invocation) {
  if (o.dry_run) {
    for (const Cell& cell : cells) std::cout << describe(cell) << '\n';
    std::cout << cells.size() << (cells.size() == 1 ? " run\n" : " runs\n");
    return 0;
  }
  const Prepared prepared = prepare(std::move(cells), o, invocation);
  Tally tally(prepared, o);
  const Interruption interruption;
  std::atomic<bool> stop{false};
  const std::size_t count = prepared.cells.size();
  ThreadPool pool(std::min(o.jobs, std::max<std::size_t>(1, count)));
  pool.parallel_for(count, [&](std::size_t i) {
    if (stop || Interruption::requested() || tally.was_finished(i)) return;
    try {
      tally.add(i, run_one(prepared, i));
      if (tally.stopped()) stop = true;
    } catch (const Interrupted&) {
      stop = true;
    }
  });
  return tally.close();
}

}  // namespace quire::experiment
