#pragma once
#include <driver_types.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "runtime/work.h"

struct CUgraphNode_st {
  CUgraph_st* graph = nullptr;
  unsigned id = 0;  // in the order of making
  int device = 0;
  sim::runtime::Work work;
  std::vector<CUgraphNode_st*> dependencies, dependents;
  const CUgraphNode_st* original = nullptr;  // that a clone was made from
  bool enabled = true;                       // of an instantiated graph
  std::uint32_t lane = 0;                    // of an instantiated graph
};

struct CUuserObject_st {
  void* pointer = nullptr;
  cudaHostFn_t destroy = nullptr;
  unsigned references = 0;
};

struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
  unsigned next_id = 0;
  const CUgraph_st* original = nullptr;
  std::unordered_map<CUuserObject_st*, unsigned> user_objects;

  CUgraph_st() = default;
  CUgraph_st(const CUgraph_st&) = delete;
  CUgraph_st& operator=(const CUgraph_st&) = delete;
  ~CUgraph_st();
};

/// An instantiated graph: a copy that is launched.
struct CUgraphExec_st {
  std::shared_ptr<CUgraph_st> graph;
  unsigned long long flags = 0;
  sim::runtime::OperationPtr last;  // the end of the last launch: the next one waits for it
  std::vector<std::uint32_t> lanes;
};

namespace sim::runtime {

/// All graphs and instantiated graphs that are alive, to tell handles from anything else.
struct Graphs {
  std::unordered_map<CUgraph_st*, std::shared_ptr<CUgraph_st>> graphs;
  std::unordered_map<CUgraphExec_st*, std::unique_ptr<CUgraphExec_st>> executables;
  std::unordered_map<const CUgraphNode_st*, CUgraph_st*> nodes;
  static Graphs& instance();
};

CUgraph_st* new_graph();
bool is_graph(cudaGraph_t graph);
bool is_node(cudaGraphNode_t node);

/// Adds a node; cudaErrorInvalidValue for dependencies of another graph.
cudaError_t add_node(cudaGraphNode_t* node, CUgraph_st& graph, const cudaGraphNode_t* dependencies, std::size_t count,
                     Work work, int device);
bool add_edge(CUgraphNode_st& from, CUgraphNode_st& to);     // false when it is there already
bool remove_edge(CUgraphNode_st& from, CUgraphNode_st& to);  // false when there is none
void delete_node(CUgraphNode_st& node);
void release(CUuserObject_st& object, unsigned count);

/// A copy, with the copies of its child graphs.
std::shared_ptr<CUgraph_st> clone(const CUgraph_st& graph);
CUgraphNode_st* find_in_clone(const CUgraph_st& clone, const CUgraphNode_st& original);
/// Nodes so that each comes after what it depends on, in the order of making otherwise; empty when there is a cycle.
std::vector<CUgraphNode_st*> topological(const CUgraph_st& graph);

cudaError_t instantiate(cudaGraphExec_t* executable, CUgraph_st& graph, unsigned long long flags, cudaGraphNode_t* error_node);
cudaError_t launch(Lock& lock, CUgraphExec_st& executable, CUstream_st& stream);
/// The instantiated copy of a node, in child graphs too; null when there is none.
CUgraphNode_st* find_in_executable(CUgraphExec_st& executable, const CUgraphNode_st& original);
void destroy(CUgraphExec_st& executable);
cudaError_t update(CUgraphExec_st& executable, const CUgraph_st& graph, cudaGraphExecUpdateResultInfo& result);
/// Gives a node new parameters of the same type.
cudaError_t set_work(CUgraphNode_st& node, Work work);

std::string dot_of(const CUgraph_st& graph, unsigned flags);

}  // namespace sim::runtime
