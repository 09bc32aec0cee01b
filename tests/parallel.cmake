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
