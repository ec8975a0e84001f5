#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/checkpoint/generation_config.hpp>
#include <quire/checkpoint/tokenizer.hpp>
#include <quire/core/error.hpp>
#include <quire/engine/any_engine.hpp>
#include <quire/llm/check_sampling.hpp>
#include <quire/llm/stop_strings.hpp>
#include <quire/sampling/sampler.hpp>

namespace quire {

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

/// A piece of text as it becomes certain. Beams have none: their text changes until they end.
struct TextEvent {
  std::size_t prompt = 0;         // index into the prompts of the call
  std::int32_t sample_index = 0;  // which of the prompt's completions
  std::string_view text;          // may be empty: a token need not end a character
  FinishReason finish_reason = FinishReason::none;
};

using TextCallback = std::function<void(const TextEvent&)>;

/// Parameters that a checkpoint's authors recommend, over the defaults.
[[nodiscard]] inline SamplingParams recommended_params(const checkpoint::GenerationConfig& g) {
  SamplingParams p;
  if (g.temperature) p.temperature = *g.temperature;
  if (g.do_sample == false) p.temperature = 0;
  if (g.top_k) p.top_k = *g.top_k;
  if (g.top_p) p.top_p = *g.top_p;
  if (g.min_p) p.min_p = *g.min_p;
  if (g.repetition_penalty) p.repetition_penalty = *g.repetition_penalty;
  return p;
}

/// Text by any engine that runs a model, whatever it was composed of and whoever executes: an entry of a registry
/// (quire/engine/registry.hpp), or LLM's own. Engine and tokenizer must outlive it.
/// \errors usage, for a request that can never run (an empty or too long prompt, parameters out of range)
class TextGenerator {
 public:
  /// eos: tokens that end a text, unless its parameters say otherwise; model: what errors name
  TextGenerator(AnyEngine& engine, const checkpoint::Tokenizer& tokenizer,
                const std::vector<TokenId>& eos, std::string model = {})
      : engine_(engine), tokenizer_(tokenizer), eos_(eos), model_(std::move(model)) {}

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

 private:
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
      if (error.kind() != ErrorKind::state || model_.empty()) throw;
      throw state_error(model_, error.what());
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

  AnyEngine& engine_;
  const checkpoint::Tokenizer& tokenizer_;
  const std::vector<TokenId>& eos_;
  std::string model_;
};

}  // namespace quire
