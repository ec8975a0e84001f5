#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

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

/// Writes rows as JSON lines; `common` is what every row carries (device, driver, clocks, flags).
class Rows {
 public:
  Rows(const char* path, std::string common)
      : file_(std::fopen(path, "a")), common_(std::move(common)) {
    if (file_ == nullptr)
      throw usage_error(path, "cannot be written", "a path in a folder that is");
  }
  ~Rows() { std::fclose(file_); }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;

  /// \unit value and ceiling: bytes or operations a second
  void add(const std::string& kernel, const std::string& what, double seconds, double value,
           const std::string& ceiling_name, double ceiling, bool correct, double error) {
    std::fprintf(file_,
                 "{\"schema\":\"quire.result/1\",\"mode\":\"measured\",\"kernel\":\"%s\","
                 "\"case\":\"%s\",\"seconds\":%.9g,\"value\":%.6g,\"ceiling\":\"%s\","
                 "\"ceiling_value\":%.6g,\"ratio\":%.4f,\"correct\":%s,\"worst_error\":%.3g,%s}\n",
                 kernel.c_str(), what.c_str(), seconds, value, ceiling_name.c_str(), ceiling,
                 ceiling > 0 ? value / ceiling : 1.0, correct ? "true" : "false", error,
                 common_.c_str());
    std::fflush(file_);
    std::printf("%-22s %-52s %9.2f us  %8.3g/s  %5.3f of %s%s\n", kernel.c_str(), what.c_str(),
                seconds * 1e6, value, ceiling > 0 ? value / ceiling : 1.0, ceiling_name.c_str(),
                correct ? "" : "  WRONG");
    wrong_ += correct ? 0 : 1;
  }
  [[nodiscard]] int wrong() const { return wrong_; }

 private:
  std::FILE* file_;
  std::string common_;
  int wrong_ = 0;
};

}  // namespace quire::device
