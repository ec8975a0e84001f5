#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>
#include <tests/kernels/simt_kernels.hpp>

namespace quire::simt::testing {
namespace {

using emulator::Copies;
using emulator::Order;
using emulator::ScopedSchedule;
using ::testing::HasSubstr;

/// Every order and both copy times, some seeds.
template <class F>
void under_all_schedules(F&& f) {
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    for (const Copies copies : {Copies::early, Copies::late}) {
      for (std::uint64_t seed = 1; seed <= (order == Order::random ? 5u : 1u); ++seed) {
        const ScopedSchedule scope({.order = order, .copies = copies, .seed = seed});
        f();
      }
    }
  }
}

template <class Kernel>
std::string error_of(const LaunchShape& shape, const typename Kernel::Params& params) {
  try {
    launch<Kernel>(shape, params);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Simt, SumsBlocksUnderEverySchedule) {
  std::vector<float> in(7 * 256), out(7);
  std::iota(in.begin(), in.end(), 0.0f);
  using Kernel = BlockSum<256>;
  under_all_schedules([&] {
    std::fill(out.begin(), out.end(), -1.0f);
    launch<Kernel>({{7}, Kernel::shared_bytes}, {in.data(), out.data()});
    for (std::size_t b = 0; b < 7; ++b) {
      EXPECT_EQ(out[b], 256.0f * (256.0f * static_cast<float>(b) + 127.5f));
    }
  });
}

TEST(Simt, AMissingBlockBarrierIsARaceUnderEverySchedule) {
  std::vector<float> in(256), out(1);
  using Kernel = BlockSum<256, true>;
  under_all_schedules([&] {
    EXPECT_THAT((error_of<Kernel>({{1}, Kernel::shared_bytes}, {in.data(), out.data()})),
                HasSubstr("shared memory"));
  });
}

TEST(Simt, AMissingWarpBarrierIsARaceUnderEverySchedule) {
  std::vector<unsigned> out(64);
  under_all_schedules([&] {
    launch<WarpRing<>>({{1}, WarpRing<>::shared_bytes}, {out.data()});
    for (unsigned t = 0; t < 64; ++t) EXPECT_EQ(out[t], t / 32 * 32 + (t + 2) % 32);
    EXPECT_THAT(error_of<WarpRing<1>>({{1}, 256}, {out.data()}), HasSubstr("shared memory"));
    EXPECT_THAT(error_of<WarpRing<2>>({{1}, 256}, {out.data()}), HasSubstr("no barrier"));
  });
}

/// Lanes split in two and each half works with its own mask; a third of the warp has ended before.
struct PartialMasks {
  static constexpr std::string_view name = "partial_masks";
  static constexpr unsigned threads = 64;
  struct Params {
    unsigned* out;
  };
  QUIRE_DEVICE static void run(const Params& p) {
    if (lane() >= 24) {
      p.out[thread()] = 99;
      return;
    }
    const bool odd = lane() % 2 != 0;
    const unsigned living = ballot(true);  // the full mask: ended lanes do not count
    const unsigned mask = odd ? 0x00aaaaaau : 0x00555555u;
    unsigned sum = 0;
    for (unsigned l = odd ? 1 : 0; l < 24; l += 2) sum += shuffle(lane(), l, mask);
    p.out[thread()] = sum + (living == 0x00ffffffu ? 0 : 1000);
    sync();
  }
};
TEST(Simt, PartialMasksAndLanesThatEndedEarly) {
  std::vector<unsigned> out(64);
  under_all_schedules([&] {
    launch<PartialMasks>({{2}}, {out.data()});
    for (unsigned t = 0; t < 64; ++t) {
      EXPECT_EQ(out[t], t % 32 >= 24 ? 99u : t % 2 == 0 ? 132u : 144u) << t;
    }
  });
}

/// What goes wrong, by number.
struct Wrong {
  static constexpr std::string_view name = "wrong";
  static constexpr unsigned threads = 64;
  struct Params {
    int what;
    const float* in;
    float* out;
  };
  QUIRE_DEVICE static void run(const Params& p) {
    const Shared<float> s(0, 64);
    switch (p.what) {
      case 0:  // half of the block never comes to the barrier, but waits elsewhere
        if (warp() == 0) sync();
        if (warp() == 1 && lane() < 16) (void)shuffle(1u, 0);
        if (warp() == 1 && lane() >= 16) sync();
        break;
      case 1:
        s.store(thread() + 1, 0.0f);
        break;
      case 2:
        p.out[thread()] = s.load(thread());
        break;
      case 3:
        (void)shuffle(1u, 3, 0xfu << (lane() / 8));
        break;
      case 4:
        if (lane() < 31) (void)shuffle(lane(), 31, 0x7fffffffu);
        break;
      case 5: {
        const Shared<float> more(128, 64);
        more.store(thread(), 0.0f);
        break;
      }
      case 6:
        s.copy_async<4>(0, p.in + 1);
        break;
      case 7:
        if (thread() < 16) s.copy_async<4>(thread() * 4, p.in + thread() * 4);
        commit_copies();
        sync();
        p.out[thread()] = s.load(thread());
        break;
      case 8:
        p.out[0] = load_vector<4>(p.in + 1).v[0];
        break;
      case 9:
        if (thread() % 2 == 0) {
          (void)ballot(true);
        } else {
          (void)shuffle(1u, 1);
        }
        break;
      case 10:
        s.store(0, static_cast<float>(thread()));
        break;
      default:
        break;
    }
  }
};
TEST(Simt, WrongUsesAreReportedWithKernelBlockAndThread) {
  alignas(16) float in[64]{};
  float out[64];
  const std::vector<std::string> expected = {
      "waits for ever: thread 0 to 31 at the block's barrier; thread 32 to 47 in shuffle with mask "
      "0xffffffff; thread 48 to 63 at the block's barrier",
      "thread 63: reaches element 64 of 64 in shared memory",
      "reads shared memory that nobody wrote",
      "",  // either of two sentences, by schedule
      "takes a value from a lane that is not there",
      "lays out 384 bytes of shared memory; launched with 256",
      "copies asynchronously from an address off 16 bytes",
      "reads what an asynchronous copy still fills",
      "loads a vector of 16 bytes from an address that is not a multiple of it",
      "meets in different operations",
      "with no barrier between them",
      "no error"};
  for (int what = 0; what < static_cast<int>(expected.size()); ++what) {
    under_all_schedules([&] {
      const std::string error = error_of<Wrong>({{1}, 256}, {what, in, out});
      if (what < 11) {
        EXPECT_THAT(error, HasSubstr("kernel wrong, block (0, 0, 0), thread "));
      }
      EXPECT_THAT(error, HasSubstr(expected[static_cast<std::size_t>(what)])) << what;
    });
  }
}

/// Two buffers filled ahead of use by asynchronous copies.
template <unsigned in_flight>
struct Pipeline {
  static constexpr std::string_view name = "pipeline";
  static constexpr unsigned threads = 32;
  struct Params {
    const float* in;  // \shape (rounds, 128)
    float* out;       // \shape (128)
    unsigned rounds;
  };
  QUIRE_DEVICE static void run(const Params& p) {
    const Shared<float> buffer(0, 256);
    auto fetch = [&](unsigned round) {
      const float* from = round < p.rounds ? p.in + round * 128 + thread() * 4 : nullptr;
      buffer.copy_async<4>(round % 2 * 128 + thread() * 4, from);
      commit_copies();
    };
    float sum[4]{};
    fetch(0);
    for (unsigned round = 0; round < p.rounds; ++round) {
      fetch(round + 1);
      wait_copies<in_flight>();
      sync();
      for (unsigned i = 0; i < 4; ++i) sum[i] += buffer.load(round % 2 * 128 + i * 32 + thread());
      sync();
    }
    for (unsigned i = 0; i < 4; ++i) p.out[i * 32 + thread()] = sum[i];
  }
};
TEST(Simt, AsynchronousCopiesAreSeenOnlyOnceWaitedFor) {
  AlignedArray<float> in(10 * 128);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 37);
  std::vector<float> out(128);
  under_all_schedules([&] {
    launch<Pipeline<1>>({{1}, 1024}, {in.data(), out.data(), 10});
    for (std::size_t i = 0; i < 128; ++i) {
      float sum = 0;
      for (std::size_t r = 0; r < 10; ++r) sum += in[r * 128 + i];
      EXPECT_EQ(out[i], sum);
    }
    EXPECT_THAT(error_of<Pipeline<2>>({{1}, 1024}, {in.data(), out.data(), 10}),
                HasSubstr("an asynchronous copy"));
  });
}

TEST(Simt, FragmentsCoverEachElementOnce) {
  for (unsigned which = 0; which < 3; ++which) {
    std::vector<int> hits(256);
    for (unsigned l = 0; l < 32; ++l) {
      for (unsigned i = 0; i < (which == 0 ? 8u : 4u); ++i) {
        const auto p = which == 0   ? fragments::a(l, i)
                       : which == 1 ? fragments::b(l, i)
                                    : fragments::c(l, i);
        ++hits[p.row * 16 + p.column];
      }
    }
    for (unsigned r = 0; r < 16; ++r) {
      for (unsigned c = 0; c < 16; ++c) {
        EXPECT_EQ(hits[r * 16 + c], which == 0 || c < 8 ? 1 : 0) << which;
      }
    }
  }
}

/// One matrix product of a warp, operands from memory by the layout of the PTX manual.
template <class Half>
struct Product {
  static constexpr std::string_view name = "product";
  static constexpr unsigned threads = 32;
  struct Params {
    const float* a;  // \shape (16, 16)
    const float* b;  // \shape (16, 8)
    float* d;        // \shape (16, 8)
  };
  QUIRE_DEVICE static void run(const Params& p) {
    std::uint32_t a[4], b[2];
    float d[4];
    for (unsigned r = 0; r < 4; ++r) {
      const auto at = [&](unsigned i) {
        const auto place = fragments::a(lane(), i);
        return p.a[place.row * 16 + place.column];
      };
      a[r] = pack<Half>(at(2 * r), at(2 * r + 1));
    }
    for (unsigned r = 0; r < 2; ++r) {
      const auto at = [&](unsigned i) {
        const auto place = fragments::b(lane(), i);
        return p.b[place.row * 8 + place.column];
      };
      b[r] = pack<Half>(at(2 * r), at(2 * r + 1));
    }
    for (unsigned i = 0; i < 4; ++i)
      d[i] = p.d[fragments::c(lane(), i).row * 8 + fragments::c(lane(), i).column];
    multiply_add<Half>(d, a, b);
    for (unsigned i = 0; i < 4; ++i) {
      const auto place = fragments::c(lane(), i);
      p.d[place.row * 8 + place.column] = d[i];
    }
  }
};
template <class Half>
void check_product() {
  Rng rng(5);
  std::vector<float> a(256), b(128), d(128), expected(128);
  for (auto* v : {&a, &b, &d}) {
    for (float& x : *v) x = to_float(from_float<Half>(static_cast<float>(rng.normal())));
  }
  for (std::size_t r = 0; r < 16; ++r) {
    for (std::size_t c = 0; c < 8; ++c) {
      double sum = d[r * 8 + c];
      for (std::size_t k = 0; k < 16; ++k) {
        sum += static_cast<double>(a[r * 16 + k]) * static_cast<double>(b[k * 8 + c]);
      }
      expected[r * 8 + c] = static_cast<float>(sum);
    }
  }
  launch<Product<Half>>({{1}}, {a.data(), b.data(), d.data()});
  for (std::size_t i = 0; i < 128; ++i) EXPECT_NEAR(d[i], expected[i], 2e-5) << i;
}
TEST(Simt, MatrixProductInTheLaneLayoutOfPtx) {
  check_product<Bf16>();
  check_product<Fp16>();
}

/// Matrices from shared memory, plain and transposed, and the transpose in registers.
struct Matrices {
  static constexpr std::string_view name = "matrices";
  static constexpr unsigned threads = 32;
  struct Params {
    std::uint32_t* plain;       // \shape (4, 32)
    std::uint32_t* transposed;  // \shape (4, 32)
  };
  QUIRE_DEVICE static void run(const Params& p) {
    const Shared<std::uint32_t> s(0, 128);  // matrix m, row r, pair c at m * 32 + r * 4 + c
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned w = i * 32 + thread();
      s.store(w, 2 * w | (2 * w + 1) << 16);  // half h of memory holds h
    }
    sync();
    std::uint32_t r[4];
    load_matrices<false>(r, s, lane() * 4);
    for (unsigned m = 0; m < 4; ++m) p.plain[m * 32 + lane()] = r[m];
    load_matrices<true>(r, s, lane() * 4);
    for (unsigned m = 0; m < 4; ++m) p.transposed[m * 32 + lane()] = r[m];
  }
};
TEST(Simt, MatricesFromSharedMemory) {
  std::vector<std::uint32_t> plain(128), transposed(128);
  launch<Matrices>({{1}, 512}, {plain.data(), transposed.data()});
  for (std::uint32_t m = 0; m < 4; ++m) {
    for (std::uint32_t l = 0; l < 32; ++l) {
      const std::uint32_t row = l / 4, column = l % 4 * 2;
      const auto half = [&](std::uint32_t r, std::uint32_t c) { return m * 64 + r * 8 + c; };
      EXPECT_EQ(plain[m * 32 + l], half(row, column) | half(row, column + 1) << 16);
      EXPECT_EQ(transposed[m * 32 + l], half(column, row) | half(column + 1, row) << 16);
    }
  }
}

