// expect: quire: block_size: the configuration has no usable `using BlockSize =
// expect: quire: reservation: the configuration has no `using Reservation = ...`
// expect: quire: prefix_index: the configuration has no `using PrefixIndex = ...`
// expect: quire: offload: the configuration has no `using Offload = ...`
// expect: quire: kv_format: the configuration has no `using KvFormat = ...`
// expect: quire: weight_format: the configuration has no `using WeightFormat = ...`
// expect: quire: retention: the configuration has no `using Retention = ...`
// expect: quire: scheduler: the configuration has no `using Scheduler = ...`
// expect: quire: eviction: the configuration has no `using Eviction = ...`
// expect: quire: reservation: the policy has no `static constexpr bool contiguous`
// expect: quire: prefix_index: the policy has no `static constexpr bool enabled`
// expect: quire: prefix_index: the policy cannot be built from (BlockCount capacity, Tokens
// expect: quire: prefix_index: the policy has no `match(std::span<const TokenId>
// expect: quire: prefix_index: the policy has no `std::uint64_t content(BlockId) const`
// expect: quire: prefix_index: the policy has no `void erase(BlockId)`
// expect: quire: eviction: the policy has no `void on_insert(BlockId, const BlockContext&)`
// expect: quire: eviction: the policy has no `void on_access(BlockId, const BlockContext&)`
// expect: quire: eviction: the policy has no `void set_evictable(BlockId, bool)`
// expect: quire: eviction: the policy has no `void on_remove(BlockId)`
// expect: quire: eviction: LRU-K needs K >= 2; LRU-1 is quire::eviction::Lru
// expect: quire: eviction: LRU-K remembers K uses a block; K is at most 9
// expect: quire: offload: the policy has no `static constexpr bool uses_host`
// expect: quire: scheduler: the policy has no `static constexpr bool dynamic_rank`
// expect: quire: scheduler: the policy has no `static constexpr bool drains`
// expect: quire: scheduler: the policy has no `static constexpr bool pads`
// expect: quire: scheduler: the policy has no `double rank(const SequenceGroup&, Seconds now)
// expect: quire: scheduler: the policy has no `Tokens allot(const BatchState&, Tokens
// expect: quire: scheduler: the policy has no `std::optional<Seconds> wake_at(const BatchState&)
// expect: quire: scheduler: the policy has no `void charge(SchedulerEvent, const SequenceGroup&,
// expect: quire: scheduler: it preempts, and a contiguous reservation is not given back
// expect: quire: scheduler: a bucketed length oracle needs at least one bucket
// expect: quire: speculation: the policy has no `static constexpr Tokens most`
// expect: quire: speculation: the policy has no `void propose(std::span<const TokenId> text, Tokens
// expect: quire: retention: a block whose tokens were dropped cannot be found by its text
// expect: quire: kv_format: the format has no `static std::size_t slab_bytes(
// expect: quire: kv_format: the format has no `static double token_bytes(
// expect: quire: kv_format: the format has no `static void store(
// expect: quire: weight_format: the format has no `static std::size_t panel_bytes(
// expect: quire: weight_format: the format has no `static double weight_bytes(
// expect: quire: weight_format: the format has no `static void pack(
// expect: quire: weight_format: the format has no `static void read(
// expect: quire: retention: a policy that drops tokens is built from (const RetentionLimits&,
// expect: quire: retention: a policy that drops tokens must say its scope, reassigns_positions and
#include <quire/engine/explain.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/eviction/lru_k.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/prefix_index/none.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/reservation/on_demand.hpp>
#include <quire/retention/sliding_window.hpp>
#include <quire/scheduler/fcfs.hpp>
#include <quire/scheduler/length_oracle.hpp>
#include <quire/scheduler/mlfq.hpp>
#include <quire/speculation/prompt_lookup.hpp>
#include <quire/weight_format/fp32.hpp>

// Each policy is right but for one member, which hides the one that it should have; together in one
// program, since a compiler's start costs more than the question.
using namespace quire;
struct Private {};

class NoBlockSize : public presets::Vllm {
  using BlockSize = Private;
};
class NoReservation : public presets::Vllm {
  using Reservation = Private;
};
class NoPrefixIndex : public presets::Vllm {
  using PrefixIndex = Private;
};
class NoEviction : public presets::Vllm {
  using Eviction = Private;
};
class NoOffload : public presets::Vllm {
  using Offload = Private;
};
class NoKvFormat : public presets::Vllm {
  using KvFormat = Private;
};
class NoWeightFormat : public presets::Vllm {
  using WeightFormat = Private;
};
class NoRetention : public presets::Vllm {
  using Retention = Private;
};
class NoScheduler : public presets::Vllm {
  using Scheduler = Private;
};

struct NoContiguous : reservation::OnDemand {
  Private contiguous;
};

struct NoEnabled : prefix_index::None {
  using None::None;
  Private enabled;
};
struct NoGeometry : prefix_index::None {
  NoGeometry() : None(1, 16) {}
};
struct NoMatch : prefix_index::None {
  using None::None;
  void match();
};
struct NoContent : prefix_index::None {
  using None::None;
  void content();
};
struct NoErase : prefix_index::None {
  using None::None;
  void erase();
};

