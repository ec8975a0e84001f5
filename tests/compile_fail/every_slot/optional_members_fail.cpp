// expect: quire: speculation: the configuration's Speculation is no public `using Speculation
// expect: quire: prefix_index: match_part is no public `std::optional<PartOfBlock> match_part(
// expect: quire: eviction: needs_next_use is no public `static constexpr bool needs_next_use`
// expect: quire: eviction: prefetch is no public `void prefetch(std::uint64_t content) const`
// expect: quire: offload: uses_disk is no public `static constexpr bool uses_disk`
// expect: quire: offload: keeps_evicted is no public `static constexpr bool keeps_evicted`
// expect: quire: offload: overlaps is no public `static constexpr bool overlaps`
// expect: quire: offload: look_ahead is no public `static constexpr int look_ahead`
// expect: quire: offload: swaps_ahead is no public `static constexpr bool swaps_ahead`
// expect: quire: offload: keep_free and blocks_ahead are asked of a policy that swaps ahead
// expect: quire: offload: a policy that swaps ahead needs `BlockCount keep_free(BlockCount capacity)`
// expect: quire: offload: blocks_to_fetch is no public `std::size_t blocks_to_fetch(std::span<const
// expect: quire: kv_format: residual is no public `static constexpr std::size_t residual`
// expect: quire: kv_format: seal is no public `static void seal(
// expect: quire: kv_format: a change of basis is two, public `static void to_basis(
// expect: quire: kv_format: before_rotation is no public `static constexpr bool
// expect: quire: kv_format: refusal is no public `static std::string_view refusal(
// expect: quire: kv_format: code_layout is no public `static CodeLayout
// expect: quire: kv_format: byte_floats is no public `static simd::ByteFloatLayout
// expect: quire: kv_format: copy is no public `static void copy(
// expect: quire: kv_format: tokens_together is no public `static constexpr std::size_t
// expect: quire: kv_format: a format that is fitted needs public `fit_floats(head_dim)`
// expect: quire: kv_format: fits_layer is no public `static constexpr bool fits_layer`
// expect: quire: kv_format: a format that leaves layers to another needs public `using Skipped
// expect: quire: weight_format: add_few is no public `static void add_few(
// expect: quire: weight_format: a format with a product of its own needs row_bytes, pack_row and
// expect: quire: weight_format: Head is no public `using Head = ...`
// expect: quire: weight_format: row_code_bits is no public `static constexpr unsigned
// expect: quire: retention: per_layer_budgets is no public `static constexpr bool
// expect: quire: retention: selects_pages is no public `static constexpr bool selects_pages`
// expect: quire: retention: attends_to_all is asked of a policy that selects pages alone
// expect: quire: retention: chooses_highest is no public `static constexpr bool
// expect: quire: retention: a policy that chooses_highest needs `std::int64_t pages() const`
// expect: quire: scheduler: preemptive is no public `static constexpr bool preemptive`
// expect: quire: scheduler: never_preempts is no public `static constexpr bool
// expect: quire: scheduler: wants_cached_prefix is no public `static constexpr bool
// expect: quire: scheduler: a policy that wants_cached_prefix ranks by what changes
// expect: quire: scheduler: next_turn is no public `Seconds next_turn(const SequenceGroup&, Seconds
// expect: quire: scheduler: stands_until is no public `Seconds stands_until(
// expect: quire: scheduler: client_rank is no public `double client_rank(const SequenceGroup&)
// expect: quire: scheduler: reads is no public `static constexpr std::array<std::string_view, n>
// expect: quire: speculation: drafts_by_model is no public `static constexpr bool
// expect: quire: router: decode_on is no public `std::size_t decode_on(const Request&, const
// expect: quire: router: commits_early is no public `static constexpr bool commits_early`
// expect: quire: router: sends_by_layer is no public `static constexpr bool sends_by_layer`
// expect: quire: router: a policy with moves needs `std::vector<Move> moves(const ClusterView&)` and
// expect: quire: router: on_finished is no public `void on_finished(std::size_t instance,
#include <quire/engine/explain_router.hpp>
#include <quire/eviction/belady.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/kivi.hpp>
#include <quire/offload/proactive_swap.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/retention/keep_all.hpp>
#include <quire/retention/quest.hpp>
#include <quire/router/least_outstanding.hpp>
#include <quire/router/splitwise.hpp>
#include <quire/scheduler/fcfs.hpp>
#include <quire/scheduler/longest_prefix.hpp>
#include <quire/speculation/prompt_lookup.hpp>
#include <quire/weight_format/fp32.hpp>

// Each policy has a member that it could have left out, and that cannot be used as it stands: it would be
// passed over, and the policy do as if it had none. Each in a way of its own, all in one program, since a
// compiler's start costs more than the question.
using namespace quire;

class HiddenSpeculation : public presets::Vllm {
  using Speculation = speculation::PromptLookup;  // private
};

struct PartOfIds : prefix_index::TokenRadixTree {
  PartOfIds(BlockCount capacity, Tokens tokens) : prefix_index::TokenRadixTree(capacity, tokens) {}
  std::optional<BlockId> match_part(std::optional<BlockId>, std::span<const TokenId>,
                                    std::uint64_t) const;  // answers with another type
};

