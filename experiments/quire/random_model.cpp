// quire random-model: a llama or mixtral of random weights, to measure with.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/flag_values.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/checkpoint/random_model.hpp>
#include <quire/model/known_shapes.hpp>

namespace quire::experiment {
namespace {

constexpr std::string_view random_types[] = {"bf16", "f16", "f32"};

struct RandomModel {
  std::string out, shape = "llama_1_1b", type = "bf16";
  std::uint64_t seed = 1;
  std::int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, ffn = 0, vocab = 0, length = 0;
  std::int64_t experts = 0;
};

bool can_be_written(const model::Shape& s) {
  return s.family == model::Family::llama || s.family == model::Family::mixtral;
}

model::Shape shape_of_random(const RandomModel& o) {
  const model::Shape* known = model::find_shape(o.shape);
  if (known == nullptr || !can_be_written(*known)) {
    std::vector<std::string_view> names;
    for (const model::Shape* s : model::known_shapes) {
      if (can_be_written(*s)) names.emplace_back(s->name);
    }
    throw unknown_name("--shape", "llama or mixtral", o.shape, names);
  }
  model::Shape s = *known;
  const auto set = [](std::int64_t& to, std::int64_t asked) { to = asked > 0 ? asked : to; };
  const std::int64_t head_dim = s.head_dim;
  set(s.layers, o.layers);
  set(s.hidden, o.hidden);
  set(s.heads, o.heads);
  set(s.kv_heads, o.kv_heads);
  set(s.ffn, o.ffn);
  set(s.vocab, o.vocab);
  set(s.max_length.value, o.length);
  if (o.experts > 0) {
    if (s.experts == 0) {
      throw usage_error("--experts", s.name + " is no mixture", "a shape with experts");
    }
    s.experts = o.experts;
    s.experts_per_token = std::min(s.experts_per_token, s.experts);
  }
  s.head_dim = o.hidden > 0 || o.heads > 0 ? s.hidden / s.heads : head_dim;
  if (s.heads * s.head_dim != s.hidden || s.heads % s.kv_heads != 0 || s.head_dim % 2 != 0) {
    throw usage_error("--heads " + std::to_string(s.heads),
                      "does not divide --hidden " + std::to_string(s.hidden) +
                          " into even parts, or is no multiple of --kv-heads " +
                          std::to_string(s.kv_heads),
                      "one that does");
  }
  return s;
}

}  // namespace

void add_random_model(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "random-model",
      "Writes a llama or a mixtral of random weights, to measure with: a Hugging Face folder, "
      "without tokenizer.\n\n"
      "Examples:\n"
      "  quire random-model DIR --shape llama_1_1b\n"
      "  quire convert DIR model-q4_0.gguf --type q4_0     (the same weights for other engines)\n"
      "  quire random-model DIR --shape llama_125m --layers 2 --vocab 512 --type f32");
  const auto o = std::make_shared<RandomModel>();
  command->add_option("out", o->out, "the folder to write")->required();
  command->add_option("--shape", o->shape, "a llama or mixtral of `quire run --model`")
      ->capture_default_str();
  command->add_option("--type", o->type, "of all tensors: bf16, f16 or f32")->capture_default_str();
  command->add_option("--seed", o->seed)->check(seed_number())->capture_default_str();
  const CLI::Validator size = whole_number(1, 1 << 24);
  command->add_option("--layers", o->layers, "in place of the shape's own, as below")->check(size);
  command->add_option("--hidden", o->hidden)->check(size);
  command->add_option("--heads", o->heads)->check(size);
  command->add_option("--kv-heads", o->kv_heads)->check(size);
  command->add_option("--ffn", o->ffn)->check(size);
  command->add_option("--experts", o->experts, "of a mixtral")->check(size);
  command->add_option("--vocab", o->vocab)->check(size);
  command->add_option("--max-length", o->length, "tokens of a sequence")->check(size);
  command->callback([o, &exit_code] {
    using checkpoint::DType;
    if (o->type != "bf16" && o->type != "f16" && o->type != "f32") {
      throw unknown_name("--type", "type", o->type, random_types);
    }
    // Weights that were trained cannot be written again.
    const std::filesystem::path config = std::filesystem::path(o->out) / "config.json";
    std::error_code none;
    if (std::filesystem::exists(config, none)) {
      throw usage_error(o->out, "holds a model already", "a folder without config.json");
    }
    const DType dtype = o->type == "f32" ? DType::f32 : o->type == "f16" ? DType::f16 : DType::bf16;
    checkpoint::save_random_model(shape_of_random(*o), dtype, o->seed, o->out);
    exit_code = 0;
  });
}

}  // namespace quire::experiment
