# quire_driver(<target> HEADER <header> LIST <type> COUNT <n>
#              [CPU_HEADER <header> CPU_LIST <type> CPU_COUNT <n>]
#              [CUDA_HEADER <header> CUDA_LIST <type> CUDA_COUNT <n> [CUDA_EXECUTOR <type>]])
#
# The `quire` program over a list of configurations of one's own, in simulated time. With CPU_LIST also
# on this machine's processor (`--executor cpu`, `quire generate`), which compiles kernels for each
# pair of KV and weight formats in that list that are plain arrays. Formats of the house beside those are
# chosen when an engine is made (quire/executor/any_cpu.hpp).
# With CUDA_LIST also on a device (`--executor cuda`), by an executor that CUDA_HEADER defines or includes: an
# executor::SizedToDevice<...>, quire::experiment::CudaExecutor unless CUDA_EXECUTOR names another. nvcc compiles it in
# a project that has the language CUDA; in others the host's compiler does, for the emulator, on which it computes the
# same in far more time.
# COUNT is checked against the list by the compiler. Everything but the tables of variants is compiled
# once, whatever the number of programs.
include_guard(GLOBAL)
include("${CMAKE_CURRENT_LIST_DIR}/quire_build_info.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/quire_variants.cmake")

# A library of objects out of experiments/quire that every driver shares.
function(quire_driver_library target)
  quire_program_sources(root)
  list(TRANSFORM ARGN PREPEND "${root}/experiments/quire/")
  add_library(${target} OBJECT ${ARGN})
  target_link_libraries(${target} PUBLIC CLI11::CLI11)
  if(TARGET quire_program)
    target_link_libraries(${target} PUBLIC quire_program)
  else() # another project's build
    target_link_libraries(${target} PUBLIC quire::quire)
    target_compile_options(${target} PRIVATE -ffp-contract=off) # as the rows of Quire's own program
  endif()
  target_include_directories(${target} PUBLIC "${root}" "${CMAKE_BINARY_DIR}/generated")
  add_dependencies(${target} quire_build_info)
endfunction()

