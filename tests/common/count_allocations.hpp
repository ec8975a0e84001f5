// Counts every allocation of the program. It replaces operator new, so that one file of a program
// includes it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace quire::testing {
inline std::atomic<std::size_t> allocations{0};

[[gnu::noinline]] inline void* counted_allocation(std::size_t size, std::size_t align) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* p = std::aligned_alloc(align, (size + align - 1) / align * align);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
}  // namespace quire::testing

void* operator new(std::size_t size) {
  return quire::testing::counted_allocation(size == 0 ? 1 : size, 16);
}
void* operator new(std::size_t size, std::align_val_t align) {
  return quire::testing::counted_allocation(size == 0 ? 1 : size, static_cast<std::size_t>(align));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
