// Runs cells: what `quire run` and `quire sweep run` share.
#include <experiments/quire/runner.hpp>

#include <algorithm>
#include <atomic>
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
    std::vector<std::string_view> differing;
    for (const SettingField& f : setting_fields()) differing.push_back(f.name);
    differing.push_back("repetition");
    differing.push_back("skipped");
    Table(lines).print_markdown(std::cout,
                                {"variant", "completed", "request_throughput", "mean_ttft_ms",
                                 "p99_ttft_ms", "mean_tpot_ms", "mean_normalized_latency_s",
                                 "mean_batched_requests", "token_states_share", "preemptions"},
                                differing);
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
                  "name=[v1,v2], name=[start:stop:step] or name[pow2]=[from:to], of a slot or of "
                  "any setting below; every combination is run")
      ->allow_extra_args(false)
      ->group("Selection");
  command.add_option("-r,--repetitions", o.selection.repetitions, "runs of each cell")
      ->check(CLI::Range(1, 1'000'000))
      ->group("Selection");
  for (const SettingField& field : setting_fields()) {
    const auto dashed = [](std::string_view name) {
      std::string out = "--";
      for (const char c : name) out.push_back(c == '_' ? '-' : c);
      return out;
    };
    const std::string flag = dashed(field.name);
    std::string names = flag;
    if (!field.alias.empty()) names += "," + dashed(field.alias);
    command
        .add_option_function<std::string>(
            names,
            [&o, &field, flag](const std::string& value) {
              set_setting(o.selection.settings, field, value, flag);
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
  command.add_option("--label", o.label, "written into every row")->group("Output");
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
    if (f.name == "workload") continue;
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
  std::vector<Cell> cells = make_cells(o.variants, o.selection);
  for (const Cell& cell : cells) {
    if (cell.settings.executor == "simulated") {
      static_cast<void>(simulated_options(cell.settings));
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

int run_planned(const std::vector<Cell>& cells, RunOptions& o, const Invocation& invocation) {
  if (o.dry_run) {
    for (const Cell& cell : cells) std::cout << describe(cell) << '\n';
    std::cout << cells.size() << (cells.size() == 1 ? " run\n" : " runs\n");
    return 0;
  }
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
  std::atomic<bool> stop{false};
  std::vector<std::string> lines(cells.size());
  std::optional<Report> only;
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
    metrics::ResultRow row = identity_of(cell);
    if (!cell.settings.trace.empty()) row.trace_sha256 = hashes.at(cell.settings.trace);
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
      finish(i, row);
      if (cells.size() == 1) only = std::move(outcome.report);
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
      std::cout << *only;
    } else {
      print_rows(lines, o.format);
    }
    std::cout.flush();
  }
  if (kept > 0 && !o.quiet) std::cerr << kept << " runs were finished before\n";
  if (Interruption::requested()) {
    std::cerr << "quire: interrupted; " << lines.size() << " of " << cells.size() - kept
              << " runs finished" << (output.file ? ", their rows are written" : "") << '\n';
    return 130;
  }
  return failed > 0 ? failure_code : 0;
}

}  // namespace quire::experiment
