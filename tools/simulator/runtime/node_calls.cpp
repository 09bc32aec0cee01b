// Nodes of graphs: making them, their parameters, and those of their instantiated copies.
#include <cuda_runtime_api.h>

#include <cstring>

#include "runtime/copies.h"
#include "runtime/graph.h"
#include "runtime/graph_memory.h"
#include "runtime/memory_pool.h"
#include "runtime/symbols.h"

using namespace sim;
using namespace sim::runtime;

// From the program's descriptions to work, checked.

static cudaError_t kernel_work(const cudaKernelNodeParams& p, Work& work, int device) {
  KernelWork kernel;
  if (p.extra != nullptr) throw Error("kernel nodes with `extra` parameters are not simulated");
  const cudaError_t error = make_kernel_work(kernel, p.func, p.gridDim, p.blockDim, p.kernelParams, p.sharedMemBytes, device);
  work = std::move(kernel);
  return error;
}

static cudaError_t copy_work(CopyWork copy, Work& work) {
  const cudaError_t error = check_copy(copy, "memcpy node");
  work = std::move(copy);
  return error;
}

static cudaError_t copy_work(const cudaMemcpy3DParms& p, Work& work) {
  CopyWork copy;
  if (const cudaError_t error = copy_of(p, copy); error != cudaSuccess) return error;
  return copy_work(std::move(copy), work);
}

static cudaError_t symbol_work(const void* symbol, void* other, size_t bytes, size_t offset, cudaMemcpyKind kind,
                               bool to_symbol, Work& work) {
  SymbolPlace place;
  if (const cudaError_t error = find_symbol(symbol, this_thread().device, place); error != cudaSuccess) return error;
  if (offset > place.bytes || bytes > place.bytes - offset) return cudaErrorInvalidValue;
  void* at = reinterpret_cast<void*>(place.address + offset);
  return copy_work(to_symbol ? linear_copy(at, other, bytes, kind) : linear_copy(other, at, bytes, kind), work);
}

static cudaError_t memset_work(const cudaMemsetParams& p, Work& work) {
  MemsetWork memset;
  memset.to = reinterpret_cast<Address>(p.dst);
  memset.pitch = p.pitch;
  memset.slice = p.pitch * p.height;
  memset.value = p.value;
  memset.element = p.elementSize;
  memset.width = p.width;
  memset.height = p.height;
  work = memset;
  return check_memset(memset, "memset node");
}

static cudaError_t host_work(const cudaHostNodeParams& p, Work& work) {
  work = HostWork{p.fn, p.userData};
  return p.fn != nullptr ? cudaSuccess : cudaErrorInvalidValue;
}

