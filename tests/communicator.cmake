# What ranks reduce together: between CPUs, and between devices, of which the simulator has as many as it is asked for.
if(GANNET_HAS_GLOO)
  add_executable(communicator_test communicator_test.cpp rank_processes.cpp)
  target_link_libraries(communicator_test PRIVATE gannet_train GTest::gtest_main)
  gtest_discover_tests(communicator_test DISCOVERY_TIMEOUT 60 PROPERTIES LABELS communicator TIMEOUT 300)
endif()

add_executable(cuda_communicator_test cuda_communicator_test.cpp rank_processes.cpp)
target_link_libraries(cuda_communicator_test PRIVATE gannet_train gannet_cuda GTest::gtest)
add_test(NAME cuda.communicator.device COMMAND cuda_communicator_test)
foreach(schedule fair adversarial)
  if(GANNET_HAS_CUDA AND TARGET gannet-sim)
    add_test(NAME cuda.communicator.${schedule} COMMAND gannet-sim --devices 4 --check all --schedule ${schedule} --seed 7
      $<TARGET_FILE:cuda_communicator_test>)
  else()
    add_test(NAME cuda.communicator.${schedule} COMMAND cuda_communicator_test)
  endif()
endforeach()
set_tests_properties(cuda.communicator.device cuda.communicator.fair cuda.communicator.adversarial PROPERTIES
  SKIP_RETURN_CODE 77 LABELS cuda TIMEOUT 600)
