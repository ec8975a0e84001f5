// expect: quire: attention: a variant goes to kernels by value
// expect: quire: attention: a variant counts the heads of the whole model
// expect: quire: retention: it attends in its own way
#include <cstddef>
#include <string_view>
#include <vector>

#include <quire/attention/causal.hpp>
#include <quire/executor/cuda_attention.cuh>
#include <quire/kernels/dense/loops.cuh>
#include <quire/presets/vllm.hpp>
#include <quire/retention/streaming_llm.hpp>

struct Listing : quire::attention::Causal {
  static constexpr std::string_view name = "listing";
#ifndef QUIRE_FIXED
  std::vector<float> slopes;  // in the host's memory
#endif
};
struct Last : quire::attention::Causal {
  static constexpr std::string_view name = "last";
};

struct Two {
  static constexpr std::string_view name = "two";
  void sum(float*, std::size_t, quire::simt::Stream) {}
};
struct Dropping : quire::presets::Vllm {
#ifndef QUIRE_FIXED
  using Retention = quire::retention::StreamingLlm;
#endif
};

using namespace quire::executor;
using Whole = BasicCuda<float, quire::kernels::LoopProduct, 16>;
#ifdef QUIRE_FIXED
using Part = Whole;
#else
using Part = ParallelCuda<float, quire::kernels::LoopProduct, Two, 16>;
#endif

int main() {
  static_cast<void>(sizeof(CudaAttention<Listing, Whole>::Options));
  static_cast<void>(sizeof(CudaAttention<Last, Part>::Options));
  static_cast<void>(sizeof(CudaAttention<Last, Whole>::StepsOf<Dropping>));
}
