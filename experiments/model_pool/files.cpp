// Models on the disk, packed as an engine multiplies with them. See files.hpp.
#include <experiments/model_pool/files.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/random_model.hpp>
#include <quire/model/weight_image.hpp>
#include <quire/weight_format/bf16_w16a16.hpp>

namespace quire::experiment {

ImageFiles::ImageFiles(std::size_t count, bool small)
    : folder_(std::filesystem::temp_directory_path() /
              ("quire_model_pool_" + std::to_string(::getpid()))) {
  namespace fs = std::filesystem;
  fs::create_directories(folder_);
  ThreadPool threads(std::max(1u, std::thread::hardware_concurrency()));
  for (std::size_t i = 0; i < count; ++i) {
    // 4 to 19 layers, not in the order of their popularity
    const auto layers = static_cast<std::int64_t>(small ? 1 + i % 3 : 4 + i * 5 % 16);
    const model::Shape shape{.name = "llama_" + std::to_string(i),
                             .layers = layers,
                             .hidden = small ? 64 : 512,
                             .heads = small ? 1 : 8,
                             .kv_heads = small ? 1 : 2,
                             .head_dim = 64,
                             .ffn = small ? 128 : 1536,
                             .vocab = 4000,
                             .max_length = 256,
                             .tied_embedding = true};
    const std::string from = (folder_ / shape.name).string();
    checkpoint::save_random_model(shape, checkpoint::DType::bf16, i, from);
    paths_.push_back(from + "_image");
    model::save_weight_image<weight_format::Packed>(
        checkpoint::open_checkpoint(from), weight_format::codec_of<weight_format::Bf16W16a16>(),
        paths_.back(), threads);
    fs::remove_all(from);
  }
}
ImageFiles::~ImageFiles() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace quire::experiment
