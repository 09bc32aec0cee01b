// Graphs: built node by node and captured; instantiated, launched, changed, copied.
#include <cstdlib>
#include <cstring>
#include <string>

#include "check.h"

__global__ void add(int* x, int amount, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] += amount;
}

static int first(const int* device) {
  int value = -1;
  OK(cudaMemcpy(&value, device, 4, cudaMemcpyDeviceToHost));
  return value;
}

struct Count {
  int value = 0;
};
static void increment(void* p) { ++static_cast<Count*>(p)->value; }

static void built() {
  int *d, *pinned;
  OK(cudaMalloc(&d, 64));
  OK(cudaMallocHost(&pinned, 64));
  Count count;
  cudaGraph_t graph;
  OK(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t set, kernel, copy, host, empty;
  cudaMemsetParams memset{d, 0, 0, 4, 16, 1};
  OK(cudaGraphAddMemsetNode(&set, graph, nullptr, 0, &memset));
  int amount = 5, n = 16;
  void* arguments[] = {&d, &amount, &n};
  cudaKernelNodeParams launch{reinterpret_cast<void*>(add), dim3(1), dim3(32), 0, arguments, nullptr};
  OK(cudaGraphAddKernelNode(&kernel, graph, &set, 1, &launch));
  OK(cudaGraphAddMemcpyNode1D(&copy, graph, &kernel, 1, pinned, d, 64, cudaMemcpyDeviceToHost));
  OK(cudaGraphAddEmptyNode(&empty, graph, nullptr, 0));
  cudaHostNodeParams function{increment, &count};
  cudaGraphNode_t both[] = {copy, empty};
  OK(cudaGraphAddHostNode(&host, graph, both, 2, &function));

  std::size_t nodes = 0, roots = 0, edges = 0, dependencies = 0;
  OK(cudaGraphGetNodes(graph, nullptr, &nodes));
  OK(cudaGraphGetRootNodes(graph, nullptr, &roots));
  OK(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
  OK(cudaGraphNodeGetDependencies(host, nullptr, nullptr, &dependencies));
  EXPECT(nodes == 5 && roots == 2 && edges == 4 && dependencies == 2);
  cudaGraphNodeType type;
  OK(cudaGraphNodeGetType(copy, &type));
  EXPECT(type == cudaGraphNodeTypeMemcpy);
  OK(cudaGraphNodeGetType(kernel, &type));
  EXPECT(type == cudaGraphNodeTypeKernel);
  cudaKernelNodeParams read{};
  OK(cudaGraphKernelNodeGetParams(kernel, &read));
  EXPECT(read.blockDim.x == 32 && *static_cast<int*>(read.kernelParams[1]) == 5 && read.func == reinterpret_cast<void*>(add));

  cudaGraphExec_t exec;
  OK(cudaGraphInstantiate(&exec, graph));
  cudaStream_t s;
  OK(cudaStreamCreate(&s));
  for (int i = 0; i < 3; ++i) OK(cudaGraphLaunch(exec, s));
  OK(cudaStreamSynchronize(s));
  EXPECT_EQ(pinned[15], 5);
  EXPECT_EQ(count.value, 3);
  // New parameters for the instantiated copy only.
  amount = 9;
  OK(cudaGraphExecKernelNodeSetParams(exec, kernel, &launch));
  OK(cudaGraphLaunch(exec, s));
  OK(cudaStreamSynchronize(s));
  EXPECT_EQ(pinned[15], 9);
  OK(cudaGraphKernelNodeGetParams(kernel, &read));
  EXPECT_EQ(*static_cast<int*>(read.kernelParams[1]), 5);
  // Without the kernel.
  OK(cudaGraphNodeSetEnabled(exec, kernel, 0));
  OK(cudaGraphLaunch(exec, s));
  OK(cudaStreamSynchronize(s));
  EXPECT_EQ(pinned[15], 0);
  OK(cudaGraphExecDestroy(exec));

  // A clone has nodes of its own.
  cudaGraph_t clone;
  OK(cudaGraphClone(&clone, graph));
  cudaGraphNode_t cloned;
  OK(cudaGraphNodeFindInClone(&cloned, kernel, clone));
  EXPECT(cloned != kernel);
  amount = 100;
  OK(cudaGraphKernelNodeSetParams(cloned, &launch));
  OK(cudaGraphInstantiate(&exec, clone));
  OK(cudaGraphLaunch(exec, s));
  OK(cudaStreamSynchronize(s));
  EXPECT_EQ(pinned[0], 100);
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(clone));

  // As a child, twice.
  cudaGraph_t parent;
  OK(cudaGraphCreate(&parent, 0));
  cudaGraphNode_t one, two;
  OK(cudaGraphAddChildGraphNode(&one, parent, nullptr, 0, graph));
  OK(cudaGraphAddChildGraphNode(&two, parent, &one, 1, graph));
  OK(cudaGraphInstantiate(&exec, parent));
  count.value = 0;
  OK(cudaGraphLaunch(exec, s));
  OK(cudaStreamSynchronize(s));
  EXPECT_EQ(count.value, 2);
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(parent));

  // A cycle can be drawn and not instantiated.
  OK(cudaGraphAddDependencies(graph, &host, &set, nullptr, 1));
  EXPECT_ERROR(cudaErrorInvalidValue, cudaGraphInstantiate(&exec, graph));
  OK(cudaGraphRemoveDependencies(graph, &host, &set, nullptr, 1));
  OK(cudaGraphDestroyNode(empty));
  OK(cudaGraphGetNodes(graph, nullptr, &nodes));
  EXPECT_EQ(nodes, 4u);
  OK(cudaGraphDestroy(graph));
  OK(cudaFree(d));
  OK(cudaFreeHost(pinned));
  OK(cudaStreamDestroy(s));
}

