#pragma once

#include <cctype>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace quire::experiment {

/// A word of the engine, and the flag that sets what it means.
using FlagWord = std::pair<std::string_view, std::string_view>;

inline constexpr FlagWord run_flags[] = {{"max_sequences", "--max-num-seqs"},
                                         {"max_batched_tokens", "--max-num-batched-tokens"},
                                         {"max_length", "--max-model-len"},
                                         {"the limit is", "--max-model-len leaves it"},
                                         {"max_batch", "--max-batch"},
                                         {"max_delay", "--max-delay-ms"},
                                         {"chunk", "--chunk-size"},
                                         {"watermark", "--watermark"},
                                         {"beam_width", "--beam-width"},
                                         {"kv_memory", "--kv-memory-gib"},
                                         {"host_memory", "--swap-space-gib"},
                                         {"disk.directory", "--disk-dir"},
                                         {"retention.budget", "--retention-budget"},
                                         {"retention.sinks", "--retention-sinks"}};

/// A sentence of the engine with the flags that its words mean: whoever typed a flag knows no other name.
/// Words of common English (chunk, watermark) are taken for the engine's only behind `limits.`.
[[nodiscard]] inline std::string in_flags(std::string text,
                                          std::span<const FlagWord> flags = run_flags) {
  constexpr std::string_view prefix = "limits.";
  const auto in_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  };
  for (const auto& [word, flag] : flags) {
    const bool plain = word.find_first_of("_. ") == std::string_view::npos;
    for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos;) {
      std::size_t begin = at;
      const std::size_t end = at + word.size();
      if (begin >= prefix.size() &&
          text.compare(begin - prefix.size(), prefix.size(), prefix) == 0) {
        begin -= prefix.size();
      }
      const bool whole = (begin == 0 || !in_word(text[begin - 1])) &&
                         (end == text.size() || !in_word(text[end]) ||
                          (text[end] == '.' && (end + 1 == text.size() || text[end + 1] == ' ')));
      if (!whole || (plain && begin == at)) {
        at = end;
        continue;
      }
      text.replace(begin, end - begin, flag);
      at = begin + flag.size();
    }
  }
  return text;
}

}  // namespace quire::experiment
