#pragma once

#include <quire/memory/block_pool.hpp>
#include <quire/memory/block_table.hpp>
#include <quire/memory/buddy_allocator.hpp>
#include <quire/memory/contiguous_memory.hpp>
#include <quire/memory/host_tier.hpp>
#include <quire/memory/paged_memory.hpp>
#include <quire/memory/prefix_pins.hpp>
#include <quire/memory/prefix_statistics.hpp>
#include <quire/memory/usage.hpp>
