// A format that is chosen when the engine is made is the one that was compiled in: the same pools, the same
// decisions, the same tokens, and the same place on disk.
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <experiments/quality/axes.hpp>
#include <experiments/quality/kv_formats.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/type_list.hpp>
#include <quire/engine/compatible.hpp>
#include <quire/engine/serving_engine.hpp>
#include <quire/executor/any_cpu.hpp>
#include <quire/kv_format/fp8_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/kivi.hpp>
#include <quire/offload/attention_store.hpp>
#include <quire/prefix_index/hash_chain.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/retention/streaming_llm.hpp>
#include <quire/weight_format/q8_0.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"

namespace quire::executor {
namespace {

using kv_format::codec_of;

/// All that a KV format decides: a pool that is too small, and tiers below it.
struct Tiers : presets::Vllm {
  static constexpr std::string_view name = "tiers";
  using BlockSize = quire::BlockSize<4>;
  using PrefixIndex = prefix_index::HashChain;
  using Offload = offload::AttentionStore;
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
};
struct Int8Tiers : Tiers {
  static constexpr std::string_view name = "tiers+kv_format=int8_per_token_head";
  using KvFormat = kv_format::Int8PerTokenHead;
};
struct Dropping : presets::Vllm {
  static constexpr std::string_view name = "dropping";
  using KvFormat = kv_format::Fp32;
  using WeightFormat = weight_format::Fp32;
  using Retention = retention::StreamingLlm;
};

AnyCpu::Options options_in(const std::filesystem::path& folder) {
  static const auto model = quire::testing::opened(
      (std::filesystem::path(QUIRE_SOURCE_DIR) / "tests/golden/models/llama").string());
  AnyCpu::Options o;
  o.model = model;
  o.kv_memory = 40 << 10;
  o.host_memory = 16 << 10;
  o.disk_memory = 256 << 10;
  o.disk.directory = folder;
  o.poison = true;
  return o;
}

struct Served {
  std::vector<std::vector<TokenId>> texts;
  std::uint64_t decisions = 0;
  std::int64_t blocks = 0, block_bytes = 0, preemptions = 0, found = 0;

