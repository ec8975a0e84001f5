// quire generate: text from a checkpoint, on this machine's processor or device.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/cells.hpp>
#include <experiments/common/flag_values.hpp>
#include <experiments/common/flag_words.hpp>
#include <experiments/common/make_run.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/common/terminal.hpp>
#include <experiments/quality/calibration_texts.hpp>
#include <experiments/quality/kv_formats.hpp>
#include <experiments/quire/commands.hpp>
#include <experiments/quire/cpu_steps.hpp>
#include <quire/executor/any_cpu.hpp>
#include <quire/kv_format/calibration.hpp>
#include <quire/llm/llm.hpp>
#include <quire/llm/text_generator.hpp>
#include <quire/metrics/json_object.hpp>
#include <quire/prefix_index/none.hpp>
#include <quire/speculation/draft_model.hpp>
#include <quire/speculation/prompt_lookup.hpp>

namespace quire::experiment {
namespace {

struct GenerateOptions {
  std::string executor = "cpu", variant, disk_dir;
  std::string model;
  std::vector<std::string> prompts;
  std::string prompt_file;
  SamplingParams params{};
  std::int64_t max_tokens = 50, min_tokens = 0;
  // what is not given comes from the checkpoint's generation_config.json
  std::optional<double> temperature{}, top_p{}, min_p{}, repetition_penalty{};
  std::optional<std::int32_t> top_k{};
  std::size_t threads = 0;
  bool pin_threads = false;
  std::int64_t kv_memory_mib = 4096;
  std::int64_t max_model_len = 0;
  std::string speculation = "none", draft;
  std::string kv_format = "fp32", weight_format, kv_calibration_text;
  std::string file_load = "mapped", weight_cache;
  std::int64_t weight_cache_mib = model::WeightCache{}.capacity.value >> 20;
  std::int64_t resident_weights_mib = 0;
  bool json = false, no_stream = false, stats = false;
};

/// Prompts of a file, one a line; `-` is standard input.
std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file;
  if (path != "-") {
    file.open(path);
    std::error_code none;
    if (!file || std::filesystem::is_directory(path, none)) {
      throw data_error(path, "cannot be read", "a file with one prompt a line");
    }
  }
  std::istream& in = path == "-" ? std::cin : file;
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

void print_json(const std::vector<RequestOutput>& outputs) {
  for (const RequestOutput& output : outputs) {
    for (const Completion& c : output.outputs) {
      metrics::JsonObject o;
      o.add("prompt", output.prompt).add("index", c.index).add("text", c.text);
      o.add("prompt_tokens", output.prompt_tokens.size()).add("tokens", c.tokens.size());
      o.add("finish_reason", to_string(c.finish_reason));
      std::string ids = "[";
      for (std::size_t i = 0; i < c.tokens.size(); ++i) {
        ids += (i == 0 ? "" : ", ") + std::to_string(c.tokens[i]);
      }
      o.raw("token_ids", ids + "]");
      if (!c.logprobs.empty()) {
        std::string logprobs = "[";
        for (std::size_t i = 0; i < c.logprobs.size(); ++i) {
          logprobs +=
              (i == 0 ? "" : ", ") + metrics::json_number(static_cast<double>(c.logprobs[i]));
        }
        o.raw("logprobs", logprobs + "]").add("cumulative_logprob", c.cumulative_logprob);
      }
      if (!c.alternatives.empty()) {
        std::string all = "[";
        for (const auto& alternatives : c.alternatives) {
          all += all.size() > 1 ? ", [" : "[";
          for (std::size_t i = 0; i < alternatives.size(); ++i) {
            all += i == 0 ? "" : ", ";
            all += metrics::JsonObject()
                       .add("token_id", alternatives[i].token)
                       .add("logprob", alternatives[i].logprob)
                       .text();
          }
          all += "]";
        }
        o.raw("top_logprobs", all + "]");
      }
      std::cout << o.text() << '\n';
    }
  }
}

void print_text(const std::vector<RequestOutput>& outputs) {
  const bool alone = outputs.size() == 1 && outputs[0].outputs.size() == 1;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    for (const Completion& c : outputs[i].outputs) {
      if (!alone) std::cout << "--- prompt " << i << ", completion " << c.index << '\n';
      std::cout << outputs[i].prompt << c.text << '\n';
    }
  }
}

void print_stats(const std::vector<RequestOutput>& outputs) {
  std::int64_t prompt = 0;
  std::int64_t generated = 0;
  double first = std::numeric_limits<double>::infinity();
  double begin = first;
  double end = 0;
  for (const RequestOutput& o : outputs) {
    prompt += static_cast<std::int64_t>(o.prompt_tokens.size());
    for (const Completion& c : o.outputs) generated += static_cast<std::int64_t>(c.tokens.size());
    begin = std::min(begin, o.timeline.arrival.value);
    first = std::min(first, o.timeline.first_token.value);
    end = std::max(end, o.timeline.finished.value);
  }
  std::cerr << prompt << " prompt tokens, " << generated << " generated in " << end - begin
            << " s of engine time, the first after " << first - begin << " s; "
            << static_cast<double>(generated) / (end - begin) << " tokens/s\n";
}

void print_startup(const StartupSeconds& s) {
  std::cerr << "started in " << s.all() << " s: config " << s.config << ", tokenizer "
            << s.tokenizer << ", weights opened " << s.tensors << ", packed " << s.weights
            << ", engine " << s.engine << '\n';
}

/// Bytes of weights that a step read, and of a mixture how evenly its experts were asked.
void print_weight_load(const model::WeightLoad& load, const model::Shape& shape,
                       std::int64_t steps) {
  std::cerr << static_cast<double>(load.bytes) / 1e6 /
                   static_cast<double>(std::max<std::int64_t>(1, steps))
            << " MB of weights a step\n";
  const auto experts = static_cast<std::size_t>(shape.experts);
  if (load.expert_rows.empty()) return;
  std::cerr << "rows of each expert, over all layers:";
  for (std::size_t e = 0; e < experts; ++e) {
    std::int64_t rows = 0;
    for (std::size_t at = e; at < load.expert_rows.size(); at += experts) {
      rows += load.expert_rows[at];
    }
    std::cerr << ' ' << rows;
  }
  std::cerr << '\n';
}

/// For KV formats that pack tokens together, which LlmConfig's blocks of 16 or its shared prefixes refuse.
/// Texts are the same.
struct PackingLlm : LlmConfig {
  static constexpr std::string_view name = "llm+prefix_index=none+block_size=32";
  using BlockSize = quire::BlockSize<32>;
  using PrefixIndex = prefix_index::None;
};
struct GuessingLlm : LlmConfig {
  static constexpr std::string_view name = "llm+speculation=prompt_lookup";
  using Speculation = speculation::PromptLookup;
};
struct DraftingLlm : LlmConfig {
  static constexpr std::string_view name = "llm+speculation=draft_model";
  using Speculation = speculation::DraftModel;
};

/// The KV format of a flag. \errors usage error
const kv_format::KvCodec& kv_format_named(const std::string& name) {
  for (const quality::Format& f : quality::kv_formats()) {
    if (f.codec->name == name) return *f.codec;
  }
  throw unknown_name("--kv-format", "kv_format", name, chosen_names_on_cpu("kv_format"));
}

/// The weight format of a flag; not given, that of an image, or else fp32. \errors usage error
const weight_format::WeightCodec& weight_format_for(const GenerateOptions& o,
                                                    const checkpoint::Checkpoint& model) {
  std::string name = o.weight_format;
  if (name.empty()) name = model.config.packed ? model.config.packed->weight_format : "fp32";
  for (const weight_format::WeightCodec* codec : weight_formats()) {
    if (codec->name == name) return *codec;
  }
  throw unknown_name(o.weight_format.empty() ? o.model : "--weight-format", "weight_format", name,
                     chosen_names_on_cpu("weight_format"));
}

/// What keys and values take, and weights.
template <class Config>
void print_memory(LLM<Config, executor::AnyCpu>& llm, const GenerateOptions& o) {
  const KvGeometry& g = llm.engine().geometry();
  executor::AnyCpu::Steps& steps = llm.engine().executor();
  const auto mb = [](auto bytes) { return static_cast<double>(bytes) / 1e6; };
  std::cerr << "keys and values in " << o.kv_format << ": "
            << g.block_bytes.value / g.block_tokens.value << " bytes a token, pool of "
            << mb(g.block_bytes.value * g.device_blocks.value) << " MB";
  if (steps.open_bytes() > 0) {
    std::cerr << " and " << mb(steps.open_bytes()) << " MB beside it, not packed yet";
  }
  std::cerr << "; weights: " << mb(steps.weight_bytes()) << " MB\n";
}

constexpr FlagWord generate_flags[] = {
    {"max_length", "--max-model-len"}, {"the limit is", "--max-model-len leaves it"},
    {"beam_width", "--beam-width"},    {"kv_memory", "--kv-memory-mib"},
    {"kv_format", "--kv-format"},      {"draft_model", "--draft"},
    {"disk.directory", "--disk-dir"},  {"resident_weights", "--resident-weights-mib"}};

/// Of flags and file. \errors usage error: none; data error: the file cannot be read
std::vector<std::string> prompts_of(const GenerateOptions& o) {
  std::vector<std::string> prompts = o.prompts;
  if (!o.prompt_file.empty()) {
    for (std::string& line : lines_of(o.prompt_file)) prompts.push_back(std::move(line));
  }
  if (prompts.empty()) {
    throw usage_error("quire generate", "there is no prompt",
                      "--prompt TEXT or --prompt-file FILE");
  }
  SamplingParams asked = o.params;
  asked.top_p = o.top_p.value_or(asked.top_p);
  check_sampling(asked);  // before a large model is opened
  return prompts;
}

/// What the flags say, over what the checkpoint recommends.
SamplingParams params_of(const GenerateOptions& o, const SamplingParams& recommended) {
  SamplingParams p = o.params;
  p.temperature = o.temperature.value_or(recommended.temperature);
  p.top_k = o.top_k.value_or(recommended.top_k);
  p.top_p = o.top_p.value_or(recommended.top_p);
  p.min_p = o.min_p.value_or(recommended.min_p);
  p.repetition_penalty = o.repetition_penalty.value_or(recommended.repetition_penalty);
  p.max_tokens = o.max_tokens;
  p.min_tokens = o.min_tokens;
  return p;
}

/// Generates by `texts`, an LLM or a TextGenerator, and prints: piece by piece where there is one text.
template <class Texts>
std::vector<RequestOutput> print_generated(Texts& texts, const std::vector<std::string>& prompts,
                                           const SamplingParams& p, const GenerateOptions& o) {
  const Interruption interruption;
  const bool stream = !o.json && !o.no_stream && prompts.size() == 1 && p.width() == 1;
  bool begun = false;  // a prompt that is refused is not printed
  auto outputs = texts.generate(prompts, p, [&](const TextEvent& event) {
    Interruption::check();
    if (!stream) return;
    if (!begun) std::cout << prompts[0];
    begun = true;
    std::cout << event.text << std::flush;
  });
  if (stream) {
    std::cout << '\n';
  } else if (o.json) {
    print_json(outputs);
  } else {
    print_text(outputs);
  }
  return outputs;
}

/// Says which completions the length of sequences ended. longest: prompt and output, tokens
void tell_what_was_cut(const std::vector<RequestOutput>& outputs, const GenerateOptions& o,
                       Tokens longest) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    for (const Completion& c : outputs[i].outputs) {
      const std::size_t length = outputs[i].prompt_tokens.size() + c.tokens.size();
      if (c.finish_reason != FinishReason::length ||
          static_cast<std::int64_t>(length) < longest.value ||
          static_cast<std::int64_t>(c.tokens.size()) >= o.max_tokens) {
        continue;
      }
      std::cerr << "quire: prompt " << i << " was ended after " << c.tokens.size()
                << " tokens, not at --max-tokens " << o.max_tokens << ": with the prompt's "
                << outputs[i].prompt_tokens.size() << " they fill the " << longest.value
                << " that a sequence may have\n";
    }
  }
}