struct NextUseByValue : eviction::Fifo {
  using Fifo::Fifo;
  bool needs_next_use = true;  // not static
};
struct PrefetchesBlocks : eviction::Fifo {
  using Fifo::Fifo;
  void prefetch(BlockId) const;  // told of blocks
};

struct DiskByFunction : offload::Recompute {
  static constexpr bool uses_disk() { return false; }  // a function is true as a bool
};
struct KeepsByText : offload::Recompute {
  static constexpr std::string_view keeps_evicted = "yes";
};
struct OverlapsLater : offload::Recompute {
  inline static bool overlaps = true;  // not constexpr
};
struct LooksHalfAhead : offload::Recompute {
  static constexpr double look_ahead = 0.5;
};
struct SwapsByType : offload::Recompute {
  using swaps_ahead = std::true_type;
};
struct KeepsFree : offload::Recompute {  // without saying that it swaps ahead
  static BlockCount keep_free(BlockCount capacity) { return capacity; }
  static BlockCount blocks_ahead(Seconds, Seconds) { return 1; }
};
struct KeepsNothingFree : offload::ProactiveSwap {
  static BlockCount keep_free() { return 0; }
};
struct FetchesAtWill : offload::Recompute {
  std::size_t blocks_to_fetch(std::span<const FetchCandidate>) { return 0; }  // not const
};

struct ResidualLess : kv_format::Fp32 {
  static constexpr int residual = -1;
};
struct SealsOne : kv_format::Fp32 {
  static constexpr std::size_t residual = 0;
  static void seal(std::byte* slab, const float* values);
};
struct OneBasis : kv_format::Fp32 {
  static void to_basis(float* x, std::size_t head_dim);
};
struct RotatesLate : kv_format::Fp32 {
  bool before_rotation = true;
};
struct RefusesByString : kv_format::Fp32 {
  static const char* refusal(std::size_t, std::size_t);
};
struct LaysOut : kv_format::Fp32 {
  static int code_layout(std::size_t, std::size_t);
};
struct LaysBytesOut : kv_format::Fp32 {
  static void byte_floats(std::size_t);
};
struct CopiesFromItself : kv_format::Fp32 {
  static void copy(std::byte* slab, std::size_t from_slot, std::size_t to_slot, std::size_t tokens);
};
struct PacksHalves : kv_format::Fp32 {
  static constexpr double tokens_together = 0.5;
};
struct FitsAlone : kv_format::Fp32 {  // and stores without what it found
  static std::size_t fit_floats(std::size_t head_dim);
  static void fit(const float* rows, std::size_t count, std::size_t head_dim, float* fitted);
};
struct FitsLayerLater : kv_format::Fp32 {
  inline static bool fits_layer = true;
};
struct SkipsNone : kv_format::Fp32 {
  static bool skips(std::size_t, std::size_t);  // in favour of what?
};

struct AddsFewer : weight_format::Fp32 {
  static void add_few(const std::byte*, const float*, float*);
};
struct MultipliesRows : weight_format::Fp32 {  // that nobody packs
  static void add_products(const std::byte*, std::size_t, std::size_t, const std::byte*,
                           std::size_t, float*, std::size_t);
};
struct HeadByName : weight_format::Fp32 {
  static constexpr std::string_view Head = "bf16";
};
struct BitsLess : weight_format::Fp32 {
  static constexpr int row_code_bits = -4;
};

struct BudgetsByFunction : retention::KeepAll {
  static constexpr bool per_layer_budgets() { return true; }
};
struct SelectsLater : retention::KeepAll {
  bool selects_pages = true;
};
struct AttendsToSome : retention::KeepAll {  // without saying that it selects
  static bool attends_to_all(std::int64_t, std::size_t) { return false; }
};
struct ChoosesByText : retention::Quest {
  using Quest::Quest;
  static constexpr const char* chooses_highest = "yes";
};
struct ChoosesAtWill : retention::Quest {
  using Quest::Quest;
  std::int64_t pages() { return 1; }  // not const
};

class HidesPreemptive : public scheduler::Fcfs {
  static constexpr bool preemptive = true;

 public:
  using Fcfs::Fcfs;
};
struct PreemptsByNumber : scheduler::Fcfs {
  using Fcfs::Fcfs;
  static constexpr int never_preempts = 2;
};
struct WantsByValue : scheduler::Fcfs {
  using Fcfs::Fcfs;
  const bool wants_cached_prefix = true;
};
struct WantsOnce : scheduler::LongestPrefix {
  using LongestPrefix::LongestPrefix;
  static constexpr bool dynamic_rank = false;
};
struct TurnInOneOfTwoOtherWays : scheduler::Fcfs {
  using Fcfs::Fcfs;
  Seconds next_turn(const SequenceGroup&) const { return 0.0; }
  Seconds next_turn(Seconds) const { return 0.0; }
};
struct StandsInTwoWays : scheduler::Fcfs {  // of which the engine would have to pick one
  using Fcfs::Fcfs;
  Seconds stands_until(const SequenceGroup&, const SequenceGroup&, Seconds) const { return 0.0; }
  Seconds stands_until(const SequenceGroup&) const { return 0.0; }
};
struct RanksAnyClient : scheduler::Fcfs {
  using Fcfs::Fcfs;
  template <class Group>
  double client_rank(const Group&) const {
    return 0;
  }
};
struct ReadsCharacters : scheduler::Fcfs {
  using Fcfs::Fcfs;
  static constexpr std::string_view reads = "chunk";
};

