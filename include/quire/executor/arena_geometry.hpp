#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <quire/core/error.hpp>
#include <quire/core/ids.hpp>
#include <quire/core/units.hpp>
#include <quire/executor/concepts.hpp>
#include <quire/kv_format/concepts.hpp>
#include <quire/model/shape.hpp>
#include <quire/offload/concepts.hpp>

namespace quire::executor {

/// Blocks of `block_bytes` that a pool has: as many as were asked for, or, asked for none, what
/// `memory` holds.
/// \errors usage, for memory that holds not even one; `option` names it
[[nodiscard]] inline BlockCount blocks_of(std::string_view option, BlockCount asked, Bytes memory,
                                          std::int64_t block_bytes) {
  if (asked == BlockCount{0} && memory > Bytes{0} && memory.value < block_bytes) {
    throw usage_error(option, std::to_string(memory.value) + " bytes hold no block",
                      std::to_string(block_bytes) + " bytes, the size of one, or more");
  }
  return asked > BlockCount{0} ? asked : BlockCount{memory.value / block_bytes};
}

/// Returns the bytes of one block of configuration C: the slabs of keys and values of each layer
/// and KV head.
template <class C>
[[nodiscard]] std::int64_t arena_block_bytes(const model::Shape& s) {
  return static_cast<std::int64_t>(kv_format::block_bytes<typename C::KvFormat>(
      static_cast<std::size_t>(s.layers), static_cast<std::size_t>(s.kv_heads),
      static_cast<std::size_t>(C::BlockSize::tokens.value), static_cast<std::size_t>(s.head_dim)));
}

/// Sizes the pools of an executor that keeps its blocks, of `block` bytes, in arenas. Options name them as
/// Cpu::Options does: device_blocks or kv_memory, host_blocks or host_memory, disk_blocks or disk_memory; disk;
/// costs.
/// \errors usage, for a disk tier without a directory, and pools that hold no block
template <class C, class Options>
[[nodiscard]] KvGeometry arena_geometry(const Options& options, std::int64_t block) {
  KvGeometry g;
  g.device_blocks = blocks_of("kv_memory", options.device_blocks, options.kv_memory, block);
  if (C::Offload::uses_host) {
    g.host_blocks = blocks_of("host_memory", options.host_blocks, options.host_memory, block);
  }
  g.block_tokens = C::BlockSize::tokens;
  g.tiers = tier_rules<typename C::Offload>();
  g.costs = options.costs;
  g.block_bytes = block;
  if (g.tiers.uses_disk) {
    if (options.disk.directory.empty()) {
      throw usage_error(
          "disk.directory",
          "is empty, and offload policy " + std::string(C::Offload::name) + " has a disk tier",
          "a directory for its files");
    }
    g.disk_blocks = blocks_of("disk_memory", options.disk_blocks, options.disk_memory, block);
  }
  return g;
}
/// The same with blocks of the configuration's own KV format.
template <class C, class Options>
[[nodiscard]] KvGeometry arena_geometry(const Options& options) {
  return arena_geometry<C>(options, arena_block_bytes<C>(options.model.config.shape));
}

}  // namespace quire::executor
