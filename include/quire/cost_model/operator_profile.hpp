#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/cost_model/profile_rows.hpp>

namespace quire {

/// Measured times of one model's operators on one device: what a tabulated cost model looks up.
///
/// Four tables, one file each, in the layout of LLMServingSim's profiler (times in microseconds):
/// - dense.csv: `layer,tokens,time_us`: operators whose time depends on the tokens of the step;
/// - per_sequence.csv: `layer,sequences,time_us`: the output layer and the sampler;
/// - attention.csv: `prefill_chunk,kv_prefill,n_decode,kv_decode,time_us`: one layer's attention over
///   a batch of one prompt chunk and n_decode sequences of equal length;
/// - skew.csv: `pc,n,ratio,kv_big,kp,alpha` and more: how far the time of a batch of unequal lengths lies
///   between that of its mean and that of its longest length, where `ratio` of the sequences are long;
/// - skew_fit.csv, in its place: the same by buckets, `pc,n_label,skew_rate_label,kv_big_label,kp_label,alpha`.
class OperatorProfile {
 public:
  /// Reads `<prefix>dense.csv` and so on; both skew files may be missing (alpha is 0 then).
  /// \errors quire::Error (data) naming file, line and what was expected.
  static OperatorProfile read(const std::string& prefix) {
    OperatorProfile p;
    p.read_curves(prefix + "dense.csv", "tokens", p.dense_);
    p.read_curves(prefix + "per_sequence.csv", "sequences", p.per_sequence_);
    p.read_attention(prefix + "attention.csv");
    if (!p.read_skew_points(prefix + "skew.csv")) p.read_skew(prefix + "skew_fit.csv");
    return p;
  }

  /// One layer's attention: `chunk` prompt tokens behind `prefix` cached ones, beside `decodes` sequences
  /// of `kv` tokens each.
  struct AttentionTime {
    double chunk = 0, prefix = 0, decodes = 0, kv = 0, time_us = 0;
  };

  /// A profile without times, for readers of other layouts.
  OperatorProfile() = default;
  /// Adds a measured time of an operator. \pre tokens >= 1
  void add_dense(std::string layer, double tokens, double time_us) {
    add(dense_, std::move(layer), tokens, time_us);
  }
  void add_per_sequence(std::string layer, double sequences, double time_us) {
    add(per_sequence_, std::move(layer), sequences, time_us);
  }
  /// Adds measured attention; call once for each file. \errors data error: points that form no grid.
  void add_attention(std::span<const AttentionTime> points, const std::string& place) {
    std::map<double, std::vector<AttentionTime>> prompts, mixed;
    std::vector<AttentionTime> decodes;
    for (const AttentionTime& p : points) {
      if (p.chunk == 0) {
        decodes.push_back(p);
      } else {
        (p.decodes == 0 ? prompts : mixed)[p.chunk].push_back(p);
      }
    }
    if (!decodes.empty()) decodes_ = lattice(decodes, place);
    for (auto& [chunk, of] : prompts) prompts_.emplace_back(chunk, lattice(of, place));
    for (auto& [chunk, of] : mixed) mixed_.emplace_back(chunk, lattice(of, place));
    const auto by_chunk = [](const auto& a, const auto& b) { return a.first < b.first; };
    std::stable_sort(prompts_.begin(), prompts_.end(), by_chunk);
    std::stable_sort(mixed_.begin(), mixed_.end(), by_chunk);
  }
  [[nodiscard]] bool has_decodes() const { return !decodes_.time_us.empty(); }
  [[nodiscard]] bool has_prompts() const { return !prompts_.empty(); }
  /// Whether steps of prompts and decodes were measured together.
  [[nodiscard]] bool has_mixed() const { return !mixed_.empty(); }

  [[nodiscard]] bool has(std::string_view layer) const {
    return dense_.contains(layer) || per_sequence_.contains(layer);
  }
  /// Seconds of a dense operator over `tokens` tokens; linear between measured points, in proportion
  /// beyond the last. \errors quire::Error (data) for an operator that was not measured.
  [[nodiscard]] double dense(std::string_view layer, double tokens) const {
    return curve(dense_, layer, tokens);
  }
  [[nodiscard]] double per_sequence(std::string_view layer, double sequences) const {
    return curve(per_sequence_, layer, sequences);
  }

