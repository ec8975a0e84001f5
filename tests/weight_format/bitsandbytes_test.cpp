// NF4 and FP4 against what bitsandbytes wrote (tests/golden/formats/make_nf4.py).
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/core/json.hpp>
#include <quire/weight_format/bitsandbytes.hpp>

namespace quire::weight_format::bitsandbytes {
namespace {

json::Value golden() {
  std::ifstream file(QUIRE_SOURCE_DIR "/tests/golden/formats/nf4.json");
  return json::parse(std::string{std::istreambuf_iterator<char>(file), {}}, "nf4.json");
}
const json::Value& member(const json::Value& v, std::string_view name) {
  return *v.object()->find(name);
}
template <class T>
std::vector<T> numbers(const json::Value& v) {
  std::vector<T> out;
  for (const json::Value& x : *v.array()) out.push_back(static_cast<T>(*x.number()));
  return out;
}

TEST(Bitsandbytes, CodesScalesAndValuesEqualItsBitForBit) {
  const json::Value file = golden();
  for (const json::Value& c : *member(file, "cases").array()) {
    SCOPED_TRACE(*member(c, "name").string() + " " + *member(c, "kind").string());
    const auto values = numbers<float>(member(c, "values"));
    const Kind kind = *member(c, "kind").string() == "nf4" ? Kind::nf4 : Kind::fp4;
    const Tensor t = quantise(values, kind);
    EXPECT_EQ(t.packed, numbers<std::uint8_t>(member(c, "packed")));
    EXPECT_EQ(t.absmax, numbers<float>(member(c, "absmax")));
    EXPECT_EQ(dequantise(t, values.size()), numbers<float>(member(c, "dequantised")));
    const auto& codes = kind == Kind::nf4 ? blockwise::nf4_codes : fp4_codes;
    EXPECT_EQ(std::vector<float>(codes.begin(), codes.end()), numbers<float>(member(c, "code")));
  }
}

TEST(Bitsandbytes, DoublyQuantisedScalesEqualItsBitForBit) {
  const json::Value file = golden();
  const auto map = numbers<float>(member(file, "dynamic_map"));
  ASSERT_EQ(map.size(), dynamic_map.size());
  for (std::size_t i = 0; i < map.size(); ++i) EXPECT_EQ(dynamic_map[i], map[i]) << i;
  for (const json::Value& c : *member(file, "cases").array()) {
    SCOPED_TRACE(*member(c, "name").string());
    const auto absmax = numbers<float>(member(c, "absmax"));
    float mean = 0;
    for (const float x : absmax) mean += x / static_cast<float>(absmax.size());
    const auto offset = static_cast<float>(*member(c, "offset").number());
    EXPECT_NEAR(mean, offset, 1e-5f * std::abs(offset));
    const Scales s = quantise_scales(absmax, offset);
    EXPECT_EQ(s.codes, numbers<std::uint8_t>(member(c, "quantised_absmax")));
    EXPECT_EQ(s.absmax, numbers<float>(member(c, "absmax_of_absmax")));
  }
}

TEST(Bitsandbytes, AWeightCosts4127ThousandthsOfABit) {
  const std::size_t n = 64 * 256 * 4;
  const Tensor t = quantise(std::vector<float>(n, 0.5f));
  const Scales s = quantise_scales(t.absmax, 0.5f);
  const double bytes = static_cast<double>(t.packed.size() + s.codes.size() + 4 * s.absmax.size());
  EXPECT_NEAR(8 * bytes / static_cast<double>(n), 4.127, 0.0005);
}

}  // namespace
}  // namespace quire::weight_format::bitsandbytes
