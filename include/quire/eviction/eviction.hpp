#pragma once

#include <quire/eviction/belady.hpp>
#include <quire/eviction/clock.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/eviction/lfu.hpp>
#include <quire/eviction/lru.hpp>
#include <quire/eviction/s3_fifo.hpp>
#include <quire/eviction/sieve.hpp>
