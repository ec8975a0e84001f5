#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/memory/tiered_cache.hpp>
#include <quire/metrics/distribution.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/workload/sharegpt.hpp>

namespace quire::experiment {

/// Conversations whose users come back after a while.
struct SessionOptions {
  std::size_t sessions = 500;
  double rate = 1.0;         // sessions that begin in a second, Poisson
  Seconds think = 60.0;      // mean time between an answer and the next question, exponential
  double one_turn = 0.27;    // share of sessions that end after the first answer
  double mean_turns = 5.56;  // of the others, geometric from 2
  Tokens window = 4096;      // a session ends before its text outgrows this
  std::uint64_t seed = 0;
};

/// One conversation; each question continues what was really said before.
struct Session {
  struct Turn {
    Tokens question, answer;
    Seconds think;  // before the question
  };
  Seconds start = 0.0;
  std::vector<Turn> turns;
  std::size_t next = 0;
  std::vector<TokenId> said;  // up to the last question, once it is asked
  std::size_t history = 0;    // of it, before the last question
};

/// Lengths of questions and answers are ShareGPT's. \source 73 % of ShareGPT's conversations have
/// several turns: Gao et al., ATC '24.
[[nodiscard]] inline std::vector<Session> make_sessions(const SessionOptions& o) {
  Rng rng(mix64(o.seed) ^ 0x73657373u);
  std::vector<Session> out;
  const workload::Workload lengths =
      workload::sharegpt({.requests = o.sessions * 12, .seed = o.seed});
  std::size_t drawn = 0;
  double start = 0;
  for (std::size_t i = 0; i < o.sessions; ++i) {
    Session s;
    start += rng.exponential(1 / o.rate);
    s.start = start;
    std::size_t turns = 1;
    if (rng.uniform() >= o.one_turn) {
      turns = 2;
      while (rng.uniform() < 1 - 1 / (o.mean_turns - 1)) ++turns;
    }
    Tokens length = 0;
    for (std::size_t t = 0; t < turns; ++t) {
      const Request& r = lengths.requests[drawn++ % lengths.requests.size()];
      length += r.prompt_length + *r.output_length;
      if (length > o.window) break;
      s.turns.push_back({r.prompt_length, *r.output_length, rng.exponential(o.think.value)});
    }
    if (!s.turns.empty()) out.push_back(std::move(s));
  }
  return out;
}

/// Plays sessions into an engine, each turn some time after the answer before it. A row's metrics.
/// \errors state, when the engine is stuck
template <class AnEngine>
[[nodiscard]] metrics::JsonObject play_sessions(AnEngine& engine, std::vector<Session> sessions,
                                                double warm_share = 0.25) {
  using Event = std::pair<double, std::size_t>;  // when a session speaks next
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events;
  for (std::size_t i = 0; i < sessions.size(); ++i) events.emplace(sessions[i].start.value, i);
  const double warm = warm_share * sessions.back().start.value;
  std::map<RequestId, std::size_t> who;
  std::vector<double> first, later;
  std::int64_t prompts = 0, hits = 0, history = 0, history_hits = 0, computed = 0, turns = 0;
  double busy = 0;
  while (!events.empty() || engine.has_work()) {
    while (!events.empty() && events.top().first <= engine.now().value) {
      const auto [time, i] = events.top();
      events.pop();
      Session& s = sessions[i];
      const Session::Turn& turn = s.turns[s.next];
      Request r;
      r.arrival = time;
      r.prompt = s.said;
      s.history = s.said.size();
      for (std::int64_t t = 0; t < turn.question.value; ++t) {
        r.prompt.push_back(static_cast<TokenId>(
            counter_bits(0x71u, mix64(i) + s.next, static_cast<std::uint64_t>(t)) >> 33));
      }
      s.said = r.prompt;
      r.output_length = r.sampling.max_tokens = turn.answer;
      r.session = i + 1;
      r.turn = static_cast<std::int32_t>(s.next);
      who[engine.submit(std::move(r))] = i;
    }
    if (!engine.has_work()) {
      if (!events.empty()) engine.advance_to(events.top().first);
    } else {
      const auto& stats = engine.step();
      busy += stats.seconds.value;
      if (stats.idle && engine.has_work()) {
        std::optional<Seconds> wake = stats.wake_at;
        if (!events.empty()) {
          wake = wake ? std::min(*wake, Seconds{events.top().first}) : Seconds{events.top().first};
        }
        if (!wake) throw state_error("sessions", "the engine is stuck", "a step or a time to wake");
        engine.advance_to(*wake);
      }
    }
    for (const auto& group : engine.take_finished()) {
      if (!group->error.empty()) throw state_error("sessions", group->error, "an answer");
      const std::size_t i = who.at(group->request.id);
      who.erase(group->request.id);
      Session& s = sessions[i];
      const auto before = static_cast<std::int64_t>(s.history);
      if (group->timeline.arrival.value >= warm) {
        const std::int64_t hit = group->timeline.prefix_hit.value;
        (s.next == 0 ? first : later)
            .push_back((group->timeline.first_token - group->timeline.arrival).value);
        prompts += group->prompt_length().value;
        hits += hit;
        computed += group->prompt_length().value - hit;
        if (s.next > 0) {
          history += before;
          history_hits += std::min(hit, before);
          ++turns;
        }
      }
      const auto& text = group->sequences[0].tokens;
      if (text.empty()) {  // an engine that finds nothing by its text keeps none
        s.said.resize(s.said.size() + static_cast<std::size_t>(s.turns[s.next].answer.value));
      } else {
        s.said = text;
      }
      if (++s.next < s.turns.size()) {
        events.emplace(group->timeline.finished.value + s.turns[s.next].think.value, i);
      }
    }
  }
  const auto percent = [](std::int64_t a, std::int64_t b) {
    return b == 0 ? 0.0 : 100.0 * static_cast<double>(a) / static_cast<double>(b);
  };
  const metrics::Distribution wait(std::move(later)), opening(std::move(first));
  metrics::JsonObject out;
  out.add("returning_turns", turns)
      .add("history_hit_percent", percent(history_hits, history))
      .add("prompt_hit_percent", percent(hits, prompts))
      .add("mean_ttft_returning_s", wait.mean())
      .add("p99_ttft_returning_s", wait.percentile(99))
      .add("mean_ttft_first_s", opening.mean())
      .add("prompt_tokens_computed", computed)
      .add("prompt_tokens", prompts)
      .add("device_busy_s", busy)
      .add("duration_s", engine.now().value);
  const TierCounters& t = engine.memory().tiers().counters();
  return out.add("demoted_blocks", t.demoted)
      .add("spilled_blocks", t.spilled)
      .add("prefetched_blocks", t.prefetched)
      .add("host_fetched_blocks", t.host_fetched)
      .add("disk_fetched_blocks", t.disk_fetched)
      .add("dropped_blocks", t.dropped)
      .add("preemptions", engine.counters().preemptions);
}

}  // namespace quire::experiment
