#pragma once
// What can be put into a stream or recorded in a graph.
#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "machine/launch.h"
#include "runtime/interface.h"
#include "runtime/modules.h"
#include "runtime/process.h"

struct CUgraph_st;

namespace sim::runtime {

using Attributes = std::map<cudaLaunchAttributeID, cudaLaunchAttributeValue>;

struct KernelWork {
  Function* function = nullptr;
  dim3 grid, block;
  std::size_t dynamic_shared = 0;
  std::vector<std::byte> parameters;
  bool cooperative = false;
  Attributes attributes;
  const void* handle = nullptr;  // as the program gave it
  // What cudaGraphKernelNodeGetParams hands out.
  std::shared_ptr<std::vector<void*>> parameter_pointers;
};

struct Side {
  Address address = 0;
  std::size_t pitch = 0, slice = 0;  // bytes from row to row and from layer to layer
  int device = -1;                   // named by a peer copy
};

struct CopyWork {
  Side to, from;
  std::size_t width = 0, height = 1, depth = 1;  // bytes, rows, layers
  cudaMemcpyKind kind = cudaMemcpyDefault;
  std::shared_ptr<std::vector<std::byte>> staged;  // the source as it was when the call returned (pageable memory), rows packed
  cudaMemcpy3DParms parameters{};                  // for cudaGraphMemcpyNodeGetParams
};

struct MemsetWork {
  Address to = 0;
  std::size_t pitch = 0, slice = 0;
  unsigned value = 0, element = 1;               // bytes: 1, 2 or 4
  std::size_t width = 0, height = 1, depth = 1;  // elements, rows, layers
};

struct HostWork {
  cudaHostFn_t function = nullptr;
  void* data = nullptr;
};

struct CallbackWork {
  cudaStreamCallback_t function = nullptr;
  void* data = nullptr;
  cudaStream_t handle = nullptr;
};

struct EventWork {
  cudaEvent_t event = nullptr;
  bool record = false;  // else wait
};

/// Memory of an allocation node: its address is the same in every launch, so it lives as long as a graph that has the node.
struct GraphMemory {
  Address address;
  std::size_t bytes;
  GraphMemory(Address address, std::size_t bytes);
  GraphMemory(const GraphMemory&) = delete;
  GraphMemory& operator=(const GraphMemory&) = delete;
  ~GraphMemory();
};
bool is_graph_memory(Address address);

struct AllocateWork {
  std::shared_ptr<GraphMemory> memory;  // null: of cudaMallocAsync, whose memory is there when the call returns
  cudaMemAllocNodeParams parameters{};
};

struct FreeWork {
  Address address = 0;
  bool of_graph = false;
};

struct ChildWork {
  std::shared_ptr<CUgraph_st> graph;
};

struct EmptyWork {};

using Work = std::variant<EmptyWork, KernelWork, CopyWork, MemsetWork, HostWork, CallbackWork, EventWork, AllocateWork,
                          FreeWork, ChildWork, Collective>;

std::string name_of(const Work& work);

/// The operation that does it once (not of an event or child graph). `device`: the stream's or node's.
OperationPtr operation_of(Work work, int device);

/// Into the stream, or a node of the graph that it captures. The operation is given back when there is one.
cudaError_t enqueue(Lock& lock, CUstream_st& stream, Work work, OperationPtr* operation = nullptr);

// Checks that a call makes at once.
cudaError_t check_launch(KernelWork& work, int device);
cudaError_t check_copy(CopyWork& copy, std::string_view call);
cudaError_t check_memset(const MemsetWork& work, std::string_view call);

/// A kernel launch with the program's arguments, checked.
cudaError_t make_kernel_work(KernelWork& work, const void* handle, dim3 grid, dim3 block, void* const* arguments,
                             std::size_t shared, int device);

/// Does the host reach this memory without CUDA, and may it be paged (so that copies of it are not asynchronous)?
bool is_pageable(Address address);
cudaMemcpyKind kind_of(Address to, Address from);

}  // namespace sim::runtime
