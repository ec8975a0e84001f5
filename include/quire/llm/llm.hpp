#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/tokenizer.hpp>
#include <quire/core/error.hpp>
#include <quire/engine/any_engine.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/llm/cpu_options.hpp>
#include <quire/llm/text_generator.hpp>
#include <quire/memory/disk_tier.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire {

/// The configuration of LLM unless another is named: vLLM with prefix cache, everything in fp32.
struct LlmConfig : presets::VllmPrefixCache {
  static constexpr std::string_view name = "llm";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};

/// Where the time of a start went, from the checkpoint's first file to an engine that takes requests.
/// \unit seconds
struct StartupSeconds {
  double config = 0;     // configuration and generation_config
  double tokenizer = 0;  // read and made ready
  double tensors = 0;    // the weights' files opened; read, unless they are mapped
  double weights = 0;    // packed, or found packed
  double engine = 0;     // the rest: KV pool, threads, control plane

  [[nodiscard]] double all() const { return config + tokenizer + tensors + weights + engine; }
};

/// Generates text with a Hugging Face checkpoint: tokenizer, engine and CPU executor in one.
///
///     quire::LLM llm("path/to/checkpoint");
///     auto out = llm.generate({"Once upon a time"}, {.max_tokens = 50});
///     std::cout << out[0].outputs[0].text;
///
/// Prompts of one call run as one batch and share the engine's prefix cache with earlier calls.
/// Results depend on prompt, parameters and seed alone, not on the batch or the threads.
/// E: executor::Cpu; executor::AnyCpu, with which the options choose the formats; or another executor that
/// runs a checkpoint, as BasicCuda does (kernels/quire/executor/cuda.cuh).
/// \errors data, with file and place, for a checkpoint that cannot be read; usage for a request
/// that can never run (an empty or too long prompt, parameters out of range, more sequences than the
/// engine takes)
template <class C = LlmConfig, class E = executor::Cpu>
class LLM {
 public:
  /// What an executor has no part in (threads and weights of the CPU executor on another, say) is refused unless it
  /// is as it is here.
  struct Options {
    std::size_t threads = 0;   // 0: one per processor
    bool pin_threads = false;  // as executor::Cpu::Options
    SchedulerLimits limits{};
    Bytes kv_memory = std::int64_t{4} << 30;    // at most; touched as it is used
    Bytes host_memory = std::int64_t{1} << 30;  // likewise, where the configuration swaps
    Bytes disk_memory = std::int64_t{1} << 30;  // likewise, where it has a disk tier
    /// disk.directory must be given where the configuration has a disk tier; what is cached is left
    /// there for the next process by engine().persist().
    DiskTierOptions disk{};
    /// Folder or GGUF file of a smaller model with the same vocabulary, where the configuration
    /// speculates with one.
    std::string draft_model{};
    /// Folder where packed weights are kept from one start to the next; empty: they are packed each time.
    std::string weight_cache{};
    /// What the images of that folder may have together, 0 for no limit, and what is told of each that is
    /// dropped: as model::WeightCache.
    Bytes weight_cache_capacity = model::WeightCache{}.capacity;
    std::function<void(const std::string& line)> weight_cache_tell{};
    /// How the bytes of weights come into memory: a name of checkpoint::file_loaders(). With a cache, those of
    /// its images; the checkpoint's own files are then mapped.
    std::string file_load{"mapped"};
    /// How much of the weights may be in memory at a time, as executor::Cpu::Options; 0: all.
    Bytes resident_weights = 0;
    /// In place of the configuration's formats, with executor::AnyCpu; null: those.
    const kv_format::KvCodec* kv_format = nullptr;
    const weight_format::WeightCodec* weight_format = nullptr;
    /// Of a KV format that is fitted to the model beforehand, as executor::Cpu::Options.
    std::shared_ptr<const kv_format::Calibration> kv_calibration{};
  };
  using TextCallback = quire::TextCallback;

  /// What is read before an engine is made.
  /// In this order: a folder that is not there is said before a file that is not in it.
  struct Opened {
    checkpoint::Checkpoint checkpoint;
    checkpoint::Tokenizer tokenizer;
  };
  static Opened open(const std::string& directory, const Options& options) {
    const checkpoint::FileLoader loader = checkpoint::file_loader_named(options.file_load);
    checkpoint::Checkpoint model = checkpoint::open_checkpoint(
        directory, options.weight_cache.empty() ? loader : checkpoint::mapped_files());
    if (model.tokenizer) {
      checkpoint::Tokenizer tokenizer = *model.tokenizer;
      return {std::move(model), std::move(tokenizer)};
    }
    if (checkpoint::is_gguf(directory)) {
      throw data_error(directory, "there is no tokenizer in it", "tokenizer.ggml.model");
    }
    return {std::move(model), checkpoint::Tokenizer::from_file(
                                  (std::filesystem::path(directory) / "tokenizer.json").string())};
  }

  explicit LLM(const std::string& directory, Options options = {})
      : LLM(open(directory, options), options) {}