static cudaError_t event_work(cudaEvent_t event, bool record, Work& work) {
  work = EventWork{event, record};
  return Process::instance().events.count(event) != 0 ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

static cudaError_t child_work(cudaGraph_t graph, Work& work) {
  if (!is_graph(graph)) return cudaErrorInvalidValue;
  work = ChildWork{clone(*graph)};
  return cudaSuccess;
}

static cudaError_t allocate_work(cudaMemAllocNodeParams& p, Work& work) {
  if (p.poolProps.allocType != cudaMemAllocationTypePinned || p.poolProps.location.type != cudaMemLocationTypeDevice ||
      p.bytesize == 0)
    return cudaErrorInvalidValue;
  const int device = p.poolProps.location.id;
  if (device < 0 || device >= options().devices) return cudaErrorInvalidDevice;
  const Allocation* a = Memory::instance().allocate(MemoryKind::device, device, p.bytesize);
  if (a == nullptr) return cudaErrorMemoryAllocation;
  p.dptr = reinterpret_cast<void*>(a->base);
  AllocateWork allocate;
  allocate.memory = std::make_shared<GraphMemory>(a->base, p.bytesize);
  allocate.parameters = p;
  work = std::move(allocate);
  return cudaSuccess;
}

static cudaError_t free_work(void* pointer, Work& work) {
  const auto address = reinterpret_cast<Address>(pointer);
  work = FreeWork{address, true};
  return is_graph_memory(address) ? cudaSuccess : cudaErrorInvalidValue;
}

static cudaError_t any_work(cudaGraphNodeParams& p, Work& work, int device) {
  switch (p.type) {
    case cudaGraphNodeTypeKernel: {
      const cudaKernelNodeParamsV2& k = p.kernel;
      return kernel_work({k.func, k.gridDim, k.blockDim, k.sharedMemBytes, k.kernelParams, k.extra}, work, device);
    }
    case cudaGraphNodeTypeMemcpy:
      return copy_work(p.memcpy.copyParams, work);
    case cudaGraphNodeTypeMemset:
      return memset_work({p.memset.dst, p.memset.pitch, p.memset.value, p.memset.elementSize, p.memset.width, p.memset.height},
                         work);
    case cudaGraphNodeTypeHost:
      return host_work({p.host.fn, p.host.userData}, work);
    case cudaGraphNodeTypeGraph:
      return child_work(p.graph.graph, work);
    case cudaGraphNodeTypeEmpty:
      return work = EmptyWork{}, cudaSuccess;
    case cudaGraphNodeTypeWaitEvent:
      return event_work(p.eventWait.event, false, work);
    case cudaGraphNodeTypeEventRecord:
      return event_work(p.eventRecord.event, true, work);
    case cudaGraphNodeTypeMemAlloc: {
      cudaMemAllocNodeParams a{p.alloc.poolProps, p.alloc.accessDescs, p.alloc.accessDescCount, p.alloc.bytesize, nullptr};
      const cudaError_t error = allocate_work(a, work);
      p.alloc.dptr = a.dptr;
      return error;
    }
    case cudaGraphNodeTypeMemFree:
      return free_work(p.free.dptr, work);
    case cudaGraphNodeTypeConditional:
      throw Error("conditional graph nodes are not simulated");
    default:
      throw Error("graph nodes of type {} are not simulated", static_cast<int>(p.type));
  }
}

/// Adds a node whose work `make` gives.
template <class Make>
static cudaError_t add(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies, size_t count,
                       Make&& make) {
  return call([&](Process&, Lock&) {
    if (!is_graph(graph) || node == nullptr) return cudaErrorInvalidValue;
    Work work;
    const int device = this_thread().device;
    if (const cudaError_t error = make(work, device); error != cudaSuccess) return error;
    return add_node(node, *graph, dependencies, count, std::move(work), device);
  });
}

template <class Make>
static cudaError_t change(cudaGraphNode_t node, Make&& make) {
  return call([&](Process&, Lock&) {
    if (!is_node(node)) return cudaErrorInvalidValue;
    Work work;
    if (const cudaError_t error = make(work, node->device); error != cudaSuccess) return error;
    return set_work(*node, std::move(work));
  });
}

/// Changes the instantiated copy of a node.
template <class Make>
static cudaError_t change(cudaGraphExec_t executable, cudaGraphNode_t node, Make&& make) {
  return call([&](Process&, Lock&) {
    if (Graphs::instance().executables.count(executable) == 0 || node == nullptr) return cudaErrorInvalidValue;
    CUgraphNode_st* copy = find_in_executable(*executable, *node);
    if (copy == nullptr) return cudaErrorInvalidValue;
    Work work;
    if (const cudaError_t error = make(work, copy->device); error != cudaSuccess) return error;
    return set_work(*copy, std::move(work));
  });
}

/// Reads the work of a node of one kind.
template <class Kind, class Read>
static cudaError_t read(cudaGraphNode_t node, const void* out, Read&& read) {
  return call([&](Process&, Lock&) {
    if (!is_node(node) || out == nullptr) return cudaErrorInvalidValue;
    auto* work = std::get_if<Kind>(&node->work);
    return work == nullptr ? cudaErrorInvalidValue : (read(*work), cudaSuccess);
  });
}

static bool is_event(cudaGraphNode_t node, bool record) {
  const auto* event = is_node(node) ? std::get_if<EventWork>(&node->work) : nullptr;
  return event != nullptr && event->record == record;
}

extern "C" {

cudaError_t cudaGraphAddNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                             const cudaGraphEdgeData*, size_t count, cudaGraphNodeParams* p) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int device) { return p == nullptr ? cudaErrorInvalidValue : any_work(*p, work, device); });
}

