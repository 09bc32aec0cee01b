#pragma once
#include <driver_types.h>

#include <map>
#include <string_view>

#include "machine/memory.h"
#include "runtime/process.h"

/// Memory pools count; each allocation is one of its own all the same, so that use after free is seen.
struct CUmemPoolHandle_st {
  int device = 0;
  bool is_default = false;
  cudaMemPoolProps properties{};
  std::map<cudaMemPoolAttr, std::uint64_t> attributes;
  std::map<int, cudaMemAccessFlags> access;
  std::uint64_t used = 0, used_high = 0, reserved = 0, reserved_high = 0;
};

namespace sim::runtime {

CUmemPoolHandle_st& default_pool(int device);
CUmemPoolHandle_st& current_pool(int device);
bool is_pool(cudaMemPool_t pool);
cudaMemPool_t new_pool(int device, const cudaMemPoolProps& properties);
void forget_pool(cudaMemPool_t pool);

/// Memory from a pool; 0 when there is none left.
Address pool_allocate(CUmemPoolHandle_st& pool, std::size_t bytes);
/// cudaFreeAsync is called: false, with a finding, when the address can not be freed.
bool pool_begin_free(Address address, std::string_view call);
/// … and its operation runs.
void pool_free(Address address);
/// cudaFree of memory of a pool.
void pool_forget(Address address);

}  // namespace sim::runtime
