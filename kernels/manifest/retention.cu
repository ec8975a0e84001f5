#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/attention_votes/attention_votes.cuh>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/move_tokens/move_tokens.cuh>
#include <quire/kernels/page_ranges/page_ranges.cuh>
#include <quire/kernels/page_scores/page_scores.cuh>
#include <quire/kernels/read_tokens/read_tokens.cuh>
#include <quire/kernels/top_logprobs/top_logprobs.cuh>

namespace quire::manifest {
using ReadInt4 = ReadTokens<KernelKey<kv_format::Int4PerTokenHead, 16, 128, Bf16>, Bf16>;
using ReadInt8 = ReadTokens<Int8Key<128>, Bf16>;
}  // namespace quire::manifest

using namespace quire::manifest;
QUIRE_INSTANTIATE(PageRanges<Bf16Key<128>>)
QUIRE_INSTANTIATE(PageScores<Bf16Key<128>>)
QUIRE_INSTANTIATE(AttentionVotes<Bf16Key<128>, Causal>)
QUIRE_INSTANTIATE(MoveTokens<Bf16Key<128>>)
QUIRE_INSTANTIATE(MoveTokens<Int8Key<128>>)
QUIRE_INSTANTIATE(ReadInt4)
QUIRE_INSTANTIATE(ReadInt8)
QUIRE_INSTANTIATE(TopLogprobs<PortableBlock<256>>)
