// How long an engine takes to start, and what of it: README.md says what is run and why.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/loading/axes.hpp>
#include <experiments/loading/cold.hpp>
#include <experiments/loading/memory_limit.hpp>
#include <experiments/loading/start.hpp>
#include <quire/checkpoint/file_load/file_load.hpp>
#include <quire/checkpoint/gguf/file.hpp>
#include <quire/checkpoint/gguf/writer.hpp>
#include <quire/checkpoint/random_model.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/tensor_file/tensor_file.hpp>
#include <quire/core/error.hpp>

namespace quire::experiment {
namespace {

namespace fs = std::filesystem;
using checkpoint::FileLoader;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}
template <class Body>
double seconds_of(const Body& body) {
  const auto begin = std::chrono::steady_clock::now();
  (void)body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Models on the disk, written when they are first asked for and removed with this; rows take turns.
class Disk {
 public:
  Disk()
      : folder_(fs::temp_directory_path() /
                ("quire_loading_" +
                 std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()))) {
    fs::create_directories(folder_);
  }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  ~Disk() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  [[nodiscard]] std::string checkpoint_of(const model::Shape& shape) {
    const fs::path path = folder_ / shape.name;
    if (!fs::exists(path)) {
      checkpoint::save_random_model(shape, checkpoint::DType::bf16, 1, path.string());
    }
    return path.string();
  }
  [[nodiscard]] std::string image_of(const model::Shape& shape, const std::string& format,
                                     std::size_t threads) {
    const fs::path path = folder_ / (std::string(shape.name) + "_" + format);
    if (!fs::exists(path)) write_image_of(checkpoint_of(shape), format, path.string(), threads);
    return path.string();
  }
  /// The same weights in another format; a GGUF file, or a directory.
  [[nodiscard]] std::string formatted(const model::Shape& shape, const std::string& format,
                                      std::size_t threads) {
    if (format == "safetensors") return checkpoint_of(shape);
    if (format == "image") return image_of(shape, std::string(loaded_formats[0]), threads);
    const fs::path path = folder_ / (std::string(shape.name) + "." + format);
    if (!fs::exists(path)) write_format_of(checkpoint_of(shape), format, path.string());
    return path.string();
  }
  /// A file of so many tensors of 16 floats, and what opens it.
  [[nodiscard]] std::function<std::size_t()> index_of(const std::string& format,
                                                      std::size_t count) {
    const std::string path = (folder_ / (std::to_string(count) + "_small." + format)).string();
    std::vector<float> data(16, 0.5f);
    if (format == "gguf") {
      namespace gguf = checkpoint::gguf;
      std::vector<gguf::TensorSource> tensors;
      tensors.reserve(count);
      for (std::size_t i = 0; i < count; ++i) {
        tensors.push_back({"tensor." + std::to_string(i),
                           checkpoint::DType::f32,
                           {16},
                           [](std::int64_t, float* values) { std::fill_n(values, 16, 0.5f); }});
      }
      gguf::write_file(path, {}, tensors);
      return [path] { return gguf::open_file(path).tensors.size(); };
    }
    std::vector<checkpoint::Declared> tensors;
    tensors.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      tensors.push_back({"tensor." + std::to_string(i), checkpoint::DType::f32, {16}});
    }
    const checkpoint::TensorFile& file = checkpoint::tensor_file_named(format);
    file.write(path, tensors, [&](std::size_t) { return std::as_bytes(std::span(data)); });
    return [path, &file] { return file.open(path, checkpoint::mapped_files()).size(); };
  }
  /// A file of so many tensors with as many bytes in all.
  [[nodiscard]] std::string tensors_of(std::size_t count, std::size_t bytes) {
    const fs::path path = folder_ / (std::to_string(count) + "_tensors.safetensors");
    if (fs::exists(path)) return path.string();
    std::vector<checkpoint::safetensors::Declared> tensors;
    const std::size_t each = bytes / count / 64 * 64;
    for (std::size_t i = 0; i < count; ++i) {
      tensors.push_back({"tensor." + std::to_string(i),
                         checkpoint::DType::u8,
                         {static_cast<std::int64_t>(each)}});
    }
    std::vector<std::byte> data(each);
    checkpoint::safetensors::write(path.string(), tensors, [&](std::size_t i) {
      std::memset(data.data(), static_cast<int>(i % 251), data.size());
      return std::span<const std::byte>(data);
    });
    return path.string();
  }
  /// The weights' file of a folder, or of a GGUF file itself.
  [[nodiscard]] static std::string weights_in(const std::string& model) {
    if (checkpoint::is_gguf(model)) return model;
    for (const auto& file : fs::directory_iterator(model)) {
      if (file.path().extension() == ".safetensors") return file.path().string();
      for (const checkpoint::TensorFile& format : checkpoint::tensor_files()) {
        if (file.path().filename() == format.file) return file.path().string();
      }
    }
    throw state_error(model, "has no weights", "a file of them");
  }

