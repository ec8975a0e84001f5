#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <quire/workload/generator.hpp>

namespace quire::workload {

/// Lengths of a real trace: quantiles of prompts and of outputs, drawn independently (the rank
/// correlation is 0.07 in both traces below). Between two quantiles the density falls as x^-slope,
/// with the slope that gives the trace's mean.
struct TraceLengths {
  std::vector<Quantile> input, output;
  double input_slope = 1, output_slope = 1;
  Tokens longest_input = 1, longest_output = 1;
};

/// 19,366 requests of a conversation service. \source Patel et al., "Splitwise", ISCA '24: Azure's LLM
/// inference trace of 2023 (CC-BY-4.0), measured on the file; means 1,154.7 in and 211.1 out.
[[nodiscard]] inline const TraceLengths& azure_conversation_lengths() {
  static const TraceLengths lengths{{{.01, 29},
                                     {.05, 181},
                                     {.10, 207},
                                     {.20, 387},
                                     {.25, 396},
                                     {.30, 403},
                                     {.40, 703},
                                     {.50, 1020},
                                     {.60, 1071},
                                     {.70, 1130},
                                     {.75, 1189},
                                     {.80, 1315},
                                     {.90, 2735},
                                     {.95, 4083},
                                     {.97, 4090},
                                     {.99, 4142},
                                     {.999, 6212}},
                                    {{.01, 16},
                                     {.05, 41},
                                     {.10, 54},
                                     {.20, 77},
                                     {.25, 85},
                                     {.30, 91},
                                     {.40, 103},
                                     {.50, 129},
                                     {.60, 177},
                                     {.70, 384},
                                     {.75, 395},
                                     {.80, 400},
                                     {.90, 424},
                                     {.95, 451},
                                     {.97, 509},
                                     {.99, 601},
                                     {.999, 954}},
                                    -0.065,
                                    1.712,
                                    14050,
                                    1000};
  return lengths;
}

/// 12,031 requests of a chat service with long contexts. \source Qin et al., "Mooncake", FAST '25:
/// conversation trace (Apache-2.0), measured on the file; means 12,035.1 in and 342.6 out.
[[nodiscard]] inline const TraceLengths& mooncake_conversation_lengths() {
  static const TraceLengths lengths{{{.01, 894},
                                     {.05, 901},
                                     {.10, 964},
                                     {.20, 1662},
                                     {.25, 2306},
                                     {.30, 3263},
                                     {.40, 4993},
                                     {.50, 6909},
                                     {.60, 9570},
                                     {.70, 13196},
                                     {.75, 15368},
                                     {.80, 17869},
                                     {.90, 27367},
                                     {.95, 39552},
                                     {.97, 52219},
                                     {.99, 85401},
                                     {.999, 121301}},
                                    {{.01, 3},
                                     {.05, 10},
                                     {.10, 24},
                                     {.20, 100},
                                     {.25, 156},
                                     {.30, 213},
                                     {.40, 291},
                                     {.50, 350},
                                     {.60, 399},
                                     {.70, 447},
                                     {.75, 472},
                                     {.80, 504},
                                     {.90, 597},
                                     {.95, 698},
                                     {.97, 802},
                                     {.99, 1120},
                                     {.999, 2000}},
                                    1.64,
                                    1.033,
                                    126195,
                                    2000};
  return lengths;
}

namespace detail {
[[nodiscard]] inline Workload of_trace_lengths(std::string_view name, const TraceLengths& t,
                                               const GeneratorOptions& options) {
  const WeightedLength input(probabilities_from(t.input, t.longest_input, t.input_slope));
  const WeightedLength output(probabilities_from(t.output, t.longest_output, t.output_slope));
  return generate(std::string(name), options, [&](Rng& rng) {
    const Tokens in = input(rng);
    return Lengths{in, output(rng)};
  });
}
}  // namespace detail

/// Conversations as Azure's trace of 2023 has them, without the file: its lengths, and gaps between
/// arrivals of its coefficient of variation, 1.09. \errors as generators.
[[nodiscard]] inline Workload azure_conversation(GeneratorOptions options = {}) {
  if (!options.arrivals && std::isfinite(options.rate) && options.rate > 0) {
    options.arrivals = Gamma{options.rate, 1.09};
  }
  return detail::of_trace_lengths("azure_conversation", azure_conversation_lengths(), options);
}

/// Conversations as Mooncake's trace has them, without the file: its lengths and Poisson arrivals (the
/// trace's own come in groups of three seconds; spread within these, their variation is 1.01).
/// Prompts share nothing here; the trace's do. \errors as generators.
[[nodiscard]] inline Workload mooncake_conversation(const GeneratorOptions& options = {}) {
  return detail::of_trace_lengths("mooncake_conversation", mooncake_conversation_lengths(),
                                  options);
}

}  // namespace quire::workload
