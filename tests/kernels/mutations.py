#!/usr/bin/env python3
"""Breaks the kernels one way at a time and sees that their tests notice.

    tests/kernels/mutations.py [--file NAME] [--sample N] [--match REGEX] [--jobs N]
                               [--list] [--table] [--resume FILE] [--explained]

A mutation removes a barrier or what orders two streams, moves a comparison by one, drops a factor, a term or a mask, leaves out an
early return, or swaps entries of a block table. All mutations of the files that share tests are
compiled at once into those tests, with AddressSanitizer and UndefinedBehaviorSanitizer, each behind a
switch that an environment variable turns; those in code that runs at compile time are compiled one by
one. One that the tests do not notice is a survivor; EQUIVALENT explains those that change no result.
Mutations that do not compile are not counted. --table writes what came out into mutations.md beside
this, whose sections of other files it keeps; each names the text of the file that it was made on. --resume
appends each outcome to FILE as it comes, and takes from there what was found for the same text of the kernel,
so that a stop loses nothing: what was noticed, and what was not where the tests are the same too. With
--explained those that EQUIVALENT explains are not tried, though the same line may be noticed elsewhere: not for
the table.
Exit codes: 0 at least 95 % noticed (explained ones apart), 1 fewer, 2 usage.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ROOT / "kernels" / "quire" / "kernels"
TABLE = pathlib.Path(__file__).with_suffix(".md")
DECODE = ["decode_mutants"]
STEP = ["step_kernels_test"]
RETENTION = ["retention_kernels_test"]
EXECUTOR = ["cuda_tiers", "transfers", "step_data"]
ORDERED = ("/cuda.cuh", "/cuda_tiers.cuh")  # of them, what orders streams and the host alone
TESTS = {  # a kernel's file, and the tests that must notice: quick ones first
    "paged_decode/paged_decode.cuh": DECODE,
    "paged_decode/warp_states.cuh": DECODE,
    "paged_decode/packed.cuh": ["paged_decode_int4_test"],
    "paged_decode/grouped.cuh": ["paged_decode_int4_test"],
    "group_codec.cuh": STEP + ["paged_decode_int4_test"],
    "merge_states/merge_states.cuh": DECODE,
    "paged_decode/plan.hpp": ["decode_plan_test"],
    "paged_prefill/paged_prefill.cuh": ["paged_prefill_test", "paged_attention_test"],
    "paged_prefill/warpgroup_prefill.cuh": ["warpgroup_prefill_test"],
    "paged_attention/paged_attention.cuh": ["paged_attention_test"],
    "cascade/cascade.cuh": ["paged_attention_test"],
    "few_rows.cuh": ["grouped_product_test"],
    "sparse_product/sparse_product.cuh": ["grouped_product_test"],
    "sparse_product/layout.hpp": ["grouped_product_test"],
    "grouped_product/grouped_product.cuh": ["grouped_product_test"],
    "grouped_product/layout.hpp": ["grouped_product_test"],
    "cache_write/cache_write.cuh": STEP,
    "copy_blocks/copy_blocks.cuh": STEP,
    "rms_norm/rms_norm.cuh": STEP,
    "layer_norm/layer_norm.cuh": STEP,
    "swiglu/swiglu.cuh": STEP,
    "embedding/embedding.cuh": STEP,
    "block_primitives.cuh": STEP,
    "mixture/route.cuh": ["mixture_test"],
    "mixture/expert_product.cuh": ["mixture_test"],
    "mixture/grouped_experts.cuh": ["mixture_test"],
    "sampling/sampling.cuh": ["sampling_test"],
    "top_logprobs/top_logprobs.cuh": ["sampling_test"],
    "stored_element.cuh": RETENTION,
    "page_ranges/page_ranges.cuh": RETENTION,
    "page_scores/page_scores.cuh": RETENTION,
    "attention_votes/attention_votes.cuh": RETENTION,
    "move_tokens/move_tokens.cuh": RETENTION,
    "choose_pages/choose_pages.cuh": RETENTION,
    "turn_queries/turn_queries.cuh": RETENTION,
    "paged_decode/seen.cuh": RETENTION,
    "read_tokens/read_tokens.cuh": RETENTION,
    "../executor/cuda.cuh": ["cuda_retention_test", "cuda_executor_test"],
    **{f"../executor/{name}.cuh": ["cuda_tiers_test", "cuda_executor_test"] for name in EXECUTOR},
    "../executor/keeping.cuh": ["keeping_test", "cuda_retention_test"],
    "../executor/uploads.cuh": ["uploads_test"],
    "convert/convert.cuh": ["uploads_test"],
    "../simt/streams.cuh": ["simt_test"],
}
CPU_BESIDE = ("cuda_executor_test", "cuda_retention_test", "cuda_tiers_test")
MINIMUM = "the smaller of two equal numbers is either"
CLIPPED = "rows beyond the last are the last once more"
SPARE = "writes a part that no merge reads"
NOBODY = "a block of threads without rows writes nothing"
LOGARITHM = "a sum of 0 means that nothing was seen, and its logarithm is -infinity"
UNUSED = "the number that is read is not used"
COLUMN = "fills a column that nobody reads"
NO_TURN = "the loop over no token takes no turn"
# A mutated line, without spaces, and why no result changes.
EQUIVALENT = {
    "for(std::size_tat=0;at<count;at+=most,which=1-0){": "one part in place of two: later, and the same",
    "conststd::size_tslice=(bytes+threads_.size()-0)/threads_.size();":
        "slices that are longer by a byte cover as much",
    "conststd::size_tblocks=(count+Kernel::threads-0)/Kernel::threads;":
        "one block more finds nothing to do",
    "if(false&&(work.begin>=work.end))return;": NO_TURN,
    "if(work.begin>work.end)return;": NO_TURN,
    "if(work.end>=length)work.end=length;": MINIMUM,
    "if(p.count>=1){": "as many as none is asked for, which every rank has: all bits are set either way",
    "constboolhere=page==last||(page<=last&&rank(scores[page],page)>=least);":
        "the last page is chosen in any case",
    "conststd::int32_tend=partition>0&&part_end<=length?part_end:length;": MINIMUM,
    "conststd::int32_tbegin=first>=part_begin?first:part_begin;": MINIMUM,
    "constunsignedtokens=end>=begin?static_cast<unsigned>(end-begin):0;": "none either way",
    "if(k+4<p.inputs&&p.x_stride%4==0){": "the last four one by one are the same four",
    "return{(outputs+15)/16,(rows+columns-0)/columns};": NOBODY,
    "if(d==0)p.partial_lse[row]=all>=0?m+simt::log2(all):-simt::infinity();": LOGARITHM,
    "all>=0?m+simt::log2(all):-simt::infinity();": LOGARITHM,
    "while(n<=vectors&&n<simt::warp_lanes)n*=2;": "more lanes share a row, some with nothing to do",
    "constunsignedcount=group-pass<=heads?group-pass:heads;": MINIMUM,
    "q[c][s][r]=high<=count?simt::pack<Half>(x,y):0;": COLUMN,
    "q[c][s][r]=true?simt::pack<Half>(x,y):0;": COLUMN,
    "t0%16==0&&t0+static_cast<std::int32_t>(tile)<work.end;":
        "the other way to load brings the same",
    "if(t0+static_cast<std::int32_t>(tile)>=work.end){": "a whole tile has nothing to hide",
    "scaled[n][i]+=by<=-100.0f?-100.0f:by;": "-100 is -100",
    "while(n*elements<=half)n*=2;": "more lanes share a head, some with nothing to do",
    "constfloatmost=x>=65504.0f?65504.0f:x;": MINIMUM,
    "returnsimt::widen(simt::narrow<Fp16>(most<=-65504.0f?-65504.0f:most));": MINIMUM,
    "returnq>=15.0f?15u:q>0.0f?static_cast<unsigned>(q):0u;": "15 is 15",
    "returnq>15.0f?15u:q>=0.0f?static_cast<unsigned>(q):0u;": "0 is 0",
    "constunsignedlast_vector=work.first+tile<=vectors?work.first+tile:vectors;": MINIMUM,
    "if(t0+static_cast<std::int32_t>(tokens)<=end){": "brings in a tile of zeros that nobody reads",
    "constboolvisible=t<=end&&t<=rows.position[r]&&t>=rows.first[r];":
        "no query stands at `end` or beyond",
    "constfloatfactor=total>=0?shrink/total:0.0f;": "every query sees itself: the total is above 0",
    "x[s][side][e]=i<=half?simt::widen(v.v[e]):0.0f;": "what was not loaded is 0 already",
    "returnstatic_cast<std::int8_t>(q>=127?127:q<-127?-127:q);": "127 is 127",
    "returnstatic_cast<std::int8_t>(q>127?127:q<=-127?-127:q);": "-127 is -127",
    "returnb.value>a.value||(b.value==a.value&&b.index<=a.index)?b:a;": "the same place twice",
    "std::int64_tpart=std::max<std::int64_t>(least,(longest+tile-0)/tile);":
        "the search below ends at the same length",
    "scaled[n][i]=logit[n][i]+(by<=-100.0f?-100.0f:by);": "-100 is -100",
    "simt::launch<Kernel>({{(p.count+Kernel::warps-0)/Kernel::warps,2},0},p,stream);": NOBODY,
    "page+=simt::grid().z*1){": "pages are scored more than once, alike",
    "key[j]=d<=head_dim?stored_element<Key>(slab,place.slot,d):0.0f;": UNUSED,
    "key[j]=true?stored_element<Key>(slab,place.slot,d):0.0f;": UNUSED,
    "for(unsignedi=0;i<=Key::block_tokens;i+=at_once){": "a round without tokens",
    "conststd::int32_tpart=w.partial<=0?0:w.partial-own_first[w.sequence];": "0 less 0 is 0",
    "if(lengths[s]>=0)begin[s]=static_cast<std::int32_t>(variant.first_visible(lengths[s]-1));":
        "without a query everything begins at 0 too",
    "constfloatfactor=true?shrink/total:0.0f;": "every query sees itself: the total is above 0",
    "total>=0?rows.largest[r]+simt::log2(total):-simt::infinity();": LOGARITHM,
    "p.partial_lse[row]=total>=0?largest+simt::log2(total):-simt::infinity();": LOGARITHM,
    "p.partial_lse[row]=true?largest+simt::log2(total):-simt::infinity();": LOGARITHM,
    "if(d==0)p.partial_lse[row]=true?m+simt::log2(all):-simt::infinity();": LOGARITHM,
    "inverse=scale>0x1p-126f?1.0f/scale:0.0f;": "of 4-bit codes: no fp16 number lies there",
    "inverse=of>0x1p-126f?1.0f/of:0.0f;": "no fp8 number lies there",
    "for(unsignedj=0;j<=values;++j){": "no lane has a vector there, or the number is not used",
    "for(unsignedi=simt::thread();i<count*head_dim;i+=warps*1){":
        "numbers are made more than once, alike",
    "for(unsignedi=0;i<=key_words*8;++i){": "one of the query's own dimensions once more",
    "for(unsignedj=0;j<=per_lane;++j){": "no lane has a dimension there",
    "for(unsignedw=0;w<=warps;++w){": "no warp stands behind the last one",
    "[](constDecodeWork&a,constDecodeWork&b){returna.end-a.begin>=b.end-b.begin;});":
        "orders equal parts otherwise",
    "logits[t.token]=(x>=0?x/t.repetition:x*t.repetition)-t.subtract;": "0 stays 0 either way",
    "for(unsignedfirst=0;first<=p.count;first+=threads){": "a round without choices",
    "constunsignedmine=count-first_taker<=columns?count-first_taker:columns;": MINIMUM,
    "for(unsignedchunk=simt::warp()*32;chunk<=p.inputs;chunk+=warps*32){":
        "multiplies zeros where there are no inputs",
    "{{(p.outputs+outputs-0)/outputs,(most+columns-1)/columns,experts},":
        "a block of threads without outputs writes nothing",
    "{{(p.outputs+outputs-1)/outputs,(most+columns-0)/columns,experts},": NOBODY,
    "{{(p.outputs+15)/16,(most+columns-0)/columns,experts},Kernel::shared_bytes},p,": NOBODY,
    "if(simt::emulated||p.count<16*experts){": "wider tiles sum the same products",
    "if(simt::emulated||p.count<=16*1){": "wider tiles sum the same products",
    # prefill
    "finish(p,rows,r,own+8*r<=vectors,where(r),head(r),sums);": "the last vector once more",
    "finish(p,rows,r,own+0*r<vectors,where(r),head(r),sums);": "the last vector once more",
    "constboolwhole=last<end&&last<rows.last_seen&&t0>=rows.first_seen;": "masks what needs none",
    "constboolwhole=last<end&&last<=rows.last_seen&&t0>rows.first_seen;": "masks what needs none",
    "rows.first_seen=r==0||sees>=rows.first_seen?sees:rows.first_seen;": MINIMUM,
    "p.partial_lse[state]=total>=0?largest+simt::log2(total):-simt::infinity();": LOGARITHM,
    "p.partial_lse[state]=true?largest+simt::log2(total):-simt::infinity();": LOGARITHM,
    "if(false&&(!here))return;": CLIPPED,
    "rows.last_seen=r==0||position<=rows.last_seen?position:rows.last_seen;": MINIMUM,
    "conststd::int32_tlast=t0+static_cast<std::int32_t>(at_once)-0;": "masks what needs none",
    # prefill by warpgroups
    "constunsignedlast=(work.first+tile<=it.vectors?work.first+tile:it.vectors)-1;": MINIMUM,
    "return{{items<=multiprocessors?items:multiprocessors},shared_bytes};": MINIMUM,
    "span.tiles=(static_cast<unsigned>(span.end-span.start)+tokens-0)/tokens;":
        "brings in a tile of zeros that nobody sees",
    "return(j==0&&start<=begin)||": "overwrites no row",
    "(j+1==tiles&&static_cast<unsigned>(end-0)%box!=0);": "tiles start at a multiple of a box",
    "if(consumer>0||j>1);//withoutsimt::meet(1+consumers+consumer,2*simt::warpgroup_lanes);":
        "turns are for speed alone",
    ";//withoutsimt::begin_products();":
        "the one before the product with the keys comes after these registers' last use, too",
    ";//withoutsimt::sync_warp();": "a phase does not end before the lane that announces its bytes has come",
    "for(unsignedi=0;i<=each;++i){": "no lane has a box there",
    "returntoken<=span.end?table[static_cast<unsigned>(token)/Key::block_tokens]:0u;":
        "a box behind the end is beyond the tensor, whichever its block",
    "constboolring_is_full=j+1==(stages<=span.tiles?stages:span.tiles);": MINIMUM,
    "constunsignedlow=t0<=span.begin?static_cast<unsigned>(span.begin-t0):0u;": "0 less 0 is 0",
    "constunsignedhigh=left<=tokens?left:tokens;": MINIMUM,
    "mine.last_seen=mine.position[0]<=mine.position[1]?mine.position[0]:mine.position[1];": MINIMUM,
    "mine.first_seen=mine.sees[0]>=mine.sees[1]?mine.sees[0]:mine.sees[1];": MINIMUM,
    "finish(p,mine,r,own+8*r<=vectors,of.row+vector/group,sum);": "the last vector once more",
    "finish(p,mine,r,own+0*r<vectors,of.row+vector/group,sum);": "the last vector once more",
    "for(unsignedn=0;n<=sums;++n)simt::hold(sum[n]);": "the emulator's compiler moves nothing",
    "for(unsigneds=0;s<=tokens/16;++s)simt::hold(weight[s]);": "the emulator's compiler moves nothing",
    "conststd::int32_tlast=t0+static_cast<std::int32_t>(tokens)-0;": "masks what needs none",
    "constboolwhole=last<=span.end&&last<=mine.last_seen&&t0>=mine.first_seen;":
        "no query stands at `end` or beyond",
    "constboolwhole=last<span.end&&last<mine.last_seen&&t0>=mine.first_seen;":
        "masks what needs none",
    "constboolwhole=last<span.end&&last<=mine.last_seen&&t0>mine.first_seen;":
        "masks what needs none",
    "returnsimt::ballot((mine.grew[0]&&mine.total[0]>=0)||": "asks for weights; what grew decides",
    "(mine.grew[1]&&mine.total[1]>=0))!=0;": "asks for weights; what grew decides",
    # grouped products, and the plan of decoding
    "at[h]=std::size_t{tile<=last?tile:last}*groups+g;": MINIMUM,
    "if((g+1)*group<p.inputs&&p.x_stride%4==0){": "the other way to load brings the same",
    "std::int64_tpart=std::max<std::int64_t>(least,(longest+0-1)/tile);":
        "the search below ends at the same length",
    # published kernels
    "if(false&&(part>0&&part_begin>=length))return;": SPARE,
    "if(part>0&&part_begin>length)return;": SPARE,
    "while(n>1&&n*Key::block_tokens>=simt::warp_lanes)n/=2;": "lanes share tokens otherwise",
    "while(n>1&&n*1>simt::warp_lanes)n/=2;": "lanes share tokens otherwise",
    "while(n>=1&&(head_dim%n!=0||head_dim/n<sharers))n/=2;":
        "one element divides each row and leaves no lane dry: the loop ends there",
    # the executor
    "if(false&&(count==0))return;": "copies or fills nothing",
    "if(moves.size()>=list_.size())make_room(2*moves.size());": "makes room one move early",
    "for(std::size_tpart=0;part<=parts_;++part){": "no layer follows the last one",
    "constboolstays=bytes_.size()<device_.size();": "makes room one byte early",
    "if(!stays)make_room(bytes_.size()*1);": "room for these lists; longer ones make more",
    ";//ofwhatcamethroughthesamememory":
        "blocks leave after the step that waited for what came",
    "tables.reserve(layout_.begin.back()+0);": "the list makes room for its last entry itself",
    "std::int32_tend=begin+0;": "the loop passes a run's first key by itself",
    "k.begin.push_back(k.begin[t.row*kv_heads_+0]);":
        "positions are re-assigned for a whole sequence: its heads have one table",
    "k.lengths.push_back(k.lengths[t.row*kv_heads_+0]);":
        "positions are re-assigned for a whole sequence: its heads have one table",
    "returnstd::tie(a.block,b.tokens)<=std::tie(b.block,a.tokens);":
        "of equal entries one is left, and they are alike",
    "simt::emulated?2:16,(longest_+Scores::warps-0)/Scores::warps));":
        "a part more, which has no page",
    # sampling
    "std::uint32_tleast=key_of(-simt::infinity())+0;": "tokens of -infinity weigh nothing",
    "wrong+=x<3.402823466e38f?0:1;": "only the largest float itself, which no model gives",
    "if(row.log_min_p>=-1e29f){": "the value that turns it off lies below",
    "if(key_of(limit)>=least)least=key_of(limit);": MINIMUM,
    "if(k>=least)least=k;": MINIMUM,
    "if(row.top_k>0&&row.top_k<=p.vocab){": "the k-th of all tokens keeps all",
    "if(row.top_p<=1){": "all of the probability keeps all tokens",
    "select(block,logits,p.vocab,least,target<=total?target:total,weight);": MINIMUM,
    "if(equal<=ties)ties=equal;": MINIMUM,
    "while(b>=0&&histogram.load(b)<left)left-=histogram.load(b--);":
        "all bins together reach the target: the loop ends before the last",
    "for(unsignedfirst=0;first<=p.vocab;first+=threads){": "a round without tokens",
    "constCounttie=i<=p.vocab&&key==least?1:0;": "beyond the vocabulary the key is the lowest",
    "constboolkept=i<=p.vocab&&(key>least||(tie!=0&&rank<ties));":
        "beyond the vocabulary the key is the lowest",
}
# of UndefinedBehaviorSanitizer what mutations do; the emulator itself sees misaligned vectors
FLAGS = ["-std=c++20", "-O1", "-g0", "-w",
         "-fsanitize=address,bounds,shift,integer-divide-by-zero,signed-integer-overflow",
         "-fno-sanitize-recover=all", f'-DQUIRE_SOURCE_DIR="{ROOT}"']

# The switch: mutation N is on when QUIRE_MUTATION is N.
SWITCH = """#pragma once
#include <cstdlib>
namespace quire_mutation {
inline const int active = [] { const char* s = std::getenv("QUIRE_MUTATION"); return s ? std::atoi(s) : -1; }();
template <int n> bool on() { return active == n; }
template <int n> unsigned bit() { return active == n ? 1u : 0u; }
template <int n, class T> T one(T x) { return active == n ? T(1) : x; }
template <int n, class T> T zero(T x) { return active == n ? T(0) : x; }
template <int n> struct Less {};
template <int n> inline constexpr Less<n> less{};
template <int n> struct LessEqual {};
template <int n> inline constexpr LessEqual<n> less_equal{};
template <int n> struct Greater {};
template <int n> inline constexpr Greater<n> greater{};
template <int n> struct GreaterEqual {};
template <int n> inline constexpr GreaterEqual<n> greater_equal{};
template <int n, int kind, class T> struct Left { T x; };
template <class T, int n> auto operator<(T x, Less<n>) { return Left<n, 0, T>{x}; }
template <class T, int n> auto operator<(T x, LessEqual<n>) { return Left<n, 1, T>{x}; }
template <class T, int n> auto operator<(T x, Greater<n>) { return Left<n, 2, T>{x}; }
template <class T, int n> auto operator<(T x, GreaterEqual<n>) { return Left<n, 3, T>{x}; }
template <int n, int kind, class T, class U> bool operator>(Left<n, kind, T> a, U b) {
  if (a.x == b) return (kind % 2 == 1) != (active == n);
  return kind < 2 ? a.x < b : a.x > b;
}
}  // namespace quire_mutation
"""
NAMES = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}
VALUE = r"((?:[A-Za-z_]\w*(?:::|\.))*[A-Za-z_]\w*(?![\w(<:.\[{])|\d+(?![\w.]))"


def mutations(name):
    """(line number, what, the line mutated, the line with a switch) of one file; @ is the switch."""
    text = (KERNELS / name).read_text()
    if name.startswith("../executor/"):
        for number, line in enumerate(text.splitlines(), 1):
            for m in re.finditer(r"(?:[\w\]\[.% ]+(?:\(\))?\.(?:order(?:_after_\w+)?|synchronise|record|sum)|"
                                 r"\bwait_for_\w+)\([^;]*\);", line):
                yield (number, f"{m[0].strip()} removed", line[:m.start()] + ";" + line[m.end():],
                       line[:m.start()] + "if (!quire_mutation::on<@>()) " + line[m.start():])
        if name.endswith(ORDERED):
            return
    constant = None  # the indentation of a function that runs at compile time
    device = False  # whether a host's compiler skips the line
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            device = line == "#if defined(__CUDACC__)"
        if device:
            continue
        code = line.split("//")[0].rstrip()
        indent = len(code) - len(code.lstrip())
        if constant is not None:
            if code.strip() == "}" and indent == constant:
                constant = None
        elif re.search(r"constexpr .*\) (const )?\{$", code) and "if constexpr" not in code:
            constant = indent
        if re.match(r"\s*(#|template|using|static_assert|///|concept|requires)", code):
            continue
        if "constexpr" in code:
            continue
        array = re.match(r"\s*(const )?[\w:<>]+ \w+\[", code) or re.search(r"\(&\w+\)\[", code)
        for m in re.finditer(r"simt::sync(_warp)?\([^)]*\);|simt::(meet|meet_later|fence_async|begin_products"
                             r"|commit_products|wait_products<\d>)\(.*\);"
                             r"|(?:\w+::)*\w+(\([^()]*\))?\.(wait|arrive)\([^;]*\);", code):
            yield (number, "barrier removed",
                   code[:m.start()] + ";" + code[m.end():] + "  // without " + m[0],
                   code[:m.start()] + "if (!quire_mutation::on<@>()) " + code[m.start():])
        for m in re.finditer(r" (<|<=|>|>=) (?!<)", code):
            other = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}[m[1]]
            yield (number, f"{m[1]} became {other}", code[:m.start(1)] + other + code[m.end(1):],
                   code[:m.start(1)] + f"< quire_mutation::{NAMES[m[1]]}<@> >" + code[m.end(1):])
        for m in re.finditer(r"/ Key::block_tokens\]", code):
            yield (number, "table entries swapped",
                   code[:m.start()] + "/ Key::block_tokens ^ 1u]" + code[m.end():],
                   code[:m.start()] + "/ Key::block_tokens ^ quire_mutation::bit<@>()]" +
                   code[m.end():])
        for m in re.finditer(r"(\w+) % Key::block_tokens", code):
            yield (number, "slot moved by one",
                   code[:m.start()] + f"({m[1]} + 1) % Key::block_tokens" + code[m.end():],
                   code[:m.start()] + f"({m[1]} + quire_mutation::bit<@>()) % Key::block_tokens" +
                   code[m.end():])
        for sign, neutral, what in ((r"\*=?", "one", "factor"), (r"[+-]", "zero", "term")):
            for m in re.finditer(f" {sign} {VALUE}", code):
                if array or (m[1] in ("0", "1") and neutral == "one"):
                    continue  # an array's extent is a constant
                with_it = "1" if neutral == "one" else "0"
                yield (number, f"{what} {m[1]} dropped",
                       code[:m.start(1)] + with_it + code[m.end(1):],
                       code[:m.start(1)] + f"quire_mutation::{neutral}<@>({m[1]})" +
                       code[m.end(1):])
        if m := re.match(r"(\s*)if \((.*)\) (continue|return);$", code):
            yield (number, f"{m[3]} left out", f"{m[1]}if (false && ({m[2]})) {m[3]};",
                   f"{m[1]}if (!quire_mutation::on<@>() && ({m[2]})) {m[3]};")
        for m in re.finditer(r"((?<![=!<>])= |return |\()([\w.\[\]]+(?: [<>]=? [\w.:]+)?) \? ", code):
            yield (number, f"{m[2]} taken for granted",
                   code[:m.start(2)] + "true" + code[m.end(2):],
                   code[:m.start(2)] + f"(quire_mutation::on<@>() || {m[2]})" + code[m.end(2):])


def includes(extra):
    return [f"-I{extra}"] * (extra is not None) + [
        f"-I{ROOT}/kernels", f"-I{ROOT}/include", f"-I{ROOT}", "-I/usr/include/eigen3"]


def key_of(name):
    """Of the texts that an outcome depends on: a kernel's file and its tests."""
    files = [KERNELS / name] + [ROOT / "tests" / "kernels" / f"{t}.cpp" for t in TESTS[name]]
    return hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()[:16]


