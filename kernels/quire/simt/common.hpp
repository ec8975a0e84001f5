#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <quire/core/error.hpp>

namespace quire::simt {

/// Whether kernels run on the emulator: many lanes cost time there, and hide nothing.
#if defined(__CUDACC__)
inline constexpr bool emulated = false;
#else
inline constexpr bool emulated = true;
#endif

inline constexpr unsigned warp_lanes = 32;
inline constexpr unsigned full_mask = 0xffffffffu;

/// A place or an extent in a grid of blocks.
struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  friend constexpr bool operator==(const Dim3&, const Dim3&) = default;
};

/// How a kernel is laid out on a device; blocks are one-dimensional, Kernel::threads wide.
struct LaunchShape {
  Dim3 grid{};
  std::size_t shared_bytes = 0;  // dynamic shared memory a block, all that a kernel has
};

/// Elements that move together in one load or store.
template <class T, unsigned n>
struct alignas(sizeof(T) * n) Vector {
  T v[n];
};

/// A kernel as a type.
///
/// - Params: plain data, passed by value; pointers in it are device pointers, with shapes in comments.
/// - name: what errors, profiles and rows call it.
/// - threads: threads a block, a multiple of 32.
/// - run(params): the body of one thread, written against quire::simt alone.
/// Optional: blocks_per_multiprocessor, a promise to the compiler that bounds registers.
template <class K>
concept KernelType = std::is_trivially_copyable_v<typename K::Params> &&
    requires(const typename K::Params& params) {
  { K::name } -> std::convertible_to<std::string_view>;
  { K::threads } -> std::convertible_to<unsigned>;
  { K::run(params) } -> std::same_as<void>;
  requires K::threads % warp_lanes == 0 && K::threads <= 1024;
};

template <class K>
constexpr unsigned blocks_per_multiprocessor() {
  if constexpr (requires { K::blocks_per_multiprocessor; }) {
    return K::blocks_per_multiprocessor;
  } else {
    return 1;
  }
}

/// The step that calls of this thread belong to; errors name it.
inline std::optional<std::uint64_t>& current_step() {
  thread_local std::optional<std::uint64_t> step;
  return step;
}
class ScopedStep {
 public:
  explicit ScopedStep(std::uint64_t step) : before_(std::exchange(current_step(), step)) {}
  ~ScopedStep() { current_step() = before_; }
  ScopedStep(const ScopedStep&) = delete;
  ScopedStep& operator=(const ScopedStep&) = delete;

 private:
  std::optional<std::uint64_t> before_;
};

/// What a failed call of the device's interface is told as. `work`: the kernel or copy; may be empty
[[nodiscard]] inline Error device_error(std::string_view call, std::string_view work,
                                        std::string_view why) {
  std::string where = work.empty() ? "device" : "kernel " + std::string(work);
  if (current_step()) where += " in step " + std::to_string(*current_step());
  return state_error(where, std::string(call) + ": " + std::string(why));
}
/// The same for memory that is not there.
[[nodiscard]] inline Error no_room(std::size_t bytes, std::string_view memory = "device memory") {
  return state_error(memory, "no room for another " + std::to_string(bytes) + " bytes",
                     "a smaller model, shorter batches or fewer KV blocks");
}

/// Largest dynamic shared memory of a block that both sm_80 and sm_90 grant; a kernel that runs on sm_90
/// alone may name another limit, Kernel::most_shared_bytes.
inline constexpr std::size_t most_shared_bytes = 163 * 1024;
template <class K>
constexpr std::size_t shared_limit() {
  if constexpr (requires { K::most_shared_bytes; }) {
    return K::most_shared_bytes;
  } else {
    return most_shared_bytes;
  }
}

}  // namespace quire::simt
