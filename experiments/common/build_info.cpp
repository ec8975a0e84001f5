// A file of its own, so that a new commit recompiles this and not the experiments.
#include <experiments/common/build_info.hpp>

#include <quire_build_info.hpp>

namespace quire::experiment {

metrics::BuildInfo build_info() {
  return {.git_sha = build::git_sha,
          .git_dirty = build::git_dirty,
          .project_sha = build::project_sha,
          .project_dirty = build::project_dirty,
          .version = build::version,
          .cxx_flags = build::cxx_flags,
          .build_type = build::build_type};
}

}  // namespace quire::experiment
