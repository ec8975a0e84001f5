#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <quire/core/hash.hpp>
#include <quire/workload/sharegpt.hpp>

namespace quire::workload {

/// Conversations: each prompt is the last `context` tokens of all that was said before and of the
/// new question. Questions and replies have ShareGPT's lengths.
/// \source Kwon et al., SOSP '23, Figure 17; the artifact starts a new conversation with
/// probability 0.5 for vLLM and 0.1 for Orca, so say which one is meant.
struct ChatOptions {
  Tokens context = 1024;         // most prompt tokens; what is older is cut off
  Tokens max_output = 1024;      // longer replies are cut
  double new_probability = 0.5;  // of a request to start a conversation, else a random one goes on
  GeneratorOptions generator = {};
};

namespace detail {

/// Cuts off the oldest tokens until `limit` are left. What is left of a cut chunk begins elsewhere
/// in the text, so that it is other content than the whole chunk.
inline void keep_last(std::vector<PromptChunk>& chunks, Tokens limit) {
  Tokens total = 0;
  for (const PromptChunk& c : chunks) total += c.tokens;
  auto first = chunks.begin();
  while (total > limit && total - first->tokens >= limit) total -= (first++)->tokens;
  chunks.erase(chunks.begin(), first);
  if (total > limit) {
    const Tokens cut = total - limit;
    chunks.front().content =
        hash_combine(chunks.front().content, static_cast<std::uint64_t>(cut.value));
    chunks.front().tokens -= cut;
  }
}

}  // namespace detail

/// Turns of conversations. Arrivals do not wait for the turn before (an open loop, as in the
/// paper). A reply's chunk is what its request generates, so the next turn finds it in a prefix index
/// if it was computed by then. \errors usage
/// error: no context or output, a probability outside [0, 1], and as sharegpt().
[[nodiscard]] inline Workload chat(const ChatOptions& options = {}) {
  if (options.context < Tokens(1) || options.max_output < Tokens(1)) {
    throw usage_error("chat", "context and max_output leave nothing", "at least 1 token each");
  }
  if (!(options.new_probability >= 0 && options.new_probability <= 1)) {
    throw usage_error("new_probability", "is no probability", "from 0 to 1");
  }
  Workload out = detail::generate("chat", options.generator, ShareGptLengths{});
  struct Conversation {
    std::vector<PromptChunk> said;
    std::int32_t turns = 0;
  };
  std::vector<Conversation> conversations;
  Rng rng(mix64(options.generator.seed) ^ 0x6368617400000000u);  // "chat"
  for (Request& r : out.requests) {
    const bool starts = rng.uniform() < options.new_probability || conversations.empty();
    if (starts) conversations.emplace_back();
    const std::size_t which = starts ? conversations.size() - 1
                                     : static_cast<std::size_t>(rng.below(conversations.size()));
    Conversation& conversation = conversations[which];
    const Tokens output = std::min(*r.output_length, options.max_output);
    conversation.said.push_back({2 * r.id.value, r.prompt_length});
    detail::keep_last(conversation.said, options.context);
    r.chunks = conversation.said;
    r.prompt_length = 0;
    for (const PromptChunk& c : r.chunks) r.prompt_length += c.tokens;
    r.output_length = r.sampling.max_tokens = output;
    r.session = which + 1;
    r.turn = conversation.turns++;
    r.reply = 2 * r.id.value + 1;
    conversation.said.push_back({r.reply, output});
  }
  out.provenance.parameters += ", context " + std::to_string(options.context.value) +
                               ", new_probability " + std::to_string(options.new_probability);
  return out;
}

}  // namespace quire::workload
