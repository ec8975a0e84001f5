#include <quire/cost_model/tabulated.hpp>

#include <quire/cost_model/profile_layouts.hpp>
#include <quire/model/known_shapes.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/common/temp_file.hpp"

namespace quire::testing {
namespace {

/// Attention time that is linear in each axis, so that interpolation must reproduce it exactly.
double planted(double chunk, double prefix, double decodes, double kv) {
  return 3 + 0.5 * chunk + 0.01 * prefix + 0.25 * decodes + 0.002 * decodes * kv;
}

void write_profile(const TempDir& dir, const std::string& skew = {}) {
  std::string dense = "layer,tokens,time_us\n";
  for (const char* op : {"layernorm", "qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn",
                         "down_proj", "embedding", "final_layernorm"}) {
    for (const int t : {1, 64, 256}) {
      dense += std::string(op) + "," + std::to_string(t) + "," + std::to_string(2 * t) + "\n";
    }
  }
  dir.write("dense.csv", dense);
  dir.write("per_sequence.csv",
            "layer,sequences,time_us\nlm_head,1,10\nlm_head,8,17\nsampler,1,5\nsampler,8,12\n");
  std::string attention = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n";
  for (const double chunk : {0., 16., 32., 64.}) {
    for (const double prefix : {0., 512., 1024.}) {
      for (const double decodes : {0., 1., 8.}) {
        for (const double kv : {0., 16., 512., 2048.}) {
          if ((chunk == 0) != (prefix == 0) && chunk == 0) continue;
          if ((decodes == 0) != (kv == 0) || (chunk == 0 && decodes == 0)) continue;
          if (chunk == 32 && decodes > 0 && kv == 16) continue;  // a coarser grid at one chunk
          attention += std::to_string(chunk) + "," + std::to_string(prefix) + "," +
                       std::to_string(decodes) + "," + std::to_string(kv) + "," +
                       std::to_string(planted(chunk, prefix, decodes, kv)) + "\n";
        }
      }
    }
  }
  dir.write("attention.csv", attention);
  if (!skew.empty()) {
    dir.write("skew_fit.csv",
              "pc,n_label,skew_rate_label,kv_big_label,kp_label,alpha,n_samples\n" + skew);
  }
}

OperatorProfile profile(const TempDir& dir) {
  return OperatorProfile::read(dir.path().string() + "/");
}

TEST(OperatorProfile, ReproducesMeasuredPointsAndIsLinearBetweenThem) {
  const TempDir dir;
  write_profile(dir);
  const OperatorProfile p = profile(dir);
  EXPECT_DOUBLE_EQ(p.dense("o_proj", 64), 128e-6);
  EXPECT_DOUBLE_EQ(p.dense("o_proj", 100), 200e-6);
  EXPECT_DOUBLE_EQ(p.dense("o_proj", 512), 1024e-6);  // beyond the table: in proportion
  EXPECT_DOUBLE_EQ(p.per_sequence("lm_head", 4.5), 13.5e-6);
  for (const auto& [chunk, prefix, decodes, kv] :
       std::vector<std::array<double, 4>>{{16, 0, 1, 16},
                                          {48, 700, 5, 1000},
                                          {20, 512, 8, 16},
                                          {64, 1024, 8, 2048},
                                          {0, 0, 3, 300},
                                          {40, 100, 0, 0},
                                          {32, 0, 4, 100},
                                          {24, 900, 2, 4000}}) {
    EXPECT_NEAR(p.attention(chunk, prefix, decodes, kv), 1e-6 * planted(chunk, prefix, decodes, kv),
                1e-11)
        << chunk << " " << prefix << " " << decodes << " " << kv;
  }
  EXPECT_EQ(p.attention(0, 0, 0, 0), 0);
}

TEST(OperatorProfile, InterpolatesAlphaBetweenTheBuckets) {
  const TempDir dir;
  write_profile(dir,
                "0,n<=8,sr<=15%,kvB<=1k,kp=0,0.1,4\n0,n<=8,sr<=40%,kvB<=1k,kp=0,-0.2,4\n"
                "0,n<=16,sr<=15%,kvB<=1k,kp=0,0.3,4\n0,n<=16,sr<=40%,kvB<=1k,kp=0,0.5,4\n"
                "0,n<=8,sr<=15%,kvB<=4k,kp=0,0.7,4\n256,n<=8,sr<=15%,kvB<=1k,kp=0,0.4,4\n");
  const OperatorProfile p = profile(dir);
  EXPECT_DOUBLE_EQ(p.alpha(0, 0, 8, 0.094, 724), 0.1);  // where the buckets stand
  EXPECT_DOUBLE_EQ(p.alpha(0, 0, 8, 0.25, 724), -0.2);
  EXPECT_NEAR(p.alpha(0, 0, 8, (0.094 + 0.25) / 2, 724), -0.05, 1e-12);
  EXPECT_DOUBLE_EQ(p.alpha(0, 0, 11, 0.094, 724), 0.3);  // the bucket of up to 16 sequences
  EXPECT_NEAR(p.alpha(0, 0, 8, 0.094, std::sqrt(724.0 * 2896)), 0.4, 1e-12);
  EXPECT_DOUBLE_EQ(p.alpha(0, 0, 2, 0.01, 100), 0.1);     // before the first: the first
  EXPECT_DOUBLE_EQ(p.alpha(0, 0, 100, 0.9, 724), 0.5);    // beyond the last: the last
  EXPECT_DOUBLE_EQ(p.alpha(0, 0, 16, 0.094, 2000), 0.3);  // the bucket beside was not measured
  EXPECT_DOUBLE_EQ(p.alpha(200, 0, 8, 0.094, 724), 0.4);
  const TempDir plain;
  write_profile(plain);
  EXPECT_EQ(profile(plain).alpha(0, 0, 8, 0.1, 900), 0);  // no table
}

TEST(OperatorProfile, NamesFileLineAndExpectationOfWhatItRefuses) {
  struct Case {
    const char* file;
    const char* content;
    const char* says;
  };
  for (const Case& c : std::vector<Case>{
           {"dense.csv", "layer,tokens\n", "dense.csv: line 1"},
           {"dense.csv", "layer,tokens,time_us\na,1,2\nb,x,2\n", "dense.csv: line 3"},
           {"dense.csv", "layer,tokens,time_us\na,1,-2\n", "0 or more"},
           {"dense.csv", "layer,tokens,time_us\na,1,nan\n", "line 2"},
           {"dense.csv", "layer,tokens,time_us\na,0,1\n", "1 or more"},
           {"dense.csv", "layer,tokens,time_us\na,1\n", "2 fields"},
           {"dense.csv", "layer,tokens,time_us\n", "empty"},
           {"attention.csv", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,1,16,1\n",
            "lacks"},
           {"attention.csv",  // prompts alone, beside decodes and without
            "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n16,0,0,0,1\n", "lacks"},
           {"attention.csv",
            "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,1,16,1\n16,0,0,0,1\n",
            "lacks"},
           {"skew_fit.csv",
            "pc,n_label,skew_rate_label,kv_big_label,kp_label,alpha,n_samples\n0,n<=7x,sr<=5%,kvB<="
            "1k,"
            "kp=0,0,1\n",
            "n<=7x"},
           {"attention.csv", "prefill_chunk,kv_prefill,n_decode,time_us\n0,0,1,1\n",
            "no column kv_decode"}}) {
    const TempDir dir;
    write_profile(dir);
    dir.write(c.file, c.content);
    try {
      (void)profile(dir);
      FAIL() << c.content;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(c.says), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(c.file), std::string::npos) << e.what();
    }
  }
}

TEST(OperatorProfile, ReadsColumnsByNameAndBucketsOfOtherBounds) {
  const TempDir dir;
  write_profile(dir);
  dir.write("dense.csv", "time_us,gpu,tokens,layer\r\n2,x,1,o_proj\r\n128,x,64,o_proj\r\n");
  EXPECT_DOUBLE_EQ(profile(dir).dense("o_proj", 64), 128e-6);
  dir.write("skew_fit.csv",
            "alpha,pc,n_label,skew_rate_label,kv_big_label,kp_label\n"
            "0.25,0,n<=96,sr<=100%,kvB<=2k,kp=0\n");
  EXPECT_DOUBLE_EQ(profile(dir).alpha(0, 0, 80, 0.5, 1500), 0.25);
}

TEST(OperatorProfile, PrefersMeasuredSkewsToBucketsAndFillsWhatWasNotMeasured) {
  const TempDir dir;
  write_profile(dir, "0,n<=4,sr<=5%,kvB<=1k,kp=0,0.9,4\n");
  EXPECT_DOUBLE_EQ(profile(dir).alpha(0, 0, 4, 0.25, 1024), 0.9);
  dir.write("skew.csv",
            "regime,n,ratio,pc,kp,kv_big,t_skew_us,alpha\n"
            "pure,4,0.25,0,0,1024,5,0.1\npure,4,0.75,0,0,1024,5,0.3\n"
            "pure,4,0.25,0,0,4096,5,0.2\npure,8,0.25,0,0,1024,5,\n"
            "mixed,4,0.25,16,0,1024,5,0.6\nmixed,4,0.25,16,0,1024,5,0.8\n");
  const OperatorProfile p = profile(dir);
  EXPECT_NEAR(p.alpha(0, 0, 4, 0.5, 1024), 0.2, 1e-12);    // between rates
  EXPECT_NEAR(p.alpha(0, 0, 4, 0.25, 2048), 0.15, 1e-12);  // between lengths, by their logarithm
  EXPECT_NEAR(p.alpha(0, 0, 4, 0.75, 4096), 0.2, 1e-12);   // the nearest rate of that length
  EXPECT_NEAR(p.alpha(16, 0, 4, 0.25, 1024), 0.7, 1e-12);  // the mean of two
  EXPECT_NEAR(p.alpha(0, 0, 8, 0.25, 1024), 0.1, 1e-12);   // none for 8: that of 4
}

class TabulatedStep : public ::testing::Test {
 protected:
  TabulatedStep() {
    write_profile(dir_, "16,n<=2,sr<=70%,kvB<=1k,kp=0,0.5,4\n");
    in_.model = {.name = "unit", .layers = 3, .hidden = 64, .vocab = 1000};
    in_.profile = std::make_shared<const OperatorProfile>(profile(dir_));
  }
  void row(std::int64_t computed, std::int64_t tokens) {
    SequencePlan s;
    s.computed = computed;
    s.tokens = tokens;
    plan_.sequences.push_back(s);
    plan_.batched_tokens += Tokens{tokens};
  }
  [[nodiscard]] double seconds() const {
    return cost_model::Tabulated(in_).cost(plan_).seconds.value;
  }
  /// All but attention: eight dense operators a layer and two beside them, at 2 us a token.
  [[nodiscard]] static double rest(double tokens, double sequences) {
    return 1e-6 * ((3 * 8 + 2) * 2 * tokens + 15 + 2 * (sequences - 1));
  }