cudaError_t cudaGraphNodeSetParams(cudaGraphNode_t node, cudaGraphNodeParams* p) {
  return change(node,
                [&](Work& work, int device) { return p == nullptr ? cudaErrorInvalidValue : any_work(*p, work, device); });
}

cudaError_t cudaGraphExecNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node, cudaGraphNodeParams* p) {
  return change(executable, node,
                [&](Work& work, int device) { return p == nullptr ? cudaErrorInvalidValue : any_work(*p, work, device); });
}

cudaError_t cudaGraphAddEmptyNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies, size_t count) {
  return add(node, graph, dependencies, count, [](Work&, int) { return cudaSuccess; });
}

// Kernels.

cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies, size_t count,
                                   const cudaKernelNodeParams* p) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int device) { return p == nullptr ? cudaErrorInvalidValue : kernel_work(*p, work, device); });
}

cudaError_t cudaGraphKernelNodeGetParams(cudaGraphNode_t node, cudaKernelNodeParams* p) {
  return read<KernelWork>(node, p, [&](KernelWork& w) {
    // The pointers are the node's and last as long as its parameters.
    const Kernel& kernel = kernel_on(*w.function, node->device);
    w.parameter_pointers = std::make_shared<std::vector<void*>>();
    for (const auto& [offset, bytes] : kernel.parameters) w.parameter_pointers->push_back(w.parameters.data() + offset);
    *p = {const_cast<void*>(w.handle),  w.grid, w.block, static_cast<unsigned>(w.dynamic_shared),
          w.parameter_pointers->data(), nullptr};
  });
}

cudaError_t cudaGraphKernelNodeSetParams(cudaGraphNode_t node, const cudaKernelNodeParams* p) {
  return change(node,
                [&](Work& work, int device) { return p == nullptr ? cudaErrorInvalidValue : kernel_work(*p, work, device); });
}

cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node, const cudaKernelNodeParams* p) {
  return change(executable, node,
                [&](Work& work, int device) { return p == nullptr ? cudaErrorInvalidValue : kernel_work(*p, work, device); });
}

cudaError_t cudaGraphKernelNodeCopyAttributes(cudaGraphNode_t to, cudaGraphNode_t from) {
  return read<KernelWork>(from, to, [&](KernelWork& w) {
    if (auto* k = is_node(to) ? std::get_if<KernelWork>(&to->work) : nullptr) k->attributes = w.attributes;
  });
}

cudaError_t cudaGraphKernelNodeGetAttribute(cudaGraphNode_t node, cudaLaunchAttributeID id, cudaLaunchAttributeValue* value) {
  return read<KernelWork>(node, value, [&](KernelWork& w) {
    const auto found = w.attributes.find(id);
    *value = found == w.attributes.end() ? cudaLaunchAttributeValue{} : found->second;
  });
}

cudaError_t cudaGraphKernelNodeSetAttribute(cudaGraphNode_t node, cudaLaunchAttributeID id,
                                            const cudaLaunchAttributeValue* value) {
  return call([&](Process&, Lock&) {
    auto* w = is_node(node) ? std::get_if<KernelWork>(&node->work) : nullptr;
    if (w == nullptr || value == nullptr) return cudaErrorInvalidValue;
    KernelWork changed = *w;
    changed.attributes[id] = *value;
    const cudaError_t error = check_launch(changed, node->device);
    if (error == cudaSuccess) *w = std::move(changed);
    return error;
  });
}

// Copies.

cudaError_t cudaGraphAddMemcpyNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies, size_t count,
                                   const cudaMemcpy3DParms* p) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : copy_work(*p, work); });
}

cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                     size_t count, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int) { return copy_work(linear_copy(to, from, bytes, kind), work); });
}

cudaError_t cudaGraphAddMemcpyNodeToSymbol(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                           size_t count, const void* symbol, const void* from, size_t bytes, size_t offset,
                                           cudaMemcpyKind kind) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int) { return symbol_work(symbol, const_cast<void*>(from), bytes, offset, kind, true, work); });
}

cudaError_t cudaGraphAddMemcpyNodeFromSymbol(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                             size_t count, void* to, const void* symbol, size_t bytes, size_t offset,
                                             cudaMemcpyKind kind) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int) { return symbol_work(symbol, to, bytes, offset, kind, false, work); });
}

cudaError_t cudaGraphMemcpyNodeGetParams(cudaGraphNode_t node, cudaMemcpy3DParms* p) {
  return read<CopyWork>(node, p, [&](CopyWork& w) { *p = w.parameters; });
}

cudaError_t cudaGraphMemcpyNodeSetParams(cudaGraphNode_t node, const cudaMemcpy3DParms* p) {
  return change(node, [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : copy_work(*p, work); });
}

cudaError_t cudaGraphMemcpyNodeSetParams1D(cudaGraphNode_t node, void* to, const void* from, size_t bytes,
                                           cudaMemcpyKind kind) {
  return change(node, [&](Work& work, int) { return copy_work(linear_copy(to, from, bytes, kind), work); });
}

cudaError_t cudaGraphMemcpyNodeSetParamsToSymbol(cudaGraphNode_t node, const void* symbol, const void* from, size_t bytes,
                                                 size_t offset, cudaMemcpyKind kind) {
  return change(node,
                [&](Work& work, int) { return symbol_work(symbol, const_cast<void*>(from), bytes, offset, kind, true, work); });
}

cudaError_t cudaGraphMemcpyNodeSetParamsFromSymbol(cudaGraphNode_t node, void* to, const void* symbol, size_t bytes,
                                                   size_t offset, cudaMemcpyKind kind) {
  return change(node, [&](Work& work, int) { return symbol_work(symbol, to, bytes, offset, kind, false, work); });
}

cudaError_t cudaGraphExecMemcpyNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node, const cudaMemcpy3DParms* p) {
  return change(executable, node, [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : copy_work(*p, work); });
}

cudaError_t cudaGraphExecMemcpyNodeSetParams1D(cudaGraphExec_t executable, cudaGraphNode_t node, void* to, const void* from,
                                               size_t bytes, cudaMemcpyKind kind) {
  return change(executable, node, [&](Work& work, int) { return copy_work(linear_copy(to, from, bytes, kind), work); });
}

cudaError_t cudaGraphExecMemcpyNodeSetParamsToSymbol(cudaGraphExec_t executable, cudaGraphNode_t node, const void* symbol,
                                                     const void* from, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  return change(executable, node,
                [&](Work& work, int) { return symbol_work(symbol, const_cast<void*>(from), bytes, offset, kind, true, work); });
}

cudaError_t cudaGraphExecMemcpyNodeSetParamsFromSymbol(cudaGraphExec_t executable, cudaGraphNode_t node, void* to,
                                                       const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  return change(executable, node, [&](Work& work, int) { return symbol_work(symbol, to, bytes, offset, kind, false, work); });
}

// Memsets.

cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies, size_t count,
                                   const cudaMemsetParams* p) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : memset_work(*p, work); });
}

cudaError_t cudaGraphMemsetNodeGetParams(cudaGraphNode_t node, cudaMemsetParams* p) {
  return read<MemsetWork>(
      node, p, [&](MemsetWork& w) { *p = {reinterpret_cast<void*>(w.to), w.pitch, w.value, w.element, w.width, w.height}; });
}

