#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quire {

namespace attention {
/// The operations that a variant's logit() may use; kernels have one of these for their vectors.
struct DoubleMath {
  using Value = double;
  static double set(double x) { return x; }
  static double add(double a, double b) { return a + b; }
  static double mul(double a, double b) { return a * b; }
  static double tanh(double x) { return std::tanh(x); }
};
}  // namespace attention

/// What one attention variant changes in softmax(q k / sqrt(d)) v. Open: a variant is any struct
/// with these members; attention::Combined joins several.
///
/// first_visible(position): the first key position that a query at `position` sees; the last one is
/// `position` itself. What lies outside is not read at all.
/// transforms_logits: whether logit() changes anything; false keeps it out of the kernel.
/// logit(math, s, head, distance): from the scaled product of query and key, in natural units, to
/// the logit; distance = query position - key position. Written with the operations of `math`
/// alone, so that one definition serves vectors and the reference.
/// has_sink, sink_logit(head): a key without a value that every query also attends to.
template <class V>
concept AttentionVariant = requires(const V& variant, std::int64_t position, std::size_t head) {
  { V::name } -> std::convertible_to<std::string_view>;
  { variant.first_visible(position) } -> std::same_as<std::int64_t>;
  { V::transforms_logits } -> std::convertible_to<bool>;
  { variant.logit(attention::DoubleMath{}, 1.0, head, 1.0) } -> std::same_as<double>;
  { V::has_sink } -> std::convertible_to<bool>;
  { variant.sink_logit(head) } -> std::same_as<float>;
};

}  // namespace quire
