#include <kernels/manifest/kernels.hpp>

#include <quire/kernels/attention_votes/attention_votes.cuh>
#include <quire/kernels/cache_write/cache_write.cuh>
#include <quire/kernels/choose_pages/choose_pages.cuh>
#include <quire/kernels/cub_block.cuh>
#include <quire/kernels/int4_access.hpp>
#include <quire/kernels/move_tokens/move_tokens.cuh>
#include <quire/kernels/page_ranges/page_ranges.cuh>
#include <quire/kernels/page_scores/page_scores.cuh>
#include <quire/kernels/paged_decode/launch.cuh>
#include <quire/kernels/read_tokens/read_tokens.cuh>
#include <quire/kernels/top_logprobs/top_logprobs.cuh>
#include <quire/kernels/turn_queries/turn_queries.cuh>

namespace quire::manifest {
using ReadInt4 = ReadTokens<KernelKey<kv_format::Int4PerTokenHead, 16, 128, Bf16>, Bf16>;
using ReadInt8 = ReadTokens<Int8Key<128>, Bf16>;
using ListedBf16 = ListedKey<Bf16Key<128>>;
using ListedInt8 = ListedKey<Int8Key<128>>;
using VotesListed = AttentionVotes<ListedBf16, Causal>;
using VotesLow = AttentionVotes<ListedInt8, Causal, quire::retention::LowVotes>;
using DecodeListed = PagedDecodeMatrix<ListedBf16, Causal>;
using DecodeListedInt8 = PagedDecodeMatrix<ListedInt8, Causal>;
using WriteListed = CacheWrite<ListedInt8, Bf16>;
using TurnBf16 = TurnQueries<Bf16, 128>;
}  // namespace quire::manifest

using namespace quire::manifest;
QUIRE_INSTANTIATE(PageRanges<Bf16Key<128>>)
QUIRE_INSTANTIATE(PageScores<Bf16Key<128>>)
QUIRE_INSTANTIATE(AttentionVotes<Bf16Key<128>, Causal>)
QUIRE_INSTANTIATE(VotesListed)
QUIRE_INSTANTIATE(VotesLow)
QUIRE_INSTANTIATE(ChoosePages<CubBlock<256>>)
QUIRE_INSTANTIATE(DecodeListed)
QUIRE_INSTANTIATE(DecodeListedInt8)
QUIRE_INSTANTIATE(WriteListed)
QUIRE_INSTANTIATE(TurnBf16)
QUIRE_INSTANTIATE(MoveTokens<Bf16Key<128>>)
QUIRE_INSTANTIATE(MoveTokens<Int8Key<128>>)
QUIRE_INSTANTIATE(ReadInt4)
QUIRE_INSTANTIATE(ReadInt8)
QUIRE_INSTANTIATE(TopLogprobs<PortableBlock<256>>)