  /// Logits of a model in a format, which every start must give. \errors state when one does not
  void check(const std::string& what, const std::string& logits) {
    const auto [at, fresh] = logits_.try_emplace(what, logits);
    if (at->second == logits) return;
    throw state_error(what, "another way of loading gives other logits", "the same bit for bit");
  }
  std::mutex& turn() { return turn_; }

 private:
  fs::path folder_;
  std::map<std::string, std::string> logits_;
  std::mutex turn_;
};

/// Median of what starts measured.
double median_of(const std::vector<Started>& all, std::string_view name) {
  std::vector<double> values;
  values.reserve(all.size());
  for (const Started& s : all) values.push_back(s.at(name));
  return median(std::move(values));
}

/// Starts of one kind, each in a process of its own: medians of all that they measured.
metrics::JsonObject starts(Disk& disk, const std::string& what, const Start& start, bool cold,
                           std::size_t rounds) {
  const std::string weights = Disk::weights_in(start.model);
  std::vector<Started> all;
  for (std::size_t i = 0; i < rounds; ++i) {
    cold ? make_cold(weights) : make_warm(weights);
    std::optional<Started> one = start_elsewhere(start);
    if (!one) return metrics::JsonObject().add("completes", 0);
    disk.check(what, one->logits);
    all.push_back(*std::move(one));
  }
  metrics::JsonObject out;
  for (const auto& [name, ignored] : all.front().numbers) out.add(name, median_of(all, name));
  std::vector<double> first, phases, weights_share;
  for (const Started& s : all) {
    first.push_back(s.at("first_token_ms"));
    double sum = 0;
    for (const char* phase : {"process_ms", "open_ms", "weights_ms", "cache_ms", "prompt_ms"}) {
      sum += s.at(phase);
    }
    phases.push_back(sum / first.back());
    weights_share.push_back((s.at("open_ms") + s.at("weights_ms")) / first.back());
  }
  const Started& last = all.back();
  if (const auto experts = last.find("experts")) {
    const double asked = last.at("experts_asked") / *experts;
    const double loaded = last.at("expert_bytes_loaded") / last.at("expert_bytes");
    out.add("asked_share", asked).add("loaded_share", loaded);
    out.add("loaded_over_asked", loaded / asked);
  }
  std::sort(first.begin(), first.end());
  return out.add("first_token_ms_quartile_1", first[first.size() / 4])
      .add("first_token_ms_quartile_3", first[first.size() * 3 / 4])
      .add("phases_share", median(phases))
      .add("weights_share", median(weights_share))
      .add("copied_share", median_of(all, "open_memory") / median_of(all, "weight_bytes"))
      .add("file_bytes", static_cast<std::int64_t>(fs::file_size(weights)))
      .add("completes", 1)
      .add("rounds", rounds);
}

struct Setting {
  std::shared_ptr<Disk> disk = std::make_shared<Disk>();
  std::size_t rounds = 5, threads = 1;
  model::Shape llama, mixtral, formatted;
  std::size_t bytes = 0;         // of a file of many tensors
  std::size_t memory_limit = 0;  // of a process that has too little
};

Run measured(std::string_view part, std::string_view workload) {
  Run run;
  run.row.variant = "llm";
  run.row.workload = workload;
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", part);
  return run;
}

void add_starts(std::vector<Run>& runs, const Setting& s) {
  for (const From from : {From::checkpoint, From::image}) {
    for (const std::string_view format : loaded_formats) {
      for (const FileLoader& loader : checkpoint::file_loaders()) {
        // how a checkpoint is read matters in one format as in another
        if (from == From::checkpoint && format != loaded_formats[0] && loader.name != "mapped" &&
            loader.name != "mapped_ahead") {
          continue;
        }
        for (const bool cold : {true, false}) {
          Run run = measured("start", s.llama.name);
          run.row.axes.add("from", to_string(from)).add("weight_format", format);
          run.row.axes.add("file_load", loader.name).add("page_cache", cold ? "cold" : "warm");
          run.row.axes.add("threads", s.threads);
          run.measure = [s, from, cold, format = std::string(format),
                         load = std::string(loader.name)] {
            const std::lock_guard lock(s.disk->turn());
            const std::string model = from == From::image
                                          ? s.disk->image_of(s.llama, format, s.threads)
                                          : s.disk->checkpoint_of(s.llama);
            return starts(
                *s.disk, format,
                {.model = model, .file_load = load, .format = format, .threads = s.threads}, cold,
                s.rounds);
          };
          runs.push_back(std::move(run));
        }
      }
    }
  }
}