static void captured() {
  int* d;
  OK(cudaMalloc(&d, 64));
  OK(cudaMemset(d, 0, 64));
  cudaStream_t a, b;
  cudaEvent_t fork, join;
  OK(cudaStreamCreate(&a));
  OK(cudaStreamCreate(&b));
  OK(cudaEventCreate(&fork));
  OK(cudaEventCreate(&join));
  cudaStreamCaptureStatus status;
  OK(cudaStreamIsCapturing(a, &status));
  EXPECT(status == cudaStreamCaptureStatusNone);
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  add<<<1, 8, 0, a>>>(d, 1, 8);
  OK(cudaEventRecord(fork, a));
  OK(cudaStreamWaitEvent(b, fork, 0));
  OK(cudaStreamIsCapturing(b, &status));
  EXPECT(status == cudaStreamCaptureStatusActive);
  add<<<1, 8, 0, b>>>(d + 8, 2, 8);
  add<<<1, 8, 0, a>>>(d, 10, 8);
  OK(cudaEventRecord(join, b));
  OK(cudaStreamWaitEvent(a, join, 0));
  add<<<1, 16, 0, a>>>(d, 100, 16);
  unsigned long long id = 0;
  cudaGraph_t graph = nullptr;
  std::size_t count = 0;
  const cudaGraphNode_t* dependencies = nullptr;
  OK(cudaStreamGetCaptureInfo(a, &status, &id, &graph, &dependencies, nullptr, &count));
  EXPECT(id != 0 && graph != nullptr && count == 1 && dependencies != nullptr);
  OK(cudaStreamEndCapture(a, &graph));
  EXPECT_EQ(first(d), 0);  // nothing has run
  std::size_t nodes = 0, edges = 0;
  OK(cudaGraphGetNodes(graph, nullptr, &nodes));
  OK(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
  EXPECT(nodes == 4 && edges == 4);
  cudaGraphExec_t exec;
  OK(cudaGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cudaGraphUpload(exec, a));
  for (int i = 0; i < 4; ++i) OK(cudaGraphLaunch(exec, a));
  OK(cudaStreamSynchronize(a));
  EXPECT_EQ(first(d), 4 * 111);
  EXPECT_EQ(first(d + 8), 4 * 102);

  // Another capture of the same shape updates it; one of another shape does not.
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  add<<<1, 8, 0, a>>>(d, 1000, 8);
  cudaGraph_t other;
  OK(cudaStreamEndCapture(a, &other));
  cudaGraphExecUpdateResultInfo info{};
  EXPECT_ERROR(cudaErrorGraphExecUpdateFailure, cudaGraphExecUpdate(exec, other, &info));
  EXPECT(info.result == cudaGraphExecUpdateErrorTopologyChanged);
  cudaGraphExec_t small;
  OK(cudaGraphInstantiate(&small, other));
  OK(cudaGraphDestroy(other));
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
  add<<<1, 8, 0, a>>>(d, -444, 8);
  OK(cudaStreamEndCapture(a, &other));
  OK(cudaGraphExecUpdate(small, other, &info));
  EXPECT(info.result == cudaGraphExecUpdateSuccess);
  OK(cudaGraphLaunch(small, nullptr));
  OK(cudaDeviceSynchronize());
  EXPECT_EQ(first(d), 0);
  const char* path = "gannet-sim-graph-test.dot";
  OK(cudaGraphDebugDotPrint(graph, path, cudaGraphDebugDotFlagsVerbose));
  if (std::FILE* f = std::fopen(path, "r")) {
    char text[4096] = {};
    EXPECT(std::fread(text, 1, sizeof text - 1, f) > 0 && std::strstr(text, "digraph") != nullptr &&
           std::strstr(text, "->") != nullptr);
    std::fclose(f);
    std::remove(path);
  } else {
    EXPECT(!"the picture was written");
  }
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphExecDestroy(small));
  OK(cudaGraphDestroy(graph));
  OK(cudaGraphDestroy(other));
  OK(cudaEventDestroy(fork));
  OK(cudaEventDestroy(join));
  OK(cudaStreamDestroy(a));
  OK(cudaStreamDestroy(b));
  OK(cudaFree(d));
}