  TempDir dir_;
  CostInputs in_;
  StepPlan plan_;
};

TEST_F(TabulatedStep, AddsUpTheOperatorsOfAMixedStep) {
  in_.host.per_step = 1e-3;
  in_.host.per_sequence = 1e-5;
  row(0, 16);
  row(100, 1);
  row(100, 1);
  double expected = rest(18, 3) + 3e-6 * planted(16, 0, 2, 100) + 1e-3 + 3e-5;
  EXPECT_NEAR(seconds(), expected, 1e-10);

  // lengths 100 and 300: half of the way from a batch of 200s to one of 300s
  plan_.sequences.back().computed = 300;
  const double even = planted(16, 0, 2, 200), longest = planted(16, 0, 2, 300);
  expected += 3e-6 * ((even + longest) / 2 - planted(16, 0, 2, 100));
  EXPECT_NEAR(seconds(), expected, 1e-10);
}

TEST_F(TabulatedStep, ASecondChunkAddsWhatItAddsToTheSameDecodes) {
  row(0, 16);
  row(512, 48);
  row(100, 1);
  const double expected =
      planted(16, 0, 1, 100) + planted(48, 512, 1, 100) - planted(16, 0, 1, 100);
  EXPECT_NEAR(seconds(), rest(65, 3) + 3e-6 * expected, 1e-10);
}

TEST_F(TabulatedStep, PadsToTheCapturedGraphsAndWaitsBeyondThem) {
  in_.host = {.per_kernel = 1e-7, .graph_tokens = 32, .beyond_graph = 5e-3};
  for (int i = 0; i < 5; ++i) row(16, 1);
  const double kernels = 3 * 11 * 1e-7;
  EXPECT_NEAR(seconds(), rest(8, 5) + kernels + 3e-6 * planted(0, 0, 5, 16), 1e-10);
  row(0, 28);  // 33 tokens: more than any graph has
  EXPECT_NEAR(seconds(), rest(33, 6) + kernels + 3e-6 * planted(28, 0, 5, 16) + 5e-3, 1e-10);

  const HostOverhead host = host_overhead::vllm_0_19(128, 1);
  for (const auto& [tokens, padded] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {2, 2}, {3, 4}, {5, 8}, {8, 8}, {121, 128}, {256, 256}, {257, 257}}) {
    EXPECT_EQ(host.padded(tokens), Tokens{padded}) << tokens;
  }
  EXPECT_EQ(host_overhead::vllm_0_19(256, 1).padded(257), Tokens{272});
  EXPECT_EQ(host_overhead::vllm_0_19(1024, 1).padded(513), Tokens{513});
  EXPECT_EQ(host_overhead::vllm_0_19(128, 2).beyond_graph, Seconds{0.0});
}

