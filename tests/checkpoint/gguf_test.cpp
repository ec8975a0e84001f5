// GGUF files: those of ggml's own library (tests/golden/formats/make_gguf.py), and ours read back.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <quire/checkpoint/gguf/save.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/random_model.hpp>
#include <quire/core/json.hpp>
#include <quire/core/json_field.hpp>
#include <quire/model/known_shapes.hpp>

#include "tests/common/checkpoints.hpp"
#include "tests/common/temp_file.hpp"

namespace quire::checkpoint {
namespace {

namespace fs = std::filesystem;

const std::string golden = "tests/golden/formats/";
std::string model_folder(const std::string& name) { return "tests/golden/models/" + name; }

json::Value golden_json() {
  return json::parse(read_file(golden + "gguf.json", 1 << 20), "gguf.json");
}

std::vector<float> values_of(const TensorView& t) {
  std::vector<float> out(static_cast<std::size_t>(t.elements()));
  read_elements(t, 0, out);
  return out;
}
/// As make_gguf.py has it: FNV-1a over the bits, zeros without sign.
std::string checksum(const std::vector<float>& values) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const float x : values) {
    const float plain = x + 0.0f;
    std::uint32_t bits = 0;
    std::memcpy(&bits, &plain, 4);
    h = (h ^ bits) * 0x100000001b3;
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(h));
  return text;
}
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

void expect_error(const std::string& found, const std::string& part) {
  EXPECT_NE(found.find(part), std::string::npos) << found;
}

TEST(Gguf, ReadsEveryTypeOfTensorAsGgmlDoes) {
  const gguf::File file = gguf::open_file(golden + "mixed.gguf");
  const json::Value root = golden_json();
  const json::Field wanted = json::Field(root, "gguf.json").at("mixed");
  ASSERT_EQ(file.tensors.size(), wanted.object().members().size());
  for (const TensorSet::Entry& t : file.tensors) {
    const json::Field want = wanted.at(t.name);
    EXPECT_EQ(name_of(t.dtype), want.at("type").string()) << t.name;
    ASSERT_EQ(t.shape.size(), want.at("shape").array().size());
    for (std::size_t i = 0; i < t.shape.size(); ++i) {
      EXPECT_EQ(t.shape[i], want.at("shape").at(i).integer(0));
    }
    const std::vector<float> values = values_of({t.name, t.dtype, t.shape, t.bytes});
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(values[i], static_cast<float>(want.at("first").at(i).number(-1e9, 1e9))) << t.name;
    }
    EXPECT_EQ(checksum(values), want.at("checksum").string()) << t.name;
    std::vector<float> part(70);  // not at a block's edge
    read_elements({t.name, t.dtype, t.shape, t.bytes}, 1, std::span(part).first(7));
    EXPECT_TRUE(std::equal(part.begin(), part.begin() + 7, values.begin() + 1));
  }
  EXPECT_EQ(file.metadata.integers("quire.test.numbers", ""), (std::vector<std::int64_t>{1, 2, 3}));
}

