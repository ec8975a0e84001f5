#include "tests/common/cpu_steps.hpp"

namespace quire::executor {

template class Cpu::Steps<kv_format::Fp16, weight_format::Fp16>;
template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32>;
template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                          AttendsKept<retention::AllVotes, retention::Scope::head, false>>;
template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                          AttendsKept<retention::LastVote, retention::Scope::layer, false>>;
template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                          AttendsKept<retention::NoVotes, retention::Scope::sequence, false>>;
template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                          AttendsKept<retention::NoVotes, retention::Scope::sequence, true>>;
template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                          AttendsKept<retention::LowVotes, retention::Scope::head, false>>;
template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                          AttendsKept<retention::PromptEndVotes, retention::Scope::head, false>>;
template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32, AttendsPages<retention::Quest>>;

}  // namespace quire::executor
