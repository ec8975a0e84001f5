// mechanism: the loop of a cluster, whatever its router is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/engine/any_engine.hpp>
#include <quire/engine/cluster_options.hpp>
#include <quire/metrics/request_record.hpp>
#include <quire/workload/provenance.hpp>

namespace quire::detail {

/// The loop of a cluster: Cluster says what it does.
class ClusterLoop {
 public:
  using MakeHooks = RouterHooks (*)(const RouterOptions&);
  ClusterLoop(std::vector<std::unique_ptr<AnyEngine>> engines, const ClusterOptions& options,
              std::string_view router, bool splits, MakeHooks make)
      : options_(checked(options, engines, router, splits)),
        router_(make(options_.router)),
        routed_(engines.size()) {
    for (std::size_t i = 0; i < engines.size(); ++i) {
      instances_.emplace_back().engine = std::move(engines[i]);
      instances_.back().engine->keep({.times = true, .text = false});
      if (!options_.roles.empty()) instances_.back().role = options_.roles[i];
    }
  }

  [[nodiscard]] ClusterReport replay(const workload::Workload& workload) {
    const auto& requests = workload.requests;
    lives_.assign(requests.size(), {});
    std::size_t next = 0;
    bool cut = false;
    for (;;) {
      const std::size_t first = soonest();
      const double step = first < instances_.size() ? ready(instances_[first]) : never;
      double event = events_.empty() ? never : events_.top().time;
      const bool arrives = next < requests.size() && requests[next].arrival.value <= event;
      if (arrives) event = requests[next].arrival.value;
      if (std::min(step, event) == never) break;
      if (router_.moves && open_ > 0 && look_at_ <= std::min(step, event)) {
        now_ = look_at_;
        look_at_ += options_.router.rebalance_every.value;
        rebalance();
        continue;
      }
      cut = std::min(step, event) >= options_.until.value;
      if (cut) break;
      if (step < event) {
        run_step(first, step);
        continue;
      }
      now_ = event;
      if (arrives) {
        arrive(next, requests[next]);
        ++next;
      } else {
        const Event e = events_.top();
        events_.pop();
        happen(e);
      }
    }
    if (open_ > 0 && !cut) {
      throw state_error("cluster", "requests wait, and no instance runs or says when it will",
                        "engines with room for every request");
    }
    return finish(requests.size());
  }

 private:
  static constexpr double never = std::numeric_limits<double>::infinity();

  struct Instance {
    std::unique_ptr<AnyEngine> engine;
    Role role = Role::both;
    std::vector<std::size_t> owner;  // life of each request that it was given
    InstanceView seen{};             // when its step began, and what came since
    bool current = false;            // `seen` is what a fresh look would give
    double busy_until = 0;           // end of its step
    double wake = -1;                // it can run nothing before; negative: it can run
    double sends_until = 0, receives_until = 0;
    std::int64_t incoming = 0;  // requests on their way here, and the blocks they will take
    BlockCount incoming_blocks = 0;
    bool gives = false;             // a request of it is being moved
    std::vector<std::size_t> pull;  // prompts elsewhere that wait for room here
  };

  /// One request of the workload, through all instances that it has been on.
  struct Life {
    const Request* request = nullptr;
    metrics::RequestRecord record{};
    std::size_t at = 0;    // the instance that has it
    RequestId local{};     // its name there
    Tokens length = 0;     // its text when it left the last one
    Tokens delivered = 0;  // of that, what is sent along
    std::size_t decode_on = 0;
    std::size_t to = 0;     // where it is being moved
    BlockCount booked = 0;  // blocks it will take there
    Tokens copied = 0;      // tokens whose keys and values are there already
    int copies = 0;
    double copy_at = 0;   // when the copy that counts arrives
    double done = 0;      // when its prompt was
    double left = -1;     // its last token before it was moved
    bool parted = false;  // its prompt alone was asked for
    bool moving = false, started = false, ended = false;
  };

  enum class What { prompt_done, delivered, pull, copied, ended };
  struct Event {
    double time = 0;
    std::uint64_t order = 0;  // events of one time in the order in which they were made
    What what{};
    std::size_t subject = 0;  // a life; of `pull` an instance
    bool operator>(const Event& o) const {
      return time != o.time ? time > o.time : order > o.order;
    }
  };

