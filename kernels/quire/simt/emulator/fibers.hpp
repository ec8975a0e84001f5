// One file: a lane's states and the hand-over between them read best together.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <quire/core/aligned.hpp>
#include <quire/core/error.hpp>
#include <quire/core/rng.hpp>
#include <quire/simt/async_layout.hpp>
#include <quire/simt/common.hpp>
#include <quire/simt/emulator/async_units.hpp>
#include <quire/simt/emulator/context_switch.hpp>
#include <quire/simt/emulator/race_check.hpp>
#include <quire/simt/emulator/schedule.hpp>

namespace quire::simt::emulator {

/// Stacks of the lanes, with an unmapped page below each, kept from launch to launch.
class Stacks {
 public:
#if defined(QUIRE_SIMT_ASAN)
  static constexpr std::size_t bytes = 256 * 1024;
#else
  static constexpr std::size_t bytes = 64 * 1024;
#endif
  Stacks() = default;
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks() {
    for (std::byte* s : stacks_) ::munmap(s - guard, bytes + guard);
  }
  void reserve(std::size_t count) {
    while (stacks_.size() < count) {
      void* p = ::mmap(nullptr, bytes + guard, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (p == MAP_FAILED) throw std::bad_alloc();
      ::mprotect(p, guard, PROT_NONE);
      stacks_.push_back(static_cast<std::byte*>(p) + guard);
    }
  }
  [[nodiscard]] std::byte* operator[](std::size_t i) const { return stacks_[i]; }

 private:
  static constexpr std::size_t guard = 4096;
  std::vector<std::byte*> stacks_;
};

/// Runs the blocks of a launch one after the other, the lanes of a block as fibers.
///
/// A lane runs until it waits; who runs next is the schedule's choice. When all that are left wait,
/// the launch ends with an error that says for what.
class Machine {
 public:
  using Body = void (*)(const void* params);

  /// Where the code that runs now is.
  [[nodiscard]] static Machine& current() { return *running(); }

  void launch(std::string_view kernel, const LaunchShape& shape, unsigned threads, Body body,
              const void* params, std::size_t most_shared = most_shared_bytes) {
    kernel_ = kernel;
    shape_ = shape;
    body_ = body;
    params_ = params;
    schedule_ = schedule();
    if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0 || shape.grid.y > 65535 ||
        shape.grid.z > 65535) {
      throw state_error(kernel, "is launched on a grid without blocks, or beyond what devices have",
                        "x >= 1 and y, z in 1 ... 65535");
    }
    if (shape.shared_bytes > most_shared) {
      throw state_error(kernel, std::to_string(shape.shared_bytes) + " bytes of shared memory",
                        "at most " + std::to_string(most_shared));
    }
    stacks_.reserve(threads);
    lanes_.resize(threads);
    slot_of_.resize(threads);
    lane_at_.resize(threads);
    shared_ = AlignedArray<std::byte>(shape.shared_bytes);
    races_.resize(shape.shared_bytes, threads);
    rng_ = Rng(schedule_.seed);
    Machine* before = std::exchange(running(), this);
    const std::uint64_t blocks = std::uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
    // A permutation without a table: i -> first + i * stride, stride coprime with the count.
    std::uint64_t first = 0, stride = 1;
    if (schedule_.order == Order::random && blocks > 2) {
      first = rng_.below(blocks);
      do stride = 1 + rng_.below(blocks - 1);
      while (greatest_common_divisor(stride, blocks) != 1);
    } else if (schedule_.order == Order::reverse) {
      first = stride = blocks - 1;
    }
    for (std::uint64_t i = 0, b = first; i < blocks && error_.empty(); ++i) {
      block_ = {static_cast<unsigned>(b % shape.grid.x),
                static_cast<unsigned>(b / shape.grid.x % shape.grid.y),
                static_cast<unsigned>(b / shape.grid.x / shape.grid.y)};
      run_block();
      b = (b + (stride == 0 ? 1 : stride)) % blocks;
    }
    running() = before;
    if (!error_.empty()) {
      races_.forget_copies();
      const std::string where = "kernel " + std::string(kernel_) + ", block (" +
                                std::to_string(block_.x) + ", " + std::to_string(block_.y) + ", " +
                                std::to_string(block_.z) + "), thread " + std::to_string(current_);
      throw state_error(where, std::exchange(error_, {}));
    }
  }

