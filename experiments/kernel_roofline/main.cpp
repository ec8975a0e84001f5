// Every kernel of the CPU step on this machine's roofline, and what block tables cost attention: Figure
// 18(a) of the PagedAttention paper. README.md says what is run and why.
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <experiments/common/driver.hpp>
#include <experiments/kernel_roofline/axes.hpp>
#include <experiments/kernel_roofline/ceilings.hpp>
#include <experiments/kernel_roofline/low_rank.hpp>
#include <experiments/kernel_roofline/measure.hpp>
#include <quire/attention/attention.hpp>
#include <quire/core/rng.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/kv_format/arena.hpp>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/codec.hpp>
#include <quire/kv_format/int4_per_token_head.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/kv_format/q4_0.hpp>
#include <quire/kv_format/q8_0.hpp>
#include <quire/model/matrix.hpp>
#include <quire/model/ops.hpp>
#include <quire/model/rope.hpp>
#include <quire/sampling/sampler.hpp>
#include <quire/weight_format/a8.hpp>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/bf16_w16a16.hpp>
#include <quire/weight_format/bitmap.hpp>
#include <quire/weight_format/int8_grouped.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/q8_0.hpp>
#include <quire/weight_format/sparse_24.hpp>

namespace quire::experiment {
namespace {

constexpr std::size_t head_dim = 128;
/// What a call of a kernel computes and moves; bytes that it reads and writes once at the least.
struct Work {
  double flops = 0, bytes = 0;
  double Ceilings::*peak = &Ceilings::multiply_add;  // of its products
};

metrics::JsonObject on_roofline(const Work& work, std::size_t calls, std::size_t rounds,
                                const std::function<void()>& call) {
  call();  // memory is touched for the first time
  std::vector<double> times;
  for (std::size_t i = 0; i < rounds; ++i) {
    const double start = now_seconds();
    for (std::size_t k = 0; k < calls; ++k) call();
    times.push_back((now_seconds() - start) / static_cast<double>(calls));
  }
  const double seconds = median(times);
  const Ceilings& c = ceilings();
  const double bound = std::max(work.bytes / c.read, work.flops / (c.*work.peak));
  return metrics::JsonObject()
      .add("intensity", work.flops / work.bytes)
      .add("gflops", 1e-9 * work.flops / seconds)
      .add("gigabytes_per_s", 1e-9 * work.bytes / seconds)
      .add("microseconds", 1e6 * seconds)
      .add("bound_share", bound / seconds)
      .add("read_gigabytes_per_s", 1e-9 * c.read)
      .add("multiply_add_gflops", 1e-9 * c.multiply_add)
      .add("byte_products_gflops", 1e-9 * c.byte_products)
      .add("bf16_products_gflops", 1e-9 * c.bf16_products);
}

/// A row of the part `kernel`.
Run kernel_run(std::string_view kernel, std::string_view format, std::int64_t rows,
               std::function<metrics::JsonObject()> measure) {
  Run run;
  run.row.variant = std::string(kernel) + "/" + std::string(format);
  run.row.workload = "random_numbers";
  run.row.mode = metrics::Mode::measured;
  run.row.axes.add("part", "kernel").add("kernel", kernel).add("format", format).add("rows", rows);
  run.measure = std::move(measure);
  return run;
}

// ---- matrix products ------------------------------------------------------------------------------

/// W (2048, 2048) in a format, as many copies as no cache holds, with so many rows.
template <class Format>
metrics::JsonObject product(std::int64_t rows, std::size_t rounds) {
  constexpr std::size_t size = 2048;
  using Matrix = model::PanelMatrix<weight_format::storage_of<Format>>;
  ThreadPool one(1);
  const std::vector<float> values = random_floats(size * size, 1);
  model::MatrixSource source;
  source.outputs = source.inputs = size;
  source.codec = &weight_format::codec_of<Format>();
  source.read = [&](std::size_t first, std::size_t count, float* to) {
    std::copy_n(values.data() + first * size, count * size, to);
  };
  std::vector<Matrix> matrices;
  do {
    matrices.emplace_back(source, one);
  } while (static_cast<double>(matrices.size() * matrices[0].bytes()) < cold_bytes && rows < 64);
  const auto n = static_cast<std::size_t>(rows);
  const std::vector<float> x = random_floats(n * size, 2);
  std::vector<float> y(n * matrices[0].padded_outputs());
  double count = static_cast<double>(rows) * size * size;
  constexpr bool sparse = requires { Format::kept; };
  if constexpr (sparse) count *= Format::kept;
  Work work{2 * count, static_cast<double>(matrices[0].bytes() + 2 * n * size * sizeof(float))};
  if constexpr (std::same_as<Format, weight_format::Bf16W16a16>) {
    work.peak = &Ceilings::bf16_products;
  } else if (!sparse && source.codec->add_products != nullptr) {
    work.peak = &Ceilings::byte_products;
  }
  std::size_t turn = 0;
  return on_roofline(work, matrices.size(), rounds, [&] {
    matrices[turn++ % matrices.size()].multiply(x.data(), size, n, y.data(),
                                                matrices[0].padded_outputs(), one);
  });
}

// ---- attention ------------------------------------------------------------------------------------

/// Keys and values of some sequences in layers that take turns, blocks in random order or each
/// sequence in one run.
template <class Format>
class Cache {
 public:
  Cache(const kv_format::KvCodec& codec, std::size_t sequences, std::int64_t length,
        std::int64_t block_tokens, std::int64_t kv_heads, std::size_t heads, std::size_t rows,
        double memory)
      : heads_(heads), rows_(rows) {
    const double one = bytes_read(codec, sequences, length, kv_heads);
    model::Shape shape;
    shape.kv_heads = kv_heads;
    shape.head_dim = head_dim;
    shape.layers = 1 + static_cast<std::int64_t>(memory / one);
    layers_ = static_cast<std::size_t>(shape.layers);
    const std::int64_t per = ceil_div(length, block_tokens);
    const auto blocks = static_cast<std::size_t>(per) * sequences;
    arena_ =
        kv_format::Arena<Format>(shape, static_cast<std::int64_t>(blocks), block_tokens, codec);
    std::vector<BlockId> order(blocks);
    for (std::uint32_t b = 0; b < blocks; ++b) order[b] = {b};
    Rng rng(1);
    for (std::size_t i = blocks; i > 1 && per > 1; --i) {
      std::swap(order[i - 1], order[rng.below(i)]);
    }
    fill(codec, order);
    for (std::size_t s = 0; s < sequences; ++s) {
      const auto first = order.begin() + static_cast<std::ptrdiff_t>(s) * per;
      tables_.emplace_back(first, first + per);
    }
    q_.assign(sequences * rows * heads * head_dim, 0.1f);
    out_.resize(q_.size());
    for (std::size_t s = 0; s < sequences; ++s) {
      spans_.push_back({s * rows, rows, length - static_cast<std::int64_t>(rows), tables_[s]});
    }
  }
  void attend() {
    const kv_format::Arena<Format>& cache = arena_;
    const std::size_t width = heads_ * head_dim;
    attention::paged<Format>(cache.layer(turn_++ % layers_),
                             {q_.data(), width, out_.data(), width, heads_, 0.09f, spans_},
                             attention::Causal{}, workspace_, one_);
  }
  static double bytes_read(const kv_format::KvCodec& codec, std::size_t sequences,
                           std::int64_t length, std::int64_t kv_heads) {
    return static_cast<double>(sequences) * static_cast<double>(length * kv_heads) *
           (codec.keys.token_bytes(head_dim) + codec.values.token_bytes(head_dim));
  }