static void refused() {
  int *d, *more;
  OK(cudaMalloc(&d, 64));
  cudaStream_t a, b;
  cudaEvent_t e;
  cudaGraph_t graph;
  OK(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
  OK(cudaEventCreate(&e));
  // Waits and queries can not be recorded, and spoil the capture.
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(a));
  cudaStreamCaptureStatus status;
  OK(cudaStreamIsCapturing(a, &status));
  EXPECT(status == cudaStreamCaptureStatusInvalidated);
  EXPECT_ERROR(cudaErrorStreamCaptureInvalidated, cudaMemsetAsync(d, 0, 64, a));
  EXPECT_ERROR(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(a, &graph));
  EXPECT(graph == nullptr);
  // Calls that could wait are forbidden while a global capture is on, and are not in a relaxed one.
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaMalloc(&more, 4));
  EXPECT_ERROR(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(a, &graph));
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  OK(cudaMalloc(&more, 4));
  OK(cudaFree(more));
  OK(cudaStreamEndCapture(a, &graph));
  OK(cudaGraphDestroy(graph));
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaDeviceSynchronize());
  EXPECT_ERROR(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(a, &graph));
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  OK(cudaThreadExchangeStreamCaptureMode(&mode));
  EXPECT(mode == cudaStreamCaptureModeGlobal);
  OK(cudaMalloc(&more, 4));
  OK(cudaFree(more));
  OK(cudaThreadExchangeStreamCaptureMode(&mode));
  OK(cudaStreamEndCapture(a, &graph));
  OK(cudaGraphDestroy(graph));
  // The legacy stream would wait for a blocking stream that captures.
  cudaStream_t blocking;
  OK(cudaStreamCreate(&blocking));
  OK(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeRelaxed));
  EXPECT_ERROR(cudaErrorStreamCaptureImplicit, cudaMemsetAsync(d, 0, 64, nullptr));
  EXPECT_ERROR(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(blocking, &graph));
  EXPECT_ERROR(cudaErrorStreamCaptureUnsupported, cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal));
  // Work that forked off has to come back.
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  OK(cudaEventRecord(e, a));
  OK(cudaStreamWaitEvent(b, e, 0));
  OK(cudaMemsetAsync(d, 0, 64, b));
  EXPECT_ERROR(cudaErrorStreamCaptureUnmatched, cudaStreamEndCapture(b, &graph));
  EXPECT_ERROR(cudaErrorStreamCaptureUnjoined, cudaStreamEndCapture(a, &graph));
  // What was recorded before the capture is outside of it; what a capture recorded has no state.
  OK(cudaEventRecord(e, b));
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  EXPECT_ERROR(cudaErrorStreamCaptureIsolation, cudaStreamWaitEvent(a, e, 0));
  EXPECT_ERROR(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(a, &graph));
  OK(cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  OK(cudaEventRecord(e, a));
  EXPECT_ERROR(cudaErrorCapturedEvent, cudaEventSynchronize(e));
  EXPECT_ERROR(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(a, &graph));
  EXPECT_ERROR(cudaErrorIllegalState, cudaStreamEndCapture(a, &graph));
  OK(cudaEventDestroy(e));
  OK(cudaStreamDestroy(a));
  OK(cudaStreamDestroy(b));
  OK(cudaStreamDestroy(blocking));
  OK(cudaFree(d));
}

