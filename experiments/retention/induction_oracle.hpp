#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/retention/limits.hpp>

namespace quire::experiment {

/// What the induction model answers when a policy has dropped part of its cache: computed from the
/// model's derivation (experiments/small_models/induction.py) in double, without its weights, and from
/// the policies as their papers tell them, without Quire's. So it can be compared with what the engine
/// measures, token for token.
class InductionOracle {
 public:
  static constexpr std::size_t vocabulary = 258, width = 32;
  static constexpr TokenId bos = 0, eos = 1;

  InductionOracle(std::string_view policy, const RetentionLimits& limits, std::int64_t page)
      : policy_(policy), limits_(limits), page_(page) {
    make_codes();
    for (std::size_t i = 0; i < width; ++i) {
      // as the engine forms them, in fp32
      frequency_[i] = static_cast<double>(
          static_cast<float>(std::pow(1e9, -static_cast<double>(i) / double{width})));
    }
  }

  [[nodiscard]] static bool knows(std::string_view policy) {
    constexpr std::string_view known[] = {"keep_all", "sliding_window", "streaming_llm",
                                          "h2o",      "tova",           "scissorhands",
                                          "snap_kv",  "pyramid_kv",     "quest"};
    return std::find(std::begin(known), std::end(known), policy) != std::end(known);
  }

  /// A prediction, and whether it leads the next one, and the pages read the next best page, by more
  /// than rounding can change.
  struct Answer {
    TokenId token = 0;
    bool decided = false;
  };

  /// The most probable token after each position of `text` from prompt - 1 on, when the prompt is
  /// computed in one step and the rest token by token.
  [[nodiscard]] std::vector<Answer> answers(const std::vector<TokenId>& text, std::int64_t prompt) {
    text_ = &text;
    tokens_.assign(text.size(), {});
    for (auto& layer : kept_) layer.clear();
    for (auto& layer : steps_) layer.clear();
    for (auto& layer : totals_) layer.assign(text.size(), 0);
    std::vector<Answer> out;
    const auto length = static_cast<std::int64_t>(text.size());
    for (std::int64_t begin = 0; begin < length;) {
      const std::int64_t end = begin == 0 ? prompt : begin + 1;
      close_ = false;
      std::array<Votes, 2> votes{Votes(text.size()), Votes(text.size())};
      for (std::int64_t p = begin; p < end; ++p) {
        const std::array<double, width> answer = attend(p, begin, end, votes);
        if (p == end - 1) out.push_back(best(answer));
      }
      after_step(begin, end, prompt, votes);
      begin = end;
    }
    return out;
  }

 private:
  using Code = std::array<double, width>;
  using Votes = std::vector<std::int64_t>;  // one a position of the text
  struct Token {
    Code previous{};   // what layer 0 wrote
    double scale = 1;  // of the norm before layer 1
  };
  struct Step {
    std::int64_t end;
    Votes votes;
  };

  void make_codes() {
    // extended BCH code [32, 11, 12]; generator of BCH [31, 11]
    const std::uint32_t generator = 05423325;
    for (std::uint32_t message = 0; message < vocabulary; ++message) {
      std::uint32_t word = 0, ones = 0;
      for (std::uint32_t bit = 0; bit < 11; ++bit) {
        if (message >> bit & 1) word ^= generator << bit;
      }
      for (std::size_t i = 0; i < 31; ++i) {
        const std::uint32_t b = word >> i & 1;
        ones += b;
        codes_[message][i] = 1 - 2 * static_cast<double>(b);
      }
      codes_[message][31] = 1 - 2 * static_cast<double>(ones % 2);
    }
  }
  [[nodiscard]] const Code& code(std::int64_t p) const {
    return codes_[(*text_)[static_cast<std::size_t>(p)]];
  }
  [[nodiscard]] bool is_bos(std::int64_t p) const {
    return (*text_)[static_cast<std::size_t>(p)] == bos;
  }