void print_steps(const EngineCounters& counters, const std::string& speculation) {
  std::cerr << counters.steps << " steps";
  if (speculation != "none") {
    std::cerr << ", " << counters.drafted_tokens.value << " tokens guessed, "
              << counters.accepted_tokens.value << " of them right";
  }
}

/// By a variant that was compiled for a device, in its formats.
void generate_on_device(const GenerateOptions& o) {
  const std::vector<std::string> prompts = prompts_of(o);
  const std::vector<RunVariant> variants = variants_of(o.executor);
  Selection selection;
  selection.settings.executor = o.executor;
  if (!o.variant.empty()) selection.variants = {o.variant};
  const RunVariant& variant = *select_variants(variants, selection).front();
  Settings s;
  s.executor = o.executor;
  s.model = o.model;
  s.max_model_len = o.max_model_len;
  s.kv_memory_gib = static_cast<double>(o.kv_memory_mib) / 1024;
  s.swap_space_gib = std::min(s.swap_space_gib, s.kv_memory_gib);
  s.disk_dir = o.disk_dir;
  s.max_num_seqs = std::max<std::int64_t>(s.max_num_seqs, o.params.width());
  static_cast<void>(shape_of(s));  // refuses a --max-model-len that the model does not have
  // The engine opens the files for itself; they are mapped.
  const auto [model, tokenizer] = LLM<LlmConfig, executor::AnyCpu>::open(o.model, {});
  if (!variant.make) {
    throw usage_error(variant.name, "cannot run: " + std::string(variant.incompatible),
                      "a variant whose slots go together");
  }
  const auto engine = variant.make(s);
  const std::vector<TokenId> eos =
      model.generation.eos.empty() ? model.config.eos : model.generation.eos;
  TextGenerator texts(*engine, tokenizer, eos, o.model);
  const auto outputs =
      print_generated(texts, prompts, params_of(o, recommended_params(model.generation)), o);
  if (o.stats) {
    print_stats(outputs);
    print_steps(engine->counters(), std::string(detail::policy_of(variant, "speculation")));
    const KvGeometry& g = engine->geometry();
    std::cerr << " of " << variant.name << " on " << cuda_device().said()
              << "; keys and values: " << g.block_bytes.value / g.block_tokens.value
              << " bytes a token, pool of "
              << static_cast<double>(g.block_bytes.value * g.device_blocks.value) / 1e6 << " MB\n";
  }
  tell_what_was_cut(outputs, o,
                    o.max_model_len > 0 ? Tokens{o.max_model_len} : model.config.shape.max_length);
}

