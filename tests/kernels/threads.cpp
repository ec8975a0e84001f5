// Kernels with one thread of the operating system a lane, for ThreadSanitizer:
//   simt_threads          correct kernels: no report, and results as expected
//   simt_threads broken   the same without a barrier: a data race is reported
#include <cstdio>
#include <cstring>
#include <vector>

#include <tests/kernels/simt_kernels.hpp>

namespace {
int failures = 0;
void expect(bool good, const char* what) {
  if (good) return;
  std::printf("%s\n", what);
  ++failures;
}
}  // namespace

int main(int argc, char** argv) {
  using namespace quire::simt::testing;
  const bool broken = argc > 1 && std::strcmp(argv[1], "broken") == 0;
  std::vector<float> in(2 * 64, 1.0f), sums(2);
  if (broken) {
    quire::simt::launch<BlockSum<64, true>>({{2}, 8}, {in.data(), sums.data()});
    std::vector<unsigned> ring(64);
    quire::simt::launch<WarpRing<1>>({{1}, 256}, {ring.data()});
    return 0;
  }
  quire::simt::launch<BlockSum<64>>({{2}, 8}, {in.data(), sums.data()});
  expect(sums[0] == 64 && sums[1] == 64, "sums of blocks");
  std::vector<unsigned> ring(64);
  quire::simt::launch<WarpRing<>>({{1}, 256}, {ring.data()});
  bool good = true;
  for (unsigned t = 0; t < 64; ++t) good = good && ring[t] == t / 32 * 32 + (t + 2) % 32;
  expect(good, "values passed round a warp");
  return failures == 0 ? 0 : 1;
}
