#pragma once

#include <algorithm>
#include <limits>

#include <quire/metrics/request_record.hpp>

namespace quire::metrics {

/// What a reader expects: the first token after `ttft`, then `speed` tokens a second.
struct Expectation {
  Seconds ttft = 1.0;
  double speed = 4.8;  // tokens/s
};

/// Quality of experience of one request: 1 - S_delay / S_whole, where S_whole is the area under the
/// expected curve of tokens over time, up to the time at which the reader has read the last one, and
/// S_delay what the actual curve lacks of it. A reader reads at the expected speed, never before a token is
/// there and never before it was expected: tokens that come early gain nothing. NaN without token times.
/// \source Liu et al., "Andes", arXiv 2404.16283, section 3.
[[nodiscard]] inline double qoe(const RequestRecord& r, const Expectation& expected = {}) {
  if (r.token_times.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double gap = 1 / expected.speed;
  double read = -std::numeric_limits<double>::infinity(), due = expected.ttft.value;
  double read_sum = 0, due_sum = 0;
  for (const double time : r.token_times) {
    read = std::max({time - r.arrival.value, due, read + gap});
    read_sum += read;
    due_sum += due;
    due += gap;
  }
  const double whole = static_cast<double>(r.token_times.size()) * read - due_sum;
  return whole > 0 ? 1 - (read_sum - due_sum) / whole : 1;
}

}  // namespace quire::metrics
