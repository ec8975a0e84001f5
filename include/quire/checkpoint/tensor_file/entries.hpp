// mechanism: checks of tensors that every format's reader makes
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/text.hpp>

namespace quire::checkpoint::tensor_file {

inline constexpr std::size_t most_dimensions = 16;

/// What an error calls a tensor.
[[nodiscard]] inline std::string named(std::string_view name) {
  return "tensor " + in_quotes(name, 120);
}

/// Bytes that a tensor takes. \errors data where a dimension is negative or the product does not fit
[[nodiscard]] inline std::uint64_t bytes_of(const TensorSet::Entry& t, const std::string& where) {
  if (t.shape.size() > most_dimensions) {
    throw data_error(where,
                     named(t.name) + " has " + std::to_string(t.shape.size()) + " dimensions",
                     "at most " + std::to_string(most_dimensions));
  }
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  auto bytes = static_cast<std::uint64_t>(size_of(t.dtype));
  bool empty = false;  // [0, 2^40] is empty, but [2^40, 2^40, 0] must not overflow on the way
  for (const std::int64_t dim : t.shape) {
    if (dim < 0 || (dim > 0 && bytes > most / static_cast<std::uint64_t>(dim))) {
      throw data_error(where, named(t.name) + " has shape " + shape_text(t.shape),
                       "dimensions whose product with the element's size fits 63 bits");
    }
    empty = empty || dim == 0;
    if (dim > 0) bytes *= static_cast<std::uint64_t>(dim);
  }
  return empty ? 0 : bytes;
}

/// \errors data for a name that safetensors has not
[[nodiscard]] inline DType dtype_of(std::string_view name, std::string_view tensor,
                                    const std::string& where) {
  if (const auto dtype = dtype_named(name)) return *dtype;
  throw data_error(where, named(tensor) + " is of the unknown type " + in_quotes(name),
                   "BOOL, U8 to U64, I8 to I64, F8_E5M2, F8_E4M3, F16, BF16, F32 or F64");
}

/// Tensors of a file under names that are checked to be its own.
/// \errors data for a name that occurs twice
[[nodiscard]] inline TensorSet set_of(const std::string& path,
                                      std::vector<TensorSet::Entry> entries,
                                      std::vector<std::shared_ptr<const void>> owners) {
  TensorSet set(path, std::move(entries), std::move(owners), {path});
  for (std::size_t i = 1; i < set.size(); ++i) {
    if (set.all()[i].name != set.all()[i - 1].name) continue;
    throw data_error(path, named(set.all()[i].name) + " occurs twice", "each name once");
  }
  return set;
}

/// Tensors that a reader puts together in memory of its own.
class Gathered {
 public:
  /// Room for a tensor whose bytes are found one after the other.
  [[nodiscard]] std::byte* add(TensorSet::Entry entry, std::uint64_t bytes) {
    auto memory = std::make_shared<AlignedArray<std::byte>>(static_cast<std::size_t>(bytes));
    std::byte* const to = memory->data();
    entry.bytes = {to, memory->size()};
    entries_.push_back(std::move(entry));
    owners_.push_back(std::move(memory));
    return to;
  }
  [[nodiscard]] const TensorSet::Entry& last() const { return entries_.back(); }
  [[nodiscard]] TensorSet set(const std::string& path) {
    return set_of(path, std::move(entries_), std::move(owners_));
  }

 private:
  std::vector<TensorSet::Entry> entries_;
  std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace quire::checkpoint::tensor_file
