#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/simt/simt.cuh>
#if !defined(__CUDACC__)
#include <quire/core/aligned.hpp>
#endif

namespace quire::simt {

/// An array in a device's memory; in the emulator, in the host's.
/// \errors state when the memory is not there: says how much was asked for
template <class T>
class DeviceArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  DeviceArray() = default;
  explicit DeviceArray(std::size_t size) : size_(size) { allocate(); }
  explicit DeviceArray(std::span<const T> from) : DeviceArray(from.size()) { upload(from); }
  DeviceArray(DeviceArray&& o) noexcept
      : size_(std::exchange(o.size_, 0)), data_(std::exchange(o.data_, nullptr)) {
    swap_memory(o);
  }
  DeviceArray& operator=(DeviceArray&& o) noexcept {
    std::swap(size_, o.size_);
    std::swap(data_, o.data_);
    swap_memory(o);
    return *this;
  }
  ~DeviceArray() { release(); }

  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  /// Makes room for `size` elements; what was there is lost when it grows.
  void reserve(std::size_t size) {
    if (size > size_) *this = DeviceArray(size + size / 4);
  }
  [[nodiscard]] std::size_t bytes() const { return size_ * sizeof(T); }
  /// Copies from the host to the beginning. \pre from.size() <= size()
  void upload(std::span<const T> from, [[maybe_unused]] Stream stream = {}) {
    if (from.empty()) return;
#if defined(__CUDACC__)
    check(cudaMemcpyAsync(data_, from.data(), from.size_bytes(), cudaMemcpyHostToDevice,
                          stream.handle),
          "cudaMemcpyAsync", "upload");
#else
    if (emulator::device().captures(stream.id)) {
      throw device_error("cudaMemcpyAsync", "upload", "captures a copy from memory not pinned");
    }
    if (stream.id == 0) {
      std::copy(from.begin(), from.end(), data_);
    } else {  // memory that is not pinned is read before the call returns
      emulator::device().enqueue(stream.id, "cudaMemcpyAsync", "upload",
                                 [to = data_, all = std::vector<T>(from.begin(), from.end())] {
                                   std::copy(all.begin(), all.end(), to);
                                 });
    }
#endif
  }
  /// Makes room for, and copies, all of it.
  void assign(std::span<const T> from, Stream stream = {}) {
    reserve(from.size());
    upload(from, stream);
  }
  /// Copies to the host, after all work of the stream, and waits for it. \pre to.size() <= size()
  void download(std::span<T> to, [[maybe_unused]] Stream stream = {}) const {
    if (to.empty()) return;
#if defined(__CUDACC__)
    check(cudaMemcpyAsync(to.data(), data_, to.size_bytes(), cudaMemcpyDeviceToHost, stream.handle),
          "cudaMemcpyAsync", "download");
    check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize", "download");
#else
    emulator::device().synchronise_stream(stream.id, "download");
    std::copy_n(data_, to.size(), to.data());
#endif
  }

 private:
#if defined(__CUDACC__)
  void allocate() {
    if (size_ == 0) return;
    void* p = nullptr;
    if (const cudaError_t status = cudaMalloc(&p, size_ * sizeof(T)); status != cudaSuccess) {
      (void)cudaGetLastError();
      if (status == cudaErrorMemoryAllocation) throw no_room(size_ * sizeof(T));
      check(status, "cudaMalloc", "");
    }
    data_ = static_cast<T*>(p);
  }
  void release() {
    if (data_ != nullptr) cudaFree(data_);
  }
  void swap_memory(DeviceArray&) {}
#else
  void allocate() {
    emulator::device().allocate(size_ * sizeof(T));
    memory_ = AlignedArray<T>(size_);
    data_ = memory_.data();
  }
  void release() { emulator::device().release(size_ * sizeof(T)); }
  void swap_memory(DeviceArray& o) { std::swap(memory_, o.memory_); }
  AlignedArray<T> memory_;
#endif
  std::size_t size_ = 0;
  T* data_ = nullptr;
};

}  // namespace quire::simt