  /// Seconds of one layer's attention, as AttentionTime has it. Where prompts were measured without cached
  /// tokens alone, a chunk behind some costs what it adds to a prompt computed at once, and at least what it
  /// costs alone; where they were never measured beside decodes, the two are added.
  /// \pre has_prompts() where there is a chunk, has_decodes() where there are decodes
  [[nodiscard]] double attention(double chunk, double prefix, double decodes, double kv) const {
    if (chunk <= 0 && decodes <= 0) return 0;
    if (decodes <= 0) return 1e-6 * prompt(chunk, prefix);
    if (chunk <= 0) return 1e-6 * lookup(decodes_, 0, decodes, kv);
    if (!has_mixed()) return 1e-6 * (prompt(chunk, prefix) + lookup(decodes_, 0, decodes, kv));
    return 1e-6 * over_chunks(mixed_, chunk, prefix, decodes, kv);
  }

  /// Smallest prompt chunk that was measured.
  [[nodiscard]] double smallest_chunk() const { return prompts_.front().first; }

  /// Share of the way from the time of the mean length to that of the longest one that a batch of
  /// unequal lengths takes. The number of sequences picks a row of buckets, since it decides how a
  /// kernel cuts the work; between those it is interpolated, linearly in the rate and in the logarithm
  /// of the other axes. Buckets without a measurement are left out. 0 without a table.
  /// skew_rate: (mean - shortest) / (longest - shortest).
  [[nodiscard]] double alpha(double chunk, double prefix, double decodes, double skew_rate,
                             double longest) const {
    if (alpha_.empty()) return 0;
    const auto log = [](double x) { return std::log2(x); };
    const auto log_prefix = [](double x) { return std::log2(x + 256); };
    const std::array<std::pair<std::size_t, double>, 5> at{
        chunk > 0 ? between(alpha_axes_[0], std::max(chunk, alpha_axes_[0][1]), log)
                  : std::pair<std::size_t, double>{0, 0},
        bucket(alpha_axes_[1], decodes),
        between(alpha_axes_[2], skew_rate, [](double x) { return x; }),
        between(alpha_axes_[3], longest, log),
        chunk > 0 ? between(alpha_axes_[4], prefix, log_prefix)
                  : std::pair<std::size_t, double>{0, 0}};
    double sum = 0, weights = 0;
    for (unsigned corner = 0; corner < 32; ++corner) {
      double weight = 1;
      std::size_t index = 0;
      for (std::size_t a = 0; a < 5; ++a) {
        const bool upper = (corner >> a & 1) != 0;
        weight *= upper ? at[a].second : 1 - at[a].second;
        if (weight == 0) break;
        index = index * alpha_axes_[a].size() + at[a].first + upper;
      }
      if (weight == 0 || std::isnan(alpha_[index])) continue;
      sum += weight * alpha_[index];
      weights += weight;
    }
    return weights > 0 ? sum / weights : 0;
  }

 private:
  using Curves = std::map<std::string, std::vector<std::pair<double, double>>, std::less<>>;
  /// A full grid over (prefix, decodes, kv) at one chunk size. \shape time_us (prefix, decodes, kv)
  struct Lattice {
    std::vector<double> prefix, decodes, kv, time_us;
  };

  // ---- lookup ----------------------------------------------------------------------------------

  static double curve(const Curves& curves, std::string_view layer, double x) {
    const auto found = curves.find(layer);
    if (found == curves.end()) {
      throw data_error("operator profile", "no times for the operator " + std::string(layer),
                       "a profile of the same architecture");
    }
    const auto& points = found->second;
    if (x >= points.back().first) return 1e-6 * points.back().second * x / points.back().first;
    if (x <= points.front().first) return 1e-6 * points.front().second;
    const auto right = std::upper_bound(points.begin(), points.end(), x,
                                        [](double v, const auto& p) { return v < p.first; });
    const auto left = right - 1;
    const double t = (x - left->first) / (right->first - left->first);
    return 1e-6 * (left->second + t * (right->second - left->second));
  }

