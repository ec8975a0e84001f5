#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <type_traits>

#include <nccl.h>

#include <quire/core/error.hpp>
#include <quire/executor/communicator.cuh>
#include <quire/simt/streams.cuh>

namespace quire::executor {

/// Ranks on devices that NCCL connects, a process or a thread each. Copies are the same rank.
/// \errors state, naming the call, when NCCL refuses one; a rank that stays away is waited for
class Nccl {
 public:
  static constexpr std::string_view name = "nccl";

  /// A name for ranks that are to meet; one of them makes it and tells it to the others.
  [[nodiscard]] static ncclUniqueId meeting() {
    ncclUniqueId id;
    check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    return id;
  }
  /// Joins on the current device; returns when all have. \pre 0 <= rank < ranks, each of them once
  Nccl(const ncclUniqueId& meeting, int rank, int ranks) {
    ncclComm_t joined = nullptr;
    check(ncclCommInitRank(&joined, ranks, meeting, rank), "ncclCommInitRank");
    rank_ = {joined, [](ncclComm_t comm) { ncclCommDestroy(comm); }};
  }
  /// The only rank.
  Nccl() : Nccl(meeting(), 0, 1) {}

  void sum(float* x, std::size_t count, simt::Stream stream) const {
    check(ncclAllReduce(x, x, count, ncclFloat, ncclSum, rank_.get(), stream.handle),
          "ncclAllReduce");
  }

 private:
  static void check(ncclResult_t status, std::string_view call) {
    if (status == ncclSuccess) return;
    throw simt::device_error(call, "ranks", ncclGetErrorString(status));
  }
  std::shared_ptr<std::remove_pointer_t<ncclComm_t>> rank_;
};
static_assert(Communicator<Nccl>);

}  // namespace quire::executor
