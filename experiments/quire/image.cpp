// quire image: a model's weights as an engine multiplies with them, in a file that starts without packing.
#include <algorithm>
#include <array>
#include <cstddef>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <CLI/CLI.hpp>

#include <experiments/common/flag_values.hpp>
#include <experiments/common/suggest.hpp>
#include <experiments/quire/commands.hpp>
#include <quire/model/weight_image.hpp>
#include <quire/weight_format/bf16_w16a16.hpp>
#include <quire/weight_format/fp32.hpp>
#include <quire/weight_format/int4_grouped.hpp>
#include <quire/weight_format/nf4.hpp>
#include <quire/weight_format/q4_0.hpp>
#include <quire/weight_format/q4_k.hpp>
#include <quire/weight_format/q8_0.hpp>
#include <quire/weight_format/sparse_24.hpp>
#include <quire/weight_format/w8a8.hpp>

namespace quire::experiment {
namespace {

using weight_format::codec_of;

/// Formats that images are written in here; an engine of any other writes its own (model/weight_image.hpp).
const std::array image_formats{&codec_of<weight_format::Fp32>(),
                               &codec_of<weight_format::Bf16W16a16>(),
                               &codec_of<weight_format::Q80>(),
                               &codec_of<weight_format::Q40>(),
                               &codec_of<weight_format::Q4K>(),
                               &codec_of<weight_format::Nf4>(),
                               &codec_of<weight_format::Int4Grouped<128>>(),
                               &codec_of<weight_format::W8a8>(),
                               &codec_of<weight_format::Sparse24>()};

const weight_format::WeightCodec& image_format_named(const std::string& name) {
  std::array<std::string_view, image_formats.size()> names;
  for (std::size_t i = 0; i < names.size(); ++i) {
    names[i] = image_formats[i]->name;
    if (names[i] == name) return *image_formats[i];
  }
  throw unknown_name("--weight-format", "format of an image", name, names);
}

}  // namespace

std::span<const weight_format::WeightCodec* const> weight_formats() { return image_formats; }

void add_image(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "image",
      "Packs a model's weights once and writes them as a folder that starts at once.\n\n"
      "The folder is opened like the checkpoint; its weights are mapped and used as they lie, on\n"
      "processors of this kind and in this weight format alone. `quire generate --weight-cache`\n"
      "does the same by itself.\n\n"
      "Examples:\n"
      "  quire image MODEL_DIR --to model-image\n"
      "  quire generate model-image --prompt \"Once upon a time\"\n"
      "  quire image MODEL_DIR --to model-q8_0 --weight-format q8_0");
  struct Asked {
    std::string model, out, format = "fp32";
    std::size_t threads = 0;
  };
  const auto asked = std::make_shared<Asked>();
  command->add_option("model", asked->model, "folder with config.json and weights, or a .gguf")
      ->required();
  command->add_option("out,--to", asked->out, "the folder to write")->required();
  command
      ->add_option(
          "--weight-format", asked->format,
          "of matrices: fp32, bf16_w16a16, q8_0, q4_0, q4_k, nf4, int4_g128, w8a8 or sparse_24")
      ->capture_default_str();
  command->add_option("-t,--threads", asked->threads, "0: one per processor")
      ->check(whole_number(0, 4096));
  command->callback([asked, &exit_code] {
    const weight_format::WeightCodec& codec = image_format_named(asked->format);
    const checkpoint::Checkpoint model = checkpoint::open_checkpoint(asked->model);
    ThreadPool threads(asked->threads > 0 ? asked->threads
                                          : std::max(1u, std::thread::hardware_concurrency()));
    if (codec.plain) {
      model::save_weight_image<weight_format::Fp32>(model, codec, asked->out, threads);
    } else {
      model::save_weight_image<weight_format::Packed>(model, codec, asked->out, threads);
    }
    exit_code = 0;
  });
}

}  // namespace quire::experiment
