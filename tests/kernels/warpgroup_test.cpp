// The layer's tensor copies, barriers and products of warpgroups, and that their wrong uses are
// reported: every kernel here takes what it leaves out as a parameter.
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <quire/core/rng.hpp>
#include <quire/simt/warpgroup.cuh>

namespace quire::simt::testing {
namespace {

using ::testing::HasSubstr;

// The pattern as the CUDA programming guide gives it: unit c of row r of 128 bytes lies at unit c ^ r % 8.
std::size_t naive_place(std::size_t row, std::size_t byte) {
  return row * 128 + ((byte / 16) ^ (row % 8)) * 16 + byte % 16;
}

TEST(AsyncLayout, SwizzleIsThatOfTheProgrammingGuide) {
  for (std::uint32_t row = 0; row < 64; ++row) {
    for (std::uint32_t byte = 0; byte < 128; ++byte) {
      ASSERT_EQ(swizzled(row * 128 + byte), naive_place(row, byte));
    }
  }
}
// A matrix laid out by the guide's pattern, and what a descriptor finds of it.
TEST(AsyncLayout, DescriptorsFindWhatCopiesLeave) {
  constexpr std::uint32_t at = 3 * 1024, rows = 64, part = rows * 128;
  // k-major: 64 rows of 128 elements of the sum, in two parts of 64
  for (unsigned step = 0; step < 8; ++step) {
    const std::uint64_t d =
        further(matrix_descriptor(at, 16, 1024), step / 4 * part + step % 4 * 32);
    for (unsigned i = 0; i < rows; ++i) {
      for (unsigned k = 0; k < 16; ++k) {
        ASSERT_EQ(emulator::operand_place(d, false, i, k),
                  at + step / 4 * part + naive_place(i, (step % 4 * 16 + k) * 2));
      }
    }
  }
  // the other dimension lies contiguously: 64 elements of the sum by 128, in two parts of 64
  for (unsigned step = 0; step < 4; ++step) {
    const std::uint64_t d = further(matrix_descriptor(at, part, 1024), step * 16 * 128);
    for (unsigned i = 0; i < 128; ++i) {
      for (unsigned k = 0; k < 16; ++k) {
        ASSERT_EQ(emulator::operand_place(d, true, i, k),
                  at + i / 64 * part + naive_place(step * 16 + k, i % 64 * 2));
      }
    }
  }
}
// Bits as the PTX manual numbers them.
TEST(AsyncLayout, FieldsOfADescriptor) {
  const std::uint64_t d = matrix_descriptor(0x1c400, 0x4000, 0x400);
  EXPECT_EQ(d & 0x3fff, 0x1c40u);
  EXPECT_EQ(d >> 16 & 0x3fff, 0x400u);
  EXPECT_EQ(d >> 32 & 0x3fff, 0x40u);
  EXPECT_EQ(d >> 49 & 7, 0u);
  EXPECT_EQ(d >> 62, 1u);
  EXPECT_EQ(further(d, 2048) & 0x3fff, 0x1cc0u);
}
// The manual's figure: a warp has 16 rows, four lanes a row, two columns each of every eight.
TEST(AsyncLayout, SumsAreEachOnce) {
  std::vector<int> seen(64 * 24, 0);
  for (unsigned t = 0; t < 128; ++t) {
    for (unsigned i = 0; i < 12; ++i) {
      const fragments::Place at = fragments::warpgroup_d(t, i);
      EXPECT_EQ(at.row, t / 32 * 16 + t % 32 / 4 + (i % 4 >= 2 ? 8 : 0));
      EXPECT_EQ(at.column, i / 4 * 8 + t % 4 * 2 + i % 2);
      ++seen[at.row * 24 + at.column];
    }
  }
  for (const int n : seen) EXPECT_EQ(n, 1);
}

enum class Without {
  nothing,
  fence_of_registers,
  fence_of_memory,
  wait_for_products,
  patience,
  wait_for_copy,
  arrival,
  announced_bytes,
  free_stage,
  barrier_after_making,
  alignment,
};

/// out (64, 64) = a (64, 64) b, of two tiles of b one after the other through one stage, summed; b as
/// its descriptors say: rows of it are the sum's elements (transposed) or the columns.
template <Without without, bool transposed, bool registers>
struct TwoTiles {
  static constexpr std::string_view name = "two_tiles";
  static constexpr unsigned threads = 256;  // a warpgroup that brings, one that multiplies
  struct Params {
    const Bf16* a;  // \shape (64, 64)
    TensorMap b;    // \shape (128, 64)
    float* out;     // \shape (64, 64)
  };
  static constexpr std::size_t b_at = 64 * 128, barriers_at = 2 * 64 * 128,
                               shared_bytes = barriers_at + 16;

