// A kernel of the installed package, which a host's compiler runs on the emulator.
#include <cstdint>
#include <iostream>
#include <span>
#include <vector>

#include <quire/kernels/block_primitives.cuh>
#include <quire/kernels/rms_norm/rms_norm.cuh>
#include <quire/simt/device_array.cuh>
#include <quire/simt/device_facts.cuh>
#include <quire/simt/streams.cuh>

int main() {
  using Norm = quire::kernels::RmsNorm<float, quire::kernels::PortableBlock<64>>;
  const std::vector<float> row{3, 4}, scale{1, 2};
  quire::simt::DeviceArray<float> stream{std::span(row)}, scales{std::span(scale)}, out(2);
  Norm::Params params;
  params.stream = stream.data();
  params.scale = scales.data();
  params.out = out.data();
  params.width = 2;
  quire::simt::launch<Norm>({{1}, Norm::shared_bytes}, params);
  quire::simt::synchronise_device();
  std::vector<float> got(2);
  out.download(got);
  std::cout << quire::simt::device_facts().name << ": " << got[0] << ' ' << got[1] << '\n';
  // 3 and 2 * 4 over the root of (9 + 16) / 2
  return got[0] > 0.848f && got[0] < 0.849f && got[1] > 2.262f && got[1] < 2.263f ? 0 : 1;
}
