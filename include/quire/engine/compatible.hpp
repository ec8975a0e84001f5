#pragma once

#include <cstddef>
#include <string_view>

#include <quire/engine/config.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/prefix_index/concepts.hpp>
#include <quire/retention/concepts.hpp>
#include <quire/speculation/concepts.hpp>

namespace quire {

/// Whether a scheduler promises never to preempt (`static constexpr bool never_preempts = true`).
template <class Scheduler>
inline constexpr bool never_preempts = [] {
  if constexpr (requires { Scheduler::never_preempts; }) {
    return static_cast<bool>(Scheduler::never_preempts);
  } else {
    return false;
  }
}();

/// Whether a scheduler exchanges running groups for waiting ones of better rank
/// (`static constexpr bool preemptive = true`).
template <class Scheduler>
inline constexpr bool preempts_by_rank = [] {
  if constexpr (requires { Scheduler::preemptive; }) {
    return static_cast<bool>(Scheduler::preemptive);
  } else {
    return false;
  }
}();

/// Whether an eviction policy orders blocks by their next use (`static constexpr bool needs_next_use =
/// true`), which a replay of known references can tell it and a serving engine cannot.
template <class Eviction>
inline constexpr bool needs_next_use = [] {
  if constexpr (requires { Eviction::needs_next_use; }) {
    return static_cast<bool>(Eviction::needs_next_use);
  } else {
    return false;
  }
}();

/// Whether an offload policy has a disk tier (`static constexpr bool uses_disk = true`).
template <class Offload>
inline constexpr bool needs_disk = [] {
  if constexpr (requires { Offload::uses_disk; }) {
    return static_cast<bool>(Offload::uses_disk);
  } else {
    return false;
  }
}();

/// Whether an offload policy moves blocks while layers are computed (`static constexpr bool overlaps =
/// true`).
template <class Offload>
inline constexpr bool moves_by_layer = [] {
  if constexpr (requires { Offload::overlaps; }) {
    return static_cast<bool>(Offload::overlaps);
  } else {
    return false;
  }
}();

/// The slots whose policy is never asked, because of what stands in another slot: changing it changes
/// nothing. Eviction and admission have no cached block to decide on without a prefix index; offload
/// has nothing to do where memory is reserved whole and nobody is preempted.
template <FillsAllSlots C>
inline constexpr Slot unused_slots = [] {
  Slot unused = Slot::none;
  if (!C::PrefixIndex::enabled) unused = unused | Slot::eviction | Slot::admission;
  if (C::Reservation::contiguous) unused = unused | Slot::offload;
  return unused;
}();

/// Why a configuration's slots do not go together where KV is stored in a format with these traits, be it
/// the configuration's own or one that is chosen at run time; empty when they do.
template <FillsAllSlots C>
[[nodiscard]] constexpr std::string_view incompatible_with(const kv_format::KvTraits& kv) {
  using namespace std::string_view_literals;
  if (C::Reservation::contiguous && C::PrefixIndex::enabled) {
    return "prefix_index: blocks of a contiguous reservation cannot be shared"sv;
  }
  if (never_preempts<typename C::Scheduler> && !C::Reservation::contiguous) {
    return "scheduler: it never preempts, so it needs a contiguous reservation"sv;
  }
  if (preempts_by_rank<typename C::Scheduler> && C::Reservation::contiguous) {
    return "scheduler: it preempts, and a contiguous reservation is not given back half-way"sv;
  }
  if (C::PrefixIndex::enabled && needs_next_use<typename C::Eviction>) {
    return "eviction: it orders blocks by their next use, which an engine does not know"sv;
  }
  if (C::PrefixIndex::enabled && retention::drops_tokens<typename C::Retention>) {
    return "retention: a block whose tokens were dropped cannot be found by its text"sv;
  }
  if (C::Reservation::contiguous && retention::drops_tokens<typename C::Retention>) {
    return "retention: a contiguous reservation is not given back in parts"sv;
  }
  constexpr bool lists_tokens = retention::drops_tokens<typename C::Retention> ||
                                retention::selects_pages<typename C::Retention>;
  if (kv.keeps_open_blocks && lists_tokens) {
    return "kv_format: it packs tokens by their place in the text, which retention changes"sv;
  }
  if (kv.before_rotation && lists_tokens) {
    return "kv_format: it stores keys before rotary embedding, and retention reads them after it"sv;
  }
  if (kv.keeps_open_blocks && needs_disk<typename C::Offload>) {
    return "kv_format: tokens that it has not packed yet are not written to disk"sv;
  }
  constexpr bool guesses = speculation::guesses<speculation_of<C>>;
  if (guesses && kv.keeps_open_blocks) {
    return "speculation: tokens that turn out wrong are taken back, and kv_format has packed them"sv;
  }
  if (kv.keeps_open_blocks && MatchesParts<typename C::PrefixIndex>) {
    return "prefix_index: it shares a part of a block, and kv_format packs a block's tokens together"sv;
  }
  // A full block of the others is packed before anybody can find it.
  if (kv.keeps_window && C::PrefixIndex::enabled) {
    return "prefix_index: a block that texts share is packed when one of them is past it, and "
           "kv_format keeps a window of each as it was"sv;
  }
  if (kv.layers_differ && moves_by_layer<typename C::Offload>) {
    return "kv_format: its layers differ in size, and offload moves a block layer by layer"sv;
  }
  if (guesses && lists_tokens) {
    return "speculation: tokens that turn out wrong are taken back, and retention has counted them"sv;
  }
  if (guesses && C::Scheduler::pads) {
    return "speculation: static batching pads every sequence to the longest, drafts too"sv;
  }
  if (!kv.divides_block) {
    return "block_size: a block is no whole number of the KV format's groups of tokens, or its "
           "window no whole number of blocks"sv;
  }
  return ""sv;
}
/// The same with the configuration's own KV format. Sweeps skip such a variant and put the sentence in its
/// row; Engine refuses to compile it.
template <FillsAllSlots C>
inline constexpr std::string_view incompatible_because =
    incompatible_with<C>(kv_format::traits_of<typename C::KvFormat>(C::BlockSize::tokens.value));

}  // namespace quire