  /// Position of x on an axis: index of the left point, and how far to the right one.
  static std::pair<std::size_t, double> locate(const std::vector<double>& axis, double x) {
    if (axis.size() == 1 || x <= axis.front()) return {0, 0};
    if (x >= axis.back()) {  // extrapolates along the last cell
      const std::size_t i = axis.size() - 2;
      return {i, (x - axis[i]) / (axis[i + 1] - axis[i])};
    }
    const auto right = std::upper_bound(axis.begin(), axis.end(), x);
    const auto i = static_cast<std::size_t>(right - axis.begin()) - 1;
    return {i, (x - axis[i]) / (axis[i + 1] - axis[i])};
  }
  static double lookup(const Lattice& l, double prefix, double decodes, double kv) {
    const auto [a, ta] = locate(l.prefix, prefix);
    const auto [b, tb] = locate(l.decodes, decodes);
    const auto [c, tc] = locate(l.kv, kv);
    double sum = 0;
    for (std::size_t corner = 0; corner < 8; ++corner) {
      const std::size_t i = corner & 1, j = corner >> 1 & 1, k = corner >> 2;
      const double weight = (i ? ta : 1 - ta) * (j ? tb : 1 - tb) * (k ? tc : 1 - tc);
      if (weight == 0) continue;
      sum += weight * l.time_us[((a + i) * l.decodes.size() + b + j) * l.kv.size() + c + k];
    }
    return sum;
  }
  [[nodiscard]] double prompt(double chunk, double prefix) const {
    const bool measured = std::any_of(prompts_.begin(), prompts_.end(), [](const auto& grid) {
      return grid.second.prefix.size() > 1;
    });
    const double alone = over_chunks(prompts_, chunk, measured ? prefix : 0, 0, 0);
    if (measured || prefix <= 0) return alone;
    return std::max(alone, over_chunks(prompts_, prefix + chunk, 0, 0, 0) -
                               over_chunks(prompts_, prefix, 0, 0, 0));
  }
  /// Linear over the chunk between the nearest measured ones whose grid reaches the point.
  static double over_chunks(const std::vector<std::pair<double, Lattice>>& grids, double chunk,
                            double prefix, double decodes, double kv) {
    const std::pair<double, Lattice>*left = nullptr, *right = nullptr;
    for (const auto& grid : grids) {
      const Lattice& l = grid.second;
      const bool reaches = (kv <= 0 || kv >= l.kv.front()) &&
                           (prefix <= 0 || l.prefix.size() < 2 || prefix >= l.prefix[1]);
      if (!reaches && &grid != &grids.front() &&
          grid.second.kv.size() < grids.front().second.kv.size())
        continue;
      if (grid.first <= chunk && (left == nullptr || grid.first > left->first)) left = &grid;
      if (grid.first >= chunk && (right == nullptr || grid.first < right->first)) right = &grid;
    }
    if (left == nullptr) return lookup(right->second, prefix, decodes, kv);
    const double low = lookup(left->second, prefix, decodes, kv);
    if (left == right) return low;
    if (right == nullptr) return low * chunk / left->first;
    const double high = lookup(right->second, prefix, decodes, kv);
    return low + (high - low) * (chunk - left->first) / (right->first - left->first);
  }

  /// The first point at or above x, else the last.
  static std::pair<std::size_t, double> bucket(const std::vector<double>& axis, double x) {
    const auto at = std::lower_bound(axis.begin(), axis.end(), x) - axis.begin();
    return {std::min(static_cast<std::size_t>(at), axis.size() - 1), 0};
  }
  /// As locate(), on a scale, and constant beyond the ends.
  template <class Scale>
  static std::pair<std::size_t, double> between(const std::vector<double>& axis, double x,
                                                Scale&& scale) {
    if (axis.size() == 1 || x <= axis.front()) return {0, 0};
    if (x >= axis.back()) return {axis.size() - 1, 0};
    const auto right = std::upper_bound(axis.begin(), axis.end(), x);
    const auto i = static_cast<std::size_t>(right - axis.begin()) - 1;
    return {i, (scale(x) - scale(axis[i])) / (scale(axis[i + 1]) - scale(axis[i]))};
  }

  // ---- reading ---------------------------------------------------------------------------------

  template <class Row>
  static bool each_row(const std::string& path, std::initializer_list<std::string_view> names,
                       Row&& row) {
    return detail::each_profile_row(path, std::span(names.begin(), names.size()),
                                    std::forward<Row>(row));
  }
  static double number(std::string_view text, const std::string& place, bool negative = false) {
    return detail::profile_number(text, place, negative);
  }

  void read_curves(const std::string& path, std::string_view what, Curves& out) {
    const bool found = each_row(path, {"layer", what, "time_us"}, [&](auto& f, auto& place) {
      const double x = number(f[1], place);
      if (x < 1) throw data_error(place, "a count below 1", "1 or more");
      out[std::string(f[0])].emplace_back(x, number(f[2], place));
    });
    if (!found || out.empty()) throw data_error(path, "it cannot be read or is empty", "a profile");
    for (auto& [layer, points] : out) std::sort(points.begin(), points.end());
  }

  static void add(Curves& curves, std::string layer, double x, double time_us) {
    auto& points = curves[std::move(layer)];
    const std::pair<double, double> point{x, time_us};
    points.insert(std::upper_bound(points.begin(), points.end(), point), point);
  }

