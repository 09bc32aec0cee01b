// Instantiated graphs: launches, updates, pictures.
#include <algorithm>

#include "runtime/capture.h"
#include "runtime/graph.h"
#include "runtime/graph_memory.h"

namespace sim::runtime {
namespace {

bool has_cycle(const CUgraph_st& graph) {
  if (!graph.nodes.empty() && topological(graph).empty()) return true;
  for (const auto& node : graph.nodes)
    if (const auto* child = std::get_if<ChildWork>(&node->work))
      if (has_cycle(*child->graph)) return true;
  return false;
}

/// A node goes on in the lane of a node that it depends on, unless another does so already; launches of a graph follow each
/// other, so its lanes serve again.
void give_lanes(CUgraphExec_st& executable, CUgraph_st& graph) {
  std::unordered_map<const CUgraphNode_st*, bool> continued;
  for (CUgraphNode_st* node : topological(graph)) {
    if (const auto* child = std::get_if<ChildWork>(&node->work)) give_lanes(executable, *child->graph);
    const auto from = std::find_if(node->dependencies.begin(), node->dependencies.end(),
                                   [&](const CUgraphNode_st* d) { return !continued[d]; });
    if (from != node->dependencies.end()) {
      continued[*from] = true;
      node->lane = (*from)->lane;
    } else {
      executable.lanes.push_back(node->lane = Process::instance().new_lane());
    }
  }
}

/// Puts the operations of a graph after `begin`; gives those that nothing follows.
std::vector<OperationPtr> submit(CUgraph_st& graph, const std::vector<OperationPtr>& begin) {
  Process& process = Process::instance();
  std::unordered_map<const CUgraphNode_st*, std::vector<OperationPtr>> ends;
  std::vector<OperationPtr> leaves;
  for (CUgraphNode_st* node : topological(graph)) {
    std::vector<OperationPtr> before;
    for (const CUgraphNode_st* d : node->dependencies) before.insert(before.end(), ends[d].begin(), ends[d].end());
    if (node->dependencies.empty()) before = begin;
    std::vector<OperationPtr>& own = ends[node];
    const auto* child = std::get_if<ChildWork>(&node->work);
    if (child != nullptr && node->enabled) {
      own = submit(*child->graph, before);
    } else {
      const auto* event = std::get_if<EventWork>(&node->work);
      if (event != nullptr && !event->record && event->event->operation) before.push_back(event->event->operation);
      OperationPtr operation = operation_of(node->enabled ? node->work : Work(EmptyWork{}), node->device);
      for (const OperationPtr& b : before) join(operation->order.after, b->clock());
      operation->number = process.scheduler.next_number();
      operation->order.lane = node->lane;
      operation->order.at = process.tick(node->lane);
      process.scheduler.submit(operation, before);
      if (event != nullptr && event->record) event->event->operation = operation;
      own = {operation};
    }
    if (node->dependents.empty()) leaves.insert(leaves.end(), own.begin(), own.end());
  }
  return leaves.empty() ? begin : leaves;
}

OperationPtr marker(std::string name) {
  auto operation = std::make_shared<Operation>();
  operation->name = std::move(name);
  return operation;
}

cudaGraphExecUpdateResult update_nodes(CUgraph_st& to, const CUgraph_st& from, CUgraphNode_st*& wrong) {
  if (to.nodes.size() != from.nodes.size()) return cudaGraphExecUpdateErrorTopologyChanged;
  std::unordered_map<const CUgraphNode_st*, std::size_t> place_to, place_from;
  for (std::size_t i = 0; i < to.nodes.size(); ++i) {
    place_to[to.nodes[i].get()] = i;
    place_from[from.nodes[i].get()] = i;
  }
  const auto places = [](const CUgraphNode_st& node, const auto& place) {
    std::vector<std::size_t> result;
    for (const CUgraphNode_st* d : node.dependencies) result.push_back(place.at(d));
    std::sort(result.begin(), result.end());
    return result;
  };
  for (std::size_t i = 0; i < to.nodes.size(); ++i) {
    wrong = from.nodes[i].get();
    if (to.nodes[i]->work.index() != from.nodes[i]->work.index()) return cudaGraphExecUpdateErrorNodeTypeChanged;
    if (places(*to.nodes[i], place_to) != places(*from.nodes[i], place_from)) return cudaGraphExecUpdateErrorTopologyChanged;
    // Copies keep their devices' kinds and memory operations stay what they are; allocations do not change.
    if (std::holds_alternative<AllocateWork>(to.nodes[i]->work)) return cudaGraphExecUpdateErrorNotSupported;
  }
  for (std::size_t i = 0; i < to.nodes.size(); ++i) {
    if (auto* child = std::get_if<ChildWork>(&to.nodes[i]->work)) {
      const auto result = update_nodes(*child->graph, *std::get<ChildWork>(from.nodes[i]->work).graph, wrong);
      if (result != cudaGraphExecUpdateSuccess) return result;
    } else {
      to.nodes[i]->work = from.nodes[i]->work;
    }
    to.nodes[i]->original = from.nodes[i].get();
  }
  wrong = nullptr;
  return cudaGraphExecUpdateSuccess;
}

}  // namespace

cudaError_t instantiate(cudaGraphExec_t* executable, CUgraph_st& graph, unsigned long long flags, cudaGraphNode_t* error_node) {
  if (error_node != nullptr) *error_node = nullptr;
  if ((flags & cudaGraphInstantiateFlagDeviceLaunch) != 0)
    throw Error("graphs that are launched by the device are not simulated");
  if (flags > 15) return cudaErrorInvalidValue;
  if (has_cycle(graph)) return cudaErrorInvalidValue;
  auto made = std::make_unique<CUgraphExec_st>();
  made->graph = clone(graph);
  made->flags = flags;
  give_lanes(*made, *made->graph);
  *executable = made.get();
  Graphs::instance().executables.emplace(made.get(), std::move(made));
  return cudaSuccess;
}

cudaError_t launch(Lock& lock, CUgraphExec_st& executable, CUstream_st& stream) {
  if (stream.capture != nullptr) return capture(stream, ChildWork{clone(*executable.graph)});
  if (const cudaError_t error = check_legacy(stream.legacy ? stream.device : -1); error != cudaSuccess) return error;
  Process& process = Process::instance();
  if (process.devices[stream.device].failure != cudaSuccess) return process.devices[stream.device].failure;
  const OperationPtr begin = marker("graph launch"), end = marker("graph end");
  process.submit(stream, begin, {executable.last});
  process.submit(stream, end, submit(*executable.graph, {begin}));
  executable.last = end;
  hold_graph_memory(*executable.graph, stream, end);
  process.scheduler.throttle(lock);
  return cudaSuccess;
}

CUgraphNode_st* find_in_executable(CUgraphExec_st& executable, const CUgraphNode_st& original) {
  return find_in_clone(*executable.graph, original);
}

void destroy(CUgraphExec_st& executable) {
  for (const std::uint32_t lane : executable.lanes) Process::instance().give_back_lane(lane);
  Graphs::instance().executables.erase(&executable);
}

cudaError_t update(CUgraphExec_st& executable, const CUgraph_st& graph, cudaGraphExecUpdateResultInfo& result) {
  CUgraphNode_st* wrong = nullptr;
  result.result = update_nodes(*executable.graph, graph, wrong);
  result.errorNode = wrong;
  result.errorFromNode = nullptr;
  return result.result == cudaGraphExecUpdateSuccess ? cudaSuccess : cudaErrorGraphExecUpdateFailure;
}

std::string dot_of(const CUgraph_st& graph, unsigned flags) {
  std::string text = "digraph dot {\nsubgraph cluster_1 {\nlabel=\"graph_1\" graph[style=\"dashed\"];\n";
  const bool verbose = (flags & cudaGraphDebugDotFlagsVerbose) != 0;
  for (const auto& node : graph.nodes) {
    std::string label = fmt::format("{}\\n{}", node->id, name_of(node->work));
    if (const auto* k = std::get_if<KernelWork>(&node->work);
        k != nullptr && (verbose || (flags & cudaGraphDebugDotFlagsKernelNodeParams) != 0))
      label += fmt::format("\\n<<<({}, {}, {}), ({}, {}, {}), {}>>>", k->grid.x, k->grid.y, k->grid.z, k->block.x, k->block.y,
                           k->block.z, k->dynamic_shared);
    if (const auto* c = std::get_if<CopyWork>(&node->work);
        c != nullptr && (verbose || (flags & cudaGraphDebugDotFlagsMemcpyNodeParams) != 0))
      label +=
          fmt::format("\\n{:#x} -> {:#x}\\n{} x {} x {} bytes", c->from.address, c->to.address, c->width, c->height, c->depth);
    if (const auto* m = std::get_if<MemsetWork>(&node->work);
        m != nullptr && (verbose || (flags & cudaGraphDebugDotFlagsMemsetNodeParams) != 0))
      label += fmt::format("\\n{:#x} = {} ({} x {} x {} bytes)", m->to, m->value, m->width, m->height, m->element);
    text += fmt::format("\"graph_1_node_{}\" [shape=\"box\" label=\"{}\"];\n", node->id, label);
  }
  for (const auto& node : graph.nodes)
    for (const CUgraphNode_st* d : node->dependencies)
      text += fmt::format("\"graph_1_node_{}\" -> \"graph_1_node_{}\";\n", d->id, node->id);
  return text + "}\n}\n";
}

}  // namespace sim::runtime
