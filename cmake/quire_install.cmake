# Install rules: headers, and a package that find_package(quire) takes.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(quire_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/quire")
install(
  TARGETS quire quire_kernels
  EXPORT quire_targets
  FILE_SET HEADERS)
install(
  EXPORT quire_targets
  NAMESPACE quire::
  FILE quireTargets.cmake
  DESTINATION "${quire_package_dir}")
string(REPLACE ";" " " quire_dependency_targets "${quire_dependency_targets}")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/quireConfig.cmake.in" "${PROJECT_BINARY_DIR}/quireConfig.cmake"
  INSTALL_DESTINATION "${quire_package_dir}")
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/quireConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/quireConfig.cmake"
              "${PROJECT_BINARY_DIR}/quireConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/FindxxHash.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/Findliburing.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/build_info.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/quire_build_info.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/quire_driver.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/quire_variants.cmake"
        DESTINATION "${quire_package_dir}")
# What quire_driver() compiles in another project, and which commit it is.
install(
  DIRECTORY "${PROJECT_SOURCE_DIR}/experiments/common" "${PROJECT_SOURCE_DIR}/experiments/quire"
  DESTINATION "${quire_package_dir}/driver/experiments"
  FILES_MATCHING
  PATTERN "*.hpp"
  PATTERN "*.cpp")
install(FILES "${PROJECT_SOURCE_DIR}/experiments/quality/calibrated.cpp"
              "${PROJECT_SOURCE_DIR}/experiments/quality/calibrated.hpp"
              "${PROJECT_SOURCE_DIR}/experiments/quality/axes.hpp"
              "${PROJECT_SOURCE_DIR}/experiments/quality/format.hpp"
              "${PROJECT_SOURCE_DIR}/experiments/quality/kv_formats.cpp"
              "${PROJECT_SOURCE_DIR}/experiments/quality/kv_formats.hpp"
              "${PROJECT_SOURCE_DIR}/experiments/quality/calibration_texts.hpp"
        DESTINATION "${quire_package_dir}/driver/experiments/quality")
install(FILES "${PROJECT_SOURCE_DIR}/experiments/retention/texts.hpp"
        DESTINATION "${quire_package_dir}/driver/experiments/retention")
install(
  CODE "execute_process(
  COMMAND \"\${CMAKE_COMMAND}\" \"-DSOURCE=${PROJECT_SOURCE_DIR}\"
          \"-DSHA_OUT=\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${quire_package_dir}/driver/git_sha\"
          -P \"${PROJECT_SOURCE_DIR}/cmake/build_info.cmake\")")
