// One file: both back ends of each small class beside each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/simt/simt.cuh>
#if !defined(__CUDACC__)
#include <quire/core/aligned.hpp>
#endif

namespace quire::simt {

/// A stream of one's own: its work runs in order, beside that of other streams and of the host.
/// The default Stream{} is not ordered with it.
class OwnStream {
 public:
#if defined(__CUDACC__)
  OwnStream() {
    check(cudaStreamCreateWithFlags(&stream_.handle, cudaStreamNonBlocking),
          "cudaStreamCreateWithFlags", "");
  }
  ~OwnStream() { cudaStreamDestroy(stream_.handle); }
  /// The host waits for all that the stream was given. \errors state, naming `what` it waited for
  void synchronise(std::string_view what) const {
    check(cudaStreamSynchronize(stream_.handle), "cudaStreamSynchronize", what);
  }
#else
  OwnStream() : stream_{emulator::device().create_stream()} {}
  ~OwnStream() {
    try {
      emulator::device().destroy_stream(stream_.id);
    } catch (const Error&) {  // told to whoever waits; a destructor cannot
    }
  }
  void synchronise(std::string_view what) const {
    emulator::device().synchronise_stream(stream_.id, what);
  }
#endif
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  operator Stream() const { return stream_; }

 private:
  Stream stream_;
};

/// A point in a stream's work; one that was never recorded has passed.
class Event {
 public:
#if defined(__CUDACC__)
  Event() {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags",
          "");
  }
  ~Event() { cudaEventDestroy(event_); }
  void record(Stream s) { check(cudaEventRecord(event_, s.handle), "cudaEventRecord", ""); }
  /// What the stream is given from now on comes after the event.
  void order(Stream s) const {
    check(cudaStreamWaitEvent(s.handle, event_, 0), "cudaStreamWaitEvent", "");
  }
  void synchronise(std::string_view what) const {
    check(cudaEventSynchronize(event_), "cudaEventSynchronize", what);
  }
#else
  Event() = default;
  void record(Stream s) { ticket_ = emulator::device().record(s.id); }
  void order(Stream s) const { emulator::device().wait(s.id, ticket_); }
  void synchronise(std::string_view what) const { emulator::device().synchronise(ticket_, what); }
#endif
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

 private:
#if defined(__CUDACC__)
  cudaEvent_t event_ = nullptr;
#else
  emulator::Ticket ticket_ = 0;
#endif
};

