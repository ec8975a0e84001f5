#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/router/choose.hpp>

namespace quire::router {

/// Sends a request where the longest part of its prompt was computed before, when that is more than
/// what remains (exploit); else where the work of the last minutes and the part of the prompt that is
/// not known there come to least (explore). An instance with several times the least load is not
/// sent more of what it knows.
/// The router keeps its own book of which instance was sent which text, what was used last first, as much as an
/// instance is believed to keep; it does not look into the instances' caches.
/// \complexity O(instances x pieces of the prompt). \errors none.
/// \source Srivatsa et al., "Preble", ICLR '25, Algorithm 1 (E2). Deviations: load is counted in tokens
/// (prompt tokens not known, and the mean answer) instead of regressed seconds; what an instance
/// would have to evict is not priced.
class PrefixAware {
 public:
  static constexpr std::string_view name = "prefix_aware";
  explicit PrefixAware(const RouterOptions& options)
      : options_(options), books_(options.instances), work_(options.instances) {}

  [[nodiscard]] std::size_t route(const Request& request, const ClusterView& view) {
    const auto pieces = pieces_of(request);
    std::vector<Tokens> known(view.instances.size(), Tokens{0});
    std::vector<double> load(view.instances.size(), 0.0);
    Tokens longest = 0;
    double least_load = -1;
    for (std::size_t i = 0; i < view.instances.size(); ++i) {
      if (!view.instances[i].takes_prompts()) continue;
      known[i] = books_[i].known(pieces);
      longest = std::max(longest, known[i]);
      load[i] = work_[i].since(view.now - options_.window);
      if (least_load < 0 || load[i] < least_load) least_load = load[i];
    }
    const double answer = answers_ == 0 ? 0 : answered_ / static_cast<double>(answers_);
    const auto cost = [&](std::size_t i) {
      return load[i] + static_cast<double>((request.prompt_length - known[i]).value) + answer;
    };
    const bool exploits = longest > request.prompt_length - longest;
    std::size_t at = view.instances.size();
    if (exploits) {
      // the least load with this request, so that an idle instance does not scatter a prefix
      const double most = options_.imbalance *
                          (least_load + static_cast<double>(request.prompt_length.value) + answer);
      for (std::size_t i = 0; i < view.instances.size(); ++i) {
        if (known[i] != longest || load[i] > most) continue;
        if (at == view.instances.size() || load[i] < load[at]) at = i;
      }
    }
    if (at == view.instances.size()) at = least(view, takes_prompts, cost);
    work_[at].add(view.now, cost(at) - load[at]);
    books_[at].note(pieces, options_.cache_tokens);
    return at;
  }

  void on_finished(std::size_t, Tokens, Tokens output) {
    answered_ += static_cast<double>(output.value);
    ++answers_;
  }

 private:
  struct Piece {
    std::uint64_t text = 0;  // names all of the prompt up to its end
    Tokens tokens = 0;
  };
  /// The prompt as parts that may be known elsewhere: its chunks, or its token ids by blocks. A prompt
  /// of which only the length is known has none.
  [[nodiscard]] std::vector<Piece> pieces_of(const Request& request) const {
    std::vector<Piece> pieces;
    std::uint64_t text = mix64(request.salt);
    if (!request.prompt.empty()) {
      const auto block = static_cast<std::size_t>(options_.block_tokens.value);
      for (std::size_t begin = 0; begin + block <= request.prompt.size(); begin += block) {
        for (std::size_t k = begin; k < begin + block; ++k) {
          text = hash_combine(text, static_cast<std::uint64_t>(request.prompt[k]));
        }
        pieces.push_back({text, options_.block_tokens});
      }
      return pieces;
    }
    for (const PromptChunk& chunk : request.chunks) {
      text = hash_combine(text, chunk.content);
      pieces.push_back({text, chunk.tokens});
    }
    return pieces;
  }

  /// Text that an instance was sent, the part that was used last in front.
  class Book {
   public:
    [[nodiscard]] Tokens known(const std::vector<Piece>& pieces) const {
      Tokens tokens = 0;
      for (const Piece& piece : pieces) {
        if (!at_.contains(piece.text)) break;
        tokens += piece.tokens;
      }
      return tokens;
    }
    void note(const std::vector<Piece>& pieces, Tokens most) {
      for (std::size_t k = pieces.size(); k-- > 0;) {  // so that beginnings are given up last
        const auto [found, fresh] = at_.emplace(pieces[k].text, 0);
        if (fresh) {
          held_ += pieces[k].tokens;
        } else {
          order_.erase(found->second);
        }
        found->second = ++uses_;
        order_.emplace(uses_, pieces[k]);
      }
      while (most > Tokens{0} && held_ > most && !order_.empty()) {
        const Piece& oldest = order_.begin()->second;
        held_ -= oldest.tokens;
        at_.erase(oldest.text);
        order_.erase(order_.begin());
      }
    }

   private:
    std::map<std::uint64_t, Piece> order_;                 // by when it was used last
    std::unordered_map<std::uint64_t, std::uint64_t> at_;  // text to its place in the order
    std::uint64_t uses_ = 0;
    Tokens held_ = 0;
  };
  /// Tokens of work that an instance was given, by when.
  class Work {
   public:
    void add(Seconds when, double tokens) {
      given_.emplace_back(when, tokens);
      sum_ += tokens;
    }
    double since(Seconds from) {
      while (!given_.empty() && given_.front().first < from) {
        sum_ -= given_.front().second;
        given_.pop_front();
      }
      if (given_.empty()) sum_ = 0;  // no rounding is carried on
      return sum_;
    }

   private:
    std::deque<std::pair<Seconds, double>> given_;
    double sum_ = 0;
  };

  RouterOptions options_;
  std::vector<Book> books_;
  std::vector<Work> work_;
  double answered_ = 0;
  std::int64_t answers_ = 0;
};
static_assert(RouterPolicy<PrefixAware>);

}  // namespace quire::router