 private:
  void fill(const kv_format::KvCodec& codec, const std::vector<BlockId>& order) {
    const std::vector<float> values = random_floats(head_dim * 17, 3);
    const auto view = arena_.layer(0);
    const BlockId first = order.front();
    for (std::size_t h = 0; h < view.kv_heads; ++h) {
      for (std::size_t t = 0; t < view.block_tokens; ++t) {
        const float* token = values.data() + t % 17 * head_dim;
        codec.keys.store(view.keys(first, h), view.block_tokens, head_dim, t, token);
        codec.values.store(view.values(first, h), view.block_tokens, head_dim, t, token);
      }
    }
    const std::size_t layer_bytes = arena_.block_bytes() / layers_;
    for (const BlockId b : order) {
      for (std::size_t l = b == first ? 1 : 0; l < layers_; ++l) {
        std::memcpy(arena_.block(b) + l * layer_bytes, arena_.block(first), layer_bytes);
      }
    }
  }

  kv_format::Arena<Format> arena_;
  std::vector<std::vector<BlockId>> tables_;
  std::vector<attention::SequenceRows> spans_;
  std::vector<float> q_, out_;
  std::size_t heads_, rows_, layers_ = 1, turn_ = 0;
  attention::Workspace workspace_;
  ThreadPool one_{1};
};

/// 32 query and 8 KV heads over 4,096 tokens: the last of them, or the last 256.
template <class Format>
metrics::JsonObject attention_kernel(const kv_format::KvCodec& codec, std::size_t rows,
                                     std::size_t rounds) {
  constexpr std::int64_t length = 4096, kv_heads = 8;
  constexpr std::size_t heads = 32;
  Cache<Format> cache(codec, 1, length, 16, kv_heads, heads, rows, rows == 1 ? cold_bytes : 0);
  double pairs = 0;
  for (std::size_t r = 0; r < rows; ++r)
    pairs += static_cast<double>(length) - static_cast<double>(r);
  const Work work{
      4.0 * head_dim * heads * pairs,
      Cache<Format>::bytes_read(codec, 1, length, kv_heads) +
          8.0 * static_cast<double>(rows * heads * head_dim),
      codec.keys.code_layout != nullptr ? &Ceilings::byte_products : &Ceilings::multiply_add};
  return on_roofline(work, rows == 1 ? 8 : 1, rounds, [&] { cache.attend(); });
}

/// What block tables cost: the same batch over blocks that lie anywhere and over one run a sequence, by
/// turns; 8 query and 2 KV heads, bf16.
metrics::JsonObject paged_against_contiguous(std::int64_t context, std::size_t batch,
                                             std::int64_t block, std::size_t rounds) {
  using Format = kv_format::Bf16;
  const kv_format::KvCodec& codec = kv_format::codec_of<Format>();
  constexpr std::int64_t kv_heads = 2;
  const double bytes = Cache<Format>::bytes_read(codec, batch, context, kv_heads);
  Cache<Format> paged(codec, batch, context, block, kv_heads, 8, 1, cold_bytes);
  Cache<Format> whole(codec, batch, context, context, kv_heads, 8, 1, cold_bytes);
  const auto calls = static_cast<std::size_t>(std::clamp(4e6 / bytes, 1.0, 200.0));
  const auto seconds = [calls](Cache<Format>& cache) {
    const double start = now_seconds();
    for (std::size_t i = 0; i < calls; ++i) cache.attend();
    return (now_seconds() - start) / static_cast<double>(calls);
  };
  seconds(paged);
  seconds(whole);
  std::vector<double> in_blocks, in_one, ratios;
  for (std::size_t r = 0; r < rounds; ++r) {
    const bool first = r % 2 == 0;
    if (first) in_blocks.push_back(seconds(paged));
    in_one.push_back(seconds(whole));
    if (!first) in_blocks.push_back(seconds(paged));
    ratios.push_back(in_blocks.back() / in_one.back());
  }
  return metrics::JsonObject()
      .add("paged_us", 1e6 * median(in_blocks))
      .add("contiguous_us", 1e6 * median(in_one))
      .add("cost_percent", 100 * (median(ratios) - 1))
      .add("gigabytes_per_s", 1e-9 * bytes / median(in_blocks))
      .add("rounds", rounds);
}

void add_paged(std::vector<Run>& runs, const Options& options) {
  const PagedAxes axes = paged_axes(options);
  const std::size_t rounds = options.pick<std::size_t>(3, 15, 31);
  for (const std::int64_t context : axes.contexts) {
    for (const std::int64_t batch : axes.batches) {
      for (const std::int64_t block : axes.blocks) {
        if (context * batch > axes.most_tokens) continue;
        Run run;
        run.row.variant = "paged_attention/bf16";
        run.row.workload = "random_numbers";
        run.row.mode = metrics::Mode::measured;
        run.row.axes.add("part", "paged").add("context", context).add("batch", batch);
        run.row.axes.add("block_size", block);
        run.measure = [=] {
          return paged_against_contiguous(context, static_cast<std::size_t>(batch), block, rounds);
        };
        runs.push_back(std::move(run));
      }
    }
  }
}

// ---- row by row -----------------------------------------------------------------------------------

/// A kernel over rows of 2,048 floats that no cache holds; body(x, y, width).
metrics::JsonObject by_rows(double flops_an_element, double bytes_an_element, std::size_t rounds,
                            const std::function<void(float*, float*, std::size_t)>& body,
                            std::size_t width = 2048) {
  constexpr std::size_t rows = 8192;
  huge_vector<float> x(rows * width, 0.25f), y(rows * width, 0.5f);
  const double elements = static_cast<double>(rows * width);
  return on_roofline({flops_an_element * elements, bytes_an_element * elements}, 1, rounds, [&] {
    for (std::size_t r = 0; r < rows; ++r) body(x.data() + r * width, y.data() + r * width, width);
  });
}

metrics::JsonObject sampling_kernel(double top_p, std::size_t rounds) {
  constexpr std::size_t vocab = 32000;
  constexpr double elements = 32000;
  constexpr std::size_t sets = 400;  // that take turns
  const std::vector<float> one = random_floats(vocab, 5);
  huge_vector<float> logits(sets * vocab);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = 20 * one[i % vocab];  // steep
  std::vector<float> work(vocab);
  SamplingParams p;
  p.temperature = top_p < 1 ? 0.8 : 0.0;
  p.top_p = top_p;
  SequencePlan plan;
  plan.tokens = plan.prompt_tokens = 1;
  plan.draws = 1;
  plan.sampling = &p;
  sampling::Sampler sampler;
  Draw draw;
  std::size_t turn = 0;
  // a comparison an element, and with a temperature a product and an exponential
  return on_roofline({(top_p < 1 ? 3.0 : 1.0) * elements, 4 * elements}, sets, rounds, [&] {
    std::copy_n(logits.data() + turn++ % sets * vocab, vocab, work.data());
    sampler.sample(plan, work, {&draw, 1}, 0, {});
  });
}

void add_rows(std::vector<Run>& runs, std::size_t rounds) {
  static const std::vector<float> ones(2048, 1.0f);
  runs.push_back(kernel_run("rms_norm", "fp32", 8192, [rounds] {
    return by_rows(4, 8, rounds, [](float* x, float* y, std::size_t n) {
      model::rms_norm(x, ones.data(), 1e-5f, y, n);
    });
  }));
  runs.push_back(kernel_run("residual", "fp32", 8192, [rounds] {
    return by_rows(1, 12, rounds, [](float* x, float* y, std::size_t n) { model::add(x, y, n); });
  }));
  runs.push_back(kernel_run("swiglu", "fp32", 8192, [rounds] {
    return by_rows(6, 6, rounds, [](float* x, float* y, std::size_t n) {
      model::activate_gated(x, x + n / 2, y, n / 2, model::Silu{});
    });
  }));
  runs.push_back(kernel_run("rope", "fp32", 8192, [rounds] {
    const model::Rope rope(head_dim, 10000.0, {}, {});
    std::vector<float> angles(head_dim);
    rope.angles(1000, angles.data());
    return by_rows(3, 8, rounds, [&](float* x, float*, std::size_t) {
      for (std::size_t h = 0; h < 2048 / head_dim; ++h) {
        rope.rotate(angles.data(), x + h * head_dim);
      }
    });
  }));
  runs.push_back(kernel_run("greedy", "fp32", 1, [rounds] { return sampling_kernel(1, rounds); }));
  runs.push_back(kernel_run("top_p", "fp32", 1, [rounds] { return sampling_kernel(0.9, rounds); }));
}

template <class Format>
void add_products(std::vector<Run>& runs, const Options& options, std::size_t rounds) {
  for (const std::int64_t rows : product_rows(options)) {
    runs.push_back(kernel_run("matrix_product", Format::name, rows,
                              [rows, rounds] { return product<Format>(rows, rounds); }));
  }
}
template <class Format>
void add_attention(std::vector<Run>& runs, const Options& options, std::size_t rounds) {
  const auto last = options.pick<std::vector<std::size_t>>({1}, {1, 256}, {1, 256});
  for (const std::size_t rows : last) {
    runs.push_back(
        kernel_run("attention", Format::name, static_cast<std::int64_t>(rows), [rows, rounds] {
          return attention_kernel<kv_format::storage_of<Format>>(kv_format::codec_of<Format>(),
                                                                 rows, rounds);
        }));
  }
}

std::vector<Run> make_runs(const Options& options) {
  const std::size_t rounds = options.pick<std::size_t>(1, 5, 15);
  std::vector<Run> runs;
  add_products<weight_format::Bf16>(runs, options, rounds);
  add_products<weight_format::Bf16W16a16>(runs, options, rounds);
  add_products<weight_format::Q80>(runs, options, rounds);
  add_products<weight_format::Q40>(runs, options, rounds);
  add_products<weight_format::A8<weight_format::Q40>>(runs, options, rounds);
  add_products<weight_format::Sparse24>(runs, options, rounds);
  add_products<weight_format::Bitmap<50>>(runs, options, rounds);
  add_attention<kv_format::Bf16>(runs, options, rounds);
  add_attention<kv_format::Int8PerTokenHead>(runs, options, rounds);
  add_attention<kv_format::Int4PerTokenHead>(runs, options, rounds);
  add_rows(runs, rounds);
  add_low_rank(runs, options);
  add_paged(runs, options);
  return runs;
}

}  // namespace
}  // namespace quire::experiment

int main(int argc, char** argv) {
  return quire::experiment::run_experiment(argc, argv, "kernel_roofline",
                                           "Every kernel of the CPU step against this machine's "
                                           "limits, and attention over block tables\n"
                                           "against attention over one run of memory.\n\n"
                                           "Examples:\n"
                                           "  kernel_roofline --out rows.jsonl\n"
                                           "  kernel_roofline --out rows.jsonl --filter paged\n"
                                           "  kernel_roofline --axis part=low_rank\n",
                                           quire::experiment::make_runs);
}