template <class Config>
void generate_text(const GenerateOptions& o) {
  const std::vector<std::string> prompts = prompts_of(o);
  using Llm = LLM<Config, executor::AnyCpu>;
  typename Llm::Options options{
      .threads = o.threads,
      .pin_threads = o.pin_threads,
      .limits = {.max_sequences = std::max<std::int64_t>(256, o.params.width()),
                 .max_length = o.max_model_len},
      .kv_memory = o.kv_memory_mib << 20,
      .draft_model = o.draft,
      .weight_cache = o.weight_cache,
      .weight_cache_capacity = o.weight_cache_mib << 20,
      .weight_cache_tell = [](const std::string& line) { std::cerr << "quire: " << line << '\n'; },
      .file_load = o.file_load,
      .resident_weights = o.resident_weights_mib << 20};
  const kv_format::KvCodec& kv = kv_format_named(o.kv_format);
  options.kv_format = &kv;
  auto opened = Llm::open(o.model, options);
  const checkpoint::Checkpoint& model = opened.checkpoint;
  const model::Shape shape = model.config.shape;
  options.weight_format = &weight_format_for(o, model);
  if (kv_format::needs_calibration(kv)) {
    options.kv_calibration =
        calibrate_kv(model, quality::calibration_texts(o.kv_calibration_text, opened.tokenizer, 16),
                     kv, *options.weight_format, std::max(1u, std::thread::hardware_concurrency()));
  }
  Llm llm(std::move(opened.checkpoint), std::move(opened.tokenizer), options);
  const auto outputs = print_generated(llm, prompts, params_of(o, llm.default_params()), o);
  if (o.stats) {
    print_startup(llm.startup());
    print_stats(outputs);
    const EngineCounters& counters = llm.engine().counters();
    print_steps(counters, o.speculation);
    std::cerr << "; ";
    print_weight_load(llm.engine().executor().weight_load(), shape, counters.steps);
    print_memory<Config>(llm, o);
  }
  tell_what_was_cut(outputs, o, llm.engine().limits().max_length);
}

