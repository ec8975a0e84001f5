#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/tokenizer.hpp>
#include <quire/core/error.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/llm/check_sampling.hpp>
#include <quire/llm/cpu_options.hpp>
#include <quire/llm/stop_strings.hpp>
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

/// One completion of a prompt.
struct Completion {
  std::int32_t index = 0;  // 0 ... n - 1; the best first where more were generated than returned
  std::string text;        // without the stop string or stop token that ended it
  std::vector<TokenId> tokens;
  FinishReason finish_reason = FinishReason::none;
  double cumulative_logprob = 0;  // 0 when log-probabilities were not asked for
  std::vector<float> logprobs;    // one a token, likewise
  std::vector<std::vector<TokenLogprob>> alternatives;  // SamplingParams::logprobs a token
};

/// What became of one prompt.
struct RequestOutput {
  std::string prompt;
  std::vector<TokenId> prompt_tokens;
  std::vector<Completion> outputs;
  Timeline timeline;
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

/// A piece of text as it becomes certain. Beams have none: their text changes until they end.
struct TextEvent {
  std::size_t prompt = 0;         // index into the prompts of the call
  std::int32_t sample_index = 0;  // which of the prompt's completions
  std::string_view text;          // may be empty: a token need not end a character
  FinishReason finish_reason = FinishReason::none;
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
  using TextCallback = std::function<void(const TextEvent&)>;

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
    if constexpr (requires { engine_.executor().weight_seconds(); }) {
      startup_.weights = engine_.executor().weight_seconds();
    }
    startup_.engine = std::chrono::duration<double>(all).count() - startup_.weights;
  }

  /// Parameters that the checkpoint's authors recommend, over the defaults.
  [[nodiscard]] SamplingParams default_params() const {
    SamplingParams p;
    if (generation_.temperature) p.temperature = *generation_.temperature;
    if (generation_.do_sample == false) p.temperature = 0;
    if (generation_.top_k) p.top_k = *generation_.top_k;
    if (generation_.top_p) p.top_p = *generation_.top_p;
    if (generation_.min_p) p.min_p = *generation_.min_p;
    if (generation_.repetition_penalty) p.repetition_penalty = *generation_.repetition_penalty;
    return p;
  }

