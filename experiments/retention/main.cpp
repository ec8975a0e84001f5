// What is lost when a sequence keeps part of its past. README.md says what is run and why.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/common/paper_setup.hpp>
#include <experiments/retention/axes.hpp>
#include <experiments/retention/induction_oracle.hpp>
#include <experiments/retention/teacher_forced.hpp>
#include <experiments/retention/texts.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/core/rng.hpp>
#include <quire/engine/replay.hpp>
#include <quire/workload/workload.hpp>

namespace quire::experiment {
namespace {

using Texts = std::vector<std::vector<TokenId>>;

checkpoint::Checkpoint small_model(std::string_view name) {
  return checkpoint::open_checkpoint(std::string(QUIRE_SOURCE_DIR) +
                                     "/experiments/small_models/checkpoints/" + std::string(name));
}

/// What every part reports about memory.
metrics::JsonObject memory_of(const Reading& r, std::int64_t block_tokens) {
  const double slots = r.blocks * static_cast<double>(block_tokens);
  metrics::JsonObject out;
  out.add("kept_percent", r.cached > 0 ? 100 * r.kept / r.cached : 100.0)
      .add("mean_blocks", r.blocks / r.steps)
      .add("peak_blocks", r.most_blocks)
      .add("holes_percent", slots > 0 ? 100 * r.holes / slots : 0.0)
      .add("moved_slots", r.moved_slots);
  if (r.pages_held > 0) {
    out.add("pages_read_percent",
            100 * static_cast<double>(r.pages_read) / static_cast<double>(r.pages_held));
  }
  return out;
}

double nats_of(const Reading& r) {
  double sum = 0, count = 0;
  for (const auto& text : r.nats) {
    for (const double nats : text) sum += nats;
    count += static_cast<double>(text.size());
  }
  return sum / count;
}

template <class C>
Run named(std::string_view part, std::string workload, std::int64_t budget) {
  Run run;
  run.row.variant = C::name;
  run.row.workload = std::move(workload);
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", part).add("policy", C::Retention::name).add("budget", budget);
  run.row.axes.add("block_size", C::BlockSize::tokens.value);
  return run;
}

// ---- exact recall: the induction model ----------------------------------------------------------

RetentionLimits recall_limits(std::int64_t budget) {
  return {.budget = budget,
          .sinks = 4,
          .recent = 4,
          .history = 64,
          .observation = 4,
          .pooling = 1,
          .dense_layers = 1};
}

template <class C>
Run recall_run(std::int64_t budget, std::size_t texts) {
  Run run = named<C>("recall", "pairs", budget);
  run.measure = [=] {
    std::vector<PairText> made;
    Texts tokens;
    for (std::uint64_t seed = 0; seed < texts; ++seed) {
      made.push_back(pair_text(seed, 64, 40));
      tokens.push_back(made.back().tokens);
    }
    const RetentionLimits limits = recall_limits(budget);
    const std::int64_t prompt = made.front().prompt;
    const Reading r = read_texts<C>(small_model("induction"), tokens,
                                    std::vector<std::int64_t>(texts, prompt), limits);
    InductionOracle oracle(C::Retention::name, limits, C::BlockSize::tokens.value);
    double asked = 0, right = 0, expected = 0, answers = 0, agreed = 0, tied = 0;
    double difference = 0;
    for (std::size_t i = 0; i < texts; ++i) {
      const std::vector<InductionOracle::Answer> computed = oracle.answers(tokens[i], prompt);
      for (std::size_t k = 0; k < r.best[i].size(); ++k) {
        tied += !computed[k].decided;
        answers += computed[k].decided;
        agreed += computed[k].decided && r.best[i][k] == computed[k].token;
      }
      for (const std::int64_t q : made[i].questions) {
        const auto k = static_cast<std::size_t>(q + 1 - prompt);
        const TokenId answer = tokens[i][static_cast<std::size_t>(q + 1)];
        asked += 1;
        right += r.best[i][k] == answer;
        expected += computed[k].token == answer;
        if (computed[k].decided)
          difference += (r.best[i][k] == answer) != (computed[k].token == answer);
      }
    }
    metrics::JsonObject out = memory_of(r, C::BlockSize::tokens.value);
    return out.add("recall_percent", 100 * right / asked)
        .add("computed_recall_percent", 100 * expected / asked)
        .add("recall_difference", 100 * difference / asked)
        .add("agreement_percent", 100 * agreed / answers)
        .add("tied_percent", 100 * tied / (answers + tied))
        .add("questions", asked);
  };
  return run;
}

// ---- text: the story model ----------------------------------------------------------------------

RetentionLimits text_limits(std::int64_t budget) {
  return {.budget = budget,
          .sinks = 4,
          .recent = std::min<std::int64_t>(10, budget / 2),
          .history = 400,
          .observation = std::min<std::int64_t>(16, budget / 2),
          .pooling = 5,
          .pyramid_slope = 4,
          .dense_layers = 0};
}

using SharedStories = std::shared_ptr<const std::vector<Story>>;

/// Which part of a story is read in one step before the policy has its say.
enum class Prompt { first_token, story, most };

std::int64_t prompt_of(const Story& story, Prompt prompt) {
  const auto length = static_cast<std::int64_t>(story.tokens.size());
  if (prompt == Prompt::first_token) return 1;
  if (prompt == Prompt::story) return static_cast<std::int64_t>(story.asked);
  return std::max<std::int64_t>(1, length * 3 / 4);
}

template <class C>
Run story_run(SharedStories stories, std::int64_t budget, std::string_view part,
              RetentionLimits limits, Prompt prompt = Prompt::first_token) {
  Run run = named<C>(part, "stories", budget);
  run.row.axes.add("sinks", limits.sinks.value);
  run.measure = [=] {
    Texts texts;
    std::vector<std::int64_t> prompts;
    for (const Story& story : *stories) {
      texts.push_back(story.tokens);
      prompts.push_back(prompt_of(story, prompt));
    }
    const Reading r = read_texts<C>(small_model("stories"), texts, prompts, limits);
    double asked = 0, right = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      for (const auto& [first, last] : (*stories)[i].answers) {
        const auto before = static_cast<std::size_t>(prompts[i]);
        if (first < before) continue;
        bool all = true;
        for (std::size_t t = first; t < last; ++t) {
          all = all && r.best[i][t - before] == texts[i][t];
        }
        asked += 1;
        right += all;
      }
    }
    const double nats = nats_of(r);
    metrics::JsonObject out = memory_of(r, C::BlockSize::tokens.value);
    return out.add("nats_per_token", nats)
        .add("perplexity", std::exp(nats))
        .add("answers_percent", asked > 0 ? 100 * right / asked : 0.0)
        .add("questions", asked)
        .add("texts", static_cast<std::int64_t>(texts.size()));
  };
  return run;
}

/// Tokens drawn at random after a BOS: nothing to recall, so what is lost is the sink.
template <class C>
Run random_run(std::size_t texts, std::int64_t budget) {
  Run run = named<C>("random", "random tokens", budget);
  run.measure = [=] {
    const checkpoint::Checkpoint model = small_model("stories");
    const auto vocabulary = static_cast<std::uint64_t>(model.config.shape.vocab);
    const TokenId bos = model.tokenizer->encode("").front();
    Texts tokens;
    for (std::uint64_t seed = 0; seed < texts; ++seed) {
      Rng rng(seed);
      std::vector<TokenId> text{bos};
      while (text.size() < 256) text.push_back(static_cast<TokenId>(rng.below(vocabulary)));
      tokens.push_back(std::move(text));
    }
    const Reading r =
        read_texts<C>(model, tokens, std::vector<std::int64_t>(texts, 1), text_limits(budget));
    metrics::JsonObject out = memory_of(r, C::BlockSize::tokens.value);
    return out.add("nats_per_token", nats_of(r));
  };
  return run;
}

// ---- simulated time: the same control plane on a large model -------------------------------------

/// ShareGPT requests, all waiting from the start, on OPT-13B in the memory of the PagedAttention paper.
template <class C>
Run simulated_run(std::size_t requests, std::int64_t budget) {
  Run run = named<C>("simulated", "sharegpt", budget);
  run.row.mode = metrics::Mode::simulated;
  run.measure = [=] {
    executor::Simulated::Options setup = opt_13b_setup();
    setup.limits.retention = {.budget = budget};
    Engine<C, executor::Simulated> engine(setup);
    const Report report = replay(
        engine,
        workload::sharegpt({.requests = requests, .seed = 1, .arrivals = workload::Saturated{}}));
    const auto memory = report.memory.by_time();
    const auto seconds = engine.now().value;
    const auto tokens = static_cast<double>(report.counters.output_tokens.value);
    return metrics::JsonObject()
        .add("output_tokens_per_s", tokens / seconds)
        .add("mean_batched_requests", memory.running_requests)
        .add("preemptions", report.counters.preemptions)
        .add("rejected", report.counters.rejected);
  };
  return run;
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  const auto served = options.pick<std::size_t>(50, 400, 2000);
  runs.push_back(simulated_run<Served<retention::KeepAll>>(served, 2048));
  for (const std::int64_t budget : {128, 256, 512}) {
    for_each_type(
        type_list<retention::SlidingWindow, retention::H2O, retention::SnapKv, retention::PyramidKv,
                  retention::Quest>{},
        [&]<class Policy>() { runs.push_back(simulated_run<Served<Policy>>(served, budget)); });
  }
  const auto texts = options.pick<std::size_t>(4, 25, 100);
  for (const std::int64_t budget : {8, 16, 32, 64, 96, 128, 256}) {
    for_each_type(Variants{}, [&]<class C>() { runs.push_back(recall_run<C>(budget, texts)); });
    runs.push_back(recall_run<Keeps<retention::Quest, 4>>(budget, texts));
  }

  const checkpoint::Checkpoint model = small_model("stories");
  const auto stories = std::make_shared<const std::vector<Story>>(
      read_stories(std::string(QUIRE_SOURCE_DIR) + "/experiments/retention/held_out.jsonl",
                   *model.tokenizer, options.pick<std::size_t>(4, 16, 48)));
  constexpr std::int64_t everything = 1024;
  runs.push_back(story_run<Keeps<retention::KeepAll>>(stories, everything, "stories",
                                                      text_limits(everything)));
  runs.push_back(story_run<Keeps<retention::KeepAll>>(stories, everything, "questions",
                                                      text_limits(everything), Prompt::story));
  for (const std::int64_t budget : {16, 32, 64, 128, 256}) {
    const RetentionLimits limits = text_limits(budget);
    for_each_type(Variants{}, [&]<class C>() {
      using Policy = typename C::Retention;
      if (std::is_same_v<Policy, retention::KeepAll>) return;
      // those that compress a prompt have nothing to do where there is none
      if (!std::is_base_of_v<retention::SnapKv, Policy>) {
        runs.push_back(story_run<C>(stories, budget, "stories", limits));
      }
      runs.push_back(story_run<C>(stories, budget, "questions", limits, Prompt::story));
    });
    using SmallPages = Keeps<retention::Quest, 4>;
    runs.push_back(story_run<SmallPages>(stories, budget, "stories", limits));
    runs.push_back(story_run<SmallPages>(stories, budget, "questions", limits, Prompt::story));
  }
  for (const std::int64_t sinks : {0, 1, 2, 4, 8}) {
    RetentionLimits limits = text_limits(32);
    limits.sinks = sinks;
    runs.push_back(story_run<Keeps<retention::StreamingLlm>>(stories, 32, "sinks", limits));
  }
  for (const std::int64_t budget : {16, 32, 64}) {
    const auto count = options.pick<std::size_t>(2, 8, 32);
    runs.push_back(random_run<Keeps<retention::SlidingWindow>>(count, budget));
    runs.push_back(random_run<Keeps<retention::StreamingLlm>>(count, budget));
  }
  runs.push_back(random_run<Keeps<retention::KeepAll>>(options.pick<std::size_t>(2, 8, 32), 1024));

  // what becomes of the slots: most of a story as a prompt, then token by token
  for (const std::int64_t budget : {32, 64}) {
    const RetentionLimits limits = text_limits(budget);
    const auto add = [&]<class Way>(Way) {
      Run run = story_run<Keeps<retention::compacted<retention::H2O, Way>>>(
          stories, budget, "compaction", limits, Prompt::most);
      run.row.axes.add("compaction", Way::name);
      runs.push_back(std::move(run));
    };
    add(retention::LeaveHoles{});
    add(retention::ReuseHoles{});
    add(retention::CloseHoles{});
  }
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(
      argc, argv, "retention",
      "Perplexity and exact recall against the share of keys and values that a sequence keeps.\n\n"
      "Examples:\n"
      "  retention --out rows.jsonl\n"
      "  retention --out rows.jsonl --filter recall --scale smoke\n",
      quire::experiment::make_runs);
}
