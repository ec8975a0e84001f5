#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/utf8.hpp>

namespace quire::checkpoint::tokenizer {

/// Byte-pair encoding of one word: characters become symbols, and the adjacent pair of lowest rank
/// is merged, leftmost first, until no pair has a rank.
/// \source Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units",
/// ACL '16; details as in the `tokenizers` library, version 0.23.
class Bpe {
 public:
  struct Options {
    bool byte_fallback = false;  // a character without a symbol becomes pieces <0x00> .. <0xFF>
    bool fuse_unknown = false;   // neighbouring unknown characters become one unknown
    bool ignore_merges = false;  // a word that is a piece is taken whole
    std::optional<TokenId> unknown{};
  };
  struct Merge {
    std::uint32_t rank = 0;
    TokenId result = 0;
  };
  /// Memory that one caller reuses from word to word.
  struct Scratch {
    struct Symbol {
      TokenId id;
      std::uint32_t previous;
      std::uint32_t next;
      bool alive;
    };
    struct Candidate {
      std::uint32_t rank;
      std::uint32_t at;
      TokenId result;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  Bpe() = default;
  // The map's keys point into the pieces.
  Bpe(const Bpe&) = delete;
  Bpe& operator=(const Bpe&) = delete;
  Bpe(Bpe&&) = default;
  Bpe& operator=(Bpe&&) = default;

  /// Takes the pieces, each with its id.
  /// \pre pieces and ids are unique; ids are below `bound`
  void set_pieces(std::vector<std::pair<std::string, TokenId>> pieces, std::size_t bound) {
    pieces_ = std::move(pieces);
    by_id_.assign(bound, none);
    ids_.reserve(pieces_.size());
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      ids_.emplace(pieces_[i].first, pieces_[i].second);
      by_id_[pieces_[i].second] = static_cast<std::uint32_t>(i);
    }
    for (std::size_t point = 0; point < direct_.size(); ++point) {
      std::string text;
      utf8::append(text, static_cast<char32_t>(point));
      direct_[point] = find(text).value_or(no_token);
    }
    for (std::size_t byte = 0; byte < bytes_.size(); ++byte) {
      bytes_[byte] = find(byte_piece(static_cast<unsigned char>(byte))).value_or(no_token);
    }
  }
  void set_options(Options options) { options_ = options; }
  void reserve_merges(std::size_t count) { merges_.reserve(count); }
  /// Adds the next merge, of rank = number of merges so far; false when the pair is known.
  bool add_merge(TokenId left, TokenId right, TokenId result) {
    const auto rank = static_cast<std::uint32_t>(merges_.size());
    return merges_.emplace(key(left, right), Merge{rank, result}).second;
  }

