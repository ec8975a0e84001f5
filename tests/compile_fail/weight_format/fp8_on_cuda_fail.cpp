// expect: quire: weight_format: the CUDA executor has products for weights without scales, and
// expect: quire: retention: the CUDA executor turns a query once for all layers and heads: a
#include <string_view>

#include <quire/executor/cuda.cuh>
#include <quire/kernels/dense/loops.cuh>
#include <quire/kv_format/fp32.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/retention/streaming_llm.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/fp8_w8a8.hpp>
#include <quire/weight_format/linear_only.hpp>

// Two slots in one file: its headers take longer than what is wrong. Layers that keep other tokens each
// would see the same query from other distances.
struct PerLayer : quire::retention::StreamingLlm {
  using StreamingLlm::StreamingLlm;
  static constexpr auto scope = quire::retention::Scope::layer;
};
#ifdef QUIRE_FIXED
using Mine = quire::weight_format::Fp32;
using Kept = quire::retention::StreamingLlm;
#else
using Mine = quire::weight_format::LinearOnly<quire::weight_format::Fp8W8a8>;
using Kept = PerLayer;
#endif

struct Variant : quire::presets::Vllm {
  static constexpr std::string_view name = "vllm+kept";
  using Retention = Kept;
};

using Executor = quire::executor::BasicCuda<float, quire::kernels::LoopProduct, 16>;

int main() {
  const auto blocks = Executor::geometry<Variant>({}).device_blocks.value;
  return static_cast<int>(sizeof(Executor::Steps<quire::kv_format::Fp32, Mine, 16>)) +
         static_cast<int>(blocks);
}
