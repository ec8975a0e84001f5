#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <quire/admission/concepts.hpp>

namespace quire::admission {

/// Every computed block is cached.
/// \complexity O(1), nothing to do.
/// \errors none.
/// \source What vLLM's automatic prefix caching and SGLang's radix cache do in device memory.
class Always {
 public:
  static constexpr std::string_view name = "always";
  static constexpr bool admits_all = true;
  explicit Always(BlockCount) {}

  void on_request(const BlockContext&) {}
  [[nodiscard]] bool admit(const BlockContext&, std::optional<std::uint64_t>) const { return true; }
};
static_assert(AdmissionPolicy<Always>);

}  // namespace quire::admission
