#include "runtime/graph.h"

#include <algorithm>
#include <queue>

#include "machine/memory.h"
#include "runtime/graph_memory.h"

CUgraph_st::~CUgraph_st() {
  for (const auto& node : nodes) sim::runtime::Graphs::instance().nodes.erase(node.get());
  for (const auto& [object, count] : user_objects) sim::runtime::release(*object, count);
}

namespace sim::runtime {
namespace {

CUgraphNode_st& make_node(CUgraph_st& graph, Work work, int device) {
  CUgraphNode_st& node = *graph.nodes.emplace_back(std::make_unique<CUgraphNode_st>());
  node.graph = &graph;
  node.id = graph.next_id++;
  node.device = device;
  node.work = std::move(work);
  Graphs::instance().nodes.emplace(&node, &graph);
  return node;
}

std::unordered_set<Address>& graph_memory() {
  static auto* all = new std::unordered_set<Address>;
  return *all;
}

}  // namespace

GraphMemory::GraphMemory(Address address, std::size_t bytes) : address(address), bytes(bytes) {
  graph_memory().insert(address);
}

GraphMemory::~GraphMemory() {
  graph_memory().erase(address);
  release_graph_memory(address);
  Memory::instance().free(address);
}

bool is_graph_memory(Address address) { return graph_memory().count(address) != 0; }

Graphs& Graphs::instance() {
  static auto* graphs = new Graphs;
  return *graphs;
}

CUgraph_st* new_graph() {
  auto graph = std::make_shared<CUgraph_st>();
  CUgraph_st* handle = graph.get();
  Graphs::instance().graphs.emplace(handle, std::move(graph));
  return handle;
}

/// A child graph's handle is its node's: it is not in the list of those that the program owns, but its nodes are known.
bool is_graph(cudaGraph_t graph) {
  const Graphs& g = Graphs::instance();
  if (graph == nullptr) return false;
  if (g.graphs.count(graph) != 0) return true;
  for (const auto& [node, owner] : g.nodes) {
    const auto* child = std::get_if<ChildWork>(&node->work);
    if (child != nullptr && child->graph.get() == graph) return true;
  }
  return false;
}

bool is_node(cudaGraphNode_t node) { return node != nullptr && Graphs::instance().nodes.count(node) != 0; }

bool add_edge(CUgraphNode_st& from, CUgraphNode_st& to) {
  if (std::find(to.dependencies.begin(), to.dependencies.end(), &from) != to.dependencies.end()) return false;
  to.dependencies.push_back(&from);
  from.dependents.push_back(&to);
  return true;
}

bool remove_edge(CUgraphNode_st& from, CUgraphNode_st& to) {
  std::erase(from.dependents, &to);
  return std::erase(to.dependencies, &from) != 0;
}

cudaError_t add_node(cudaGraphNode_t* node, CUgraph_st& graph, const cudaGraphNode_t* dependencies, std::size_t count,
                     Work work, int device) {
  if (count != 0 && dependencies == nullptr) return cudaErrorInvalidValue;
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_node(dependencies[i]) || dependencies[i]->graph != &graph) return cudaErrorInvalidValue;
    if (std::find(dependencies, dependencies + i, dependencies[i]) != dependencies + i) return cudaErrorInvalidValue;
  }
  CUgraphNode_st& made = make_node(graph, std::move(work), device);
  for (std::size_t i = 0; i < count; ++i) add_edge(*dependencies[i], made);
  if (node != nullptr) *node = &made;
  return cudaSuccess;
}

void delete_node(CUgraphNode_st& node) {
  for (CUgraphNode_st* d : std::vector(node.dependencies)) remove_edge(*d, node);
  for (CUgraphNode_st* d : std::vector(node.dependents)) remove_edge(node, *d);
  CUgraph_st& graph = *node.graph;
  Graphs::instance().nodes.erase(&node);
  std::erase_if(graph.nodes, [&](const auto& n) { return n.get() == &node; });
}

void release(CUuserObject_st& object, unsigned count) {
  object.references -= std::min(count, object.references);
  if (object.references != 0) return;
  object.destroy(object.pointer);
  delete &object;
}

std::shared_ptr<CUgraph_st> clone(const CUgraph_st& graph) {
  auto copy = std::make_shared<CUgraph_st>();
  copy->original = &graph;
  std::unordered_map<const CUgraphNode_st*, CUgraphNode_st*> copies;
  for (const auto& node : graph.nodes) {
    CUgraphNode_st& made = make_node(*copy, node->work, node->device);
    made.id = node->id;
    made.original = node.get();
    made.enabled = node->enabled;
    if (auto* child = std::get_if<ChildWork>(&made.work)) child->graph = clone(*child->graph);
    copies.emplace(node.get(), &made);
  }
  copy->next_id = graph.next_id;
  for (const auto& node : graph.nodes)
    for (const CUgraphNode_st* d : node->dependencies) add_edge(*copies.at(d), *copies.at(node.get()));
  copy->user_objects = graph.user_objects;
  for (const auto& [object, count] : copy->user_objects) object->references += count;
  return copy;
}

CUgraphNode_st* find_in_clone(const CUgraph_st& clone, const CUgraphNode_st& original) {
  for (const auto& node : clone.nodes) {
    if (node->original == &original) return node.get();
    if (const auto* child = std::get_if<ChildWork>(&node->work))
      if (CUgraphNode_st* found = find_in_clone(*child->graph, original)) return found;
  }
  return nullptr;
}

std::vector<CUgraphNode_st*> topological(const CUgraph_st& graph) {
  const auto later = [](const CUgraphNode_st* a, const CUgraphNode_st* b) { return a->id > b->id; };
  std::priority_queue<CUgraphNode_st*, std::vector<CUgraphNode_st*>, decltype(later)> ready(later);
  std::unordered_map<const CUgraphNode_st*, std::size_t> missing;
  for (const auto& node : graph.nodes) {
    missing[node.get()] = node->dependencies.size();
    if (node->dependencies.empty()) ready.push(node.get());
  }
  std::vector<CUgraphNode_st*> order;
  while (!ready.empty()) {
    CUgraphNode_st* node = ready.top();
    ready.pop();
    order.push_back(node);
    for (CUgraphNode_st* d : node->dependents)
      if (--missing[d] == 0) ready.push(d);
  }
  if (order.size() != graph.nodes.size()) order.clear();
  return order;
}

cudaError_t set_work(CUgraphNode_st& node, Work work) {
  if (node.work.index() != work.index()) return cudaErrorInvalidValue;
  node.work = std::move(work);
  return cudaSuccess;
}

}  // namespace sim::runtime
