// Integers in the layouts of GPTQ's and AWQ's tools: against what those wrote
// (tests/golden/formats/make_gptq_awq.py), there and back, and damaged.
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/quantised.hpp>
#include <quire/checkpoint/safetensors.hpp>
#include <quire/checkpoint/safetensors_writer.hpp>
#include <quire/core/rng.hpp>
#include <tests/common/mutate.hpp>
#include <tests/common/temp_file.hpp>

namespace quire::checkpoint {
namespace {

using Layout = Quantisation::Layout;
using weight_format::Grouped;

TEST(Quantised, AutoGptqsAndAutoAwqsTensorsAreReadAsTheyReadThem) {
  const TensorSet set =
      safetensors::open_file(QUIRE_SOURCE_DIR "/tests/golden/formats/gptq_awq.safetensors");
  for (const std::string name : {"gptq2", "gptq3", "gptq4", "gptq8", "awq4"}) {
    Quantisation q;
    q.layout = name[0] == 'a' ? Layout::awq : Layout::gptq;
    q.bits = static_cast<unsigned>(name.back() - '0');
    q.group = 32;
    const Grouped m = read_grouped(set, q, name, 32, 64);
    std::vector<float> want(32 * 64);
    read_floats(set.at(name + ".floats"), 0, want);
    for (std::size_t n = 0; n < 32; ++n) {
      for (std::size_t k = 0; k < 64; ++k) {
        const float w = want[n * 64 + k];  // theirs went through fp16
        ASSERT_NEAR(m.at(n, k), w, 1e-3f * std::abs(w)) << name << " " << n << " " << k;
      }
    }
    TensorList list;  // and written as they wrote it
    add_grouped(list, q, name, m);
    const TensorSet ours = list.set("memory");
    for (const TensorView& t : ours.all()) {
      const auto& theirs = set.at(t.name);
      EXPECT_TRUE(theirs.has_shape(t.shape)) << t.name;
      EXPECT_TRUE(
          std::equal(t.bytes.begin(), t.bytes.end(), theirs.bytes.begin(), theirs.bytes.end()))
          << t.name;
    }
  }
}

Grouped random_grouped(std::size_t outputs, std::size_t inputs, unsigned bits, std::size_t group) {
  Rng rng(bits + group);
  Grouped m(outputs, inputs, bits, group);
  const auto most = static_cast<std::uint64_t>(m.most_code());
  for (auto& c : m.codes) c = static_cast<std::uint8_t>(rng.below(most + 1));
  for (auto& z : m.zeros) z = static_cast<std::uint8_t>(1 + rng.below(most));
  for (auto& s : m.scales) s = to_fp16(static_cast<float>(rng.uniform()));
  return m;
}
TensorSet written(const Quantisation& q, const Grouped& m) {
  TensorList list;
  add_grouped(list, q, "l", m);
  return list.set("memory");
}

TEST(Quantised, EveryLayoutGivesItsCodesBack) {
  for (const Layout layout : {Layout::gptq, Layout::gptq_v2, Layout::awq}) {
    for (const unsigned bits : {2u, 3u, 4u, 8u}) {
      if (layout == Layout::awq && bits != 4) continue;
      for (const std::size_t group : {0u, 16u, 32u}) {
        const Quantisation q{layout, bits, group};
        Grouped m = random_grouped(64, 96, bits, group == 0 ? 96 : group);
        if (layout != Layout::awq && group == 16) {  // any input in any group
          for (std::uint32_t k = 0; k < 96; ++k) m.group_of.push_back(k * 7 % 6);
        }
        const Grouped back = read_grouped(written(q, m), q, "l", 64, 96);
        EXPECT_EQ(back.codes, m.codes);
        EXPECT_EQ(back.zeros, m.zeros);
        EXPECT_EQ(back.scales, m.scales);
        EXPECT_EQ(back.group_of, m.group_of);
      }
    }
  }
}

TEST(Quantised, WhatALayoutCannotHoldIsRefused) {
  const auto refused = [](const Quantisation& q, const Grouped& m) {
    try {
      (void)written(q, m);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  Grouped m = random_grouped(32, 64, 4, 32);
  m.zeros[3] = 0;
  EXPECT_NE(refused({Layout::gptq, 4, 32}, m).find("zero point 0"), std::string::npos);
  EXPECT_EQ(refused({Layout::gptq_v2, 4, 32}, m), "accepted");
  m.group_of.assign(64, 0);
  EXPECT_NE(refused({Layout::awq, 4, 32}, m).find("no neighbours"), std::string::npos);
  EXPECT_NE(refused({Layout::awq, 4, 32}, random_grouped(4, 64, 4, 32)).find("32-bit words"),
            std::string::npos);
}

/// A file of one quantised layer and its reader: it reads whole, or gives one line that names it.
TEST(Quantised, DamagedFilesGiveOneErrorEach) {
  testing::TempDir directory;
  std::size_t number = 0;
  for (const Layout layout : {Layout::gptq, Layout::awq}) {
    const Quantisation q{layout, 4, 32};
    const TensorSet set = written(q, random_grouped(8, 32, 4, 32));
    const std::string text = safetensors::serialize(set.all());
    const auto load = [&](const std::string& damaged) {
      const std::string path = directory.write("q" + std::to_string(number++), damaged);
      bool loaded = false;
      try {
        const Grouped m = read_grouped(safetensors::open_file(path), q, "l", 8, 32);
        for (std::size_t i = 0; i < m.codes.size(); ++i) (void)m.at(i / 32, i % 32);
        loaded = true;
      } catch (const Error& e) {
        const std::string_view line = e.what();
        EXPECT_EQ(e.kind(), ErrorKind::data) << line;
        EXPECT_NE(line.find(path), std::string_view::npos) << line;
        EXPECT_EQ(line.find('\n'), std::string_view::npos) << line;
      }
      std::filesystem::remove(path);
      return loaded;
    };
    EXPECT_TRUE(load(text));
    for (std::size_t cut = 0; cut < text.size(); ++cut) {
      ASSERT_FALSE(load(text.substr(0, cut))) << "cut at byte " << cut;
    }
    testing::Mutator mutator(3, {"\"I32\"", "\"F16\"", "[32,8]", "[1,1]", ".qzeros", ".g_idx"});
    for (std::size_t i = 0; i < testing::fuzz_count(500) && !HasFailure(); ++i) {
      (void)load(mutator.mutate(text));
    }
  }
}

}  // namespace
}  // namespace quire::checkpoint