cudaError_t cudaGraphMemsetNodeSetParams(cudaGraphNode_t node, const cudaMemsetParams* p) {
  return change(node, [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : memset_work(*p, work); });
}

cudaError_t cudaGraphExecMemsetNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node, const cudaMemsetParams* p) {
  return change(executable, node,
                [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : memset_work(*p, work); });
}

// Host functions.

cudaError_t cudaGraphAddHostNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies, size_t count,
                                 const cudaHostNodeParams* p) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : host_work(*p, work); });
}

cudaError_t cudaGraphHostNodeGetParams(cudaGraphNode_t node, cudaHostNodeParams* p) {
  return read<HostWork>(node, p, [&](HostWork& w) { *p = {w.function, w.data}; });
}

cudaError_t cudaGraphHostNodeSetParams(cudaGraphNode_t node, const cudaHostNodeParams* p) {
  return change(node, [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : host_work(*p, work); });
}

cudaError_t cudaGraphExecHostNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node, const cudaHostNodeParams* p) {
  return change(executable, node, [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : host_work(*p, work); });
}

// Child graphs.

cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                       size_t count, cudaGraph_t child) {
  return add(node, graph, dependencies, count, [&](Work& work, int) { return child_work(child, work); });
}

cudaError_t cudaGraphChildGraphNodeGetGraph(cudaGraphNode_t node, cudaGraph_t* graph) {
  return read<ChildWork>(node, graph, [&](ChildWork& w) { *graph = w.graph.get(); });
}

cudaError_t cudaGraphExecChildGraphNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node, cudaGraph_t child) {
  return call([&](Process&, Lock&) {
    if (Graphs::instance().executables.count(executable) == 0 || node == nullptr || !is_graph(child))
      return cudaErrorInvalidValue;
    CUgraphNode_st* copy = find_in_executable(*executable, *node);
    auto* w = copy == nullptr ? nullptr : std::get_if<ChildWork>(&copy->work);
    if (w == nullptr) return cudaErrorInvalidValue;
    CUgraphExec_st inner;
    inner.graph = w->graph;
    cudaGraphExecUpdateResultInfo info{};
    return update(inner, *child, info);
  });
}

// Events.

cudaError_t cudaGraphAddEventRecordNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                        size_t count, cudaEvent_t event) {
  return add(node, graph, dependencies, count, [&](Work& work, int) { return event_work(event, true, work); });
}

cudaError_t cudaGraphAddEventWaitNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                      size_t count, cudaEvent_t event) {
  return add(node, graph, dependencies, count, [&](Work& work, int) { return event_work(event, false, work); });
}

cudaError_t cudaGraphEventRecordNodeGetEvent(cudaGraphNode_t node, cudaEvent_t* event) {
  if (!is_event(node, true)) return cudaErrorInvalidValue;
  return read<EventWork>(node, event, [&](EventWork& w) { *event = w.event; });
}

cudaError_t cudaGraphEventWaitNodeGetEvent(cudaGraphNode_t node, cudaEvent_t* event) {
  if (!is_event(node, false)) return cudaErrorInvalidValue;
  return read<EventWork>(node, event, [&](EventWork& w) { *event = w.event; });
}

cudaError_t cudaGraphEventRecordNodeSetEvent(cudaGraphNode_t node, cudaEvent_t event) {
  return is_event(node, true) ? change(node, [&](Work& work, int) { return event_work(event, true, work); })
                              : cudaErrorInvalidValue;
}

cudaError_t cudaGraphEventWaitNodeSetEvent(cudaGraphNode_t node, cudaEvent_t event) {
  return is_event(node, false) ? change(node, [&](Work& work, int) { return event_work(event, false, work); })
                               : cudaErrorInvalidValue;
}

cudaError_t cudaGraphExecEventRecordNodeSetEvent(cudaGraphExec_t executable, cudaGraphNode_t node, cudaEvent_t event) {
  return change(executable, node, [&](Work& work, int) { return event_work(event, true, work); });
}

