// Damaged checkpoint files: each either loads, and then every promise of the reader holds, or gives
// one quire::Error of kind data that names the file. QUIRE_FUZZ_SCALE=20 runs 10,000 of each kind.

#include <sys/resource.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/checkpoint.hpp>

#include "tests/common/mutate.hpp"
#include "tests/common/temp_file.hpp"

namespace {

using quire::checkpoint::DType;
using quire::checkpoint::TensorSet;
using quire::checkpoint::TensorView;
using quire::checkpoint::Tokenizer;
using quire::testing::fuzz_count;
using quire::testing::Mutator;
namespace checkpoint = quire::checkpoint;
namespace safetensors = quire::checkpoint::safetensors;

constexpr std::size_t smoke = 500;

/// Calls `load` and expects that it ends well, or with one error line that names `file`.
bool loads(const std::function<void()>& load, std::string_view file) {
  try {
    load();
    return true;
  } catch (const quire::Error& error) {
    const std::string_view line = error.what();
    EXPECT_EQ(error.kind(), quire::ErrorKind::data) << line;
    EXPECT_NE(line.find(file), std::string_view::npos) << line;
    EXPECT_EQ(line.find_first_of("\n\r"), std::string_view::npos) << line;
    EXPECT_LT(line.size(), 1000u) << line;
  }
  return false;
}

long peak_kib() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

class FuzzTest : public testing::Test {
 protected:
  void SetUp() override { before_ = peak_kib(); }
  void TearDown() override {
    // Files here are below 100 KB; the sanitizers' quarantine alone may take 256 MiB.
    EXPECT_LT(peak_kib() - before_, 600 * 1024) << "a small file made a reader allocate much";
  }
  /// Damages `text` many times, cuts it at every byte, and hands each to `load`; returns how many
  /// of the damaged loaded.
  std::size_t damage(const std::string& text, Mutator mutator, std::string_view file,
                     const std::function<void(const std::string&)>& load,
                     std::size_t longest_cut = 4000) {
    std::size_t loaded = 0;
    for (std::size_t i = 0; i < fuzz_count(smoke) && !HasFailure(); ++i) {
      const std::string damaged = mutator.mutate(text);
      loaded += loads([&] { load(damaged); }, file) ? 1 : 0;
    }
    // Long files are cut at a stride that still meets every part of them.
    const std::size_t stride = text.size() / longest_cut + 1;
    const std::size_t end = text.find_last_not_of(" \n") + 1;
    for (std::size_t cut = 0; cut < end && !HasFailure(); cut += stride) {
      EXPECT_FALSE(loads([&] { load(text.substr(0, cut)); }, file)) << "cut at byte " << cut;
    }
    return loaded;
  }
  /// Writes a new file: some file systems flush a file that is overwritten, which costs more than
  /// all else here.
  std::filesystem::path fresh(const std::string& name, const std::string& text) const {
    std::filesystem::remove(directory_.path() / name);
    return directory_.write(name, text);
  }
  quire::testing::TempDir directory_;

 private:
  long before_ = 0;
};

std::string sample_tensors() {
  static const std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, 8};
  static const std::int64_t shapes[][3] = {{2, 2}, {1, 1, 3}, {0, 4}};
  const auto bytes = std::as_bytes(std::span(values));
  const std::vector<TensorView> tensors = {
      {"model.embed_tokens.weight", DType::f32, std::span(shapes[0]).first(2), bytes.first(16)},
      {"model.norm.weight", DType::bf16, std::span(shapes[1]), bytes.first(6)},
      {"empty", DType::i64, std::span(shapes[2]).first(2), {}},
      {"scalar", DType::u8, {}, bytes.first(1)}};
  return safetensors::serialize(tensors);
}

/// What a set says must be what its header says, read again, and cover the file.
void expect_sound(const std::string& file, const TensorSet& set) {
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), 8);
  const quire::json::Value root = quire::json::parse(file.substr(8, header_bytes), "again");
  const quire::json::Field header(root, "again");
  std::size_t covered = 0;
  for (const TensorView& tensor : set.all()) {
    const auto entry = header.at(tensor.name);
    EXPECT_EQ(entry.at("dtype").string(), checkpoint::name_of(tensor.dtype));
    ASSERT_EQ(entry.at("shape").array().size(), tensor.shape.size());
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      EXPECT_EQ(entry.at("shape").at(i).integer(0), tensor.shape[i]);
    }
    const auto begin =
        static_cast<std::size_t>(entry.at("data_offsets").at(std::size_t{0}).integer(0));
    const std::string_view bytes(reinterpret_cast<const char*>(tensor.bytes.data()),
                                 tensor.bytes.size());
    EXPECT_EQ(bytes, std::string_view(file).substr(8 + header_bytes + begin, bytes.size()));
    covered += bytes.size();
  }
  EXPECT_EQ(8 + header_bytes + covered, file.size());
}

