# What Quire stands on. Each is looked for on the machine first; only what is missing is fetched, so
# a machine with the distribution's packages needs no network.
include(FetchContent)
find_package(Threads REQUIRED)

FetchContent_Declare(
  nlohmann_json
  URL https://github.com/nlohmann/json/archive/refs/tags/v3.11.2.tar.gz
  FIND_PACKAGE_ARGS 3.10)
FetchContent_Declare(
  Eigen3
  URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
  SOURCE_SUBDIR none # headers only: its own build adds thousands of targets
  FIND_PACKAGE_ARGS 3.4 NO_MODULE)
FetchContent_Declare(
  hwy
  URL https://github.com/google/highway/archive/refs/tags/1.0.3.tar.gz
  FIND_PACKAGE_ARGS NAMES HWY)
FetchContent_Declare(
  xxHash
  URL https://github.com/Cyan4973/xxHash/archive/refs/tags/v0.8.1.tar.gz
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

# An installed Quire names its dependencies; how this build found them stays in this build.
function(quire_link_dependencies target)
  foreach(dependency IN LISTS quire_dependency_targets)
    target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:${dependency}>
                                              $<INSTALL_INTERFACE:${dependency}>)
  endforeach()
endfunction()

# Test, benchmark and command-line libraries are needed by the project's own programs alone.
macro(quire_need_gtest)
  set(INSTALL_GTEST OFF CACHE INTERNAL "")
  FetchContent_Declare(
    googletest
    URL https://github.com/google/googletest/archive/refs/tags/release-1.12.1.tar.gz
    FIND_PACKAGE_ARGS 1.12 NAMES GTest)
  FetchContent_MakeAvailable(googletest)
endmacro()

macro(quire_need_benchmark)
  set(BENCHMARK_ENABLE_TESTING OFF CACHE INTERNAL "")
  set(BENCHMARK_ENABLE_INSTALL OFF CACHE INTERNAL "")
  FetchContent_Declare(
    benchmark
    URL https://github.com/google/benchmark/archive/refs/tags/v1.7.1.tar.gz
    FIND_PACKAGE_ARGS 1.7)
  FetchContent_MakeAvailable(benchmark)
endmacro()

macro(quire_need_cli11)
  FetchContent_Declare(
    CLI11
    URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.1.2.tar.gz
    FIND_PACKAGE_ARGS 2.1)
  FetchContent_MakeAvailable(CLI11)
endmacro()
