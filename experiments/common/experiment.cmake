# quire_experiment(NAME): builds main.cpp of the including folder into the program NAME.
include_guard(GLOBAL)
include("${CMAKE_CURRENT_LIST_DIR}/../../cmake/quire_build_info.cmake")
quire_need_build_info()

function(quire_experiment name)
  add_executable(${name} main.cpp "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/build_info.cpp")
  target_link_libraries(${name} PRIVATE quire_program)
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}"
                                             "${CMAKE_BINARY_DIR}/generated")
  add_dependencies(${name} quire_build_info)
endfunction()