struct DraftsLater : speculation::PromptLookup {
  bool drafts_by_model = false;
};

struct DecodesOnTheSame : router::LeastOutstanding {
  using LeastOutstanding::LeastOutstanding;
  template <class Request>
  std::size_t decode_on(const Request&);  // without the view
};
struct CommitsWholes : router::LeastOutstanding {  // without decode_on
  using LeastOutstanding::LeastOutstanding;
  static constexpr bool commits_early = true;
};
struct SendsLater : router::Splitwise {
  using Splitwise::Splitwise;
  bool sends_by_layer = true;
};
struct ChoosesUnasked : router::LeastOutstanding {
  using LeastOutstanding::LeastOutstanding;
  std::size_t chosen(std::span<const Movable>) { return 0; }
};
struct HearsOfRequests final : router::LeastOutstanding {
  using LeastOutstanding::LeastOutstanding;
  void on_finished(std::size_t, const Request&) {}
};

#ifndef QUIRE_FIXED
template struct explain::Slots<HiddenSpeculation>;
template struct explain::PrefixIndex<PartOfIds>;
template struct explain::Eviction<NextUseByValue>;
template struct explain::Eviction<PrefetchesBlocks>;
template struct explain::Offload<DiskByFunction>;
template struct explain::Offload<KeepsByText>;
template struct explain::Offload<OverlapsLater>;
template struct explain::Offload<LooksHalfAhead>;
template struct explain::Offload<SwapsByType>;
template struct explain::Offload<KeepsFree>;
template struct explain::Offload<KeepsNothingFree>;
template struct explain::Offload<FetchesAtWill>;
template struct explain::KvFormat<ResidualLess>;
template struct explain::KvFormat<SealsOne>;
template struct explain::KvFormat<OneBasis>;
template struct explain::KvFormat<RotatesLate>;
template struct explain::KvFormat<RefusesByString>;
template struct explain::KvFormat<LaysOut>;
template struct explain::KvFormat<LaysBytesOut>;
template struct explain::KvFormat<CopiesFromItself>;
template struct explain::KvFormat<PacksHalves>;
template struct explain::KvFormat<FitsAlone>;
template struct explain::KvFormat<FitsLayerLater>;
template struct explain::KvFormat<SkipsNone>;
template struct explain::WeightFormat<AddsFewer>;
template struct explain::WeightFormat<MultipliesRows>;
template struct explain::WeightFormat<HeadByName>;
template struct explain::WeightFormat<BitsLess>;
template struct explain::Retention<BudgetsByFunction>;
template struct explain::OptionalRetention<SelectsLater>;
template struct explain::Retention<AttendsToSome>;
template struct explain::Retention<ChoosesByText>;
template struct explain::Retention<ChoosesAtWill>;
template struct explain::Scheduler<HidesPreemptive>;
template struct explain::Scheduler<PreemptsByNumber>;
template struct explain::Scheduler<WantsByValue>;
template struct explain::Scheduler<WantsOnce>;
template struct explain::Scheduler<TurnInOneOfTwoOtherWays>;
template struct explain::Scheduler<StandsInTwoWays>;
template struct explain::Scheduler<RanksAnyClient>;
template struct explain::Scheduler<ReadsCharacters>;
template struct explain::OptionalSpeculation<DraftsLater>;
template struct explain::Router<DecodesOnTheSame>;
template struct explain::Router<CommitsWholes>;
template struct explain::Router<SendsLater>;
template struct explain::Router<ChoosesUnasked>;
template struct explain::Router<HearsOfRequests>;
#else
// What may be overloaded, a template, inherited or final, and what says that it is off.
struct Free final : scheduler::Fcfs {
  using Fcfs::Fcfs;
  static constexpr bool preemptive = true;
  template <class Now>
  Seconds next_turn(const SequenceGroup&, Now) const {
    return 0.0;
  }
  Seconds next_turn(int) const { return 0.0; }
};
struct NoLongerAhead : offload::ProactiveSwap {
  static constexpr bool swaps_ahead = false;
};
template struct explain::Slots<presets::Vllm>;
template struct explain::Scheduler<Free>;
template struct explain::Scheduler<scheduler::LongestPrefix>;
template struct explain::PrefixIndex<prefix_index::TokenRadixTree>;
template struct explain::Eviction<eviction::Belady>;
template struct explain::Offload<NoLongerAhead>;
template struct explain::KvFormat<kv_format::Kivi<2, 32, 128> >;
template struct explain::Retention<retention::Quest>;
template struct explain::Router<router::Splitwise>;
#endif
int main() {}
