// quire convert: a Hugging Face directory as a GGUF file.
#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include <experiments/common/suggest.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/checkpoint/gguf/save.hpp>
#include <quire/checkpoint/load.hpp>

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
    {"q5_k", checkpoint::DType::q5_k}, {"q6_k", checkpoint::DType::q6_k}};

checkpoint::DType type_named(const std::string& name) {
  std::array<std::string_view, std::size(written_types)> names;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (written_types[i].name == name) return written_types[i].dtype;
    names[i] = written_types[i].name;
  }
  throw unknown_name("--type", "type", name, names);
}

}  // namespace

void add_convert(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("convert",
                                         "Writes a Hugging Face checkpoint as a GGUF file.\n\n"
                                         "Examples:\n"
                                         "  quire convert MODEL_DIR model.gguf\n"
                                         "  quire convert MODEL_DIR model-q8_0.gguf --type q8_0");
  struct Asked {
    std::string model, out, type;
  };
  const auto asked = std::make_shared<Asked>();
  command->add_option("model", asked->model, "folder with config.json and safetensors")->required();
  command->add_option("out", asked->out, "the file to write")->required();
  command->add_option(
      "--type", asked->type,
      "of matrices: f32, f16, bf16, q8_0, q4_0, q4_k, q5_k, q6_k; as stored if not given");
  command->callback([asked, &exit_code] {
    using checkpoint::DType;
    DType dtype = asked->type.empty() ? DType::f32 : type_named(asked->type);
    const checkpoint::Checkpoint model = checkpoint::open_checkpoint(asked->model);
    if (asked->type.empty() && model.tensors.size() > 0) {
      for (const checkpoint::TensorView& t : model.tensors.all()) {
        if (t.shape.size() == 2) dtype = t.dtype;
      }
    }
    checkpoint::save_gguf(model, asked->out, dtype);
    exit_code = 0;
  });
}

}  // namespace quire::experiment
