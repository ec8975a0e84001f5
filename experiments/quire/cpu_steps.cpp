#include <experiments/quire/cpu_steps.hpp>

namespace quire::executor {

template class Cpu::Steps<kv_format::Fp32, weight_format::Fp32>;
template class Cpu::Steps<kv_format::Packed, weight_format::Fp32>;

}  // namespace quire::executor
