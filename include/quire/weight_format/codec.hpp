// mechanism: a weight format's functions as values, so that decoders and engines are compiled once for all
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <quire/core/error.hpp>
#include <quire/weight_format/concepts.hpp>
#include <quire/weight_format/grouped.hpp>

namespace quire::weight_format {

/// What a format does, as functions; see WeightFormatPolicy. Those that it does not offer are null.
struct WeightCodec {
  std::string_view name;
  bool plain = false;
  bool floats = false;  // a panel is the numbers themselves, inputs outermost
  std::size_t (*panel_bytes)(std::size_t outputs, std::size_t inputs) = nullptr;
  double (*weight_bytes)(std::size_t inputs) = nullptr;
  void (*pack)(std::byte*, std::size_t, std::size_t, const float*) = nullptr;
  void (*unpack)(const std::byte*, std::size_t, std::size_t, std::size_t, std::size_t,
                 float*) = nullptr;
  void (*read)(const std::byte*, std::size_t, std::size_t, std::size_t, float*) = nullptr;

  // Formats that hold integers as they are.
  void (*pack_codes)(std::byte*, std::size_t, const Grouped&, std::size_t) = nullptr;
  bool (*holds_zero)(std::uint8_t) = nullptr;
  unsigned code_bits = 0;
  std::size_t group = 0;  // 0: all inputs of an output

  // Formats with a product of their own.
  std::size_t (*row_bytes)(std::size_t inputs) = nullptr;
  void (*pack_row)(const float*, std::size_t, std::byte*) = nullptr;
  void (*add_products)(const std::byte*, std::size_t, std::size_t, const std::byte*, std::size_t,
                       float*, std::size_t) = nullptr;

  /// y += x W^T for few rows straight from a panel, with the bits of unpack() and a chain of fused
  /// multiply-adds for each element; null where weights are unpacked for it.
  void (*add_few)(const std::byte* panel, std::size_t outputs, std::size_t inputs, const float* x,
                  std::size_t x_stride, std::size_t rows, float* y, std::size_t y_stride) = nullptr;

  /// y = rows W^T over several panels for at least `many` rows, by another library, where a program asks
  /// for one (model/onednn.hpp); false where that has no kernel for them. Its sums may be formed in
  /// another order, and in another one for each number of rows.
  bool (*multiply_many)(const std::byte* panels, std::size_t outputs, std::size_t inputs,
                        const std::byte* rows, std::size_t count, float* y,
                        std::size_t y_stride) = nullptr;
  std::size_t many = 0;

  const WeightCodec* head = nullptr;  // of embedding and output matrix, where it is another one

  [[nodiscard]] const WeightCodec& of_head() const { return head != nullptr ? *head : *this; }
};

namespace detail {
template <WeightFormatPolicy F>
inline constexpr WeightCodec codec = [] {
  WeightCodec c;
  c.name = F::name;
  c.plain = PlainWeightFormat<F>;
  if constexpr (PlainWeightFormat<F>) c.floats = std::same_as<typename F::Element, float>;
  c.panel_bytes = &F::panel_bytes;
  c.weight_bytes = &F::weight_bytes;
  c.pack = &F::pack;
  c.unpack = &F::unpack;
  c.read = &F::read;
  if constexpr (requires { F::Block::code_bits; }) {
    c.pack_codes = &F::pack_codes;
    c.holds_zero = &F::Block::holds_zero;
    c.code_bits = F::Block::code_bits;
    c.group = F::Block::size;
  }
  if constexpr (requires {
                  requires F::row_code_bits >
                  0;
                }) {
    c.pack_codes = &F::pack_codes;
    c.holds_zero = &F::holds_zero;
    c.code_bits = F::row_code_bits;
  }
  if constexpr (ProductWeightFormat<F>) {
    c.row_bytes = &F::row_bytes;
    c.pack_row = &F::pack_row;
    c.add_products = &F::add_products;
  }
  if constexpr (requires(const std::byte* panel, const float* x, float* y) {
                  F::add_few(panel, 0, 0, x, 0, 0, y, 0);
                }) {
    c.add_few = &F::add_few;
  }
  if constexpr (requires { typename F::Head; }) c.head = &codec<typename F::Head>;
  return c;
}();
}  // namespace detail

/// A format's functions; one table a format, for the length of the program.
template <WeightFormatPolicy F>
[[nodiscard]] constexpr const WeightCodec& codec_of() {
  return detail::codec<F>;
}

/// Stands for every format that is read through a codec: what is compiled for it serves them all.
struct Packed {
  static constexpr std::string_view name = "packed";
  const WeightCodec* codec = nullptr;

