// Compiled, not run: cuDNN's attention over blocks of bf16 and fp16, as programs on devices have it.
#include <quire/kernels/cudnn_attention/cudnn_attention.cuh>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/fp16.hpp>

template <class Key>
void attend(quire::kernels::CudnnAttention& library,
            const quire::kernels::CudnnAttentionArguments<Key>& arguments) {
  const auto shape = quire::kernels::cudnn::shape_of<Key>(arguments.cache, 1);
  if (library.incompatible(shape).empty()) library.bind<Key>(shape, arguments)();
}

void attend_each(quire::kernels::CudnnAttention& library) {
  using namespace quire;
  attend<kernels::KernelKey<kv_format::Bf16, 16, 128, Bf16>>(library, {});
  attend<kernels::KernelKey<kv_format::Fp16, 16, 64, Fp16>>(library, {});
}
