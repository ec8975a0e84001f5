#include <quire/llm/check_sampling.hpp>

#include <limits>
#include <string>

#include <gtest/gtest.h>

namespace quire {
namespace {

TEST(CheckSampling, NamesTheParameterThatIsOutOfRange) {
  const auto refused = [](const std::string& name, auto change) {
    SamplingParams p;
    EXPECT_NO_THROW(check_sampling(p));
    change(p);
    try {
      check_sampling(p);
      ADD_FAILURE() << name << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      EXPECT_EQ(std::string(error.what()).find(name + ": "), 0u) << error.what();
    }
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  refused("temperature", [](auto& p) { p.temperature = -1; });
  refused("temperature", [&](auto& p) { p.temperature = nan; });
  refused("top_p", [](auto& p) { p.top_p = 7; });
  refused("top_p", [](auto& p) { p.top_p = 0; });
  refused("min_p", [](auto& p) { p.min_p = -0.1; });
  refused("top_k", [](auto& p) { p.top_k = -1; });
  refused("repetition_penalty", [](auto& p) { p.repetition_penalty = 0; });
  refused("repetition_penalty", [](auto& p) { p.repetition_penalty = 1e300; });  // infinite in fp32
  refused("presence_penalty", [](auto& p) { p.presence_penalty = -2e6; });
  refused("frequency_penalty", [](auto& p) { p.frequency_penalty = 2e6; });
  refused("presence_penalty", [&](auto& p) { p.presence_penalty = nan; });
  refused("frequency_penalty", [&](auto& p) { p.frequency_penalty = nan; });
  refused("length_penalty", [&](auto& p) { p.length_penalty = nan; });
  refused("n", [](auto& p) { p.n = 0; });
  refused("best_of", [](auto& p) { p.n = 3, p.best_of = 2; });
  refused("beam_width", [](auto& p) { p.beam_width = -2; });
  refused("logprobs", [](auto& p) { p.logprobs = -2; });
  refused("max_tokens", [](auto& p) { p.max_tokens = 0; });
  refused("min_tokens", [](auto& p) { p.min_tokens = -1; });
}

}  // namespace
}  // namespace quire
