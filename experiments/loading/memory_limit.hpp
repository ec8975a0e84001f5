// mechanism: a group of processes that the system gives so much memory and no more
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace quire::experiment {

/// A control group with a limit of memory, its processes' part of the page cache among it; removed with this,
/// when its processes have ended. Empty where the system has none, or does not let us make one.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::int64_t bytes) {
    namespace fs = std::filesystem;
    struct Version {
      const char* root;
      const char* limit;
    };
    for (const Version v : {Version{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                            Version{"/sys/fs/cgroup", "memory.max"}}) {
      const fs::path group = fs::path(v.root) / ("quire_loading_" + std::to_string(::getpid()));
      std::error_code failed;
      if (!fs::create_directory(group, failed)) continue;
      folder_ = group.string();
      std::ofstream limit(group / v.limit);
      limit << bytes << std::flush;
      if (limit && fs::exists(group / "cgroup.procs", failed)) return;
      remove();
    }
  }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
  ~MemoryLimit() { remove(); }

  [[nodiscard]] bool empty() const { return folder_.empty(); }
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  void remove() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove(folder_, ignored);
    folder_.clear();
  }
  std::string folder_;
};

/// Puts this process into a group.
inline void enter_group(const std::string& folder) {
  std::ofstream(folder + "/cgroup.procs") << ::getpid() << std::flush;
}

}  // namespace quire::experiment