  /// One query: layer 0 over its kept keys, then layer 1. Casts the votes.
  Code attend(std::int64_t p, std::int64_t begin, std::int64_t end, std::array<Votes, 2>& votes) {
    const bool one = end - begin == 1;
    std::vector<std::int64_t> keys = visible(0, p, begin, one);
    std::vector<double> weights =
        softmax(keys, [&](std::size_t i) { return previous_score(distance(keys, i, p)); });
    Token& now = tokens_[static_cast<std::size_t>(p)];
    for (std::size_t i = 0; i < keys.size(); ++i) {
      for (std::size_t d = 0; d < width; ++d) now.previous[d] += weights[i] * code(keys[i])[d];
    }
    double square = width + 2;  // its own code, "one" and one of the two marks
    for (const double x : now.previous) square += x * x;
    now.scale = std::sqrt(66.0 / 128 + 1e-6) / std::sqrt(square / 128 + 1e-6);
    cast(votes[0], keys, weights, p, end);

    keys = visible(1, p, begin, one);
    weights =
        softmax(keys, [&](std::size_t i) { return match_score(p, keys[i], distance(keys, i, p)); });
    cast(votes[1], keys, weights, p, end);
    Code answer{};
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const double w = weights[i] * tokens_[static_cast<std::size_t>(keys[i])].scale;
      for (std::size_t d = 0; d < width; ++d) answer[d] += w * code(keys[i])[d];
    }
    return answer;
  }

  /// Positions that a query sees in a layer: what was kept, and its own step's up to itself.
  [[nodiscard]] std::vector<std::int64_t> visible(std::size_t layer, std::int64_t p,
                                                  std::int64_t begin, bool one) {
    std::vector<std::int64_t> keys(kept_[layer].begin(), kept_[layer].end());
    for (std::int64_t q = begin; q <= p; ++q) keys.push_back(q);
    if (policy_ != "quest" || !one || static_cast<std::int64_t>(layer) < limits_.dense_layers) {
      return keys;
    }
    const std::int64_t pages = p / page_ + 1;
    const std::int64_t most = std::max<std::int64_t>(1, limits_.budget.value / page_);
    if (pages <= most) return keys;
    std::vector<std::pair<double, std::int64_t>> order;
    for (std::int64_t page = 0; page + 1 < pages; ++page) {
      order.emplace_back(page_bound(layer, p, page), page);
    }
    std::sort(order.rbegin(), order.rend());
    const auto chosen_pages = static_cast<std::size_t>(most - 1);
    // bounds lie below a hundred; fp32 forms them to about a hundred-thousandth
    if (chosen_pages > 0 && chosen_pages < order.size()) {
      close_ = close_ || order[chosen_pages - 1].first - order[chosen_pages].first < 2e-4;
    }
    std::set<std::int64_t> chosen{pages - 1};
    for (std::int64_t i = 0; i + 1 < most; ++i) {
      chosen.insert(order[static_cast<std::size_t>(i)].second);
    }
    std::erase_if(keys, [&](std::int64_t q) { return !chosen.contains(q / page_); });
    return keys;
  }

  /// Distance from key i to the query: in the text, or in the cache.
  [[nodiscard]] std::int64_t distance(const std::vector<std::int64_t>& keys, std::size_t i,
                                      std::int64_t p) const {
    if (policy_ == "streaming_llm") return std::ssize(keys) - 1 - static_cast<std::int64_t>(i);
    return p - keys[i];
  }

  [[nodiscard]] double angle(std::size_t pair, std::int64_t distance) const {
    return static_cast<double>(distance) * frequency_[pair];
  }
  [[nodiscard]] double previous_score(std::int64_t distance) const {
    double score = 0;
    for (std::size_t i = 0; i < 9; ++i) {
      score += 100 * (i == 0 ? 0.56 : 0.055) * std::cos(angle(i, distance) - frequency_[i]);
    }
    return score;
  }
  [[nodiscard]] double match_score(std::int64_t p, std::int64_t key, std::int64_t distance) const {
    const Token &query = tokens_[static_cast<std::size_t>(p)],
                &other = tokens_[static_cast<std::size_t>(key)];
    const Code &q = code(p), &k = other.previous;
    double score = 0;
    for (std::size_t i = 0; i < 16; ++i) {
      const double c = std::cos(angle(16 + i, distance)), s = std::sin(angle(16 + i, distance));
      score += 2 * ((q[i] * c - q[16 + i] * s) * k[i] + (q[i] * s + q[16 + i] * c) * k[16 + i]);
    }
    if (is_bos(key)) score += 40 * std::cos(angle(15, distance));
    return score * query.scale * other.scale;
  }

