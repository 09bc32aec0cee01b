// Graphs as a whole: making, copying, edges, instantiation. Nodes are in node_calls.cpp.
#include <cuda_runtime_api.h>

#include <cstdio>

#include "runtime/graph.h"

using namespace sim;
using namespace sim::runtime;

template <class Body>
static cudaError_t with_graph(cudaGraph_t graph, Body&& body) {
  return call([&](Process&, Lock&) { return is_graph(graph) ? body(*graph) : cudaErrorInvalidValue; });
}

template <class Body>
static cudaError_t with_executable(cudaGraphExec_t executable, Body&& body) {
  return call([&](Process&, Lock&) {
    return Graphs::instance().executables.count(executable) != 0 ? body(*executable) : cudaErrorInvalidValue;
  });
}

/// Lists of handles: null asks for the number; a longer array than needed is filled up with nulls.
template <class T>
static cudaError_t give_list(const std::vector<T*>& list, T** out, size_t* count) {
  if (count == nullptr) return cudaErrorInvalidValue;
  if (out == nullptr) {
    *count = list.size();
    return cudaSuccess;
  }
  for (size_t i = 0; i < *count; ++i) out[i] = i < list.size() ? list[i] : nullptr;
  *count = std::min(*count, list.size());
  return cudaSuccess;
}

static bool ends_are_of(cudaGraph_t graph, cudaGraphNode_t from, cudaGraphNode_t to) {
  return is_node(from) && is_node(to) && from->graph == graph && to->graph == graph && from != to;
}