/// The same weights in every file format, packed at the start but for the image.
void add_formats(std::vector<Run>& runs, const Setting& s) {
  for (const std::string_view format : file_formats) {
    for (const bool cold : {true, false}) {
      Run run = measured("format", s.formatted.name);
      run.row.axes.add("file_format", format).add("file_load", "mapped");
      run.row.axes.add("page_cache", cold ? "cold" : "warm").add("threads", s.threads);
      run.measure = [s, cold, format = std::string(format)] {
        const std::lock_guard lock(s.disk->turn());
        return starts(*s.disk, "format",
                      {.model = s.disk->formatted(s.formatted, format, s.threads),
                       .file_load = "mapped",
                       .format = std::string(loaded_formats[0]),
                       .threads = s.threads},
                      cold, s.rounds);
      };
      runs.push_back(std::move(run));
    }
  }
}

/// What it costs to find out what a file holds: tensors are so small that the index is most of it.
void add_indices(std::vector<Run>& runs, const Setting& s) {
  for (const std::string_view format : file_formats) {
    if (format == "image") continue;  // an index as of safetensors
    for (const std::size_t count : {10u, 100u, 1000u, 10000u}) {
      Run run = measured("index", "synthetic");
      run.row.axes.add("file_format", format).add("tensors", count);
      run.measure = [s, count, format = std::string(format)] {
        const std::lock_guard lock(s.disk->turn());
        const auto open = s.disk->index_of(format, count);
        if (open() != count) throw state_error(format, "lost a tensor", std::to_string(count));
        std::vector<double> seconds;
        for (std::size_t i = 0; i < 4 * s.rounds; ++i) seconds.push_back(seconds_of(open));
        return metrics::JsonObject()
            .add("open_us", 1e6 * median(seconds))
            .add("us_per_tensor", 1e6 * median(seconds) / static_cast<double>(count))
            .add("rounds", 4 * s.rounds);
      };
      runs.push_back(std::move(run));
    }
  }
}

/// A mixture of experts: what is loaded of those that no token asks.
void add_experts(std::vector<Run>& runs, const Setting& s) {
  for (const std::string_view load : {"mapped", "direct"}) {
    for (const std::size_t tokens : {1, 4, 16, 64}) {
      Run run = measured("experts", s.mixtral.name);
      run.row.axes.add("file_load", load).add("tokens", tokens).add("threads", s.threads);
      run.measure = [s, tokens, load = std::string(load)] {
        const std::lock_guard lock(s.disk->turn());
        const std::string format(loaded_formats[0]);
        return starts(*s.disk, "experts " + std::to_string(tokens),
                      {.model = s.disk->image_of(s.mixtral, format, s.threads),
                       .file_load = load,
                       .format = format,
                       .threads = s.threads,
                       .prompt = 1,
                       .generated = tokens},
                      true, s.rounds);
      };
      runs.push_back(std::move(run));
    }
  }
}

/// A model of 0.7 GB with less memory than that, the page cache among it: what is mapped comes and goes.
void add_memory_limits(std::vector<Run>& runs, const Setting& s) {
  const auto limit = static_cast<std::int64_t>(s.memory_limit);
  if (MemoryLimit(limit).empty()) return;  // the system lets us limit nothing
  const auto add = [&](From from, const std::string& format, bool streamed) {
    Run run = measured("memory_limit", s.llama.name);
    run.row.axes.add("from", to_string(from)).add("weight_format", format);
    run.row.axes.add("weights", streamed ? "streamed" : from == From::image ? "mapped" : "packed");
    run.row.axes.add("memory_limit", limit).add("threads", s.threads);
    run.measure = [s, limit, from, format, streamed] {
      const std::lock_guard lock(s.disk->turn());
      const std::string model = from == From::image ? s.disk->image_of(s.llama, format, s.threads)
                                                    : s.disk->checkpoint_of(s.llama);
      const MemoryLimit group(limit);
      return starts(*s.disk, format,
                    {.model = model,
                     .file_load = "mapped",
                     .format = format,
                     .threads = s.threads,
                     .group = group.folder(),
                     // room for activations, and for what the system reads on its own
                     .resident = streamed ? s.memory_limit / 8 * 7 : 0},
                    true, s.rounds);
    };
    runs.push_back(std::move(run));
  };
  for (const std::string_view format : loaded_formats) {
    add(From::checkpoint, std::string(format), false);
    add(From::image, std::string(format), false);
  }
  add(From::image, std::string(loaded_formats[0]), true);
}

