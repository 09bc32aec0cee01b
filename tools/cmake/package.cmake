# What `cmake --install` puts in place: command, headers, libraries, and the package that find_package(gannet) reads.
include(CMakePackageConfigHelpers)

add_library(gannet_engine INTERFACE)
target_link_libraries(gannet_engine INTERFACE gannet_train)

set(GANNET_PACKAGE ${CMAKE_INSTALL_LIBDIR}/cmake/gannet)
set(GANNET_HEADERS ${CMAKE_INSTALL_INCLUDEDIR}/gannet)
target_include_directories(gannet_options INTERFACE $<INSTALL_INTERFACE:${GANNET_HEADERS}>)

foreach(PART options kernels cpu graph data train engine models)
  set_target_properties(gannet_${PART} PROPERTIES EXPORT_NAME ${PART})
  install(TARGETS gannet_${PART} EXPORT gannet ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endforeach()
if(TARGET gannet)
  install(TARGETS gannet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY kernels engine models DESTINATION ${GANNET_HEADERS} FILES_MATCHING PATTERN "*.h")
install(EXPORT gannet NAMESPACE gannet:: FILE gannetTargets.cmake DESTINATION ${GANNET_PACKAGE})

configure_package_config_file(tools/cmake/gannetConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/gannetConfig.cmake
  INSTALL_DESTINATION ${GANNET_PACKAGE} PATH_VARS GANNET_PRIVATE_LIBRARIES)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/gannetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gannetConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/gannetConfigVersion.cmake
  DESTINATION ${GANNET_PACKAGE})
