#pragma once

#include <cstddef>
#include <string_view>

#include <quire/kv_format/channel_groups.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/kv_format/int4_grouped.hpp>
#include <quire/kv_format/rows.hpp>

namespace quire::kv_format {

/// Values of a token in groups of channels; the newest `window` tokens are read as they were.
template <unsigned bits, std::size_t group, std::size_t window>
struct WindowedGroups : BlockRows<blockwise::Asymmetric<bits, group>> {
  static constexpr std::size_t residual = window;
};

/// Keys per channel over `group` tokens, values per token over `group` channels, asymmetric; the newest
/// tokens in fp16: keys until `window` of them are packed together, values always the last `window`.
/// bits + 32 / group bits a value, and the window of each running sequence beside the pool, which the
/// pool's size does not count.
/// A step's own tokens are read as they were, a prompt that comes in one step among them: so results
/// depend on how prompts are cut into steps. A block that samples or beams of one request share is packed
/// when the first of them is past it; texts of different requests share none: a prefix index is refused.
/// \source Liu et al., "KIVI", ICML '24, models/llama_kivi.py: group 32, window 128 or 32.
template <unsigned bits, std::size_t group = 32, std::size_t window = 128>
struct Kivi {
  static constexpr auto text =
      Name<>().add("kivi").add(bits).add("_g").add(group).add("_r").add(window);
  static constexpr std::string_view name = text;
  using Keys = ChannelGroups<bits, group, window>;
  using Values = WindowedGroups<bits, group, window>;
};
static_assert(KvFormatPolicy<Kivi<2>>);

}  // namespace quire::kv_format
