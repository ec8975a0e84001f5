#pragma once

#include <quire/memory/block_pool.hpp>
#include <quire/memory/block_table.hpp>
#include <quire/memory/buddy_allocator.hpp>
#include <quire/memory/contiguous_memory.hpp>
#include <quire/memory/disk_io.hpp>
#include <quire/memory/disk_tier.hpp>
#include <quire/memory/host_tier.hpp>
#include <quire/memory/paged_memory.hpp>
#include <quire/memory/prefix_pins.hpp>
#include <quire/memory/prefix_statistics.hpp>
#include <quire/memory/stored_block.hpp>
#include <quire/memory/tier.hpp>
#include <quire/memory/tier_manifest.hpp>
#include <quire/memory/tier_slots.hpp>
#include <quire/memory/tiered_cache.hpp>
#include <quire/memory/usage.hpp>
