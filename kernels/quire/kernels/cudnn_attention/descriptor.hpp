#pragma once

#include <cudnn.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>

namespace quire::kernels::cudnn {

/// What the library says of the call that failed last on this thread; empty when it says nothing.
[[nodiscard]] inline std::string last_words() {
  std::array<char, 1024> text{};
  cudnnGetLastErrorString(text.data(), text.size());
  return text.data();
}

/// \errors state, naming the call and what was asked of it, for any status but success
inline void check(cudnnStatus_t status, std::string_view call, std::string_view asked) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::string what = std::string(call) + ": " + cudnnGetErrorString(status);
  if (const std::string words = last_words(); !words.empty()) what += " (" + words + ")";
  throw state_error(asked, what);
}
/// Whether a status says that the library knows what is asked for and does not have it.
[[nodiscard]] inline bool refuses(cudnnStatus_t status) {
  return status / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000;
}

/// A descriptor of cuDNN's graph interface: made, given attributes, finished, and destroyed with this.
/// \errors state, naming the descriptor and what is done with it, when the library refuses
class Descriptor {
 public:
  Descriptor(cudnnBackendDescriptorType_t type, std::string name) : name_(std::move(name)) {
    check(cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor", name_);
  }
  Descriptor(Descriptor&& o) noexcept
      : name_(std::move(o.name_)), raw_(std::exchange(o.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& o) noexcept {
    std::swap(name_, o.name_);
    std::swap(raw_, o.raw_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (raw_ != nullptr) cudnnBackendDestroyDescriptor(raw_);
  }
  [[nodiscard]] cudnnBackendDescriptor_t raw() const { return raw_; }

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t what, cudnnBackendAttributeType_t type, const T& x) {
    return set_all(what, type, std::span<const T>(&x, 1));
  }
  template <class T>
  Descriptor& set_all(cudnnBackendAttributeName_t what, cudnnBackendAttributeType_t type,
                      std::span<const T> all) {
    check(cudnnBackendSetAttribute(raw_, what, type, static_cast<std::int64_t>(all.size()),
                                   all.data()),
          "cudnnBackendSetAttribute " + std::to_string(what), name_);
    return *this;
  }
  Descriptor& set(cudnnBackendAttributeName_t what, const Descriptor& other) {
    return set(what, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.raw());
  }
  Descriptor& finish() {
    check(try_to_finish(), "cudnnBackendFinalize", name_);
    return *this;
  }
  [[nodiscard]] cudnnStatus_t try_to_finish() { return cudnnBackendFinalize(raw_); }

  [[nodiscard]] std::int64_t number(cudnnBackendAttributeName_t what) const {
    std::int64_t x = 0, count = 0;
    check(cudnnBackendGetAttribute(raw_, what, CUDNN_TYPE_INT64, 1, &count, &x),
          "cudnnBackendGetAttribute " + std::to_string(what), name_);
    return x;
  }

 private:
  std::string name_;
  cudnnBackendDescriptor_t raw_ = nullptr;
};

}  // namespace quire::kernels::cudnn