TEST(Gguf, ReadsAMixture) {
  const Checkpoint model = testing::opened(golden + "mixed.gguf");
  EXPECT_EQ(model.config.shape.family, model::Family::mixtral);
  EXPECT_EQ(model.config.shape.head_dim, 16);
  EXPECT_EQ(model.config.shape.vocab, 40);
  EXPECT_EQ(model.config.shape.name, "mixed");
  EXPECT_FALSE(model.config.shape.tied_embedding);
  EXPECT_EQ(model.config.rope_theta, 500000);
  EXPECT_EQ(model.config.rope_divisors, (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(model.config.eos, std::vector<TokenId>{3});
  EXPECT_FALSE(model.tokenizer.has_value());
  const TensorView& expert =
      model.tensors.at("model.layers.0.block_sparse_moe.experts.1.w2.weight", {256, 32});
  EXPECT_EQ(expert.dtype, DType::q8_0);
}

TEST(Gguf, GivesTheTensorsOfTheDirectoryThatAnotherWriterMadeItFrom) {
  const Checkpoint from = testing::opened(model_folder("llama"));
  const Checkpoint read = testing::opened(golden + "llama.gguf");
  ASSERT_EQ(read.tensors.size(), from.tensors.size());
  for (const TensorView& t : from.tensors.all()) {
    const TensorView& found = read.tensors.at(t.name);
    EXPECT_TRUE(found.has_shape(t.shape)) << t.name;
    EXPECT_TRUE(std::equal(t.bytes.begin(), t.bytes.end(), found.bytes.begin())) << t.name;
  }
}

std::string part_of_llama(int part) { return golden + "llama_split" + gguf::split_suffix(part, 3); }

TEST(Gguf, ReadsAllPartsOfAModelThatAnotherWriterSplit) {
  const Checkpoint whole = testing::opened(golden + "llama.gguf");
  const Checkpoint read = testing::opened(part_of_llama(0));
  EXPECT_EQ(read.config.shape.name, "llama_split");
  ASSERT_EQ(read.tensors.size(), whole.tensors.size());
  for (const TensorView& t : whole.tensors.all()) {
    const TensorView& found = read.tensors.at(t.name);
    EXPECT_TRUE(found.has_shape(t.shape)) << t.name;
    EXPECT_TRUE(std::equal(t.bytes.begin(), t.bytes.end(), found.bytes.begin())) << t.name;
  }
}

TEST(Gguf, RefusesPartsThatDoNotBelongTogether) {
  const testing::TempDir folder;
  std::string parts[3];
  for (int i = 0; i < 3; ++i) parts[i] = read_file(part_of_llama(i), 1 << 20);
  const std::string name = folder.path() / "m";
  const auto error = [&](const std::string& first, const std::string& second) {
    folder.write("m" + gguf::split_suffix(0, 3), first);
    folder.write("m" + gguf::split_suffix(1, 3), second);
    folder.write("m" + gguf::split_suffix(2, 3), parts[2]);
    return error_of([&] { (void)testing::opened(name + gguf::split_suffix(0, 3)); });
  };
  EXPECT_EQ(error(parts[0], parts[1]), "no error");
  expect_error(error(parts[0], parts[2]), "m-00002-of-00003.gguf: split.no: it is part 3 of 3");
  expect_error(error(parts[0], parts[0]), "it is part 1 of 3; expected part 2 of 3");
  expect_error(error(parts[0], read_file(golden + "llama.gguf", 1 << 20)), "it is part 1 of 1");
  expect_error(error(parts[0], parts[1].substr(0, 5000)), "00002-of-00003.gguf: byte");
  const auto edited = [](std::string part, const std::string& key, char value) {
    const std::size_t at = part.find(key);
    part[at + key.size() + 4] = value;  // behind its type
    return part;
  };
  expect_error(error(edited(parts[0], "split.tensors.count", 20), parts[1]),
               "split.tensors.count: the parts have 21 tensors together");
  expect_error(error(edited(parts[0], "split.count", 4), parts[1]), "name ends in -00001-of-00004");
  expect_error(error(edited(parts[0], "split.no", 3), parts[1]), "value 3 out of range");
  expect_error(error_of([&] { (void)testing::opened(part_of_llama(1)); }),
               "this is part 2 of a split model; expected the first, " + part_of_llama(0));
  fs::copy_file(part_of_llama(0), folder.path() / "renamed.gguf");
  expect_error(error_of([&] { (void)testing::opened(folder.path() / "renamed.gguf"); }),
               "a file whose name ends in -00001-of-00003.gguf");
  EXPECT_EQ(error(parts[0], parts[1]), "no error");
  fs::remove(name + gguf::split_suffix(1, 3));
  expect_error(error_of([&] { (void)testing::opened(name + gguf::split_suffix(0, 3)); }),
               "m-00002-of-00003.gguf: cannot open it");
}

TEST(Gguf, FindsTheIdsOfOtherWritersTokenizers) {
  const auto read = [](const std::string& name) {
    const gguf::File file = gguf::open_file(golden + name);
    return Tokenizer::from_text(gguf::tokenizer_text(file.metadata), name);
  };
  const Tokenizer ours = read("vocab_llama3.gguf");
  const Tokenizer theirs = Tokenizer::from_file("tests/golden/tokenizer/llama3.json");
  for (const char* text : {"", "Hello world 12345 it's", " \n\n x", "naïve café 日本語",
                           "<|begin_of_text|>a<|eot_id|>", "tab\tand  spaces   "}) {
    EXPECT_EQ(ours.encode(text), theirs.encode(text)) << text;
    EXPECT_EQ(ours.encode(text, true, false), theirs.encode(text, true, false)) << text;
    EXPECT_EQ(ours.decode(ours.encode(text)), theirs.decode(theirs.encode(text)));
  }
  const Tokenizer pieces = read("vocab_spm.gguf");
  const json::Value root = golden_json();
  const json::Field rows = json::Field(root, "gguf.json").at("spm");
  for (std::size_t i = 0; i < rows.array().size(); ++i) {
    const json::Field row = rows.at(i);
    std::vector<TokenId> ids;
    for (std::size_t k = 0; k < row.at("ids").array().size(); ++k) {
      ids.push_back(static_cast<TokenId>(row.at("ids").at(k).integer(0)));
    }
    EXPECT_EQ(pieces.encode(row.at("text").string()), ids) << row.at("text").string();
  }
  EXPECT_GT(rows.array().size(), 20u);
}

class WrittenGguf : public ::testing::TestWithParam<const char*> {};

/// Each family through a file of ours: the same tensors, bit for bit, and the same arithmetic.
TEST_P(WrittenGguf, IsReadBack) {
  const testing::TempDir folder;
  const std::string path = folder.path() / "model.gguf";
  const Checkpoint from = testing::opened(model_folder(GetParam()));
  save_gguf(from, path, DType::f32);
  const Checkpoint read = testing::opened(path);
  for (const TensorView& t : from.tensors.all()) {
    if (t.name == "lm_head.weight" && from.config.shape.tied_embedding) continue;
    const TensorView& found = read.tensors.at(t.name);
    EXPECT_TRUE(found.has_shape(t.shape)) << t.name;
    EXPECT_EQ(values_of(found), values_of(t)) << t.name;
  }
  const ModelConfig &a = from.config, &b = read.config;
  const auto numbers =
      [](const ModelConfig& c) {  // in one list: each comparison has to be compiled
        const model::Shape& s = c.shape;
        std::vector<double> all;
        for (const std::int64_t n : {s.layers, s.heads, s.kv_heads, s.head_dim, s.ffn, s.vocab,
                                     s.max_length.value, s.experts, s.experts_per_token}) {
          all.push_back(static_cast<double>(n));
        }
        for (const bool yes :
             {s.tied_embedding, c.qkv_bias, c.output_bias, c.mlp_bias, c.query_key_norm}) {
          all.push_back(yes ? 1 : 0);
        }
        all.push_back(static_cast<double>(static_cast<float>(c.norm_eps)));
        all.push_back(c.rope_theta);
        for (const std::int64_t w : c.windows) all.push_back(static_cast<double>(w));
        return all;
      };
  EXPECT_EQ(numbers(a), numbers(b));
  EXPECT_EQ(a.rope_scaling.has_value(), !b.rope_divisors.empty());
  EXPECT_EQ(a.bos, b.bos);
  EXPECT_EQ(from.generation.eos.empty() ? a.eos : from.generation.eos, b.eos);
}
INSTANTIATE_TEST_SUITE_P(Families, WrittenGguf,
                         ::testing::Values("llama", "llama_bias", "llama_bf16", "llama_rope_llama3",
                                           "mistral", "mixtral", "qwen2", "qwen3"));

TEST(Gguf, RefusesModelsThatItHasNoPlaceFor) {
  const testing::TempDir folder;
  const std::string path = folder.path() / "model.gguf";
  for (const auto& [name, why] : {std::pair{"gpt2", "GGUF files of gpt2 are not written"},
                                  std::pair{"opt", "GGUF files of opt are not written"},
                                  std::pair{"qwen2_window", "no place for these sliding windows"},
                                  std::pair{"qwen3_moe", "no place for layers without experts"}}) {
    expect_error(error_of([&, name = name] {
                   save_gguf(testing::opened(model_folder(name)), path, DType::f32);
                 }),
                 (why));
  }
  const Checkpoint llama = testing::opened(model_folder("llama"));
  expect_error(error_of([&] { save_gguf(llama, path, DType::q4_k); }),
               ("rows of 32 are no whole number of Q4_K blocks; expected a multiple of 256"));
  expect_error(error_of([&] { save_gguf(llama, path, DType::i8); }), ("tensors of I8"));
  EXPECT_FALSE(fs::exists(path));
  expect_error(
      error_of([&] { save_gguf(testing::opened(golden + "llama.gguf"), path, DType::f32); }),
      ("is a GGUF file already"));
}

TEST(Gguf, WritesBlocksAndTheTokenizer) {
  const testing::TempDir folder;
  const Checkpoint from = testing::opened("experiments/small_models/checkpoints/stories");
  for (const DType dtype : {DType::q8_0, DType::q4_0, DType::f16, DType::bf16}) {
    const std::string path = folder.path() / (std::string(name_of(dtype)) + ".gguf");
    save_gguf(from, path, dtype);
    const Checkpoint read = testing::opened(path);
    for (const char* name : {"model.embed_tokens.weight", "model.layers.2.self_attn.q_proj.weight",
                             "model.layers.1.mlp.down_proj.weight"}) {
      const std::vector<float> a = values_of(from.tensors.at(name));
      const std::vector<float> b = values_of(read.tensors.at(name));
      EXPECT_EQ(read.tensors.at(name).dtype, dtype);
      double error = 0, size = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        error += std::pow(static_cast<double>(a[i] - b[i]), 2);
        size += std::pow(static_cast<double>(a[i]), 2);
      }
      const double bound = dtype == DType::q4_0 ? 0.12 : dtype == DType::q8_0 ? 0.01 : 1e-3;
      EXPECT_LT(std::sqrt(error / size), bound) << name;
      if (dtype == DType::bf16) {
        EXPECT_EQ(a, b);
      }
    }
    EXPECT_EQ(read.tensors.at("model.norm.weight").dtype, DType::f32);
    ASSERT_TRUE(read.tokenizer.has_value());
    const std::string text = "Once upon a time, Mia's box was 12 feet away.";
    EXPECT_EQ(read.tokenizer->encode(text), from.tokenizer->encode(text));
    EXPECT_EQ(read.config.eos, from.config.eos);
  }
}

/// ggml's keys alone say as much as the tokenizer.json that lies beside them.
TEST(Gguf, TokenizersComeBackFromGgmlsKeys) {
  const testing::TempDir folder;
  const std::string folders[] = {"experiments/small_models/checkpoints/stories/tokenizer",
                                 "tests/golden/tokenizer/llama3", "tests/golden/tokenizer/qwen2"};
  for (const std::string& name : folders) {
    const std::string file = name + ".json";
    fs::copy_file(file, folder.path() / "tokenizer.json", fs::copy_options::overwrite_existing);
    const Tokenizer from = Tokenizer::from_file(file);
    ModelConfig config;
    config.shape.vocab = 2000;
    if (!from.around().before.empty()) config.bos = from.around().before.front();
    config.eos = from.around().after;
    gguf::MetadataText m;
    gguf::add_tokenizer(m, folder.path(), config);
    const std::string path = folder.path() / "vocab.gguf";
    gguf::write_file(path, m, {});
    const gguf::File read = gguf::open_file(path);
    std::vector<gguf::Metadata::Entry> entries;
    for (const auto& e : read.metadata.entries()) {
      if (e.key != "tokenizer.huggingface.json") entries.push_back(e);
    }
    EXPECT_EQ(entries.size() + 1, read.metadata.entries().size());
    const Tokenizer again =
        Tokenizer::from_text(gguf::tokenizer_text(gguf::Metadata(path, entries)), name);
    for (const char* text : {"", "Hello world 12345 it's", " \n\n x", "naïve café 日本語",
                             "<|endoftext|> <|im_start|>user", "e\xcc\x81<tool_call>"}) {
      EXPECT_EQ(again.encode(text), from.encode(text)) << name << " " << text;
      EXPECT_EQ(again.decode(again.encode(text)), from.decode(from.encode(text)));
    }
  }
  ModelConfig config;
  config.shape.vocab = 2000;
  config.bos = 1;
  config.eos = {2};
  gguf::MetadataText m;
  fs::copy_file("tests/golden/tokenizer/gpt2.json", folder.path() / "tokenizer.json",
                fs::copy_options::overwrite_existing);
  expect_error(error_of([&] { gguf::add_tokenizer(m, folder.path(), config); }),
               ("\"<mask>\" takes space with it"));
  fs::copy_file("tests/golden/tokenizer/sentencepiece.json", folder.path() / "tokenizer.json",
                fs::copy_options::overwrite_existing);
  expect_error(error_of([&] { gguf::add_tokenizer(m, folder.path(), config); }),
               ("do not follow from scores of pieces"));
}

TEST(Gguf, RefusesWhatIsNotSound) {
  const testing::TempDir folder;
  const auto error = [&](const std::string& bytes) {
    const std::string path = folder.write("x.gguf", bytes);
    return error_of([&] { (void)gguf::open_file(path); });
  };
  const auto header = [](std::uint32_t version, std::uint64_t tensors, std::uint64_t keys) {
    std::string out = "GGUF";
    gguf::detail::put(out, version);
    gguf::detail::put(out, tensors);
    gguf::detail::put(out, keys);
    return out;
  };
  const auto tensor = [&](std::uint64_t dim, std::uint32_t type, std::uint64_t offset) {
    std::string out = header(3, 1, 0);
    gguf::detail::put_text(out, "t");
    gguf::detail::put(out, std::uint32_t{1});
    gguf::detail::put(out, dim);
    gguf::detail::put(out, type);
    gguf::detail::put(out, offset);
    out.resize(96, '\0');
    return out;
  };
  expect_error(error("GGML1234"), ("x.gguf: byte 0: this is no GGUF file"));
  expect_error(error(header(1, 0, 0)), ("byte 4: GGUF version 1"));
  expect_error(error(header(0x03000000, 0, 0)), ("big-endian"));
  expect_error(error(header(3, 1ull << 60, 0)), ("byte 8: 1152921504606846976 tensors"));
  expect_error(error(header(3, 0, ~0ull)), ("byte 16: 18446744073709551615 keys"));
  expect_error(error(tensor(8, 99, 0)), ("ggml's type 99, which is not supported"));
  expect_error(error(tensor(8, 12, 0)), ("rows of 8 elements; expected whole blocks of 256"));
  expect_error(error(tensor(0, 0, 0)), ("a dimension of 0"));
  expect_error(error(tensor(~0ull, 0, 0)), ("a dimension of 18446744073709551615"));
  expect_error(error(tensor(8, 0, 4)), ("a multiple of 32"));
  expect_error(error(tensor(1ull << 60, 0, 0)), ("ends behind the file"));
  EXPECT_EQ(error(tensor(8, 0, 0)), "no error");
  gguf::MetadataText m;
  m.add_text("general.architecture", "falcon");
  const std::string path = folder.path() / "falcon.gguf";
  gguf::write_file(path, m, {});
  expect_error(error_of([&] { (void)testing::opened(path); }),
               ("general.architecture: models of kind \"falcon\" are not supported"));
}

TEST(Gguf, RandomModelsAreTheSameInAFolderAndInAFile) {
  model::Shape shape = model::llama_125m;
  shape.layers = 2;
  shape.hidden = 64;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 16;
  shape.ffn = 96;
  shape.vocab = 300;
  testing::TempDir folder;
  const std::string a = (folder.path() / "a").string(), b = (folder.path() / "b").string(),
                    c = (folder.path() / "c").string();
  save_random_model(shape, DType::bf16, 1, a);
  save_random_model(shape, DType::bf16, 1, b);
  save_random_model(shape, DType::f32, 2, c);
  const std::string weights = "/model.safetensors";
  EXPECT_EQ(read_file(a + weights, 1 << 24), read_file(b + weights, 1 << 24));
  EXPECT_NE(read_file(a + weights, 1 << 24), read_file(c + weights, 1 << 24));
  const Checkpoint model = open_checkpoint(a);
  EXPECT_EQ(model.config.shape.parameters(), shape.parameters());
  EXPECT_FALSE(model.tokenizer);
  const std::vector<float> q =
      values_of(model.tensors.at("model.layers.1.self_attn.q_proj.weight"));
  double squares = 0;
  for (const float x : q) squares += double{x} * double{x};
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(q.size())), 0.02, 0.001);
  EXPECT_EQ(values_of(model.tensors.at("model.norm.weight")), std::vector<float>(64, 1.0f));
  const std::string file = (folder.path() / "a.gguf").string();
  save_gguf(model, file, DType::bf16);
  EXPECT_EQ(gguf::open_file(file).metadata.text("tokenizer.ggml.model"), "no_vocab");
  const Checkpoint back = open_checkpoint(file);
  EXPECT_FALSE(back.tokenizer);
  EXPECT_EQ(values_of(back.tensors.at("model.layers.1.self_attn.q_proj.weight")), q);
  expect_error(error_of([&] { save_random_model(shape, DType::q8_0, 1, a); }), "f32, f16 or bf16");
  shape.family = model::Family::opt;
  expect_error(error_of([&] { save_random_model(shape, DType::f32, 1, a); }),
               "is neither llama nor mixtral");
  shape.family = model::Family::mixtral;
  expect_error(error_of([&] { save_random_model(shape, DType::f32, 1, a); }),
               "is neither llama nor mixtral");
  shape.experts = 4;
  shape.experts_per_token = 2;
  save_random_model(shape, DType::bf16, 1, c);
  const Checkpoint mixture = open_checkpoint(c);
  EXPECT_EQ(mixture.config.shape.parameters(), shape.parameters());
  EXPECT_EQ(mixture.config.shape.experts_per_token, 2);
  EXPECT_TRUE(mixture.tensors.contains("model.layers.1.block_sparse_moe.experts.3.w2.weight"));
}

}  // namespace
}  // namespace quire::checkpoint