TEST_F(TabulatedStep, SendsActivationsAndLogitsBetweenDevices) {
  row(16, 1);
  row(16, 1);
  const double alone = seconds();
  in_.tensor_parallel = 2;
  in_.hardware.reduce_latency = 1e-5;
  in_.hardware.reduce_bandwidth = 1e9;
  const double reduce = 1e-5 + 2.0 * 2 * 64 / 1e9, gather = 1e-5 + 0.5 * 2.0 * 2 * 1000 / 1e9;
  EXPECT_NEAR(seconds(), alone + (2 * 3 + 1) * reduce + gather, 1e-12);
}

TEST(Tabulated, RefusesToGuessWithoutAProfile) {
  EXPECT_THROW(cost_model::Tabulated{CostInputs{}}, Error);
}

/// Files of the layouts in which others published their times; see profile_layouts.hpp.
class OtherLayouts : public ::testing::Test {
 protected:
  OtherLayouts() {
    std::string header = "num_tokens,num_tensor_parallel_workers";
    for (const char* op : {"emb", "input_layernorm", "attn_pre_proj", "attn_rope", "attn_post_proj",
                           "mlp_up_proj", "mlp_act", "mlp_down_proj", "add"}) {
      header += ",time_stats." + std::string(op) + ".median";
    }
    dir_.write("mlp.csv", header +
                              "\n64,1,1,2,3,4,5,6,7,8,9\n128,1,2,4,6,8,10,12,14,16,18\n"
                              "64,2,9,9,9,9,9,9,9,9,9\n");
    std::string layers = "layer_name,input,kv_cache,tp_size,latency(ns)\n";
    for (const char* op : {"embedding", "q_proj", "k_proj", "v_proj", "rope", "o_proj", "gate_proj",
                           "up_proj", "act_fn", "down_proj", "input_layernorm", "post_layernorm",
                           "final_layernorm", "lm_head", "attn"}) {
      layers += std::string(op) + ",1,0,1,1000\n" + op + ",9,0,1,9000\n";
    }
    dir_.write("layers.csv", layers);
    dir_.write("decode.csv",
               "dtype,kv_dtype,batch_size,kv_len,latency_us,mfu\nbf16,bf16,1,100,10,0\n"
               "bf16,bf16,1,200,20,0\nbf16,bf16,4,100,40,0\nbf16,bf16,4,200,80,0\n"
               "bf16,bf16,8,100,70,0\n");
    dir_.write("prefill.csv", "dtype,seq_len,latency_us,mfu\nbf16,100,10,0\nbf16,300,70,0\n");
  }
  [[nodiscard]] OperatorProfile read(const std::vector<const char*>& names,
                                     std::int64_t devices = 1) const {
    std::vector<std::string> files;
    for (const char* name : names) files.push_back((dir_.path() / name).string());
    return read_profile_files(files, devices);
  }
  TempDir dir_;
};