  /// Completes every prompt; results in the order of the prompts.
  [[nodiscard]] std::vector<RequestOutput> generate(const std::vector<std::string>& prompts,
                                                    const SamplingParams& params = {},
                                                    const TextCallback& on_text = {}) {
    std::vector<RequestOutput> out(prompts.size());
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      out[i].prompt = prompts[i];
      out[i].prompt_tokens = tokenizer_.encode(prompts[i]);
    }
    run(out, params, on_text);
    return out;
  }

  /// The same for prompts that are tokens already.
  [[nodiscard]] std::vector<RequestOutput> generate_tokens(
      const std::vector<std::vector<TokenId>>& prompts, const SamplingParams& params = {},
      const TextCallback& on_text = {}) {
    std::vector<RequestOutput> out(prompts.size());
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      out[i].prompt = tokenizer_.decode(prompts[i]);
      out[i].prompt_tokens = prompts[i];
    }
    run(out, params, on_text);
    return out;
  }

  [[nodiscard]] const StartupSeconds& startup() const { return startup_; }
  [[nodiscard]] const checkpoint::Tokenizer& tokenizer() const { return tokenizer_; }
  [[nodiscard]] Engine<C, E>& engine() { return engine_; }
  /// Logits after every token of a text. \shape (tokens, vocab)
  [[nodiscard]] std::vector<float> logits(std::span<const TokenId> tokens) {
    static_assert(
        requires { engine_.executor().decoder(); },
        "quire: LLM::logits(): the CPU executor alone computes logits of a whole text; "
        "smallest model: quire::executor::Cpu");
    return model::full_logits(engine_.executor().decoder(), tokens, engine_.executor().threads());
  }

 private:
  LLM(Opened opened, const Options& options)
      : LLM(std::move(opened.checkpoint), std::move(opened.tokenizer), options) {}

  /// One completion on its way: its text so far.
  struct Writing {
    checkpoint::Tokenizer::Stream stream;
    StopStrings stops;
    std::string text;
    std::int64_t tokens = 0;
    FinishReason finish = FinishReason::none;
  };
  struct Job {
    std::size_t prompt = 0;
    std::map<std::int32_t, Writing> writing;  // by sample index
  };

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

  [[nodiscard]] SamplingParams with_eos(SamplingParams p) const {
    if (!p.ignore_eos) {
      p.stop_token_ids.insert(p.stop_token_ids.end(), eos_.begin(), eos_.end());
    }
    if (p.beam_width > 0 && !p.stop.empty()) {
      throw usage_error("stop", "stop strings do not go together with beam search",
                        "stop_token_ids");
    }
    return p;
  }

  void run(std::vector<RequestOutput>& out, const SamplingParams& params,
           const TextCallback& on_text) {
    check_sampling(params);
    const SamplingParams p = with_eos(params);
    std::unordered_map<RequestId, Job> jobs;
    try {
      for (std::size_t i = 0; i < out.size(); ++i) {
        Request request;
        request.arrival = engine_.now();
        request.prompt = out[i].prompt_tokens;
        request.sampling = p;
        jobs[engine_.submit(std::move(request))].prompt = i;
        collect(jobs, out);  // a request that is refused is finished at once
      }
      while (engine_.has_work()) {
        const StepStats& stats = step();
        if (stats.idle) {
          if (!stats.wake_at) throw state_error("engine", "no request can run", "a larger KV pool");
          engine_.advance_to(*stats.wake_at);
          continue;
        }
        const std::vector<TokenEvent> events(engine_.events().begin(), engine_.events().end());
        for (const TokenEvent& event : events)
          write(event, jobs.at(event.request), out, p, on_text);
        collect(jobs, out);
      }
    } catch (...) {  // leave nothing behind that a later call would run
      for (const auto& [id, job] : jobs) (void)engine_.cancel(id);
      (void)engine_.take_finished();
      throw;
    }
  }

  /// One step of the engine. \errors state, naming the checkpoint, whose weights may give no numbers.
  const StepStats& step() {
    try {
      return engine_.step();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::state || directory_.empty()) throw;
      throw state_error(directory_, error.what());
    }
  }

  /// Adds one token to its completion's text, and ends the completion at a stop string.
  void write(const TokenEvent& event, Job& job, const std::vector<RequestOutput>& out,
             const SamplingParams& p, const TextCallback& on_text) {
    auto at = job.writing.find(event.sample_index);
    if (at == job.writing.end()) {
      at = job.writing
               .emplace(event.sample_index,
                        Writing{tokenizer_.stream(), StopStrings(p.stop), {}, 0, {}})
               .first;
      // the prompt decides whether the first piece begins with a space
      for (const TokenId t : out[job.prompt].prompt_tokens) (void)at->second.stream.push(t);
    }
    Writing& w = at->second;
    if (w.finish != FinishReason::none) return;
    ++w.tokens;
    w.finish = event.finish;
    std::string fresh;
    if (event.finish != FinishReason::stop) fresh = w.stream.push(event.token);
    if (event.finish != FinishReason::none) fresh += w.stream.finish();
    std::string certain;
    if (w.tokens < p.min_tokens.value) {
      certain = std::move(fresh);
    } else {
      certain = w.stops.push(fresh);
      if (w.stops.matched()) {
        w.finish = FinishReason::stop;
        if (event.finish == FinishReason::none) {
          (void)engine_.finish_sequence(event.request, event.sample_index, FinishReason::stop);
        }
      } else if (event.finish != FinishReason::none) {
        certain += w.stops.finish();
      }
    }
    w.text += certain;
    if (on_text && (!certain.empty() || w.finish != FinishReason::none)) {
      on_text({job.prompt, event.sample_index, certain, w.finish});
    }
  }

  void collect(std::unordered_map<RequestId, Job>& jobs, std::vector<RequestOutput>& out) {
    for (const auto& group : engine_.take_finished()) {
      const auto at = jobs.find(group->request.id);
      if (at == jobs.end()) continue;
      Job& job = at->second;
      if (!group->error.empty()) {
        throw usage_error("prompt " + std::to_string(job.prompt), group->error,
                          "a request that fits the engine's limits");
      }
      RequestOutput& result = out[job.prompt];
      result.timeline = group->timeline;
      const auto count =
          std::min(group->sequences.size(), static_cast<std::size_t>(group->request.sampling.n));
      for (std::size_t i = 0; i < count; ++i) {
        result.outputs.push_back(completion(*group, group->sequences[i], job));
        result.outputs.back().index = static_cast<std::int32_t>(i);
      }
    }
  }

  [[nodiscard]] Completion completion(const SequenceGroup& group, const Sequence& s,
                                      const Job& job) const {
    Completion c;
    const auto prompt = static_cast<std::size_t>(group.prompt_length().value);
    c.tokens.assign(s.tokens.begin() + static_cast<std::ptrdiff_t>(prompt), s.tokens.end());
    c.finish_reason = s.finish;
    c.cumulative_logprob = s.cumulative_logprob;
    const SamplingParams& p = group.request.sampling;
    if (sampling::wants_logprobs(p)) c.logprobs = s.logprobs;
    for (std::size_t i = 0; i < s.alternatives_begin.size(); ++i) {
      const std::size_t end =
          i + 1 < s.alternatives_begin.size() ? s.alternatives_begin[i + 1] : s.alternatives.size();
      c.alternatives.emplace_back(
          s.alternatives.begin() + static_cast<std::ptrdiff_t>(s.alternatives_begin[i]),
          s.alternatives.begin() + static_cast<std::ptrdiff_t>(end));
    }
    const auto written = job.writing.find(s.sample_index);
    if (p.beam_width == 0 && written != job.writing.end()) {
      c.text = written->second.text;
      c.finish_reason = written->second.finish;
      return c;
    }
    checkpoint::Tokenizer::Stream stream = tokenizer_.stream();
    for (std::size_t i = 0; i < prompt; ++i) (void)stream.push(s.tokens[i]);
    const std::size_t shown = c.finish_reason == FinishReason::stop && !c.tokens.empty()
                                  ? c.tokens.size() - 1
                                  : c.tokens.size();
    for (std::size_t i = 0; i < shown; ++i) c.text += stream.push(c.tokens[i]);
    c.text += stream.finish();
    return c;
  }

  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string directory_;
  StartupSeconds startup_;
  checkpoint::Tokenizer tokenizer_;
  checkpoint::GenerationConfig generation_;
  std::vector<TokenId> eos_;
  Engine<C, E> engine_;
};

LLM(const std::string&)->LLM<LlmConfig>;

}  // namespace quire