  [[nodiscard]] unsigned thread() const { return current_; }
  [[nodiscard]] Dim3 block() const { return block_; }
  [[nodiscard]] Dim3 grid() const { return shape_.grid; }

  void block_barrier() {
    lanes_[current_].state = State::at_barrier;
    ++waiting_;
    if (waiting_ == alive_) {
      release_barrier();
    }
    hand_over();
  }

  /// Meets the lanes of `mask` in the same warp; the last to come runs op.resolve() for all. `Op`
  /// reads its peers' `in` and writes its own `out`.
  template <class Op>
  void meet(unsigned mask, Op& op, const char* what) {
    Lane& me = lanes_[current_];
    if ((mask >> (current_ % warp_lanes) & 1u) == 0) {
      fail(std::string(what) + " with a mask that leaves the calling lane out");
    }
    me.state = State::in_warp;
    me.mask = mask;
    me.op = &op;
    me.what = what;
    me.resolve = [](Machine& machine, unsigned warp, unsigned members) {
      machine.resolve_all<Op>(warp, members);
    };
    try_complete(current_ / warp_lanes, mask);
    hand_over();
  }

  [[noreturn]] void fail(std::string message) {
    error_ = std::move(message);
    for (;;) lanes_[current_].context.switch_to(main_);
  }

  /// Bytes [offset, offset + bytes) of the block's shared memory.
  [[nodiscard]] std::byte* shared(std::size_t offset, std::size_t bytes) {
    if (offset + bytes > shared_.size()) {
      fail("lays out " + std::to_string(offset + bytes) +
           " bytes of shared memory; launched with " + std::to_string(shared_.size()));
    }
    return shared_.data() + offset;
  }
  void check_read(std::size_t offset, std::size_t bytes) {
    if (!schedule_.find_races) return;
    std::string wrong = races_.read(current_, offset, bytes);
    if (!wrong.empty()) fail_at(std::move(wrong), offset);
  }
  void check_write(std::size_t offset, std::size_t bytes, bool atomic = false) {
    if (!schedule_.find_races) return;
    std::string wrong = races_.write(current_, offset, bytes, atomic);
    if (!wrong.empty()) fail_at(std::move(wrong), offset);
  }
  void order_warp(unsigned warp, unsigned members) { races_.warp_barrier(warp, members); }

  /// Asynchronous copies into shared memory, in groups; `from` null: zeros.
  void begin_copy(std::size_t offset, const void* from, std::size_t bytes) {
    Lane& me = lanes_[current_];
    if (schedule_.find_races) {
      std::string wrong = races_.begin_copy(current_, offset, bytes);
      if (!wrong.empty()) fail_at(std::move(wrong), offset);
    }
    if (schedule_.copies == Copies::early) copy(offset, from, bytes);
    me.copies.push_back({offset, from, bytes, me.group});
  }
  void commit_copies() { ++lanes_[current_].group; }
  /// Waits until at most `newest` groups are under way.
  void wait_copies(unsigned newest) { finish_copies(current_, newest, false); }

  /// Meets `threads` threads of the block at barrier `id`; `waits`: until all have come.
  void named_barrier(unsigned id, unsigned threads, bool waits) {
    if (id == 0 || id >= named_.size() || threads == 0 || threads % warp_lanes != 0 ||
        threads > lanes_.size()) {
      fail("meets " + std::to_string(threads) + " threads at barrier " + std::to_string(id));
    }
    NamedBarrier& b = named_[id];
    if (b.arrived > 0 && b.threads != threads) {
      fail("meets " + std::to_string(threads) + " threads at barrier " + std::to_string(id) +
           ", where others meet " + std::to_string(b.threads));
    }
    b.threads = threads;
    races_.release(current_, b.gathered);
    if (waits) b.waiting.push_back(current_);
    if (++b.arrived < threads) {
      if (!waits) return;
      lanes_[current_].state = State::at_named;
      hand_over();
      return;
    }
    for (const unsigned l : b.waiting) {
      races_.acquire(l, b.gathered);
      if (l != current_) make_ready(l);
    }
    b.arrived = 0;
    b.waiting.clear();
    b.gathered.clear();
    if (waits) {
      make_ready(current_);
      hand_over();
    }
  }

