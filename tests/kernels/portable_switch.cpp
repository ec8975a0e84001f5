// The fiber back end with the context switch of ucontext.h instead of its own.
#include <cstdio>
#include <numeric>
#include <vector>

#include <tests/kernels/simt_kernels.hpp>

int main() {
  using Kernel = quire::simt::testing::BlockSum<128>;
  std::vector<float> in(5 * 128), out(5);
  std::iota(in.begin(), in.end(), 0.0f);
  quire::simt::launch<Kernel>({{5}, Kernel::shared_bytes}, {in.data(), out.data()});
  for (int b = 0; b < 5; ++b) {
    const float expected = 128.0f * (128.0f * static_cast<float>(b) + 63.5f);
    if (out[static_cast<std::size_t>(b)] != expected) {
      std::printf("block %d: %g, expected %g\n", b,
                  static_cast<double>(out[static_cast<std::size_t>(b)]),
                  static_cast<double>(expected));
      return 1;
    }
  }
  try {
    using Broken = quire::simt::testing::BlockSum<128, true>;
    quire::simt::launch<Broken>({{5}, Broken::shared_bytes}, {in.data(), out.data()});
  } catch (const quire::Error& e) {
    std::printf("noticed: %s\n", e.what());
    return 0;
  }
  std::printf("a missing barrier was not noticed\n");
  return 1;
}
