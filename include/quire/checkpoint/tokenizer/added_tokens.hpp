#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/checkpoint/tokenizer/unicode.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/utf8.hpp>

namespace quire::checkpoint::tokenizer {

/// A token that is found in the text before words are cut, such as `[BOS]`.
struct AddedToken {
  TokenId id = 0;
  std::string content{};
  bool single_word = false;  // only where no word character stands beside it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space after it along
  bool normalized = false;   // matched in normalised text, by its normalised content
  bool special = false;      // left out by decode(..., skip_special_tokens)
};

/// Finds added tokens in text: leftmost, and the longest of those that start at one place.
class AddedTokenMatcher {
 public:
  /// A part of the text: a token, or text to encode.
  struct Part {
    std::size_t begin = 0;
    std::size_t end = 0;
    const AddedToken* token = nullptr;
  };

  /// Adds a token under its text in this matcher; false when that text is taken.
  /// \pre text is not empty; token outlives the matcher
  bool add(std::string_view text, const AddedToken& token) {
    std::uint32_t node = 0;
    for (const char c : text) {
      const auto [at, is_new] = edges_.try_emplace(edge(node, c), nodes_);
      if (is_new) ++nodes_;
      node = at->second;
    }
    starts_[static_cast<unsigned char>(text.front())] = true;
    return ends_.emplace(node, &token).second;
  }
  [[nodiscard]] bool empty() const { return ends_.empty(); }

  /// Cuts text into parts, in the order and with the overlaps of the reference library.
  /// \complexity O(|text| * longest token) at worst, O(|text|) when tokens begin with rare bytes
  [[nodiscard]] std::vector<Part> parts(std::string_view text, bool skip_special) const {
    std::vector<Part> out;
    std::size_t reached = 0;
    SpaceRun after;
    for (std::size_t at = 0; at < text.size();) {
      const Match match = longest_at(text, at);
      if (match.token == nullptr) {
        ++at;
        continue;
      }
      std::size_t begin = at;
      std::size_t end = at + match.size;
      at = end;
      const AddedToken& token = *match.token;
      if (skip_special && token.special) continue;
      if (token.single_word && (word_before(text, begin) || word_after(text, end))) continue;
      if (token.lstrip) begin = space_before(text, begin, reached);
      if (token.rstrip) end = after.end(text, end);
      if (reached < begin) out.push_back({reached, begin, nullptr});
      out.push_back({begin, end, &token});
      reached = end;
    }
    if (reached != text.size()) out.push_back({reached, text.size(), nullptr});
    return out;
  }

 private:
  struct Match {
    const AddedToken* token = nullptr;
    std::size_t size = 0;
  };
  /// The end of the white space at a place; remembers the last run, so that many tokens inside one
  /// run do not each walk through it.
  struct SpaceRun {
    std::size_t from = 0, to = 0;
    std::size_t end(std::string_view text, std::size_t at) {
      if (at >= from && at <= to && to > from) return to;
      from = at;
      for (to = at; to < text.size();) {
        const utf8::Step step = utf8::decode(text.substr(to));
        if (!is_space(step.point)) break;
        to += step.size;
      }
      return to;
    }
  };

  [[nodiscard]] static std::uint64_t edge(std::uint32_t node, char c) {
    return (static_cast<std::uint64_t>(node) << 8) | static_cast<unsigned char>(c);
  }
  [[nodiscard]] Match longest_at(std::string_view text, std::size_t at) const {
    Match best;
    if (!starts_[static_cast<unsigned char>(text[at])]) return best;
    std::uint32_t node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      const auto next = edges_.find(edge(node, text[i]));
      if (next == edges_.end()) break;
      node = next->second;
      if (const auto end = ends_.find(node); end != ends_.end()) {
        best = {end->second, i + 1 - at};
      }
    }
    return best;
  }
  /// Start of the character that ends before `at`. \pre at > 0
  [[nodiscard]] static std::size_t previous(std::string_view text, std::size_t at) {
    do --at;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
    return at;
  }
  [[nodiscard]] static bool word_before(std::string_view text, std::size_t at) {
    return at > 0 && is_word(utf8::decode(text.substr(previous(text, at))).point);
  }
  [[nodiscard]] static bool word_after(std::string_view text, std::size_t at) {
    return at < text.size() && is_word(utf8::decode(text.substr(at)).point);
  }
  [[nodiscard]] static std::size_t space_before(std::string_view text, std::size_t at,
                                                std::size_t reached) {
    while (at > reached) {
      const std::size_t start = previous(text, at);
      if (!is_space(utf8::decode(text.substr(start)).point)) return at;
      at = start;
    }
    return reached;  // as in the reference, also when a stripped match before reaches past this one
  }

  std::uint32_t nodes_ = 1;
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;
  std::unordered_map<std::uint32_t, const AddedToken*> ends_;
  bool starts_[256] = {};
};

}  // namespace quire::checkpoint::tokenizer
