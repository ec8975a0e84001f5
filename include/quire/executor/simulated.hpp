#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/cost_model/host_overhead.hpp>
#include <quire/cost_model/memory_planner.hpp>
#include <quire/cost_model/roofline.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/executor/draft_book.hpp>
#include <quire/retention/concepts.hpp>

namespace quire::executor {

/// Runs steps in simulated time: a cost model says how long each takes, and tokens are drawn from a
/// seeded generator instead of a model. Everything else is the engine's own code.
/// Log-probabilities are those of a fixed distribution with exponentially falling weights, so that
/// beam search forks and drops beams; they say nothing about any model.
template <CostModel Cost>
struct BasicSimulated {
  struct Options {
    model::Shape model;
    Hardware hardware;
    std::int64_t tensor_parallel = 1;
    SchedulerLimits limits{};
    MemoryBudget memory{};
    HostOverhead host{};
    std::shared_ptr<const OperatorProfile> profile{};
    std::optional<AffineCoefficients> affine{};
    CostMaker priced_by{};  // a cost model chosen at run time, in place of Cost; empty: none is
    std::uint64_t seed = 0;
    /// Of a speculation policy: the chance that a draft is what the model would draw, given that
    /// those before it were.
    double acceptance = 0.7;
    /// Of a speculation policy that guesses with a second model: its shape. It takes memory for its
    /// weights and as many KV blocks as the model has, and time on all devices; nothing is drawn
    /// with it, and how often it is right is `acceptance`.
    std::optional<model::Shape> draft_model{};
  };

  [[nodiscard]] static model::Shape shape(const Options& options) { return options.model; }

  /// \errors usage error: heads that the devices cannot share out evenly.
  static void check_tensor_parallel(const model::Shape& model, std::int64_t devices) {
    if (devices >= 1 && model.heads % devices == 0) return;
    throw usage_error(
        "tensor_parallel " + std::to_string(devices),
        "does not divide the " + std::to_string(model.heads) + " heads of " + model.name,
        "a divisor of the number of heads");
  }
  template <class C>
  [[nodiscard]] static CostInputs inputs(const Options& options) {
    check_tensor_parallel(options.model, options.tensor_parallel);
    std::int64_t pages = 0;
    if constexpr (retention::selects_pages<typename C::Retention>) {
      pages = std::max<std::int64_t>(
          1, options.limits.retention.budget.value / C::BlockSize::tokens.value);
    }
    return {.model = options.model,
            .hardware = options.hardware,
            .tensor_parallel = options.tensor_parallel,
            .storage = storage_cost<C>(options.model),
            .host = options.host,
            .profile = options.profile,
            .overlaps = tier_rules<typename C::Offload>().overlaps,
            .affine = options.affine,
            .selected_pages = pages,
            .dense_layers = options.limits.retention.dense_layers};
  }
  /// The same of the draft model; nothing where there is none.
  template <class C>
  [[nodiscard]] static std::optional<CostInputs> draft_inputs(const Options& options) {
    check_draft_model<C>(options.model, options.draft_model ? &*options.draft_model : nullptr,
                         options.limits.max_length);
    if (!options.draft_model) return std::nullopt;
    check_tensor_parallel(*options.draft_model, options.tensor_parallel);
    CostInputs in = inputs<C>(options);
    in.model = *options.draft_model;
    in.storage = storage_cost<C>(in.model);
    in.host = host_overhead::none;  // its passes are planned within a step
    in.affine = std::nullopt;       // of the model
    return in;
  }
  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    const CostInputs in = inputs<C>(options);
    MemoryBeside beside;
    if (const auto draft = draft_inputs<C>(options)) {
      beside.weight_bytes =
          static_cast<double>(draft->model.parameters()) * draft->storage.weight_bytes;
      beside.block_bytes = draft->storage.kv_block_bytes;
    }
    const MemoryPlan plan = plan_memory(in, options.memory, beside);
    const TierRules rules = tier_rules<typename C::Offload>();
    const Hardware& h = in.hardware;
    const auto devices = static_cast<double>(in.tensor_parallel);
    const double calls = 2 * static_cast<double>(in.model.layers) * h.copy_latency;
    return {.device_blocks = plan.device_blocks,
            .host_blocks = C::Offload::uses_host ? plan.host_blocks : BlockCount{0},
            .block_tokens = C::BlockSize::tokens,
            .disk_blocks = rules.uses_disk ? plan.disk_blocks : BlockCount{0},
            .tiers = rules,
            .costs = {.flops_per_second = devices * h.flops_share * h.peak_flops,
                      .host_block = plan.block_bytes / devices / h.link_bandwidth + calls,
                      .disk_block = plan.block_bytes / h.disk_bandwidth},
            .block_bytes = static_cast<std::int64_t>(plan.block_bytes)};
  }

