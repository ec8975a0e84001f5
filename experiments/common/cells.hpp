#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/axis.hpp>
#include <experiments/common/reads.hpp>
#include <experiments/common/run_variant.hpp>
#include <experiments/common/settings.hpp>
#include <experiments/common/suggest.hpp>
#include <quire/metrics/result_row.hpp>

namespace quire::experiment {

/// What settings come to on this machine with this model; found out before cells run.
struct Resolved {
  std::string model_hash{};  // of a checkpoint's files; of config.json where only that is read
  std::string hardware_hash{}, profile_hash{};  // of the files that describe the device
  std::int64_t max_model_len = 0;
  std::int64_t max_num_batched_tokens = 0;
  std::int64_t threads = 0;
};

/// One run to be done: a variant, its settings, and which repetition.
struct Cell {
  const RunVariant* variant = nullptr;
  Settings settings{};
  std::uint64_t repetition = 0;
  Resolved resolved{};
  bool rate_is_sought =
      false;  // request_rate is where a search for the highest one ends, not the run's
};

/// Whether a run leaves a disk tier behind, for the next one to find.
[[nodiscard]] inline bool lies_on_disk(const Cell& cell) {
  return !cell.settings.disk_dir.empty() &&
         unread_because("disk_dir", cell.settings, *cell.variant).empty();
}

/// The part of a row that names the cell: the settings that the run reads, and what they come to.
/// The trace's hash is added when it has been read.
[[nodiscard]] inline metrics::ResultRow identity_of(const Cell& cell) {
  metrics::ResultRow row;
  row.experiment = "run";
  row.variant = cell.variant->name;
  // A trace by its name; its content is in trace_sha256, and where it lies is nobody's business.
  row.workload = cell.settings.trace.empty()
                     ? cell.settings.workload
                     : std::filesystem::path(cell.settings.trace).stem().string();
  row.seed = static_cast<std::uint64_t>(cell.settings.seed);
  row.repetition = cell.repetition;
  for (std::size_t i = 0; i < slot_count; ++i) {
    if (slot_names[i] == "block_size") {
      row.axes.raw(slot_names[i], cell.variant->slots[i]);
    } else {
      row.axes.add(slot_names[i], cell.variant->slots[i]);
    }
  }
  for (const SettingField& f : setting_fields()) {
    if (cell.rate_is_sought && f.name == "request_rate") continue;
    if (f.name == "workload" || f.name == "seed" || f.name == "trace") continue;
    if (f.name == "disk_dir") continue;  // as where a trace lies
    if (!unread_because(f.name, cell.settings, *cell.variant).empty()) continue;
    if (f.name == "model" && !cell.resolved.model_hash.empty()) {
      // A checkpoint by its name; its content is in model_hash.
      const auto folder = std::filesystem::path(cell.settings.model + "/").lexically_normal();
      row.axes.add(f.name, folder.parent_path().filename().string());
      row.axes.add("model_hash", cell.resolved.model_hash);
    } else if (f.name == "hardware" && !cell.resolved.hardware_hash.empty()) {
      row.axes.add(f.name, std::filesystem::path(cell.settings.hardware).stem().string());
      row.axes.add("hardware_hash", cell.resolved.hardware_hash);
    } else if (f.name == "profile" && !cell.resolved.profile_hash.empty()) {
      row.axes.add("profile_hash", cell.resolved.profile_hash);
    } else if (f.name == "max_num_batched_tokens" && cell.resolved.max_num_batched_tokens > 0) {
      row.axes.add(f.name, cell.resolved.max_num_batched_tokens);
    } else if (f.name == "threads" && cell.resolved.threads > 0) {
      row.axes.add(f.name, cell.resolved.threads);
    } else {
      row.axes.raw(f.name, f.json(cell.settings));
    }
  }
  row.mode = cell.variant->mode;
  return row;
}

/// Which variants, which settings, how often.
struct Selection {
  std::vector<std::string>
      variants{};            // by name; none: the first of all, or all when there is a filter
  std::string filter{};      // regular expression searched for in the names
  std::vector<Axis> axes{};  // slots and settings
  Settings settings{};
  std::vector<std::string> given{};  // names of the settings that were given as flags
  std::uint64_t repetitions = 1;
};

/// A filter or an axis that leaves nothing: exit code 3.
struct NothingMatched {
  std::string what;
};

namespace detail {

[[nodiscard]] inline std::size_t slot_index(std::string_view name) {
  return static_cast<std::size_t>(std::find(std::begin(slot_names), std::end(slot_names), name) -
                                  std::begin(slot_names));
}

[[nodiscard]] inline std::regex compiled(const std::string& pattern) {
  try {
    return std::regex(pattern, std::regex::ECMAScript);
  } catch (const std::regex_error&) {
    throw usage_error("--filter " + pattern, "is not a regular expression",
                      "an ECMAScript regular expression");
  }
}

/// `base` with the policies of the axes, at the values that `at` points to.
[[nodiscard]] inline std::array<std::string, slot_count> moved_slots(
    const RunVariant& base, const std::vector<Axis>& slots, const std::vector<std::size_t>& at) {
  std::array<std::string, slot_count> wanted = base.slots;
  for (std::size_t a = 0; a < slots.size(); ++a) {
    wanted[slot_index(slots[a].name)] = slots[a].values[at[a]];
  }
  return wanted;
}

/// Names of variants from which the same step along the axes is compiled; at most four.
[[nodiscard]] inline std::string bases_with(const std::vector<RunVariant>& all,
                                            const std::vector<Axis>& slots,
                                            const std::vector<std::size_t>& at) {
  std::string names;
  std::size_t count = 0;
  for (const RunVariant& base : all) {
    if (base.name.find('+') != std::string_view::npos) continue;
    const auto wanted = moved_slots(base, slots, at);
    if (std::none_of(all.begin(), all.end(), [&](const auto& v) { return v.slots == wanted; })) {
      continue;
    }
    if (++count > 4) break;
    names.append(names.empty() ? "" : ", ").append(base.name);
  }
  return names;
}

/// Variants that differ from `base` in the slots of the axes alone, and have listed values there.
[[nodiscard]] inline std::vector<const RunVariant*> along_axes(const std::vector<RunVariant>& all,
                                                               const RunVariant& base,
                                                               const std::vector<Axis>& slots) {
  std::vector<const RunVariant*> found;
  // The values of the first axis change slowest, as the axes were given.
  std::vector<std::size_t> at(slots.size(), 0);
  for (;;) {
    const auto wanted = moved_slots(base, slots, at);
    const auto match = wanted == base.slots
                           ? std::find_if(all.begin(), all.end(),
                                          [&](const auto& v) { return v.name == base.name; })
                           : std::find_if(all.begin(), all.end(),
                                          [&](const auto& v) { return v.slots == wanted; });
    if (match == all.end()) {
      std::string what = "no variant is " + std::string(base.name) + " with";
      for (std::size_t a = 0; a < slots.size(); ++a) {
        what += (a == 0 ? " " : " and ") + slots[a].name + " " + slots[a].values[at[a]];
      }
      const std::string bases = bases_with(all, slots, at);
      throw NothingMatched{what +
                           (bases.empty() ? "; `quire list` shows those that were compiled"
                                          : "; the axis is compiled for " + bases) +
                           "; a list of your own is a quire_driver() (README)"};
    }
    found.push_back(&*match);
    std::size_t a = slots.size();
    while (a > 0 && ++at[a - 1] == slots[a - 1].values.size()) at[--a] = 0;
    if (a == 0) return found;
  }
}

}  // namespace detail

/// All names and values that an axis may have, for suggestions: policies by slot.
[[nodiscard]] inline std::vector<std::string> policies_of_slot(const std::vector<RunVariant>& all,
                                                               std::size_t slot) {
  std::vector<std::string> values;
  for (const RunVariant& v : all) {
    if (std::find(values.begin(), values.end(), v.slots[slot]) == values.end()) {
      values.push_back(v.slots[slot]);
    }
  }
  return values;
}

[[nodiscard]] inline std::vector<std::string> names_of(const std::vector<RunVariant>& all) {
  std::vector<std::string> names;
  for (const RunVariant& v : all) names.emplace_back(v.name);
  return names;
}

/// The error for a variant or policy that none of the variants has. Those of executors that compute are few, and
/// it says why: what is missing there may well be known elsewhere.
[[nodiscard]] inline Error no_variant_has(const std::vector<RunVariant>& all,
                                          const std::string& executor, std::string_view where,
                                          std::string_view kind, std::string_view given,
                                          const std::vector<std::string>& known) {
  if (all.empty() || all.front().mode != metrics::Mode::measured) {
    const std::string what = unknown_name(where, kind, given, known).what();
    return usage_error("", what + "; others are a quire_driver() of your own (README)");
  }
  std::string have;
  for (const std::string& name : known) have += (have.empty() ? "" : ", ") + name;
  return usage_error(where,
                     "no variant that this program compiled for --executor " + executor + " has " +
                         std::string(kind) + " " + in_quotes(given) +
                         ": each brings kernels of its own, so they are few",
                     have + ", or --executor simulated, or a program with its own " +
                         (executor == "cuda" ? "CUDA_LIST" : "CPU_LIST") + " in quire_driver()");
}

/// The variants that a selection names, in its order.
/// \errors usage error: unknown variants, slots or policies, with the nearest known one;
/// NothingMatched: known ones that no variant has together.
[[nodiscard]] inline std::vector<const RunVariant*> select_variants(
    const std::vector<RunVariant>& all, const Selection& selection) {
  std::vector<Axis> slots;
  for (const Axis& axis : selection.axes) {
    const std::size_t slot = detail::slot_index(axis.name);
    if (slot == slot_count) continue;
    const auto known = policies_of_slot(all, slot);
    for (const std::string& value : axis.values) {
      if (std::find(known.begin(), known.end(), value) == known.end()) {
        throw no_variant_has(all, selection.settings.executor, "--axis " + axis.name, axis.name,
                             value, known);
      }
    }
    slots.push_back(axis);
  }
  std::vector<const RunVariant*> chosen;
  std::vector<std::string> names = selection.variants;
  if (names.empty() && selection.filter.empty()) names.emplace_back(all.front().name);
  if (names.empty()) {
    for (const RunVariant& v : all) chosen.push_back(&v);
  }
  for (const std::string& name : names) {
    const auto match =
        std::find_if(all.begin(), all.end(), [&](const auto& v) { return v.name == name; });
    if (match == all.end()) {
      throw no_variant_has(all, selection.settings.executor, "--variant", "variant", name,
                           names_of(all));
    }
    if (std::find(chosen.begin(), chosen.end(), &*match) != chosen.end()) {
      throw usage_error("--variant", "has " + name + " twice", "each variant once");
    }
    chosen.push_back(&*match);
  }
  if (!slots.empty()) {
    std::vector<const RunVariant*> moved;
    for (const RunVariant* base : chosen) {
      for (const RunVariant* v : detail::along_axes(all, *base, slots)) {
        // two bases may reach one variant
        if (std::find(moved.begin(), moved.end(), v) == moved.end()) moved.push_back(v);
      }
    }
    chosen = std::move(moved);
  }
  if (!selection.filter.empty()) {
    const std::regex pattern = detail::compiled(selection.filter);
    std::erase_if(chosen, [&](const RunVariant* v) {
      return !std::regex_search(v->name.begin(), v->name.end(), pattern);
    });
    if (chosen.empty()) {
      throw NothingMatched{"no variant's name matches " + in_quotes(selection.filter)};
    }
  }
  return chosen;
}

/// Refuses axes that say a thing twice: two of one name, one beside the flag of the same name, or
/// one with a value twice. \errors usage error.
inline void check_axes(const Selection& selection) {
  for (std::size_t i = 0; i < selection.axes.size(); ++i) {
    const Axis& axis = selection.axes[i];
    const std::string where = "--axis " + axis.name;
    for (std::size_t k = 0; k < i; ++k) {
      if (selection.axes[k].name == axis.name) {
        throw usage_error(where, "is given twice", "one axis with all values");
      }
    }
    if (std::find(selection.given.begin(), selection.given.end(), axis.name) !=
        selection.given.end()) {
      throw usage_error(where, "and the flag of that name exclude each other", "one of them");
    }
    const SettingField* field = find_setting(axis.name);
    std::vector<std::string> seen;
    for (const std::string& value : axis.values) {
      std::string meaning = value;
      if (field != nullptr) {  // 1 and 1.0 are one rate
        Settings s;
        set_setting(s, *field, value, where);
        meaning = field->json(s);
      }
      if (std::find(seen.begin(), seen.end(), meaning) != seen.end()) {
        throw usage_error(where, "has " + in_quotes(value) + " twice", "each value once");
      }
      seen.push_back(std::move(meaning));
    }
  }
}

/// Refuses a flag or an axis that none of the cells reads. \errors usage error with the reason.
inline void check_settings_are_read(const Selection& selection, const std::vector<Cell>& cells) {
  const auto check = [&cells](const std::string& name, const std::string& where) {
    std::string_view why;
    for (const Cell& cell : cells) {
      const std::string_view reason = unread_because(name, cell.settings, *cell.variant);
      if (reason.empty()) return;
      if (why.empty()) why = reason;
    }
    if (why.empty()) return;
    throw usage_error(where, "changes nothing here: " + std::string(why),
                      "a setting that the run reads");
  };
  for (const std::string& name : selection.given) {
    std::string flag = "--" + name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    check(name, flag);
  }
  for (const Axis& axis : selection.axes) {
    if (find_setting(axis.name) != nullptr) check(axis.name, "--axis " + axis.name);
  }
}

/// Every combination of the selected variants, the values of the settings' axes, and repetitions.
/// A combination that reads none of what tells it from an earlier one is the same run, and left out.
/// \errors as select_variants(), check_axes() and check_settings_are_read().
[[nodiscard]] inline std::vector<Cell> make_cells(const std::vector<RunVariant>& all,
                                                  const Selection& selection) {
  check_axes(selection);
  std::vector<Settings> combinations{selection.settings};
  for (const Axis& axis : selection.axes) {
    if (detail::slot_index(axis.name) < slot_count) continue;
    const SettingField* field = find_setting(axis.name);
    if (field == nullptr) {
      std::vector<std::string> known(std::begin(slot_names), std::end(slot_names));
      for (const SettingField& f : setting_fields()) known.emplace_back(f.name);
      throw unknown_name("--axis", "axis", axis.name, known);
    }
    if (axis.name == "executor") {
      throw usage_error("--axis executor", "each executor has variants of its own",
                        "one run with --executor for each");
    }
    if (axis.name == "disk_dir") {
      throw usage_error("--axis disk_dir", "is where a tier lies, not what is run",
                        "--disk-dir DIR, in which each run has a folder of its own");
    }
    std::vector<Settings> next;
    for (const Settings& s : combinations) {
      for (const std::string& value : axis.values) {
        next.push_back(s);
        set_setting(next.back(), *field, value, "--axis " + axis.name);
      }
    }
    if (next.size() > 1'000'000) {
      throw usage_error("--axis " + axis.name, "makes more than a million runs", "fewer values");
    }
    combinations = std::move(next);
  }
  std::vector<Cell> cells;
  for (const RunVariant* variant : select_variants(all, selection)) {
    for (const Settings& settings : combinations) {
      for (std::uint64_t r = 0; r < selection.repetitions; ++r) {
        cells.push_back({variant, settings, r, {}});
      }
    }
  }
  check_settings_are_read(selection, cells);
  std::set<std::string> seen;
  std::erase_if(cells, [&seen](const Cell& cell) {
    return !seen.insert(identity_of(cell).run_id() + cell.settings.trace).second;
  });
  return cells;
}

}  // namespace quire::experiment
