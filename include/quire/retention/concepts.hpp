#pragma once

#include <concepts>
#include <string_view>

namespace quire {

/// Which tokens of a sequence keep their keys and values while it runs.
/// keeps_all: nothing is dropped, so that blocks can be shared and found again by their text.
template <class P>
concept RetentionPolicy = requires {
  { P::name } -> std::convertible_to<std::string_view>;
  { P::keeps_all } -> std::convertible_to<bool>;
};

}  // namespace quire
