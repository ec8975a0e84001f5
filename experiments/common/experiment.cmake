# quire_experiment(NAME): builds main.cpp of the including folder into the program NAME.
# The commit that rows are stamped with is looked up in every build, not only when configuring.
include_guard(GLOBAL)
set(quire_experiment_common "${CMAKE_CURRENT_LIST_DIR}")

add_custom_target(
  quire_build_info
  COMMAND
    "${CMAKE_COMMAND}" "-DSOURCE=${PROJECT_SOURCE_DIR}"
    "-DOUT=${CMAKE_BINARY_DIR}/generated/quire_build_info.hpp" "-DVERSION=${PROJECT_VERSION}"
    "-DBUILD_TYPE=${CMAKE_BUILD_TYPE}" "-DCXX_FLAGS=-march=${QUIRE_ARCH}" -P
    "${quire_experiment_common}/build_info.cmake"
  BYPRODUCTS "${CMAKE_BINARY_DIR}/generated/quire_build_info.hpp"
  COMMENT "")

function(quire_experiment name)
  add_executable(${name} main.cpp "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/build_info.cpp")
  target_link_libraries(${name} PRIVATE quire_program)
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}"
                                             "${CMAKE_BINARY_DIR}/generated")
  add_dependencies(${name} quire_build_info)
endfunction()