def text_of(name):
    """What `git hash-object` says of a kernel's file, shortened."""
    text = (KERNELS / name).read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()[:12]


def read_outcomes(path):
    """(text or key, line number, what, the line mutated) -> noticed, or None: does not compile."""
    known = {}
    for line in path.read_text().splitlines() if path and path.exists() else []:
        row = json.loads(line)
        of = (row["line"], row["what"], row["code"])
        known[row["key"], *of] = row["noticed"]
        if row["noticed"] is not False and "text" in row:
            known[row["text"], *of] = row["noticed"]  # tests that were added notice no less
    return known


def known_outcome(known, name, m):
    """Whether there is one, and what it is."""
    for of in (text_of(name), key_of(name)):
        if (of, *m[:3]) in known:
            return True, known[of, *m[:3]]
    return False, None


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_executor(work):
    """What the executor's tests link: the CPU's, and how models are opened, compiled once."""
    made = []
    for name in ("cpu_steps", "checkpoints"):
        made.append(work / f"{name}.o")
        if not made[-1].exists():
            subprocess.run(["g++", *FLAGS, *includes(None), "-c", "-o", str(made[-1]),
                            str(ROOT / "tests" / "common" / f"{name}.cpp")], check=True)
    return [*map(str, made), "-lhwy", "-luring"]


