#pragma once

#include <quire/memory/block_pool.hpp>
#include <quire/memory/block_table.hpp>
#include <quire/memory/buddy_allocator.hpp>
#include <quire/memory/usage.hpp>