  friend bool operator==(const Served&, const Served&) = default;
};

template <class C>
Served serve(const AnyCpu::Options& options) {
  Engine<C, AnyCpu> engine(options);
  Served out;
  out.found = engine.counters().restored_blocks.value;
  std::map<RequestId, std::size_t> who;
  Rng rng(3);
  for (std::size_t i = 0; i < 16; ++i) {
    Request r;
    Rng beginning(i % 3);
    for (int k = 0; k < 20; ++k) r.prompt.push_back(static_cast<TokenId>(beginning.below(101)));
    for (int k = 0; k < 6; ++k) r.prompt.push_back(static_cast<TokenId>(rng.below(101)));
    r.sampling.max_tokens = 20;
    r.sampling.seed = i;
    r.sampling.temperature = i % 2 == 0 ? 0 : 0.9;
    who[engine.submit(std::move(r))] = i;
  }
  out.texts.resize(who.size());
  while (engine.has_work()) {
    engine.step();
    for (const auto& group : engine.take_finished()) {
      EXPECT_EQ(group->error, "");
      out.texts[who.at(group->request.id)] = group->sequences.front().tokens;
    }
  }
  out.decisions = engine.decision_hash();
  out.blocks = engine.geometry().device_blocks.value;
  out.block_bytes = engine.geometry().block_bytes.value;
  out.preemptions = engine.counters().preemptions;
  engine.persist();
  return out;
}

TEST(AnyCpu, AChosenFormatIsTheCompiledOne) {
  const quire::testing::TempDir folders[3];
  const Served compiled = serve<Int8Tiers>(options_in(folders[0].path()));
  AnyCpu::Options options = options_in(folders[1].path());
  options.kv_format = &codec_of<kv_format::Int8PerTokenHead>();
  const Served chosen = serve<Tiers>(options);
  EXPECT_EQ(chosen, compiled);
  EXPECT_GT(chosen.preemptions, 0);
  EXPECT_EQ(chosen.block_bytes, Cpu::geometry<Int8Tiers>(options).block_bytes.value);
  // another one has blocks of another size, and so another pool and other decisions
  const Served own = serve<Tiers>(options_in(folders[2].path()));
  EXPECT_GT(own.block_bytes, chosen.block_bytes);
  EXPECT_LT(own.blocks, chosen.blocks);
  EXPECT_NE(own.decisions, chosen.decisions);
}

TEST(AnyCpu, ADiskTierIsOfTheFormatThatWasChosen) {
  const quire::testing::TempDir folder;
  AnyCpu::Options options = options_in(folder.path());
  options.kv_format = &codec_of<kv_format::Int8PerTokenHead>();
  EXPECT_EQ(serve<Tiers>(options).found, 0);
  EXPECT_GT(serve<Int8Tiers>(options_in(folder.path())).found, 0);
  options.kv_format = &codec_of<kv_format::Fp8PerTokenHead>();  // other numbers in as many bytes
  EXPECT_EQ(serve<Tiers>(options).found, 0);
}

TEST(AnyCpu, WeightsMayBeChosenBesideKeysAndValues) {
  const quire::testing::TempDir folders[2];
  const Served own = serve<Tiers>(options_in(folders[0].path()));
  AnyCpu::Options options = options_in(folders[1].path());
  options.weight_format = &weight_format::codec_of<weight_format::Q80>();
  const Served rounded = serve<Tiers>(options);
  EXPECT_EQ(rounded.blocks, own.blocks);
  EXPECT_NE(rounded.texts, own.texts);
}

/// The sentence of an error; empty where there is none.
template <class C>
std::string refused(const AnyCpu::Options& options) {
  try {
    (void)AnyCpu::geometry<C>(options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(AnyCpu, AFormatThatDoesNotGoTogetherIsRefused) {
  const quire::testing::TempDir folder;
  AnyCpu::Options options = options_in(folder.path());
  options.kv_format = &codec_of<kv_format::Kivi<2>>();
  EXPECT_THAT(refused<Tiers>(options),
              ::testing::HasSubstr("kv_format kivi2_g32_r128: does not go together "
                                   "with tiers: kv_format: tokens that"));
  options.kv_format = &codec_of<kv_format::Fp8PerTokenHead>();
  EXPECT_THAT(refused<Dropping>(options), ::testing::HasSubstr("retention keep_all"));
  options.kv_format = &codec_of<kv_format::Fp32>();
  EXPECT_EQ(refused<Dropping>(options), "");
}

TEST(AnyCpu, CodecsSayOfAFormatWhatItsTypeSays) {
  std::size_t packing = 0;
  std::size_t next = 0;  // codecs that are compiled already
  for_each_type(quality::KvFormats{}, [&]<class F>() {
    const kv_format::KvCodec& codec = *quality::kv_formats()[next++].codec;
    EXPECT_EQ(codec.name, F::name);
    for (const std::size_t tokens : {1, 8, 16, 32, 64, 128, 256}) {
      EXPECT_EQ(codec.traits(tokens), kv_format::traits_of<F>(static_cast<std::int64_t>(tokens)))
          << F::name << " " << tokens;
    }
    packing += codec.traits(32).keeps_open_blocks;
    EXPECT_EQ(codec.block_bytes(5, 3, 32, 64), (kv_format::block_bytes<F>(5, 3, 32, 64)))
        << F::name;
    EXPECT_DOUBLE_EQ(codec.token_bytes(5, 3, 64), (kv_format::token_bytes<F>(5, 3, 64))) << F::name;
  });
  EXPECT_GT(packing, 5u);
}

}  // namespace
}  // namespace quire::executor