struct Count {
  static constexpr std::string_view name = "count";
  static constexpr unsigned threads = 96;
  struct Params {
    unsigned* total;
    unsigned* order;  // \shape (blocks): which block came when
    unsigned* tickets;
  };
  QUIRE_DEVICE static void run(const Params& p) {
    const Shared<unsigned> s(0, 1);
    if (thread() == 0) s.store(0, 0u);
    sync();
    s.atomic_add(0, 2u);
    sync();
    if (thread() == 0) {
      atomic_add(p.total, s.load(0));
      p.order[block().y * grid().x + block().x] = atomic_add(p.tickets, 1u);
    }
  }
};
TEST(Simt, AtomicsAndBlocksInEveryOrder) {
  std::vector<std::vector<unsigned>> orders;
  under_all_schedules([&] {
    unsigned total = 0, tickets = 0;
    std::vector<unsigned> order(12);
    launch<Count>({{4, 3}, 4}, {&total, order.data(), &tickets});
    EXPECT_EQ(total, 12 * 96 * 2u);
    auto sorted = order;
    std::sort(sorted.begin(), sorted.end());
    for (unsigned i = 0; i < 12; ++i) EXPECT_EQ(sorted[i], i);
    orders.push_back(order);
  });
  std::sort(orders.begin(), orders.end());
  orders.erase(std::unique(orders.begin(), orders.end()), orders.end());
  EXPECT_GT(orders.size(), 4u);
}

