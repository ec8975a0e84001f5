# How the project builds its own programs: the targets quire_program (tools, experiments,
# benchmarks) and quire_test_program (tests, assertions on). Neither reaches a consumer.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)
string(REPLACE "-O3" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

add_library(quire_program INTERFACE)
target_link_libraries(quire_program INTERFACE quire::quire)
target_compile_options(
  quire_program
  INTERFACE -Wall -Wextra -Wpedantic -Wconversion
            # One rounding per operation, on every compiler and machine; code that wants a fused
            # multiply-add asks for it.
            -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 takes the undefined lanes in its own AVX-512 headers for a mistake. Its collector begins
  # at 400 MB in place of 128, which saves a tenth of the time.
  target_compile_options(quire_program INTERFACE -Wno-maybe-uninitialized
                                                 --param=ggc-min-heapsize=400000)
endif()
if(QUIRE_ARCH)
  target_compile_options(quire_program INTERFACE -march=${QUIRE_ARCH})
endif()
if(QUIRE_SANITIZE)
  define_property(
    TARGET
    PROPERTY QUIRE_SANITIZED
    BRIEF_DOCS "OFF: compiled plainly even so")
  define_property(
    TARGET
    PROPERTY QUIRE_UNCHECKED
    BRIEF_DOCS "Checks of the sanitizers that a target does without")
  set(sanitized "$<NOT:$<STREQUAL:$<TARGET_PROPERTY:QUIRE_SANITIZED>,OFF>>")
  target_compile_options(
    quire_program INTERFACE "$<${sanitized}:-fsanitize=${QUIRE_SANITIZE};-fno-sanitize-recover=all>"
                            "$<$<BOOL:$<TARGET_PROPERTY:QUIRE_UNCHECKED>>:-fno-sanitize=$<JOIN:$<TARGET_PROPERTY:QUIRE_UNCHECKED>,,>>"
                            -g1 -O1)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND QUIRE_SANITIZE MATCHES address)
    # Long functions call the check of an address in place of holding it: an eighth of the compile
    # time, for a sixth of a test's.
    target_compile_options(quire_program INTERFACE --param=asan-instrumentation-with-call-threshold=50)
  endif()
  target_link_options(quire_program INTERFACE -fsanitize=${QUIRE_SANITIZE})
endif()

add_library(quire_test_program INTERFACE)
target_link_libraries(quire_test_program INTERFACE quire_program)
# Tests are compiled more often than they run: -O1 takes two thirds of the time of -O2, and -Og, for
# targets whose property QUIRE_COMPUTES is OFF, half.
define_property(
  TARGET
  PROPERTY QUIRE_COMPUTES
  BRIEF_DOCS "Whether a test's run time is arithmetic")
target_compile_options(
  quire_test_program
  INTERFACE "$<IF:$<STREQUAL:$<TARGET_PROPERTY:QUIRE_COMPUTES>,OFF>,-Og,-O1>" -UNDEBUG)
target_compile_definitions(quire_test_program
                           INTERFACE QUIRE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