  // Barriers in shared memory, by where they lie.
  void init_barrier(std::size_t at, unsigned count) {
    static_cast<void>(shared(at, 8));
    if (at % 8 != 0) fail("makes a barrier at an address off 8 bytes");
    for (const SharedBarrier& b : barriers_) {
      if (b.at == at) fail("makes a barrier where one is");
    }
    races_.set_aside(at, 8);
    const RaceCheck::Access made = races_.access(current_);
    barriers_.push_back({at, count, count, 0, 0, {}, {}, made.epoch, made.clock, made.lane});
  }
  void arrive(std::size_t at, std::uint32_t bytes) {
    SharedBarrier& b = barrier(at);
    if (b.pending == 0) fail("arrives at a barrier that all have come to");
    races_.release(current_, b.gathered);
    b.bytes += bytes;
    --b.pending;
    try_pass(b);
  }
  void wait(std::size_t at, unsigned parity) {
    if (barrier(at).phase % 2 == parity) {
      Lane& me = lanes_[current_];
      me.state = State::at_shared_barrier;
      me.barrier = at;
      me.parity = parity;
      hand_over();
    }
    races_.acquire(current_, barrier(at).passed);
  }
  void fence_async() { races_.fence_async(current_); }

  /// Begins a copy that arrives at its barrier.
  void begin_bulk(BulkCopy boxes) {
    boxes.lane = current_;
    if (schedule_.find_races) {
      for (const BulkUnit& unit : boxes.units) {
        std::string wrong = races_.begin_bulk(current_, unit.to, 16);
        if (!wrong.empty()) fail_at(std::move(wrong), unit.to);
      }
      boxes.issued = races_.end_of_issue(current_);
    }
    static_cast<void>(barrier(boxes.barrier));
    bulk_.push_back(std::move(boxes));
    if (schedule_.copies == Copies::early) finish_bulk(bulk_.size() - 1);
  }

  /// Begins a product of the calling lane's warpgroup. \pre all lanes of the warp begin it
  void begin_product(Product product) {
    Lane& me = lanes_[current_];
    product.group = me.product_group;
    const Product* before = nullptr;
    for (const Product& p : me.products) {
      if (p.d == product.d) before = &p;
    }
    if (before == nullptr) {
      if (!me.registers_fenced) {
        fail("begins a product with no begin_products() since its registers were used");
      }
      product.value.assign(product.d, product.d + product.outputs);
      std::fill_n(product.d, product.outputs, poison());
    } else if (before->done) {
      product.value = before->value;
    }
    me.products.push_back(std::move(product));
    if (schedule_.copies == Copies::early) carry_out(me.products.back());
  }
  void begin_products() { lanes_[current_].registers_fenced = true; }
  void commit_products() { ++lanes_[current_].product_group; }
  void wait_products(unsigned newest) {
    Lane& me = lanes_[current_];
    std::size_t finished = 0;
    for (Product& p : me.products) {
      if (p.group + newest >= me.product_group) break;
      if (!p.done) carry_out(p);
      ++finished;
      Product* next = nullptr;
      for (std::size_t i = finished; i < me.products.size() && next == nullptr; ++i) {
        if (me.products[i].d == p.d) next = &me.products[i];
      }
      if (next != nullptr) {
        if (!next->done) next->value = p.value;
        continue;
      }
      for (unsigned i = 0; i < p.outputs; ++i) {
        if (std::bit_cast<std::uint32_t>(p.d[i]) != poison_bits) {
          fail("writes the sums of a product that is under way");
        }
      }
      std::copy(p.value.begin(), p.value.end(), p.d);
    }
    me.products.erase(me.products.begin(),
                      me.products.begin() + static_cast<std::ptrdiff_t>(finished));
    me.registers_fenced = false;
  }

 private:
  enum class State : std::uint8_t {
    ready,
    at_barrier,
    at_named,
    at_shared_barrier,
    in_warp,
    exited
  };
  static constexpr std::uint32_t poison_bits = 0xffc0dead;  // a NaN
  static float poison() { return std::bit_cast<float>(poison_bits); }
  struct Copy {
    std::size_t offset;
    const void* from;
    std::size_t bytes;
    unsigned group;
  };
  struct Lane {
    Context context;
    State state = State::ready;
    unsigned mask = 0;
    void (*resolve)(Machine&, unsigned warp, unsigned members) = nullptr;
    void* op = nullptr;
    const char* what = "";
    std::vector<Copy> copies;
    unsigned group = 0;
    std::size_t barrier = 0;  // in shared memory, that it waits at
    unsigned parity = 0;
    std::vector<Product> products;
    unsigned product_group = 0;
    bool registers_fenced = false;
  };

