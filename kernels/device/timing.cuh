#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include <kernels/device/result_rows.hpp>
#include <quire/simt/simt.cuh>

namespace quire::device {

/// Median seconds of one call, each between two events of its own; `call` gets the number of the
/// call, so that it can take another buffer each time and find the caches cold.
inline double seconds_of(const std::function<void(int)>& call, int warm = 5, int calls = 31) {
  for (int i = 0; i < warm; ++i) call(i);
  std::vector<cudaEvent_t> begin(static_cast<std::size_t>(calls)), end(begin.size());
  for (std::size_t i = 0; i < begin.size(); ++i) {
    simt::check(cudaEventCreate(&begin[i]), "cudaEventCreate", "timing");
    simt::check(cudaEventCreate(&end[i]), "cudaEventCreate", "timing");
  }
  for (std::size_t i = 0; i < begin.size(); ++i) {
    simt::check(cudaEventRecord(begin[i]), "cudaEventRecord", "timing");
    call(warm + static_cast<int>(i));
    simt::check(cudaEventRecord(end[i]), "cudaEventRecord", "timing");
  }
  simt::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize", "timing");
  std::vector<float> ms(begin.size());
  for (std::size_t i = 0; i < begin.size(); ++i) {
    simt::check(cudaEventElapsedTime(&ms[i], begin[i], end[i]), "cudaEventElapsedTime", "timing");
    cudaEventDestroy(begin[i]);
    cudaEventDestroy(end[i]);
  }
  std::nth_element(ms.begin(), ms.begin() + calls / 2, ms.end());
  return 1e-3 * static_cast<double>(ms[static_cast<std::size_t>(calls / 2)]);
}

}  // namespace quire::device
