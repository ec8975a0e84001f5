# Writes OUT, a header that says which sources are being built; leaves it alone when nothing changed.
# SOURCE: where Quire lies. PROJECT: the sources of the whole build, another project's when Quire is
# used by one; BINARY: its build folder. With SHA_OUT in place of OUT the commit alone is written.
cmake_minimum_required(VERSION 3.24)
find_program(git git)

# The commit of the repository whose top is `folder`, or that holds it when `inside` is true, and
# whether `...` has changes or files that were never added. Empty where there is none.
function(commit_of folder inside sha_out dirty_out)
  set(${sha_out} "" PARENT_SCOPE)
  set(${dirty_out} false PARENT_SCOPE)
  get_filename_component(folder "${folder}" REALPATH)
  if(git)
    execute_process(
      COMMAND "${git}" -C "${folder}" rev-parse --show-toplevel
      OUTPUT_VARIABLE top
      RESULT_VARIABLE status
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    # A copy of the sources inside somebody else's repository has no commit of its own.
    if(NOT status EQUAL 0 OR NOT (inside OR top STREQUAL folder))
      return()
    endif()
    execute_process(
      COMMAND "${git}" -C "${folder}" rev-parse HEAD
      OUTPUT_VARIABLE sha
      RESULT_VARIABLE status
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(NOT status EQUAL 0)
      return()
    endif()
    execute_process(
      COMMAND "${git}" -C "${folder}" status --porcelain --untracked-files=all -- ${ARGN}
      OUTPUT_VARIABLE changes
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(changes)
      set(${dirty_out} true PARENT_SCOPE)
    endif()
  elseif(EXISTS "${folder}/.git/HEAD") # a machine without git may still hold a clone
    file(READ "${folder}/.git/HEAD" sha)
    string(STRIP "${sha}" sha)
    if(sha MATCHES "^ref: (.*)$")
      set(ref "${CMAKE_MATCH_1}")
      set(sha "")
      if(EXISTS "${folder}/.git/${ref}")
        file(READ "${folder}/.git/${ref}" sha)
        string(STRIP "${sha}" sha)
      endif()
    endif()
  endif()
  set(${sha_out} "${sha}" PARENT_SCOPE)
endfunction()

commit_of("${SOURCE}" FALSE sha dirty include kernels experiments)
if(NOT sha AND EXISTS "${SOURCE}/git_sha") # an installed copy
  file(READ "${SOURCE}/git_sha" sha)
  string(STRIP "${sha}" sha)
  if(sha MATCHES "^(.*) changed$")
    set(sha "${CMAKE_MATCH_1}")
    set(dirty true)
  endif()
endif()
if(NOT sha)
  set(sha "unknown")
endif()

if(SHA_OUT)
  if(dirty)
    string(APPEND sha " changed")
  endif()
  file(WRITE "${SHA_OUT}" "${sha}\n")
  return()
endif()

set(project_sha "")
set(project_dirty false)
get_filename_component(source "${SOURCE}" REALPATH)
get_filename_component(project "${PROJECT}" REALPATH)
if(PROJECT AND NOT source STREQUAL project)
  set(paths "*.hpp" "*.cpp" "*.h" "*.cuh" "*.cu" "*CMakeLists.txt" "*.cmake")
  get_filename_component(binary "${BINARY}" REALPATH)
  file(RELATIVE_PATH inside_project "${project}" "${binary}")
  if(inside_project AND NOT inside_project MATCHES "^\\.\\.")
    list(APPEND paths ":(exclude)${inside_project}")
  endif()
  commit_of("${project}" TRUE project_sha project_dirty ${paths})
endif()

file(
  CONFIGURE
  OUTPUT "${OUT}"
  CONTENT
    "#pragma once
namespace quire::experiment::build {
inline constexpr const char* git_sha = \"@sha@\";
inline constexpr bool git_dirty = @dirty@;
inline constexpr const char* project_sha = \"@project_sha@\";
inline constexpr bool project_dirty = @project_dirty@;
inline constexpr const char* version = \"@VERSION@\";
inline constexpr const char* build_type = \"@BUILD_TYPE@\";
inline constexpr const char* cxx_flags = \"@CXX_FLAGS@\";
}  // namespace quire::experiment::build
"
  @ONLY)