/// The same tensors in every other format; what opens must have a size that its shape says.
TEST_F(FuzzTest, TensorFiles) {
  const TensorSet tensors = safetensors::open_file(fresh("a.safetensors", sample_tensors()));
  const std::vector<std::string> words = {"\"dtype\": \"U8\", ",
                                          "\"shape\": [2,2], ",
                                          "\"data\": [1]",
                                          std::string("\xff\xff\xff\xff\xff\xff\xff\xff\x01", 9),
                                          std::string("\xff\xff\xff\x7f", 4),
                                          std::string("\x0a\x00", 2),
                                          std::string("\x04\0\0\0", 4),
                                          std::string(8, '\xff')};
  for (const checkpoint::TensorFile& format : checkpoint::tensor_files()) {
    if (format.name == "safetensors") continue;
    SCOPED_TRACE(format.name);
    const std::string path = directory_.path() / "sound";
    format.save(path, tensors.all());
    const auto load = [&](const std::string& damaged) {
      const TensorSet set =
          format.open(fresh("m.weights", damaged).string(), checkpoint::mapped_files());
      std::size_t sum = 0;
      for (const TensorView& t : set.all()) {
        std::int64_t bytes = checkpoint::size_of(t.dtype);
        for (const std::int64_t dim : t.shape) bytes *= dim;
        EXPECT_EQ(static_cast<std::size_t>(bytes), t.bytes.size());
        for (const std::byte b : t.bytes) sum += std::to_integer<std::size_t>(b);
      }
      EXPECT_LE(sum, damaged.size() * 255);
    };
    const std::string text = quire::testing::read_file(path);
    EXPECT_NO_THROW(load(text));
    EXPECT_GT(damage(text, Mutator(11 + format.name.size(), words), "m.weights", load), 0u);
  }
}

const std::vector<std::string> tensor_words = {"\"dtype\":\"F32\",",
                                               "\"shape\":[2,2],",
                                               "\"data_offsets\":[0,16]",
                                               "\"__metadata__\":{},",
                                               "[9223372036854775807,9223372036854775807]",
                                               "[0,18446744073709551615]",
                                               "[16,0]"};

TEST_F(FuzzTest, Safetensors) {
  const std::string text = sample_tensors();
  const auto load = [&](const std::string& damaged) {
    const TensorSet set = safetensors::open_file(fresh("m.safetensors", damaged));
    expect_sound(damaged, set);
  };
  damage(text, Mutator(1, tensor_words), "m.safetensors", load);
}

TEST_F(FuzzTest, SafetensorsHeaderOfTheRightLength) {
  // Damage of the header alone, its length put right: reaches the checks behind the JSON reader.
  const std::string text = sample_tensors();
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, text.data(), 8);
  const std::string data = text.substr(8 + header_bytes);
  const auto load = [&](const std::string& header) {
    std::uint64_t length = header.size();
    std::string file(reinterpret_cast<const char*>(&length), 8);
    file += header + data;
    const TensorSet set = safetensors::open_file(fresh("m.safetensors", file));
    expect_sound(file, set);
  };
  EXPECT_GT(damage(text.substr(8, header_bytes), Mutator(2, tensor_words), "m.safetensors", load),
            0u);
}

TEST_F(FuzzTest, SafetensorsIndex) {
  directory_.write("a.safetensors", sample_tensors());
  const std::string text =
      R"({"metadata": {"total_size": 23}, "weight_map": {)"
      R"("model.embed_tokens.weight": "a.safetensors", "model.norm.weight": "a.safetensors",)"
      R"("empty": "a.safetensors", "scalar": "a.safetensors"}})";
  const auto load = [&](const std::string& damaged) {
    const TensorSet set = safetensors::open_sharded(fresh("model.safetensors.index.json", damaged));
    EXPECT_EQ(set.size(), 4u);  // all or nothing
  };
  damage(text, Mutator(3, {"\"../a.safetensors\"", "\"weight_map\":{},", "\"empty\":", "/"}),
         directory_.path().string(), load);
}