  /// The highest score that a key of a page could have, dimension by dimension: both layers' keys
  /// turned by their places in the text.
  [[nodiscard]] double page_bound(std::size_t layer, std::int64_t p, std::int64_t page) const {
    const std::array<double, 64> q = turned(layer, p, true);
    std::array<double, 64> low, high;
    low.fill(1e30);
    high.fill(-1e30);
    for (std::int64_t key = page * page_; key < (page + 1) * page_; ++key) {
      const std::array<double, 64> k = turned(layer, key, false);
      for (std::size_t d = 0; d < 64; ++d) {
        low[d] = std::min(low[d], k[d]);
        high[d] = std::max(high[d], k[d]);
      }
    }
    double bound = 0;
    for (std::size_t d = 0; d < 64; ++d) bound += std::max(q[d] * low[d], q[d] * high[d]);
    return bound;
  }
  /// A query or key of a layer, its 32 pairs turned by its position.
  [[nodiscard]] std::array<double, 64> turned(std::size_t layer, std::int64_t p, bool query) const {
    std::array<double, 64> x{};
    const Token& token = tokens_[static_cast<std::size_t>(p)];
    if (layer == 0) {
      for (std::size_t i = 0; i < 9; ++i) {
        const double a = std::sqrt(100 * (i == 0 ? 0.56 : 0.055));
        x[i] = query ? a * std::cos(frequency_[i]) : a;
        x[32 + i] = query ? -a * std::sin(frequency_[i]) : 0;
      }
    } else {
      const Code& c = query ? code(p) : token.previous;
      for (std::size_t i = 0; i < 16; ++i) {
        x[16 + i] = std::sqrt(2.0) * c[i] * token.scale;
        x[48 + i] = std::sqrt(2.0) * c[16 + i] * token.scale;
      }
      x[15] = query || is_bos(p) ? std::sqrt(40.0) * token.scale : 0;
    }
    for (std::size_t i = 0; i < 32; ++i) {
      const double c = std::cos(angle(i, p)), s = std::sin(angle(i, p));
      const double a = x[i], b = x[32 + i];
      x[i] = a * c - b * s;
      x[32 + i] = b * c + a * s;
    }
    return x;
  }

  template <class Score>
  [[nodiscard]] static std::vector<double> softmax(const std::vector<std::int64_t>& keys,
                                                   Score&& score) {
    std::vector<double> w(keys.size());
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = score(i);
    const double most = *std::max_element(w.begin(), w.end());
    double total = 0;
    for (double& x : w) total += x = std::exp(x - most);
    for (double& x : w) x /= total;
    return w;
  }

  [[nodiscard]] Answer best(const Code& answer) const {
    std::size_t winner = 0;
    double most = -1e30, next = -1e30;
    for (std::size_t t = 0; t < vocabulary; ++t) {
      // the rows of BOS and EOS are exchanged, so that "no match" reads as the end
      const Code& row = codes_[t == bos ? eos : t == eos ? bos : t];
      double logit = 0;
      for (std::size_t d = 0; d < width; ++d) logit += answer[d] * row[d];
      if (logit > most) {
        next = most;
        most = logit;
        winner = t;
      } else {
        next = std::max(next, logit);
      }
    }
    return {static_cast<TokenId>(winner), most - next > 0.05 && !close_};
  }

  // ---- policies, from their papers --------------------------------------------------------------

