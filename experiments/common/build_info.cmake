# Writes OUT, a header that says which sources are being built; leaves it alone when nothing changed.
set(sha "unknown")
set(dirty "false")
find_program(git git)
if(git)
  execute_process(
    COMMAND "${git}" -C "${SOURCE}" rev-parse HEAD
    OUTPUT_VARIABLE sha
    RESULT_VARIABLE status
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT status EQUAL 0)
    set(sha "unknown")
  endif()
  execute_process(
    COMMAND "${git}" -C "${SOURCE}" status --porcelain --untracked-files=no -- include experiments
    OUTPUT_VARIABLE changes
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(changes)
    set(dirty "true")
  endif()
elseif(EXISTS "${SOURCE}/.git/HEAD") # a machine without git may still hold a clone
  file(READ "${SOURCE}/.git/HEAD" sha)
  string(STRIP "${sha}" sha)
  if(sha MATCHES "^ref: (.*)$")
    set(ref "${CMAKE_MATCH_1}")
    set(sha "unknown")
    if(EXISTS "${SOURCE}/.git/${ref}")
      file(READ "${SOURCE}/.git/${ref}" sha)
      string(STRIP "${sha}" sha)
    endif()
  endif()
endif()

file(
  CONFIGURE
  OUTPUT "${OUT}"
  CONTENT
    "#pragma once
namespace quire::experiment::build {
inline constexpr const char* git_sha = \"@sha@\";
inline constexpr bool git_dirty = @dirty@;
inline constexpr const char* version = \"@VERSION@\";
inline constexpr const char* build_type = \"@BUILD_TYPE@\";
inline constexpr const char* cxx_flags = \"@CXX_FLAGS@\";
}  // namespace quire::experiment::build
"
  @ONLY)