  static ClusterOptions checked(ClusterOptions o,
                                const std::vector<std::unique_ptr<AnyEngine>>& engines,
                                std::string_view router, bool splits) {
    if (engines.empty()) throw usage_error("cluster", "it has no instance", "at least one");
    if (!o.roles.empty() && o.roles.size() != engines.size()) {
      throw usage_error("cluster.roles", std::to_string(o.roles.size()) + " roles",
                        "one for each of the " + std::to_string(engines.size()) + " instances");
    }
    if (!(o.link.bytes_per_second > 0)) {
      throw usage_error("cluster.link", "it carries nothing", "bytes_per_second above 0");
    }
    if (!(o.router.rebalance_every > Seconds{0.0})) {
      throw usage_error("cluster.router.rebalance_every", "it is no time", "above 0 seconds");
    }
    const auto apart = [](Role r) { return r != Role::both; };
    if (!splits && std::any_of(o.roles.begin(), o.roles.end(), apart)) {
      throw usage_error(
          "cluster.roles",
          "router " + std::string(router) + " does not take prompts and generation apart",
          "no roles, or a router that does");
    }
    o.router.instances = engines.size();
    o.router.block_tokens = engines.front()->geometry().block_tokens;
    return o;
  }

  // ---- time -------------------------------------------------------------------------------------

  void at(double time, What what, std::size_t subject) {
    events_.push({time, order_++, what, subject});
  }
  [[nodiscard]] static double ready(const Instance& i) {
    if (!i.engine->has_work()) return never;
    return i.wake >= 0 ? std::max(i.wake, i.engine->now().value) : i.engine->now().value;
  }
  [[nodiscard]] std::size_t soonest() const {
    std::size_t best = instances_.size();
    double time = never;
    for (std::size_t i = 0; i < instances_.size(); ++i) {
      const double r = ready(instances_[i]);
      if (r < time) {
        time = r;
        best = i;
      }
    }
    return best;
  }
  void run_step(std::size_t i, double begin) {
    Instance& instance = instances_[i];
    look_at(i);
    instance.engine->advance_to(begin);
    instance.wake = -1;
    instance.current = false;
    now_ = begin;
    const StepStats& stats = instance.engine->step();
    const double end = instance.engine->now().value;
    if (stats.idle) {
      instance.wake = stats.wake_at ? stats.wake_at->value : never;
      if (instance.wake <= begin) {
        throw state_error("scheduler " + std::string(stats.scheduler),
                          "wake_at() lies in the past and nothing runs", "a later time");
      }
    } else {
      last_ = std::max(last_, end);
    }
    instance.busy_until = end;
    for (const auto& group : instance.engine->take_finished()) {
      const std::size_t l = instance.owner[group->request.id.value];
      add_part(lives_[l], *group);
      Life& life = lives_[l];
      const bool goes_on = life.parted && group->error.empty() && rest_of(life) > Tokens{0};
      at(end, goes_on ? What::prompt_done : What::ended, l);
    }
    if (!instance.pull.empty()) at(end, What::pull, i);
  }

  // ---- what routers see ---------------------------------------------------------------------------

  /// Counts an instance's requests, unless that has been done since it changed.
  void look_at(std::size_t i) {
    Instance& instance = instances_[i];
    const KvGeometry& geometry = instance.engine->geometry();
    InstanceView v;
    v.role = instance.role;
    v.capacity = geometry.device_blocks;
    Seconds first = never;
    for (const auto& group : instance.engine->requests()) {
      if (group->status == GroupStatus::finished) continue;
      const bool runs = group->status == GroupStatus::running;
      if (is_urgent(group->request)) {
        ++v.urgent;
        v.urgent_running += runs;
      }
      const Tokens prompt = group->prompt_length();
      Tokens length = 0, computed = 0;
      BlockCount blocks = 0;
      for (const Sequence& s : group->sequences) {
        length = std::max(length, s.length);
        computed += s.computed;
        blocks += blocks_for(s.length, geometry.block_tokens);
      }
      const Tokens known = group->timeline.first_scheduled < Seconds{0.0}
                               ? std::max(group->request.delivered, computed)
                               : computed;
      v.queued += std::max(prompt - known, Tokens{0});
      if (runs) {
        ++v.running;
        v.context += computed;
        v.used += blocks;
        continue;
      }
      ++v.waiting;
      v.demand += blocks;
      if (group->timeline.arrival < first) {
        first = group->timeline.arrival;
        v.head_demand = blocks;
      }
    }
    instance.seen = v;
    instance.current = true;
  }
  [[nodiscard]] bool is_urgent(const Request& request) const {
    return request.priority < options_.router.normal_priority;
  }
  [[nodiscard]] ClusterView view() {
    views_.clear();
    for (std::size_t i = 0; i < instances_.size(); ++i) {
      Instance& instance = instances_[i];
      // a step that runs shows what it does when it has ended
      if (instance.busy_until <= now_ && !instance.current) look_at(i);
      InstanceView v = instance.seen;
      v.role = instance.role;
      v.waiting += instance.incoming;
      v.demand += instance.incoming_blocks;
      views_.push_back(v);
    }
    return {now_, views_};
  }
  [[nodiscard]] bool has_room(std::size_t i, BlockCount blocks) {
    const InstanceView v = view().instances[i];
    const bool empty = v.running + v.waiting == 0;
    return empty || v.capacity - v.used - v.demand >= blocks + BlockCount{1};
  }
  [[nodiscard]] BlockCount blocks_of(std::size_t i, Tokens tokens) const {
    return blocks_for(tokens, instances_[i].engine->geometry().block_tokens);
  }

