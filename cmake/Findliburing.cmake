# Finds liburing, with which a disk tier has many transfers under way at once. Optional: without its
# header Quire uses pread and pwrite, and no library is linked.
# Defines liburing_FOUND and the target liburing::liburing.
find_path(liburing_INCLUDE_DIR liburing.h)
find_library(liburing_LIBRARY uring)
mark_as_advanced(liburing_INCLUDE_DIR liburing_LIBRARY)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(liburing REQUIRED_VARS liburing_LIBRARY liburing_INCLUDE_DIR)
if(liburing_FOUND AND NOT TARGET liburing::liburing)
  add_library(liburing::liburing INTERFACE IMPORTED)
  set_target_properties(
    liburing::liburing PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${liburing_INCLUDE_DIR}"
                                  INTERFACE_LINK_LIBRARIES "${liburing_LIBRARY}")
endif()
