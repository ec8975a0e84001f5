#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/random_model.hpp>
#include <quire/model/shape.hpp>

namespace quire::experiment {

/// A llama of random fp32 weights on the disk for as long as this lives.
class RandomLlama {
 public:
  explicit RandomLlama(const model::Shape& shape) {
    const std::uint64_t now =
        static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    folder_ =
        std::filesystem::temp_directory_path() / ("quire_random_llama_" + std::to_string(now));
    checkpoint::save_random_model(shape, checkpoint::DType::f32, 1, folder_.string());
  }
  RandomLlama(const RandomLlama&) = delete;
  RandomLlama& operator=(const RandomLlama&) = delete;
  ~RandomLlama() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  [[nodiscard]] checkpoint::Checkpoint open() const {
    return checkpoint::open_checkpoint(folder_.string());
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace quire::experiment
