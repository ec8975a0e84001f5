// Times steps of whole models on a device: model_step ROWS.jsonl COMMON-JSON [small]
// Models of known shapes and random weights, steps of one token a sequence at several batches and contexts, and
// prompts. Beside each step stands what memory and arithmetic allow, by rates that are measured first. What a step
// spends is told by differences: the keys and values of a context by the same step at a context of 16 tokens, the
// host by the same plan on a model of one narrow layer. Then engines serve requests with the same models: all that the
// control plane does counts there, and the bound is the sum of its steps'. How fast weights come to the device is
// told as a share of the link: of those read, in bytes of the checkpoint.
// Under a host compiler the program runs on the emulator, where only `small` ends in a reasonable time.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kernels/device/read_all.cuh>
#include <kernels/device/result_rows.hpp>
#include <quire/checkpoint/config.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/random_model.hpp>
#include <quire/checkpoint/tensor_set.hpp>
#include <quire/core/rng.hpp>
#include <quire/engine/engine.hpp>
#include <quire/engine/replay.hpp>
#include <quire/executor/cuda.cuh>
#include <quire/kernels/dense/device_product.cuh>
#include <quire/kv_format/bf16.hpp>
#include <quire/kv_format/int8_per_token_head.hpp>
#include <quire/model/known_shapes.hpp>
#include <quire/presets/vllm.hpp>
#include <quire/simt/device_array.cuh>
#include <quire/simt/streams.cuh>
#include <quire/weight_format/bf16.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/linear_only.hpp>
#include <quire/workload/generator.hpp>

namespace {

using namespace quire;

/// Median seconds of a call that returns when its work is done.
double seconds_of(const std::function<void()>& call, int warm, int calls) {
  for (int i = 0; i < warm; ++i) call();
  std::vector<double> all;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    all.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(all.begin(), all.begin() + calls / 2, all.end());
  return all[static_cast<std::size_t>(calls / 2)];
}

/// \unit bytes and operations a second; link: from pinned memory to the device
struct Ceilings {
  double read = 0, matmul = 0, link = 0;
};
Ceilings ceilings(device::Rows& rows, bool small) {
  Ceilings c;
  const std::size_t words = std::size_t{1} << (small ? 16 : 30), n = small ? 32 : 8192;
  {
    simt::DeviceArray<std::uint32_t> a(words), out(4);
    simt::clear(a.data(), words, simt::Stream{}, "ceiling");
    const std::uint32_t blocks = simt::multiprocessors() * 4;
    const double s = seconds_of(
        [&] {
          simt::launch<device::ReadAll>({{blocks}}, {a.data(), out.data(), words});
          simt::synchronise_device();
        },
        2, small ? 1 : 11);
    c.read = 4.0 * static_cast<double>(words) / s;
    rows.add("ceiling", "read", s, c.read, "read", c.read);
  }
  std::vector<Bf16> numbers(n * n);
  Rng rng(3);
  for (Bf16& x : numbers) x = to_bf16(static_cast<float>(rng.uniform()) - 0.5f);
  simt::DeviceArray<Bf16> a{std::span<const Bf16>(numbers)}, b{std::span<const Bf16>(numbers)};
  simt::DeviceArray<float> y(n * n);
  kernels::DeviceProduct product;
  const double s = seconds_of(
      [&] {
        product.multiply<Bf16, Bf16, float>({a.data(), b.data(), nullptr, y.data(), n, n, n});
        simt::synchronise_device();
      },
      2, small ? 1 : 11);
  c.matmul = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / s;
  rows.add("ceiling", "matmul bf16", s, c.matmul, "matmul", c.matmul);
  const std::size_t bytes = std::size_t{1} << (small ? 14 : 28);
  simt::PinnedArray<std::byte> pinned(bytes);
  simt::DeviceArray<std::byte> there(bytes);
  std::memset(pinned.data(), 1, bytes);
  const double copied = seconds_of(
      [&] {
        simt::copy_to_device(there.data(), pinned.data(), bytes, simt::Stream{}, "ceiling");
        simt::synchronise_device();
      },
      2, small ? 1 : 11);
  c.link = static_cast<double>(bytes) / copied;
  rows.add("ceiling", "from pinned memory to the device", copied, c.link, "link", c.link);
  return c;
}

/// A llama of random weights in memory. Tensors of one shape are the same numbers, so that eight billion weights need
/// not be drawn; a device has each layer's in a place of its own.
checkpoint::Checkpoint random_model(const model::Shape& shape) {
  using checkpoint::DType;
  checkpoint::Checkpoint out;
  out.directory = shape.name;
  out.config = checkpoint::parse_config(checkpoint::detail::llama_config(shape, DType::bf16),
                                        "random " + shape.name);
  std::vector<checkpoint::TensorSet::Entry> entries;
  std::map<std::vector<std::int64_t>, std::shared_ptr<const std::vector<Bf16>>> memory;
  std::vector<std::shared_ptr<const void>> owners;
  for (const auto& t : checkpoint::detail::llama_tensors(shape, DType::bf16)) {
    auto& numbers = memory[t.shape];
    if (!numbers) {
      std::vector<Bf16> drawn(static_cast<std::size_t>(t.bytes()) / sizeof(Bf16));
      Rng rng(memory.size());
      for (Bf16& x : drawn) {
        const double width = 0.0693;  // a standard deviation of 0.02
        x = to_bf16(t.shape.size() == 1 ? 1.0f : static_cast<float>(width * (rng.uniform() - 0.5)));
      }
      numbers = std::make_shared<const std::vector<Bf16>>(std::move(drawn));
      owners.push_back(numbers);
    }
    entries.push_back({t.name, t.dtype, t.shape, std::as_bytes(std::span(*numbers))});
  }
  out.tensors =
      checkpoint::TensorSet("random " + shape.name, std::move(entries), std::move(owners));
  return out;
}

template <class Kv, class Weight>
struct Of : presets::Vllm {
  using KvFormat = Kv;
  using WeightFormat = Weight;
};

/// A model on the device, and steps of its own making.
template <class Config, unsigned head_dim>
class Model {
 public:
  using Cuda = executor::BasicCuda<Bf16, kernels::DeviceProduct, head_dim>;
  static constexpr std::int64_t block_tokens = Config::BlockSize::tokens.value;