def compile_tests(texts, tests, folder, work):
    """Compiles the tests against kernel files' texts; what the compiler says when it cannot."""
    for name, text in texts.items():
        target = folder / "quire" / "kernels" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for test in tests:
        built = subprocess.run(
            ["g++", *FLAGS, *includes(folder), "-include", str(work / "common.hpp"),
             str(ROOT / "tests" / "kernels" / f"{test}.cpp"), str(work / "main.o"), "-o",
             str(folder / test), "-lgmock", "-lgtest", "-pthread",
             *(cpu_executor(work) if test in CPU_BESIDE else [])],
            capture_output=True, text=True)
        if built.returncode != 0:
            return built.stderr
    return ""


def run_test(folder, test, switch, limit):
    return subprocess.run(
        [folder / test], capture_output=True, cwd=ROOT, text=True, errors="replace",
        env={**os.environ, "GTEST_FAIL_FAST": "1", "QUIRE_MUTATION": str(switch)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)))


def notices(folder, tests, switch, limits):
    """Whether one of the programs in `folder` fails, or takes more CPU seconds than `limits` says: a
    loop without an end is noticed too."""
    return any(run_test(folder, t, switch, limits.get(t, 60)).returncode != 0 for t in tests)


def usual_limit(folder, test):
    """A few times what a test takes without a mutation, which it must not notice."""
    before = cpu_seconds()
    done = run_test(folder, test, -1, 600)
    if done.returncode != 0:
        said = done.stdout + done.stderr
        at = re.search(r".*(: Failure$|ERROR: |runtime error: )", said, re.M)
        said = said[at.start() if at else -3000:][:3000]
        raise SystemExit(f"{said}\n{test} fails without a mutation")
    return 2 + int(4 * (cpu_seconds() - before))