/// Memory that belongs to the graph: allocated and freed by nodes.
static void memory_nodes() {
  cudaStream_t s;
  OK(cudaStreamCreate(&s));
  int *temporary, *result;
  OK(cudaMalloc(&result, 4));
  cudaGraph_t graph;
  OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
  OK(cudaMallocAsync(&temporary, 4, s));
  OK(cudaMemsetAsync(temporary, 3, 4, s));
  add<<<1, 1, 0, s>>>(temporary, 1, 1);
  OK(cudaMemcpyAsync(result, temporary, 4, cudaMemcpyDeviceToDevice, s));
  OK(cudaFreeAsync(temporary, s));
  OK(cudaStreamEndCapture(s, &graph));
  cudaGraphExec_t exec;
  OK(cudaGraphInstantiate(&exec, graph));
  for (int i = 0; i < 2; ++i) {
    OK(cudaGraphLaunch(exec, s));
    OK(cudaStreamSynchronize(s));
    EXPECT_EQ(first(result), 0x03030304);
  }
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(graph));
  OK(cudaFree(result));
  OK(cudaStreamDestroy(s));
}

static std::uint64_t graph_memory(cudaGraphMemAttributeType attribute) {
  std::uint64_t value = ~std::uint64_t{0};
  OK(cudaDeviceGetGraphMemAttribute(0, attribute, &value));
  return value;
}

/// A graph that allocates, and frees what it allocated unless the caller is to.
static cudaGraphExec_t allocating_graph(std::size_t bytes, bool frees, void** pointer) {
  cudaGraph_t graph;
  cudaGraphNode_t allocate, free;
  cudaGraphExec_t exec;
  cudaMemAllocNodeParams p{};
  p.bytesize = bytes;
  p.poolProps.allocType = cudaMemAllocationTypePinned;
  p.poolProps.location = {cudaMemLocationTypeDevice, 0};
  OK(cudaGraphCreate(&graph, 0));
  OK(cudaGraphAddMemAllocNode(&allocate, graph, nullptr, 0, &p));
  *pointer = p.dptr;
  if (frees) OK(cudaGraphAddMemFreeNode(&free, graph, &allocate, 1, p.dptr));
  OK(cudaGraphInstantiate(&exec, graph));
  OK(cudaGraphDestroy(graph));
  return exec;
}

/// Launches hold memory: in one stream the same, in two streams each its own, what is not freed until it is; a trim gives back.
static void memory_of_graphs() {
  constexpr std::size_t kBytes = 1 << 20;
  const auto used = [] { return graph_memory(cudaGraphMemAttrUsedMemCurrent); };
  OK(cudaDeviceGraphMemTrim(0));
  const std::uint64_t base = used();
  cudaStream_t a, b;
  OK(cudaStreamCreate(&a));
  OK(cudaStreamCreate(&b));
  void *first, *second, *kept;
  cudaGraphExec_t graphs[] = {allocating_graph(kBytes, true, &first), allocating_graph(2 * kBytes, true, &second),
                              allocating_graph(4 * kBytes, false, &kept)};
  EXPECT_EQ(used(), base);
  OK(cudaGraphLaunch(graphs[0], a));
  OK(cudaGraphLaunch(graphs[0], a));
  EXPECT_EQ(used(), base + kBytes);
  OK(cudaGraphLaunch(graphs[1], a));
  EXPECT_EQ(used(), base + 2 * kBytes);
  OK(cudaGraphLaunch(graphs[0], b));
  EXPECT_EQ(used(), base + 3 * kBytes);
  OK(cudaGraphLaunch(graphs[2], a));
  EXPECT_EQ(used(), base + 7 * kBytes);
  OK(cudaDeviceSynchronize());
  OK(cudaDeviceGraphMemTrim(0));
  EXPECT_EQ(used(), base + 4 * kBytes);
  OK(cudaFree(kept));
  EXPECT_EQ(used(), base + 4 * kBytes);
  OK(cudaDeviceGraphMemTrim(0));
  EXPECT_EQ(used(), base);
  EXPECT_EQ(graph_memory(cudaGraphMemAttrUsedMemHigh), base + 7 * kBytes);
  std::uint64_t zero = 0;
  EXPECT_ERROR(cudaErrorInvalidValue, cudaDeviceSetGraphMemAttribute(0, cudaGraphMemAttrUsedMemCurrent, &zero));
  OK(cudaDeviceSetGraphMemAttribute(0, cudaGraphMemAttrUsedMemHigh, &zero));
  EXPECT_EQ(graph_memory(cudaGraphMemAttrUsedMemHigh), base);
  for (cudaGraphExec_t exec : graphs) OK(cudaGraphExecDestroy(exec));
  OK(cudaStreamDestroy(a));
  OK(cudaStreamDestroy(b));
}

int main() {
  built();
  captured();
  refused();
  memory_nodes();
  memory_of_graphs();
  return finish();
}