  static Machine*& running() {
    thread_local Machine* machine = nullptr;
    return machine;
  }
  static std::uint64_t greatest_common_divisor(std::uint64_t a, std::uint64_t b) {
    while (b != 0) a = std::exchange(b, a % b);
    return a;
  }

  void run_block() {
    const auto n = static_cast<unsigned>(lanes_.size());
    alive_ = n;
    waiting_ = 0;
    ready_.fill(0);
    // all bits set: a NaN in every floating-point type
    if (shared_.size() > 0) std::memset(shared_.data(), 0xff, shared_.size());
    races_.begin_block();
    barriers_.clear();
    bulk_.clear();
    named_.fill({});
    for (unsigned l = 0; l < n; ++l) lane_at_[l] = l;
    if (schedule_.order == Order::random) {
      for (unsigned l = n; l > 1; --l) std::swap(lane_at_[l - 1], lane_at_[rng_.below(l)]);
    }
    for (unsigned s = 0; s < n; ++s) slot_of_[lane_at_[s]] = s;
    for (unsigned l = 0; l < n; ++l) {
      Lane& lane = lanes_[l];
      lane.copies.clear();
      lane.group = 0;
      lane.products.clear();
      lane.product_group = 0;
      lane.registers_fenced = false;
      lane.context.prepare(stacks_[l], Stacks::bytes, &Machine::entry);
      make_ready(l);
    }
    slot_ = 0;
    current_ = pick();
    main_.switch_to(lanes_[current_].context);
  }

  static void entry() {
    Machine& m = current();
    m.lanes_[m.current_].context.arrived(&m.main_);
    m.body_(m.params_);
    m.exit();
  }

  void exit() {
    finish_copies(current_, 0, true);
    if (!lanes_[current_].products.empty()) fail("ends while a product is under way");
    lanes_[current_].state = State::exited;
    --alive_;
    if (alive_ == 0) {
      if (!bulk_.empty()) fail("ends while a bulk copy is under way");
      for (const NamedBarrier& b : named_) {
        if (b.arrived != 0) fail("ends while some have come to a barrier and others have not");
      }
      lanes_[current_].context.switch_to(main_, true);
    }
    if (waiting_ == alive_) release_barrier();
    const unsigned warp = current_ / warp_lanes;
    for (unsigned l = 0; l < warp_lanes; ++l) {
      const Lane& lane = lanes_[warp * warp_lanes + l];
      if (lane.state == State::in_warp) try_complete(warp, lane.mask);
    }
    const unsigned me = current_;
    current_ = next();
    lanes_[me].context.switch_to(lanes_[current_].context, true);
  }

  void make_ready(unsigned lane) {
    lanes_[lane].state = State::ready;
    const unsigned slot = slot_of_[lane];
    ready_[slot / 64] |= std::uint64_t{1} << (slot % 64);
  }

  /// Gives way to another lane; the caller waits, or was made ready.
  void hand_over() {
    const unsigned me = current_, then = next();
    if (then == me) return;
    current_ = then;
    lanes_[me].context.switch_to(lanes_[then].context);
  }

  unsigned next() {
    for (;;) {
      for (const std::uint64_t word : ready_) {
        if (word != 0) return pick();
      }
      if (bulk_.empty()) fail(deadlock());
      // as late as may be: everyone waits
      finish_bulk(schedule_.order == Order::forward   ? 0
                  : schedule_.order == Order::reverse ? bulk_.size() - 1
                                                      : rng_.below(bulk_.size()));
    }
  }

  SharedBarrier& barrier(std::size_t at) {
    for (SharedBarrier& b : barriers_) {
      if (b.at != at) continue;
      if (schedule_.find_races &&
          !races_.ordered({b.made_epoch, b.made_clock, b.maker}, current_)) {
        fail("uses a barrier that thread " + std::to_string(b.maker) +
             " made, with no barrier between them");
      }
      return b;
    }
    fail("uses a barrier that nobody made (byte " + std::to_string(at) + " of shared memory)");
  }
  /// Ends the phase of a barrier that everyone and everything has come to.
  void try_pass(SharedBarrier& b) {
    if (b.pending != 0 || b.bytes != 0) return;
    b.pending = b.count;
    ++b.phase;
    b.passed = b.gathered;
    for (unsigned l = 0; l < lanes_.size(); ++l) {
      const Lane& lane = lanes_[l];
      if (lane.state == State::at_shared_barrier && lane.barrier == b.at &&
          lane.parity != b.phase % 2) {
        make_ready(l);
      }
    }
  }
  void finish_bulk(std::size_t i) {
    const BulkCopy done = std::move(bulk_[i]);
    bulk_.erase(bulk_.begin() + static_cast<std::ptrdiff_t>(i));
    for (const BulkUnit& unit : done.units) {
      copy(unit.to, unit.from, 16);
      if (schedule_.find_races) races_.end_bulk(done.lane, done.issued, unit.to, 16);
    }
    SharedBarrier& b = *std::find_if(barriers_.begin(), barriers_.end(),
                                     [&](const SharedBarrier& x) { return x.at == done.barrier; });
    b.gathered.resize(lanes_.size(), 0);
    b.gathered[done.lane] = std::max(b.gathered[done.lane], done.issued);
    b.bytes -= static_cast<std::int64_t>(done.units.size() * 16);
    try_pass(b);
  }

