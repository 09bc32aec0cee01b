#include "runtime/capture.h"
#include "runtime/graph.h"
#include "runtime/per_thread.h"
#include "runtime/work.h"

using namespace sim::runtime;

static cudaError_t launch_kernel(Process& process, Lock& lock, const void* function, dim3 grid, dim3 block, void** arguments,
                                 size_t shared, cudaStream_t stream, Attributes attributes) {
  CUstream_st* s = process.stream(stream, kPerThread);
  if (s == nullptr) return cudaErrorInvalidResourceHandle;
  KernelWork work;
  work.attributes = std::move(attributes);
  if (const cudaError_t error = make_kernel_work(work, function, grid, block, arguments, shared, s->device);
      error != cudaSuccess)
    return error;
  return enqueue(lock, *s, std::move(work));
}

static Attributes cooperative_attribute() {
  cudaLaunchAttributeValue value{};
  value.cooperative = 1;
  return {{cudaLaunchAttributeCooperative, value}};
}

extern "C" {

#ifdef CUDA_API_PER_THREAD_DEFAULT_STREAM
cudaError_t cudaLaunchKernel_ptsz(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared,
                                  cudaStream_t stream) {
#else
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared,
                             cudaStream_t stream) {
#endif
  return call([&](Process& process, Lock& lock) {
    return launch_kernel(process, lock, function, grid, block, arguments, shared, stream, {});
  });
}

#ifdef CUDA_API_PER_THREAD_DEFAULT_STREAM
cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                                    cudaStream_t stream) {
#else
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                               cudaStream_t stream) {
#endif
  return call([&](Process& process, Lock& lock) {
    return launch_kernel(process, lock, kernel, grid, block, arguments, shared, stream, {});
  });
}

#ifdef CUDA_API_PER_THREAD_DEFAULT_STREAM
cudaError_t cudaLaunchKernelExC_ptsz(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
#else
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
#endif
  return call([&](Process& process, Lock& lock) {
    if (config == nullptr || (config->numAttrs != 0 && config->attrs == nullptr)) return cudaErrorInvalidValue;
    Attributes attributes;
    for (unsigned i = 0; i < config->numAttrs; ++i) attributes[config->attrs[i].id] = config->attrs[i].val;
    return launch_kernel(process, lock, function, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes,
                         config->stream, std::move(attributes));
  });
}

cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t shared,
                                        cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    return launch_kernel(process, lock, function, grid, block, arguments, shared, stream, cooperative_attribute());
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return call([&](Process& process, Lock& lock) {
    CUstream_st* s = process.stream(stream, kPerThread);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (function == nullptr) return cudaErrorInvalidValue;
    return enqueue(lock, *s, HostWork{function, data});
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    CUstream_st* s = process.stream(stream, kPerThread);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    if (Graphs::instance().executables.count(executable) == 0) return cudaErrorInvalidValue;
    return launch(lock, *executable, *s);
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
  return call([&](Process& process, Lock&) {
    if (process.stream(stream, kPerThread) == nullptr) return cudaErrorInvalidResourceHandle;
    return Graphs::instance().executables.count(executable) != 0 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphInstantiateWithParams(cudaGraphExec_t* executable, cudaGraph_t graph,
                                           cudaGraphInstantiateParams* parameters) {
  return call([&](Process&, Lock&) {
    if (executable == nullptr || parameters == nullptr || !is_graph(graph)) return cudaErrorInvalidValue;
    const cudaError_t error = instantiate(executable, *graph, parameters->flags, &parameters->errNode_out);
    parameters->result_out = error == cudaSuccess ? cudaGraphInstantiateSuccess : cudaGraphInstantiateInvalidStructure;
    return error;
  });
}
}