/// Work of one stream, recorded once and launched many times: the same kernels on the same
/// addresses, for the price of one launch. Within a capture nobody may allocate, wait, or copy from
/// memory that is not pinned.
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
#if defined(__CUDACC__)
  ~Graph() {
    if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
  }
  [[nodiscard]] bool empty() const { return graph_ == nullptr; }
  /// Records what `work()` gives to the stream; nothing of it runs.
  template <class Work>
  void capture(Stream s, const Work& work) {
    cudaGraph_t made = nullptr;
    check(cudaStreamBeginCapture(s.handle, cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture", "");
    try {
      work();
    } catch (...) {
      if (cudaStreamEndCapture(s.handle, &made) == cudaSuccess) cudaGraphDestroy(made);
      (void)cudaGetLastError();
      throw;
    }
    check(cudaStreamEndCapture(s.handle, &made), "cudaStreamEndCapture", "");
    const cudaError_t status = cudaGraphInstantiate(&graph_, made, 0);
    cudaGraphDestroy(made);
    check(status, "cudaGraphInstantiate", "");
  }
  void launch(Stream s) const { check(cudaGraphLaunch(graph_, s.handle), "cudaGraphLaunch", ""); }
#else
  [[nodiscard]] bool empty() const { return recorded_.empty(); }
  template <class Work>
  void capture(Stream s, const Work& work) {
    emulator::device().begin_capture(s.id, recorded_);
    try {
      work();
    } catch (...) {
      emulator::device().end_capture();
      recorded_.clear();
      throw;
    }
    emulator::device().end_capture();
  }
  void launch(Stream s) const {
    ++emulator::device().replays;
    emulator::device().enqueue(s.id, "cudaGraphLaunch", "graph", [all = recorded_] {
      for (const emulator::Device::Recorded& r : all) r.run();
    });
  }
#endif

 private:
#if defined(__CUDACC__)
  cudaGraphExec_t graph_ = nullptr;
#else
  std::vector<emulator::Device::Recorded> recorded_;
#endif
};

/// An array in the host's memory that the device reaches and copies from and to on its own.
/// \errors state when the memory is not there: says how much was asked for
template <class T>
class PinnedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  PinnedArray() = default;
#if defined(__CUDACC__)
  explicit PinnedArray(std::size_t size) : size_(size) {
    void* p = nullptr;
    if (size == 0) return;
    const cudaError_t status = cudaHostAlloc(&p, size * sizeof(T), cudaHostAllocPortable);
    if (status != cudaSuccess) {
      (void)cudaGetLastError();
      if (status == cudaErrorMemoryAllocation) {
        throw no_room(size * sizeof(T), "pinned host memory");
      }
      check(status, "cudaHostAlloc", "");
    }
    data_ = static_cast<T*>(p);
  }
  ~PinnedArray() {
    if (data_ != nullptr) cudaFreeHost(data_);
  }
  PinnedArray(PinnedArray&& o) noexcept
      : size_(std::exchange(o.size_, 0)), data_(std::exchange(o.data_, nullptr)) {}
#else
  explicit PinnedArray(std::size_t size) : size_(size), memory_(size), data_(memory_.data()) {
    emulator::device().pin(data_, size_ * sizeof(T));
  }
  ~PinnedArray() { emulator::device().unpin(data_, size_ * sizeof(T)); }
  PinnedArray(PinnedArray&& o) noexcept
      : size_(std::exchange(o.size_, 0)), data_(std::exchange(o.data_, nullptr)) {
    std::swap(memory_, o.memory_);
  }
#endif
  PinnedArray& operator=(PinnedArray&& o) noexcept {
    std::swap(size_, o.size_);
    std::swap(data_, o.data_);
#if !defined(__CUDACC__)
    std::swap(memory_, o.memory_);
#endif
    return *this;
  }
  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::size_t size_ = 0;
#if !defined(__CUDACC__)
  AlignedArray<T> memory_;
#endif
  T* data_ = nullptr;
};

/// Copies from pinned memory, which must stay as it is until the stream has done so.
template <class T>
void copy_to_device(T* to, const T* pinned, std::size_t count, Stream s, std::string_view what) {
  if (count == 0) return;
#if defined(__CUDACC__)
  check(cudaMemcpyAsync(to, pinned, count * sizeof(T), cudaMemcpyHostToDevice, s.handle),
        "cudaMemcpyAsync", what);
#else
  emulator::device().check_pinned(pinned, count * sizeof(T), what);
  emulator::device().enqueue(s.id, "cudaMemcpyAsync", what,
                             [=] { std::copy_n(pinned, count, to); });
#endif
}
/// Copies to pinned memory, which nobody may read until the stream has done so.
template <class T>
void copy_to_host(T* pinned, const T* from, std::size_t count, Stream s, std::string_view what) {
  if (count == 0) return;
#if defined(__CUDACC__)
  check(cudaMemcpyAsync(pinned, from, count * sizeof(T), cudaMemcpyDeviceToHost, s.handle),
        "cudaMemcpyAsync", what);
#else
  emulator::device().check_pinned(pinned, count * sizeof(T), what);
  std::memset(static_cast<void*>(pinned), 0xff, count * sizeof(T));
  emulator::device().enqueue(s.id, "cudaMemcpyAsync", what,
                             [=] { std::copy_n(from, count, pinned); });
#endif
}

/// Fills with zeros.
template <class T>
void clear(T* to, std::size_t count, Stream s, std::string_view what) {
  if (count == 0) return;
#if defined(__CUDACC__)
  check(cudaMemsetAsync(to, 0, count * sizeof(T), s.handle), "cudaMemsetAsync", what);
#else
  emulator::device().enqueue(s.id, "cudaMemsetAsync", what, [=] { std::fill_n(to, count, T{}); });
#endif
}

/// Multiprocessors of the device in use; few in the emulator, where idle blocks cost time. \errors state
[[nodiscard]] inline std::uint32_t multiprocessors() {
#if defined(__CUDACC__)
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "cudaGetDevice", "multiprocessors");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute", "multiprocessors");
  return static_cast<std::uint32_t>(count);
#else
  return 2;
#endif
}

/// The host waits for everything.
inline void synchronise_device() {
#if defined(__CUDACC__)
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize", "");
#else
  emulator::device().synchronise_all();
#endif
}

}  // namespace quire::simt