extern "C" {

cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned flags) {
  return call([&](Process&, Lock&) {
    if (graph == nullptr || flags != 0) return cudaErrorInvalidValue;
    *graph = new_graph();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call(State::any, [&](Process&, Lock&) {
    return Graphs::instance().graphs.erase(graph) != 0 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphClone(cudaGraph_t* copy, cudaGraph_t graph) {
  return with_graph(graph, [&](CUgraph_st& g) {
    if (copy == nullptr) return cudaErrorInvalidValue;
    auto made = clone(g);
    *copy = made.get();
    Graphs::instance().graphs.emplace(made.get(), std::move(made));
    return cudaSuccess;
  });
}

cudaError_t cudaGraphNodeFindInClone(cudaGraphNode_t* node, cudaGraphNode_t original, cudaGraph_t copy) {
  return with_graph(copy, [&](CUgraph_st& g) {
    if (node == nullptr || original == nullptr) return cudaErrorInvalidValue;
    *node = find_in_clone(g, *original);
    return *node != nullptr ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return with_graph(graph, [&](CUgraph_st& g) {
    std::vector<CUgraphNode_st*> all;
    for (const auto& n : g.nodes) all.push_back(n.get());
    return give_list(all, nodes, count);
  });
}

cudaError_t cudaGraphGetRootNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return with_graph(graph, [&](CUgraph_st& g) {
    std::vector<CUgraphNode_st*> roots;
    for (const auto& n : g.nodes)
      if (n->dependencies.empty()) roots.push_back(n.get());
    return give_list(roots, nodes, count);
  });
}

cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to, cudaGraphEdgeData* data,
                              size_t* count) {
  return with_graph(graph, [&](CUgraph_st& g) {
    std::vector<CUgraphNode_st*> sources, targets;
    for (const auto& n : g.nodes) {
      for (CUgraphNode_st* d : n->dependents) {
        sources.push_back(n.get());
        targets.push_back(d);
      }
    }
    if (count == nullptr || (from == nullptr) != (to == nullptr)) return cudaErrorInvalidValue;
    for (size_t i = 0; data != nullptr && from != nullptr && i < *count; ++i) data[i] = {};
    size_t same = *count;
    const cudaError_t error = give_list(sources, from, &same);
    return error == cudaSuccess ? give_list(targets, to, count) : error;
  });
}

cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t node, cudaGraphNode_t* nodes, cudaGraphEdgeData* data, size_t* count) {
  return call([&](Process&, Lock&) {
    if (!is_node(node)) return cudaErrorInvalidValue;
    for (size_t i = 0; data != nullptr && count != nullptr && i < *count; ++i) data[i] = {};
    return give_list(node->dependencies, nodes, count);
  });
}

cudaError_t cudaGraphNodeGetDependentNodes(cudaGraphNode_t node, cudaGraphNode_t* nodes, cudaGraphEdgeData* data,
                                           size_t* count) {
  return call([&](Process&, Lock&) {
    if (!is_node(node)) return cudaErrorInvalidValue;
    for (size_t i = 0; data != nullptr && count != nullptr && i < *count; ++i) data[i] = {};
    return give_list(node->dependents, nodes, count);
  });
}

cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t* from, const cudaGraphNode_t* to,
                                     const cudaGraphEdgeData*, size_t count) {
  return with_graph(graph, [&](CUgraph_st&) {
    for (size_t i = 0; i < count; ++i) {
      if (from == nullptr || to == nullptr || !ends_are_of(graph, from[i], to[i])) return cudaErrorInvalidValue;
      if (!add_edge(*from[i], *to[i])) return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphRemoveDependencies(cudaGraph_t graph, const cudaGraphNode_t* from, const cudaGraphNode_t* to,
                                        const cudaGraphEdgeData*, size_t count) {
  return with_graph(graph, [&](CUgraph_st&) {
    for (size_t i = 0; i < count; ++i) {
      if (from == nullptr || to == nullptr || !ends_are_of(graph, from[i], to[i])) return cudaErrorInvalidValue;
      if (!remove_edge(*from[i], *to[i])) return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroyNode(cudaGraphNode_t node) {
  return call([&](Process&, Lock&) {
    if (!is_node(node)) return cudaErrorInvalidValue;
    delete_node(*node);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  return call([&](Process&, Lock&) {
    if (!is_node(node) || type == nullptr) return cudaErrorInvalidValue;
    struct Type {
      cudaGraphNodeType operator()(const EmptyWork&) { return cudaGraphNodeTypeEmpty; }
      cudaGraphNodeType operator()(const KernelWork&) { return cudaGraphNodeTypeKernel; }
      cudaGraphNodeType operator()(const CopyWork&) { return cudaGraphNodeTypeMemcpy; }
      cudaGraphNodeType operator()(const MemsetWork&) { return cudaGraphNodeTypeMemset; }
      cudaGraphNodeType operator()(const HostWork&) { return cudaGraphNodeTypeHost; }
      cudaGraphNodeType operator()(const CallbackWork&) { return cudaGraphNodeTypeHost; }
      cudaGraphNodeType operator()(const EventWork& w) {
        return w.record ? cudaGraphNodeTypeEventRecord : cudaGraphNodeTypeWaitEvent;
      }
      cudaGraphNodeType operator()(const AllocateWork&) { return cudaGraphNodeTypeMemAlloc; }
      cudaGraphNodeType operator()(const FreeWork&) { return cudaGraphNodeTypeMemFree; }
      cudaGraphNodeType operator()(const ChildWork&) { return cudaGraphNodeTypeGraph; }
      cudaGraphNodeType operator()(const Collective&) { return cudaGraphNodeTypeKernel; }  // as the real ones are
    };
    *type = std::visit(Type{}, node->work);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return with_graph(graph, [&](CUgraph_st& g) {
    return executable == nullptr ? cudaErrorInvalidValue : instantiate(executable, g, flags, nullptr);
  });
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiate(executable, graph, flags);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call(State::any, [&](Process&, Lock&) {
    if (Graphs::instance().executables.count(executable) == 0) return cudaErrorInvalidValue;
    destroy(*executable);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecGetFlags(cudaGraphExec_t executable, unsigned long long* flags) {
  return with_executable(executable, [&](CUgraphExec_st& e) {
    return flags == nullptr ? cudaErrorInvalidValue : (*flags = e.flags, cudaSuccess);
  });
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* result) {
  return with_executable(executable, [&](CUgraphExec_st& e) {
    if (!is_graph(graph)) return cudaErrorInvalidValue;
    cudaGraphExecUpdateResultInfo info{};
    const cudaError_t error = update(e, *graph, info);
    if (result != nullptr) *result = info;
    return error;
  });
}

cudaError_t cudaGraphDebugDotPrint(cudaGraph_t graph, const char* path, unsigned flags) {
  return with_graph(graph, [&](CUgraph_st& g) {
    if (path == nullptr) return cudaErrorInvalidValue;
    std::FILE* file = std::fopen(path, "w");
    if (file == nullptr) return cudaErrorOperatingSystem;
    const std::string text = dot_of(g, flags);
    const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    return std::fclose(file) == 0 && written ? cudaSuccess : cudaErrorOperatingSystem;
  });
}

cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void* pointer, cudaHostFn_t destroy, unsigned references,
                                 unsigned flags) {
  return call([&](Process&, Lock&) {
    if (object == nullptr || destroy == nullptr || references == 0 || flags != cudaUserObjectNoDestructorSync)
      return cudaErrorInvalidValue;
    *object = new CUuserObject_st{pointer, destroy, references};
    return cudaSuccess;
  });
}

cudaError_t cudaUserObjectRetain(cudaUserObject_t object, unsigned count) {
  return call([&](Process&, Lock&) {
    if (object == nullptr || count == 0) return cudaErrorInvalidValue;
    object->references += count;
    return cudaSuccess;
  });
}

cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned count) {
  return call([&](Process&, Lock&) {
    if (object == nullptr || count == 0 || count > object->references) return cudaErrorInvalidValue;
    release(*object, count);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned count, unsigned flags) {
  return with_graph(graph, [&](CUgraph_st& g) {
    if (object == nullptr || count == 0 || flags > cudaGraphUserObjectMove) return cudaErrorInvalidValue;
    g.user_objects[object] += count;
    if (flags != cudaGraphUserObjectMove) object->references += count;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphReleaseUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned count) {
  return with_graph(graph, [&](CUgraph_st& g) {
    const auto found = g.user_objects.find(object);
    if (found == g.user_objects.end() || count == 0 || count > found->second) return cudaErrorInvalidValue;
    found->second -= count;
    if (found->second == 0) g.user_objects.erase(found);
    release(*object, count);
    return cudaSuccess;
  });
}
}
