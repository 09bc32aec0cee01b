#include "runtime/graph_memory.h"

#include <algorithm>
#include <array>
#include <map>

namespace sim::runtime {
namespace {

struct OfStream {
  std::size_t bytes = 0;
  OperationPtr end;  // of the last launch
};

struct OfDevice {
  std::map<unsigned long long, OfStream> streams;  // by id
  std::map<Address, std::size_t> held;             // allocated by a launch, not freed by it
  std::size_t idle = 0, high = 0;

  std::size_t current() const {
    std::size_t sum = idle;
    for (const auto& [id, stream] : streams) sum += stream.bytes;
    for (const auto& [address, bytes] : held) sum += bytes;
    return sum;
  }
};

std::array<OfDevice, kMaxDevices>& devices() {
  static auto* all = new std::array<OfDevice, kMaxDevices>;
  return *all;
}

}  // namespace

void hold_graph_memory(const CUgraph_st& graph, const CUstream_st& stream, const OperationPtr& end) {
  std::unordered_set<Address> freed;
  for (const auto& node : graph.nodes)
    if (const auto* work = std::get_if<FreeWork>(&node->work)) freed.insert(work->address);
  std::array<std::size_t, kMaxDevices> now{}, most{};
  std::unordered_map<Address, std::pair<int, std::size_t>> own;
  for (const CUgraphNode_st* node : topological(graph)) {
    if (const auto* work = std::get_if<AllocateWork>(&node->work); work != nullptr && work->memory) {
      const auto [address, bytes] = std::pair(work->memory->address, work->memory->bytes);
      const int device = work->parameters.poolProps.location.id;
      OfDevice& of = devices()[device];
      if (freed.contains(address)) {
        own[address] = {device, bytes};
        most[device] = std::max(most[device], now[device] += bytes);
      } else if (of.held.emplace(address, bytes).second) {
        of.idle -= std::min(of.idle, bytes);
      }
    } else if (const auto* free = std::get_if<FreeWork>(&node->work)) {
      const auto found = own.find(free->address);
      if (found != own.end()) {
        now[found->second.first] -= found->second.second;
      } else {
        release_graph_memory(free->address);
      }
    }
  }
  for (int d = 0; d < kMaxDevices; ++d) {
    OfDevice& of = devices()[d];
    if (most[d] > 0) {
      OfStream& s = of.streams[stream.id];
      s.bytes = std::max(s.bytes, most[d]);
      s.end = end;
    }
    of.high = std::max(of.high, of.current());
  }
}

void release_graph_memory(Address address) {
  for (OfDevice& of : devices()) {
    const auto found = of.held.find(address);
    if (found == of.held.end()) continue;
    of.idle += found->second;
    of.held.erase(found);
  }
}

void trim_graph_memory(int device) {
  OfDevice& of = devices()[device];
  of.idle = 0;
  std::erase_if(of.streams, [](const auto& stream) { return stream.second.end->done(); });
}

GraphMemoryUse graph_memory_use(int device) { return {devices()[device].current(), devices()[device].high}; }

void reset_graph_memory_high(int device) { devices()[device].high = devices()[device].current(); }

}  // namespace sim::runtime