function(quire_driver_libraries)
  if(TARGET quire_driver_objects)
    return()
  endif()
  if(NOT TARGET CLI11::CLI11)
    if(COMMAND quire_need_cli11)
      quire_need_cli11()
    else()
      find_package(CLI11 2.1 REQUIRED)
    endif()
  endif()
  quire_need_build_info()
  quire_program_sources(root)
  file(
    GLOB names CONFIGURE_DEPENDS
    RELATIVE "${root}/experiments"
    "${root}/experiments/*/main.cpp")
  list(TRANSFORM names REPLACE "/main.cpp$" "")
  list(REMOVE_ITEM names quire)
  list(JOIN names "," names)

  file(
    GLOB commands CONFIGURE_DEPENDS
    RELATIVE "${root}/experiments/quire"
    "${root}/experiments/quire/*.cpp")
  list(REMOVE_ITEM commands cpu_executor.cpp cpu_steps.cpp generate.cpp without_cpu.cpp
       cuda_executor.cpp without_cuda.cpp)
  # What the laboratory of formats has as well: calibration, by which `quire convert` rounds with GPTQ and
  # AWQ, and the KV formats.
  foreach(name calibrated kv_formats)
    if(TARGET quire_${name})
      continue()
    endif()
    add_library(quire_${name} STATIC EXCLUDE_FROM_ALL "${root}/experiments/quality/${name}.cpp")
    if(TARGET quire_program)
      target_link_libraries(quire_${name} PUBLIC quire_program)
    else()
      target_link_libraries(quire_${name} PUBLIC quire::quire)
      target_compile_options(quire_${name} PRIVATE -ffp-contract=off)
    endif()
    target_include_directories(quire_${name} PUBLIC "${root}")
  endforeach()
  quire_driver_library(quire_driver_objects ${commands} ../common/build_info.cpp)
  target_compile_definitions(quire_driver_objects PRIVATE QUIRE_EXPERIMENT_NAMES="${names}")
  # The commands parse the same headers, which costs more than what is in them: compiled as one.
  if(TARGET quire_program)
    target_compile_options(quire_driver_objects PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
  list(TRANSFORM commands PREPEND "${root}/experiments/quire/")
  set_source_files_properties(${commands} PROPERTIES UNITY_GROUP commands)
  set_target_properties(quire_driver_objects PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  quire_driver_library(quire_driver_without_cpu without_cpu.cpp)
  quire_driver_library(quire_driver_without_cuda without_cuda.cpp)
  quire_driver_library(quire_driver_cpu_objects cpu_executor.cpp generate.cpp)
  set_target_properties(quire_driver_cpu_objects PROPERTIES UNITY_BUILD ON)
  if(TARGET quire_program) # what computes is in cpu_steps.cpp
    target_compile_options(quire_driver_cpu_objects PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
  quire_driver_library(quire_driver_cpu_steps cpu_steps.cpp)
  set_target_properties(
    quire_driver_objects quire_driver_without_cpu quire_driver_without_cuda quire_driver_cpu_objects
    quire_driver_cpu_steps
    PROPERTIES EXCLUDE_FROM_ALL ON) # built where a driver asks for it
endfunction()

# The objects of a driver's CUDA variants, for nvcc where the project has it.
function(quire_driver_cuda target header list count executor)
  if(NOT executor)
    set(executor quire::experiment::CudaExecutor)
  endif()
  quire_program_sources(root)
  add_library(${target} OBJECT EXCLUDE_FROM_ALL "${root}/experiments/quire/cuda_executor.cpp")
  quire_add_variants(
    ${target}
    HEADER "${header}"
    LIST "${list}"
    COUNT "${count}"
    EXECUTOR "${executor}"
    PER_UNIT 4
    FUNCTION cuda_variants)
  target_include_directories(${target} PRIVATE "${root}" "${CMAKE_BINARY_DIR}/generated")
  target_link_libraries(${target} PUBLIC quire::kernels)
  if(CMAKE_CUDA_COMPILER)
    find_package(CUDAToolkit REQUIRED)
    get_target_property(sources ${target} SOURCES)
    set_source_files_properties(${sources} PROPERTIES LANGUAGE CUDA)
    target_link_libraries(${target} PUBLIC CUDA::cudart_static CUDA::cublasLt)
    # CMake 3.25 does not know how nvcc is told its standard.
    target_compile_options(${target} PRIVATE -std=c++20 --expt-relaxed-constexpr -diag-suppress=20011,20014
                                             -Xcompiler=-ffp-contract=off)
  elseif(TARGET quire_program)
    target_link_libraries(${target} PUBLIC quire_program)
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  else()
    target_compile_options(${target} PRIVATE -ffp-contract=off)
  endif()
  add_dependencies(${target} quire_build_info)
endfunction()

function(quire_driver target)
  cmake_parse_arguments(
    arg "" "HEADER;LIST;COUNT;CPU_HEADER;CPU_LIST;CPU_COUNT;CUDA_HEADER;CUDA_LIST;CUDA_COUNT;CUDA_EXECUTOR" ""
    ${ARGN})
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "quire_driver: unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  # A list of which a part is missing would be left out, and the program say that nobody gave one.
  foreach(list IN ITEMS "" CPU_ CUDA_)
    if(list AND NOT arg_${list}HEADER AND NOT arg_${list}LIST AND NOT arg_${list}COUNT
       AND NOT arg_${list}EXECUTOR)
      continue()
    endif()
    foreach(part IN ITEMS HEADER LIST COUNT)
      if(NOT arg_${list}${part})
        message(FATAL_ERROR "quire_driver(${target}): ${list}${part} is missing; "
                            "expected ${list}HEADER, ${list}LIST and ${list}COUNT")
      endif()
    endforeach()
    if(NOT arg_${list}COUNT MATCHES "^[1-9][0-9]*$")
      message(FATAL_ERROR "quire_driver(${target}): ${list}COUNT ${arg_${list}COUNT} is no number; "
                          "expected how many variants ${arg_${list}LIST} has")
    endif()
  endforeach()
  quire_driver_libraries()
  set(cpu quire_driver_without_cpu)
  if(arg_CPU_LIST)
    set(cpu quire_driver_cpu_objects quire_driver_cpu_steps)
  endif()
  list(TRANSFORM cpu REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>")
  set(cuda $<TARGET_OBJECTS:quire_driver_without_cuda>)
  if(arg_CUDA_LIST)
    quire_driver_cuda(${target}_cuda "${arg_CUDA_HEADER}" "${arg_CUDA_LIST}" "${arg_CUDA_COUNT}"
                      "${arg_CUDA_EXECUTOR}")
    set(cuda $<TARGET_OBJECTS:${target}_cuda>)
  endif()
  # The processor's code first: of a function that both parts have the linker takes the first.
  add_executable(${target} $<TARGET_OBJECTS:quire_driver_objects> ${cpu} ${cuda})
  if(TARGET quire_program)
    target_link_libraries(${target} PRIVATE quire_program)
    # The table of variants, in two thirds of the time of -O2; it simulates within a tenth as fast.
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  else()
    target_link_libraries(${target} PRIVATE quire::quire)
    target_compile_options(${target} PRIVATE -ffp-contract=off)
  endif()
  target_link_libraries(${target} PRIVATE quire_calibrated)
  if(arg_CPU_LIST)
    target_link_libraries(${target} PRIVATE quire_kv_formats)
  endif()
  if(arg_CUDA_LIST AND CMAKE_CUDA_COMPILER)
    target_link_libraries(${target} PRIVATE CUDA::cudart_static CUDA::cublasLt)
  endif()
  quire_program_sources(root)
  target_include_directories(${target} PRIVATE "${root}")
  quire_add_variants(${target} HEADER "${arg_HEADER}" LIST "${arg_LIST}" COUNT "${arg_COUNT}")
  if(arg_CPU_LIST)
    quire_add_variants(
      ${target}
      HEADER "${arg_CPU_HEADER}"
      LIST "${arg_CPU_LIST}"
      COUNT "${arg_CPU_COUNT}"
      EXECUTOR quire::executor::AnyCpu
      EXECUTOR_HEADER quire/executor/any_cpu.hpp
      PER_UNIT 6
      FUNCTION cpu_variants)
  endif()
endfunction()
