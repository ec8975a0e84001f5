#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>

namespace quire::executor {

/// What a step tells its kernels, sent to the device in one copy. Lists lie in the order in which they
/// were added, so that steps that add lists of equal lengths find them at equal addresses.
class StepData {
 public:
  explicit StepData(std::size_t bytes) { make_room(bytes); }

  void clear() { bytes_.clear(); }
  /// Adds a list; returns where it lies.
  template <class T>
  std::size_t add(std::span<const T> list) {
    const std::size_t at = (bytes_.size() + 15) / 16 * 16;
    bytes_.resize(at + list.size_bytes());
    if (!list.empty()) std::memcpy(bytes_.data() + at, list.data(), list.size_bytes());
    return at;
  }
  template <class T>
  std::size_t add(const std::vector<T>& list) {
    return add(std::span<const T>(list));
  }
  /// Sends all lists; returns false when they moved to another address.
  bool send(simt::Stream stream) {
    const bool stays = bytes_.size() <= device_.size();
    if (!stays) make_room(bytes_.size() * 2);
    turn_ ^= 1u;
    sent_[turn_].synchronise("step data");  // of the step before the last: long past
    std::memcpy(pinned_[turn_].data(), bytes_.data(), bytes_.size());
    simt::copy_to_device(device_.data(), pinned_[turn_].data(), bytes_.size(), stream, "step data");
    sent_[turn_].record(stream);
    return stays;
  }
  /// The list that was added at `offset`. Valid until the next send.
  template <class T>
  [[nodiscard]] const T* at(std::size_t offset) const {
    return reinterpret_cast<const T*>(device_.data() + offset);
  }

 private:
  void make_room(std::size_t bytes) {
    device_ = simt::DeviceArray<std::byte>(bytes);
    for (auto& p : pinned_) p = simt::PinnedArray<std::byte>(bytes);
  }

  std::vector<std::byte> bytes_;
  simt::DeviceArray<std::byte> device_;
  simt::PinnedArray<std::byte> pinned_[2];
  simt::Event sent_[2];
  unsigned turn_ = 0;
};

}  // namespace quire::executor
