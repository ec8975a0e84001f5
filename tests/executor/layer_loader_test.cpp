#include <quire/executor/layer_loader.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <vector>

#include <quire/core/rng.hpp>

namespace quire::executor {
namespace {

TEST(LayerLoader, BringsEveryLayerOfEveryBlock) {
  constexpr std::size_t layers = 5, block = 40, blocks = 7;
  Rng rng(1);
  LayerLoader loader(layers, block);
  loader.wait();  // nothing is under way
  std::vector<std::byte> from(blocks * block), to(blocks * block);
  for (int round = 0; round < 200; ++round) {
    std::vector<LayerLoader::Copy> copies;
    for (std::size_t b = 0; b < blocks; ++b) {
      copies.push_back({to.data() + b * block, from.data() + b * block});
    }
    for (std::byte& x : from) x = static_cast<std::byte>(rng.below(256));
    loader.start(copies, Seconds{0.0});
    EXPECT_TRUE(copies.empty());
    for (std::size_t layer = 0; layer < layers; ++layer) {
      loader.wait(layer);
      for (std::size_t b = 0; b < blocks; ++b) {
        for (std::size_t i = layer * block / layers; i < (layer + 1) * block / layers; ++i) {
          ASSERT_EQ(to[b * block + i], from[b * block + i]) << "layer " << layer;
        }
      }
    }
  }
}

TEST(LayerLoader, ASlowLinkGivesTheFirstLayerEarlyAndTheLastNotBeforeItsTime) {
  std::vector<std::byte> from(4, std::byte{1}), to(4);
  std::vector<LayerLoader::Copy> copies{{to.data(), from.data()}};
  LayerLoader loader(4, 4);
  const auto begin = std::chrono::steady_clock::now();
  loader.start(copies, Seconds{0.04});
  loader.wait(0);
  EXPECT_EQ(to[0], std::byte{1});
  loader.wait();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(40));
  EXPECT_EQ(to, from);
}

TEST(LayerLoader, EndsWhatWasBegunBeforeItGoes) {
  std::vector<std::byte> from(64, std::byte{3}), to(64);
  std::vector<LayerLoader::Copy> copies{{to.data(), from.data()}};
  {
    LayerLoader loader(8, 64);
    loader.start(copies, Seconds{0.0});
  }
  EXPECT_EQ(to, from);
}

}  // namespace
}  // namespace quire::executor
