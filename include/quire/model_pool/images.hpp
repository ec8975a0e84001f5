#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <quire/checkpoint/file_load/file_load.hpp>
#include <quire/checkpoint/load.hpp>
#include <quire/core/units.hpp>
#include <quire/model_pool/concepts.hpp>

namespace quire::model_pool {

/// Models in directories or GGUF files, best as images (model/weight_image.hpp), which need no packing. A
/// model is in memory as its files are read, and leaves it with the last copy of its checkpoint.
class Images {
 public:
  using Model = checkpoint::Checkpoint;

  /// rates: what starts are expected to take, for policies that weigh it
  /// loader: one that reads, such as direct or buffered; a mapped file comes in later, as it is touched
  /// \errors data for a model whose files are not there or not sound
  Images(std::vector<std::string> paths, checkpoint::FileLoader loader, StartRates rates = {})
      : paths_(std::move(paths)), loader_(std::move(loader)), rates_(rates) {
    bytes_.reserve(paths_.size());
    for (const std::string& path : paths_) {
      Bytes bytes = 0;
      const checkpoint::TensorSet tensors = checkpoint::open_checkpoint(path).tensors;  // mapped
      for (const std::string& file : tensors.files()) {
        bytes += static_cast<std::int64_t>(std::filesystem::file_size(file));
      }
      bytes_.push_back(bytes);
    }
  }

  [[nodiscard]] std::size_t count() const { return paths_.size(); }
  [[nodiscard]] const std::string& name(std::size_t i) const { return paths_[i]; }
  [[nodiscard]] Bytes bytes(std::size_t i) const { return bytes_[i]; }
  [[nodiscard]] Seconds start_cost(std::size_t i) const { return rates_.cost(bytes_[i]); }
  [[nodiscard]] Started<Model> start(std::size_t i) const {
    const auto begin = std::chrono::steady_clock::now();
    Model model = checkpoint::open_checkpoint(paths_[i], loader_);
    return {std::move(model),
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()};
  }

 private:
  std::vector<std::string> paths_;
  checkpoint::FileLoader loader_;
  StartRates rates_;
  std::vector<Bytes> bytes_;
};
static_assert(ModelSource<Images>);

}  // namespace quire::model_pool