  /// Notes that the unit which multiplies reads a matrix; one lane a warp does.
  void note_matrix(std::uint64_t matrix, bool other_major, unsigned first, unsigned count) {
    if (!is_swizzled(matrix)) {
      fail("multiplies a matrix whose descriptor has another swizzle than that of 128 bytes");
    }
    if (!schedule_.find_races || current_ % warp_lanes != 0) return;
    // 16 bytes at once: 8 elements along whichever dimension is contiguous
    for (unsigned k = 0; k < 16; k += other_major ? 1 : 8) {
      for (unsigned i = first; i < first + count; i += other_major ? 8 : 1) {
        const std::size_t at = operand_place(matrix, other_major, i, k);
        static_cast<void>(shared(at, 16));
        std::string wrong = races_.read_async(current_, at, 16);
        if (!wrong.empty()) fail_at(std::move(wrong), at);
      }
    }
  }
  void carry_out(Product& p) {
    const unsigned thread = current_ % warpgroup_lanes;
    if (!p.a_in_registers) {
      note_matrix(p.a_matrix, false, thread / warp_lanes * 16, 16);
    }
    note_matrix(p.b_matrix, p.b_other_major, 0, p.columns);
    multiply(p, thread, [this](std::size_t at) { return shared(at, 2); });
  }

  /// Takes a ready lane out of the set. \pre there is one
  unsigned pick() {
    const auto n = static_cast<unsigned>(lanes_.size());
    unsigned from = slot_;
    if (schedule_.order == Order::random) {
      from = static_cast<unsigned>(((rng_() >> 32) * n) >> 32);
    }
    unsigned slot = 0;
    if (schedule_.order == Order::reverse) {
      slot = last_before(from);
      slot_ = slot;
    } else {
      slot = first_from(from);
      slot_ = slot + 1 < n ? slot + 1 : 0;
    }
    ready_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
    return lane_at_[slot];
  }
  [[nodiscard]] unsigned first_from(unsigned from) const {
    std::uint64_t word = ready_[from / 64] & (~std::uint64_t{0} << (from % 64));
    for (unsigned w = from / 64;;) {
      if (word != 0) return w * 64 + static_cast<unsigned>(std::countr_zero(word));
      w = (w + 1) % static_cast<unsigned>(ready_.size());
      word = ready_[w];
    }
  }
  [[nodiscard]] unsigned last_before(unsigned from) const {
    std::uint64_t word = ready_[from / 64] & ((std::uint64_t{1} << (from % 64)) - 1);
    for (unsigned w = from / 64;;) {
      if (word != 0) return w * 64 + 63 - static_cast<unsigned>(std::countl_zero(word));
      w = (w + static_cast<unsigned>(ready_.size()) - 1) % static_cast<unsigned>(ready_.size());
      word = ready_[w];
    }
  }

  void release_barrier() {
    if (alive_ == 0) return;
    waiting_ = 0;
    races_.block_barrier();
    for (unsigned l = 0; l < lanes_.size(); ++l) {
      if (lanes_[l].state == State::at_barrier) make_ready(l);
    }
  }

