// mechanism: images of weights, made when they are asked for or when a cache has none
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/low_rank.hpp>
#include <quire/checkpoint/save.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/model/packed_layout.hpp>
#include <quire/model/weights.hpp>

namespace quire::model {

/// Packs a model's weights and writes the directory of an image, which open_checkpoint opens like any other
/// and an executor of this format, on this kind of processor, uses without converting anything.
/// Format, codec: as of load_weights
/// \errors usage for a directory that is there, a model from a GGUF file or one of low rank; data and state as load_weights
/// and save_image
template <weight_format::WeightStorage Format>
void save_weight_image(const checkpoint::Checkpoint& model, const weight_format::WeightCodec& codec,
                       const std::string& directory, ThreadPool& threads) {
  std::vector<checkpoint::TensorSet::Entry> parts;
  const auto weights = load_weights<Format>(model.config, model.tensors, threads, codec, &parts);
  checkpoint::save_image(directory, model.directory, packed_as(codec), parts);
}

/// A folder of images, one for each checkpoint and format that was started with it.
struct WeightCache {
  std::string directory{};  // made when it is not there; empty: no cache
  /// Of images that are there.
  checkpoint::FileLoader loader = checkpoint::mapped_files();
};

namespace detail {

/// What says, without reading the weights, that files are the same as before: name, length, and the times
/// and places that the file system keeps of them. Every write changes the time of the last change, which
/// programs cannot set.
[[nodiscard]] inline std::uint64_t identity_of(const checkpoint::Checkpoint& model) {
  std::vector<std::string> files = model.tensors.files();
  files.push_back(model.directory + "/config.json");  // a GGUF file has none
  std::uint64_t h = 0;
  for (const std::string& file : files) {
    struct stat s {};
    if (::stat(file.c_str(), &s) != 0) continue;
    const std::string name = std::filesystem::path(file).filename().string();
    h = hash_span(std::span<const char>(name), h);
    for (const std::int64_t n :
         {std::int64_t(s.st_size), std::int64_t(s.st_ino), std::int64_t(s.st_dev),
          std::int64_t(s.st_mtim.tv_sec), std::int64_t(s.st_mtim.tv_nsec),
          std::int64_t(s.st_ctim.tv_sec), std::int64_t(s.st_ctim.tv_nsec)}) {
      h = hash_combine(h, static_cast<std::uint64_t>(n));
    }
  }
  return h;
}

}  // namespace detail

/// The same model with its weights from a cache: those of an image that an earlier start left there, or else
/// packed now and left there for the next. An image belongs to the files that it was made of, as they are
/// now, to a format and to a kind of processor; where one of them changes, it is made anew. A model that was
/// made in memory, and an image, stay as they are; so does one with layers of low rank, which no image holds.
/// \errors state when the cache cannot be written; otherwise as load_weights
template <weight_format::WeightStorage Format>
[[nodiscard]] checkpoint::Checkpoint with_cached_weights(const checkpoint::Checkpoint& model,
                                                         const weight_format::WeightCodec& codec,
                                                         const WeightCache& cache,
                                                         ThreadPool& threads) {
  if (cache.directory.empty() || model.config.packed || model.tensors.files().empty() ||
      checkpoint::has_low_rank(model.tensors)) {
    return model;
  }
  namespace fs = std::filesystem;
  const checkpoint::PackedWeights packed = packed_as(codec);
  char name[128];
  std::snprintf(name, sizeof name, "-%016llx",
                static_cast<unsigned long long>(detail::identity_of(model)));
  const fs::path path = fs::path(cache.directory) /
                        (packed.weight_format + "-" + packed.layout + name + ".safetensors");
  std::error_code failed;
  if (!fs::exists(path, failed)) {
    fs::create_directories(cache.directory, failed);
    if (failed) {
      throw state_error(cache.directory, "cannot make it (" + failed.message() + ")",
                        "a folder for weights that are packed already");
    }
    std::vector<checkpoint::TensorSet::Entry> parts;
    const auto weights = load_weights<Format>(model.config, model.tensors, threads, codec, &parts);
    // under a name of this process's own first: another may be starting with the same cache
    const fs::path own(path.string() + "." + std::to_string(::getpid()));
    checkpoint::write_image(own.string(), packed, parts);
    fs::rename(own, path, failed);
    if (failed) {
      const std::string why = failed.message();
      fs::remove(own, failed);
      throw state_error(path.string(), "cannot write it (" + why + ")");
    }
  }
  checkpoint::Checkpoint out = model;
  out.tensors = checkpoint::open_image(path.string(), cache.loader, out.config.packed);
  return out;
}

}  // namespace quire::model