TEST_F(OtherLayouts, AreToldApartByTheirFirstLines) {
  const OperatorProfile vidur = read({"mlp.csv"});
  EXPECT_NEAR(vidur.dense("gate_up_proj", 96), 9e-3, 1e-12);  // milliseconds
  EXPECT_NEAR(vidur.dense("layernorm", 64), 11e-3, 1e-12);    // with its residual
  EXPECT_NEAR(read({"mlp.csv"}, 2).dense("o_proj", 64), 9e-3, 1e-12);
  EXPECT_FALSE(vidur.has("lm_head") || vidur.has_decodes());
  const OperatorProfile first = read({"layers.csv", "decode.csv"});
  EXPECT_NEAR(first.dense("qkv_proj", 5), 3 * 5e-6, 1e-12);  // nanoseconds, three projections
  EXPECT_NEAR(first.dense("layernorm", 1), 1e-6, 1e-12);     // the mean of two
  EXPECT_NEAR(first.per_sequence("lm_head", 9), 9e-6, 1e-12);
  EXPECT_NEAR(first.attention(9, 0, 0, 0), 9e-6,
              1e-12);  // its prompts, since no other file has any
  EXPECT_NEAR(first.attention(0, 0, 2, 150), 30e-6,
              1e-11);  // 8 sequences: not at 200 tokens, left out
  const OperatorProfile both = read({"decode.csv", "prefill.csv", "layers.csv"});
  EXPECT_NEAR(both.attention(200, 0, 0, 0), 40e-6, 1e-12);
  EXPECT_NEAR(both.attention(100, 200, 0, 0), 30e-6, 1e-12);  // what the last hundred of 300 add
  EXPECT_NEAR(both.attention(200, 0, 4, 100), 80e-6, 1e-12);  // never measured together: both
}

