#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include <quire/core/float16.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kernels/convert/convert.cuh>
#include <quire/model/matrix.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>

namespace quire::executor {

/// The name that a checkpoint's numbers of an element go by; empty where it has none.
template <class Element>
inline constexpr std::string_view element_name{};
template <>
inline constexpr std::string_view element_name<float> = "fp32";
template <>
inline constexpr std::string_view element_name<Fp16> = "fp16";
template <>
inline constexpr std::string_view element_name<Bf16> = "bf16";

/// The way of a checkpoint's numbers to a device: threads copy a part of them into pinned memory while the part before
/// goes over the link; what is of another element than the device's matrix is rounded there, by a kernel. Of the
/// host's processors it takes no arithmetic.
class Uploads {
 public:
  static constexpr std::size_t part_bytes =
      simt::emulated ? std::size_t{4} << 10 : std::size_t{4} << 20;
  static constexpr std::size_t most_threads = 8;

  Uploads()
      : threads_(simt::emulated ? 3
                                : std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1,
                                                          most_threads)) {
    for (Part& part : parts_) part.pinned = simt::PinnedArray<std::byte>(part_bytes);
  }

  /// Copies all rows of a source of plain numbers, and returns when they are there. \shape to (outputs, inputs)
  /// \pre takes(source)
  template <class Element>
  void rows(const model::MatrixSource& source, Element* to) {
    if (source.element == element_name<float>) {
      rows_of<float>(source, to);
    } else if (source.element == element_name<Fp16>) {
      rows_of<Fp16>(source, to);
    } else {
      rows_of<Bf16>(source, to);
    }
  }
  [[nodiscard]] static bool takes(const model::MatrixSource& source) {
    return !source.element.empty();
  }

  /// Those that matrices of this thread are made by; null outside of any ScopedUploads.
  [[nodiscard]] static Uploads*& current() {
    thread_local Uploads* uploads = nullptr;
    return uploads;
  }

 private:
  struct Part {
    simt::PinnedArray<std::byte> pinned;
    simt::DeviceArray<std::byte> staged;  // where numbers are rounded from
    simt::Event gone;                     // over the link, and out of what was staged
  };

  template <class In, class Element>
  void rows_of(const model::MatrixSource& source, Element* to) {
    constexpr std::size_t most = part_bytes / sizeof(In);  // numbers of a part
    std::size_t which = 0;
    for (std::size_t row = 0; row < source.outputs;) {
      const model::StoredRows run = source.stored(row);
      const std::size_t count = run.count * source.inputs;
      for (std::size_t at = 0; at < count; at += most, which = 1 - which) {
        const std::size_t n = std::min(most, count - at);
        send<In>(parts_[which], run.begin + at * sizeof(In), n, to + row * source.inputs + at);
      }
      row += run.count;
    }
    stream_.synchronise("weights");
  }
  template <class In, class Element>
  void send(Part& part, const std::byte* from, std::size_t count, Element* to) {
    const std::size_t bytes = count * sizeof(In);
    part.gone.synchronise("weights");
    const std::size_t slice = (bytes + threads_.size() - 1) / threads_.size();
    threads_.parallel_for(threads_.size(), [&](std::size_t i) {
      const std::size_t begin = std::min(bytes, i * slice), end = std::min(bytes, begin + slice);
      std::memcpy(part.pinned.data() + begin, from + begin, end - begin);
    });
    if constexpr (std::is_same_v<In, Element>) {
      simt::copy_to_device(reinterpret_cast<std::byte*>(to), part.pinned.data(), bytes, stream_,
                           "weights");
    } else {
      if (part.staged.empty()) part.staged = simt::DeviceArray<std::byte>(part_bytes);
      simt::copy_to_device(part.staged.data(), part.pinned.data(), bytes, stream_, "weights");
      using Kernel = kernels::Convert<In, Element>;
      const std::size_t blocks = (count + Kernel::threads - 1) / Kernel::threads;
      simt::launch<Kernel>({{static_cast<unsigned>(std::min<std::size_t>(blocks, 1024))}},
                           {reinterpret_cast<const In*>(part.staged.data()), to, count}, stream_);
    }
    part.gone.record(stream_);
  }

  std::array<Part, 2> parts_;
  ThreadPool threads_;
  simt::OwnStream stream_;
};

/// Lends matrices that are made during its life one pair of parts, whose allocation takes as long as a copy.
class ScopedUploads {
 public:
  ScopedUploads() : before_(std::exchange(Uploads::current(), &uploads_)) {}
  ~ScopedUploads() { Uploads::current() = before_; }
  ScopedUploads(const ScopedUploads&) = delete;
  ScopedUploads& operator=(const ScopedUploads&) = delete;

 private:
  Uploads uploads_;
  Uploads* before_;
};

}  // namespace quire::executor