TEST(Simt, AnImpossibleLaunchIsRefused) {
  EXPECT_THAT(error_of<Count>({{0}, 4}, {}), HasSubstr("grid without blocks"));
  EXPECT_THAT(error_of<Count>({{1, 70000}, 4}, {}), HasSubstr("beyond what devices have"));
  EXPECT_THAT(error_of<Count>({{1}, 1 << 20}, {}), HasSubstr("bytes of shared memory"));
}

/// out[i] = in[i] + 1
struct AddOne {
  static constexpr std::string_view name = "add_one";
  static constexpr unsigned threads = 32;
  struct Params {
    const int* in;  // \shape (threads)
    int* out;       // \shape (threads)
  };
  static void run(const Params& p) { p.out[thread()] = p.in[thread()] + 1; }
};

/// Results of two streams, one of which reads what the other makes, in all orders.
std::vector<int> in_each_order(bool with_event) {
  std::vector<int> seen;
  for (const Order order : {Order::forward, Order::reverse}) {
    const ScopedSchedule scope({.order = order});
    DeviceArray<int> a(32), b(32), c(32);
    PinnedArray<int> out(32);
    a.upload(std::vector<int>(32, 1));
    b.upload(std::vector<int>(32, 10));
    const OwnStream first, second;
    Event made;
    launch<AddOne>({}, {a.data(), b.data()}, first);
    made.record(first);
    if (with_event) made.order(second);
    launch<AddOne>({}, {b.data(), c.data()}, second);
    copy_to_host(out.data(), c.data(), 32, second, "c");
    EXPECT_EQ(out.data()[0], -1) << "what nobody waited for has all bits set";
    second.synchronise("c");
    seen.push_back(out.data()[31]);
    first.synchronise("b");
  }
  return seen;
}