TEST_F(OtherLayouts, AreRefusedWithFileLineAndReason) {
  dir_.write("reduce.csv", ",time_stats.all_reduce.median,size\n0,1,2\n");
  dir_.write("bad.csv", "batch_size,kv_len,latency_us\n1,100,0\n");
  for (const auto& [file, devices, says] : {std::tuple{"reduce.csv", 1, "is of no layout"},
                                            {"bad.csv", 1, "line 2"},
                                            {"none.csv", 1, "cannot be read"},
                                            {"mlp.csv", 4, "no row for 4 devices"},
                                            {"layers.csv", 2, "no row for 2 devices"}}) {
    try {
      (void)read({file}, devices);
      ADD_FAILURE() << file;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(file), std::string::npos) << e.what();
    }
  }
}

TEST_F(OtherLayouts, WhatTheyLackIsNamedOrPricedByTheRoofline) {
  CostInputs in{.model = model::llama3_8b,
                .hardware = hardware::h100,
                .storage = {.kv_token_bytes = 131072},
                .host = {}};
  in.profile = std::make_shared<const OperatorProfile>(read({"mlp.csv", "decode.csv"}));
  try {
    const cost_model::Tabulated refused(in);
    FAIL();
  } catch (const Error& e) {
    for (const char* lack : {"final_layernorm", "lm_head", "sampler", "attention of prompts"}) {
      EXPECT_NE(std::string(e.what()).find(lack), std::string::npos) << e.what();
    }
    EXPECT_EQ(std::string(e.what()).find("o_proj"), std::string::npos) << e.what();
  }
  in.rest_by_roofline = true;
  in.profile = std::make_shared<const OperatorProfile>();
  StepPlan plan;
  for (const std::int64_t tokens : {512, 1, 1}) {
    SequencePlan s;
    s.computed = tokens == 1 ? 800 : 0;
    s.tokens = tokens;
    s.draws = 1;
    plan.sequences.push_back(s);
    plan.batched_tokens += Tokens{tokens};
  }
  // without a table it is the roofline, up to the few operators that are counted apart here
  const StepCost whole = cost_model::Roofline(in).cost(plan);
  const StepCost pieces = cost_model::Tabulated(in).cost(plan);
  EXPECT_NEAR(pieces.seconds.value, whole.seconds.value, 0.04 * whole.seconds.value);
  EXPECT_NEAR(pieces.joules.value, whole.joules.value, 0.04 * whole.joules.value);
  EXPECT_GT(pieces.joules.value, 0);
}

}  // namespace
}  // namespace quire::testing
