// Runs cells: what `quire run` and `quire sweep run` share.
#include <experiments/quire/runner.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/build_info.hpp>
#include <experiments/common/table.hpp>
#include <experiments/common/terminal.hpp>
#include <quire/core/thread_pool.hpp>

namespace quire::experiment {
namespace {

constexpr std::string_view formats[] = {"text", "md", "csv", "json", "jsonl"};
const Settings defaults{};

/// SHA-256 of each trace that the cells read, so that a row names it before it is run.
std::map<std::string, std::string> trace_hashes(const std::vector<Cell>& cells) {
  std::map<std::string, std::string> hashes;
  for (const Cell& cell : cells) {
    const std::string& path = cell.settings.trace;
    if (path.empty() || hashes.contains(path)) continue;
    hashes[path] = workload::trace::LineReader(path).digest();
  }
  return hashes;
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
    if (measured) r.threads = static_cast<std::int64_t>(threads_of(s));
    if (!is_folder(s)) continue;
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

/// The row of a cell before it runs: what names it, the objectives and percentiles included, since a
/// row without them is not the one that was asked for. The label is not part of its name.
metrics::ResultRow row_of(const Cell& cell, const Measurement& how,
                          const std::map<std::string, std::string>& trace_hashes) {
  metrics::ResultRow row = identity_of(cell);
  if (!cell.settings.trace.empty()) row.trace_sha256 = trace_hashes.at(cell.settings.trace);
  if (!how.slo.empty()) row.axes.add("goodput", joined(words_of(how.slo), " "));
  row.axes.add("metric_percentiles", percentiles_of(how));
  if (how.stream) row.axes.add("stream", true);
  return row;
}

/// The command that runs this cell alone and prints its row, from any folder.
std::string rerun_of(const Cell& cell, const Measurement& how, const char* program) {
  std::vector<std::string> words{program, "run", "--variant", std::string(cell.variant->name)};
  for (const SettingField& f : setting_fields()) {
    const std::string value = f.json(cell.settings);
    if (value == f.json(defaults) ||
        !unread_because(f.name, cell.settings, *cell.variant).empty()) {
      continue;
    }
    words.push_back(flag_of(f.name));
    if (f.name == "trace" || (f.name == "model" && is_folder(cell.settings))) {
      const auto& path = f.name == "trace" ? cell.settings.trace : cell.settings.model;
      words.push_back(std::filesystem::absolute(path).lexically_normal().string());
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
  words.insert(words.end(), {"--format", "jsonl"});
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  return metrics::command_line(static_cast<int>(argv.size()), argv.data());
}

/// One line over a report: what ran on what.
std::string headline(const Cell& cell, const Outcome& outcome) {
  const Settings& s = cell.settings;
  const metrics::ResultRow row = identity_of(cell);
  std::string text = std::string(cell.variant->name) + ": ";
  if (cell.variant->mode == metrics::Mode::measured) {
    text += s.model + " on this machine, " + std::to_string(cell.resolved.threads) + " threads";
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
    if (table.differs("eviction") || table.differs("prefix_index")) {
      columns.insert(columns.end(), {{"hit_rate"}, {"evictions"}});
    }
    if (table.differs("offload")) {
      columns.insert(columns.end(), {{"swapped_out_blocks"}, {"recomputed_tokens"}});
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
                  "runs of each cell of --executor cpu")
      ->check(CLI::Range(1, 1'000'000))
      ->group("Selection");
  for (const SettingField& field : setting_fields()) {
    const std::string flag = flag_of(field.name);
    std::string names = flag;
    if (!field.alias.empty()) names += "," + flag_of(field.alias);
    command
        .add_option_function<std::string>(
            names,
            [&o, &field, flag](const std::string& value) {
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
      ->check(CLI::Range(0.0, 100.0))
      ->group("Measurement");
  command
      .add_flag("--stream", o.measurement.stream,
                "sum requests up as they end, for millions: percentiles within 0.1 %")
      ->group("Measurement");
  command.add_option("--timeout", o.measurement.timeout_s, "wall-clock seconds a run may take")
      ->check(CLI::PositiveNumber)
      ->group("Measurement");
  command
      .add_option("--chrome-trace", o.measurement.chrome_trace,
                  "timeline of the run for ui.perfetto.dev; one run only")
      ->group("Measurement");
  command.add_option("-o,--out", o.out, "file to which rows are appended, one JSON object a line")
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
      ->check(CLI::Range(1, 1024))
      ->group("Control");
  command.add_flag("--dry-run", o.dry_run, "print the cells, run none")->group("Control");
  command.add_flag("--continue-on-error", o.continue_on_error, "go on after a run that failed")
      ->group("Control");
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

std::vector<Cell> planned_cells(RunOptions& o) {
  for (const std::string& text : o.axes) o.selection.axes.push_back(parse_axis(text));
  if (!o.format.empty() &&
      std::find(std::begin(formats), std::end(formats), o.format) == std::end(formats)) {
    throw unknown_name("--format", "format", o.format, formats);
  }
  o.measurement.slo = metrics::parse_slo(o.goodput);
  static_cast<void>(labels_of(o));
  if (!o.shard.empty() && o.count > 0) {
    throw usage_error("--shard", "and --index exclude each other", "one of them");
  }
  const Shard shard = !o.shard.empty() ? parse_shard(o.shard)
                      : o.count > 0    ? checked_shard(o.index, o.count)
                                       : Shard{};
  o.variants = variants_of(o.selection.settings.executor);
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
  for (const Cell& cell : cells) {
    if (cell.settings.executor == "simulated") {
      static_cast<void>(simulated_options(cell.settings));
    } else if (model::find_shape(cell.settings.model) != nullptr) {
      throw usage_error("--executor " + cell.settings.executor,
                        "runs a checkpoint, and " + cell.settings.model + " is a shape alone",
                        "--model DIR, a folder with config.json, safetensors and tokenizer.json");
    }
    check_workload(cell.settings);
  }
  if (!o.measurement.chrome_trace.empty() && cells.size() != 1) {
    throw usage_error("--chrome-trace", "needs one run, not " + std::to_string(cells.size()),
                      "one variant, and no axis of several values");
  }
  std::vector<Cell> mine;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (shard.has(i)) mine.push_back(cells[i]);
  }
  return mine;
}

int run_planned(std::vector<Cell> cells, RunOptions& o, const Invocation& invocation) {
  if (o.dry_run) {
    for (const Cell& cell : cells) std::cout << describe(cell) << '\n';
    std::cout << cells.size() << (cells.size() == 1 ? " run\n" : " runs\n");
    return 0;
  }
  resolve(cells);
  const auto hashes = trace_hashes(cells);
  metrics::RunProvenance provenance =
      metrics::provenance_now(build_info(), invocation.argc, invocation.argv);
  provenance.program = program_hash();
  const metrics::JsonObject labels = labels_of(o);
  Output output = open_output(o.out, existing_of(o), provenance.program);

  const Interruption interruption;
  Progress progress(o.no_progress || o.quiet ? Progress::Show::never
                    : o.progress             ? Progress::Show::always
                                             : Progress::Show::when_terminal);
  std::mutex mutex;
  std::size_t done = 0;
  std::size_t kept = 0;
  std::size_t failed = 0;
  int failure_code = 0;
  std::size_t said = 0;
  std::size_t unsaid = 0;
  std::atomic<bool> stop{false};
  std::vector<std::string> lines(cells.size());
  std::optional<Outcome> only;
  // Notices of a few runs; the rows have those of all.
  const auto say = [&](const Cell& cell, const Outcome& outcome) {
    const std::lock_guard lock(mutex);
    const bool nothing = outcome.report.summary().completed == 0;
    if (nothing) {
      ++failed;
      failure_code = 1;
    }
    if (o.quiet && !nothing) return;
    std::vector<std::string> notices = notices_of(cell, outcome);
    if (nothing && notices.empty()) notices.push_back("no request has ended");
    if (notices.empty()) return;
    if (++said > 5) {
      ++unsaid;
      return;
    }
    progress.clear();
    for (const std::string& notice : notices) {
      std::cerr << "quire: " << (cells.size() > 1 ? describe(cell) + ": " : "") << notice << '\n';
    }
  };
  const auto finish = [&](std::size_t i, metrics::ResultRow& row) {
    row.provenance = provenance;
    row.provenance.time_utc = metrics::utc_time(std::time(nullptr));
    const std::lock_guard lock(mutex);
    lines[i] = row.line();
    if (output.file) output.file->append(lines[i]);
    progress.show(++done, cells.size(), describe(cells[i]));
  };
  ThreadPool pool(std::min(o.jobs, std::max<std::size_t>(1, cells.size())));
  pool.parallel_for(cells.size(), [&](std::size_t i) {
    if (stop || Interruption::requested()) return;
    const Cell& cell = cells[i];
    metrics::ResultRow row = row_of(cell, o.measurement, hashes);
    if (output.finished.contains(row.run_id())) {
      const std::lock_guard lock(mutex);
      ++kept;
      ++done;
      return;
    }
    row.metrics.append(labels);
    if (!cell.variant->make && cells.size() > 1) {
      row.metrics.add("skipped", cell.variant->incompatible);
      return finish(i, row);
    }
    try {
      Outcome outcome = run_cell(cell, workload_of(cell.settings), o.measurement);
      row.metrics.append(metrics_of(outcome, o.measurement.percentiles));
      row.metrics.add("rerun", rerun_of(cell, o.measurement, invocation.argv[0]));
      finish(i, row);
      say(cell, outcome);
      if (cells.size() == 1) only = std::move(outcome);
    } catch (const Interrupted&) {
      stop = true;
    } catch (const Error& error) {
      const std::lock_guard lock(mutex);
      progress.clear();
      std::cerr << "quire: " << describe(cell) << ": " << error.what() << '\n';
      ++failed;
      failure_code = cells.size() == 1 ? error.exit_code() : 1;
      if (!o.continue_on_error) stop = true;
    }
  });
  progress.clear();
  std::erase(lines, std::string());
  if (!o.quiet) {
    if (only && (o.format.empty() || o.format == "text")) {
      std::cout << headline(cells.front(), *only) << '\n' << only->report;
    } else {
      print_rows(lines, o.format);
    }
    std::cout.flush();
  }
  if (unsaid > 0) std::cerr << "quire: the same of " << unsaid << " other runs: see their rows\n";
  if (kept > 0 && !o.quiet) std::cerr << kept << " runs were finished before\n";
  if (Interruption::requested()) {
    std::cerr << "quire: interrupted; " << lines.size() << " of " << cells.size() - kept
              << " runs finished" << (output.file ? ", their rows are written" : "") << '\n';
    return 130;
  }
  return failed > 0 ? failure_code : 0;
}

}  // namespace quire::experiment
