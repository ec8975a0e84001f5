#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace quire {

/// A fixed array of plain values that starts on a 64-byte line, or where it is asked to. Memory that was
/// never written is zero and costs no page until it is touched.
template <class T>
class AlignedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedArray() = default;
  /// alignment: in bytes, a power of two
  explicit AlignedArray(std::size_t size, std::size_t alignment = 64) : size_(size) {
    if (size == 0) return;
    if (size > (PTRDIFF_MAX - alignment) / sizeof(T)) throw std::bad_array_new_length();
    // calloc takes zero pages straight from the system; what it lacks is the alignment
    memory_.reset(static_cast<std::byte*>(std::calloc(size * sizeof(T) + alignment, 1)));
    if (!memory_) throw std::bad_alloc();
    void* p = memory_.get();
    std::size_t space = size * sizeof(T) + alignment;
    data_ = static_cast<T*>(std::align(alignment, size * sizeof(T), p, space));
  }

  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T& operator[](std::size_t i) { return data_[i]; }
  [[nodiscard]] const T& operator[](std::size_t i) const { return data_[i]; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace quire
