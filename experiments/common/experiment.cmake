# quire_experiment(NAME): builds main.cpp of the including folder into the program NAME.
include_guard(GLOBAL)
include("${CMAKE_CURRENT_LIST_DIR}/../../cmake/quire_build_info.cmake")
quire_need_build_info()

# What all experiments do alike, compiled once.
add_library(quire_experiment_common STATIC EXCLUDE_FROM_ALL)
foreach(source IN ITEMS build_info checkpoints driver options workloads)
  target_sources(quire_experiment_common PRIVATE "${CMAKE_CURRENT_LIST_DIR}/${source}.cpp")
endforeach()
target_link_libraries(quire_experiment_common PUBLIC quire_program)
target_include_directories(quire_experiment_common PUBLIC "${PROJECT_SOURCE_DIR}"
                                                          "${CMAKE_BINARY_DIR}/generated")
add_dependencies(quire_experiment_common quire_build_info)
set_target_properties(quire_experiment_common PROPERTIES UNITY_BUILD ON)

# -O1: a main.cpp is tens of engines, each compiled in two thirds of the time of -O2, and what they
# simulate runs within a tenth as fast. What computes for real is compiled apart.
function(quire_experiment name)
  add_executable(${name} main.cpp)
  target_link_libraries(${name} PRIVATE quire_experiment_common)
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# The CPU executor of experiments/quire/cpu_steps.hpp, compiled once at -O2, for experiments that
# include it.
function(quire_link_cpu_steps target)
  quire_driver_libraries()
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:quire_driver_cpu_steps>)
endfunction()