TEST(SimtStreams, AMissingEventShowsInSomeOrder) {
  using ::testing::Each;
  EXPECT_THAT(in_each_order(true), Each(3));
  EXPECT_THAT(in_each_order(false), ::testing::Contains(11));
}

TEST(SimtStreams, WhatIsReadLaterMustNotBeOverwrittenBefore) {
  const ScopedSchedule scope({.order = Order::reverse});
  for (const bool with_event : {true, false}) {
    DeviceArray<int> a(32), b(32), c(32);
    a.upload(std::vector<int>(32, 1));
    b.upload(std::vector<int>(32, 5));
    const OwnStream reads, writes;
    Event read;
    launch<AddOne>({}, {a.data(), c.data()}, reads);  // 2
    read.record(reads);
    if (with_event) read.order(writes);
    launch<AddOne>({}, {b.data(), a.data()}, writes);  // a becomes 6
    reads.synchronise("c");
    std::vector<int> out(32);
    c.download(out);
    EXPECT_EQ(out[0], with_event ? 2 : 7);
  }
}

TEST(SimtStreams, PinnedMemoryIsReadWhenTheCopyRuns) {
  const ScopedSchedule scope({.order = Order::forward});
  PinnedArray<int> in(4);
  DeviceArray<int> to(4);
  const OwnStream stream;
  in.data()[0] = 1;
  copy_to_device(to.data(), in.data(), 4, stream, "in");
  in.data()[0] = 2;  // too early: nobody waited
  std::vector<int> out(4);
  to.download(out, stream);
  EXPECT_EQ(out[0], 2);
  std::vector<int> pageable{3, 3, 3, 3};
  to.upload(pageable, stream);
  pageable[0] = 4;  // memory that is not pinned was read before upload returned
  to.download(out, stream);
  EXPECT_EQ(out[0], 3);
  EXPECT_THROW(copy_to_device(to.data(), pageable.data(), 4, stream, "pageable"), Error);
}