  /// Ends a meeting once all living lanes of its mask have come.
  void try_complete(unsigned warp, unsigned mask) {
    unsigned members = 0;
    const Lane* first = nullptr;
    for (unsigned left = mask; left != 0; left &= left - 1) {
      const auto l = static_cast<unsigned>(std::countr_zero(left));
      const Lane& lane = lanes_[warp * warp_lanes + l];
      if (lane.state == State::exited) continue;
      if (lane.state != State::in_warp) return;
      if (first == nullptr) first = &lane;
      if (lane.mask != mask || lane.resolve != first->resolve) {
        fail("warp " + std::to_string(warp) + " meets in different operations: " + first->what +
             " with mask " + hex(first->mask) + " and " + lane.what + " with mask " +
             hex(lane.mask));
      }
      members |= 1u << l;
    }
    if (first == nullptr) return;
    first->resolve(*this, warp, members);
    for (unsigned left = members; left != 0; left &= left - 1) {
      make_ready(warp * warp_lanes + static_cast<unsigned>(std::countr_zero(left)));
    }
  }

  template <class Op>
  void resolve_all(unsigned warp, unsigned members) {
    const Lane* lanes = lanes_.data() + warp * warp_lanes;
    auto peer = [lanes, members](unsigned lane) -> const std::uint32_t* {
      if ((members >> lane & 1u) == 0) return nullptr;
      return static_cast<const Op*>(lanes[lane].op)->in;
    };
    for (unsigned left = members; left != 0; left &= left - 1) {
      const auto l = static_cast<unsigned>(std::countr_zero(left));
      if (!static_cast<Op*>(lanes[l].op)->resolve(l, members, peer)) {
        current_ = warp * warp_lanes + l;
        fail(std::string(lanes[l].what) + " takes a value from a lane that is not there");
      }
    }
    if constexpr (Op::orders_memory) order_warp(warp, members);
  }

  void finish_copies(unsigned lane, unsigned newest, bool uncommitted) {
    Lane& me = lanes_[lane];
    std::size_t kept = 0;
    for (const Copy& c : me.copies) {
      if (c.group + newest >= me.group && !uncommitted) {
        me.copies[kept++] = c;
        continue;
      }
      if (schedule_.copies == Copies::late) copy(c.offset, c.from, c.bytes);
      if (schedule_.find_races) races_.end_copy(lane, c.offset, c.bytes);
    }
    me.copies.resize(kept);
  }
  void copy(std::size_t offset, const void* from, std::size_t bytes) {
    if (from == nullptr) {
      std::memset(shared_.data() + offset, 0, bytes);
    } else {
      std::memcpy(shared_.data() + offset, from, bytes);
    }
  }

  [[noreturn]] void fail_at(std::string message, std::size_t offset) {
    fail(std::move(message) + " (byte " + std::to_string(offset) + " of shared memory)");
  }
  static std::string hex(unsigned mask) {
    std::string digits = "0x";
    for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[mask >> shift & 15u];
    return digits;
  }
  [[nodiscard]] std::string deadlock() const {
    std::string text = "waits for ever:";
    for (unsigned l = 0; l < lanes_.size();) {
      const std::string what = waits_for(lanes_[l]);
      unsigned last = l;
      while (last + 1 < lanes_.size() && waits_for(lanes_[last + 1]) == what) ++last;
      text += (l == 0 ? " thread " : "; thread ") + std::to_string(l);
      if (last > l) text += " to " + std::to_string(last);
      text += " " + what;
      l = last + 1;
    }
    return text;
  }
  [[nodiscard]] static std::string waits_for(const Lane& lane) {
    switch (lane.state) {
      case State::at_barrier:
        return "at the block's barrier";
      case State::at_named:
        return "at a barrier of some warps";
      case State::at_shared_barrier:
        return "at the barrier at byte " + std::to_string(lane.barrier) +
               " of shared memory for parity " + std::to_string(lane.parity);
      case State::in_warp:
        return std::string("in ") + lane.what + " with mask " + hex(lane.mask);
      case State::exited:
        return "has ended";
      case State::ready:
        break;
    }
    return "can run";
  }

  std::string_view kernel_;
  LaunchShape shape_;
  Body body_ = nullptr;
  const void* params_ = nullptr;
  Schedule schedule_;
  Dim3 block_;
  unsigned current_ = 0, alive_ = 0, waiting_ = 0, slot_ = 0;
  std::vector<Lane> lanes_;
  std::vector<unsigned> slot_of_, lane_at_;
  std::array<std::uint64_t, 16> ready_{};
  std::vector<SharedBarrier> barriers_;
  std::array<NamedBarrier, 16> named_;
  std::vector<BulkCopy> bulk_;
  Stacks stacks_;
  AlignedArray<std::byte> shared_;
  RaceCheck races_;
  Rng rng_{1};
  Context main_;
  std::string error_;
};

}  // namespace quire::simt::emulator
