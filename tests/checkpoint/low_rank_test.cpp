#include <quire/checkpoint/low_rank.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace quire::checkpoint::low_rank_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Sizes = std::vector<std::int64_t>;

/// Adds a tensor of ones.
void put(TensorList& list, const std::string& name, const Sizes& shape) {
  std::int64_t all = 1;
  for (const std::int64_t n : shape) all *= n;
  list.add(name, DType::f32, shape, std::vector<float>(static_cast<std::size_t>(all), 1.0f));
}
/// Layer "q" with factors of these shapes; an empty one is missing.
TensorSet factors(const Sizes& in, const Sizes& out) {
  TensorList list;
  put(list, "norm.weight", {4});
  if (!in.empty()) put(list, "q.low_rank_in", in);
  if (!out.empty()) put(list, "q.low_rank_out", out);
  return list.set("model.safetensors");
}
std::string error_of(const TensorSet& tensors) {
  try {
    (void)low_rank_tensors(tensors, "q", 8, 6);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(LowRankTensors, AreFoundByName) {
  const TensorSet sound = factors({3, 6}, {8, 3});
  const auto found = low_rank_tensors(sound, "q", 8, 6);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->rank, 3);
  EXPECT_EQ(found->in.name, "q.low_rank_in");
  EXPECT_EQ(found->out.name, "q.low_rank_out");
  EXPECT_FALSE(low_rank_tensors(sound, "k", 8, 6).has_value());
  EXPECT_TRUE(has_low_rank(sound));
  EXPECT_TRUE(has_low_rank(factors({}, {8, 3})));
  EXPECT_FALSE(has_low_rank(factors({}, {})));
}

/// One error each that names the file, the tensor and what was expected.
TEST(LowRankTensors, DamagedOnesAreRefused) {
  EXPECT_THAT(
      error_of(factors({3, 6}, {})),
      AllOf(HasSubstr("model.safetensors"), HasSubstr("there is no tensor \"q.low_rank_out\""),
            HasSubstr("one beside \"q.low_rank_in\"")));
  EXPECT_THAT(
      error_of(factors({}, {8, 3})),
      AllOf(HasSubstr("model.safetensors"), HasSubstr("there is no tensor \"q.low_rank_in\""),
            HasSubstr("one beside \"q.low_rank_out\"")));
  for (const Sizes& in : {Sizes{0, 6}, Sizes{3, 5}, Sizes{18}, Sizes{3, 6, 1}, Sizes{6, 3}}) {
    EXPECT_THAT(error_of(factors(in, {8, 3})),
                AllOf(HasSubstr("model.safetensors"),
                      HasSubstr("\"q.low_rank_in\" has shape " + shape_text(in)),
                      HasSubstr("[rank, 6], rank 1 or more")));
  }
  for (const Sizes& out : {Sizes{8, 4}, Sizes{7, 3}, Sizes{24}, Sizes{3, 8}, Sizes{8, 0}}) {
    EXPECT_THAT(error_of(factors({3, 6}, out)),
                AllOf(HasSubstr("model.safetensors"),
                      HasSubstr("\"q.low_rank_out\" has shape " + shape_text(out)),
                      HasSubstr("[8, 3], of the rank of \"q.low_rank_in\"")));
  }
  TensorList list;
  put(list, "q.weight", {8, 6});
  put(list, "q.low_rank_in", {3, 6});
  put(list, "q.low_rank_out", {8, 3});
  EXPECT_THAT(error_of(list.set("both")),
              AllOf(HasSubstr("both"), HasSubstr("\"q.weight\" is there beside its factors")));
}

}  // namespace
}  // namespace quire::checkpoint::low_rank_test
