#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/checkpoint/tokenizer/byte_level.hpp>
#include <quire/checkpoint/tokenizer/nfc.hpp>
#include <quire/checkpoint/tokenizer/word_split.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/utf8.hpp>

/// What happens to text before and around the byte-pair encoding, as plain data.
namespace quire::checkpoint::tokenizer {

/// Replaces every occurrence, from left to right.
/// \pre from is not empty
inline void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::size_t found = text.find(from);
  if (found == std::string::npos) return;
  std::string out;
  std::size_t at = 0;
  for (; found != std::string::npos; found = text.find(from, at)) {
    out.append(text, at, found - at).append(to);
    at = found + from.size();
  }
  out.append(text, at);
  text = std::move(out);
}

/// One step of the normaliser.
struct NormalizerStep {
  enum class Kind { nfc, prepend, replace };
  Kind kind = Kind::nfc;
  std::string pattern;  // of replace
  std::string content;  // put in place of the pattern, or before the text

  void apply(std::string& text) const {
    switch (kind) {
      case Kind::nfc:
        text = nfc(text);
        return;
      case Kind::prepend:
        if (!text.empty()) text.insert(0, content);
        return;
      case Kind::replace:
        replace_all(text, pattern, content);
        return;
    }
  }
};

/// How text is cut into the words that byte-pair encoding sees one by one.
struct PreTokenizer {
  enum class Kind {
    none,        // the whole text is one word
    byte_level,  // words by a pattern, bytes written in the byte-level alphabet
    metaspace,   // spaces become a visible sign, words may start at it
  };
  enum class Prepend { never, always, first };

  Kind kind = Kind::none;
  std::optional<WordPattern> pattern;  // of byte_level; empty: the whole text is one word
  bool prefix_space = false;           // of byte_level: put a space before text without one
  std::string space;                   // of metaspace: the sign
  Prepend prepend = Prepend::never;    // of metaspace: put the sign before text without one
  bool split = false;                  // of metaspace: each sign starts a word

  /// Calls `emit` with each word; `at_start`: the text begins where the whole input begins.
  template <class Emit>
  void each_word(std::string_view text, bool at_start, Emit emit) const {
    if (kind == Kind::none) return emit(text);
    std::string changed;
    if (kind == Kind::metaspace) {
      changed = text;
      replace_all(changed, " ", space);
      const bool wanted = prepend == Prepend::always || (prepend == Prepend::first && at_start);
      if (wanted && !changed.starts_with(space)) changed.insert(0, space);
      if (!split) return emit(std::string_view(changed));
      for (std::size_t at = 0; at < changed.size();) {
        const std::size_t next = std::min(changed.find(space, at + 1), changed.size());
        emit(std::string_view(changed).substr(at, next - at));
        at = next;
      }
      return;
    }
    if (prefix_space && !text.starts_with(' ')) {
      changed.append(" ").append(text);
      text = changed;
    }
    if (!pattern) return emit(std::string_view(byte_level::encode(text)));
    WordSplitter(text, *pattern).each([&](std::string_view word) {
      emit(std::string_view(byte_level::encode(word)));
    });
  }
};

/// Ids that go around the ids of a text.
struct Template {
  std::vector<TokenId> before;
  std::vector<TokenId> after;
};

}  // namespace quire::checkpoint::tokenizer
