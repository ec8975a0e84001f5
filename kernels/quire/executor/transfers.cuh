#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <quire/kernels/copy_blocks/copy_blocks.cuh>
#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>

namespace quire::executor {

/// The length of the longest beginning of `moves` whose order does not matter. within: source and
/// target are one pool
[[nodiscard]] inline std::size_t independent(std::span<const kernels::BlockMove> moves,
                                             bool within) {
  std::unordered_set<std::uint32_t> read, written;
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const kernels::BlockMove& m = moves[i];
    if (written.contains(m.to) || (within && (written.contains(m.from) || read.contains(m.to)))) {
      return i;
    }
    read.insert(m.from);
    written.insert(m.to);
  }
  return moves.size();
}

/// Runs moves in the order of the list; p.moves: the list on the device.
inline void run_moves(std::span<const kernels::BlockMove> moves, kernels::CopyBlocksParams p,
                      simt::Stream stream) {
  while (!moves.empty()) {
    const std::size_t count = independent(moves, p.source == p.target);
    kernels::copy_blocks(p, static_cast<std::uint32_t>(count), stream);
    p.moves += count;
    moves = moves.subspan(count);
  }
}

/// Moves of blocks in one direction between the device's pool and pinned host memory, on a stream of
/// their own.
class Transfers {
 public:
  /// layers: of a block, moved one after the other in `parts` parts at most, each with its event
  Transfers(std::size_t block_bytes, std::size_t layers, std::size_t parts)
      : block_bytes_(block_bytes), layers_(layers), parts_(std::min(parts, layers)), done_(parts_) {
    make_room(256);
  }

  [[nodiscard]] simt::Stream stream() const { return stream_; }
  /// Starts moves after what the stream waits for.
  void start(std::span<const kernels::BlockMove> moves, const std::byte* source,
             std::byte* target) {
    if (moves.size() > list_.size()) make_room(2 * moves.size());
    turn_ ^= 1u;
    sent_[turn_].synchronise("list of moves");
    std::copy(moves.begin(), moves.end(), pinned_[turn_].data());
    simt::copy_to_device(list_.data(), pinned_[turn_].data(), moves.size(), stream_,
                         "list of moves");
    sent_[turn_].record(stream_);
    for (std::size_t part = 0; part < parts_; ++part) {
      const std::size_t begin = first_layer(part) * layer_bytes();
      run_moves(moves,
                {source + begin, target + begin, first_layer(part + 1) * layer_bytes() - begin,
                 list_.data(), block_bytes_},
                stream_);
      done_[part].record(stream_);
    }
  }
  /// The host waits for all moves. \errors state, naming `what` it waited for
  void synchronise(std::string_view what) const { done_.back().synchronise(what); }
  /// What `stream` is given from now on comes after the last moves: of all layers, or, where a part
  /// begins with `layer`, of that part.
  void order(simt::Stream stream) const { done_.back().order(stream); }
  void order(simt::Stream stream, std::size_t layer) const {
    for (std::size_t part = 0; part < parts_; ++part) {
      if (first_layer(part) == layer) done_[part].order(stream);
    }
  }

 private:
  void make_room(std::size_t moves) {
    list_ = simt::DeviceArray<kernels::BlockMove>(moves);
    for (auto& p : pinned_) p = simt::PinnedArray<kernels::BlockMove>(moves);
  }
  [[nodiscard]] std::size_t first_layer(std::size_t part) const { return part * layers_ / parts_; }
  [[nodiscard]] std::size_t layer_bytes() const { return block_bytes_ / layers_; }

  std::size_t block_bytes_, layers_, parts_;
  simt::OwnStream stream_;
  simt::DeviceArray<kernels::BlockMove> list_;
  simt::PinnedArray<kernels::BlockMove> pinned_[2];
  simt::Event sent_[2];
  std::vector<simt::Event> done_;
  unsigned turn_ = 0;
};

}  // namespace quire::executor