  LLM(checkpoint::Checkpoint checkpoint, checkpoint::Tokenizer tokenizer, Options options = {})
      : directory_(checkpoint.directory),
        startup_{checkpoint.opening.config, checkpoint.opening.tokenizer,
                 checkpoint.opening.tensors},
        tokenizer_(std::move(tokenizer)),
        generation_(checkpoint.generation),
        eos_(generation_.eos.empty() ? checkpoint.config.eos : generation_.eos),
        engine_(engine_options(std::move(checkpoint), options, tokenizer_)) {
    const auto all = std::chrono::steady_clock::now() - start_;
    if constexpr (requires { engine().executor().weight_seconds(); }) {
      startup_.weights = engine().executor().weight_seconds();
    }
    startup_.engine = std::chrono::duration<double>(all).count() - startup_.weights;
  }

  /// Parameters that the checkpoint's authors recommend, over the defaults.
  [[nodiscard]] SamplingParams default_params() const { return recommended_params(generation_); }

  /// Completes every prompt; results in the order of the prompts.
  [[nodiscard]] std::vector<RequestOutput> generate(const std::vector<std::string>& prompts,
                                                    const SamplingParams& params = {},
                                                    const TextCallback& on_text = {}) {
    return texts().generate(prompts, params, on_text);
  }

  /// The same for prompts that are tokens already.
  [[nodiscard]] std::vector<RequestOutput> generate_tokens(
      const std::vector<std::vector<TokenId>>& prompts, const SamplingParams& params = {},
      const TextCallback& on_text = {}) {
    return texts().generate_tokens(prompts, params, on_text);
  }

  [[nodiscard]] const StartupSeconds& startup() const { return startup_; }
  [[nodiscard]] const checkpoint::Tokenizer& tokenizer() const { return tokenizer_; }
  [[nodiscard]] Engine<C, E>& engine() { return engine_.engine(); }
  /// Logits after every token of a text. \shape (tokens, vocab)
  [[nodiscard]] std::vector<float> logits(std::span<const TokenId> tokens) {
    static_assert(
        requires { engine().executor().decoder(); },
        "quire: LLM::logits(): the CPU executor alone computes logits of a whole text; "
        "smallest model: quire::executor::Cpu");
    return model::full_logits(engine().executor().decoder(), tokens, engine().executor().threads());
  }

 private:
  [[nodiscard]] TextGenerator texts() { return {engine_, tokenizer_, eos_, directory_}; }

  LLM(Opened opened, const Options& options)
      : LLM(std::move(opened.checkpoint), std::move(opened.tokenizer), options) {}

  /// The draft model, whose tokens must be those of the tokenizer. \errors usage, with the first that is
  /// not
  static checkpoint::Checkpoint open_draft(const std::string& path,
                                           const checkpoint::Tokenizer& tokenizer) {
    checkpoint::Checkpoint draft = checkpoint::open_checkpoint(path);
    if (!draft.tokenizer) return draft;
    const auto said = [](const std::optional<std::string_view>& piece) {
      return piece ? "'" + std::string(*piece) + "'" : std::string("nothing");
    };
    const auto vocab = static_cast<TokenId>(draft.config.shape.vocab);
    for (TokenId id = 0; id < vocab; ++id) {
      const auto mine = tokenizer.id_to_piece(id), its = draft.tokenizer->id_to_piece(id);
      if (mine == its) continue;
      throw usage_error("draft_model " + path,
                        "has another vocabulary: token " + std::to_string(id) + " is " + said(its) +
                            ", and of the model " + said(mine),
                        "two models with one tokenizer");
    }
    return draft;
  }
  static typename E::Options engine_options(checkpoint::Checkpoint checkpoint,
                                            const Options& options,
                                            const checkpoint::Tokenizer& tokenizer) {
    typename E::Options out;
    out.model = std::move(checkpoint);
    out.limits = options.limits;
    if constexpr (requires { out.kv_format; }) {
      out.kv_format = options.kv_format;
      out.weight_format = options.weight_format;
    } else if (options.kv_format != nullptr || options.weight_format != nullptr) {
      throw usage_error("kv_format and weight_format", "this executor has the configuration's",
                        "quire::LLM<C, quire::executor::AnyCpu>");
    }
    if (!options.draft_model.empty()) out.draft_model = open_draft(options.draft_model, tokenizer);
    out.kv_memory = options.kv_memory;
    out.host_memory = options.host_memory;
    out.disk_memory = options.disk_memory;
    out.disk = options.disk;
    detail::take_cpu_options(options, out);
    // a small model needs less: no more than every sequence at full length
    const KvGeometry all = E::template geometry<C>(out);
    const model::Shape& shape = out.model.config.shape;
    if (out.limits.max_length > shape.max_length) {
      throw usage_error("limits.max_length " + std::to_string(out.limits.max_length.value),
                        "is more than the model can take",
                        "at most " + std::to_string(shape.max_length.value));
    }
    const Tokens longest =
        out.limits.max_length > Tokens{0} ? out.limits.max_length : shape.max_length;
    const BlockCount most = blocks_for(longest, C::BlockSize::tokens).value *
                            std::min<std::int64_t>(out.limits.max_sequences, 64);
    out.device_blocks = std::max(BlockCount{1}, std::min(all.device_blocks, most));
    if (C::Offload::uses_host) {
      out.host_blocks = std::max(BlockCount{1}, std::min(all.host_blocks, most));
    }
    return out;
  }

  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string directory_;
  StartupSeconds startup_;
  checkpoint::Tokenizer tokenizer_;
  checkpoint::GenerationConfig generation_;
  std::vector<TokenId> eos_;
  ErasedEngine<Engine<C, E>> engine_;  // which texts are the same code over
};

LLM(const std::string&)->LLM<LlmConfig>;

}  // namespace quire
