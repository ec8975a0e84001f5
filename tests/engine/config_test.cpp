#include <quire/engine/config.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <quire/admission/tiny_lfu.hpp>
#include <quire/engine/changed_slots.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/engine/describe.hpp>
#include <quire/engine/override.hpp>
#include <quire/eviction/belady.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/eviction/priority.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/gear.hpp>
#include <quire/kv_format/kivi.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/prefix_index/token_radix_tree.hpp>
#include <quire/presets/presets.hpp>
#include <quire/scheduler/priority.hpp>
#include <quire/speculation/prompt_lookup.hpp>
#include <quire/weight_format/fp32.hpp>

namespace quire::engine_test {

struct DropsSome {
  static constexpr std::string_view name = "drops_some";
  static constexpr bool keeps_all = false;
};

namespace {

using presets::Vllm;

// A variant is a diff against a preset, and the compiler knows which.
struct Sieved : Vllm {
  static constexpr std::string_view name = "vllm+fifo+hash_chain";
  using Eviction = eviction::Fifo;
  using PrefixIndex = prefix_index::HashChain;
};
static_assert(changed_slots<Sieved, Vllm> == (Slot::eviction | Slot::prefix_index));
static_assert(changed_slots<Vllm, Vllm> == Slot::none);
static_assert(changed_slots<presets::VllmPrefixCache, Vllm> == Slot::prefix_index);
static_assert(changed_slots<presets::OrcaMax, presets::OrcaPow2> == Slot::reservation);
static_assert(changed_slots<presets::OrcaMax, presets::OrcaOracle> == Slot::reservation);
static_assert(changed_slots<presets::OrcaMax, Vllm> ==
              (Slot::reservation | Slot::scheduler | Slot::offload));
static_assert(changed_slots<presets::Sarathi, Vllm> == (Slot::scheduler | Slot::offload));

// with<> changes what it names and nothing else, in any order, and setting a slot to what it is
// changes nothing.
using Derived = with<Vllm, set_block_size<BlockSize<8>>, set_offload<offload::SwapToHost>>;
static_assert(changed_slots<Derived, Vllm> == (Slot::block_size | Slot::offload));
static_assert(Derived::name == "vllm+block_size=8+offload=swap_to_host");
static_assert(
    changed_slots<Derived,
                  with<Vllm, set_offload<offload::SwapToHost>, set_block_size<BlockSize<8>>>> ==
    Slot::none);
static_assert(changed_slots<with<Vllm, set_block_size<BlockSize<16>>>, Vllm> == Slot::none);
static_assert(std::is_same_v<with<Vllm>, Vllm>);
// A policy's word can stand in two slots, so the slot is always said.
static_assert(with<Vllm, set_scheduler<scheduler::Priority>>::name == "vllm+scheduler=priority");
static_assert(with<Vllm, set_eviction<eviction::Priority>>::name == "vllm+eviction=priority");
static_assert(with<Vllm, set_block_size<BlockSize<1>>>::name == "vllm+block_size=1");
static_assert(with<Vllm, set_admission<admission::TinyLfu>>::name == "vllm+admission=tiny_lfu");
static_assert(with<Vllm, set_block_size<BlockSize<256>>>::name == "vllm+block_size=256");
static_assert(
    changed_slots<
        with<Vllm, set_reservation<reservation::Oracle>, set_prefix_index<Sieved::PrefixIndex>,
             set_eviction<eviction::Fifo>, set_admission<admission::TinyLfu>,
             set_kv_format<kv_format::Fp32>, set_weight_format<weight_format::Fp32>,
             set_scheduler<scheduler::ChunkedPrefill>>,
        Vllm> == (Slot::reservation | Slot::prefix_index | Slot::eviction | Slot::admission |
                  Slot::kv_format | Slot::weight_format | Slot::scheduler));

// Derived variants are configurations like any other.
static_assert(FillsAllSlots<Derived>);
static_assert(FillsAllSlots<with<Derived, set_eviction<eviction::Fifo>>>);
static_assert(!FillsAllSlots<int>);

// What does not go together is said in one sentence; every preset goes together.
static_assert(incompatible_because<Vllm>.empty());
static_assert(incompatible_because<presets::VllmPrefixCache>.empty());
static_assert(incompatible_because<presets::OrcaMax>.empty());
static_assert(incompatible_because<presets::OrcaPow2>.empty());
static_assert(incompatible_because<presets::OrcaOracle>.empty());
static_assert(incompatible_because<presets::FasterTransformer>.empty());
static_assert(incompatible_because<presets::HfTransformers>.empty());
static_assert(incompatible_because<presets::Tgi>.empty());
static_assert(incompatible_because<presets::Torchserve>.empty());
static_assert(incompatible_because<presets::Sarathi>.empty());

TEST(Compatible, SaysWhichSlotAndWhy) {
  using ::testing::HasSubstr;
  using ::testing::StartsWith;
  using IndexedRuns = with<presets::OrcaMax, set_prefix_index<prefix_index::HashChain>>;
  using PagedOrca = with<presets::OrcaMax, set_reservation<reservation::OnDemand>>;
  using Holes = with<presets::VllmPrefixCache, set_retention<DropsSome>>;
  EXPECT_THAT(std::string(incompatible_because<IndexedRuns>), StartsWith("prefix_index: "));
  EXPECT_THAT(std::string(incompatible_because<PagedOrca>), StartsWith("scheduler: "));
  EXPECT_THAT(std::string(incompatible_because<Holes>), StartsWith("retention: "));
  EXPECT_THAT(std::string(incompatible_because<IndexedRuns>), HasSubstr("contiguous"));
}

TEST(Compatible, RefusesPartsOfBlocksThatArePackedWhole) {
  using Parts = with<presets::VllmPrefixCache, set_prefix_index<prefix_index::TokenRadixTree>>;
  static_assert(incompatible_because<Parts>.empty());
  using Packing =
      with<Parts, set_kv_format<kv_format::Kivi<2, 32, 128>>, set_block_size<BlockSize<32>>>;
  EXPECT_THAT(std::string(incompatible_because<Packing>), ::testing::StartsWith("prefix_index: "));
}

// What a text reads of its window must not depend on who else has the same beginning.
TEST(Compatible, RefusesSharedBlocksInAWindow) {
  using Shares = with<presets::VllmPrefixCache, set_block_size<BlockSize<32>>>;
  using Windows = with<Shares, set_kv_format<kv_format::Kivi<2, 32, 128>>>;
  EXPECT_THAT(std::string(incompatible_because<Windows>), ::testing::StartsWith("prefix_index: "));
  EXPECT_THAT(std::string(incompatible_because<Windows>), ::testing::HasSubstr("window"));
  using WithoutIndex = with<Windows, set_prefix_index<prefix_index::None>>;
  static_assert(incompatible_because<WithoutIndex>.empty());
  // Blocks that are packed as soon as they are full, and only full ones are shared.
  using PacksFullBlocks = with<Shares, set_kv_format<kv_format::Gear<2>>>;
  static_assert(kv_format::keeps_open_blocks<PacksFullBlocks::KvFormat>);
  static_assert(incompatible_because<PacksFullBlocks>.empty());
}

TEST(Compatible, RefusesAPolicyThatNeedsTheFuture) {
  using Clairvoyant = with<presets::VllmPrefixCache, set_eviction<eviction::Belady>>;
  EXPECT_THAT(std::string(incompatible_because<Clairvoyant>), ::testing::StartsWith("eviction: "));
}

TEST(Compatible, RefusesGuessesThatCannotBeTakenBack) {
  using ::testing::StartsWith;
  using Guessing = with<Vllm, set_speculation<speculation::PromptLookup>>;
  static_assert(incompatible_because<Guessing>.empty());
  static_assert(changed_slots<Guessing, Vllm> == Slot::speculation);
  static_assert(Guessing::name == "vllm+speculation=prompt_lookup");
  using Dropping = with<Guessing, set_retention<DropsSome>>;
  using Packing = with<Guessing, set_kv_format<kv_format::Kivi<2>>>;
  using Padding = with<presets::HfTransformers, set_speculation<speculation::PromptLookup>>;
  EXPECT_THAT(std::string(incompatible_because<Dropping>), StartsWith("speculation: "));
  EXPECT_THAT(std::string(incompatible_because<Packing>), StartsWith("speculation: "));
  EXPECT_THAT(std::string(incompatible_because<Padding>), StartsWith("speculation: "));
}

/// As configurations are that were written before the slot: they guess nothing.
struct SaysNothing {
  static constexpr std::string_view name = "says_nothing";
  using BlockSize = Vllm::BlockSize;
  using Reservation = Vllm::Reservation;
  using PrefixIndex = Vllm::PrefixIndex;
  using Eviction = Vllm::Eviction;
  using Admission = Vllm::Admission;
  using Offload = Vllm::Offload;
  using KvFormat = Vllm::KvFormat;
  using WeightFormat = Vllm::WeightFormat;
  using Retention = Vllm::Retention;
  using Scheduler = Vllm::Scheduler;
};
static_assert(FillsAllSlots<SaysNothing>);
static_assert(changed_slots<SaysNothing, Vllm> == Slot::none);

// A change in such a slot is no change of the engine.
static_assert(unused_slots<Vllm> == (Slot::eviction | Slot::admission));
static_assert(unused_slots<presets::VllmPrefixCache> == Slot::none);
static_assert(unused_slots<presets::OrcaMax> == (Slot::eviction | Slot::admission | Slot::offload));

TEST(ChangedSlots, AreNamedInTheOrderOfTables) {
  EXPECT_EQ(to_string(Slot::none), "none");
  EXPECT_EQ(to_string(changed_slots<Sieved, Vllm>), "prefix_index,eviction");
  EXPECT_EQ(to_string(changed_slots<Derived, Vllm>), "block_size,offload");
}

TEST(Describe, ListsEverySlotWithItsPolicy) {
  const std::string text = describe<Derived>();
  EXPECT_EQ(text,
            "vllm+block_size=8+offload=swap_to_host\n"
            "  block_size     8\n"
            "  reservation    on_demand\n"
            "  prefix_index   none\n"
            "  eviction       lru (never asked)\n"
            "  admission      always (never asked)\n"
            "  offload        swap_to_host\n"
            "  kv_format      fp16\n"
            "  weight_format  fp16\n"
            "  retention      keep_all\n"
            "  scheduler      fcfs\n"
            "  speculation    none");
}

}  // namespace
}  // namespace quire::engine_test