  // ---- a request's way ----------------------------------------------------------------------------

  [[nodiscard]] std::size_t placed(std::size_t i, bool fits) const {
    if (i < instances_.size() && fits) return i;
    throw state_error(
        "router " + std::string(router_.name), "sends a request to instance " + std::to_string(i),
        "one of the " + std::to_string(instances_.size()) + " that has the role for it");
  }

  void arrive(std::size_t l, const Request& request) {
    Life& life = lives_[l];
    life.request = &request;
    if (open_++ == 0) look_at_ = now_ + options_.router.rebalance_every.value;
    const bool one = request.sampling.width() == 1;
    if ((router_.decode_on || router_.moves) && !(one && request.output_length)) {
      throw usage_error("cluster",
                        "router " + std::string(router_.name) +
                            " splits requests, and one has several sequences or no "
                            "output_length",
                        "one sequence a request, with its length");
    }
    std::size_t i = router_.route(request, view());
    i = placed(i, i < instances_.size() && instances_[i].role != Role::decode);
    ++routed_[i];
    hash_ = hash_combine(hash_, i);
    Request part = request;
    if (router_.decode_on) {
      life.parted = true;
      part.output_length = 1;
      if (router_.early) choose_decode(life);
    }
    submit(l, i, std::move(part));
  }

  void choose_decode(Life& life) {
    std::size_t d = router_.decode_on(*life.request, view());
    d = placed(d, d < instances_.size() && instances_[d].role != Role::prefill);
    hash_ = hash_combine(hash_, d);
    life.decode_on = d;
    if (router_.early) expect(life, d, life.request->prompt_length + 1);
  }

  /// A request is on its way to an instance, which keeps room for it.
  void expect(Life& life, std::size_t i, Tokens tokens) {
    life.booked = blocks_of(i, tokens);
    instances_[i].incoming += 1;
    instances_[i].incoming_blocks += life.booked;
  }
  void expect_no_more(Life& life, std::size_t i) {
    instances_[i].incoming -= 1;
    instances_[i].incoming_blocks -= life.booked;
    life.booked = 0;
  }

  void submit(std::size_t l, std::size_t i, Request part) {
    Life& life = lives_[l];
    Instance& instance = instances_[i];
    life.at = i;
    instance.engine->advance_to(now_);
    instance.wake = -1;
    const BlockCount blocks = blocks_of(i, part.prompt_length);
    instance.seen.waiting += 1;
    instance.seen.queued += part.prompt_length - part.delivered;
    instance.seen.urgent += is_urgent(part);
    instance.seen.demand += blocks;
    if (instance.seen.waiting == 1) instance.seen.head_demand = blocks;
    instance.current = false;
    life.local = instance.engine->submit(std::move(part));
    instance.owner.resize(life.local.value + 1);
    instance.owner[life.local.value] = l;
    // one that is refused has ended already
    if (!instance.engine->has_work()) refused(i);
  }
  void refused(std::size_t i) {
    for (const auto& group : instances_[i].engine->take_finished()) {
      const std::size_t l = instances_[i].owner[group->request.id.value];
      add_part(lives_[l], *group);
      at(now_, What::ended, l);
    }
  }

  /// Tokens that a request has yet to generate.
  [[nodiscard]] static Tokens rest_of(const Life& life) {
    return *life.request->output_length - life.record.output_tokens;
  }

