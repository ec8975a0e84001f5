#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/quality/lab.hpp>
#include <experiments/retention/texts.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/metrics/json_object.hpp>

namespace quire::experiment {

using quality::Interval;
using quality::Reading;

/// A model, texts and what the model says about them, each thing once and when first asked for.
class Subject {
 public:
  using SharedReading = std::shared_ptr<const Reading>;
  /// Given what fp32 said.
  using Make = std::function<SharedReading(const SharedReading& baseline)>;

  /// function: another subject that computes the same function, whose fp32 is the baseline here too; or null
  /// texts_name: what rows call the texts
  Subject(checkpoint::Checkpoint model, std::vector<Story> stories,
          std::shared_ptr<Subject> function = nullptr, std::string texts_name = "stories")
      : model_(std::move(model)),
        stories_(std::move(stories)),
        function_(std::move(function)),
        texts_name_(std::move(texts_name)) {
    auto texts = std::make_shared<quality::Texts>();
    for (const Story& s : stories_) texts->push_back(s.tokens);
    texts_ = std::move(texts);
  }
  [[nodiscard]] const checkpoint::Checkpoint& model() const { return model_; }
  [[nodiscard]] const std::vector<Story>& stories() const { return stories_; }
  [[nodiscard]] const std::shared_ptr<const quality::Texts>& texts() const { return texts_; }
  [[nodiscard]] const std::string& texts_name() const { return texts_name_; }
  [[nodiscard]] SharedReading baseline() {
    if (function_ != nullptr) return function_->baseline();
    std::call_once(baseline_.once, [&] {
      baseline_.reading =
          quality::read_texts(quality::format<kv_format::Fp32>(), model_, texts_, nullptr);
    });
    return baseline_.reading;
  }
  /// Texts for formats that are fitted to the model beforehand. \pre nothing was read in one so far
  void calibrate_on(quality::Texts texts) { calibration_ = std::move(texts); }
  [[nodiscard]] const quality::Texts& calibration() const { return calibration_; }
  /// What is said under a name; made when nobody asked for that name before.
  [[nodiscard]] SharedReading reading(const std::string& name, const Make& make) {
    const SharedReading base = baseline();
    Once* once = nullptr;
    {
      const std::lock_guard lock(mutex_);
      once = &readings_[name];
    }
    std::call_once(once->once, [&] { once->reading = make(base); });
    return once->reading;
  }
  /// What the model says with keys and values in a format.
  [[nodiscard]] SharedReading reading(const quality::Format& format) {
    return reading("kv " + std::string(format.codec->name), [&](const SharedReading& base) {
      quality::ReadOptions how;
      how.calibration = calibration_;
      return quality::read_texts(format, model_, texts_, base, how);
    });
  }

