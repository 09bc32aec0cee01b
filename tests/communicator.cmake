# What ranks reduce together: between CPUs, and between devices, of which the simulator has as many as it is asked for.
if(GANNET_HAS_GLOO)
  add_executable(communicator_test communicator_test.cpp rank_processes.cpp)
  target_link_libraries(communicator_test PRIVATE gannet_train GTest::gtest_main)
  gtest_discover_tests(communicator_test DISCOVERY_TIMEOUT 60 PROPERTIES LABELS communicator TIMEOUT 300)
endif()

add_executable(cuda_communicator_test cuda_communicator_test.cpp rank_processes.cpp)
target_link_libraries(cuda_communicator_test PRIVATE gannet_train gannet_cuda GTest::gtest)
gannet_cuda_test(communicator SIMULATOR --devices 4 TIMEOUT 600)
