#include "runtime/work.h"

#include <algorithm>
#include <cstring>

#include "machine/stream_ordered.h"
#include "runtime/capture.h"
#include "runtime/copies.h"
#include "runtime/device_functions.h"
#include "runtime/graph.h"
#include "runtime/memory_pool.h"

namespace sim::runtime {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

cudaError_t run_kernel(const KernelWork& work, Operation& operation) {
  Launch launch;
  {
    Process& process = Process::instance();
    const Lock lock(process.mutex);  // decoding changes the module
    launch.kernel = &kernel_on(*work.function, operation.device);
    const auto& resources = work.function->binary->resources;
    if (const auto found = resources.find(work.function->name); found != resources.end()) {
      launch.registers = found->second.registers;
      launch.spill_bytes = found->second.frame_bytes;
    }
    launch.stack_bytes = limit_of(process.devices[operation.device], cudaLimitStackSize);
    launch.peers = process.devices[operation.device].peers | 1u << operation.device;
  }
  const Allocation* workspace = nullptr;
  if (work.cooperative) {
    // What cooperative_groups expects: a size and a barrier word.
    workspace = Memory::instance().allocate(MemoryKind::device, operation.device, 256);
    if (workspace == nullptr) return cudaErrorMemoryAllocation;
    std::memset(workspace->working(workspace->base), 0, 256);
    Memory::instance().mark_initialized(*workspace, workspace->base, 256);
    launch.grid_workspace = workspace->base;
  }
  launch.grid = {work.grid.x, work.grid.y, work.grid.z};
  launch.block = {work.block.x, work.block.y, work.block.z};
  launch.dynamic_shared_bytes = work.dynamic_shared;
  launch.parameters = work.parameters;
  launch.cooperative = work.cooperative;
  launch.device = operation.device;
  launch.operation = operation.number;
  launch.order = operation.order;
  int error = 0;
  try {
    error = run(launch);
  } catch (const LaunchAbort& abort) {
    error = abort.error;
  }
  if (workspace != nullptr) Memory::instance().free(workspace->base);
  if (std::string text = take_printed(operation.number); !text.empty())
    Process::instance().print(operation.device, std::move(text));
  return static_cast<cudaError_t>(error);
}

/// Host functions may not call CUDA.
template <class Body>
void as_host_function(Body&& body) {
  this_thread().in_host_function = true;
  body();
  this_thread().in_host_function = false;
}

cudaError_t run_collective(const Collective& collective, Operation& operation) {
  for (const bool write : {false, true})
    for (const Range& r : write ? collective.writes : collective.reads)
      if (r.bytes != 0 &&
          !host_access(operation.order, operation.number, collective.name, r.address, r.bytes, write, operation.device))
        return cudaErrorIllegalAddress;
  CollectiveRun run;
  run.device = operation.device;
  run.operation = operation.number;
  run.order = &operation.order;
  run.learned = &operation.learned;
  run.abort = &Process::instance().devices[operation.device].abort;
  return collective.run(run);
}

}  // namespace

std::string name_of(const Work& work) {
  return std::visit(Overloaded{
                        [](const EmptyWork&) -> std::string { return "empty"; },
                        [](const KernelWork& w) { return w.function->name; },
                        [](const CopyWork&) -> std::string { return "memcpy"; },
                        [](const MemsetWork&) -> std::string { return "memset"; },
                        [](const HostWork&) -> std::string { return "host function"; },
                        [](const CallbackWork&) -> std::string { return "stream callback"; },
                        [](const EventWork& w) -> std::string { return w.record ? "event record" : "event wait"; },
                        [](const AllocateWork&) -> std::string { return "memory allocation"; },
                        [](const FreeWork&) -> std::string { return "memory free"; },
                        [](const ChildWork&) -> std::string { return "child graph"; },
                        [](const Collective& w) { return w.name; },
                    },
                    work);
}

OperationPtr operation_of(Work work, int device) {
  auto operation = std::make_shared<Operation>();
  operation->device = device;
  operation->name = name_of(work);
  std::visit(Overloaded{
                 [&](KernelWork& w) {
                   operation->kind = Operation::Kind::device;
                   operation->run = [w = std::move(w)](Operation& o) { return run_kernel(w, o); };
                 },
                 [&](CopyWork& w) {
                   operation->kind = Operation::Kind::device;
                   operation->run = [w = std::move(w)](Operation& o) { return run_copy(w, o); };
                 },
                 [&](MemsetWork& w) {
                   operation->kind = Operation::Kind::device;
                   operation->run = [w](Operation& o) { return run_memset(w, o); };
                 },
                 [&](HostWork& w) {
                   operation->kind = Operation::Kind::host;
                   operation->run = [w](Operation&) {
                     as_host_function([&] { w.function(w.data); });
                     return cudaSuccess;
                   };
                 },
                 [&](CallbackWork& w) {
                   operation->kind = Operation::Kind::host;
                   operation->after_failure = true;
                   operation->run = [w](Operation& o) {
                     const cudaError_t status = Process::instance().devices[o.device].failure;
                     as_host_function([&] { w.function(w.handle, status, w.data); });
                     return cudaSuccess;
                   };
                 },
                 [&](AllocateWork& w) {
                   if (!w.memory) return;
                   operation->kind = Operation::Kind::device;
                   operation->run = [memory = w.memory](Operation&) {
                     // What an earlier launch left is no longer to be seen.
                     if (const Allocation* a = Memory::instance().find(memory->address))
                       std::memset(a->working(memory->address), 0xcd, memory->bytes);
                     return cudaSuccess;
                   };
                 },
                 [&](FreeWork& w) {
                   if (w.of_graph) return;
                   operation->kind = Operation::Kind::device;
                   operation->run = [w](Operation& o) {
                     const Allocation* a = Memory::instance().find(w.address);
                     if (a != nullptr && a->stream_ordered != nullptr) a->stream_ordered->free(*a, o.order, "cudaFreeAsync");
                     pool_free(w.address);
                     return cudaSuccess;
                   };
                 },
                 [&](Collective& w) {
                   operation->kind = Operation::Kind::collective;
                   operation->run = [w = std::move(w)](Operation& o) { return run_collective(w, o); };
                 },
                 [](auto&) {},
             },
             work);
  return operation;
}

cudaError_t enqueue(Lock& lock, CUstream_st& stream, Work work, OperationPtr* operation) {
  if (stream.capture != nullptr) return capture(stream, std::move(work));
  if (const cudaError_t error = check_legacy(stream.legacy ? stream.device : -1); error != cudaSuccess) return error;
  Process& process = Process::instance();
  if (process.devices[stream.device].failure != cudaSuccess) return process.devices[stream.device].failure;
  OperationPtr made = operation_of(std::move(work), stream.device);
  process.submit(stream, made);
  if (operation != nullptr) *operation = made;
  process.scheduler.throttle(lock);
  return cudaSuccess;
}

}  // namespace sim::runtime
