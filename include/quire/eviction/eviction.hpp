#pragma once

#include <quire/eviction/concepts.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/eviction/lru.hpp>
