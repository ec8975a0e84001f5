# quire_add_variants(<target> HEADER <header> LIST <type> COUNT <n>
#                    [EXECUTOR <type> [EXECUTOR_HEADER <header>]] [PER_UNIT <n>] [FUNCTION <name>])
#
# Compiles every configuration of a quire::type_list into generated translation units, about 24 a unit
# (measured optimum of g++ 12), and gives <target> the function
#   std::vector<quire::Variant<EXECUTOR>> FUNCTION();          (default name: all_variants)
# declared in the generated header <FUNCTION>.hpp. The table is explicit: nothing registers itself.
# HEADER includes the header of EXECUTOR, unless that is the default, quire::executor::Simulated, or
# EXECUTOR_HEADER names it.
# COUNT is checked against the list by the compiler, whose error prints the right one; above QUIRE_MAX_VARIANTS configuration stops.
include_guard(GLOBAL)
set(QUIRE_MAX_VARIANTS 200 CACHE STRING "Most variants one registry may compile")

function(quire_add_variants target)
  cmake_parse_arguments(arg "" "HEADER;LIST;COUNT;EXECUTOR;EXECUTOR_HEADER;PER_UNIT;FUNCTION" "" ${ARGN})
  if(NOT arg_HEADER OR NOT arg_LIST OR NOT arg_COUNT)
    message(FATAL_ERROR "quire_add_variants: HEADER, LIST and COUNT are required")
  endif()
  # Another executor's header comes with HEADER; including them all here would make every unit parse
  # what it does not use.
  set(executor_include "")
  if(NOT arg_EXECUTOR)
    set(arg_EXECUTOR quire::executor::Simulated)
    set(arg_EXECUTOR_HEADER quire/executor/simulated.hpp)
  endif()
  if(arg_EXECUTOR_HEADER)
    set(executor_include "#include <${arg_EXECUTOR_HEADER}>\n")
  endif()
  if(NOT arg_PER_UNIT)
    set(arg_PER_UNIT 24)
  endif()
  if(NOT arg_FUNCTION)
    set(arg_FUNCTION all_variants)
  endif()
  if(arg_COUNT GREATER QUIRE_MAX_VARIANTS)
    message(FATAL_ERROR "${target}: ${arg_COUNT} variants, more than QUIRE_MAX_VARIANTS = "
                        "${QUIRE_MAX_VARIANTS}; narrow the axes or raise the cap")
  endif()
  # Units of about the same size: a small last one would parse all headers for a few.
  math(EXPR units "(${arg_COUNT} + ${arg_PER_UNIT} / 2) / ${arg_PER_UNIT}")
  if(units LESS 1)
    set(units 1)
  endif()
  math(EXPR arg_PER_UNIT "(${arg_COUNT} + ${units} - 1) / ${units}")
  message(STATUS "quire: ${target}: ${arg_COUNT} variants in ${units} translation units")
  set_property(GLOBAL APPEND_STRING PROPERTY QUIRE_VARIANT_COUNTS "${target} ${arg_COUNT}\n")

  set(dir "${CMAKE_CURRENT_BINARY_DIR}/${target}_variants")
  set(entry "std::vector<quire::Variant<${arg_EXECUTOR}>>")
  file(CONFIGURE OUTPUT "${dir}/${arg_FUNCTION}.hpp" CONTENT
"#pragma once
#include <${arg_HEADER}>
#include <quire/engine/registry.hpp>
${executor_include}#include <vector>
/// All variants of ${arg_LIST}, in its order.
${entry} ${arg_FUNCTION}();
")
  set(declarations "")
  set(calls "")
  math(EXPR last "${units} - 1")
  foreach(unit RANGE ${last})
    string(APPEND declarations "void ${arg_FUNCTION}_${unit}(${entry}&);\n")
    string(APPEND calls "  ${arg_FUNCTION}_${unit}(variants);\n")
  endforeach()
  set(table "${declarations}${entry} ${arg_FUNCTION}() {
  ${entry} variants;
${calls}  return variants;
}
")
  foreach(unit RANGE ${last})
    math(EXPR first "${unit} * ${arg_PER_UNIT}")
    file(CONFIGURE OUTPUT "${dir}/${arg_FUNCTION}_${unit}.cpp" CONTENT
"#include \"${arg_FUNCTION}.hpp\"
static_assert(quire::VariantCount<${arg_LIST}::size, ${arg_COUNT}>::value);
${table}void ${arg_FUNCTION}_${unit}(${entry}& out) {
  quire::append_variants<${arg_EXECUTOR}, ${arg_LIST}, ${first}, ${arg_PER_UNIT}>(out);
}
")
    set(table "") # in the first unit alone
    target_sources(${target} PRIVATE "${dir}/${arg_FUNCTION}_${unit}.cpp")
  endforeach()
  target_include_directories(${target} PRIVATE "${dir}" "${CMAKE_CURRENT_SOURCE_DIR}")
endfunction()
