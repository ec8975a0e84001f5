#pragma once

#include <cstdint>

namespace quire::simt::emulator {

/// In which order blocks and lanes run; a correct kernel gives the same result under each.
enum class Order { forward, reverse, random };

/// When an asynchronous copy takes effect: where it is issued, or where it is waited for.
enum class Copies { early, late };

/// What the emulator may choose freely.
struct Schedule {
  Order order = Order::random;
  Copies copies = Copies::late;
  std::uint64_t seed = 1;
  /// Reports shared memory read or written by two lanes with no barrier between them.
  bool find_races = true;
};

/// The schedule of the launches of this thread.
inline Schedule& schedule() {
  thread_local Schedule current;
  return current;
}

/// Another schedule until the end of the scope.
class ScopedSchedule {
 public:
  explicit ScopedSchedule(const Schedule& s) : before_(schedule()) { schedule() = s; }
  ~ScopedSchedule() { schedule() = before_; }
  ScopedSchedule(const ScopedSchedule&) = delete;
  ScopedSchedule& operator=(const ScopedSchedule&) = delete;

 private:
  Schedule before_;
};

}  // namespace quire::simt::emulator
