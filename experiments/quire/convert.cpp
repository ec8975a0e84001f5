// quire convert: a Hugging Face directory as a GGUF file, or as a quantised directory.
#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <experiments/common/flag_values.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/quire/commands.hpp>
#include <experiments/quire/rounded.hpp>
#include <quire/checkpoint/gguf/save.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/checkpoint/tensor_file/tensor_file.hpp>

namespace quire::experiment {
namespace {

struct WrittenType {
  std::string_view name;
  checkpoint::DType dtype;
};
constexpr WrittenType written_types[] = {
    {"f32", checkpoint::DType::f32},   {"f16", checkpoint::DType::f16},
    {"bf16", checkpoint::DType::bf16}, {"q8_0", checkpoint::DType::q8_0},
    {"q4_0", checkpoint::DType::q4_0}, {"q4_k", checkpoint::DType::q4_k},
    {"q5_k", checkpoint::DType::q5_k}, {"q6_k", checkpoint::DType::q6_k},
    {"fp32", checkpoint::DType::f32},  {"fp16", checkpoint::DType::f16}};

checkpoint::DType type_named(const std::string& name) {
  std::array<std::string_view, std::size(written_types)> names;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (written_types[i].name == name) return written_types[i].dtype;
    names[i] = written_types[i].name;
  }
  throw unknown_name("--weight-format", "type of a GGUF file", name, names);
}

void write_gguf(const std::string& from, const std::string& type, const std::string& to) {
  checkpoint::DType dtype = type.empty() ? checkpoint::DType::f32 : type_named(type);
  const checkpoint::Checkpoint model = checkpoint::open_checkpoint(from);
  if (type.empty()) {
    for (const checkpoint::TensorView& t : model.tensors.all()) {
      if (t.shape.size() == 2) dtype = t.dtype;
    }
  }
  checkpoint::save_gguf(model, to, dtype);
}

}  // namespace

void add_convert(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "convert",
      "Writes a Hugging Face checkpoint as a GGUF file, or as a directory with quantised, pruned "
      "or factored layers, or with the weights in another file format.\n\n"
      "Examples:\n"
      "  quire convert MODEL_DIR model.gguf\n"
      "  quire convert MODEL_DIR --to model-q8_0.gguf --weight-format q8_0\n"
      "  quire convert MODEL_DIR --to model-nf4 --weight-format nf4\n"
      "  quire convert MODEL_DIR --to model-fb --file-format flatbuffers\n"
      "  quire convert MODEL_DIR --to model-gptq --weight-format gptq_int4_g128\\\n"
      "    --calibration-text text.txt");
  struct Asked {
    std::string model, out, type, format, texts;
  };
  const auto asked = std::make_shared<Asked>();
  command->add_option("model", asked->model, "folder with config.json and safetensors")->required();
  command
      ->add_option("out,--to", asked->out,
                   "what to write: a GGUF file if its name ends in .gguf, else a directory")
      ->required();
  command->add_option(
      "--weight-format,--type", asked->type,
      "of matrices. GGUF: f32, f16, bf16, q8_0, q4_0, q4_k, q5_k, q6_k; as stored if not given.\n"
      "A directory: nf4, fp4, llm_int8 (named as bitsandbytes names them); w8a8, fp8_w8a8, "
      "int4_g128,\n"
      "int4_zero_point_g32, int8_per_channel (compressed-tensors); gptq_int4_g128,\n"
      "gptq_act_order_int3_zero_point_g128, awq_int4_zero_point_g128 (GPTQ, AWQ);\n"
      "magnitude_50_percent, wanda_2_of_4, sparse_gpt_2_of_4: floats, some of them zero;\n"
      "svd_20_percent, asvd_20_percent, svd_llm_20_percent: layers as two matrices of a low rank, "
      "so "
      "much smaller");
  std::vector<std::string> formats;
  for (const checkpoint::TensorFile& f : checkpoint::tensor_files()) formats.emplace_back(f.name);
  command
      ->add_option("--file-format", asked->format,
                   "of the weights' file in a directory: safetensors, or to compare with:\n"
                   "flatbuffers, protobuf, protobuf_chunked, json_text")
      ->check(one_of("file format", formats));
  command->add_option("--calibration-text", asked->texts,
                      "what GPTQ, AWQ, Wanda, SparseGPT, ASVD and SVD-LLM are fitted to: a text, "
                      "64 times 512 tokens "
                      "of it");
  command->callback([asked, &exit_code] {
    if (asked->out.ends_with(".gguf")) {
      if (!asked->format.empty()) {
        throw usage_error("--file-format", "a GGUF file has a format of its own",
                          "a directory to write");
      }
      if (!asked->texts.empty()) {
        throw usage_error("--calibration-text", "nothing is fitted to texts in a GGUF file",
                          "a directory to write");
      }
      write_gguf(asked->model, asked->type, asked->out);
    } else {
      if (asked->type.empty() && asked->format.empty()) {
        throw usage_error(asked->out, "a directory that is not quantised would be a copy",
                          "--weight-format, --file-format, or a name that ends in .gguf");
      }
      if (asked->type.empty() && !asked->texts.empty()) {
        throw usage_error("--calibration-text",
                          "nothing is fitted to texts without --weight-format", "both, or neither");
      }
      const checkpoint::Checkpoint model = checkpoint::open_checkpoint(asked->model);
      const checkpoint::TensorFile& format = checkpoint::tensor_file_named(
          asked->format.empty() ? checkpoint::tensor_file::Safetensors::name : asked->format);
      checkpoint::save_checkpoint(
          asked->type.empty() ? model : rounded(model, asked->type, asked->texts), asked->out,
          format);
    }
    exit_code = 0;
  });
}

}  // namespace quire::experiment
