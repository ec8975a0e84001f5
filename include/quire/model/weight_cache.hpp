// mechanism: a folder of images of weights, from one start to the next
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include <quire/checkpoint/load.hpp>
#include <quire/checkpoint/low_rank.hpp>
#include <quire/core/error.hpp>
#include <quire/core/hash.hpp>
#include <quire/core/thread_pool.hpp>
#include <quire/core/units.hpp>
#include <quire/model/packed_layout.hpp>
#include <quire/model/weights.hpp>

namespace quire::model {

/// A folder of images, one for each checkpoint and format that was started with it. Starts that share it take
/// turns while weights are packed. What a start that was killed leaves there, the next one removes.
struct WeightCache {
  std::string directory{};  // made when it is not there; empty: no cache
  /// Of images that are there.
  checkpoint::FileLoader loader = checkpoint::mapped_files();
  /// What the images may have together; those whose last use is longest ago are dropped. 0: no limit.
  Bytes capacity = std::int64_t{64} << 30;
  /// Is told, in one line, of each image that is dropped.
  std::function<void(const std::string& line)> tell{};
};

namespace detail {

namespace fs = std::filesystem;

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

/// Holds a folder: of processes that do so, one goes on at a time. The system lets go of it when a process
/// ends, however it ends. Not held where the file system has no such locks.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder)
      : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (descriptor_ < 0) return;
    int got = -1;
    do {
      got = ::flock(descriptor_, LOCK_EX);
    } while (got != 0 && errno == EINTR);
    held_ = got == 0;
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] bool held() const { return held_; }

 private:
  int descriptor_ = -1;
  bool held_ = false;
};

/// The images of a folder. Whatever else lies there is left alone.
class CachedImages {
 public:
  explicit CachedImages(const WeightCache& cache) : cache_(cache) {}

  /// Removes what starts that did not end well have left. \pre the folder is held: nobody is writing
  void remove_unfinished() const {
    for (const fs::path& path : files()) {
      std::string name = path.filename().string();
      if (path.extension() != ".part") continue;
      const std::size_t end = name.rfind(suffix);  // IMAGE.PROCESS.part
      if (end == std::string::npos) continue;
      name.resize(end + suffix.size());
      std::error_code ignored;
      if (is_name(name)) fs::remove(path, ignored);
    }
  }
  /// Drops images, the last use longest ago first, until so many bytes more have room. \pre the folder is held
  /// kept: an image that stays, whatever its use
  void make_room(std::uint64_t bytes, const fs::path& kept) const {
    if (cache_.capacity <= Bytes{0}) return;
    const auto capacity = static_cast<std::uint64_t>(cache_.capacity.value);
    std::vector<Image> images;
    for (const fs::path& path : files()) {
      struct stat s {};
      if (!is_name(path.filename().string()) || ::stat(path.c_str(), &s) != 0) continue;
      bytes += static_cast<std::uint64_t>(s.st_size);
      if (path == kept || !is_image(path)) continue;
      images.push_back(
          {s.st_atim.tv_sec, s.st_atim.tv_nsec, static_cast<std::uint64_t>(s.st_size), path});
    }
    std::sort(images.begin(), images.end(), [](const Image& a, const Image& b) {
      return std::tie(a.seconds, a.nanoseconds, a.path) <
             std::tie(b.seconds, b.nanoseconds, b.path);
    });
    for (const Image& image : images) {
      if (bytes <= capacity) return;
      std::error_code failed;
      if (!fs::remove(image.path, failed)) continue;  // one who may not write here drops nothing
      bytes -= image.bytes;
      if (!cache_.tell) continue;
      cache_.tell("weight cache " + cache_.directory + ": dropped " +
                  image.path.filename().string() + ", " + std::to_string(image.bytes >> 20) +
                  " MiB, whose last use is longest ago; it holds at most " +
                  std::to_string(capacity >> 20) + " MiB");
    }
  }
  /// Says that an image is used now, also where the system does not keep the times of reads.
  static void use(const fs::path& path) {
    const timespec times[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    (void)::utimensat(AT_FDCWD, path.c_str(), times, 0);  // of another user's: as it is
  }
  /// FORMAT-LAYOUT-IDENTITY.safetensors
  [[nodiscard]] static std::string name_of(const checkpoint::PackedWeights& packed,
                                           std::uint64_t identity) {
    char digits[24];
    std::snprintf(digits, sizeof digits, "-%016llx", static_cast<unsigned long long>(identity));
    return packed.weight_format + "-" + packed.layout + digits + std::string(suffix);
  }

 private:
  static constexpr std::string_view suffix = ".safetensors";
  struct Image {
    std::int64_t seconds = 0, nanoseconds = 0;  // of its last use
    std::uint64_t bytes = 0;
    fs::path path;
  };

  [[nodiscard]] std::vector<fs::path> files() const {
    std::vector<fs::path> out;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(cache_.directory, failed)) {
      if (entry.is_regular_file(failed)) out.push_back(entry.path());
    }
    return out;
  }
  [[nodiscard]] static bool is_name(std::string_view name) {
    constexpr std::size_t digits = 16;
    if (!name.ends_with(suffix) || name.size() < suffix.size() + digits + 2) return false;
    name.remove_suffix(suffix.size());
    return name[name.size() - digits - 1] == '-' &&
           name.substr(name.size() - digits).find_first_not_of("0123456789abcdef") ==
               std::string_view::npos;
  }
  /// A file may have such a name by chance: what it begins with is an image's alone.
  [[nodiscard]] static bool is_image(const fs::path& path) {
    std::string begin(64, '\0');
    std::ifstream(path, std::ios::binary).read(begin.data(), std::ssize(begin));
    return begin.find("{\"__metadata__\":{\"format\":\"quire_image\"") == 8;
  }

