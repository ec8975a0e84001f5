// Compiled, and no more, with -fsanitize=undefined: g++ then takes no comparison of a function's address for a
// constant, and tables of functions must do without any.
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/fp32.hpp>
#include <quire/kv_format/int4_grouped.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/kivi.hpp>
#include <quire/weight_format/codec.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/w8a8.hpp>

namespace quire {
template <class... Formats>
constexpr bool of_keys_and_values = ((kv_format::codec_of<Formats>().name == Formats::name) && ...);
static_assert(of_keys_and_values<kv_format::Fp32, kv_format::Int8PerTokenHead,
                                 kv_format::Int4Grouped<32>, kv_format::Kivi<2, 32, 32>>);

template <class... Formats>
constexpr bool of_weights = ((weight_format::codec_of<Formats>().name == Formats::name) && ...);
static_assert(of_weights<weight_format::Fp32, weight_format::Q40, weight_format::W8a8>);
}  // namespace quire