  /// Adds what an instance did for a request to the record of all of it.
  void add_part(Life& life, const SequenceGroup& group) {
    const metrics::RequestRecord part = metrics::record_of(group);
    metrics::RequestRecord& r = life.record;
    if (!life.started) {
      r = part;
      r.id = life.request->id;
      r.error.clear();
      life.started = true;
    } else {
      if (life.left >= 0 && part.output_tokens > Tokens{0}) {
        const double next = part.first_token.value;
        downtimes_.push_back(next - std::exchange(life.left, -1));
      }
      if (r.first_token < Seconds{0.0}) r.first_token = part.first_token;
      r.last_token = std::max(r.last_token, part.last_token);
      r.finished = part.finished;
      r.token_times.insert(r.token_times.end(), part.token_times.begin(), part.token_times.end());
      r.output_tokens += part.output_tokens;
      r.preemptions += part.preemptions;
      r.recomputed += part.recomputed;
    }
    if (!group.error.empty()) r.error = group.error;
    life.length = group.prompt_length() + part.output_tokens;
  }

  void happen(const Event& e) {
    switch (e.what) {
      case What::ended:
        return end(e.subject);
      case What::prompt_done:
        return prompt_done(e.subject);
      case What::delivered:
        return deliver(e.subject);
      case What::pull:
        return pull(e.subject);
      case What::copied:
        return copied(e.subject);
    }
  }

  void end(std::size_t l) {
    Life& life = lives_[l];
    if (life.moving) stop_moving(life);
    if (router_.early && life.booked > BlockCount{0}) expect_no_more(life, life.decode_on);
    if (router_.on_finished) {
      router_.on_finished(life.at, life.request->prompt_length, life.record.output_tokens);
    }
    life.ended = true;
    --open_;
    records_.push_back(std::move(life.record));
  }

  // ---- prompts here, generation there ---------------------------------------------------------------

  void prompt_done(std::size_t l) {
    Life& life = lives_[l];
    life.done = now_;
    if (!router_.early) choose_decode(life);
    Instance& d = instances_[life.decode_on];
    held_ += life.request->prompt_length;
    held_peak_ = std::max(held_peak_, held_);
    d.pull.push_back(l);
    pull(life.decode_on);
  }

  /// Sends what waits for room on an instance, in the order in which it came.
  void pull(std::size_t i) {
    Instance& d = instances_[i];
    while (!d.pull.empty()) {
      const std::size_t l = d.pull.front();
      Life& life = lives_[l];
      const Tokens tokens = life.request->prompt_length;
      if (!router_.early) {
        if (!has_room(i, blocks_of(i, tokens + 1))) return;
        expect(life, i, tokens + 1);
      }
      d.pull.erase(d.pull.begin());
      held_ -= tokens;
      double overlap = 0;
      if (router_.by_layer) {
        overlap = (life.record.first_token - life.record.first_scheduled).value;
      }
      const double arrived = life.at == i ? now_ : send(life.at, i, tokens, overlap);
      transfer_seconds_.push_back(arrived - life.done);
      life.delivered = tokens;
      life.to = i;
      at(arrived, What::delivered, l);
    }
  }

  /// When that many tokens' keys and values, sent now, have arrived. overlap: seconds in which all but
  /// the last layer could be sent before.
  double send(std::size_t from, std::size_t to, Tokens tokens, double overlap = 0) {
    const double all = static_cast<double>(tokens.value) * options_.kv_bytes_per_token /
                       options_.link.bytes_per_second;
    const double layer = all / static_cast<double>(options_.layers);
    const double left = overlap > 0 ? std::max(layer, all - overlap) : all;
    Instance& a = instances_[from];
    Instance& b = instances_[to];
    const double begin = std::max({now_, a.sends_until, b.receives_until});
    const double end = begin + left + options_.link.latency.value;
    a.sends_until = b.receives_until = end;
    return end;
  }

  void deliver(std::size_t l) {
    Life& life = lives_[l];
    expect_no_more(life, life.to);
    Request part = *life.request;
    part.prompt.clear();
    part.chunks.clear();
    part.prompt_length = life.length;
    part.delivered = life.delivered;
    part.output_length = rest_of(life);
    if (life.moving) {
      instances_[life.at].gives = false;
      life.moving = false;
    }
    submit(l, life.to, std::move(part));
  }

  // ---- moving ---------------------------------------------------------------------------------------

  [[nodiscard]] const SequenceGroup* running(const Life& life) const {
    for (const auto& group : instances_[life.at].engine->requests()) {
      if (group->request.id != life.local) continue;
      const bool moves = group->status == GroupStatus::running && !group->in_prompt();
      return moves ? group.get() : nullptr;
    }
    return nullptr;
  }