  /// What runs, whatever the configuration: formats have become byte counts in the cost model.
  class Steps {
   public:
    static constexpr std::string_view name = "simulated";
    static constexpr bool needs_tokens = false;

    Steps(const Options& options, const CostInputs& inputs,
          const std::optional<CostInputs>& draft = std::nullopt, BlockCount draft_blocks = 0)
        : cost_(inputs),
          other_(options.priced_by ? options.priced_by(inputs) : AnyCost{}),
          draft_book_(draft ? draft_blocks : BlockCount{0}, inputs.storage.block_tokens),
          vocab_(static_cast<std::uint64_t>(options.model.vocab)),
          seed_(options.seed),
          acceptance_(options.acceptance) {
      if (!(acceptance_ >= 0 && acceptance_ <= 1)) {
        throw usage_error("acceptance", "is " + std::to_string(acceptance_),
                          "a probability from 0 to 1");
      }
      if (draft) draft_cost_.emplace(*draft);
    }

    /// \errors state error that names the cost model: a time that no clock can go on by.
    void execute(const StepPlan& plan, StepResult& result) {
      result.clear();
      const StepCost cost = checked(other_ ? other_(plan) : cost_.cost(plan));
      result.seconds = cost.seconds;
      result.joules = cost.joules;
      result.bytes_moved = cost.bytes_moved;
      if (draft_cost_) draft_passes(plan, result);
      const std::size_t rows = plan.sequences.size();
      result.begin.resize(rows + 1);
      for (std::size_t r = 0; r < rows; ++r) {
        const SequencePlan& s = plan.sequences[r];
        result.begin[r] = static_cast<std::uint32_t>(result.draws.size());
        if (s.counted) continue;
        auto position = static_cast<std::uint64_t>((s.computed + s.tokens - s.drafts).value);
        for (std::int32_t d = 0; d < s.draws; ++d) draw(s, position, d, result);
        for (std::int32_t d = 0; d < s.drafts && holds(s, position); ++d) {
          draw(s, ++position, 0, result);
        }
        if (s.drafts > 0 && draft_cost_) note_held(s, position);
      }
      result.begin[rows] = static_cast<std::uint32_t>(result.draws.size());
    }

