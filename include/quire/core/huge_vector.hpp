#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace quire {

inline constexpr std::size_t huge_page = std::size_t{2} << 20;

/// Asks for huge pages under the whole ones in [memory, memory + bytes). A wish: refused,
/// it costs speed alone.
inline void ask_for_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr std::uintptr_t page = huge_page;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t first = (begin + page - 1) / page * page,
                       end = (begin + bytes) / page * page;
  if (first < end) (void)::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

/// Puts large arrays on huge pages where the system gives them on request.
///
/// Arrays that are read at random miss the address translation cache long before they miss the data
/// caches, and under a hypervisor each such miss walks two page tables. Small arrays, and systems
/// without the request, get plain memory.
/// \complexity as operator new; one system call for 2 MiB or more.
template <class T>
struct HugePageAllocator {
  using value_type = T;
  static constexpr std::size_t page = huge_page;

  HugePageAllocator() = default;
  template <class U>
  HugePageAllocator(const HugePageAllocator<U>&) {}  // NOLINT: allocators convert

  [[nodiscard]] T* allocate(std::size_t n) {
    const std::size_t bytes = n * sizeof(T);
    if (bytes < page) return static_cast<T*>(::operator new(bytes, small_align));
    void* const memory = ::operator new (bytes, std::align_val_t{page});
    ask_for_huge_pages(memory, bytes);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t n) {
    ::operator delete (memory, n * sizeof(T) < page ? small_align : std::align_val_t{page});
  }
  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }

 private:
  static constexpr std::align_val_t small_align{alignof(T) < 16 ? 16 : alignof(T)};
};

/// A vector for large arrays that are read at random.
template <class T>
using huge_vector = std::vector<T, HugePageAllocator<T>>;

}  // namespace quire