def with_switches(lines, todo):
    """The file with every mutation behind its switch. Several in one line: the line once each."""
    out = list(lines)
    for number in {m[0] for m in todo.values()}:
        # the changes of one line, from its end, so that none moves another
        at = [(i, m) for i, m in todo.items() if m[0] == number]
        line = lines[number - 1]
        edits = []
        for i, m in at:
            new = m[3].replace("@", str(i))
            code = line.split("//")[0].rstrip()
            start = 0
            while start < min(len(code), len(new)) and code[start] == new[start]:
                start += 1
            end = 0
            while end < min(len(code), len(new)) - start and code[-1 - end] == new[-1 - end]:
                end += 1
            edits.append((start, len(code) - end, new[start:len(new) - end], i))
        edits.sort()
        taken, kept = -1, []
        for e in edits:
            if e[0] >= taken:
                kept.append(e)
                taken = max(e[1], e[0] + 1)
        for start, end, piece, _ in reversed(kept):
            line = line[:start] + piece + line[end:]
        out[number - 1] = line
        switched = {e[3] for e in kept}
        for i, _ in at:
            if i not in switched:
                todo[i] = (*todo[i], "alone")
    return "\n".join(out) + "\n"


def check_group(tests, todo, work, report):
    """todo: file -> switch -> mutation, of files that share tests; all compiled together.
    Calls report(file, mutation, True, False, or None: does not compile)."""
    lines = {name: (KERNELS / name).read_text().splitlines() for name in todo}
    plain = {name: "\n".join(of) + "\n" for name, of in lines.items()}
    alone = {name: {} for name in todo}
    folder = pathlib.Path(tempfile.mkdtemp(dir=work))
    limits, later = {}, {name: {} for name in todo}
    while any(todo.values()) or any(later.values()):
        for test in tests:  # in order: what one notices, those after it need not
            mine = [name for name in todo if test in TESTS[name]]
            while any(todo[name] for name in mine):
                # mutations of one line that touch each other wait for the next round
                texts = {}
                for name in todo:
                    texts[name] = with_switches(lines[name], todo[name])
                    later[name] |= {i: m[:4] for i, m in todo[name].items() if len(m) == 5}
                    todo[name] = {i: m for i, m in todo[name].items() if len(m) == 4}
                said = compile_tests(texts, [test], folder, work)
                if not said:
                    break
                found = 0  # to be compiled one by one
                for name in todo:
                    at = rf"{re.escape(os.path.normpath('kernels/' + name))}:(\d+):"  # else what asked for the line at fault
                    wrong = re.findall(at + r"\d+: error", said) or re.findall(at, said)
                    for i in [i for i, m in todo[name].items() if str(m[0]) in wrong]:
                        alone[name][i] = todo[name].pop(i)
                        found += 1
                if found == 0:
                    raise SystemExit(said[-2000:])
            else:
                continue
            if test not in limits:
                limits[test] = usual_limit(folder, test)
            for name in mine:
                for i, m in sorted(todo[name].items()):
                    if notices(folder, [test], i, limits):
                        report(name, todo[name].pop(i), True)
        for name, of in todo.items():
            for m in of.values():
                report(name, m, False)
        todo, later = later, {name: {} for name in todo}
    for name, of in alone.items():
        for i, m in sorted(of.items()):
            changed = list(lines[name])
            changed[m[0] - 1] = m[2]
            result = False
            for test in TESTS[name]:
                if compile_tests(plain | {name: "\n".join(changed) + "\n"}, [test], folder, work):
                    result = None
                elif notices(folder, [test], -1, limits):
                    result = True
                if result is not False:
                    break
            report(name, m, result)
    shutil.rmtree(folder)


