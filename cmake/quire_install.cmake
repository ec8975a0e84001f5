# Install rules: headers, and a package that find_package(quire) takes.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(quire_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/quire")
install(
  TARGETS quire
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
        DESTINATION "${quire_package_dir}")
