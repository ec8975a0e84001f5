#include <quire/cost_model/calibrate.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <quire/core/rng.hpp>
#include <quire/cost_model/hardware_file.hpp>
#include <quire/cost_model/product_profile.hpp>

#include "tests/common/temp_file.hpp"

namespace quire::testing {
namespace {

std::vector<calibrate::Product> planted(const Hardware& h) {
  std::vector<calibrate::Product> products;
  std::size_t group = 0;
  for (const double tokens : {1., 16., 100., 129., 300., 700., 1500., 4000.}) {
    for (const auto& [in, out] : {std::pair{4096., 12288.}, {4096., 4096.}, {11008., 4096.}}) {
      const double bytes = 2 * (in * out + tokens * (in + out));
      products.push_back({tokens, in, out,
                          cost_model::Roofline::product_seconds(h, tokens, in, out, bytes), group});
    }
    ++group;
  }
  return products;
}

TEST(FitRoofline, FindsConstantsThatExplainTheProducts) {
  for (const std::int64_t units : {0, 108}) {
    Hardware truth = hardware::a100_80gb;
    truth.multiprocessors = units;
    truth.bandwidth_share = 0.7;
    truth.flops_share = 0.6;
    truth.launch = 2e-6;
    truth.tile_intensity = 30;
    truth.wave_share = 0.4;
    const auto products = planted(truth);
    Hardware start = hardware::a100_80gb;
    start.multiprocessors = units;
    const Hardware found = calibrate::fit_roofline(start, products);
    EXPECT_GT(calibrate::errors_of(start, products).mean, 0.1);
    EXPECT_LT(calibrate::errors_of(found, products).mean, 0.02) << units;
    const Hardware again = calibrate::fit_roofline(start, products);
    EXPECT_EQ(found.flops_share, again.flops_share);
  }
  EXPECT_THROW((void)calibrate::fit_roofline(hardware::h100, {}), Error);
}

// Weights that lie in a cache seem to come faster than any memory has them: said, not believed.
TEST(FitRoofline, StaysWithinWhatADeviceCanDoAndSaysWhereItStopped) {
  auto products = planted(hardware::a100_80gb);
  EXPECT_TRUE(calibrate::at_bounds(calibrate::fit_roofline(hardware::a100_80gb, products)).empty());
  for (calibrate::Product& p : products) p.seconds /= 3;
  const Hardware found = calibrate::fit_roofline(hardware::a100_80gb, products);
  EXPECT_LE(found.bandwidth_share, 0.95);
  EXPECT_LE(found.flops_share, 0.95);
  const auto names = calibrate::at_bounds(found);
  EXPECT_NE(std::find(names.begin(), names.end(), "bandwidth_share"), names.end());
}

// The knee: with tiles in waves, a step of the output's tiles shows in the time.
TEST(RooflineInWaves, TakesLongerWhenOneMoreTileNeedsAnotherWave) {
  Hardware h = hardware::a100_80gb;
  h.multiprocessors = 108;
  h.wave_share = 1;
  h.tile_intensity = 1;
  h.launch = 0;
  auto seconds = [&h](double tokens) {
    return cost_model::Roofline::product_seconds(h, tokens, 8192, 1024, 0);
  };
  EXPECT_EQ(seconds(1), seconds(384));  // 6 times 16 tiles of 64 by 64: one wave
  EXPECT_GT(seconds(449), seconds(384));
  double before = 0;
  for (double tokens = 64; tokens <= 4096; tokens += 64) {
    EXPECT_GE(seconds(tokens), before);
    before = seconds(tokens);
  }
}

TEST(FitAffine, FindsPlantedCoefficientsBesideNoise) {
  const AffineCoefficients truth{.prefill = {2e-3, 3e-5, 4e-8},
                                 .decode_small = {1e-3, 2e-7, 5e-5},
                                 .decode_large = {4e-3, 2e-7, 2e-5},
                                 .large_batch = 95};
  Rng rng(3);
  std::vector<calibrate::StepSample> samples;
  for (int i = 0; i < 4000; ++i) {
    calibrate::StepSample s;
    if (i % 2 == 0) {
      s.prompt_tokens = 1 + static_cast<double>(rng.below(500));
      s.prompt_squares = s.prompt_tokens * s.prompt_tokens;
    }
    if (i % 3 != 0 || i % 2 != 0) {
      s.sequences = 1 + static_cast<double>(rng.below(200));
      s.context = s.sequences * (1 + static_cast<double>(rng.below(2000)));
    }
    s.seconds = calibrate::predicted(truth, s) * (0.9 + 0.2 * rng.uniform());
    samples.push_back(s);
  }
  const AffineCoefficients found = calibrate::fit_affine(samples);
  for (const auto& [name, a, b] : {std::tuple{"prefill", truth.prefill, found.prefill},
                                   {"small", truth.decode_small, found.decode_small},
                                   {"large", truth.decode_large, found.decode_large}}) {
    EXPECT_NEAR(b.constant / a.constant, 1, 0.15) << name;
    EXPECT_NEAR(b.first / a.first, 1, 0.15) << name;
    EXPECT_NEAR(b.second / a.second, 1, 0.15) << name;
  }
  const calibrate::Errors e = calibrate::errors_of(found, samples);
  EXPECT_NEAR(e.mean, 0.05, 0.01);
  EXPECT_NEAR(e.bias, 0, 0.01);
}

TEST(FitAffine, LeavesOutWhatWouldBeNegativeAndRefusesWhatItCannotTell) {
  const std::vector<double> x{1, 2, 3, 4}, y{1, 1, 2, 2}, seconds{4, 3, 2, 1};
  const AffineTerms t = calibrate::fit_terms(x, y, seconds);
  EXPECT_GE(t.constant, 0);
  EXPECT_GE(t.first, 0);
  EXPECT_GE(t.second, 0);
  EXPECT_GT(t.constant, 0);
  EXPECT_THROW((void)calibrate::fit_affine(std::vector<calibrate::StepSample>{{.seconds = 1}}),
               Error);
}

TEST(VidurProducts, AreReadWithTheirShapes) {
  const TempDir dir;
  const std::string header =
      "n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,num_tokens,num_tensor_parallel_"
      "workers,"
      "time_stats.attn_pre_proj.median,time_stats.attn_post_proj.median,"
      "time_stats.mlp_up_proj.median,time_stats.mlp_down_proj.median\n";
  dir.write("mlp.csv",
            header + "32,8,4096,14336,True,7,2,1,2,3,4\n32,8,4096,14336,False,9,1,5,6,7,8\n");
  const std::string path = (dir.path() / "mlp.csv").string();
  const auto two = calibrate::read_vidur_products(path, 2);
  ASSERT_EQ(two.size(), 4u);
  EXPECT_EQ(two[0].out, 2048 + 2 * 4 * 128);
  EXPECT_EQ(two[1].in, 2048);
  EXPECT_EQ(two[2].out, 14336);
  EXPECT_EQ(two[3].in, 7168);
  EXPECT_EQ(two[3].seconds, 4e-3);
  const auto one = calibrate::read_vidur_products(path, 1);
  ASSERT_EQ(one.size(), 4u);
  EXPECT_EQ(one[0].tokens, 9);
  const auto all = calibrate::read_vidur_products(path, 0);
  EXPECT_EQ(all.size(), 8u);
  EXPECT_EQ(all[6].out, 14336);  // one matrix where the MLP has no gate
  EXPECT_EQ(all[6].group, 1u);
  EXPECT_THROW((void)calibrate::read_vidur_products(path, 4), Error);
  dir.write("bad.csv", header + "32,8,4096,14336,True,7,2,1,x,3,4\n");
  try {
    (void)calibrate::read_vidur_products(dir.path() / "bad.csv", 0);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("line 2"), std::string::npos) << e.what();
  }
}

TEST(MeasuredProducts, AreReadByColumnAndToldFromVidurs) {
  const TempDir dir;
  dir.write("gemm.csv", "m,k,n,latency_us,mfu\n8,2048,6144,9,0.01\n16,2048,6144,10,0.02\n");
  const auto products = calibrate::read_products(dir.path() / "gemm.csv", 0);
  ASSERT_EQ(products.size(), 2u);
  EXPECT_EQ(products[1].tokens, 16);
  EXPECT_EQ(products[1].in, 2048);
  EXPECT_EQ(products[1].out, 6144);
  EXPECT_NEAR(products[1].seconds, 10e-6, 1e-15);
  EXPECT_EQ(products[1].group, 1u);
  dir.write("bad.csv", "m,k,n,latency_us\n8,2048,6144,0\n");
  dir.write("empty.csv", "");
  for (const auto& [file, says] : {std::pair{"bad.csv", "line 2"},
                                   {"empty.csv", "cannot be read"},
                                   {"none.csv", "cannot be read"}}) {
    try {
      (void)calibrate::read_products(dir.path() / file, 0);
      ADD_FAILURE() << file;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
    }
  }
}

TEST(FitMoves, FindsThePlantedBandwidths) {
  const TempDir dir;
  Hardware h = hardware::h100;
  std::string decode = "batch_size,kv_len,latency_us\n";
  for (const int batch : {1, 16, 64}) {
    for (const int kv : {1024, 8192}) {
      const double us = 1e6 * (4.0 * 8 * 128 * batch * kv / (0.7 * h.bandwidth) + h.launch);
      decode += std::to_string(batch) + "," + std::to_string(kv) + "," + std::to_string(us) + "\n";
    }
  }
  dir.write("decode.csv", decode);
  const auto moved = calibrate::read_decode_attention(dir.path() / "decode.csv", 8, 128);
  EXPECT_NEAR(calibrate::fit_attention_share(h, moved), 0.7, 0.0011);
  std::string reduce = "size,num_workers,devices_per_node,time_stats.all_reduce.median\n";
  for (const int size : {10'000, 1'000'000, 50'000'000}) {
    const double ms = 1e3 * (30e-6 + 2 * 0.75 * size / 200e9);
    reduce += std::to_string(size) + ",4,4," + std::to_string(ms) + "\n";
    reduce += std::to_string(size) + ",4,1,99\n";  // between nodes: left out
  }
  dir.write("reduce.csv", reduce);
  calibrate::fit_reduce(h, calibrate::read_all_reduce(dir.path() / "reduce.csv", 4));
  EXPECT_NEAR(h.reduce_bandwidth / 200e9, 1, 0.02);
  EXPECT_NEAR(h.reduce_latency, 30e-6, 1e-6);
  EXPECT_THROW((void)calibrate::read_all_reduce(dir.path() / "reduce.csv", 8), Error);
  EXPECT_THROW(calibrate::fit_reduce(h, std::vector<calibrate::Moved>{{1e3, 2e-5}, {1e6, 1e-5}}),
               Error);
}

TEST(HardwareFile, KeepsEveryNumber) {
  const TempDir dir;
  HardwareFile file;
  file.name = std::make_shared<const std::string>("mine");
  file.hardware = hardware::h100;
  file.hardware.multiprocessors = 132;
  file.hardware.tile_intensity = 46.25;
  file.affine = AffineCoefficients{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, 10};
  const auto path = dir.path() / "h.json";
  write_hardware(path, file);
  const HardwareFile back = read_hardware(path);
  EXPECT_EQ(back.hardware.name, "mine");
  EXPECT_EQ(hardware_text(back), hardware_text(file));
  EXPECT_EQ(back.hardware.reduce_latency, hardware::h100.reduce_latency);
  EXPECT_EQ(back.affine->decode_large.second, 9);
  EXPECT_EQ(back.hardware.energy_from, hardware::stated_constants);
  dir.write("other.json", "{\"schema\": \"quire.result/1\", \"name\": \"x\"}");
  EXPECT_THROW((void)read_hardware(dir.path() / "other.json"), Error);
  EXPECT_THROW((void)read_hardware(dir.path() / "none.json"), Error);
}

}  // namespace
}  // namespace quire::testing
