#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <quire/core/error.hpp>

namespace quire::metrics {

/// Counts of values in buckets, 512 between a power of two and the next: mean and standard deviation are
/// exact, any percentile is interpolated between values of the two ranks beside it, each known within
/// 0.1 %, in constant memory however many values there are. Values below 2^-30 count as the smallest,
/// those from 2^37 on as the largest. \cost add O(1): a shift. At most 34,304 counters, taken as used.
/// \source Masson, Rim, Lee, "DDSketch", VLDB '19, with the linear interpolation of the logarithm that is
/// in the bits of a double. Deviation: a dense array, since metrics of a run span few decades.
class QuantileSketch {
 public:
  static constexpr double accuracy = 1e-3;

  /// Adds a value that occurred `count` times. \pre value >= 0
  void add(double value, std::int64_t count = 1) {
    if (!(value >= 0)) throw usage_error("sketch", "it takes no negative value", "0 or more");
    const auto n = static_cast<double>(count);
    add_squares(n, value, 0);
    count_ += count;
    sum_ += n * value;
    smallest_ = std::min(smallest_, value);
    largest_ = std::max(largest_, value);
    if (value < least) {
      zeros_ += count;
      return;
    }
    const std::size_t at =
        std::min((std::bit_cast<std::uint64_t>(value) >> dropped_bits) - first, most);
    if (at >= counts_.size()) counts_.resize(at + 1, 0);
    counts_[at] += count;
  }
  void merge(const QuantileSketch& other) {
    if (other.counts_.size() > counts_.size()) counts_.resize(other.counts_.size(), 0);
    for (std::size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
    zeros_ += other.zeros_;
    add_squares(static_cast<double>(other.count_), other.center_, other.squares_);
    count_ += other.count_;
    sum_ += other.sum_;
    smallest_ = std::min(smallest_, other.smallest_);
    largest_ = std::max(largest_, other.largest_);
  }

  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] double mean() const {
    return count_ > 0 ? sum_ / static_cast<double>(count_) : nothing;
  }
  [[nodiscard]] double standard_deviation() const {
    return count_ == 0 ? nothing : std::sqrt(squares_ / static_cast<double>(count_));
  }
  [[nodiscard]] double max() const { return count_ > 0 ? largest_ : nothing; }
  /// NaN without values. \errors usage error: percent outside [0, 100].
  [[nodiscard]] double percentile(double percent) const {
    if (!(percent >= 0 && percent <= 100)) {
      throw usage_error("percentile", std::to_string(percent) + " is none", "from 0 to 100");
    }
    if (count_ == 0) return nothing;
    const double place = percent / 100 * static_cast<double>(count_ - 1);
    const auto rank = static_cast<std::int64_t>(place);
    const double below = at_rank(rank), share = place - static_cast<double>(rank);
    return share > 0 ? below + share * (at_rank(rank + 1) - below) : below;
  }
  [[nodiscard]] double median() const { return percentile(50); }

 private:
  /// Joins n values about `center`, whose squared distances from it sum to `squares`: squares of the values
  /// themselves would lose a deviation that is small beside the mean. \pre before count_ has them
  /// \source Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm", 1979.
  void add_squares(double n, double center, double squares) {
    if (n <= 0) return;
    const double before = static_cast<double>(count_), share = n / (before + n);
    const double apart = center - center_;
    squares_ += squares + apart * apart * before * share;
    center_ += apart * share;
  }

  /// The value of rank 0 to count - 1, within the accuracy.
  [[nodiscard]] double at_rank(std::int64_t rank) const {
    std::int64_t seen = zeros_;
    if (rank < seen) return smallest_;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (rank < seen && i < most) {
        const double middle = (lower_bound(i) + lower_bound(i + 1)) / 2;
        return std::clamp(middle, smallest_, largest_);
      }
    }
    return largest_;
  }

  static constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  static constexpr double least = 0x1p-30;
  static constexpr int dropped_bits = 52 - 9;  // a bucket is at most 1/512 of its values wide
  static constexpr std::uint64_t first = std::bit_cast<std::uint64_t>(least) >> dropped_bits;
  static constexpr std::size_t most =
      (std::bit_cast<std::uint64_t>(0x1p37) >> dropped_bits) - first;
  [[nodiscard]] static double lower_bound(std::size_t bucket) {
    return std::bit_cast<double>((first + bucket) << dropped_bits);
  }

  std::vector<std::int64_t> counts_;
  std::int64_t count_ = 0, zeros_ = 0;
  double sum_ = 0, center_ = 0, squares_ = 0;  // squares: of distances from the center, the mean
  double smallest_ = std::numeric_limits<double>::infinity(), largest_ = 0;
};

}  // namespace quire::metrics
