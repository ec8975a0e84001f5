// What cuDNN makes of attention over Quire's blocks, without a device: for descriptions of an H200, an
// A100 and a V100, whether it has an engine for each shape of kernels/device/measure.cu, down to the
// compiled kernel. check.py builds and runs this.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include <quire/kernels/cudnn_attention/plan.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp16.hpp>

namespace {

using namespace quire;
using namespace quire::kernels;
using cudnn::AttentionShape;
using cudnn::Mask;

int wrong = 0;

void expect(bool good, const std::string& what) {
  if (good) return;
  ++wrong;
  std::printf("WRONG: %s\n", what.c_str());
}

/// A device as cuDNN describes it: what its engines ask about one.
struct Description {
  std::string_view name;
  int capability, multiprocessors, shared_bytes, l2_bytes;
  std::string_view memory_bytes;

  [[nodiscard]] std::string json() const {
    const auto n = [](int x) { return std::to_string(x); };
    return R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],)"
           R"("regsPerBlock":65536,"multiProcessorCount":)" +
           n(multiprocessors) +
           R"(,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":)" +
           n(shared_bytes) +
           R"(,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":32,)"
           R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,)"
           R"("supportCoopLaunch":1,"totalGlobalMem":)" +
           std::string(memory_bytes) +
           R"(,"smClockRateKHz":1410000,"memClockRateKHz":1593000,"l2CacheSize":)" + n(l2_bytes) +
           R"(,"cudaDeviceId":0,"deviceVer":)" + n(capability) +
           R"(,"driverVer":13000,"deviceName":")" + std::string(name) + "\"}";
  }
};

/// Keys and values of `layers` layers in one pool, as engines have them.
template <class Key>
AttentionShape shape_of(Mask mask, std::int64_t sequences, std::int64_t queries,
                        std::int64_t tokens, std::int64_t group) {
  constexpr std::uint32_t kv_heads = 8, layers = 3;
  const std::int64_t blocks = (tokens + Key::block_tokens - 1) / Key::block_tokens;
  const KvPool pool{nullptr, std::size_t{layers} * 2 * kv_heads * Key::slab_bytes, kv_heads};
  AttentionShape s = cudnn::shape_of<Key>(pool, static_cast<std::size_t>(sequences * blocks));
  s.mask = mask;
  s.sequences = sequences;
  s.queries = queries;
  s.tokens = tokens;
  s.heads = kv_heads * group;
  s.q_stride = s.out_stride = s.heads * s.head_dim;
  s.table_stride = blocks;
  return s;
}
template <unsigned head_dim, unsigned block = 16>
using Bf16Key = KernelKey<kv_format::Bf16, block, head_dim, Bf16>;
using HalfKey = KernelKey<kv_format::Fp16, 16, 128, Fp16>;

struct Counted {
  const cudnn::Descriptor& device;
  std::string_view name;
  int plans = 0;

  void has(const AttentionShape& shape) {
    const cudnn::Plan plan = cudnn::make_plan(shape, {.device = &device});
    ++plans;
    std::printf("%.*s: %s: %s\n", static_cast<int>(name.size()), name.data(), shape.name().c_str(),
                plan.execution ? ("workspace " + std::to_string(plan.workspace_bytes)).c_str()
                               : plan.incompatible.c_str());
    std::fflush(stdout);
    expect(plan.execution.has_value(), plan.incompatible);
  }
};

template <unsigned head_dim>
void each_kind(Counted& device) {
  device.has(shape_of<Bf16Key<head_dim>>(Mask::whole, 16, 1, 4096, 4));
  device.has(shape_of<Bf16Key<head_dim>>(Mask::from_start, 1, 4096, 4096, 4));
  device.has(shape_of<Bf16Key<head_dim>>(Mask::from_end, 2, 512, 4096, 4));
}

