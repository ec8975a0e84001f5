#pragma once

#include <quire/offload/attention_store.hpp>
#include <quire/offload/concepts.hpp>
#include <quire/offload/cost_based.hpp>
#include <quire/offload/host_cache.hpp>
#include <quire/offload/overlapped_swap.hpp>
#include <quire/offload/proactive_swap.hpp>
#include <quire/offload/recompute.hpp>
#include <quire/offload/recompute_single_swap_group.hpp>
#include <quire/offload/swap_to_host.hpp>
#include <quire/offload/tiered.hpp>
#include <quire/offload/tiered_look_ahead.hpp>
#include <quire/offload/tiered_overlapped.hpp>