  void cast(Votes& votes, const std::vector<std::int64_t>& keys, const std::vector<double>& weights,
            std::int64_t p, std::int64_t end) const {
    const std::int64_t after = end - 1 - p;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto weight = static_cast<std::int64_t>(std::llrint(weights[i] * 65536));
      std::int64_t& vote = votes[static_cast<std::size_t>(keys[i])];
      if (policy_ == "h2o") vote += weight;
      if (policy_ == "tova" && after == 0) vote = weight;
      if (policy_ == "scissorhands" && after < limits_.history.value) {
        vote += weight * std::ssize(keys) < 65536;
      }
      if (policy_.ends_with("_kv") && after < window()) vote += weight;
    }
  }
  [[nodiscard]] std::int64_t window() const {
    return std::min(limits_.observation, limits_.budget).value;
  }

  void after_step(std::int64_t begin, std::int64_t end, std::int64_t prompt,
                  std::array<Votes, 2>& votes) {
    for (std::size_t layer = 0; layer < 2; ++layer) {
      std::set<std::int64_t>& kept = kept_[layer];
      for (std::int64_t p = begin; p < end; ++p) kept.insert(p);
      for (std::size_t p = 0; p < totals_[layer].size(); ++p) totals_[layer][p] += votes[layer][p];
      steps_[layer].push_back({end, std::move(votes[layer])});
      drop(layer, kept, begin, end, prompt);
    }
  }

  void drop(std::size_t layer, std::set<std::int64_t>& kept, std::int64_t begin, std::int64_t end,
            std::int64_t prompt) const {
    const std::int64_t budget = limits_.budget.value;
    const auto many = std::ssize(kept) - budget;
    if (policy_ == "keep_all" || policy_ == "quest") return;
    if (policy_.ends_with("_kv")) {
      if (begin >= prompt || prompt <= budget) return;
      const std::int64_t voted = prompt - window();
      const auto pooled = [&](std::int64_t p) {
        std::int64_t sum = 0;
        for (std::int64_t q = p - limits_.pooling / 2; q <= p + limits_.pooling / 2; ++q) {
          if (q >= 0 && q < voted) sum += totals_[layer][static_cast<std::size_t>(q)];
        }
        return sum;
      };
      return take(kept, voted - std::min(voted, chosen(layer, prompt)), voted, pooled);
    }
    if (many <= 0) return;
    if (policy_ == "sliding_window") {
      take(kept, many, end, [](std::int64_t p) { return p; });
    } else if (policy_ == "streaming_llm") {
      const std::int64_t sinks = std::min(limits_.sinks.value, budget);
      take(kept, many, end, [&](std::int64_t p) { return p < sinks ? end : p; });
    } else if (policy_ == "h2o") {
      take(kept, many, end - budget / 2,
           [&](std::int64_t p) { return totals_[layer][static_cast<std::size_t>(p)]; });
    } else if (policy_ == "tova") {
      const Votes& last = steps_[layer].back().votes;
      take(kept, many, end, [&](std::int64_t p) { return last[static_cast<std::size_t>(p)]; });
    } else if (policy_ == "scissorhands") {
      take(kept, many, end - std::min(limits_.recent.value, budget),
           [&](std::int64_t p) { return -recent_votes(layer, p, end); });
    } else {
      throw usage_error("induction oracle", "it does not know the policy " + policy_,
                        "one of Quire's retention policies");
    }
  }

  [[nodiscard]] std::int64_t chosen(std::size_t layer, std::int64_t prompt) const {
    const std::int64_t mean = limits_.budget.value - window();
    if (policy_ == "snap_kv") return mean;
    std::int64_t low = mean / limits_.pyramid_slope, high = 2 * mean - low;
    if (high >= prompt - window()) {
      high = prompt - window();
      low = 2 * mean - high;
    }
    return layer == 0 ? high : low;  // two layers
  }

  /// Votes for a position in the steps that the history still counts.
  [[nodiscard]] std::int64_t recent_votes(std::size_t layer, std::int64_t p,
                                          std::int64_t end) const {
    const std::int64_t part = (limits_.history.value + 15) / 16;
    std::int64_t sum = 0;
    for (auto step = steps_[layer].rbegin(); step != steps_[layer].rend(); ++step) {
      if (end / part - step->end / part >= 16) break;
      sum += step->votes[static_cast<std::size_t>(p)];
    }
    return sum;
  }

  /// Takes away the positions before `below` with the smallest worth, the oldest first among equals.
  template <class Worth>
  static void take(std::set<std::int64_t>& kept, std::int64_t count, std::int64_t below,
                   Worth&& worth) {
    std::vector<std::pair<std::int64_t, std::int64_t>> order;
    for (const std::int64_t p : kept) {
      if (p < below) order.emplace_back(worth(p), p);
    }
    std::sort(order.begin(), order.end());
    for (std::int64_t i = 0; i < count && i < std::ssize(order); ++i) {
      kept.erase(order[static_cast<std::size_t>(i)].second);
    }
  }

  std::string policy_;
  bool close_ = false;  // a page was chosen over one that is nearly as good
  RetentionLimits limits_;
  std::int64_t page_;
  std::array<Code, vocabulary> codes_{};
  std::array<double, width> frequency_{};
  const std::vector<TokenId>* text_ = nullptr;
  std::vector<Token> tokens_;
  std::array<std::set<std::int64_t>, 2> kept_;
  std::array<std::vector<Step>, 2> steps_;
  std::array<Votes, 2> totals_;  // of all steps
};

}  // namespace quire::experiment
