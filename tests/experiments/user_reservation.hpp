#pragma once

// What a user's own reservation looks like.
#include <algorithm>
#include <string_view>

#include <quire/reservation/concepts.hpp>

namespace lab {

/// The prompt and 256 tokens more, within what the model can take.
struct PromptAndSome {
  static constexpr std::string_view name = "prompt_and_some";
  static constexpr bool contiguous = true;
  static quire::Tokens reserve(const quire::LengthHint& hint) {
    return std::min<quire::Tokens>(hint.prompt + 256, hint.max_length);
  }
};

}  // namespace lab
