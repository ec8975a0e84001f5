#pragma once

#include <quire/executor/cpu.hpp>
#include <quire/kv_format/fp16.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/retention/quest.hpp>
#include <quire/retention/votes.hpp>
#include <quire/weight_format/fp16.hpp>
#include <quire/weight_format/fp32.hpp>

// The CPU executors that several test programs' files use; cpu_steps.cpp compiles them once.
namespace quire::executor {

extern template class Cpu::Steps<kv_format::Fp16, weight_format::Fp16>;
extern template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32>;
extern template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                                 AttendsKept<retention::AllVotes, retention::Scope::head, false>>;
extern template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                                 AttendsKept<retention::LastVote, retention::Scope::layer, false>>;
extern template class Cpu::Steps<
    kv_format::Fp32, weight_format::Fp32,
    AttendsKept<retention::NoVotes, retention::Scope::sequence, false>>;
extern template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                                 AttendsKept<retention::NoVotes, retention::Scope::sequence, true>>;
extern template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                                 AttendsKept<retention::LowVotes, retention::Scope::head, false>>;
extern template class Cpu::Steps<
    kv_format::Fp32, weight_format::Fp32,
    AttendsKept<retention::PromptEndVotes, retention::Scope::head, false>>;
extern template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32,
                                 AttendsPages<retention::Quest>>;

}  // namespace quire::executor