/// A small model in a GGUF file: every kind of metadata, blocks, q and k whose rows are put in order.
/// part of two: 0 or 1, with half of the tensors each; -1: one file
std::string sample_gguf(const std::filesystem::path& path, int part = -1) {
  namespace gguf = checkpoint::gguf;
  gguf::MetadataText m;
  m.add_text("general.architecture", "llama");
  for (const auto& [key, value] : {std::pair{"block_count", 1u},
                                   {"embedding_length", 32u},
                                   {"context_length", 64u},
                                   {"feed_forward_length", 32u},
                                   {"attention.head_count", 2u},
                                   {"attention.head_count_kv", 1u},
                                   {"rope.dimension_count", 16u}}) {
    m.add(std::string("llama.") + key, value);
  }
  m.add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  m.add_text("tokenizer.ggml.model", "llama");
  m.add_texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "a", "b", "ab", "\u2581", "\u2581ab"});
  m.add_array("tokenizer.ggml.scores", std::vector<float>{0, 0, -1, -2, -3, -4, -5});
  m.add_array("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 1, 1, 1, 1, 1});
  m.add("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
  m.add("tokenizer.ggml.bos_token_id", std::uint32_t{1});
  m.add("tokenizer.ggml.add_bos_token", true);
  const auto row = [](std::int64_t, float* values) { std::fill_n(values, 32, 0.5f); };
  const auto long_row = [](std::int64_t, float* values) { std::fill_n(values, 256, 0.5f); };
  const std::vector<gguf::TensorSource> tensors = {
      {"token_embd.weight", DType::q8_0, {7, 32}, row},
      {"blk.0.attn_q.weight", DType::q4_0, {32, 32}, row},
      {"blk.0.attn_k.weight", DType::f16, {16, 32}, row},
      {"blk.0.ffn_down.weight", DType::q5_k, {2, 256}, long_row},
      {"output_norm.weight", DType::f32, {32}, row}};
  if (part == -1) {
    gguf::write_file(path, m, tensors);
  } else {
    if (part > 0) m = {};
    m.add("split.no", static_cast<std::uint32_t>(part));
    m.add("split.count", std::uint32_t{2});
    m.add("split.tensors.count", std::int32_t{5});
    const auto half = tensors.begin() + 3;
    gguf::write_file(
        path, m, part == 0 ? std::vector(tensors.begin(), half) : std::vector(half, tensors.end()));
  }
  return quire::testing::read_file(path);
}

void expect_sane(const checkpoint::ModelConfig& config);

void read_all(const std::string& path) {
  const auto model = checkpoint::open_checkpoint(path);
  expect_sane(model.config);
  for (const TensorView& t : model.tensors.all()) {
    float first = 0;
    if (t.elements() > 0) checkpoint::read_elements(t, t.elements() - 1, {&first, 1});
  }
}

/// Either part damaged, beside the other as it is.
TEST_F(FuzzTest, SplitGguf) {
  const std::string names[] = {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"};
  std::string texts[2];
  for (const int i : {0, 1}) texts[i] = sample_gguf(directory_.path() / names[i], i);
  const std::string first = directory_.path() / names[0];
  EXPECT_NO_THROW(read_all(first));
  for (const std::size_t i : {0u, 1u}) {
    const auto load = [&](const std::string& damaged) {
      fresh(names[i], damaged);
      read_all(first);
    };
    EXPECT_GT(damage(texts[i],
                     Mutator(8 + i, {"split.no", "split.count", "split.tensors.count",
                                     std::string("\x02\0\0\0", 4)}),
                     "m-0000", load),
              0u);
    fresh(names[i], texts[i]);
  }
}

TEST_F(FuzzTest, Gguf) {
  const std::string text = sample_gguf(directory_.path() / "sample.gguf");
  const auto load = [&](const std::string& damaged) { read_all(fresh("m.gguf", damaged)); };
  EXPECT_NO_THROW(load(text));
  EXPECT_GT(damage(text,
                   Mutator(7, {"GGUF", std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8),
                               std::string("\0\0\0\1\0\0\0\0", 8), std::string("\x09\0\0\0", 4),
                               "general.alignment", "split.count"}),
                   "m.gguf", load),
            0u);
  // Weights said to be integers: behind the name stand the dimensions and the type.
  std::string integers = text;
  const std::size_t name = text.find("token_embd.weight");
  integers[name + std::string_view("token_embd.weight").size() + 4 + 2 * 8] = 24;  // I8
  EXPECT_FALSE(loads([&] { load(integers); }, "m.gguf"));
  // A count of eight bytes anywhere in the header, made huge.
  for (std::size_t at = 0; at + 8 <= 1200 && !HasFailure(); ++at) {
    std::string huge = text;
    for (const char c : {'\x7f', '\xff'}) {
      std::fill_n(huge.begin() + static_cast<std::ptrdiff_t>(at), 8, c);
      loads([&] { load(huge); }, "m.gguf");
    }
  }
}

void expect_sane(const checkpoint::ModelConfig& config) {
  const auto& shape = config.shape;
  EXPECT_TRUE(shape.layers > 0 && shape.layers <= 4096);
  EXPECT_EQ(config.windows.size(), static_cast<std::size_t>(shape.layers));
  EXPECT_TRUE(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0);
  EXPECT_GT(shape.parameters(), 0);
  EXPECT_GT(shape.kv_values_per_token(), 0);
  EXPECT_TRUE(shape.experts_per_token <= shape.experts);
}

TEST_F(FuzzTest, Config) {
  const std::string texts[] = {
      R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "vocab_size": 256,
 "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
 "max_position_embeddings": 512, "rope_theta": 10000.0, "tie_word_embeddings": true,
 "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
 "original_max_position_embeddings": 128, "rope_type": "llama3"}, "eos_token_id": [1, 2]})",
      R"({"model_type": "qwen3_moe", "hidden_size": 64, "intermediate_size": 128, "head_dim": 32,
 "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
 "max_position_embeddings": 512, "vocab_size": 256, "num_experts": 8, "num_experts_per_tok": 2,
 "moe_intermediate_size": 32, "decoder_sparse_step": 2, "mlp_only_layers": [0]})",
      R"({"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_layer": 4, "n_positions": 128,
 "vocab_size": 256, "n_inner": null, "layer_norm_epsilon": 1e-5})"};
  for (const std::string& text : texts) {
    const auto load = [&](const std::string& damaged) {
      expect_sane(checkpoint::parse_config(damaged, "config.json"));
    };
    EXPECT_GT(damage(text,
                     Mutator(text.size(), {"\"yarn\"", "\"rope_type\":", "\"head_dim\": 3,",
                                           "\"quantization_config\": {},", "\"opt\"", "\"qwen2\""}),
                     "config.json", load),
              0u);
  }
}

