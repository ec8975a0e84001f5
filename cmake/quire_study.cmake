# quire_study(<target> SLOT <slot> FILE <header> TYPE <type>)
#
# A program that studies one policy beside the house's own: SLOT is eviction, retention or kv_format,
# TYPE a policy of that slot that FILE defines. `experiments/study` calls it from the command line.
include_guard(GLOBAL)

function(quire_study target)
  cmake_parse_arguments(arg "" "SLOT;FILE;TYPE" "" ${ARGN})
  set(call "study(argc, argv, policy<${arg_TYPE}>())")
  if(arg_SLOT STREQUAL "eviction")
    set(header "experiments/eviction_under_pressure/policy.hpp")
    set(lab eviction_lab)
  elseif(arg_SLOT STREQUAL "retention")
    set(header "experiments/retention/policy.hpp")
    set(lab retention_lab)
  elseif(arg_SLOT STREQUAL "kv_format")
    set(header "experiments/quality/format.hpp")
    set(lab quality)
    set(call "run(argc, argv, {format<${arg_TYPE}>()})")
  else()
    message(FATAL_ERROR "quire_study: SLOT \"${arg_SLOT}\": expected eviction, retention or kv_format")
  endif()
  get_filename_component(file "${arg_FILE}" ABSOLUTE)
  set(source "${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp")
  file(
    CONFIGURE
    OUTPUT "${source}"
    CONTENT [[#include <@header@>

#include "@file@"

int main(int argc, char** argv) {
  using namespace quire::@lab@;
  return @call@;
}
]]
    @ONLY)
  add_executable(${target} "${source}")
  target_link_libraries(${target} PRIVATE quire_${lab})
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O2>)
endfunction()