  void read_attention(const std::string& path) {
    std::vector<AttentionTime> points;
    const bool found =
        each_row(path, {"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"},
                 [&](auto& f, auto& place) {
                   points.push_back({number(f[0], place), number(f[1], place), number(f[2], place),
                                     number(f[3], place), number(f[4], place)});
                 });
    if (!found || points.empty()) {
      throw data_error(path, "it cannot be read or is empty", "a profile");
    }
    add_attention(points, path);
    if (!has_decodes() || !has_prompts() || !has_mixed()) {
      throw data_error(path, "it lacks decodes, prompts or mixed batches", "all three");
    }
  }

  /// The largest full grid among the points: an axis value that misses combinations is dropped.
  template <class Points>
  static Lattice lattice(const Points& points, const std::string& path) {
    std::map<std::array<double, 3>, double> at;
    for (const auto& p : points) at[{p.prefix, p.decodes, p.kv}] = p.time_us;
    std::array<std::map<double, std::size_t>, 3> count;
    for (const auto& [key, time] : at) {
      for (std::size_t a = 0; a < 3; ++a) ++count[a][key[a]];
    }
    std::array<std::vector<double>, 3> axes;
    for (;;) {
      std::size_t full = 1;
      for (std::size_t a = 0; a < 3; ++a) {
        axes[a].clear();
        for (const auto& [value, n] : count[a]) axes[a].push_back(value);
        full *= axes[a].size();
      }
      if (full == 0)
        throw data_error(path, "the points form no grid", "every combination measured");
      if (full == at.size()) break;
      // the value with the smallest share of its combinations goes
      std::size_t worst_axis = 0;
      double worst_value = 0, worst = 2;
      for (std::size_t a = 0; a < 3; ++a) {
        const double combinations = static_cast<double>(full) / static_cast<double>(axes[a].size());
        for (const auto& [value, n] : count[a]) {
          const double share = static_cast<double>(n) / combinations;
          if (share < worst) {
            worst = share;
            worst_axis = a;
            worst_value = value;
          }
        }
      }
      std::erase_if(at, [&](const auto& entry) { return entry.first[worst_axis] == worst_value; });
      for (auto& c : count) c.clear();
      for (const auto& [key, time] : at) {
        for (std::size_t a = 0; a < 3; ++a) ++count[a][key[a]];
      }
    }
    Lattice l{axes[0], axes[1], axes[2], {}};
    for (const auto& [key, time] : at) l.time_us.push_back(time);
    return l;
  }

  /// Labels of one axis of the skew table, and the value that stands for each: the profiler's own grid
  /// value for numbers of sequences and prefixes, the mean of its fractions for rates, the middle of
  /// its lengths for the longest.
  struct Labels {
    std::vector<std::string_view> names;
    std::vector<double> centers;
  };

  /// What stands for a bucket of a profile with other bounds: its upper one, or twice the lower one of the
  /// last: `n<=96`, `kp>2k`, `sr<=30%`.
  static double bound_of(std::string_view label, const std::string& place) {
    const auto refuse = [&] {
      return data_error(place, "unknown bucket `" + std::string(label.substr(0, 20)) + "`",
                        "a label of the profiler, such as n<=32, kp>8k or sr<=15%");
    };
    const std::size_t at = label.find_first_of("<>=");
    if (at == std::string_view::npos) throw refuse();
    const bool above = label[at] == '>';
    std::string_view digits = label.substr(at);
    digits.remove_prefix(std::min(digits.find_first_not_of("<>="), digits.size()));
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc{} || !std::isfinite(value) || value < 0) throw refuse();
    const std::string_view unit(end, static_cast<std::size_t>(digits.data() + digits.size() - end));
    if (unit == "k") {
      value *= 1024;
    } else if (unit == "%") {
      value /= 100;
    } else if (!unit.empty()) {
      throw refuse();
    }
    return above ? 2 * value : value;
  }