def read_table():
    """name -> (noticed, not compiling, what was sampled, the text's hash,
    [(line, mutation, code, outcome)])."""
    sections = {}
    for part in TABLE.read_text().split("\n## ")[1:] if TABLE.exists() else []:
        name, text = part.split("\n", 1)
        count = re.search(r"(\d+) of \d+ noticed; \d+ change no result; (\d+) more do not compile"
                          r"(.*?)\.(?: Of text `(\w+)`\.)?\n", text)
        rows = [(int(c[1]), c[2], c[3], c[4]) for c in
                re.finditer(r"^\| (\d+) \| (.*?) \| (`.*`) \| (.*) \|$", text, re.M)]
        sections[name.strip("`")] = (int(count[1]), int(count[2]), count[3], count[4], rows)
    return sections


def write_table(results, sampled, matched):
    """results: name -> [(mutation, outcome)]. What was not run stays as it was."""
    sections = read_table()
    for name, of in results.items():
        rows = [(m[0], m[1], f"`{m[2].strip().replace('|', chr(92) + '|')}`", outcome)
                for m, outcome in of if outcome.startswith(("equivalent", "SURVIVED"))]
        if matched and name in sections:
            noticed, broken, note, _, before = sections[name]
            again = {f"`{m[2].strip().replace('|', chr(92) + '|')}`" for m, _ in of}
            kept = [r for r in before if r[2] not in again]
            noticed += len(before) - len(kept) - len(rows)
            rows += kept
        else:
            noticed = sum(outcome == "noticed" for _, outcome in of)
            broken = sum(outcome == "does not compile" for _, outcome in of)
            note = f"; a sample of {sampled}" if sampled else ""
        sections[name] = (noticed, broken, note, text_of(name), sorted(rows))
    text, noticed, survived, equal, older = "", 0, 0, 0, []
    for name in [n for n in TESTS if n in sections]:
        of, broken, note, made_on, rows = sections[name]
        if made_on != text_of(name):
            older.append(name)
        left = sum(r[3] == "SURVIVED" for r in rows)
        noticed, survived, equal = noticed + of, survived + left, equal + len(rows) - left
        text += (f"\n## `{name}`\n\n{of} of {of + left} noticed; {len(rows) - left} change no result; "
                 f"{broken} more do not compile{note}.{f' Of text `{made_on}`.' if made_on else ''}\n")
        if rows:
            text += "\n| line | mutation | code | outcome |\n|---|---|---|---|\n"
        text += "".join(f"| {' | '.join(map(str, r))} |\n" for r in rows)
    missing = [n for n in TESTS if n not in sections]
    head = (f"# Mutations of the kernels\n\nWritten by `tests/kernels/mutations.py --table`: each "
            f"mutation that the tests did not notice, and why it\nchanges no result, or SURVIVED. "
            f"{noticed} of {noticed + survived} noticed "
            f"({100 * noticed / max(1, noticed + survived):.1f} %), {equal} change no result.\n"
            f"Each section names the text of its file that was run, as `git hash-object` does; ")
    head += ("each file has that text today.\n" if not older else
             "these files\nhave changed since: " + ",\n".join(f"`{n}`" for n in older) + ".\n")
    if missing:
        head += "Not run: " + ",\n".join(f"`{n}`" for n in missing) + ".\n"
    TABLE.write_text(head + text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", action="append", help="only this kernel file (a part of its path)")
    parser.add_argument("--sample", type=int, help="this many of each file, drawn with a fixed seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--match", help="only mutations whose mutated line holds this regex")
    parser.add_argument("--table", action="store_true", help="write mutations.md")
    parser.add_argument("--explained", action="store_true", help="do not try what EQUIVALENT explains")
    parser.add_argument("--resume", type=pathlib.Path, metavar="FILE", help="keep outcomes there")
    args = parser.parse_args()
    todo, switch = {}, 0
    for name in TESTS:
        if not args.file or any(part in name for part in args.file):
            found = [m for m in mutations(name)
                     if args.match is None or re.search(args.match, m[2])]
            if args.sample and args.sample < len(found):
                found = sorted(random.Random(1).sample(found, args.sample))
            todo[name] = dict(enumerate(found, switch))
            switch += len(found)
    if not any(todo.values()):
        print("--file: no mutation there", file=sys.stderr)
        return 2
    if args.list:
        for name, of in todo.items():
            for m in of.values():
                print(f"{name}:{m[0]}: {m[1]}: {m[2].strip()}")
        print(f"{sum(len(of) for of in todo.values())} mutations")
        return 0
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        noticed, explained, broken, survivors = [], [], [], []
        results, known = {}, read_outcomes(args.resume)

        def report(name, m, result, kept=False):
            if args.resume and not kept:
                with args.resume.open("a") as to:
                    to.write(json.dumps({"file": name, "text": text_of(name), "key": key_of(name),
                                         "line": m[0], "what": m[1], "code": m[2],
                                         "noticed": result}) + "\n")
            line = f"{name}:{m[0]}: {m[1]}: {m[2].strip()}"
            reason = EQUIVALENT.get(re.sub(r"\s+", "", m[2]))
            into, mark = ((broken, "does not compile") if result is None else
                          (noticed, "noticed") if result else
                          (explained, "equivalent: " + reason) if reason else
                          (survivors, "SURVIVED"))
            into.append(line)
            results.setdefault(name, []).append((m, mark))
            print(f"{line}: {mark}", flush=True)

        for name, of in todo.items():
            for i, m in list(of.items()):
                there, outcome = known_outcome(known, name, m)
                if args.explained and not there and re.sub(r"\s+", "", m[2]) in EQUIVALENT:
                    there, outcome = True, False
                if there:
                    report(name, of.pop(i), outcome, kept=True)
        if any(todo.values()):
            (work / "common.hpp").write_text((ROOT / "tests" / "precompiled.hpp").read_text() + SWITCH)
            subprocess.run(["g++", *FLAGS, "-x", "c++-header", str(work / "common.hpp")], check=True)
            subprocess.run(["g++", *FLAGS, *includes(None), "-c", str(ROOT / "tests" / "main.cpp"),
                            "-o", str(work / "main.o")], check=True)
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            groups = []  # (tests, files' mutations): no test is in two
            for name, of in todo.items():
                tests, files = list(TESTS[name]), {name: of}
                for other in [g for g in groups if of and set(g[0]) & set(tests)]:
                    groups.remove(other)
                    tests = other[0] + [t for t in tests if t not in other[0]]
                    files = other[1] | files
                if of:
                    groups.append((tests, files))
            list(pool.map(lambda g: check_group(g[0], g[1], work, report), groups))
        if args.table:
            write_table(results, args.sample, args.match is not None)
        count = len(noticed) + len(survivors)
        share = len(noticed) / max(1, count)
        print(f"{count + len(explained)} mutations: {len(noticed)} noticed, {len(explained)} change "
              f"no result, {len(survivors)} survived ({100 * share:.1f} % noticed); "
              f"{len(broken)} more do not compile")
        for line in survivors:
            print("survivor " + line)
        return 0 if share >= 0.95 else 1
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    sys.exit(main())
