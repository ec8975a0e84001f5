#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <quire/workload/generator.hpp>

namespace quire::workload {

/// Requests that begin alike. The paper's translation prompts share 80 tokens (one example) or 341
/// (five); the lengths of the sentences themselves are not published, so that 30 tokens in and out
/// is an assumption to be varied.
/// \source Kwon et al., SOSP '23, Figure 16.
struct SharedPrefixOptions {
  Tokens prefix = 80;        // tokens that are shared
  std::size_t prefixes = 1;  // different ones, each as likely as the other
  LengthDistribution question = LogNormalLength{30, 0.5, 512};  // after the prefix
  LengthDistribution output = LogNormalLength{30, 0.5, 512};
  GeneratorOptions generator = {};
};

/// \errors usage error: no prefix, a prefix below one token, and as synthetic().
[[nodiscard]] inline Workload shared_prefix(const SharedPrefixOptions& options = {}) {
  if (options.prefixes == 0 || options.prefix < Tokens(1)) {
    throw usage_error("prefix", "nothing is shared", "at least one prefix of at least one token");
  }
  check_lengths(options.question);
  check_lengths(options.output);
  Workload out = detail::generate("shared_prefix", options.generator, [&](Rng& rng) {
    const Tokens question = draw_length(options.question, rng);
    return detail::Lengths{options.prefix + question, draw_length(options.output, rng)};
  });
  Rng rng(mix64(options.generator.seed) ^ 0x7072656669780000u);  // "prefix"
  for (Request& r : out.requests) {
    r.chunks.push_back({rng.below(options.prefixes), options.prefix});
    r.chunks.push_back({~r.id.value, r.prompt_length - options.prefix});
  }
  out.provenance.parameters += ", " + std::to_string(options.prefixes) + " prefixes of " +
                               std::to_string(options.prefix.value) + " tokens";
  return out;
}

}  // namespace quire::workload
