#pragma once

#include <quire/core/type_list.hpp>
#include <quire/eviction/eviction.hpp>

namespace quire::experiment {

/// Every eviction policy; Belady knows the future and stands on top.
using Policies = type_list<eviction::Fifo, eviction::Lru, eviction::Mru, eviction::Clock,
                           eviction::Lfu, eviction::LfuDa, eviction::TwoQ, eviction::LruK,
                           eviction::Slru, eviction::Arc, eviction::S3Fifo, eviction::Sieve,
                           eviction::WTinyLfu, eviction::Gdsf, eviction::Hyperbolic,
                           eviction::Priority, eviction::RandomMarking, eviction::TailOptimizedLru,
                           eviction::LeadingChunkFirst, eviction::WorkloadAware, eviction::Belady>;

}  // namespace quire::experiment
