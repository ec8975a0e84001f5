// expect: quire: attention: a variant has name, first_visible(position),
// expect: quire: attention: a variant's logit() is not called without
// expect: quire: attention: a variant needs a name of its own
// expect: quire: retention: it attends in its own way
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <quire/attention/causal.hpp>
#include <quire/executor/cpu_attention.hpp>
#include <quire/presets/presets.hpp>
#include <quire/retention/streaming_llm.hpp>

// It starts from nothing, and says less than kernels ask.
struct Bare {
  static constexpr std::string_view name = "bare";
#ifdef QUIRE_FIXED
  static constexpr bool transforms_logits = false, has_sink = false;
  template <class Math>
  typename Math::Value logit(Math, typename Math::Value s, std::size_t,
                             typename Math::Value) const {
    return s;
  }
  float sink_logit(std::size_t) const { return 0; }
#endif
  std::int64_t first_visible(std::int64_t) const { return 0; }
};

// Its logit() would be passed over in silence.
struct Idle : quire::attention::Causal {
  static constexpr std::string_view name = "idle";
#ifdef QUIRE_FIXED
  static constexpr bool transforms_logits = true;
#endif
  template <class Math>
  typename Math::Value logit(Math, typename Math::Value s, std::size_t,
                             typename Math::Value) const {
    return Math::mul(s, Math::set(0.5f));
  }
};

struct Nameless : quire::attention::Causal {
#ifdef QUIRE_FIXED
  static constexpr std::string_view name = "named";
#endif
  std::int64_t first_visible(std::int64_t position) const { return position; }
};

struct Dropping : quire::presets::Vllm {
#ifndef QUIRE_FIXED
  using Retention = quire::retention::StreamingLlm;
#endif
};

int main() {
  using namespace quire::executor;
  using A = CpuAttention<Bare>::Options;
  using B = CpuAttention<Idle>::Options;
  using C = CpuAttention<Nameless>::Options;
  using D = CpuAttention<quire::attention::Causal>::SharedOf<Dropping>::type;
  return static_cast<int>(sizeof(A) + sizeof(B) + sizeof(C) + sizeof(D)) * 0;
}