/// Where cuDNN is told that an element lies, and where our kernels find it.
template <class Key>
void check_layout() {
  const AttentionShape s = shape_of<Key>(Mask::whole, 1, 1, 100, 4);
  const KvPool pool{nullptr, static_cast<std::size_t>(s.block_stride) * 2, 8};
  for (const std::uint32_t block : {0u, 1u, 5u}) {
    for (const unsigned head : {0u, 3u, 7u}) {
      for (const unsigned slot : {0u, Key::block_tokens - 1}) {
        const std::int64_t there =
            2 * (block * s.block_stride + head * s.slab_stride + slot * s.head_dim);
        const auto at = [](const auto* p) { return reinterpret_cast<std::int64_t>(p); };
        const std::int64_t key = at(Key::row(Key::key_slab(pool, block, head), slot)),
                           value = at(Key::row(Key::value_slab(pool, block, head), slot));
        expect(at(Key::key_slab(pool, 0, 0)) + there == key, "a key lies elsewhere");
        expect(at(Key::value_slab(pool, 0, 0)) + there == value, "a value lies elsewhere");
      }
    }
  }
}

void check_refusals(const cudnn::Descriptor& device, const cudnn::Descriptor& older) {
  const auto refused = [](const cudnn::Descriptor& d, const AttentionShape& s,
                          std::string_view why) {
    const cudnn::Plan plan = cudnn::make_plan(s, {.device = &d});
    std::printf("refused: %s\n", plan.incompatible.c_str());
    expect(!plan.execution && plan.incompatible.find(why) != std::string::npos,
           s.name() + ": expected to be refused with: " + std::string(why));
  };
  const AttentionShape good = shape_of<Bf16Key<128>>(Mask::whole, 2, 1, 300, 4);
  AttentionShape s = good;
  s.type = CUDNN_DATA_FLOAT;
  refused(device, s, "bf16 and fp16 alone");
  s = good;
  s.heads = 12;
  refused(device, s, "multiple of those of keys and values");
  s = good;
  s.head_dim = 100;
  refused(device, s, "multiple of 8");
  s = good;
  s.tokens = 0;
  refused(device, s, "at least one sequence, query, token and block");
  refused(older, good, "has no engine for cudnn attention bf16 2 x 1 queries");
  try {
    (void)cudnn::described_device("{}");
    expect(false, "a device without a description is taken");
  } catch (const Error& e) {
    std::printf("refused: %s\n", e.what());
    expect(std::string_view(e.what()).find("cudnnBackendFinalize") != std::string_view::npos,
           "the error names no call");
  }
}

}  // namespace

int main() {
  try {
    check_layout<Bf16Key<64>>();
    check_layout<Bf16Key<256, 1>>();
    check_layout<HalfKey>();
    const cudnn::Descriptor h200 = cudnn::described_device(
        Description{"NVIDIA H200", 900, 132, 232448, 62914560, "150000000000"}.json());
    const cudnn::Descriptor a100 = cudnn::described_device(
        Description{"NVIDIA A100-SXM4-80GB", 800, 108, 166912, 41943040, "85000000000"}.json());
    const cudnn::Descriptor v100 = cudnn::described_device(
        Description{"Tesla V100-SXM2-16GB", 700, 80, 98304, 6291456, "17000000000"}.json());
    Counted hopper{h200, "sm_90"}, ampere{a100, "sm_80"};
    each_kind<64>(hopper);
    each_kind<128>(hopper);
    each_kind<256>(hopper);
    hopper.has(shape_of<HalfKey>(Mask::whole, 16, 1, 4096, 4));
    hopper.has(shape_of<HalfKey>(Mask::from_start, 1, 8192, 8192, 4));
    for (const std::int64_t group : {1, 8}) {
      hopper.has(shape_of<Bf16Key<128>>(Mask::whole, 64, 1, 1024, group));
    }
    hopper.has(shape_of<Bf16Key<128>>(Mask::whole, 1, 1, 65536, 4));
    hopper.has(shape_of<Bf16Key<128>>(Mask::whole, 256, 1, 16384, 8));  // a pool of 48 GiB
    hopper.has(shape_of<Bf16Key<128>>(Mask::whole, 2, 1, 100, 1));      // a block that is not full
    hopper.has(shape_of<Bf16Key<128, 1>>(Mask::whole, 2, 1, 4096, 4));
    hopper.has(shape_of<Bf16Key<128, 256>>(Mask::whole, 2, 1, 4096, 4));
    hopper.has(shape_of<Bf16Key<128, 64>>(Mask::from_start, 1, 300, 300, 4));
    each_kind<64>(ampere);
    each_kind<128>(ampere);
    check_refusals(h200, v100);
    std::printf("cuDNN %zu: %d plans, %d wrong\n", cudnnGetVersion(), hopper.plans + ampere.plans,
                wrong);
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
  return wrong == 0 ? 0 : 1;
}
