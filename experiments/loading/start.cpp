// One start of an engine, from nothing to its first tokens. See start.hpp.
#include <experiments/loading/start.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <experiments/common/subprocess.hpp>
#include <experiments/loading/cold.hpp>
#include <experiments/loading/memory_limit.hpp>
#include <quire/checkpoint/gguf/save.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/rng.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/model/decoder.hpp>
#include <quire/model/weight_image.hpp>
#include <quire/model/weight_stream.hpp>
#include <quire/weight_format/bf16_w16a16.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/q8_0.hpp>

namespace quire::experiment {
namespace {

using Decoder = model::Decoder<weight_format::Packed>;

const weight_format::WeightCodec& codec_named(const std::string& name) {
  for (const auto* codec : {&weight_format::codec_of<weight_format::Bf16W16a16>(),
                            &weight_format::codec_of<weight_format::Q80>(),
                            &weight_format::codec_of<weight_format::Q40>()}) {
    if (codec->name == name) return *codec;
  }
  throw usage_error("weight format", name, "bf16_w16a16, q8_0 or q4_0");
}

/// Seconds of a clock that all processes share.
double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A number of /proc/self/FILE: what stands behind `key`.
double number_in(const char* file, std::string_view key) {
  std::ifstream in(std::string("/proc/self/") + file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) return std::strtod(line.c_str() + key.size(), nullptr);
  }
  return 0;
}

/// Experts that were asked, and those whose weights are in memory for the most part.
void tell_experts(const Decoder& decoder, const model::WeightLoad& load) {
  std::size_t asked = 0, loaded = 0, all = 0;
  double bytes = 0, resident = 0;
  for (std::size_t l = 0; l < decoder.weights().layers.size(); ++l) {
    const auto& experts = decoder.weights().layers[l].experts;
    for (std::size_t e = 0; e < experts.size(); ++e, ++all) {
      asked += load.expert_rows[l * experts.size() + e] > 0 ? 1 : 0;
      double mine = 0, there = 0;
      for (const auto* matrix : {&experts[e].in, &experts[e].out}) {
        const model::PackedMatrix packed = matrix->packed();
        constexpr std::uintptr_t page = 4096;
        const auto begin = reinterpret_cast<std::uintptr_t>(packed.bytes.data());
        const std::uintptr_t skip = (page - begin % page) % page;  // pages of its own alone
        const std::size_t whole = (packed.bytes.size() - skip) / page * page;
        mine += static_cast<double>(whole);
        there += static_cast<double>(whole) * resident_share(packed.bytes.data() + skip, whole);
      }
      bytes += mine;
      resident += there;
      loaded += there > mine / 2 ? 1 : 0;
    }
  }
  std::printf("experts %zu\nexperts_asked %zu\nexperts_loaded %zu\n", all, asked, loaded);
  std::printf("expert_bytes %.0f\nexpert_bytes_loaded %.0f\n", bytes, resident);
}

/// Attention that tells a stream of weights which layer it is.
struct Streaming {
  model::FullAttention full;
  model::WeightStream* stream;
  template <class Format>
  void attend(const model::AttentionCall& call) const {
    if (stream != nullptr) stream->begin(call.layer);
    full.template attend<Format>(call);
  }
};

}  // namespace

std::optional<double> Started::find(std::string_view name) const {
  for (const auto& [key, value] : numbers) {
    if (key == name) return value;
  }
  return std::nullopt;
}
double Started::at(std::string_view name) const {
  if (const auto value = find(name)) return *value;
  throw state_error("a start", "did not measure " + std::string(name), "all of its numbers");
}

void write_image_of(const std::string& model, const std::string& format, const std::string& image,
                    std::size_t threads) {
  ThreadPool pool(threads);
  model::save_weight_image<weight_format::Packed>(checkpoint::open_checkpoint(model),
                                                  codec_named(format), image, pool);
}

void write_format_of(const std::string& model, const std::string& format, const std::string& to) {
  const checkpoint::Checkpoint from = checkpoint::open_checkpoint(model);
  if (format == "gguf") {
    checkpoint::save_gguf(from, to, checkpoint::DType::bf16);
  } else {
    checkpoint::save_checkpoint(from, to, checkpoint::tensor_file_named(format));
  }
}

