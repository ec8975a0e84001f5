#include <cmath>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/keys_values.hpp>
#include <tests/kv_format/tokens.hpp>

namespace quire::testing {
namespace {

using namespace quire::kv_format;

TEST(KeysValuesKvFormat, TakesEachSideFromItsFormat) {
  using F = KeysValues<Int8PerTokenHead, Int4PerTokenHead>;
  EXPECT_EQ(F::name, "k_int8_per_token_head_v_int4_per_token_head");
  EXPECT_EQ(token_bytes<F>(1, 1, 64), 68.0 + 36.0);
  EXPECT_EQ((keys_of<KeysValues<F, F>>::token_bytes(64)), 68.0);
}

}  // namespace
}  // namespace quire::testing