  [[nodiscard]] std::size_t panel_bytes(std::size_t outputs, std::size_t inputs) const {
    return codec->panel_bytes(outputs, inputs);
  }
  void pack(std::byte* panel, std::size_t outputs, std::size_t inputs, const float* w) const {
    codec->pack(panel, outputs, inputs, w);
  }
  void unpack(const std::byte* panel, std::size_t outputs, std::size_t inputs, std::size_t first,
              std::size_t count, float* values) const {
    codec->unpack(panel, outputs, inputs, first, count, values);
  }
  void read(const std::byte* panel, std::size_t outputs, std::size_t inputs, std::size_t output,
            float* values) const {
    codec->read(panel, outputs, inputs, output, values);
  }
};

/// What decoders are compiled for: a plain format itself, Packed for all others.
template <class F>
using storage_of = std::conditional_t<PlainWeightFormat<F>, F, Packed>;

/// A format, or Packed with a codec to come.
template <class S>
concept WeightStorage = WeightFormatPolicy<S> || std::same_as<S, Packed>;

namespace detail {
template <class F>
struct HeadOf {
  using type = F;
};
template <class F>
requires requires { typename F::Head; }
struct HeadOf<F> {
  using type = typename F::Head;
};
}  // namespace detail
/// The format of embedding and output matrix.
template <class F>
using head_of = typename detail::HeadOf<F>::type;

/// Refuses a format that would round once more what a checkpoint holds in the numbers of others. Floats
/// take everything. held_by: names of the formats that hold them as they are \errors usage
inline void check_holds(const WeightCodec& format, std::span<const std::string_view> held_by) {
  const std::string_view name = format.name.substr(0, format.name.find("_head_"));
  if (format.plain || std::find(held_by.begin(), held_by.end(), name) != held_by.end()) return;
  std::string known;
  for (const std::string_view n : held_by) known += std::string(n) + ", ";
  throw usage_error("weight format " + std::string(format.name),
                    "the checkpoint is quantised already, in another way",
                    known + (known == "fp32, " ? "" : "fp32, ") + "fp16 or bf16");
}

/// Whether a format takes integers unchanged. Floats take everything; a format of other integers would
/// round a second time, which nobody asked for. \errors usage then
[[nodiscard]] inline bool takes_codes(const WeightCodec& format, const Grouped* codes) {
  if (format.plain) return false;
  const std::string where = "weight format " + std::string(format.name);
  if (codes == nullptr) {
    throw usage_error(where, "matrices that are read as one are quantised differently",
                      "fp32, fp16 or bf16 for this checkpoint");
  }
  bool fits = format.pack_codes != nullptr && format.code_bits == codes->bits &&
              (format.group == 0 ? codes->inputs : format.group) == codes->group &&
              (codes->group_of.empty() || !order_by_group(*codes).empty());
  for (std::size_t i = 0; fits && i < codes->zeros.size(); ++i) {
    fits = format.holds_zero(codes->zeros[i]);
  }
  if (fits) return true;
  if (!codes->group_of.empty() && order_by_group(*codes).empty()) {
    throw usage_error(where,
                      "the checkpoint is quantised already, in groups of different sizes, which no "
                      "packed format holds",
                      "fp32, fp16 or bf16");
  }
  const int middle = 1 << (codes->bits - 1);
  bool symmetric = true;
  for (const std::uint8_t z : codes->zeros) symmetric = symmetric && z == middle;
  throw usage_error(where,
                    "the checkpoint is quantised already, in " + std::to_string(codes->bits) +
                        " bits and groups of " + std::to_string(codes->group),
                    "int" + std::to_string(codes->bits) +
                        (codes->group == codes->inputs ? "_zero_point_per_channel"
                                                       : (symmetric ? "_g" : "_zero_point_g") +
                                                             std::to_string(codes->group)) +
                        ", or fp32, fp16 or bf16");
}

}  // namespace quire::weight_format