int start_here(const std::vector<std::string>& words) {
  const double begin = now();
  if (words.size() != 9) throw usage_error("start-one", "not nine words", "a start");
  if (words[7] != "-") enter_group(words[7]);
  const double spawned = std::strtod(words[6].c_str(), nullptr);
  const weight_format::WeightCodec& codec = codec_named(words[2]);
  const auto count = [&](std::size_t i) { return std::stoul(words[i]); };

  ThreadPool threads(count(3));
  const double own_before = number_in("status", "RssAnon:");
  const checkpoint::Checkpoint model =
      checkpoint::open_checkpoint(words[0], checkpoint::file_loader_named(words[1]));
  const double opened = now();
  const double own_opened = number_in("status", "RssAnon:");
  const Decoder decoder(model.config, model.tensors, threads, codec);
  std::unique_ptr<model::WeightStream> stream;
  if (count(8) > 0) {
    stream = model::stream_of(decoder.weights(), static_cast<std::int64_t>(count(8)));
  }
  const double packed = now();

  const auto prompt = static_cast<std::int64_t>(count(4)), generated = std::int64_t(count(5));
  const Tokens block_tokens = 64;
  const BlockCount blocks = blocks_for(Tokens{prompt + generated}, block_tokens);
  kv_format::Arena<kv_format::Fp32> arena(model.config.shape, blocks, block_tokens);
  std::vector<BlockId> table;
  for (std::uint32_t b = 0; b < static_cast<std::uint32_t>(blocks.value); ++b) table.push_back({b});
  model::Activations memory;
  std::vector<float> logits(decoder.logits_stride());
  model::Batch batch;
  Rng rng(1);
  std::vector<TokenId> tokens;
  for (std::int64_t i = 0; i < prompt; ++i) {
    tokens.push_back(static_cast<TokenId>(rng.below(decoder.vocab())));
  }
  const double ready = now();
  std::uint64_t hash = 0;
  const auto run = [&](std::int64_t computed) {
    batch.clear();
    batch.add(tokens, computed, table);
    batch.logits_rows.push_back(batch.rows() - 1);
    decoder.forward(batch, arena, memory, threads, logits.data(), Streaming{{}, stream.get()});
    hash = hash_span(std::span<const float>(logits.data(), decoder.vocab()), hash);
    const auto best =
        std::max_element(logits.begin(), logits.begin() + std::ptrdiff_t(decoder.vocab()));
    tokens.assign(1, static_cast<TokenId>(best - logits.begin()));
  };
  run(0);
  const double first = now();
  const double read_before = number_in("io", "read_bytes:");
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  std::vector<double> steps;
  for (std::int64_t i = 0; i < generated; ++i) {
    const double start = now();
    run(prompt + i);
    steps.push_back(now() - start);
  }
  std::nth_element(steps.begin(), steps.begin() + std::ssize(steps) / 2, steps.end());

  const auto tell = [](const char* name, double value) { std::printf("%s %.17g\n", name, value); };
  tell("process_ms", 1e3 * (begin - spawned));
  tell("open_ms", 1e3 * (opened - begin));
  tell("weights_ms", 1e3 * (packed - opened));
  tell("cache_ms", 1e3 * (ready - packed));
  tell("prompt_ms", 1e3 * (first - ready));
  tell("first_token_ms", 1e3 * (first - spawned));
  tell("decode_us", 1e6 * steps[steps.size() / 2]);
  tell("decode_disk_bytes", generated == 0 ? 0
                                           : (number_in("io", "read_bytes:") - read_before) /
                                                 static_cast<double>(generated));
  tell("disk_bytes", number_in("io", "read_bytes:"));
  tell("major_faults", static_cast<double>(used.ru_majflt));
  tell("open_memory", 1024 * (own_opened - own_before));
  tell("peak_memory", 1024 * number_in("status", "VmHWM:"));
  tell("own_memory", 1024 * number_in("status", "RssAnon:"));
  tell("mapped_memory", 1024 * number_in("status", "RssFile:"));
  tell("weight_bytes", static_cast<double>(decoder.weights().bytes()));
  if (model.config.shape.experts > 0) tell_experts(decoder, memory.load);
  std::printf("logits %016" PRIx64 "\n", hash);
  return 0;
}

std::optional<Started> start_elsewhere(const Start& start) {
  char spawned[64];
  std::snprintf(spawned, sizeof spawned, "%.9f", now());
  const Said said = run_command({"/proc/self/exe", std::string(start_word), start.model,
                                 start.file_load, start.format, std::to_string(start.threads),
                                 std::to_string(start.prompt), std::to_string(start.generated),
                                 spawned, start.group, std::to_string(start.resident)});
  if (said.exit_code == 128 + SIGKILL) return std::nullopt;
  if (said.exit_code != 0) {
    throw state_error("a start from " + start.model,
                      "ended with " + std::to_string(said.exit_code) + ": " + said.err, "0");
  }
  Started out;
  std::istringstream lines(said.out);
  for (std::string name, value; lines >> name >> value;) {
    if (name == "logits") {
      out.logits = value;
    } else {
      out.numbers.emplace_back(name, std::strtod(value.c_str(), nullptr));
    }
  }
  if (out.logits.empty()) throw state_error("a start", "ended early: " + said.out, "its logits");
  return out;
}

}  // namespace quire::experiment
