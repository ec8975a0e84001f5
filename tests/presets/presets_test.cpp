#include <quire/presets/presets.hpp>

#include <gtest/gtest.h>

#include <set>
#include <string>

#include <quire/core/type_list.hpp>
#include <quire/engine/config.hpp>

namespace quire::presets_test {
namespace {

using all_presets =
    type_list<presets::Vllm, presets::VllmPrefixCache, presets::OrcaMax, presets::OrcaPow2,
              presets::OrcaOracle, presets::FasterTransformer, presets::HfTransformers,
              presets::Tgi, presets::Torchserve, presets::Sarathi>;

TEST(Presets, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for_each_type(all_presets{}, [&]<class C>() {
    static_assert(FillsAllSlots<C>);
    EXPECT_TRUE(names.insert(std::string(C::name)).second) << C::name;
  });
  EXPECT_EQ(names.size(), all_presets::size);
}

// What each system is known by.
TEST(Presets, AreWhatTheirPapersSay) {
  for_each_type(type_list<presets::OrcaMax, presets::OrcaPow2, presets::OrcaOracle,
                          presets::FasterTransformer, presets::HfTransformers, presets::Tgi,
                          presets::Torchserve>{},
                []<class C>() {
                  EXPECT_TRUE(C::Reservation::contiguous) << C::name;
                  EXPECT_FALSE(C::PrefixIndex::enabled) << C::name;
                });
  for_each_type(
      type_list<presets::FasterTransformer, presets::HfTransformers, presets::Torchserve>{},
      []<class C>() { EXPECT_TRUE(C::Scheduler::drains) << C::name; });
  EXPECT_TRUE(presets::HfTransformers::Scheduler::pads);
  EXPECT_EQ(presets::Vllm::BlockSize::tokens, Tokens{16});
  EXPECT_TRUE(presets::Vllm::Offload::uses_host);
  EXPECT_FALSE(presets::Vllm::PrefixIndex::enabled);
}

}  // namespace
}  // namespace quire::presets_test