 private:
  struct Once {
    std::once_flag once;
    SharedReading reading;
  };
  checkpoint::Checkpoint model_;
  std::vector<Story> stories_;
  std::shared_ptr<const quality::Texts> texts_;
  quality::Texts calibration_;
  std::shared_ptr<Subject> function_;
  std::string texts_name_;
  Once baseline_;
  std::mutex mutex_;
  std::map<std::string, Once> readings_;  // whose elements stay where they are
};
using SharedSubject = std::shared_ptr<Subject>;

inline void add_interval(metrics::JsonObject& out, const std::string& name, const Interval& i,
                         double factor = 1) {
  out.add(name, i.mean * factor);
  out.add(name + "_low", i.low * factor);
  out.add(name + "_high", i.high * factor);
}

/// Questions whose every token is the most probable one, by the distance of what states the answer.
inline void add_recall(metrics::JsonObject& out, const std::vector<Story>& stories,
                       const Reading& r) {
  const std::pair<std::string_view, std::size_t> upto[] = {
      {"recall_64", 64}, {"recall_128", 128}, {"recall_256", 256}, {"recall_1024", 1024}};
  double all = 0, asked = 0;
  std::vector<std::pair<double, double>> by(std::size(upto));
  for (std::size_t i = 0; i < stories.size(); ++i) {
    for (std::size_t q = 0; q < stories[i].answers.size(); ++q) {
      const auto& [first, last] = stories[i].answers[q];
      bool right = true;
      for (std::size_t t = first; t < last; ++t) {
        right = right && r.best[i][t - 1] == stories[i].tokens[t];
      }
      all += right;
      asked += 1;
      for (std::size_t d = 0; d < by.size(); ++d) {
        if (stories[i].distances[q] > upto[d].second) continue;
        by[d].first += right;
        by[d].second += 1;
        break;
      }
    }
  }
  if (asked == 0) return;
  out.add("recall_percent", 100 * all / asked).add("questions", asked);
  for (std::size_t d = 0; d < by.size(); ++d) {
    if (by[d].second == 0) continue;
    out.add(std::string(upto[d].first) + "_percent", 100 * by[d].first / by[d].second);
  }
}

/// A difference of nats as a change of perplexity, in percent.
[[nodiscard]] inline double as_percent(double nat) { return 100 * std::expm1(nat); }

/// What a reading lost against fp32, as every axis reports it.
[[nodiscard]] inline metrics::JsonObject losses(Subject& subject, const Reading& reading,
                                                std::string_view name, double bits) {
  const std::shared_ptr<const Reading> base = subject.baseline();
  const Reading* r = &reading;
  metrics::JsonObject out;
  const Interval nats =
      quality::over_positions(*r, [&](std::size_t i, std::size_t p) { return r->nats[i][p]; });
  const Interval more = quality::over_positions(*r, [&](std::size_t i, std::size_t p) {
    return static_cast<double>(r->nats[i][p]) - static_cast<double>(base->nats[i][p]);
  });
  const Interval divergence = quality::over_positions(
      *r, [&](std::size_t i, std::size_t p) { return r->divergence[i][p]; });
  double characters = 0, tokens = 0;
  for (const auto& text : *subject.texts()) {
    characters += static_cast<double>(subject.model().tokenizer->decode(text).size());
    tokens += static_cast<double>(text.size() - 1);
  }
  out.add("perplexity", std::exp(nats.mean))
      .add("bits_per_byte", nats.mean / std::log(2.0) * tokens / characters)
      .add("perplexity_change_percent", as_percent(more.mean))
      .add("perplexity_change_percent_low", as_percent(more.low))
      .add("perplexity_change_percent_high", as_percent(more.high));
  add_interval(out, "divergence", divergence);
  add_interval(out, "agreement_percent",
               quality::over_positions(*r,
                                       [&](std::size_t i, std::size_t p) {
                                         return r->best[i][p] == base->best[i][p] ? 1.0 : 0.0;
                                       }),
               100);
  add_recall(out, subject.stories(), *r);
  out.add("tokens_per_s", r->tokens / r->seconds)
      .add("tokens", tokens)
      .add("texts", std::ssize(*subject.texts()));
  std::printf("%-48s %6.2f bits  ppl %+8.3f %% [%+.3f, %+.3f]  KL %.5f  %.0f tokens/s\n",
              std::string(name).c_str(), bits, as_percent(more.mean), as_percent(more.low),
              as_percent(more.high), divergence.mean, r->tokens / r->seconds);
  return out;
}

/// What one reading has over another on the same tokens; positive: the first is better.
[[nodiscard]] inline metrics::JsonObject gap(const Reading& better, const Reading& worse,
                                             std::string_view names) {
  const Interval nats = quality::over_positions(better, [&](std::size_t i, std::size_t p) {
    return static_cast<double>(worse.nats[i][p]) - static_cast<double>(better.nats[i][p]);
  });
  const Interval divergence = quality::over_positions(better, [&](std::size_t i, std::size_t p) {
    return static_cast<double>(worse.divergence[i][p]) -
           static_cast<double>(better.divergence[i][p]);
  });
  metrics::JsonObject out;
  out.add("perplexity_gap_percent", as_percent(nats.mean))
      .add("perplexity_gap_percent_low", as_percent(nats.low))
      .add("perplexity_gap_percent_high", as_percent(nats.high));
  add_interval(out, "divergence_gap", divergence);
  std::printf("%s: ppl %+.3f %% [%+.3f, %+.3f]  KL %+.5f [%+.5f, %+.5f]\n",
              std::string(names).c_str(), as_percent(nats.mean), as_percent(nats.low),
              as_percent(nats.high), divergence.mean, divergence.low, divergence.high);
  return out;
}

}  // namespace quire::experiment