  [[nodiscard]] std::size_t size() const { return pieces_.size(); }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] std::optional<TokenId> find(std::string_view piece) const {
    const auto at = ids_.find(piece);
    return at == ids_.end() ? std::nullopt : std::optional(at->second);
  }
  [[nodiscard]] std::optional<std::string_view> piece(TokenId id) const {
    if (id >= by_id_.size() || by_id_[id] == none) return std::nullopt;
    return pieces_[by_id_[id]].first;
  }
  /// The piece that stands for a byte when there is no symbol for its character.
  [[nodiscard]] static std::string byte_piece(unsigned char byte) {
    constexpr std::string_view hex = "0123456789ABCDEF";
    return {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>'};
  }
  /// True when every byte has its piece <0x00> .. <0xFF>.
  [[nodiscard]] bool has_byte_pieces() const {
    return std::find(bytes_.begin(), bytes_.end(), no_token) == bytes_.end();
  }

  /// Appends the ids of one word.
  /// \pre word is valid UTF-8
  /// \complexity O(n log n) in the word's characters
  /// \errors usage when the word has 2^32 characters or more
  void encode(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const {
    if (word.empty()) return;
    if (options_.ignore_merges) {
      if (const auto whole = find(word)) return out.push_back(*whole);
    }
    if (word.size() >= std::numeric_limits<std::uint32_t>::max()) {
      throw usage_error("text to encode", "a word of " + std::to_string(word.size()) + " bytes",
                        "less than 4 GiB");
    }
    read_symbols(word, scratch.symbols);
    merge(scratch);
    for (const Scratch::Symbol& symbol : scratch.symbols) {
      if (symbol.alive) out.push_back(symbol.id);
    }
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  static constexpr TokenId no_token = std::numeric_limits<TokenId>::max();

  [[nodiscard]] static std::uint64_t key(TokenId left, TokenId right) {
    return (static_cast<std::uint64_t>(left) << 32) | right;
  }

  void read_symbols(std::string_view word, std::vector<Scratch::Symbol>& symbols) const {
    symbols.clear();
    const auto add = [&](TokenId id) {
      const auto at = static_cast<std::uint32_t>(symbols.size());
      symbols.push_back({id, at - 1, at + 1, true});
    };
    bool unknown_pending = false;
    for (std::size_t at = 0; at < word.size();) {
      const utf8::Step step = utf8::decode(word.substr(at));
      const std::string_view character = word.substr(at, step.size);
      at += step.size;
      const TokenId id =
          step.point < direct_.size() ? direct_[step.point] : find(character).value_or(no_token);
      if (id != no_token) {
        if (std::exchange(unknown_pending, false)) add(*options_.unknown);
        add(id);
        continue;
      }
      const auto has_piece = [&](char c) {
        return bytes_[static_cast<unsigned char>(c)] != no_token;
      };
      if (options_.byte_fallback && std::all_of(character.begin(), character.end(), has_piece)) {
        // As in the reference, a pending unknown comes after these bytes, not before.
        for (const char c : character) add(bytes_[static_cast<unsigned char>(c)]);
        continue;
      }
      if (!options_.unknown) continue;  // refused when the file is read
      if (unknown_pending && !options_.fuse_unknown) add(*options_.unknown);
      unknown_pending = true;
    }
    if (unknown_pending) add(*options_.unknown);
    if (!symbols.empty()) {
      symbols.front().previous = none;
      symbols.back().next = none;
    }
  }

  [[nodiscard]] static bool later(const Scratch::Candidate& a, const Scratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  }
  void consider(Scratch& scratch, std::uint32_t left, std::uint32_t right) const {
    if (left == none || right == none) return;
    const auto found = merges_.find(key(scratch.symbols[left].id, scratch.symbols[right].id));
    if (found != merges_.end()) {
      scratch.heap.push_back({found->second.rank, left, found->second.result});
    }
  }
  void merge(Scratch& scratch) const {
    auto& symbols = scratch.symbols;
    auto& heap = scratch.heap;
    heap.clear();
    for (std::uint32_t i = 0; i + 1 < symbols.size(); ++i) consider(scratch, i, i + 1);
    std::make_heap(heap.begin(), heap.end(), later);
    const auto push = [&](std::uint32_t left, std::uint32_t right) {
      const std::size_t before = heap.size();
      consider(scratch, left, right);
      if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), later);
    };
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), later);
      const Scratch::Candidate top = heap.back();
      heap.pop_back();
      Scratch::Symbol& left = symbols[top.at];
      if (!left.alive || left.next == none) continue;
      Scratch::Symbol& right = symbols[left.next];
      // The pair may have changed since it was put on the heap.
      const auto found = merges_.find(key(left.id, right.id));
      if (found == merges_.end() || found->second.result != top.result) continue;
      left.id = top.result;
      left.next = right.next;
      right.alive = false;
      if (left.next != none) symbols[left.next].previous = top.at;
      push(left.previous, top.at);
      push(top.at, left.next);
    }
  }

  std::vector<std::pair<std::string, TokenId>> pieces_;
  std::vector<std::uint32_t> by_id_;  // index of a piece, or none
  std::unordered_map<std::string_view, TokenId> ids_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::array<TokenId, 0x180> direct_{};  // ids of the first characters, the byte-level ones among
  std::array<TokenId, 256> bytes_{};     // ids of <0x00> .. <0xFF>
  Options options_;
};

}  // namespace quire::checkpoint::tokenizer
