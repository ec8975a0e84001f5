// The laboratory of retention policies: what is lost when a sequence keeps part of its past.
// README.md says what is run and why.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/checkpoints.hpp>
#include <experiments/common/driver.hpp>
#include <experiments/common/views.hpp>
#include <experiments/retention/axes.hpp>
#include <experiments/retention/induction_oracle.hpp>
#include <experiments/retention/policy.hpp>
#include <experiments/retention/texts.hpp>
#include <quire/core/rng.hpp>

namespace quire::experiment {
namespace {

using retention_lab::Policy;
using Texts = std::vector<std::vector<TokenId>>;

checkpoint::Checkpoint small_model(std::string_view name) {
  return opened_checkpoint(std::string(QUIRE_SOURCE_DIR) +
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

Run named(std::string_view part, const Policy& policy, std::string workload, std::int64_t budget) {
  Run run;
  run.row.variant = std::string(policy.name);
  run.row.workload = std::move(workload);
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", part).add("policy", policy.name).add("budget", budget);
  run.row.axes.add("block_size", policy.block_tokens);
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

Run recall_run(const Policy& policy, std::int64_t budget, std::size_t texts) {
  Run run = named("recall", policy, "pairs", budget);
  run.measure = [=] {
    std::vector<PairText> made;
    Texts tokens;
    for (std::uint64_t seed = 0; seed < texts; ++seed) {
      made.push_back(pair_text(seed, 64, 40));
      tokens.push_back(made.back().tokens);
    }
    const RetentionLimits limits = recall_limits(budget);
    const std::int64_t prompt = made.front().prompt;
    const Reading r = policy.read(small_model("induction"), tokens,
                                  std::vector<std::int64_t>(texts, prompt), limits);
    metrics::JsonObject out = memory_of(r, policy.block_tokens);
    double asked = 0, right = 0, expected = 0, answers = 0, agreed = 0, tied = 0;
    double difference = 0;
    if (!InductionOracle::knows(policy.name)) {
      for (std::size_t i = 0; i < texts; ++i) {
        for (const std::int64_t q : made[i].questions) {
          const auto k = static_cast<std::size_t>(q + 1 - prompt);
          asked += 1;
          right += r.best[i][k] == tokens[i][static_cast<std::size_t>(q + 1)];
        }
      }
      return out.add("recall_percent", 100 * right / asked).add("questions", asked);
    }
    InductionOracle oracle(policy.name, limits, policy.block_tokens);
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

Run story_run(const Policy& policy, SharedStories stories, std::int64_t budget,
              std::string_view part, RetentionLimits limits, Prompt prompt = Prompt::first_token) {
  Run run = named(part, policy, "stories", budget);
  run.row.axes.add("sinks", limits.sinks.value);
  run.measure = [=] {
    Texts texts;
    std::vector<std::int64_t> prompts;
    for (const Story& story : *stories) {
      texts.push_back(story.tokens);
      prompts.push_back(prompt_of(story, prompt));
    }
    const Reading r = policy.read(small_model("stories"), texts, prompts, limits);
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
    metrics::JsonObject out = memory_of(r, policy.block_tokens);
    return out.add("nats_per_token", nats)
        .add("perplexity", std::exp(nats))
        .add("answers_percent", asked > 0 ? 100 * right / asked : 0.0)
        .add("questions", asked)
        .add("texts", static_cast<std::int64_t>(texts.size()));
  };
  return run;
}

/// Tokens drawn at random after a BOS: nothing to recall, so what is lost is the sink.
Run random_run(const Policy& policy, std::size_t texts, std::int64_t budget) {
  Run run = named("random", policy, "random tokens", budget);
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
        policy.read(model, tokens, std::vector<std::int64_t>(texts, 1), text_limits(budget));
    metrics::JsonObject out = memory_of(r, policy.block_tokens);
    return out.add("nats_per_token", nats_of(r));
  };
  return run;
}

// ---- simulated time: the same control plane on a large model -------------------------------------

/// ShareGPT requests, all waiting from the start, on OPT-13B in the memory of the PagedAttention paper.
Run simulated_run(const Policy& policy, std::size_t requests, std::int64_t budget) {
  Run run = named("simulated", policy, "sharegpt", budget);
  run.row.mode = metrics::Mode::simulated;
  run.measure = [=] { return policy.serve(requests, budget).metrics; };
  return run;
}

/// \pre there is one
const Policy& find(const std::vector<Policy>& policies, std::string_view name,
                   std::int64_t block_tokens = 16) {
  return *std::find_if(policies.begin(), policies.end(), [&](const Policy& p) {
    return p.name == name && p.block_tokens == block_tokens;
  });
}

SharedStories held_out(std::size_t count) {
  return std::make_shared<const std::vector<Story>>(
      read_stories(std::string(QUIRE_SOURCE_DIR) + "/experiments/retention/held_out.jsonl",
                   *small_model("stories").tokenizer, count));
}

std::vector<Run> make_runs(const Options& options) {
  std::vector<Run> runs;
  const std::vector<Policy> policies = retention_lab::house_policies();
  const Policy& keep_all = find(policies, "keep_all");
  const auto served = options.pick<std::size_t>(50, 400, 2000);
  runs.push_back(simulated_run(keep_all, served, 2048));
  for (const std::int64_t budget : {128, 256, 512}) {
    for (const Policy& p : policies) {
      if (p.serve != nullptr && &p != &keep_all) runs.push_back(simulated_run(p, served, budget));
    }
  }
  const auto texts = options.pick<std::size_t>(4, 25, 100);
  for (const std::int64_t budget : {8, 16, 32, 64, 96, 128, 256}) {
    for (const Policy& p : policies) runs.push_back(recall_run(p, budget, texts));
  }

  const SharedStories stories = held_out(options.pick<std::size_t>(4, 16, 48));
  constexpr std::int64_t everything = 1024;
  runs.push_back(story_run(keep_all, stories, everything, "stories", text_limits(everything)));
  runs.push_back(story_run(keep_all, stories, everything, "questions", text_limits(everything),
                           Prompt::story));
  for (const std::int64_t budget : {16, 32, 64, 128, 256}) {
    const RetentionLimits limits = text_limits(budget);
    for (const Policy& p : policies) {
      if (&p == &keep_all) continue;
      // those that compress a prompt have nothing to do where there is none
      if (!p.of_prompts) runs.push_back(story_run(p, stories, budget, "stories", limits));
      runs.push_back(story_run(p, stories, budget, "questions", limits, Prompt::story));
    }
  }
  const Policy& sinks_and_window = find(policies, "streaming_llm");
  for (const std::int64_t sinks : {0, 1, 2, 4, 8}) {
    RetentionLimits limits = text_limits(32);
    limits.sinks = sinks;
    runs.push_back(story_run(sinks_and_window, stories, 32, "sinks", limits));
  }
  const auto count = options.pick<std::size_t>(2, 8, 32);
  for (const std::int64_t budget : {16, 32, 64}) {
    runs.push_back(random_run(find(policies, "sliding_window"), count, budget));
    runs.push_back(random_run(sinks_and_window, count, budget));
  }
  runs.push_back(random_run(keep_all, count, 1024));

  // what becomes of the slots: most of a story as a prompt, then token by token
  for (const std::int64_t budget : {32, 64}) {
    const RetentionLimits limits = text_limits(budget);
    for_each_type(Compactions{}, [&]<class Way>() {
      const Policy p =
          retention_lab::policy<retention::compacted<retention::H2O, Way>, 16, false>();
      Run run = story_run(p, stories, budget, "compaction", limits, Prompt::most);
      run.row.axes.add("compaction", Way::name);
      runs.push_back(std::move(run));
    });
  }
  return runs;
}

/// The time that the control plane takes for a step of the simulated run, all else included.
Run cost_run(const Policy& policy, std::size_t requests, std::int64_t budget) {
  Run run = named("cost", policy, "sharegpt", budget);
  run.measure = [=] {
    const auto begin = std::chrono::steady_clock::now();
    const retention_lab::Serving served = policy.serve(requests, budget);
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    return metrics::JsonObject().add("host_us_a_step", took.count() / served.steps);
  };
  return run;
}

std::vector<Run> make_study(const Options& options, const std::vector<Policy>& policies) {
  std::vector<Run> runs;
  const SharedStories stories = held_out(options.pick<std::size_t>(4, 16, 48));
  const auto texts = options.pick<std::size_t>(4, 25, 100);
  const auto served = options.pick<std::size_t>(50, 400, 2000);
  for (const std::int64_t budget : {16, 32, 64, 128}) {
    for (const Policy& p : policies) {
      if (!p.of_prompts) {
        runs.push_back(story_run(p, stories, budget, "stories", text_limits(budget)));
      }
      runs.push_back(
          story_run(p, stories, budget, "questions", text_limits(budget), Prompt::story));
      runs.push_back(recall_run(p, budget, texts));
    }
  }
  for (const std::int64_t budget : {128, 256, 512}) {
    for (const Policy& p : policies) {
      if (p.serve == nullptr) continue;
      runs.push_back(simulated_run(p, served, budget));
      runs.push_back(cost_run(p, served, budget));
    }
  }
  return runs;
}

void print_study(const std::vector<Run>& runs) {
  const auto view = [](std::string_view title, std::string_view part, std::string_view metric) {
    return View{title, {{"part", part}}, "budget", metric};
  };
  const View views[] = {
      view("Perplexity of stories read token by token, by tokens kept", "stories", "perplexity"),
      view("Perplexity of questions after a story that was a prompt", "questions", "perplexity"),
      view("Answers right, percent", "questions", "answers_percent"),
      view("Exact recall of the induction model, percent", "recall", "recall_percent"),
      view("Keys attended to, percent of all", "stories", "kept_percent"),
      view("Blocks held, mean", "stories", "mean_blocks"),
      view("Output tokens a second of OPT-13B, simulated", "simulated", "output_tokens_per_s"),
      view("Requests served at once, mean, simulated", "simulated", "mean_batched_requests"),
      view("Host time a step, us, measured", "cost", "host_us_a_step")};
  print_views(std::cout, runs, views);
}

}  // namespace
}  // namespace quire::experiment

namespace quire::retention_lab {

int run(int argc, char** argv) {
  return experiment::run_experiment(
      argc, argv, "retention",
      "Perplexity and exact recall against the share of keys and values that a sequence keeps.\n\n"
      "Examples:\n"
      "  retention --out rows.jsonl\n"
      "  retention --out rows.jsonl --filter recall --scale smoke\n",
      experiment::make_runs);
}

int study(int argc, char** argv, const Policy& mine) {
  constexpr std::string_view beside[] = {"keep_all", "sliding_window", "streaming_llm",
                                         "h2o",      "snap_kv",        "quest"};
  std::vector<Policy> policies{mine};
  for (const Policy& p : house_policies()) {
    if (p.block_tokens == mine.block_tokens &&
        std::find(std::begin(beside), std::end(beside), p.name) != std::end(beside)) {
      policies.push_back(p);
    }
  }
  return experiment::run_experiment(
      argc, argv, "retention_study",
      "One retention policy beside known ones: perplexity and answers, exact recall, memory held,\n"
      "throughput in simulated time and the host's time.\n",
      [&](const experiment::Options& o) { return experiment::make_study(o, policies); },
      experiment::print_study);
}

}  // namespace quire::retention_lab
