# The ranks of a job as processes. group_test starts itself again as a rank.
add_library(gannet_processes STATIC processes.cpp)
target_link_libraries(gannet_processes PUBLIC gannet_options)
add_executable(group_test group_test.cpp)
target_link_libraries(group_test PRIVATE gannet_train gannet_processes GTest::gtest GTest::gmock)
gtest_discover_tests(group_test DISCOVERY_TIMEOUT 60 PROPERTIES LABELS group TIMEOUT 300)
# launch_test starts itself as the launcher, and that it as ranks.
add_executable(launch_test launch_test.cpp ${PROJECT_SOURCE_DIR}/tools/gannet/launch.cpp)
target_link_libraries(launch_test PRIVATE gannet_train gannet_processes GTest::gtest GTest::gmock)
gtest_discover_tests(launch_test DISCOVERY_TIMEOUT 60 PROPERTIES LABELS launch TIMEOUT 300)
gannet_test(world gannet_train gannet_processes GTest::gmock)
# Two hosts, and the launchers of others: each skipped where it can not be had.
add_test(NAME hosts COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_SOURCE_DIR}/hosts_test.py $<TARGET_FILE:group_test>)
foreach(launcher torchrun mpirun srun)
  add_test(NAME launchers.${launcher} COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_SOURCE_DIR}/launchers_test.py ${launcher}
    $<TARGET_FILE:group_test>)
endforeach()
set_tests_properties(hosts launchers.torchrun launchers.mpirun launchers.srun PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
