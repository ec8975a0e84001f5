#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/simt/common.hpp>
#include <quire/simt/emulator/schedule.hpp>

namespace quire::simt::emulator {

/// A place in the order of all work; 0: nothing.
using Ticket = std::uint64_t;

/// The work that streams were given and have not done, and what a device has beside its cores: memory
/// and calls that may fail. For one host thread at a time.
///
/// Nothing runs where it is launched. It runs when the host waits for it or for what comes after it, in
/// an order that the schedule chooses among those which streams and events allow: `forward` runs what
/// is waited for alone, as late as it may; `reverse` runs what was launched last as early as it may;
/// `random` draws. An event that is missing so shows as a wrong result, and a wait of the host that is
/// missing as bytes with all bits set.
class Device {
 public:
  /// What a capture recorded, in its stream's order.
  struct Recorded {
    std::string_view what;
    std::function<void()> run;
  };

  std::size_t memory_limit = std::numeric_limits<std::size_t>::max();  // bytes
  std::uint64_t waits = 0;                             // of the host, for work that was not done
  std::uint64_t allocations = 0;                       // of device memory
  std::uint64_t replays = 0;                           // of captured work
  std::map<std::string_view, std::uint64_t> launches;  // of each kernel, recorded ones once
  std::uint64_t fail_call = 0;  // the how many-th call from now fails; 0: none

  [[nodiscard]] unsigned create_stream() {
    last_.push_back(0);
    return static_cast<unsigned>(last_.size());
  }
  /// Does what a stream still has to do.
  void destroy_stream(unsigned stream) { finish(last(stream)); }

  /// Gives work to a stream; stream 0 does it at once. \errors state when the call was told to fail
  void enqueue(unsigned stream, std::string_view call, std::string_view what,
               std::function<void()> run) {
    called(call, what);
    if (call == "launch") ++launches[what];
    if (stream == 0) return run();
    if (stream == capturing_) {
      recorded_->push_back({what, std::move(run)});
      return;
    }
    add(stream, what, std::move(run), 0);
  }
  /// The stream's next work comes after `ticket`'s.
  void wait(unsigned stream, Ticket ticket) {
    called("cudaStreamWaitEvent", "");
    if (stream == capturing_) {
      throw device_error("cudaStreamWaitEvent", "",
                         "waits within a capture for an event from outside of it");
    }
    if (stream != 0) {
      add(
          stream, "wait", [] {}, ticket);
    } else {
      finish(ticket);
    }
  }
  [[nodiscard]] Ticket record(unsigned stream) {
    called("cudaEventRecord", "");
    return stream == 0 ? 0 : last(stream);
  }
  /// The host waits. \errors what the work throws, which ends all work that is left
  void synchronise(Ticket ticket, std::string_view what) {
    called("cudaStreamSynchronize", what);
    if (capturing_ != 0) {
      throw device_error("cudaStreamSynchronize", what, "waits while a stream is captured");
    }
    if (pending_.contains(ticket)) ++waits;
    finish(ticket);
  }
  void synchronise_stream(unsigned stream, std::string_view what) {
    synchronise(stream == 0 ? 0 : last(stream), what);
  }
  void synchronise_all() {
    while (!pending_.empty()) finish(pending_.rbegin()->first);
  }

  void begin_capture(unsigned stream, std::vector<Recorded>& into) {
    called("cudaStreamBeginCapture", "");
    capturing_ = stream;
    recorded_ = &into;
  }
  void end_capture() noexcept { capturing_ = 0; }
  [[nodiscard]] bool captures(unsigned stream) const { return stream != 0 && stream == capturing_; }

  void allocate(std::size_t bytes) {
    if (bytes == 0) return;
    called("cudaMalloc", "");
    if (capturing_ != 0) throw device_error("cudaMalloc", "", "allocates within a capture");
    if (bytes > memory_limit - std::min(memory_limit, allocated_)) throw no_room(bytes);
    allocated_ += bytes;
    ++allocations;
  }
  /// As cudaFree: work that may use the memory is done first.
  void release(std::size_t bytes) noexcept {
    if (bytes == 0) return;
    settle();
    allocated_ -= bytes;
  }
  [[nodiscard]] std::size_t allocated() const { return allocated_; }  // bytes
  void pin(const void* p, std::size_t bytes) {
    if (bytes == 0) return;
    if (capturing_ != 0) throw device_error("cudaHostAlloc", "", "allocates within a capture");
    pinned_[static_cast<const std::byte*>(p)] = bytes;
  }
  void unpin(const void* p, std::size_t bytes) noexcept {
    if (bytes == 0) return;
    settle();
    pinned_.erase(static_cast<const std::byte*>(p));
  }
  /// \errors state for host memory that is not pinned: the copy would not be asynchronous
  void check_pinned(const void* p, std::size_t bytes, std::string_view what) const {
    const auto* at = static_cast<const std::byte*>(p);
    const auto after = pinned_.upper_bound(at);
    if (after != pinned_.begin()) {
      const auto& [begin, size] = *std::prev(after);
      if (at + bytes <= begin + size) return;
    }
    throw device_error("cudaMemcpyAsync", what, "copies from or to memory that is not pinned");
  }

 private:
  struct Work {
    std::string_view what;
    std::function<void()> run;
    Ticket after[2];  // 0: nothing
  };

  /// Does all that is left, for memory that goes.
  void settle() noexcept {
    try {
      synchronise_all();
    } catch (const Error&) {  // nobody waits for that work
      pending_.clear();
    }
  }
  void called(std::string_view call, std::string_view what) {
    if (fail_call != 0 && --fail_call == 0) throw device_error(call, what, "told to fail");
  }
  Ticket& last(unsigned stream) { return last_[stream - 1]; }
  void add(unsigned stream, std::string_view what, std::function<void()> run, Ticket after) {
    const Ticket ticket = ++newest_;
    pending_.emplace(ticket, Work{what, std::move(run), {last(stream), after}});
    last(stream) = ticket;
  }
  [[nodiscard]] bool ready(const Work& w) const {
    return !pending_.contains(w.after[0]) && !pending_.contains(w.after[1]);
  }
  [[nodiscard]] Ticket choose(Ticket wanted) {
    const Schedule& s = schedule();
    if (s.order == Order::forward) {
      for (;;) {
        const Work& w = pending_.at(wanted);
        if (ready(w)) return wanted;
        wanted = pending_.contains(w.after[1]) ? w.after[1] : w.after[0];
      }
    }
    std::vector<Ticket> can;
    for (auto w = pending_.rbegin(); w != pending_.rend(); ++w) {
      if (!ready(w->second)) continue;
      if (s.order == Order::reverse) return w->first;
      can.push_back(w->first);
    }
    return can[counter_bits(s.seed, 0x73747265616dULL, ++draws_) % can.size()];
  }
  void finish(Ticket wanted) {
    while (pending_.contains(wanted)) {
      auto work = pending_.extract(choose(wanted));
      try {
        work.mapped().run();
      } catch (...) {
        pending_.clear();
        throw;
      }
    }
  }

  std::map<Ticket, Work> pending_;
  std::vector<Ticket> last_;  // of each stream
  Ticket newest_ = 0;
  unsigned capturing_ = 0;
  std::vector<Recorded>* recorded_ = nullptr;
  std::size_t allocated_ = 0;
  std::map<const std::byte*, std::size_t> pinned_;
  std::uint64_t draws_ = 0;
};

/// The one device there is.
inline Device& device() {
  static Device the_device;
  return the_device;
}

}  // namespace quire::simt::emulator
