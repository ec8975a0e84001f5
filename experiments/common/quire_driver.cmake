# quire_driver(<target> HEADER <header> LIST <type> COUNT <n>): the `quire` program over a list of
# configurations of one's own. Everything but the table of variants is compiled once.
include_guard(GLOBAL)
include("${CMAKE_CURRENT_LIST_DIR}/experiment.cmake")
include(quire_variants)
quire_need_cli11()

file(
  GLOB experiment_mains CONFIGURE_DEPENDS
  RELATIVE "${PROJECT_SOURCE_DIR}/experiments"
  "${PROJECT_SOURCE_DIR}/experiments/*/main.cpp")
list(TRANSFORM experiment_mains REPLACE "/main.cpp$" "")
list(REMOVE_ITEM experiment_mains quire)
list(JOIN experiment_mains "," quire_experiment_names)

file(GLOB driver_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/experiments/quire/*.cpp")
add_library(quire_driver_objects OBJECT ${driver_sources}
                                         "${CMAKE_CURRENT_LIST_DIR}/build_info.cpp")
target_link_libraries(quire_driver_objects PUBLIC quire_program CLI11::CLI11)
target_include_directories(quire_driver_objects PUBLIC "${PROJECT_SOURCE_DIR}"
                                                       "${CMAKE_BINARY_DIR}/generated")
target_compile_definitions(quire_driver_objects
                           PRIVATE QUIRE_EXPERIMENT_NAMES="${quire_experiment_names}")
add_dependencies(quire_driver_objects quire_build_info)
# The commands parse the same headers, which costs more than what is in them: compiled as one.
set(driver_commands ${driver_sources})
list(FILTER driver_commands EXCLUDE REGEX "(executors|generate).cpp$")
set_source_files_properties(${driver_commands} PROPERTIES UNITY_GROUP commands)
set_target_properties(quire_driver_objects PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
quire_add_variants(
  quire_driver_objects
  HEADER experiments/quire/cpu_variants.hpp
  LIST quire::experiment::CpuVariants
  COUNT 6
  EXECUTOR quire::executor::Cpu
  PER_UNIT 6
  FUNCTION cpu_variants)

function(quire_driver target)
  cmake_parse_arguments(arg "" "HEADER;LIST;COUNT" "" ${ARGN})
  add_executable(${target} $<TARGET_OBJECTS:quire_driver_objects>)
  target_link_libraries(${target} PRIVATE quire_program)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}")
  quire_add_variants(${target} HEADER "${arg_HEADER}" LIST "${arg_LIST}" COUNT "${arg_COUNT}")
endfunction()
