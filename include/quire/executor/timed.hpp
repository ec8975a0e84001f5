#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/executor/concepts.hpp>

namespace quire::executor {

/// Another executor on a given clock: step i takes seconds[i], whatever it really took. With the
/// durations of a simulated run, a real executor must make the same decisions, step by step.
/// With `tokens`, draws are forced too, in the order of the plans' rows: a prefix index decides by
/// text, so equal decisions need equal text. The inner executor still computes everything.
template <class Inner>
struct Timed {
  struct Options : Inner::Options {
    std::shared_ptr<const std::vector<double>> seconds;
    std::shared_ptr<const std::vector<TokenId>> tokens;  // null: the inner executor's own
  };
  [[nodiscard]] static model::Shape shape(const Options& options) { return Inner::shape(options); }
  template <class C>
  [[nodiscard]] static KvGeometry geometry(const Options& options) {
    return Inner::template geometry<C>(options);
  }

  template <class C>
  class Bound : public Inner::template Bound<C> {
    using Base = typename Inner::template Bound<C>;

   public:
    Bound(const Options& options, const KvGeometry& geometry)
        : Base(options, geometry), seconds_(options.seconds), tokens_(options.tokens) {}

    void execute(const StepPlan& plan, StepResult& result) {
      Base::execute(plan, result);
      if (next_ >= seconds_->size()) {
        throw state_error("step " + std::to_string(next_), "no duration was given for it",
                          "one duration a step");
      }
      result.seconds = (*seconds_)[next_++];
      if (!tokens_) return;
      for (Draw& draw : result.draws) {
        if (next_token_ >= tokens_->size()) {
          throw state_error("step " + std::to_string(next_ - 1),
                            "it draws more tokens than were given", "one token a draw");
        }
        draw.token = (*tokens_)[next_token_++];
      }
    }

   private:
    std::shared_ptr<const std::vector<double>> seconds_;
    std::shared_ptr<const std::vector<TokenId>> tokens_;
    std::size_t next_ = 0, next_token_ = 0;
  };
};

}  // namespace quire::executor
