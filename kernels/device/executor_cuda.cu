// Plays the small models on the device and on the processor: executor_cuda MODELS ROWS.jsonl
// COMMON-JSON. Decisions and greedy tokens must be equal where both compute in fp32; with 16-bit
// activations and cuBLASLt the decisions must be, and how many tokens agree is a row.
#include <cstddef>
#include <cstdio>
#include <string>
#include <type_traits>

#include <kernels/device/play.hpp>
#include <quire/executor/cuda.cuh>
#if __has_include(<nccl.h>)
#include <quire/executor/nccl.cuh>
#endif
#include <quire/kernels/dense/cublaslt.cuh>
#include <quire/kernels/dense/loops.cuh>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>

// Compiled, not played: the small models' heads are too narrow for packed codes.
using FourBits = quire::weight_format::LinearOnly<quire::weight_format::Int4Grouped<128>>;
template class quire::executor::BasicCuda<quire::Bf16, quire::kernels::CublasLtProduct, 128>::Steps<
    quire::kv_format::Int4PerTokenHead, FourBits, 16>;

namespace quire::device {
Log play_on_cpu(const std::filesystem::path& models, const Case& c);
}  // namespace quire::device

namespace {

using namespace quire;
using Exact = executor::BasicCuda<float, kernels::LoopProduct, 8, 16>;
#if __has_include(<nccl.h>)
using Ranks = executor::Nccl;  // the only one
#else
using Ranks = executor::Alone;
#endif
using Fast = executor::ParallelCuda<Fp16, kernels::CublasLtProduct, Ranks, 8, 16>;

struct Outcome {
  std::size_t steps = 0, tokens = 0, equal_tokens = 0;
  bool decisions = false, records = false;
};
Outcome compare(const device::Log& a, const device::Log& b) {
  Outcome o{a.decisions.size(), a.tokens.size(), 0, a.decisions == b.decisions,
            a.records == b.records};
  for (std::size_t i = 0; i < a.tokens.size() && i < b.tokens.size(); ++i) {
    o.equal_tokens += a.tokens[i] == b.tokens[i] ? 1 : 0;
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: executor_cuda MODELS ROWS.jsonl COMMON-JSON\n");
    return 2;
  }
  std::FILE* rows = std::fopen(argv[2], "a");
  if (rows == nullptr) {
    std::fprintf(stderr, "%s cannot be written\n", argv[2]);
    return 2;
  }
  int wrong = 0;
  const auto add = [&](const char* name, const device::Case& c, const Outcome& o, bool right) {
    std::fprintf(rows,
                 "{\"schema\":\"quire.result/1\",\"mode\":\"measured\",\"kernel\":\"%s\",\"case\":"
                 "\"%s %s\",\"steps\":%zu,\"tokens\":%zu,\"equal_tokens\":%zu,"
                 "\"equal_decisions\":%s,\"correct\":%s,%s}\n",
                 name, c.preset.c_str(), c.model.c_str(), o.steps, o.tokens, o.equal_tokens,
                 o.decisions ? "true" : "false", right ? "true" : "false", argv[3]);
    std::printf("%s %s %s: %zu of %zu tokens equal, decisions of %zu steps %s\n", name,
                c.preset.c_str(), c.model.c_str(), o.equal_tokens, o.tokens, o.steps,
                o.decisions ? "equal" : "DIFFER");
    wrong += right ? 0 : 1;
  };
  for (const device::Case& c : device::cases()) {
    try {
      const device::Log cpu = device::play_on_cpu(argv[1], c);
      const device::Log exact = device::play<Exact>(argv[1], c);
      const Outcome o = compare(cpu, exact);
      const bool fetched = c.preset != "tiered" || (cpu.host_fetched > 0 && cpu.disk_fetched > 0);
      add("executor_cuda fp32", c, o,
          o.decisions && o.records && o.tokens > 80 && exact.tokens == cpu.tokens && fetched &&
              (!c.preempts || cpu.counters.preemptions > 0));
      if (!c.plain()) continue;
      const Outcome f = compare(cpu, device::play_plain<Fast>(argv[1], c));
      add(std::is_same_v<Ranks, executor::Alone> ? "executor_cuda fp16 cublaslt"
                                                 : "executor_cuda fp16 cublaslt nccl",
          c, f, f.decisions && f.records);
    } catch (const Error& e) {
      std::fprintf(stderr, "%s %s: %s\n", c.preset.c_str(), c.model.c_str(), e.what());
      ++wrong;
    }
  }
  std::fclose(rows);
  std::printf("%d wrong\n", wrong);
  return wrong == 0 ? 0 : 1;
}
