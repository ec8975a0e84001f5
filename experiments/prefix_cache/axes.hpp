#pragma once

#include <string_view>

#include <quire/core/type_list.hpp>
#include <quire/engine/changed_slots.hpp>
#include <quire/engine/override.hpp>
#include <quire/prefix_index/prefix_index.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/presets/vllm_prefix_cache.hpp>
#include <quire/scheduler/longest_prefix.hpp>

namespace quire::experiment {

/// Off, then on with each index: one slot moved.
using Off = presets::Vllm;
using HashChain = presets::VllmPrefixCache;
using RadixTree = with<HashChain, set_prefix_index<prefix_index::RadixTree>>;
using TokenRadixTree = with<HashChain, set_prefix_index<prefix_index::TokenRadixTree>>;
/// On, and requests that share a prefix run together.
using CacheAware = with<HashChain, set_scheduler<scheduler::LongestPrefix>>;

static_assert(changed_slots<HashChain, Off> == Slot::prefix_index);
static_assert(changed_slots<RadixTree, Off> == Slot::prefix_index);
static_assert(changed_slots<TokenRadixTree, Off> == Slot::prefix_index);
static_assert(changed_slots<CacheAware, HashChain> == Slot::scheduler);

using Systems = type_list<Off, HashChain, RadixTree, TokenRadixTree, CacheAware>;

}  // namespace quire::experiment