/// All tensors of a file in memory of our own: each copied by itself out of the mapped file, or the file
/// read as a whole and looked into.
void add_tensor_counts(std::vector<Run>& runs, const Setting& s) {
  for (const bool together : {false, true}) {
    for (const std::size_t count : {10u, 100u, 1000u, 10000u}) {
      for (const bool cold : {true, false}) {
        Run run = measured("tensor_count", "synthetic");
        run.row.axes.add("tensors", count).add("read", together ? "together" : "each");
        run.row.axes.add("page_cache", cold ? "cold" : "warm");
        run.measure = [s, together, count, cold] {
          const std::lock_guard lock(s.disk->turn());
          const std::string path = s.disk->tensors_of(count, s.bytes);
          std::vector<double> seconds;
          std::uint64_t sum = 0;
          for (std::size_t i = 0; i < s.rounds; ++i) {
            cold ? make_cold(path) : make_warm(path);
            seconds.push_back(seconds_of([&] {
              namespace st = checkpoint::safetensors;
              const auto tensors =
                  together ? st::open_file(path, checkpoint::file_loader<file_load::Direct>())
                           : st::open_file(path);
              std::vector<std::vector<std::byte>> copies;
              for (const checkpoint::TensorView& t : tensors.all()) {
                if (!together) copies.emplace_back(t.bytes.begin(), t.bytes.end());
                const auto bytes = together ? t.bytes : std::span<const std::byte>(copies.back());
                sum += static_cast<std::uint64_t>(bytes.back());
              }
            }));
          }
          return metrics::JsonObject()
              .add("ms", 1e3 * median(seconds))
              .add("file_bytes", static_cast<std::int64_t>(fs::file_size(path)))
              .add("checksum", static_cast<std::int64_t>(sum))
              .add("rounds", s.rounds);
        };
        runs.push_back(std::move(run));
      }
    }
  }
}

/// Reads under way at once, past the page cache.
void add_concurrency(std::vector<Run>& runs, const Setting& s) {
  for (const bool ring : {false, true}) {
    for (const unsigned many : {1, 2, 4, 8, 16, 32}) {
      Run run = measured("concurrency", s.llama.name);
      run.row.axes.add("file_load", ring ? "io_uring" : "direct").add("under_way", many);
      run.measure = [s, ring, many] {
        const std::lock_guard lock(s.disk->turn());
        const std::string path = Disk::weights_in(s.disk->checkpoint_of(s.llama));
        const std::size_t chunk = std::size_t{1} << 20;
        const FileLoader loader =
            ring ? checkpoint::file_loader(file_load::IoUring{.depth = many, .chunk = chunk})
                 : checkpoint::file_loader(file_load::Direct{.threads = many, .chunk = chunk});
        std::vector<double> seconds;
        for (std::size_t i = 0; i < s.rounds; ++i) {
          make_cold(path);
          seconds.push_back(seconds_of([&] { (void)loader.load(path); }));
        }
        const auto bytes = static_cast<double>(fs::file_size(path));
        return metrics::JsonObject()
            .add("ms", 1e3 * median(seconds))
            .add("gb_s", 1e-9 * bytes / median(seconds))
            .add("file_bytes", bytes)
            .add("rounds", s.rounds);
      };
      runs.push_back(std::move(run));
    }
  }
}

std::vector<Run> make_runs(const Options& options) {
  Setting s;
  s.rounds = options.pick<std::size_t>(1, 5, 11);
  s.threads = std::max(1u, std::thread::hardware_concurrency());
  s.llama = options.scale == Scale::smoke ? small_llama : loaded_llama;
  s.mixtral = options.scale == Scale::smoke ? small_mixtral : loaded_mixtral;
  s.formatted = options.scale == Scale::smoke ? small_llama : formatted_llama;
  s.bytes =
      options.pick<std::size_t>(std::size_t{8} << 20, std::size_t{256} << 20, std::size_t{1} << 30);
  s.memory_limit = options.pick<std::size_t>(std::size_t{64} << 20, std::size_t{448} << 20,
                                             std::size_t{448} << 20);
  std::vector<Run> runs;
  add_starts(runs, s);
  add_formats(runs, s);
  add_indices(runs, s);
  add_experts(runs, s);
  add_memory_limits(runs, s);
  add_tensor_counts(runs, s);
  add_concurrency(runs, s);
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  using namespace quire::experiment;
  if (argc > 1 && argv[1] == start_word) return start_here({argv + 2, argv + argc});
  return run_experiment(
      argc, argv, "loading",
      "How long an engine takes to start, and how its weights come into memory.\n\n"
      "Examples:\n"
      "  loading --out rows.jsonl\n"
      "  loading --out rows.jsonl --filter image\n",
      make_runs);
}