  /// slots: the most tokens that a batch has
  Model(const model::Shape& shape, std::int64_t slots, std::int64_t sequences, std::int64_t prompt)
      : vocab_(shape.vocab),
        geometry_{.device_blocks = (slots + block_tokens - 1) / block_tokens + 2 * sequences,
                  .host_blocks = 0,
                  .block_tokens = block_tokens},
        steps_(options(shape, sequences, prompt), geometry_) {
    greedy_.temperature = 0;
    Rng rng(17);
    for (std::int64_t i = 0; i < slots + 64; ++i) {
      text_.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab_))));
    }
  }

  /// Seconds that the weights took, from the host's memory to the device.
  [[nodiscard]] double weight_seconds() const { return steps_.weight_seconds(); }
  /// Seconds of one prompt of so many tokens, from nothing.
  double prompt(std::int64_t tokens, int calls) {
    tables(1, tokens);
    return seconds_of([&] { step(1, 0, tokens); }, 1, calls);
  }
  /// Fills a batch's blocks with what a prompt leaves, one batch's sequences all alike.
  void fill(std::int64_t batch, std::int64_t context, std::int64_t chunk) {
    tables(batch, context + 64);
    for (std::int64_t at = 0; at < context; at += chunk) {
      step(1, at, std::min(chunk, context - at));
    }
    plan_.clear();
    for (std::size_t s = 1; s < tables_.size(); ++s) {
      for (std::size_t b = 0; b < tables_[s].size(); ++b) {
        plan_.copies.push_back({tables_[0][b], tables_[s][b]});
      }
    }
    steps_.execute(plan_, result_);
    simt::synchronise_device();
  }
  /// Seconds of a step of one token a sequence; `correct` becomes false where sequences that are alike draw
  /// what is not.
  double decode(std::int64_t batch, std::int64_t context, int warm, int calls, bool& correct) {
    // A token later each step, from as far before the context that is named as the last one is behind it.
    const std::int64_t around = std::min<std::int64_t>(30, context / 2);
    std::int64_t at = context - around;
    return seconds_of(
        [&] {
          step(batch, at, 1);
          at = at < context + around ? at + 1 : context - around;
          for (const Draw& d : result_.draws) {
            correct = correct && d.token == result_.draws.front().token;
          }
        },
        warm, calls);
  }

 private:
  static typename Cuda::Options options(const model::Shape& shape, std::int64_t sequences,
                                        std::int64_t prompt) {
    typename Cuda::Options o;
    o.model = random_model(shape);
    o.limits.max_batch = o.limits.max_sequences = static_cast<std::int32_t>(sequences);
    o.limits.max_batched_tokens = std::max(prompt, sequences);
    o.share_from = 0;  // the batch's texts are alike, and are not to be known for it
    return o;
  }
  /// Blocks from scattered places, as a pool in use has them.
  void tables(std::int64_t batch, std::int64_t tokens) {
    std::vector<BlockId> free;
    for (std::int64_t b = 0; b < geometry_.device_blocks.value; ++b) {
      free.push_back(BlockId{static_cast<std::uint32_t>(b)});
    }
    Rng rng(29);
    for (std::size_t i = free.size(); i > 1; --i) std::swap(free[i - 1], free[rng.below(i)]);
    tables_.assign(static_cast<std::size_t>(batch), {});
    for (BlockTable& t : tables_) {
      for (std::int64_t at = 0; at < tokens; at += block_tokens) {
        t.append(free.back());
        free.pop_back();
      }
    }
  }
  /// Tokens [computed, computed + tokens) of `batch` sequences, one draw each.
  void step(std::int64_t batch, std::int64_t computed, std::int64_t tokens) {
    plan_.clear();
    ++plan_.step;
    for (std::int64_t i = 0; i < batch; ++i) {
      SequencePlan s;
      s.sequence = SequenceId{static_cast<std::uint64_t>(i)};
      s.computed = computed;
      s.tokens = tokens;
      s.prompt_tokens = computed + tokens;
      s.history = text_;
      s.tables = {&tables_[static_cast<std::size_t>(i)], 1};
      s.sampling = &greedy_;
      s.draws = 1;
      plan_.sequences.push_back(s);
    }
    steps_.execute(plan_, result_);
  }

  std::int64_t vocab_;
  KvGeometry geometry_;
  typename Cuda::template Bound<Config> steps_;
  SamplingParams greedy_;
  std::vector<TokenId> text_;
  std::vector<BlockTable> tables_;
  StepPlan plan_;
  StepResult result_;
};