TEST(SimtStreams, GraphsReplayWhatWasRecorded) {
  DeviceArray<int> a(32), b(32);
  a.upload(std::vector<int>(32, 1));
  b.upload(std::vector<int>(32, 0));
  const OwnStream stream;
  Graph graph;
  graph.capture(stream, [&] {
    launch<AddOne>({}, {a.data(), b.data()}, stream);
    launch<AddOne>({}, {b.data(), a.data()}, stream);
  });
  std::vector<int> out(32);
  b.download(out, stream);
  EXPECT_EQ(out[0], 0) << "a capture runs nothing";
  graph.launch(stream);
  graph.launch(stream);
  a.download(out, stream);
  EXPECT_EQ(out[0], 5);
}

TEST(SimtStreams, WhatCannotBeCapturedIsRefused) {
  const OwnStream stream, other;
  DeviceArray<int> a(32);
  Event event;
  event.record(other);
  const auto refused = [&](const auto& work) {
    Graph graph;
    try {
      graph.capture(stream, work);
    } catch (const Error& e) {
      EXPECT_TRUE(graph.empty());
      return std::string(e.what());
    }
    return std::string("captured");
  };
  EXPECT_THAT(refused([&] { stream.synchronise("a"); }), HasSubstr("cudaStreamSynchronize"));
  EXPECT_THAT(refused([&] { DeviceArray<int> more(1); }), HasSubstr("cudaMalloc"));
  EXPECT_THAT(refused([&] { a.upload(std::vector<int>(3), stream); }), HasSubstr("not pinned"));
  EXPECT_THAT(refused([&] { event.order(stream); }), HasSubstr("from outside"));
}

TEST(SimtStreams, FailuresNameCallKernelAndStep) {
  const OwnStream stream;
  DeviceArray<int> a(32), b(32);
  const ScopedStep step(7);
  emulator::device().fail_call = 1;
  try {
    launch<AddOne>({}, {a.data(), b.data()}, stream);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("kernel add_one in step 7"));
    EXPECT_THAT(e.what(), HasSubstr("launch: told to fail"));
  }
  emulator::device().memory_limit = emulator::device().allocated() + 100;
  EXPECT_THROW(DeviceArray<int>(26), Error);
  EXPECT_NO_THROW(DeviceArray<int>(25));
  emulator::device().memory_limit = std::numeric_limits<std::size_t>::max();
}

}  // namespace
}  // namespace quire::simt::testing
