#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <quire/core/ids.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/units.hpp>
#include <quire/sampling/params.hpp>

namespace quire {

/// A stretch of prompt known only by identity: equal ids mean equal text. Traces with block hashes
/// and generated shared prefixes are made of these.
struct PromptChunk {
  std::uint64_t content = 0;
  Tokens tokens = 0;
};

/// How long a part of a request's text is worth keeping in the cache, in place of the request's priority.
/// Of several that hold a position the first counts.
/// \source TensorRT-LLM, KvCacheRetentionConfig. Deviations: there 100 is most urgent, and durations are
/// in milliseconds.
struct PriorityRange {
  Tokens begin = 0;
  Tokens end = std::numeric_limits<std::int64_t>::max();
  std::int32_t priority = 0;   // smaller is more urgent
  std::uint64_t duration = 0;  // in uses of cached blocks, any block's; 0: for ever
};

/// One request as a client sends it, or as a trace records it.
/// The prompt is given in one of three ways: token ids; chunks; or a length alone, in which case
/// its text is its own and shared with no other request.
struct Request {
  RequestId id{};
  Seconds arrival = 0.0;
  std::vector<TokenId> prompt{};
  std::vector<PromptChunk> chunks{};
  Tokens prompt_length = 0;  // equals prompt.size() or the sum of chunks where those are given
  /// Replay: every sequence runs exactly this many tokens, stop conditions are off.
  std::optional<Tokens> output_length{};
  /// Replay: content of what the first sequence generates, as a chunk's; later prompts may hold it.
  /// 0: what the executor draws.
  std::uint64_t reply = 0;
  SamplingParams sampling{};
  TenantId tenant{};
  std::int32_t priority = 0;                // smaller is more urgent
  std::vector<PriorityRange> priorities{};  // of parts of its text in the cache
  double weight = 1;                        // of its tenant, where service is shared by weights
  std::uint64_t salt = 0;                   // prefixes are shared between equal salts only
  Seconds keep_for = 0.0;  // its text is pinned in the prefix index for so long after its end
  /// Leading tokens of the prompt whose keys and values another instance has computed and sent with
  /// it; less than the prompt. They are there at its first admission, and lost when it is preempted.
  Tokens delivered = 0;
  std::uint64_t session = 0;  // turns of one conversation; 0: none
  std::int32_t turn = 0;
};

namespace detail {
[[nodiscard]] constexpr TokenId content_token(std::uint64_t stream, std::int64_t at) {
  return static_cast<TokenId>(counter_bits(0x71756972u, stream, static_cast<std::uint64_t>(at)) >>
                              33);
}
}  // namespace detail

/// Token `at` of a chunk of that content.
[[nodiscard]] constexpr TokenId chunk_token(std::uint64_t content, std::int64_t at) {
  return detail::content_token(mix64(content), at);
}

/// Token ids of a request's prompt; chunks and bare lengths get ids that are equal exactly where
/// the content is equal (up to a 32-bit collision). \shape (prompt_length)
[[nodiscard]] inline std::vector<TokenId> prompt_tokens(const Request& request) {
  if (!request.prompt.empty()) return request.prompt;
  std::vector<TokenId> tokens;
  tokens.reserve(static_cast<std::size_t>(request.prompt_length.value));
  auto fill = [&tokens](std::uint64_t stream, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      tokens.push_back(detail::content_token(stream, i));
    }
  };
  for (const PromptChunk& chunk : request.chunks) fill(mix64(chunk.content), chunk.tokens.value);
  if (request.chunks.empty()) fill(~mix64(request.id.value), request.prompt_length.value);
  return tokens;
}

}  // namespace quire