TEST_F(FuzzTest, GenerationConfig) {
  const std::string text =
      R"({"bos_token_id": 1, "eos_token_id": [2, 3], "temperature": 0.6, "top_p": 0.9, "top_k": 20,
 "do_sample": true, "repetition_penalty": 1.1, "max_new_tokens": 64})";
  const auto load = [&](const std::string& damaged) {
    const auto config = checkpoint::parse_generation_config(damaged, "generation_config.json");
    EXPECT_TRUE(!config.top_p || (*config.top_p > 0 && *config.top_p <= 1));
    EXPECT_TRUE(!config.temperature || *config.temperature >= 0);
    EXPECT_TRUE(!config.top_k || *config.top_k >= 0);
  };
  EXPECT_GT(
      damage(text, Mutator(5, {"\"num_beams\": 4,", "\"top_p\":"}), "generation_config.json", load),
      0u);
}

/// What any loaded tokenizer promises, whatever its file says.
void expect_usable(const Tokenizer& tokenizer) {
  for (const std::string_view text : {std::string_view("Hello wörld 123  \n <s> it's\t中文"),
                                      std::string_view("\xff\xc3(\0", 4), std::string_view("")}) {
    const auto ids = tokenizer.encode(text);
    for (const quire::TokenId id : ids) ASSERT_TRUE(tokenizer.id_to_piece(id).has_value());
    ASSERT_FALSE(quire::utf8::first_invalid(tokenizer.decode(ids, false)));
    auto stream = tokenizer.stream();
    for (const quire::TokenId id : ids) ASSERT_FALSE(quire::utf8::first_invalid(stream.push(id)));
    ASSERT_FALSE(quire::utf8::first_invalid(stream.finish()));
  }
}