struct NoInsert : eviction::Fifo {
  using Fifo::Fifo;
  void on_insert();
};
struct NoAccess : eviction::Fifo {
  using Fifo::Fifo;
  void on_access();
};
struct NoEvictable : eviction::Fifo {
  using Fifo::Fifo;
  void set_evictable();
};
struct NoRemove : eviction::Fifo {
  using Fifo::Fifo;
  void on_remove();
};

struct NoHost : offload::Recompute {
  Private uses_host;
};

struct NoSlabBytes : kv_format::Fp32 {
  void slab_bytes();
};
struct NoTokenBytes : kv_format::Fp32 {
  void token_bytes();
};
struct NoStore {  // of the values alone
  static constexpr std::string_view name = "no_store";
  using Keys = kv_format::Fp32;
  struct Values : kv_format::Fp32 {
    void store();
  };
};

struct NoPanelBytes : weight_format::Fp32 {
  void panel_bytes();
};
struct NoWeightBytes : weight_format::Fp32 {
  void weight_bytes();
};
struct NoPack : weight_format::Fp32 {
  void pack();
};
struct NoRead : weight_format::Fp32 {
  void read();
};

struct NoLimits : retention::SlidingWindow {
  NoLimits() : SlidingWindow(RetentionLimits{}, 1) {}
};
struct NoScope : retention::SlidingWindow {
  using SlidingWindow::SlidingWindow;
  Private scope;
};

struct NoDynamicRank : scheduler::Fcfs {
  using Fcfs::Fcfs;
  Private dynamic_rank;
};
struct NoDrains : scheduler::Fcfs {
  using Fcfs::Fcfs;
  Private drains;
};
struct NoPads : scheduler::Fcfs {
  using Fcfs::Fcfs;
  Private pads;
};
struct NoRank : scheduler::Fcfs {
  using Fcfs::Fcfs;
  void rank();
};
struct NoAllot : scheduler::Fcfs {
  using Fcfs::Fcfs;
  void allot();
};
struct NoWakeAt : scheduler::Fcfs {
  using Fcfs::Fcfs;
  void wake_at();
};
struct NoCharge : scheduler::Fcfs {
  using Fcfs::Fcfs;
  void charge();
};

struct NoMost : speculation::PromptLookup {
  Private most;
};
struct NoPropose : speculation::PromptLookup {
  void propose();
};

struct PreemptsReserved : presets::OrcaMax {
  using Scheduler = scheduler::Mlfq;
};
struct DropsIndexed : presets::Vllm {
  struct Retention : retention::KeepAll {
    static constexpr bool keeps_all = false;
  };
  using PrefixIndex = prefix_index::HashChain;
};

#ifndef QUIRE_FIXED
template struct explain::Slots<NoBlockSize>;
template struct explain::Slots<NoReservation>;
template struct explain::Slots<NoPrefixIndex>;
template struct explain::Slots<NoEviction>;
template struct explain::Slots<NoOffload>;
template struct explain::Slots<NoKvFormat>;
template struct explain::Slots<NoWeightFormat>;
template struct explain::Slots<NoRetention>;
template struct explain::Slots<NoScheduler>;
template struct explain::Reservation<NoContiguous>;
template struct explain::PrefixIndex<NoEnabled>;
template struct explain::PrefixIndex<NoGeometry>;
template struct explain::PrefixIndex<NoMatch>;
template struct explain::PrefixIndex<NoContent>;
template struct explain::PrefixIndex<NoErase>;
template struct explain::Eviction<NoInsert>;
template struct explain::Eviction<NoAccess>;
template struct explain::Eviction<NoEvictable>;
template struct explain::Eviction<NoRemove>;
template struct explain::Offload<NoHost>;
template struct explain::KvFormat<NoSlabBytes>;
template struct explain::KvFormat<NoTokenBytes>;
template struct explain::KvFormat<NoStore>;
template struct explain::WeightFormat<NoPanelBytes>;
template struct explain::WeightFormat<NoWeightBytes>;
template struct explain::WeightFormat<NoPack>;
template struct explain::WeightFormat<NoRead>;
template struct explain::Retention<NoLimits>;
template struct explain::Retention<NoScope>;
template struct explain::Scheduler<NoDynamicRank>;
template struct explain::Scheduler<NoDrains>;
template struct explain::Scheduler<NoPads>;
template struct explain::Scheduler<NoRank>;
template struct explain::Scheduler<NoAllot>;
template struct explain::Scheduler<NoWakeAt>;
template struct explain::Scheduler<NoCharge>;
template struct explain::Speculation<NoMost>;
template struct explain::Speculation<NoPropose>;
template struct explain::Compatible<PreemptsReserved>;
template struct explain::Compatible<DropsIndexed>;
template class eviction::BasicLruK<1>;
template class eviction::BasicLruK<10>;
template struct scheduler::length_oracle::Bucketed<0>;
#else
template struct explain::Slots<presets::Vllm>;
template struct explain::Reservation<reservation::OnDemand>;
template struct explain::PrefixIndex<prefix_index::None>;
template struct explain::Eviction<eviction::Fifo>;
template struct explain::Offload<offload::Recompute>;
template struct explain::KvFormat<kv_format::Fp32>;
template struct explain::WeightFormat<weight_format::Fp32>;
template struct explain::Retention<retention::SlidingWindow>;
template struct explain::Speculation<speculation::PromptLookup>;
template struct explain::Scheduler<scheduler::Fcfs>;
template struct explain::Compatible<presets::OrcaMax>;
template struct explain::Compatible<presets::Vllm>;
#endif
int main() {}