  /// The measured points themselves: a bucket of lengths from 4 to 16 thousand says little of 4 thousand
  /// where a card behaves otherwise beyond. Combinations that were not measured take the nearest one's share,
  /// in rate first, then in length, prefix, chunk and number.
  bool read_skew_points(const std::string& path) {
    std::vector<SkewPoint> points;
    each_row(path, {"pc", "n", "ratio", "kv_big", "kp", "alpha"}, [&](auto& f, auto& place) {
      if (f[5].empty()) return;  // both times were the same
      points.push_back({{number(f[0], place), number(f[1], place), number(f[2], place),
                         number(f[3], place), number(f[4], place)},
                        number(f[5], place, /*negative=*/true)});
    });
    if (points.empty()) return false;
    take_skew(points);
    std::array<std::size_t, 5> stride{};
    std::size_t below = 1;
    for (std::size_t a = 5; a-- > 0;) {
      stride[a] = below;
      below *= alpha_axes_[a].size();
    }
    for (const std::size_t a : {2u, 3u, 4u, 0u, 1u}) {
      const std::vector<double> known = alpha_;
      const std::size_t size = alpha_axes_[a].size();
      for (std::size_t i = 0; i < known.size(); ++i) {
        const std::size_t at = i / stride[a] % size, first = i - at * stride[a];
        for (std::size_t far = 1; std::isnan(alpha_[i]) && far < size; ++far) {
          if (at >= far) alpha_[i] = known[first + (at - far) * stride[a]];
          if (std::isnan(alpha_[i]) && at + far < size) {
            alpha_[i] = known[first + (at + far) * stride[a]];
          }
        }
      }
    }
    return true;
  }

  struct SkewPoint {
    std::array<double, 5> at;  // chunk, sequences, rate, longest, prefix
    double alpha;
  };

  void read_skew(const std::string& path) {
    const std::array<Labels, 4> labels{
        Labels{{"n<=2", "n<=4", "n<=8", "n<=16", "n<=32", "n<=64", "n<=128", "n<=256", "n>256"},
               {2, 4, 8, 16, 32, 64, 128, 256, 512}},
        Labels{{"sr<=5%", "sr<=15%", "sr<=40%", "sr<=70%", "sr>70%"}, {.025, .094, .25, .5, .82}},
        Labels{{"kvB<=1k", "kvB<=4k", "kvB<=16k", "kvB>16k"}, {724, 2896, 11585, 32768}},
        Labels{{"kp=0", "kp<=512", "kp<=1k", "kp<=2k", "kp<=4k", "kp<=8k", "kp>8k"},
               {0, 512, 1024, 2048, 4096, 8192, 16384}}};
    std::vector<SkewPoint> points;
    each_row(path, {"pc", "n_label", "skew_rate_label", "kv_big_label", "kp_label", "alpha"},
             [&](auto& f, auto& place) {
               SkewPoint p{{number(f[0], place)}, number(f[5], place, /*negative=*/true)};
               for (std::size_t a = 0; a < 4; ++a) {
                 const auto& names = labels[a].names;
                 const auto found = std::find(names.begin(), names.end(), f[a + 1]);
                 p.at[a + 1] =
                     found == names.end()
                         ? bound_of(f[a + 1], place)
                         : labels[a].centers[static_cast<std::size_t>(found - names.begin())];
               }
               points.push_back(p);
             });
    if (!points.empty()) take_skew(points);
  }

  /// Spreads points over the grid of all their values; the mean where there are several.
  void take_skew(const std::vector<SkewPoint>& points) {
    std::size_t size = 1;
    for (std::size_t a = 0; a < 5; ++a) {
      auto& axis = alpha_axes_[a];
      for (const SkewPoint& p : points) axis.push_back(p.at[a]);
      if (a == 0) axis.push_back(0);  // a place for steps without prompts
      std::sort(axis.begin(), axis.end());
      axis.erase(std::unique(axis.begin(), axis.end()), axis.end());
      if (a == 0 && axis.size() == 1) axis.push_back(1);  // and one for steps with them
      size *= axis.size();
    }
    std::vector<double> sums(size), counts(size);
    for (const SkewPoint& p : points) {
      std::size_t index = 0;
      for (std::size_t a = 0; a < 5; ++a) {
        const auto& axis = alpha_axes_[a];
        index = index * axis.size() +
                static_cast<std::size_t>(std::lower_bound(axis.begin(), axis.end(), p.at[a]) -
                                         axis.begin());
      }
      sums[index] += p.alpha;
      counts[index] += 1;
    }
    alpha_.assign(size, std::numeric_limits<double>::quiet_NaN());
    for (std::size_t i = 0; i < size; ++i) {
      if (counts[i] > 0) alpha_[i] = sums[i] / counts[i];
    }
  }

  Curves dense_, per_sequence_;
  Lattice decodes_;
  std::vector<std::pair<double, Lattice>> prompts_, mixed_;  // by chunk
  std::array<std::vector<double>, 5> alpha_axes_;  // chunk, sequences, rate, longest, prefix
  std::vector<double> alpha_;                      // over the axes; NaN: not measured
};

}  // namespace quire