/// With errors in the words of flags.
void in_words_of_flags(void (*generate)(const GenerateOptions&), const GenerateOptions& o) {
  try {
    generate(o);
  } catch (const Error& error) {
    std::string text = in_flags(error.what(), generate_flags);
    constexpr std::string_view weights = "weight format ";
    if (text.starts_with(weights)) text.replace(0, weights.size(), "--weight-format ");
    throw Error(error.kind(), "", text);
  }
}
template <class Config>
void generate(const GenerateOptions& o) {
  in_words_of_flags(&generate_text<Config>, o);
}

}  // namespace

void add_generate(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "generate",
      "Generates text with a Hugging Face checkpoint or a GGUF file.\n\n"
      "Examples:\n"
      "  quire generate MODEL_DIR --prompt \"Once upon a time\" --max-tokens 100\n"
      "  quire generate MODEL_DIR --prompt \"1 + 1 =\" --temperature 0 --json\n"
      "  quire generate MODEL_DIR --prompt-file prompts.txt --n 4 --seed 1\n");
  const auto o = std::make_shared<GenerateOptions>();
  command
      ->add_option("--executor", o->executor,
                   "cpu, or cuda: on a device, by a --variant of `quire list --executor cuda`")
      ->check(one_of("executor", {"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--variant", o->variant,
                      "of --executor cuda: policies and formats; not given, the first");
  command->add_option("--disk-dir", o->disk_dir,
                      "of --executor cuda: folder of the variant's disk tier, where it has one");
  command
      ->add_option("model", o->model,
                   "folder with config.json, safetensors, tokenizer.json; or a .gguf")
      ->required();
  command->add_option("-p,--prompt", o->prompts, "text to go on from; may be given several times")
      ->allow_extra_args(false);
  command->add_option("--prompt-file", o->prompt_file, "one prompt a line; - is standard input");
  command->add_option("--max-tokens", o->max_tokens, "tokens generated at most")
      ->check(whole_number(1, 1 << 24))
      ->capture_default_str();
  command->add_option("--min-tokens", o->min_tokens, "no end before")
      ->check(whole_number(0, 1 << 24));
  command->add_option("--temperature", o->temperature, "0: the likeliest token each time")
      ->check(zero_or_more());
  command->add_option("--top-k", o->top_k, "0: all")->check(whole_number(0, 1 << 24));
  command->add_option("--top-p", o->top_p, "share of probability kept")->check(positive_share());
  command->add_option("--min-p", o->min_p, "least probability, relative to the likeliest")
      ->check(share());
  const CLI::Validator penalty = number_between(-1e6, 1e6, "a number from -1000000 to 1000000");
  command->add_option("--repetition-penalty", o->repetition_penalty)
      ->check(number_between(1e-6, 1e6, "a number from 0.000001 to 1000000"));
  command->add_option("--presence-penalty", o->params.presence_penalty)->check(penalty);
  command->add_option("--frequency-penalty", o->params.frequency_penalty)->check(penalty);
  command->add_option("--seed", o->params.seed)->check(seed_number())->capture_default_str();
  command->add_option("--n", o->params.n, "completions of each prompt")
      ->check(whole_number(1, 1024));
  command->add_option("--best-of", o->params.best_of, "completions generated, the n best shown")
      ->check(whole_number(1, 1024));
  command->add_option("--beam-width", o->params.beam_width, "beam search of that width")
      ->check(whole_number(1, 1024));
  const CLI::Option* length_penalty =
      command->add_option("--length-penalty", o->params.length_penalty, "of beam search")
          ->check(finite_number());
  command->add_option("--stop", o->params.stop, "text before which a completion ends")
      ->allow_extra_args(false);
  command->add_flag("--ignore-eos", o->params.ignore_eos, "go on after the end token");
  const CLI::Option* logprobs =
      command
          ->add_option("--logprobs", o->params.logprobs,
                       "log-probabilities, in --json; 0: of the token alone")
          ->check(whole_number(0, 1 << 20));
  command->add_flag("--pin-threads", o->pin_threads, "keep each thread on a processor of its own");
  command->add_option("-t,--threads", o->threads, "0: one per processor")
      ->check(whole_number(0, 4096));
  command->add_option("--kv-memory-mib", o->kv_memory_mib, "MiB for keys and values at most")
      ->check(whole_number(1, 1 << 24));
  command->add_option("--max-model-len", o->max_model_len, "prompt and output; 0: the model's")
      ->check(whole_number(0, 1 << 24));
  command
      ->add_option(
          "--speculation", o->speculation,
          "same text in fewer steps: prompt_lookup guesses that text goes on as it did before, "
          "draft_model has a smaller model guess")
      ->check(one_of("speculation", {"none", "prompt_lookup", "draft_model"}))
      ->capture_default_str();
  command->add_option(
      "--draft", o->draft,
      "the smaller model of --speculation draft_model: a folder or a .gguf, with the "
      "same vocabulary");
  command
      ->add_option(
          "--kv-format", o->kv_format,
          "format of keys and values: fp16, int8_per_token_head, q4_0, nf4, kivi2_g32_r32, ...; "
          "`quire list --executor cpu` names all")
      ->capture_default_str();
  const CLI::Option* kv_text =
      command->add_option("--kv-calibration-text", o->kv_calibration_text,
                          "a text, 16 times 512 tokens of which a KV format is fitted to: "
                          "kvquant3, qserve_kv4, fp8_per_head_mse "
                          "and their like");
  command->add_option("--weight-format", o->weight_format,
                      "format in which all matrices are kept and multiplied, embedding and output "
                      "too: fp32, or that "
                      "of an image; layers that a checkpoint holds rounded already (`quire "
                      "convert`) are not rounded "
                      "again: other formats than theirs and fp32 are refused");
  std::vector<std::string> loads;
  for (const checkpoint::FileLoader& l : checkpoint::file_loaders()) loads.emplace_back(l.name);
  command
      ->add_option("--file-load", o->file_load,
                   "how weights come into memory: mapped (as they are touched), mapped_ahead, "
                   "populated, buffered, direct or io_uring")
      ->check(one_of("file load", loads))
      ->capture_default_str();
  command->add_option("--weight-cache", o->weight_cache,
                      "folder where packed weights are kept: the next start maps them");
  const CLI::Option* cache_room =
      command
          ->add_option(
              "--weight-cache-mib", o->weight_cache_mib,
              "MiB that this folder may have; what was used longest ago is dropped; 0: any")
          ->check(whole_number(0, 1 << 30))
          ->capture_default_str();
  command
      ->add_option("--resident-weights-mib", o->resident_weights_mib,
                   "MiB of weights in memory at a time, of an image or a weight cache; the others "
                   "are read for each step; 0: all stay")
      ->check(whole_number(0, 1 << 24));
  command->add_flag("--json", o->json, "one JSON object a completion");
  command->add_flag("--no-stream", o->no_stream, "print when all is done");
  command->add_flag("--stats", o->stats, "counts, speed and phases of the start on stderr");
  command->callback([o, command, &exit_code, length_penalty, logprobs, cache_room, kv_text] {
    if (!o->params.stop.empty() && o->params.beam_width > 0) {
      throw usage_error("--stop", "does not go together with --beam-width", "one of them");
    }
    if (std::find(o->params.stop.begin(), o->params.stop.end(), "") != o->params.stop.end()) {
      throw usage_error("--stop", "is empty, and an empty text is everywhere", "a text");
    }
    if (o->min_tokens > o->max_tokens) {
      throw usage_error("--min-tokens " + std::to_string(o->min_tokens),
                        "is more than --max-tokens " + std::to_string(o->max_tokens),
                        "at most as many");
    }
    const auto draws = [&o](const auto& given, const char* flag) {
      if (o->params.beam_width == 0 || !given) return;
      throw usage_error(flag, "changes nothing here: beam search draws nothing",
                        "no --beam-width, or no " + std::string(flag));
    };
    draws(o->temperature, "--temperature");
    draws(o->top_k, "--top-k");
    draws(o->top_p, "--top-p");
    draws(o->min_p, "--min-p");
    const auto sampled = [&o](const auto& given, const char* flag) {
      if (o->temperature.value_or(1) != 0 || !given) return;
      throw usage_error(flag, "changes nothing here: --temperature 0 takes the likeliest token",
                        "a --temperature above 0, or no " + std::string(flag));
    };
    sampled(o->top_k, "--top-k");
    sampled(o->top_p, "--top-p");
    sampled(o->min_p, "--min-p");
    if (length_penalty->count() > 0 && o->params.beam_width == 0) {
      throw usage_error("--length-penalty", "changes nothing here: it is of beam search",
                        "--beam-width, or no --length-penalty");
    }
    if (logprobs->count() > 0 && !o->json) {
      throw usage_error("--logprobs", "changes nothing here: --json alone shows them",
                        "--json, or no --logprobs");
    }
    if (cache_room->count() > 0 && o->weight_cache.empty()) {
      throw usage_error("--weight-cache-mib", "changes nothing here: there is no --weight-cache",
                        "--weight-cache DIR, or no --weight-cache-mib");
    }
    if (o->params.beam_width > 0 && o->params.n > o->params.beam_width) {
      throw usage_error("--n", "is larger than --beam-width", "at most the width");
    }
    if (o->params.best_of > 0 && o->params.best_of < o->params.n) {
      throw usage_error("--best-of", "is smaller than --n", "at least n");
    }
    if (o->draft.empty() == (o->speculation == "draft_model")) {
      throw usage_error("--draft",
                        o->draft.empty() ? "is not given, and --speculation draft_model needs it"
                                         : "is given, and --speculation is " + o->speculation,
                        "--speculation draft_model --draft DIR");
    }
    if (o->executor == "cuda") {
      for (const char* flag : {"--pin-threads", "--threads", "--speculation", "--draft",
                               "--kv-format", "--kv-calibration-text", "--weight-format",
                               "--file-load", "--weight-cache", "--resident-weights-mib"}) {
        if (command->get_option(flag)->count() == 0) continue;
        throw usage_error(flag, "changes nothing here: it is of --executor cpu",
                          "--executor cpu, or a --variant of `quire list --executor cuda`");
      }
      in_words_of_flags(&generate_on_device, *o);
      exit_code = 0;
      return;
    }
    for (const char* flag : {"--variant", "--disk-dir"}) {
      if (command->get_option(flag)->count() == 0) continue;
      throw usage_error(flag, "changes nothing here: it is of --executor cuda",
                        "--executor cuda, or --kv-format, --weight-format and --speculation");
    }
    const kv_format::KvCodec& kv = kv_format_named(o->kv_format);
    if (kv_format::needs_calibration(kv) != (kv_text->count() > 0)) {
      throw usage_error("--kv-calibration-text",
                        kv_text->count() > 0
                            ? "changes nothing here: --kv-format " + o->kv_format + " is not fitted"
                            : "is not given, and --kv-format " + o->kv_format +
                                  " is fitted to a model beforehand",
                        kv_text->count() > 0 ? "a format that is, or no --kv-calibration-text"
                                             : "a file with a text, 512 tokens or more");
    }
    const std::string_view why =
        o->speculation == "draft_model"     ? executor::AnyCpu::refusal<DraftingLlm>(kv)
        : o->speculation == "prompt_lookup" ? executor::AnyCpu::refusal<GuessingLlm>(kv)
                                            : executor::AnyCpu::refusal<PackingLlm>(kv);
    if (!why.empty()) {
      throw usage_error(
          "--kv-format " + o->kv_format,
          "does not go together with --speculation " + o->speculation + ": " + std::string(why),
          "--speculation none, or another format");
    }
    if (o->speculation == "none" && !executor::AnyCpu::refusal<LlmConfig>(kv).empty()) {
      generate<PackingLlm>(*o);
    } else if (o->speculation == "draft_model") {
      generate<DraftingLlm>(*o);
    } else if (o->speculation == "prompt_lookup") {
      generate<GuessingLlm>(*o);
    } else {
      generate<LlmConfig>(*o);
    }
    exit_code = 0;
  });
}

}  // namespace quire::experiment
