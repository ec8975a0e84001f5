// quire list: what can be named on the command line.
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/cells.hpp>
#include <experiments/common/make_run.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {
namespace {

struct ListOptions {
  bool json = false;
  std::string executor = "simulated";
  std::string filter;
};

std::string json_list(const std::vector<std::string>& values) {
  std::string out = "[";
  for (std::size_t i = 0; i < values.size(); ++i) out += (i == 0 ? "" : ", ") + values[i];
  return out + "]";
}
template <class Names>
std::string json_names(const Names& names) {
  std::vector<std::string> quoted;
  for (const auto& name : names) quoted.push_back(metrics::json_quoted(name));
  return json_list(quoted);
}

/// The policies of a slot: of the variants that were compiled, and what is chosen as an engine is made.
std::vector<std::string> all_policies(const std::vector<RunVariant>& all,
                                      const std::string& executor, std::size_t slot) {
  std::vector<std::string> names = policies_of_slot(all, slot);
  for (std::string& name : chosen_names(executor, slot_names[slot])) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(std::move(name));
    }
  }
  return names;
}

void print_json(const std::vector<RunVariant>& all, const std::vector<const RunVariant*>& chosen,
                const std::string& executor) {
  std::vector<std::string> variants;
  for (const RunVariant* v : chosen) {
    metrics::JsonObject o;
    o.add("name", v->name);
    for (std::size_t i = 0; i < slot_count; ++i) o.add(slot_names[i], v->slots[i]);
    variants.push_back("\n  " + o.add("incompatible", v->incompatible).text());
  }
  metrics::JsonObject policies;
  for (std::size_t i = 0; i < slot_count; ++i) {
    policies.raw(slot_names[i], json_names(all_policies(all, executor, i)));
  }
  metrics::JsonObject settings;
  for (const SettingField& f : setting_fields()) settings.raw(f.name, f.json(Settings{}));
  std::vector<std::string> experiments;
  for (const std::string& name : experiment_names()) {
    experiments.push_back(
        metrics::JsonObject().add("name", name).add("program", experiment_program(name)).text());
  }
  std::cout << metrics::JsonObject()
                   .raw("variants", json_list(variants))
                   .raw("policies", policies.text())
                   .raw("experiments", json_list(experiments))
                   .raw("executors", json_names(detail::executor_names))
                   .raw("workloads", json_names(detail::workload_names))
                   .raw("models", json_names(model_names()))
                   .raw("hardware", json_names(hardware_names()))
                   .raw("settings", settings.text())
                   .text()
            << '\n';
}

/// Words in lines of at most 100 characters.
void print_words(const std::vector<std::string>& words) {
  std::size_t width = 0;
  for (const std::string& word : words) {
    if (width > 0 && width + word.size() + 2 > 100) width = 0, std::cout << '\n';
    std::cout << "  " << word;
    width += word.size() + 2;
  }
  std::cout << '\n';
}

void print_text(const std::vector<const RunVariant*>& chosen, const std::string& executor) {
  std::size_t width[slot_count + 1] = {7};
  for (std::size_t i = 0; i < slot_count; ++i) width[i + 1] = slot_names[i].size();
  for (const RunVariant* v : chosen) {
    width[0] = std::max(width[0], v->name.size());
    for (std::size_t i = 0; i < slot_count; ++i) {
      width[i + 1] = std::max(width[i + 1], v->slots[i].size());
    }
  }
  const auto cell = [&width](std::size_t column, std::string text) {
    if (column < slot_count) text.resize(std::max(text.size(), width[column]) + 2, ' ');
    return text;
  };
  std::string head = cell(0, "variant");
  for (std::size_t i = 0; i < slot_count; ++i) head += cell(i + 1, std::string(slot_names[i]));
  std::cout << head << '\n';
  for (const RunVariant* v : chosen) {
    std::string line = cell(0, std::string(v->name));
    for (std::size_t i = 0; i < slot_count; ++i) line += cell(i + 1, v->slots[i]);
    if (!v->incompatible.empty()) line.append("  cannot run: ").append(v->incompatible);
    std::cout << line << '\n';
  }
  for (const std::string_view slot : slot_names) {
    const std::vector<std::string> names = chosen_names(executor, slot);
    if (names.empty()) continue;
    std::cout << '\n'
              << slot << " may also be any of these, by --axis " << slot
              << "=[...] or --variant VARIANT+" << slot << "=NAME:\n";
    print_words(names);
  }
}

}  // namespace

void add_list(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "list", "Prints the variants that were compiled; as JSON, everything that can be named.");
  const auto options = std::make_shared<ListOptions>();
  command->add_flag("--json", options->json, "one JSON object");
  command->add_option("-f,-R,--filter", options->filter, "only variants whose name matches REGEX");
  command->add_option("--executor", options->executor, "variants of this executor")
      ->capture_default_str();
  command->callback([options, &exit_code] {
    const std::vector<RunVariant> all = variants_of(options->executor);
    Selection selection;
    selection.filter = options->filter.empty() ? "" : options->filter;
    std::vector<const RunVariant*> chosen;
    if (options->filter.empty()) {
      for (const RunVariant& v : all) chosen.push_back(&v);
    } else {
      chosen = select_variants(all, selection);
    }
    if (options->json) {
      print_json(all, chosen, options->executor);
    } else {
      print_text(chosen, options->executor);
    }
    exit_code = 0;
  });
}

}  // namespace quire::experiment