  QUIRE_DEVICE static void run(const Params& p) {
    const Barrier full(barriers_at), empty(barriers_at + (without == Without::alignment ? 4 : 8));
    const Shared<std::uint32_t> a(0, 64 * 32), b(b_at, 64 * 32);
    if (thread() == 0) {
      full.init(1);
      empty.init(without == Without::arrival ? 5 : 4);
      publish_barriers();
    }
    if constexpr (without != Without::barrier_after_making) sync();
    if (warp() >= 4) {
      shrink_registers<24>();
      if (thread() != 128) return;
      for (unsigned j = 0; j < 2; ++j) {
        if constexpr (without != Without::free_stage) empty.wait(j % 2 ^ 1);
        full.arrive_expecting(without == Without::announced_bytes ? 64 * 128 - 16 : 64 * 128);
        copy_box(b, 0, p.b, {{0, static_cast<std::int32_t>(j * 64), 0, 0}}, full);
      }
      return;
    }
    grow_registers<240>();
    for (unsigned i = thread(); i < 64 * 32; i += 128) {
      const Vector<Bf16, 2> pair = load_vector<2>(p.a + i * 2);
      a.store(swizzled(i * 4) / 4, bit_cast<std::uint32_t>(pair));
    }
    if constexpr (without != Without::fence_of_memory) fence_async();
    meet(1, 128);
    float sum[32]{};
    for (unsigned j = 0; j < 2; ++j) {
      if constexpr (without != Without::wait_for_copy) full.wait(j % 2);
      if constexpr (without != Without::fence_of_registers) begin_products();
      for (unsigned s = 0; s < 4; ++s) {
        const std::uint64_t of_b =
            transposed ? further(matrix_descriptor(b.address(0), 16, 1024), s * 2048)
                       : further(matrix_descriptor(b.address(0), 16, 1024), s * 32);
        constexpr Major major = transposed ? Major::other : Major::k;
        if constexpr (registers) {
          std::uint32_t mine[4];
          for (unsigned r = 0; r < 4; ++r) {
            const fragments::Place at = fragments::a(lane(), r * 2);
            mine[r] = bit_cast<std::uint32_t>(
                load_vector<2>(p.a + (warp() * 16 + at.row) * 64 + s * 16 + at.column));
          }
          multiply_async<Bf16, major>(sum, mine, of_b, true);
        } else {
          multiply_async<Bf16, major>(
              sum, further(matrix_descriptor(a.address(0), 16, 1024), s * 32), of_b, true);
        }
      }
      commit_products();
      // on a device, any part of the products may have come
      if constexpr (without == Without::patience) sum[0] = 1;
      if constexpr (without != Without::wait_for_products) wait_products<0>();
      hold(sum);
      if (lane() == 0) empty.arrive();
    }
    for (unsigned i = 0; i < 32; ++i) {
      const fragments::Place at = fragments::warpgroup_d(thread(), i);
      p.out[at.row * 64 + at.column] = sum[i];
    }
  }
};

struct TileMatrices {
  std::vector<Bf16> a = std::vector<Bf16>(64 * 64), b = std::vector<Bf16>(128 * 64 + 8);
  std::vector<float> out = std::vector<float>(64 * 64);
  std::size_t b_from = 0;
  TileMatrices() {
    Rng rng(5);
    for (Bf16& x : a) x = from_float<Bf16>(static_cast<float>(rng.normal()));
    for (Bf16& x : b) x = from_float<Bf16>(static_cast<float>(rng.normal()));
    while (reinterpret_cast<std::uintptr_t>(b.data() + b_from) % 16 != 0) ++b_from;
  }
  [[nodiscard]] TensorMap map(std::uint64_t rows = 128) const {
    return make_tensor_map<Bf16>(
        b.data() + b_from,
        {.size = {64, rows, 1, 1}, .strides = {128, 128, 128}, .box = {64, 64, 1, 1}});
  }
  /// `rows`: those of b that exist; others count as zeros
  [[nodiscard]] double expected(unsigned row, unsigned column, bool transposed,
                                unsigned rows = 128) const {
    double sum = 0;
    for (unsigned j = 0; j < 2; ++j) {
      for (unsigned k = 0; k < 64; ++k) {
        const unsigned of_b = j * 64 + (transposed ? k : column);
        if (of_b >= rows) continue;
        sum += static_cast<double>(to_float(a[row * 64 + k])) *
               static_cast<double>(to_float(b[b_from + of_b * 64 + (transposed ? column : k)]));
      }
    }
    return sum;
  }
};

template <Without without, bool transposed, bool registers>
void run_two_tiles(TileMatrices& m, std::uint64_t rows = 128) {
  using Kernel = TwoTiles<without, transposed, registers>;
  launch<Kernel>({{1}, Kernel::shared_bytes}, {m.a.data(), m.map(rows), m.out.data()});
}
template <bool transposed, bool registers>
void check_products(std::uint64_t rows = 128) {
  for (const auto order :
       {emulator::Order::forward, emulator::Order::reverse, emulator::Order::random}) {
    for (const auto copies : {emulator::Copies::early, emulator::Copies::late}) {
      const emulator::ScopedSchedule schedule({.order = order, .copies = copies});
      TileMatrices m;
      run_two_tiles<Without::nothing, transposed, registers>(m, rows);
      for (unsigned i = 0; i < 64; ++i) {
        for (unsigned j = 0; j < 64; ++j) {
          const double expected = m.expected(i, j, transposed, static_cast<unsigned>(rows));
          ASSERT_NEAR(m.out[i * 64 + j], expected, 1e-4 * (8 + std::abs(expected)))
              << i << ", " << j;
        }
      }
    }
  }
}

TEST(Warpgroup, ProductsFromSharedMemory) {
  check_products<false, false>();
  check_products<true, false>();
}
TEST(Warpgroup, ProductsFromRegisters) {
  check_products<false, true>();
  check_products<true, true>();
}
TEST(Warpgroup, WhatLiesBeyondATensorArrivesAsZeros) { check_products<true, false>(100); }

/// What the emulator says of a kernel that leaves something out.
template <Without without>
std::string complaint(emulator::Copies copies = emulator::Copies::late) {
  const emulator::ScopedSchedule schedule({.copies = copies});
  TileMatrices m;
  try {
    run_two_tiles<without, true, false>(m);
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing";
}
TEST(Warpgroup, WhatIsLeftOutIsReported) {
  EXPECT_EQ(complaint<Without::nothing>(), "nothing");
  EXPECT_THAT(complaint<Without::fence_of_registers>(), HasSubstr("with no begin_products()"));
  EXPECT_THAT(complaint<Without::fence_of_memory>(), HasSubstr("no fence_async()"));
  EXPECT_THAT(complaint<Without::wait_for_products>(), HasSubstr("while a product is under way"));
  EXPECT_THAT(complaint<Without::patience>(), HasSubstr("sums of a product"));
  EXPECT_THAT(complaint<Without::wait_for_copy>(),
              HasSubstr("reads what an asynchronous copy still fills"));
  EXPECT_THAT(complaint<Without::wait_for_copy>(emulator::Copies::early),
              ::testing::AnyOf(HasSubstr("with no barrier"), HasSubstr("that nobody wrote")));
  EXPECT_THAT(complaint<Without::arrival>(), HasSubstr("waits for ever"));
  EXPECT_THAT(complaint<Without::arrival>(), HasSubstr("at the barrier at byte"));
  EXPECT_THAT(complaint<Without::announced_bytes>(), HasSubstr("waits for ever"));
  EXPECT_THAT(complaint<Without::barrier_after_making>(),
              ::testing::AnyOf(HasSubstr("that nobody made"), HasSubstr("no barrier between")));
  EXPECT_THAT(complaint<Without::alignment>(), HasSubstr("off 8 bytes"));
  EXPECT_THAT(complaint<Without::free_stage>(), HasSubstr("that all have come to"));
  EXPECT_THAT(complaint<Without::free_stage>(emulator::Copies::early),
              ::testing::AnyOf(HasSubstr("with no barrier"), HasSubstr("waits for ever")));
}

/// Warps that meet in parts: each warp of three hands on what it wrote to the next.
template <bool broken, bool once_more = false>
struct HandOn {
  static constexpr std::string_view name = "hand_on";
  static constexpr unsigned threads = 96;
  struct Params {
    unsigned* out;  // \shape (96)
  };
  static constexpr std::size_t shared_bytes = 96 * 4;
  QUIRE_DEVICE static void run(const Params& p) {
    const Shared<unsigned> words(0, 96);
    unsigned mine = lane();
    if (warp() > 0) {
      if constexpr (!broken) meet(warp(), 64);
      mine += words.load(thread() - 32);
    }
    words.store(thread(), mine);
    if (!broken && warp() < 2 + (once_more ? 1 : 0)) meet_later(warp() + 1, 64);
    p.out[thread()] = mine;
  }
};
TEST(Warpgroup, NamedBarriersOrderThoseThatMeet) {
  std::vector<unsigned> out(96);
  launch<HandOn<false>>({{1}, HandOn<false>::shared_bytes}, {out.data()});
  for (unsigned t = 0; t < 96; ++t) EXPECT_EQ(out[t], (t / 32 + 1) * (t % 32));
  EXPECT_THROW(launch<HandOn<true>>({{1}, HandOn<true>::shared_bytes}, {out.data()}), Error);
  using OnceMore = HandOn<false, true>;
  EXPECT_THROW(launch<OnceMore>({{1}, OnceMore::shared_bytes}, {out.data()}), Error);
}

TEST(TensorMap, RefusesWhatDevicesDoNotTake) {
  alignas(16) std::array<Bf16, 64> memory{};
  const auto refused = [&](std::size_t off, const TensorShape& shape) -> std::string {
    try {
      static_cast<void>(make_tensor_map<Bf16>(memory.data() + off, shape));
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing";
  };
  const TensorShape good{.size = {64, 1, 1, 1}, .strides = {128, 128, 128}, .box = {64, 1, 1, 1}};
  EXPECT_EQ(refused(0, good), "nothing");
  EXPECT_THAT(refused(1, good), HasSubstr("off 16 bytes"));
  TensorShape bad = good;
  bad.box[0] = 32;
  EXPECT_THAT(refused(0, bad), HasSubstr("32 elements wide"));
  bad = good;
  bad.box[1] = 257;
  EXPECT_THAT(refused(0, bad), HasSubstr("a box has 257 elements in dimension 1"));
  bad = good;
  bad.strides[2] = 24;
  EXPECT_THAT(refused(0, bad), HasSubstr("dimension 3 has a stride of 24 bytes"));
  bad = good;
  bad.strides[0] = std::uint64_t{1} << 40;
  EXPECT_THAT(refused(0, bad), HasSubstr("dimension 1 has a stride"));
  bad = good;
  bad.size[3] = 0;
  EXPECT_THAT(refused(0, bad), HasSubstr("dimension 3 has 0 elements"));
}

}  // namespace
}  // namespace quire::simt::testing
