#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <experiments/retention/texts.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/tokenizer.hpp>
#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>

/// Texts that formats are fitted on, or that are read: a file in a model's tokens.
namespace quire::quality {

/// What is read of fewer tokens says little of a channel's range: levels and scales fitted to it are
/// those of the few tokens.
inline constexpr std::size_t least_tokens = 512;

/// The texts of a file: stories, a line each, of a .jsonl, or any text, cut after every `length` tokens; at most 64.
/// \errors data, with the line
[[nodiscard]] inline std::vector<std::vector<TokenId>> calibration_texts(
    const std::string& path, const checkpoint::Tokenizer& tokenizer, std::size_t most = 64,
    std::size_t length = 512) {
  std::vector<std::vector<TokenId>> texts;
  if (path.ends_with(".jsonl")) {
    for (const experiment::Story& s : experiment::read_stories(path, tokenizer, most)) {
      texts.push_back(s.tokens);
    }
  } else {
    std::error_code none;
    std::ifstream file(path, std::ios::binary);
    if (!file || std::filesystem::is_directory(path, none)) {
      throw data_error(path, "cannot be read", "a text");
    }
    std::string text(std::size_t{1} << 20, '\0');  // more than 64 times 512 tokens
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    const std::vector<TokenId> tokens = tokenizer.encode(text);
    for (std::size_t i = 0; i < tokens.size() && texts.size() < most; i += length) {
      texts.emplace_back(
          tokens.begin() + static_cast<std::ptrdiff_t>(i),
          tokens.begin() + static_cast<std::ptrdiff_t>(std::min(tokens.size(), i + length)));
    }
  }
  std::size_t tokens = 0;
  for (const auto& text : texts) tokens += text.size();
  if (tokens < least_tokens) {
    throw data_error(path, "it holds " + std::to_string(tokens) + " tokens",
                     std::to_string(least_tokens) + " or more to fit formats on");
  }
  return texts;
}

/// Pieces of a text of one's own, of 512 tokens, each begun as the model's texts begin. No questions.
/// \errors data where there are too few tokens for an interval
[[nodiscard]] inline std::vector<experiment::Story> pieces_of(const std::string& path,
                                                              const checkpoint::Checkpoint& model,
                                                              std::size_t count) {
  const std::int64_t longest = model.config.shape.max_length.value;
  const auto length = static_cast<std::size_t>(std::min<std::int64_t>(512, longest));
  std::vector<experiment::Story> stories;
  for (std::vector<TokenId>& text : calibration_texts(path, *model.tokenizer, count, length)) {
    if (text.size() < 2) continue;
    const bool begun =
        !stories.empty() && model.config.bos && stories.front().tokens.front() == *model.config.bos;
    if (begun) text.front() = *model.config.bos;
    experiment::Story s;
    s.tokens = std::move(text);
    s.asked = s.tokens.size();
    stories.push_back(std::move(s));
  }
  if (stories.size() < 2) {
    throw data_error(path, "it holds one piece of " + std::to_string(length) + " tokens",
                     "two or more: intervals are over pieces");
  }
  return stories;
}

}  // namespace quire::quality