cudaError_t cudaGraphExecEventWaitNodeSetEvent(cudaGraphExec_t executable, cudaGraphNode_t node, cudaEvent_t event) {
  return change(executable, node, [&](Work& work, int) { return event_work(event, false, work); });
}

// Memory.

cudaError_t cudaGraphAddMemAllocNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                     size_t count, cudaMemAllocNodeParams* p) {
  return add(node, graph, dependencies, count,
             [&](Work& work, int) { return p == nullptr ? cudaErrorInvalidValue : allocate_work(*p, work); });
}

cudaError_t cudaGraphMemAllocNodeGetParams(cudaGraphNode_t node, cudaMemAllocNodeParams* p) {
  return read<AllocateWork>(node, p, [&](AllocateWork& w) { *p = w.parameters; });
}

cudaError_t cudaGraphAddMemFreeNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* dependencies, size_t count,
                                    void* pointer) {
  return add(node, graph, dependencies, count, [&](Work& work, int) { return free_work(pointer, work); });
}

cudaError_t cudaGraphMemFreeNodeGetParams(cudaGraphNode_t node, void* out) {
  return read<FreeWork>(node, out, [&](FreeWork& w) { std::memcpy(out, &w.address, sizeof w.address); });
}

cudaError_t cudaDeviceGraphMemTrim(int device) {
  return call([&](Process&, Lock&) {
    if (device < 0 || device >= options().devices) return cudaErrorInvalidDevice;
    trim_graph_memory(device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetGraphMemAttribute(int device, cudaGraphMemAttributeType attribute, void* value) {
  return call([&](Process&, Lock&) {
    if (device < 0 || device >= options().devices) return cudaErrorInvalidDevice;
    if (value == nullptr || attribute < cudaGraphMemAttrUsedMemCurrent || attribute > cudaGraphMemAttrReservedMemHigh)
      return cudaErrorInvalidValue;
    const GraphMemoryUse use = graph_memory_use(device);
    const bool high = attribute == cudaGraphMemAttrUsedMemHigh || attribute == cudaGraphMemAttrReservedMemHigh;
    *static_cast<std::uint64_t*>(value) = high ? use.high : use.current;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSetGraphMemAttribute(int device, cudaGraphMemAttributeType attribute, void* value) {
  return call([&](Process&, Lock&) {
    if (device < 0 || device >= options().devices) return cudaErrorInvalidDevice;
    const bool high = attribute == cudaGraphMemAttrUsedMemHigh || attribute == cudaGraphMemAttrReservedMemHigh;
    if (value == nullptr || !high || *static_cast<std::uint64_t*>(value) != 0) return cudaErrorInvalidValue;
    reset_graph_memory_high(device);
    return cudaSuccess;
  });
}

// Switching nodes of an instantiated graph off and on.

cudaError_t cudaGraphNodeSetEnabled(cudaGraphExec_t executable, cudaGraphNode_t node, unsigned enabled) {
  return call([&](Process&, Lock&) {
    CUgraphNode_st* copy = Graphs::instance().executables.count(executable) != 0 && node != nullptr
                               ? find_in_executable(*executable, *node)
                               : nullptr;
    if (copy == nullptr) return cudaErrorInvalidValue;
    const bool possible = std::holds_alternative<KernelWork>(copy->work) || std::holds_alternative<CopyWork>(copy->work) ||
                          std::holds_alternative<MemsetWork>(copy->work);
    if (!possible) return cudaErrorInvalidValue;
    copy->enabled = enabled != 0;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphNodeGetEnabled(cudaGraphExec_t executable, cudaGraphNode_t node, unsigned* enabled) {
  return call([&](Process&, Lock&) {
    CUgraphNode_st* copy = Graphs::instance().executables.count(executable) != 0 && node != nullptr
                               ? find_in_executable(*executable, *node)
                               : nullptr;
    if (copy == nullptr || enabled == nullptr) return cudaErrorInvalidValue;
    *enabled = copy->enabled ? 1 : 0;
    return cudaSuccess;
  });
}
}