/// A model as its bounds see it. \unit bytes
struct Loads {
  double layer_weights = 0, output_weights = 0;  // numbers
  double weight_bytes = 0, token_bytes = 0;

  /// \param weight_bits of layers' matrices, scales included; the output matrix has 16
  Loads(const model::Shape& shape, double weight_bits, double kv_bytes)
      : layer_weights(
            static_cast<double>(shape.layers * (shape.attention_weights() + shape.mlp_weights()))),
        output_weights(static_cast<double>(shape.vocab * shape.hidden)),
        weight_bytes(layer_weights * weight_bits / 8 + output_weights * 2),
        token_bytes(static_cast<double>(shape.kv_values_per_token()) * kv_bytes) {}
  /// Seconds of a step at least: of `rows` tokens, `drawn` of them drawn after, that see `keys` tokens together.
  [[nodiscard]] double bound(const Ceilings& limit, double rows, double drawn, double keys) const {
    return std::max((weight_bytes + keys * token_bytes) / limit.read,
                    2 * (rows * layer_weights + drawn * output_weights) / limit.matmul);
  }
};

/// Requests that come all at once, through an engine: the tokens that it writes in a second, beside those of the
/// bounds of its steps. Attention's arithmetic is not in the bound.
template <class Config, unsigned head_dim>
void serve(device::Rows& rows, const Ceilings& limit, const model::Shape& shape,
           std::int64_t requests, std::int64_t input, std::int64_t output, bool small) {
  using Cuda = executor::BasicCuda<Bf16, kernels::DeviceProduct, head_dim>;
  const Loads loads(shape, 16, 2);
  typename Cuda::Options options;
  options.model = random_model(shape);
  options.wrap_tokens = true;
  options.limits.max_batched_tokens = small ? 64 : 4096;
  const std::int64_t block = Config::BlockSize::tokens.value;
  options.device_blocks = requests * ((input + output) * 5 / 4 / block + 2);
  Engine<Config, Cuda> engine(options);
  const auto workload = [&](std::int64_t count, std::uint64_t seed) {
    workload::GeneratorOptions all;
    all.requests = static_cast<std::size_t>(count);
    all.arrivals = workload::Saturated{};
    all.seed = seed;
    const auto around = [](std::int64_t n) {
      return workload::UniformLength{n - n / 4, n + n / 4};
    };
    return workload::synthetic(around(input), around(output), all);
  };
  if (!small)
    (void)replay(engine, workload(std::min<std::int64_t>(requests, 8), 2));  // graphs are recorded
  double bound = 0;
  ReplayOptions watched;
  watched.on_step = [&](const StepStats&, Seconds) {
    double tokens = 0, drawn = 0, keys = 0;
    for (const SequencePlan& s : engine.last_plan().sequences) {
      tokens += static_cast<double>(s.tokens.value);
      drawn += s.draws > 0 ? 1 : 0;
      keys += static_cast<double>((s.computed + s.tokens).value);
    }
    bound += loads.bound(limit, tokens, drawn, keys);
  };
  const auto start = std::chrono::steady_clock::now();
  const Report report = replay(engine, workload(requests, 1), watched);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::int64_t written = 0;
  for (const metrics::RequestRecord& r : report.records) written += r.output_tokens.value;
  const std::string what = shape.name + ", bf16, " + std::to_string(requests) + " requests of " +
                           std::to_string(input) + " and " + std::to_string(output) + " tokens";
  const double tokens = static_cast<double>(written);
  rows.add("engine_serves", what, seconds, tokens / seconds, "tokens/s by the bounds of its steps",
           tokens / bound, report.summary().completed == requests, 0);
}