/// A tokenizer.json with every section, small enough to be damaged many times in one place.
std::string small_tokenizer(bool byte_level) {
  std::string vocab;
  int size = 0;
  const auto piece = [&](const std::string& text) {
    vocab += (size > 0 ? "," : "") + quire::json::quote(text) + ":" + std::to_string(size);
    ++size;
  };
  if (byte_level) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text;
      quire::utf8::append(
          text, checkpoint::tokenizer::byte_level::character(static_cast<unsigned char>(byte)));
      piece(text);
    }
  } else {
    for (const char* text : {"<unk>", "<s>", "▁", "H", "e", "l", "o"}) piece(text);
  }
  for (const char* text : {"He", "ll", "Hell"}) piece(text);
  const std::string start = std::to_string(byte_level ? size : 1);
  const std::string pattern =
      quire::json::quote(std::string(checkpoint::tokenizer::llama3_pattern));
  const std::string stages =
      byte_level
          ? R"("normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[
{"type":"Split","pattern":{"Regex":)" +
                pattern + R"(},"behavior":"Isolated","invert":false},
{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},"decoder":{"type":"ByteLevel"},)"
          : R"("normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,
"decoder":{"type":"Sequence","decoders":[
{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},
{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},)";
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":)" + start +
         R"(,"content":"<s>","single_word":false,"lstrip":true,"rstrip":true,"normalized":false,
"special":true}],)" +
         stages + R"("post_processor":{"type":"TemplateProcessing","single":[
{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],
"special_tokens":{"<s>":{"id":"<s>","ids":[)" +
         start + R"(],"tokens":["<s>"]}}},"model":{"type":"BPE","unk_token":)" +
         (byte_level ? "null" : "\"<unk>\"") + R"(,"fuse_unk":true,"byte_fallback":false,
"ignore_merges":)" +
         (byte_level ? "true" : "false") + R"(,"vocab":{)" + vocab +
         R"(},"merges":[["H","e"],["l","l"],["He","ll"]]}})";
}

TEST_F(FuzzTest, Tokenizer) {
  for (const bool byte_level : {true, false}) {
    const std::string text = small_tokenizer(byte_level);
    expect_usable(Tokenizer::from_text(text, "t"));
    const auto load = [&](const std::string& damaged) {
      expect_usable(Tokenizer::from_text(damaged, "tokenizer.json"));
    };
    EXPECT_GT(
        damage(text,
               Mutator(byte_level ? 6 : 7,
                       {"\"NFC\"", "\"Metaspace\"", "\"type\":\"Fuse\"", "\"lstrip\":true,",
                        "\"single_word\":true", "\"H e\"", "[\"e\",\"l\"]", "\"<0x41>\"", "null"}),
               "tokenizer.json", load, byte_level ? 500 : 4000),
        0u);
  }
}

TEST_F(FuzzTest, TrainedTokenizer) {
  const std::string text = quire::testing::read_file("tests/golden/tokenizer/qwen2.json");
  ASSERT_GT(text.size(), 10000u);
  const auto load = [&](const std::string& damaged) {
    expect_usable(Tokenizer::from_text(damaged, "tokenizer.json"));
  };
  Mutator mutator(8);
  for (std::size_t i = 0; i < fuzz_count(25); ++i) {
    (void)loads([&] { load(mutator.mutate(text)); }, "tokenizer.json");
  }
}

TEST_F(FuzzTest, AnyBytesCanBeEncodedAndDecoded) {
  quire::Rng rng(9);
  for (const char* kind : {"gpt2", "opt", "llama3", "qwen2", "sentencepiece", "metaspace"}) {
    const Tokenizer tokenizer =
        Tokenizer::from_file("tests/golden/tokenizer/" + std::string(kind) + ".json");
    for (std::size_t i = 0; i < fuzz_count(100); ++i) {
      std::string text;
      for (auto length = rng.below(60); length > 0; --length) {
        text.push_back(static_cast<char>(rng.below(4) == 0 ? rng.below(256) : rng.below(0x80)));
      }
      const auto ids = tokenizer.encode(text, false);
      // The bytes and their repaired text are the same text.
      EXPECT_EQ(ids, tokenizer.encode(quire::utf8::sanitized(text), false));
      EXPECT_FALSE(quire::utf8::first_invalid(tokenizer.decode(ids, false)));
      std::vector<quire::TokenId> any(rng.below(30));
      for (auto& id : any) id = static_cast<quire::TokenId>(rng.below(2000));  // some unknown
      auto stream = tokenizer.stream(false);
      std::string streamed;
      for (const quire::TokenId id : any) {
        const std::string part = stream.push(id);
        EXPECT_FALSE(quire::utf8::first_invalid(part));
        streamed += part;
      }
      streamed += stream.finish();
      const std::string decoded = tokenizer.decode(any, false);
      EXPECT_FALSE(quire::utf8::first_invalid(decoded));
      if (std::string_view(kind) != "sentencepiece") {
        EXPECT_EQ(streamed, decoded);
      }
    }
  }
}

}  // namespace
