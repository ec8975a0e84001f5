// mechanism: matrices whose bytes lie ready, in memory of their own or in a file that is mapped
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/huge_vector.hpp>

namespace quire::model {

/// A matrix as it is multiplied with: what an image of the weights holds of it.
struct PackedMatrix {
  std::span<const std::byte> bytes{};  // pieces of piece_bytes each; starts on 64 bytes
  std::size_t pieces = 0;              // panels, or rows of a table
  std::size_t piece_bytes = 0;
  std::span<const float> bias{};           // \shape (outputs), or empty
  std::span<const std::uint32_t> order{};  // of inputs, or empty: their own
  std::shared_ptr<const void> owner{};     // of the bytes, where they are not the matrix's own
  std::string where{};                     // file and name, for errors
};

/// The bytes of a matrix: its own, or those of an image that stays in memory as long.
class MatrixBytes {
 public:
  MatrixBytes() = default;
  /// Room of its own, zero so far. Where a matrix that has room for huge pages begins on one, more of it
  /// lies on them.
  explicit MatrixBytes(std::size_t size)
      : own_(size, size < huge_page ? 64 : huge_page), data_(own_.data()), size_(size) {
    ask_for_huge_pages(own_.data(), own_.size());
  }
  /// Those of an image. \errors data when they are not so many, or do not start on 64 bytes
  MatrixBytes(const PackedMatrix& from, std::size_t pieces, std::size_t piece_bytes)
      : owner_(from.owner), data_(from.bytes.data()), size_(from.bytes.size()) {
    if (from.pieces != pieces || from.piece_bytes != piece_bytes) {
      throw data_error(
          from.where,
          std::to_string(from.pieces) + " pieces of " + std::to_string(from.piece_bytes) + " bytes",
          std::to_string(pieces) + " of " + std::to_string(piece_bytes) +
              ": an image of this model in this format");
    }
    if (reinterpret_cast<std::uintptr_t>(data_) % 64 != 0) {
      throw data_error(from.where, "its bytes do not start on a multiple of 64",
                       "an image as `quire image` writes it");
    }
  }

  /// Has those of an image read before they are first touched, in large reads and not by page faults.
  /// alone: nothing behind them, where the system would read ahead; and without waiting. Otherwise in the
  /// fastest way, in which the pages are there at once when it returns
  /// \pre not called by two threads at a time
  void fetch([[maybe_unused]] bool alone) const {
    if (owner_ == nullptr || fetched_) return;
    fetched_ = true;
    constexpr std::uintptr_t page = 4096;
    const auto begin = reinterpret_cast<std::uintptr_t>(data_), end = begin + size_;
    const std::uintptr_t first = begin / page * page;
    auto* const at = reinterpret_cast<void*>(first);
    // wishes: refused, pages come as they are touched
#ifdef MADV_POPULATE_READ
    if (!alone && ::madvise(at, end - first, MADV_POPULATE_READ) == 0) return;
#endif
    (void)::madvise(at, end - first, MADV_WILLNEED);
  }

  [[nodiscard]] std::byte* room() { return own_.data(); }  // null: they are not its own
  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// What keeps them in memory; null where they are its own.
  [[nodiscard]] const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  AlignedArray<std::byte> own_;
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  mutable bool fetched_ = false;
};

}  // namespace quire::model
