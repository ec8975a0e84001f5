#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>

namespace quire {

/// seconds = constant + first * x + second * y; what x and y are, AffineCoefficients says.
struct AffineTerms {
  double constant = 0, first = 0, second = 0;
};

/// Coefficients of DistServe's estimators for one model on one kind and number of devices.
/// \unit seconds, and seconds a token, a squared token, a context token or a sequence
struct AffineCoefficients {
  AffineTerms prefill;       // x: prompt tokens, y: their squares, each summed over prompts
  AffineTerms decode_small;  // x: context tokens, y: sequences
  AffineTerms decode_large;  // likewise, for batches of large_batch sequences or more
  std::int64_t large_batch = 95;
};

/// Reads a file of DistServe's profiles: model -> tensor parallelism -> coefficients in milliseconds.
/// \errors data error: no such file, model or number of devices; a coefficient that is no number.
/// \source LLMServe/DistServe, simdistserve/estimators/profile_data.
[[nodiscard]] inline AffineCoefficients read_affine(const std::filesystem::path& path,
                                                    std::string_view model, std::int64_t devices) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw data_error(path.string(), "cannot be read", "a file of DistServe's profiles");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const json::Value value = json::parse(text, path.string());
  const json::Field found = json::Field(value, path.string()).at(model).at(std::to_string(devices));
  const auto terms = [&found](std::string_view key) {
    const json::Field list = found.at(key);
    if (list.array().size() != 3) throw list.error("not three coefficients", "three numbers, ms");
    const auto ms = [&list](std::size_t i) { return 1e-3 * list.at(i).number(-1e6, 1e6); };
    return AffineTerms{ms(0), ms(1), ms(2)};
  };
  return {.prefill = terms("prefill"),
          .decode_small = terms("decoding_smallbs"),
          .decode_large = terms("decoding_largebs"),
          .large_batch = found.at("decoding_large_small_bs_threshold").integer(1)};
}

}  // namespace quire
