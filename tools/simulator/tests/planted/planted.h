// Programs with one bug each, and the same programs without it: planted_test.py runs both under every check.
#pragma once
#include <cuda_runtime.h>

#include <cstdio>
#include <vector>

namespace planted {

struct Case {
  const char* name;
  const char* fault;  // what the simulator calls it
  void (*run)(bool fixed);
};

std::vector<Case> memory_cases();
std::vector<Case> initialization_cases();
std::vector<Case> shared_race_cases();
std::vector<Case> global_race_cases();
std::vector<Case> synchronization_cases();
std::vector<Case> api_cases();

template <class T>
T* device_array(std::size_t count, bool zeroed = true) {
  T* memory = nullptr;
  cudaMalloc(&memory, count * sizeof(T));
  if (zeroed) cudaMemset(memory, 0, count * sizeof(T));
  return memory;
}

}  // namespace planted
