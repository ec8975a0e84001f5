# quire_study(<target> SLOT <slot> FILE <header> TYPE <type>)
#
# A program that studies one policy beside the house's own: TYPE is a policy of SLOT that FILE defines.
# The laboratory of eviction, retention or kv_format; of a slot that decides when and where requests
# run, the `quire` program over a preset with that slot moved. `experiments/study` calls it from the
# command line.
include_guard(GLOBAL)

# What stands beside a user's policy: the preset, and others for its slot.
set(quire_study_scheduler Vllm Sjf Srpt Vtc Mlfq ChunkedPrefill)
set(quire_study_reservation OrcaMax PowerOfTwo Oracle)
set(quire_study_offload Vllm Recompute SwapToHost CostBased)
set(quire_study_admission VllmPrefixCache ReuseThreshold TinyLfu)
set(quire_study_prefix_index VllmPrefixCache RadixTree TokenRadixTree)

function(quire_study_engines target slot file type)
  list(POP_FRONT quire_study_${slot} base)
  set(list "quire::presets::${base},\n                              Mine")
  foreach(policy IN LISTS quire_study_${slot})
    string(APPEND list ",\n                              quire::with<quire::presets::${base}, "
                       "quire::set_${slot}<quire::${slot}::${policy}>>")
  endforeach()
  list(LENGTH quire_study_${slot} count)
  math(EXPR count "${count} + 2")
  set(header "${CMAKE_CURRENT_BINARY_DIR}/${target}.hpp")
  file(
    CONFIGURE
    OUTPUT "${header}"
    CONTENT [[#pragma once
#include <quire/quire.hpp>

#include "@file@"

namespace quire_study {
using Mine = quire::with<quire::presets::@base@, quire::set_@slot@<@type@>>;
using Variants = quire::type_list<@list@>;
}  // namespace quire_study
]]
    @ONLY)
  quire_driver(
    ${target}
    HEADER "${header}"
    LIST quire_study::Variants
    COUNT ${count})
endfunction()

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
  elseif(DEFINED quire_study_${arg_SLOT})
    get_filename_component(file "${arg_FILE}" ABSOLUTE)
    quire_study_engines(${target} ${arg_SLOT} "${file}" "${arg_TYPE}")
    target_compile_options(${target} PRIVATE -Wfatal-errors)
    return()
  else()
    message(FATAL_ERROR "quire_study: SLOT \"${arg_SLOT}\" is none that can be studied")
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
  # What follows the sentence about the user's policy is about what was made of it.
  target_compile_options(${target} PRIVATE -Wfatal-errors)
  if(NOT arg_SLOT STREQUAL "eviction") # whose calls are timed
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
endfunction()
