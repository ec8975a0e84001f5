// quire calibrate: fits a cost model to measurements, and says how far it is from them.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/flag_values.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>
#include <quire/cost_model/calibrate.hpp>
#include <quire/cost_model/hardware_file.hpp>
#include <quire/cost_model/product_profile.hpp>
#include <quire/metrics/row_file.hpp>

namespace quire::experiment {
namespace {

struct Asked {
  std::vector<std::string> profiles, steps, held_out, attention, all_reduce;
  std::string hardware, out;
  std::int64_t devices = 0, multiprocessors = -1, kv_heads = 0, head_dim = 128;
  std::uint64_t seed = 1;
};

/// Multiprocessors of devices by name, from their data sheets.
std::int64_t multiprocessors_of(std::string_view name) {
  if (name.starts_with("a100")) return 108;
  if (name == "h100" || name == "h200") return 132;
  if (name == "a10g") return 80;
  if (name == "rtx4090") return 128;
  return name == "rtx_pro_6000" ? 188 : 0;
}

void say(const std::string& what, const calibrate::Errors& e) {
  char text[200];
  std::snprintf(text, sizeof text,
                "%-48s mean error %5.2f %%, worst %5.1f %%, bias %+5.2f %%, %zu rows", what.c_str(),
                100 * e.mean, 100 * e.worst, 100 * e.bias, e.count);
  std::cout << text << '\n';
}

std::vector<calibrate::Product> products_of(const std::vector<std::string>& files,
                                            std::int64_t devices) {
  std::vector<calibrate::Product> all;
  std::size_t groups = 0;
  for (const std::string& file : files) {
    for (calibrate::Product p : calibrate::read_products(file, devices)) {
      p.group += groups;
      all.push_back(p);
    }
    groups = all.back().group + 1;
  }
  return all;
}

/// Rows with what a step computed and how long it took, as cpu_against_simulation writes them.
std::vector<calibrate::StepSample> steps_of(const std::vector<std::string>& files) {
  std::vector<calibrate::StepSample> all;
  for (const std::string& file : files) {
    std::size_t number = 0;
    for (const std::string& line : metrics::read_rows(file)) {
      const std::string where = file + ": row " + std::to_string(++number);
      const json::Value value = json::parse(line, where);
      const json::Field row(value, where);
      if (!row.find("step_seconds")) continue;
      const auto n = [&row](const char* name) { return row.at(name).number(0, 1e15); };
      all.push_back({n("prompt_tokens"), n("prompt_squares"), n("context"), n("sequences"),
                     row.at("step_seconds").number(1e-9, 1e6)});
    }
  }
  return all;
}

void calibrate_steps(const Asked& asked, HardwareFile& file) {
  const auto samples = steps_of(asked.steps);
  if (samples.empty())
    throw usage_error("--steps", "the files hold no step", "rows with step_seconds");
  std::vector<calibrate::StepSample> fitted, kept;  // every fifth is held out
  for (std::size_t i = 0; i < samples.size(); ++i) {
    (i % 5 == 4 ? kept : fitted).push_back(samples[i]);
  }
  file.affine = calibrate::fit_affine(fitted);
  say("in sample", calibrate::errors_of(*file.affine, fitted));
  say("held out (every fifth step)", calibrate::errors_of(*file.affine, kept));
  for (const std::string& other : asked.held_out) {
    say("held out " + std::filesystem::path(other).filename().string(),
        calibrate::errors_of(*file.affine, steps_of({other})));
  }
}

void calibrate_products(const Asked& asked, HardwareFile& file) {
  const auto products = products_of(asked.profiles, asked.devices);
  say("as named", calibrate::errors_of(file.hardware, products));
  file.hardware.multiprocessors =
      asked.multiprocessors >= 0 ? asked.multiprocessors : multiprocessors_of(asked.hardware);
  if (file.hardware.multiprocessors > 0) file.hardware.exponent = 3;
  file.hardware = calibrate::fit_roofline(file.hardware, products, asked.seed);
  say("in sample", calibrate::errors_of(file.hardware, products));
  for (const std::string& name : calibrate::at_bounds(file.hardware)) {
    std::cerr << "quire: " << name
              << " is at the bound of what a device at work can have: were the "
              << "products measured out of a cache, or on another device?\n";
  }
  for (const std::string& other : asked.held_out) {
    say("held out " + std::filesystem::path(other).filename().string(),
        calibrate::errors_of(file.hardware, products_of({other}, asked.devices)));
  }
}

/// Moves of several files at once.
template <class Read>
std::vector<calibrate::Moved> moves_of(const std::vector<std::string>& files, Read&& read) {
  std::vector<calibrate::Moved> all;
  for (const std::string& file : files) {
    for (const calibrate::Moved& m : read(file)) all.push_back(m);
  }
  return all;
}

void calibrate_attention(const Asked& asked, HardwareFile& file) {
  if (asked.kv_heads < 1) {
    throw usage_error("--attention", "the files do not say how many heads keys and values have",
                      "--kv-heads N");
  }
  Hardware& h = file.hardware;
  const auto rows = moves_of(asked.attention, [&asked](const std::string& path) {
    return calibrate::read_decode_attention(path, asked.kv_heads, asked.head_dim);
  });
  const auto error = [&] {
    return calibrate::errors_of(h.attention_bandwidth_share * h.bandwidth, h.launch, rows);
  };
  say("decode attention, as named", error());
  h.attention_bandwidth_share = calibrate::fit_attention_share(h, rows);
  say("decode attention, in sample", error());
}

void calibrate_reduce(const Asked& asked, HardwareFile& file) {
  Hardware& h = file.hardware;
  const auto rows = moves_of(asked.all_reduce, [&asked](const std::string& path) {
    return calibrate::read_all_reduce(path, asked.devices);
  });
  const auto error = [&] {
    return calibrate::errors_of(h.reduce_bandwidth, h.reduce_latency, rows);
  };
  say("all-reduce, as named", error());
  calibrate::fit_reduce(h, rows);
  say("all-reduce, in sample", error());
}

}  // namespace

void add_calibrate(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "calibrate",
      "Fits a cost model to measurements, prints its error on them and on others that it has not\n"
      "seen, and writes a hardware file.\n\n"
      "Examples:\n"
      "  quire calibrate --hardware h100 --profile vidur_h100_Llama-2-7b-hf_mlp.csv\\\n"
      "    --tensor-parallel 1 --held-out vidur_h100_Llama-2-70b-hf_mlp.csv --out h100.json\n"
      "  quire calibrate --hardware h100 --attention blis_mha_decode_h100_32-8-128-tp1.csv\\\n"
      "    --kv-heads 8 --all-reduce vidur_h100_dgx_all_reduce.csv --out h100.json\n"
      "  quire calibrate --steps rows.jsonl --out this_machine.json\n"
      "  quire run --hardware h100.json");
  const auto asked = std::make_shared<Asked>();
  command->add_option("--profile", asked->profiles,
                      "Vidur's mlp.csv, or columns m,k,n,latency_us: fits the roofline");
  command->add_option("--steps", asked->steps, "rows of measured steps: fits `affine`");
  command->add_option("--attention", asked->attention,
                      "columns batch_size,kv_len,latency_us: fits decode attention's bandwidth");
  command->add_option("--kv-heads", asked->kv_heads, "of --attention, on its device")
      ->check(whole_number(1, 1 << 20));
  command->add_option("--head-dim", asked->head_dim, "of --attention")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--all-reduce", asked->all_reduce,
                      "Vidur's all_reduce.csv: fits bandwidth and latency between devices");
  command->add_option("--held-out", asked->held_out, "files of the same kind, not fitted");
  command->add_option("--hardware", asked->hardware, "the device, with its data-sheet limits");
  command->add_option("--tensor-parallel", asked->devices, "rows of that many devices; 0: all");
  command->add_option("--multiprocessors", asked->multiprocessors,
                      "that tiles are dealt to; 0: a roofline without tiles");
  command->add_option("--seed", asked->seed, "of the search")->check(seed_number());
  command->add_option("--out", asked->out, "the hardware file");
  command->callback([asked, &exit_code] {
    const bool device =
        !asked->profiles.empty() || !asked->attention.empty() || !asked->all_reduce.empty();
    if (device != asked->steps.empty()) {
      throw usage_error("quire calibrate", "one kind of measurement is needed",
                        "--profile, --attention and --all-reduce, or --steps");
    }
    if (!asked->held_out.empty() && asked->profiles.empty() && asked->steps.empty()) {
      throw usage_error("--held-out", "goes with what is fitted to products or steps",
                        "--profile or --steps");
    }
    HardwareFile file;
    file.name = std::make_shared<const std::string>(asked->hardware.empty() ? "this_machine"
                                                                            : asked->hardware);
    if (const Hardware* known = hardware::find(asked->hardware)) {
      file.hardware = *known;
    } else if (asked->steps.empty()) {
      std::vector<std::string> names;
      for (const Hardware& h : hardware::all) names.emplace_back(h.name);
      throw unknown_name("quire calibrate", "--hardware", asked->hardware, names);
    }
    if (!asked->profiles.empty()) calibrate_products(*asked, file);
    if (!asked->attention.empty()) calibrate_attention(*asked, file);
    if (!asked->all_reduce.empty()) calibrate_reduce(*asked, file);
    if (!asked->steps.empty()) calibrate_steps(*asked, file);
    if (asked->out.empty()) {
      std::cout << hardware_text(file);
    } else {
      write_hardware(asked->out, file);
    }
    exit_code = 0;
  });
}

}  // namespace quire::experiment
