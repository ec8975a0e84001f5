# quire_need_build_info(): the target quire_build_info, which writes generated/quire_build_info.hpp.
# The commit that rows are stamped with is looked up in every build, not only when configuring.
include_guard(GLOBAL)

# Where the sources of the programs lie: the repository, or what the package installed.
function(quire_program_sources out)
  set(folder "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/driver")
  if(NOT EXISTS "${folder}/experiments/quire/main.cpp")
    get_filename_component(folder "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/.." ABSOLUTE)
  endif()
  set(${out} "${folder}" PARENT_SCOPE)
endfunction()

function(quire_need_build_info)
  if(TARGET quire_build_info)
    return()
  endif()
  quire_program_sources(source)
  get_property(version GLOBAL PROPERTY QUIRE_VERSION)
  set(flags "${CMAKE_CXX_FLAGS}")
  if(TARGET quire_program AND QUIRE_ARCH)
    string(APPEND flags " -march=${QUIRE_ARCH}")
  endif()
  string(STRIP "${flags}" flags)
  add_custom_target(
    quire_build_info
    COMMAND
      "${CMAKE_COMMAND}" "-DSOURCE=${source}" "-DPROJECT=${CMAKE_SOURCE_DIR}"
      "-DBINARY=${CMAKE_BINARY_DIR}" "-DOUT=${CMAKE_BINARY_DIR}/generated/quire_build_info.hpp"
      "-DVERSION=${version}" "-DBUILD_TYPE=${CMAKE_BUILD_TYPE}" "-DCXX_FLAGS=${flags}" -P
      "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/build_info.cmake"
    BYPRODUCTS "${CMAKE_BINARY_DIR}/generated/quire_build_info.hpp"
    COMMENT "")
endfunction()
