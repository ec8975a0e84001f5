#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <quire/workload/arrivals.hpp>
#include <quire/workload/lengths.hpp>
#include <quire/workload/provenance.hpp>

namespace quire::workload {

/// What every generator is asked for.
struct GeneratorOptions {
  std::size_t requests = 1000;
  double rate = std::numeric_limits<double>::infinity();  // requests a second; infinity: all at 0
  std::uint64_t seed = 0;
  std::optional<ArrivalProcess> arrivals = std::nullopt;  // in place of Poisson at `rate`
  std::int32_t n = 1;                                     // samples of each request
  std::int32_t beam_width = 0;  // > 0: beam search of that width in place of sampling
};

namespace detail {

/// One request of given lengths; nothing of its text is shared.
struct Lengths {
  Tokens input;
  Tokens output;
};

inline void check(const GeneratorOptions& o) {
  if (o.requests == 0) throw usage_error("requests", "there are none", "at least 1");
  if (!(o.rate > 0)) throw usage_error("rate", "must be positive", "requests a second, or inf");
  if (o.n < 1 || o.beam_width < 0) {
    throw usage_error("n", "a request has at least one sequence", "n >= 1 and beam_width >= 0");
  }
}

/// Requests with lengths from draw(rng), in an order that does not depend on the rate.
template <class DrawLengths>
[[nodiscard]] Workload generate(std::string name, const GeneratorOptions& o, DrawLengths&& draw) {
  check(o);
  Workload out;
  out.name = std::move(name);
  out.provenance.schema = out.name;
  out.provenance.seed = o.seed;
  out.provenance.parameters = std::to_string(o.requests) + " requests";
  if (!o.arrivals) out.provenance.parameters += ", rate " + std::to_string(o.rate);
  const std::vector<Seconds> times =
      arrival_times(o.arrivals ? *o.arrivals : poisson_or_saturated(o.rate), o.requests, o.seed);
  Rng rng(mix64(o.seed) ^ 0x6c656e6774687300u);  // a stream of its own: "lengths"
  out.requests.resize(o.requests);
  for (std::size_t i = 0; i < o.requests; ++i) {
    const Lengths lengths = draw(rng);
    Request& r = out.requests[i];
    r.id = RequestId{i};
    r.arrival = times[i];
    r.prompt_length = lengths.input;
    r.output_length = lengths.output;
    r.sampling.max_tokens = lengths.output;
    r.sampling.ignore_eos = true;
    r.sampling.seed = i;
    r.sampling.n = o.n;
    r.sampling.beam_width = o.beam_width;
    if (o.beam_width > 0) r.sampling.n = o.beam_width;
  }
  return out;
}

}  // namespace detail

/// Requests with independent input and output lengths.
/// \errors usage error: no requests, a rate that is not positive, lengths that cannot be drawn.
[[nodiscard]] inline Workload synthetic(const LengthDistribution& input,
                                        const LengthDistribution& output,
                                        const GeneratorOptions& options = {}) {
  check_lengths(input);
  check_lengths(output);
  return detail::generate("synthetic", options, [&](Rng& rng) {
    const Tokens in = draw_length(input, rng);
    return detail::Lengths{in, draw_length(output, rng)};
  });
}

}  // namespace quire::workload