struct Point {
  std::int64_t batch, context;
};
/// \param weight_bits of layers' matrices, scales included; the output matrix has 16
template <class Config, unsigned head_dim>
void measure(device::Rows& rows, const Ceilings& limit, const model::Shape& shape,
             const std::vector<Point>& points, double weight_bits, double kv_bytes, bool small) {
  const int warm = small ? 1 : 6, calls = small ? 2 : 31;
  const std::int64_t longest_prompt = small ? 40 : 4096, shortest = 16;
  std::int64_t slots = longest_prompt + 64, sequences = 1;
  for (const Point& p : points) {
    slots = std::max(slots, p.batch * (p.context + 64 + Model<Config, head_dim>::block_tokens));
    sequences = std::max(sequences, p.batch);
  }
  const std::string what = shape.name + ", weights " + std::string(Config::WeightFormat::name) +
                           ", keys and values " + std::string(Config::KvFormat::name);
  const Loads loads(shape, weight_bits, kv_bytes);
  model::Shape narrow = shape;
  narrow.name = "narrow";
  narrow.layers = 1;
  narrow.hidden = 256;
  narrow.ffn = 256;
  narrow.heads = narrow.kv_heads = 1;
  narrow.vocab = 256;
  Model<Config, head_dim> host(narrow, slots, sequences, longest_prompt);
  Model<Config, head_dim> model(shape, slots, sequences, longest_prompt);
  const double tables = shape.tied_embedding ? 1 : 2;
  rows.add("model_load", what + ", from bf16 in memory", model.weight_seconds(),
           2 * (loads.layer_weights + tables * loads.output_weights) / model.weight_seconds(),
           "link", limit.link);
  for (const std::int64_t tokens : {longest_prompt / 8, longest_prompt}) {
    const double s = model.prompt(tokens, small ? 1 : 5);
    const double work =
        2 * loads.layer_weights * static_cast<double>(tokens) + 2 * loads.output_weights +
        2.0 * static_cast<double>(shape.layers * shape.heads * shape.head_dim * tokens * tokens);
    rows.add("model_prompt", what + ", " + std::to_string(tokens) + " tokens", s, work / s,
             "matmul", limit.matmul);
  }
  for (const Point& p : points) {
    const std::string at =
        what + ", batch " + std::to_string(p.batch) + ", context " + std::to_string(p.context);
    const double batch = static_cast<double>(p.batch);
    bool correct = true;
    const auto timed = [&](auto& of, std::int64_t context) {
      of.fill(p.batch, context, std::min<std::int64_t>(longest_prompt, 2048));
      return of.decode(p.batch, context, warm, calls, correct);
    };
    const double step = timed(model, p.context), begun = timed(model, shortest),
                 hosts = timed(host, p.context);
    const double keys = batch * static_cast<double>(p.context), kv = keys * loads.token_bytes;
    const double bound = loads.bound(limit, batch, batch, keys);
    const std::string name = "tokens/s by the bound";
    if (p.batch > 1) {
      rows.add("model_step", at, step, batch / step, name, batch / bound, correct, 0);
    } else {  // nobody to compare with
      rows.add("model_step", at, step, batch / step, name, batch / bound);
    }
    if (step > begun) {  // where it is not, the context costs less than steps differ
      rows.add("model_step_part", at + ": keys and values", step - begun, kv / (step - begun),
               "read", limit.read);
    }
    rows.add("model_step_part", at + ": weights and the rest", begun, loads.weight_bytes / begun,
             "read", limit.read);
    rows.add("model_step_part", at + ": host, as a model of one narrow layer", hosts, 1 / hosts,
             "steps/s", 1 / step);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: model_step ROWS.jsonl COMMON-JSON [small]\n");
    return 2;
  }
  try {
    const bool small = argc > 3 && std::strcmp(argv[3], "small") == 0;
    device::Rows rows(argv[1], argv[2]);
    const Ceilings limit = ceilings(rows, small);
    using weight_format::Int4Grouped;
    using weight_format::LinearOnly;
    using Halves = Of<kv_format::Bf16, weight_format::Bf16>;
    using Bytes = Of<kv_format::Int8PerTokenHead, weight_format::Bf16>;
    using Fours = Of<kv_format::Int8PerTokenHead, LinearOnly<Int4Grouped<128>>>;
    const auto shape = [small](model::Shape s) {
      if (!small) {
        s.max_length = std::int64_t{32768};
        return s;
      }
      s.layers = 2;
      s.heads = 4;
      s.kv_heads = 2;
      s.hidden = s.heads * s.head_dim;
      s.ffn = 2 * s.hidden;
      s.vocab = 512;
      return s;
    };
    const std::vector<Point> points = small
                                          ? std::vector<Point>{{1, 24}, {3, 40}}
                                          : std::vector<Point>{{1, 1024},  {1, 16384}, {16, 4096},
                                                               {64, 1024}, {64, 4096}, {256, 1024}};
    const double by_head = 1 + 4.0 / 128;  // a byte, and a scale for each token's head
    measure<Halves, 64>(rows, limit, shape(model::llama_1_1b), points, 16, 2, small);
    measure<Halves, 128>(rows, limit, shape(model::llama3_8b), points, 16, 2, small);
    measure<Bytes, 128>(rows, limit, shape(model::llama3_8b), points, 16, by_head, small);
    measure<Fours, 128>(rows, limit, shape(model::llama3_8b), points, 4 + 16.0 / 128, by_head,
                        small);
    const std::int64_t requests = small ? 3 : 128, input = small ? 24 : 1024,
                       output = small ? 5 : 256;
    serve<Halves, 64>(rows, limit, shape(model::llama_1_1b), requests, input, output, small);
    serve<Halves, 128>(rows, limit, shape(model::llama3_8b), requests, input, output, small);
    std::printf("%d wrong\n", rows.wrong());
    return rows.wrong() == 0 ? 0 : 1;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
