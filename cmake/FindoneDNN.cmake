# Finds oneDNN and the OpenMP runtime that it shares its threads' number with. Optional: programs that
# offer its products (model/onednn.hpp) link it. Debian's own package file for it ends a configuration
# where OpenCL is not installed, so that it is not asked.
# Defines oneDNN_FOUND and the target oneDNN::oneDNN.
find_path(oneDNN_INCLUDE_DIR oneapi/dnnl/dnnl.h)
find_library(oneDNN_LIBRARY dnnl)
find_package(OpenMP QUIET COMPONENTS CXX)
mark_as_advanced(oneDNN_INCLUDE_DIR oneDNN_LIBRARY)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  oneDNN REQUIRED_VARS oneDNN_LIBRARY oneDNN_INCLUDE_DIR OpenMP_CXX_LIBRARIES)
if(oneDNN_FOUND AND NOT TARGET oneDNN::oneDNN)
  add_library(oneDNN::oneDNN INTERFACE IMPORTED)
  set_target_properties(
    oneDNN::oneDNN PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${oneDNN_INCLUDE_DIR}"
                              INTERFACE_LINK_LIBRARIES "${oneDNN_LIBRARY};${OpenMP_CXX_LIBRARIES}")
endif()
