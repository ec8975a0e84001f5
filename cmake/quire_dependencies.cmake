# What Quire stands on. Each is looked for on the machine first; only what is missing is fetched, so
# a machine with the distribution's packages needs no network.
include(FetchContent)
find_package(Threads REQUIRED)

FetchContent_Declare(
  nlohmann_json
  GIT_REPOSITORY https://github.com/nlohmann/json.git
  GIT_TAG bc889afb4c5bf1c0d8ee29ef35eaaf4c8bef8a5d # v3.11.2
  FIND_PACKAGE_ARGS 3.10)
FetchContent_Declare(
  Eigen3
  GIT_REPOSITORY https://gitlab.com/libeigen/eigen.git
  GIT_TAG 3147391d946bb4b6c68edd901f2add6ac1f31f8c # 3.4.0
  SOURCE_SUBDIR none # headers only: its own build adds thousands of targets
  FIND_PACKAGE_ARGS 3.4 NO_MODULE)
FetchContent_Declare(
  hwy
  GIT_REPOSITORY https://github.com/google/highway.git
  GIT_TAG 58746ca5b9f9444a2a3549704602ecc6239f8f41 # 1.0.3
  FIND_PACKAGE_ARGS NAMES HWY)
FetchContent_Declare(
  xxHash
  GIT_REPOSITORY https://github.com/Cyan4973/xxHash.git
  GIT_TAG 35b0373c697b5f160d3db26b1cbb45a0d5ba788c # v0.8.1
  SOURCE_SUBDIR none
  FIND_PACKAGE_ARGS 0.8)

set(JSON_BuildTests OFF CACHE INTERNAL "")
set(JSON_Install OFF CACHE INTERNAL "")
set(HWY_ENABLE_TESTS OFF CACHE INTERNAL "")
set(HWY_ENABLE_EXAMPLES OFF CACHE INTERNAL "")
set(HWY_ENABLE_CONTRIB OFF CACHE INTERNAL "")
set(HWY_ENABLE_INSTALL OFF CACHE INTERNAL "")
FetchContent_MakeAvailable(nlohmann_json Eigen3 hwy xxHash)

if(NOT TARGET Eigen3::Eigen)
  add_library(Eigen3::Eigen INTERFACE IMPORTED GLOBAL)
  target_include_directories(Eigen3::Eigen SYSTEM INTERFACE "${eigen3_SOURCE_DIR}")
endif()
if(NOT TARGET xxHash::headers)
  add_library(xxHash::headers INTERFACE IMPORTED GLOBAL)
  target_include_directories(xxHash::headers SYSTEM INTERFACE "${xxhash_SOURCE_DIR}")
endif()
if(NOT TARGET hwy::hwy)
  add_library(hwy::hwy ALIAS hwy)
endif()

set(quire_dependency_targets Threads::Threads nlohmann_json::nlohmann_json Eigen3::Eigen hwy::hwy
                             xxHash::headers)
# Optional, since a header alone decides: where liburing.h is found its library must be linked.
find_package(liburing QUIET MODULE)
if(liburing_FOUND)
  list(APPEND quire_dependency_targets liburing::liburing)
endif()

# Optional, and linked only by programs that ask for its products (model/onednn.hpp).
find_package(oneDNN QUIET MODULE)

# How this build found them stays in this build; the installed package looks for them itself.
function(quire_link_dependencies target)
  foreach(dependency IN LISTS quire_dependency_targets)
    target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:${dependency}>)
  endforeach()
endfunction()

# Test, benchmark and command-line libraries are needed by the project's own programs alone.
macro(quire_need_gtest)
  set(INSTALL_GTEST OFF CACHE INTERNAL "")
  FetchContent_Declare(
    googletest
    GIT_REPOSITORY https://github.com/google/googletest.git
    GIT_TAG 58d77fa8070e8cec2dc1ed015d66b454c8d78850 # 1.12.1
    FIND_PACKAGE_ARGS 1.12 NAMES GTest)
  FetchContent_MakeAvailable(googletest)
endmacro()

macro(quire_need_benchmark)
  set(BENCHMARK_ENABLE_TESTING OFF CACHE INTERNAL "")
  set(BENCHMARK_ENABLE_INSTALL OFF CACHE INTERNAL "")
  FetchContent_Declare(
    benchmark
    GIT_REPOSITORY https://github.com/google/benchmark.git
    GIT_TAG d572f4777349d43653b21d6c2fc63020ab326db2 # v1.7.1
    FIND_PACKAGE_ARGS 1.7)
  FetchContent_MakeAvailable(benchmark)
endmacro()

macro(quire_need_cli11)
  FetchContent_Declare(
    CLI11
    GIT_REPOSITORY https://github.com/CLIUtils/CLI11.git
    GIT_TAG 70f8072f9dd2292fd0b9f9e5f58e279f60483ed3 # v2.1.2
    FIND_PACKAGE_ARGS 2.1)
  FetchContent_MakeAvailable(CLI11)
endmacro()
