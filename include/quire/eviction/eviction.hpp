#pragma once

#include <quire/eviction/arc.hpp>
#include <quire/eviction/belady.hpp>
#include <quire/eviction/clock.hpp>
#include <quire/eviction/concepts.hpp>
#include <quire/eviction/fifo.hpp>
#include <quire/eviction/gdsf.hpp>
#include <quire/eviction/lfu.hpp>
#include <quire/eviction/lfu_da.hpp>
#include <quire/eviction/lru.hpp>
#include <quire/eviction/lru_k.hpp>
#include <quire/eviction/mru.hpp>
#include <quire/eviction/replay.hpp>
#include <quire/eviction/s3_fifo.hpp>
#include <quire/eviction/sieve.hpp>
#include <quire/eviction/slru.hpp>
#include <quire/eviction/two_q.hpp>
