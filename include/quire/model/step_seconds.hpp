#pragma once

#include <chrono>

namespace quire::model {

/// Where steps spent their time, added up; the rest of a step is norms, residuals, activations that stand apart from
/// their product, rotary embedding that is not fused, and the batch's assembly. \unit seconds
struct StepSeconds {
  double products = 0;   // of the layers, with what is fused into them
  double attention = 0;  // with cache writes, and rotary embedding where it is fused
  double head = 0;       // the output matrix
  double sampling = 0;
};

/// Adds the time that it lives.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  double& seconds_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace quire::model
