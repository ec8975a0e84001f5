// Guessing tokens ahead: Leviathan et al. (ICML '23) and prompt lookup. README.md says what is run and why.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/checkpoints.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/quality/calibration_texts.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <experiments/retention/texts.hpp>
#include <experiments/speculation/axes.hpp>
#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/cpu.hpp>
#include <quire/executor/simulated.hpp>

namespace quire::experiment {
namespace {

using Prompts = std::vector<std::vector<TokenId>>;

/// What became of some requests.
struct Outcome {
  Prompts texts;  // generated tokens
  double seconds = 0;
  EngineCounters counters;
  std::int64_t prompt_steps = 0;  // that computed a prompt
  [[nodiscard]] double tokens_a_step(std::size_t batch) const {
    const auto drawn = counters.output_tokens.value - static_cast<std::int64_t>(texts.size());
    const auto steps = counters.steps - prompt_steps;
    return static_cast<double>(drawn) / static_cast<double>(steps) / static_cast<double>(batch);
  }
};

/// Serves requests in batches, each to its end before the next begins. Time is the engine's, or where
/// `wall` is set all that passes.
template <class Engine>
Outcome serve(Engine& engine, std::span<const Request> requests, std::size_t batch, bool wall) {
  Outcome out;
  out.texts.resize(requests.size());
  const auto clock = [&] {
    return wall ? std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
                      .count()
                : engine.now().value;
  };
  for (std::size_t first = 0; first < requests.size(); first += batch) {
    for (std::size_t i = first; i < std::min(first + batch, requests.size()); ++i) {
      engine.submit(requests[i]);
    }
    double begin = -1;
    while (engine.has_work()) {
      engine.step();
      const auto& rows = engine.last_plan().sequences;
      if (std::any_of(rows.begin(), rows.end(),
                      [](const SequencePlan& s) { return s.computed < s.prompt_tokens; })) {
        out.prompt_steps += 1;
        begin = clock();  // decoding begins behind the last prompt
      }
    }
    out.seconds += clock() - begin;
    for (const auto& group : engine.take_finished()) {
      if (!group->error.empty()) throw state_error("speculation", group->error, "more KV blocks");
      const auto& tokens = group->sequences.front().tokens;
      if (tokens.empty()) continue;  // simulated: lengths alone
      out.texts[static_cast<std::size_t>(group->request.id.value)].assign(
          tokens.begin() + group->request.prompt_length.value, tokens.end());
    }
  }
  out.counters = engine.counters();
  return out;
}

// ---- simulated ------------------------------------------------------------------------------------

template <std::int64_t drafts>
Outcome simulated(double acceptance, std::size_t batch, std::int64_t output, std::size_t count) {
  executor::Simulated::Options setup = opt_13b_setup();
  setup.host = host_overhead::none;  // the device alone
  setup.acceptance = acceptance;
  Engine<Guessing<drafts>, executor::Simulated> engine(setup);
  Request r;
  r.prompt_length = 32;  // the largest batch fits into memory
  r.output_length = output;
  return serve(engine, std::vector<Request>(count, r), batch, false);
}

Run simulated_run(std::string_view part, std::string_view variant, std::int64_t drafts,
                  double acceptance) {
  Run run;
  run.row.variant = variant;
  run.row.workload = "equal_lengths";
  run.row.mode = metrics::Mode::simulated;
  run.row.axes.add("part", part).add("model", model::opt_13b.name).add("drafts", drafts);
  run.row.axes.add("acceptance", acceptance);
  return run;
}

/// Table 4 of the paper at temperature 0 and 1: drafts, acceptance, and the cost of a draft in steps of the model.
struct Published {
  std::int64_t drafts;
  double acceptance, cost;
};
constexpr Published table4[] = {{7, 0.75, 0.02}, {7, 0.80, 0.04}, {7, 0.82, 0.11},
                                {7, 0.62, 0.02}, {5, 0.68, 0.04}, {3, 0.71, 0.11}};

template <std::int64_t drafts>
void add_expected(std::vector<Run>& runs, const Options& options) {
  const std::int64_t output = options.pick(200, 1000, 1000);
  for (const Published& p : table4) {
    if (p.drafts != drafts) continue;
    Run run = simulated_run("expected", Guessing<drafts>::name, drafts, p.acceptance);
    run.row.axes.add("cost", p.cost);
    run.measure = [p, output] {
      const double tokens = simulated<drafts>(p.acceptance, 1, output, 20).tokens_a_step(1);
      return metrics::JsonObject()
          .add("tokens_a_step", tokens)
          .add("factor", tokens / (static_cast<double>(drafts) * p.cost + 1));
    };
    runs.push_back(std::move(run));
  }
}

template <std::int64_t drafts>
void add_batches(std::vector<Run>& runs, const Options& options) {
  for (const double acceptance : {0.5, 0.7, 0.9}) {
    for (std::size_t batch = 1; batch <= 64; batch *= 2) {
      Run run = simulated_run("batch", Guessing<drafts>::name, drafts, acceptance);
      run.row.axes.add("batch", batch);
      const std::int64_t output = options.pick(64, 128, 128);
      run.measure = [acceptance, batch, output] {
        // rows of a batch end apart: as many rounds for small ones
        const std::size_t count = std::max<std::size_t>(batch, 16);
        const Outcome off = simulated<0>(acceptance, batch, output, count);
        const Outcome on = simulated<drafts>(acceptance, batch, output, count);
        return metrics::JsonObject()
            .add("speed_up", off.seconds / on.seconds)
            .add("accepted_share", static_cast<double>(on.counters.accepted_tokens.value) /
                                       static_cast<double>(on.counters.drafted_tokens.value));
      };
      runs.push_back(std::move(run));
    }
  }
}

// ---- measured -------------------------------------------------------------------------------------

enum class TextKind { story, copy, prose };

std::string in_source(std::string_view path) {
  return std::string(QUIRE_SOURCE_DIR) + "/" + std::string(path);
}
const std::string held_out_prose = in_source("build/texts/held_out.txt");

/// Requests on one of the small models. story: goes on with stories that it has not seen; copy: 100
/// symbols that differ, then the first again, so that the induction model says them once more; prose: goes
/// on with pieces of a book that the model of bytes has not seen.
std::vector<Request> requests_on(TextKind kind, const checkpoint::Checkpoint& model,
                                 double temperature, std::size_t count) {
  std::vector<Request> requests(count);
  if (kind == TextKind::story) {
    const auto stories =
        read_stories(in_source("experiments/retention/held_out.jsonl"), *model.tokenizer, count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto& tokens = stories[i].tokens;
      requests[i].prompt.assign(
          tokens.begin(), tokens.begin() + std::min<std::ptrdiff_t>(128, std::ssize(tokens) - 1));
    }
  } else if (kind == TextKind::prose) {
    const auto pieces = quality::pieces_of(held_out_prose, model, count);
    for (std::size_t i = 0; i < count; ++i) {
      requests[i].prompt.assign(pieces[i].tokens.begin(), pieces[i].tokens.begin() + 128);
    }
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      requests[i].prompt = pair_text(i, 50, 0).tokens;
      requests[i].prompt.push_back(requests[i].prompt[1]);
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    requests[i].output_length = 96;
    requests[i].sampling.max_tokens = 96;
    requests[i].sampling.temperature = temperature;
    requests[i].sampling.seed = i;
  }
  return requests;
}

/// draft: the model that guesses, where the policy has one
template <class Policy>
Outcome measured(const checkpoint::Checkpoint& model, const checkpoint::Checkpoint* draft,
                 std::span<const Request> requests, std::size_t batch) {
  executor::Cpu::Options options;
  options.model = model;
  if (draft != nullptr && speculation::guesses<Policy>) options.draft_model = *draft;
  options.limits = {.max_sequences = static_cast<std::int64_t>(batch), .watermark = 0};
  options.limits.max_length = 256;  // the students' context; no text is longer
  options.device_blocks = static_cast<std::int64_t>(batch) * 20;
  Engine<CpuGuessing<Policy>, executor::Cpu> engine(options);
  return serve(engine, requests, batch, true);
}

/// A policy beside none, by turns, so that both meet the same machine.
template <class Policy>
metrics::JsonObject compare(const checkpoint::Checkpoint& model,
                            const checkpoint::Checkpoint* draft, std::span<const Request> requests,
                            std::size_t batch, std::size_t rounds) {
  std::vector<double> ratios;
  Outcome off, on;
  for (std::size_t i = 0; i < rounds; ++i) {
    off = measured<speculation::None>(model, draft, requests, batch);
    on = measured<Policy>(model, draft, requests, batch);
    ratios.push_back(off.seconds / on.seconds);
  }
  std::sort(ratios.begin(), ratios.end());
  std::int64_t different = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    for (std::size_t t = 0; t < off.texts[i].size(); ++t) {
      different += t >= on.texts[i].size() || on.texts[i][t] != off.texts[i][t];
    }
    different += std::max(std::ssize(on.texts[i]) - std::ssize(off.texts[i]), std::ptrdiff_t{0});
  }
  return metrics::JsonObject()
      .add("speed_up", ratios[ratios.size() / 2])
      .add("tokens_a_step", on.tokens_a_step(batch))
      .add("accepted_share", static_cast<double>(on.counters.accepted_tokens.value) /
                                 static_cast<double>(on.counters.drafted_tokens.value))
      .add("us_a_token", 1e6 * off.seconds / static_cast<double>(off.counters.output_tokens.value))
      .add("different_tokens", different)
      .add("tokens", off.counters.output_tokens.value)
      .add("rounds", rounds);
}

checkpoint::Checkpoint small_model(std::string_view name) {
  return opened_checkpoint(in_source("experiments/small_models/checkpoints/") + std::string(name));
}

void add_measured(std::vector<Run>& runs, const Options& options) {
  const std::size_t count = options.pick<std::size_t>(4, 16, 64);
  const std::size_t rounds = options.pick<std::size_t>(1, 5, 15);
  for (const auto& [kind, name] :
       {std::pair{TextKind::story, "story"}, std::pair{TextKind::copy, "copy"}}) {
    for (const double temperature : {0.0, 1.0}) {
      for (const std::size_t batch : {1, 4, 16}) {
        if (batch > count) continue;
        Run run;
        run.row.variant = CpuGuessing<speculation::PromptLookup>::name;
        run.row.workload = name;
        run.row.mode = metrics::Mode::measured;
        run.row.axes.add("part", "measured").add("drafts", speculation::PromptLookup::most.value);
        run.row.axes.add("temperature", temperature).add("batch", batch);
        run.measure = [kind = kind, temperature, batch, count, rounds] {
          const auto model = small_model(kind == TextKind::story ? "stories" : "induction");
          return compare<speculation::PromptLookup>(
              model, nullptr, requests_on(kind, model, temperature, count), batch, rounds);
        };
        runs.push_back(std::move(run));
      }
    }
  }
}

/// Students of checkpoints/bytes as its draft models: those that learned from the text, and those that learned from it.
void add_drafts(std::vector<Run>& runs, const Options& options) {
  if (!std::filesystem::exists(held_out_prose)) {
    std::fprintf(stderr,
                 "speculation: rows of part=draft are left out: %s is not there "
                 "(`cmake/bootstrap.sh paper`, with the Debian package bible-kjv)\n",
                 held_out_prose.c_str());
    return;
  }
  const std::size_t count = options.pick<std::size_t>(4, 64, 128);
  const std::size_t rounds = options.pick<std::size_t>(1, 3, 15);
  for (const std::string_view objective : {"ce", "kd"}) {
    for (std::size_t seed = 1; seed <= 3; ++seed) {
      for (const double temperature : {0.0, 1.0}) {
        const std::string draft = "student_" + std::string(objective) + "_" + std::to_string(seed);
        Run run;
        run.row.variant = CpuGuessing<speculation::DraftModel>::name;
        run.row.workload = "prose";
        run.row.mode = metrics::Mode::measured;
        run.row.axes.add("part", "draft").add("drafts", speculation::DraftModel::most.value);
        run.row.axes.add("objective", objective).add("student", seed);
        run.row.axes.add("temperature", temperature).add("batch", std::size_t{1});
        run.measure = [draft, temperature, count, rounds] {
          const auto model = small_model("bytes"), student = small_model(draft);
          return compare<speculation::DraftModel>(
              model, &student, requests_on(TextKind::prose, model, temperature, count), 1, rounds);
        };
        runs.push_back(std::move(run));
      }
    }
  }
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  add_expected<3>(runs, options);
  add_expected<5>(runs, options);
  add_expected<7>(runs, options);
  add_batches<3>(runs, options);
  add_batches<7>(runs, options);
  add_measured(runs, options);
  add_drafts(runs, options);
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "speculation",
      "What guessing tokens ahead buys, by how often a guess holds and by batch size.\n\n"
      "Examples:\n"
      "  speculation --out rows.jsonl\n"
      "  speculation --out rows.jsonl --filter measured\n"
      "  speculation --out rows.jsonl --axis part=draft\n",
      quire::experiment::make_runs);
}
