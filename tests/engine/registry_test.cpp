#include <quire/engine/registry.hpp>

#include <type_traits>

#include <gtest/gtest.h>

#include <quire/executor/simulated.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/presets/orca_max.hpp>
#include <quire/presets/vllm.hpp>

#include "tests/common/engines.hpp"

namespace quire {
namespace {

using presets::OrcaMax;
using presets::Vllm;
struct NamesItself : Vllm {
  static constexpr std::string_view name = "names_itself";
};
struct Inherits : Vllm {
  using Offload = offload::SwapToHost;
};

// A struct that changes a slot and forgets its name has its base's.
static_assert(detail::EveryNameDiffers<type_list<Vllm, NamesItself, OrcaMax>>::same.first == 3);
static_assert(detail::EveryNameDiffers<type_list<OrcaMax, Vllm, Inherits>>::same ==
              std::pair<std::size_t, std::size_t>{1, 2});
static_assert(detail::EveryNameDiffers<type_list<OrcaMax>>::value);
static_assert(VariantCount<3, 3>::value);

TEST(Registry, ListsTheEntriesOfAUnitInOrder) {
  using List = type_list<Vllm, NamesItself, OrcaMax>;
  std::vector<Variant<executor::Simulated>> out;
  append_variants<executor::Simulated, List, 0, 2>(out);
  ASSERT_EQ(out.size(), 2u);
  append_variants<executor::Simulated, List, 2, 2>(out);
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[1].name, "names_itself");
  EXPECT_EQ(out[2].slots, slot_values<OrcaMax>());
  EXPECT_NE(out[0].make, nullptr);
}

}  // namespace
}  // namespace quire