  const WeightCache& cache_;
};

}  // namespace detail

/// The same model with its weights from a cache: those of an image that an earlier start left there, or else
/// packed now and left there for the next. An image belongs to the files that it was made of, as they are
/// now, to a format and to a kind of processor; where one of them changes, it is made anew. A model that was
/// made in memory, and an image, stay as they are; so does one with layers of low rank, which no image holds.
/// \errors usage for an image that is larger than the whole cache may be; state when the cache cannot be
/// written; otherwise as load_weights
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
  const fs::path path =
      fs::path(cache.directory) / detail::CachedImages::name_of(packed, detail::identity_of(model));
  std::error_code failed;
  fs::create_directories(cache.directory, failed);
  if (failed) {
    throw state_error(cache.directory, "cannot make it (" + failed.message() + ")",
                      "a folder for weights that are packed already");
  }
  const detail::FolderLock lock(cache.directory);
  const detail::CachedImages images(cache);
  if (lock.held()) images.remove_unfinished();
  std::uint64_t more = 0;
  if (!fs::exists(path, failed)) {
    std::vector<checkpoint::TensorSet::Entry> parts;
    const auto weights = load_weights<Format>(model.config, model.tensors, threads, codec, &parts);
    for (const auto& part : parts) more += part.bytes.size();
    if (cache.capacity > Bytes{0} && more > static_cast<std::uint64_t>(cache.capacity.value)) {
      throw usage_error(
          "weight cache " + cache.directory,
          "the image of " + model.directory + " has " + std::to_string(more >> 20) +
              " MiB, more than all images may have",
          "a larger cache than " + std::to_string(cache.capacity.value >> 20) + " MiB, or none");
    }
    if (lock.held()) images.make_room(more, path);
    // under a name of this process's own first: not every file system has locks
    const fs::path own(path.string() + "." + std::to_string(::getpid()));
    checkpoint::write_image(own.string(), packed, parts);
    fs::rename(own, path, failed);
    if (failed) {
      const std::string why = failed.message();
      fs::remove(own, failed);
      throw state_error(path.string(), "cannot write it (" + why + ")");
    }
  } else if (lock.held()) {
    images.make_room(0, path);
  }
  detail::CachedImages::use(path);
  checkpoint::Checkpoint out = model;
  out.tensors = checkpoint::open_image(path.string(), cache.loader, out.config.packed);
  return out;
}

}  // namespace quire::model