   private:
    /// A clock that runs backwards, or to infinity, would show as odd latencies or not at all.
    [[nodiscard]] StepCost checked(const StepCost& cost) const {
      if (cost.seconds.value >= 0 && std::isfinite(cost.seconds.value)) return cost;
      throw state_error(
          other_ ? "cost model chosen at run time" : "cost model " + std::string(Cost::name),
          "cost() gives " + std::to_string(cost.seconds.value) + " seconds for a step",
          "a finite number, 0 or more");
    }
    /// Charges what the draft model takes, pass by pass as executor::Drafter makes them, but for texts
    /// that it has not seen, which come in one pass whatever their length.
    void draft_passes(const StepPlan& plan, StepResult& result) {
      draft_book_.begin_step();
      drafting_.clear();
      std::int32_t passes = 0;
      for (const SequencePlan& s : plan.sequences) {
        if (s.drafts <= 0) continue;
        const Tokens text = s.computed + s.tokens - s.drafts;
        DraftBook::Entry* entry = draft_book_.take(s.sequence, text + s.drafts);
        if (entry == nullptr) continue;
        SequencePlan row;
        row.sequence = s.sequence;
        row.computed = entry->computed;
        row.tokens = text - entry->computed;
        row.sampling = s.sampling;
        row.draws = 1;
        drafting_.emplace_back(row, s.drafts);
        passes = std::max(passes, s.drafts);
      }
      for (std::int32_t pass = 0; pass < passes; ++pass) {
        draft_plan_.clear();
        for (auto& [row, drafts] : drafting_) {
          if (pass >= drafts) continue;
          draft_plan_.sequences.push_back(row);
          draft_plan_.batched_tokens += row.tokens;
          row.computed += row.tokens;
          row.tokens = 1;
        }
        const StepCost cost = checked(draft_cost_->cost(draft_plan_));
        result.seconds += cost.seconds;
        result.joules += cost.joules;
      }
    }
    /// The draft model keeps what held, but for a last draft that it has not computed.
    void note_held(const SequencePlan& s, std::uint64_t last) {
      const Tokens end = s.computed + s.tokens;
      DraftBook::Entry* entry = draft_book_.take(s.sequence, end);
      if (entry == nullptr) return;
      entry->computed = std::min(Tokens{static_cast<std::int64_t>(last)}, end - 1);
    }
    /// Whether the draft at a position is what is drawn there.
    [[nodiscard]] bool holds(const SequencePlan& s, std::uint64_t position) const {
      const std::uint64_t bits =
          counter_bits(mix64(seed_ + s.sampling->seed) ^ s.request.value, position,
                       static_cast<std::uint64_t>(s.sample_index) << 8 | 0xd7);
      return unit_interval(bits) < acceptance_;
    }
    void draw(const SequencePlan& s, std::uint64_t position, std::int32_t d, StepResult& result) {
      // a pure function of request, sample and position: preemption and batching change no text
      const bool beam = s.sampling->beam_width > 0;
      const std::uint64_t sample =
          static_cast<std::uint64_t>(s.sample_index) + static_cast<std::uint64_t>(beam ? 0 : d);
      const std::uint64_t bits =
          counter_bits(mix64(seed_ + s.sampling->seed) ^ s.request.value, position,
                       sample << 8 | static_cast<std::uint64_t>(beam ? d : 0));
      // candidate d of a beam is less likely than candidate d - 1 by a random factor
      const double step = 1.0 + 2.0 * unit_interval(mix64(bits));
      const float logprob =
          beam ? static_cast<float>((d == 0 ? 0.0 : result.draws.back().logprob) - step)
               : static_cast<float>(-step);
      result.draws.push_back({static_cast<TokenId>(bits % vocab_), logprob, 0, 0});
    }

    Cost cost_;
    AnyCost other_;
    std::optional<Cost> draft_cost_;
    DraftBook draft_book_;
    StepPlan draft_plan_;
    std::vector<std::pair<SequencePlan, std::int32_t>> drafting_;  // rows of a pass, and drafts
    std::uint64_t vocab_, seed_;
    double acceptance_;
  };

  template <class C>
  class Bound : public Steps {
   public:
    Bound(const Options& options, const KvGeometry& geometry)
        : Steps(options, bound_inputs<C>(options, geometry), draft_inputs<C>(options),
                geometry.device_blocks) {}
  };
  template <class C>
  [[nodiscard]] static Steps bind(const Options& options, const KvGeometry& geometry) {
    return Steps(options, bound_inputs<C>(options, geometry), draft_inputs<C>(options),
                 geometry.device_blocks);
  }

 private:
  template <class C>
  [[nodiscard]] static CostInputs bound_inputs(const Options& options, const KvGeometry& geometry) {
    CostInputs in = inputs<C>(options);
    in.host_slots = geometry.host_blocks;
    return in;
  }
};

/// The default: roofline costs.
using Simulated = BasicSimulated<cost_model::Roofline>;

}  // namespace quire::executor