  void rebalance() {
    for (const Move& move : router_.moves(view())) {
      if (move.from >= instances_.size() || move.to >= instances_.size()) {
        static_cast<void>(placed(std::max(move.from, move.to), false));
      }
      Instance& from = instances_[move.from];
      if (move.from == move.to || from.gives) continue;
      std::vector<Movable> candidates;
      std::vector<std::size_t> lives;
      for (const auto& group : from.engine->requests()) {
        if (group->status != GroupStatus::running || group->in_prompt()) continue;
        const Sequence& s = group->sequences.front();
        if (!has_room(move.to, blocks_of(move.to, s.length))) continue;
        candidates.push_back({group->request.priority, s.computed});
        lives.push_back(from.owner[group->request.id.value]);
      }
      if (candidates.empty()) continue;
      const std::size_t c = router_.chosen(candidates);
      if (c >= candidates.size()) {
        throw state_error("router " + std::string(router_.name),
                          "chooses a request that is not there", "the number of a candidate");
      }
      hash_ = hash_combine(hash_, lives[c] * instances_.size() + move.to);
      begin_move(lives[c], move.to);
    }
  }

  void begin_move(std::size_t l, std::size_t to) {
    Life& life = lives_[l];
    const SequenceGroup* group = running(life);
    life.moving = true;
    life.to = to;
    life.copied = 0;
    life.copies = 0;
    instances_[life.at].gives = true;
    expect(life, to, group->sequences.front().length + 1);
    double time = std::max(now_, instances_[life.at].busy_until);
    if (options_.handover == Handover::live) {
      life.copied = group->sequences.front().computed;
      time = send(life.at, to, life.copied);
    }
    arrives_copy(l, time);
  }
  void arrives_copy(std::size_t l, double time) {
    lives_[l].copy_at = time;
    at(time, What::copied, l);
  }

  void stop_moving(Life& life) {
    expect_no_more(life, life.to);
    instances_[life.at].gives = false;
    life.moving = false;
    ++given_up_;
  }

  /// A copy has arrived: the next one follows, or the request, when little is left.
  void copied(std::size_t l) {
    Life& life = lives_[l];
    if (!life.moving || life.copy_at != now_) return;  // of a move that was given up
    Instance& from = instances_[life.at];
    const SequenceGroup* group = running(life);
    if (group == nullptr) {
      stop_moving(life);
      return;
    }
    if (from.busy_until > now_) {  // it stops between two steps
      arrives_copy(l, from.busy_until);
      return;
    }
    const Tokens computed = group->sequences.front().computed;
    const Tokens left = computed - life.copied;
    if (options_.handover == Handover::live && left > options_.router.block_tokens &&
        ++life.copies < 10) {
      life.copied = computed;
      arrives_copy(l, send(life.at, life.to, left));
      return;
    }
    from.engine->cancel(life.local);
    for (const auto& ended : from.engine->take_finished()) {
      const std::size_t owner = from.owner[ended->request.id.value];
      add_part(lives_[owner], *ended);
      if (owner != l) at(now_, What::ended, owner);
    }
    from.current = false;
    from.wake = -1;
    life.copy_at = -1;
    if (life.left < 0) life.left = life.record.last_token.value;
    const bool again = options_.handover == Handover::recompute;
    life.delivered = again ? Tokens{0} : computed;
    at(again ? now_ : send(life.at, life.to, left), What::delivered, l);
  }

  ClusterReport finish(std::size_t requests) {
    ClusterReport report;
    report.records = std::move(records_);
    report.duration = last_;
    report.unfinished = static_cast<std::int64_t>(requests - report.records.size());
    report.placed = routed_;
    report.transfer_seconds = std::move(transfer_seconds_);
    report.downtimes = std::move(downtimes_);
    report.moves_given_up = given_up_;
    report.held_peak = held_peak_;
    report.decision_hash = hash_;
    for (const Instance& i : instances_) {
      report.counters.push_back(i.engine->counters());
      report.decision_hash = hash_combine(report.decision_hash, i.engine->decision_hash());
    }
    return report;
  }

  ClusterOptions options_;
  RouterHooks router_;
  std::vector<Instance> instances_;
  std::vector<Life> lives_;
  std::vector<InstanceView> views_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t order_ = 0, hash_ = 0;
  double now_ = 0, last_ = 0, look_at_ = 0;
  std::size_t open_ = 0;  // requests that have arrived and not ended
  std::vector<std::int64_t> routed_;
  std::vector<metrics::RequestRecord> records_;
  std::vector<double> transfer_seconds_, downtimes_;
  std::int64_t given_up_ = 0;
  Tokens held_ = 0, held_peak_ = 0;
};

}  // namespace quire::detail
