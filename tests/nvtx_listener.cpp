// Writes down the NVTX ranges of a process and the kernels and graphs that are started in them, a line an event, into the file
// that NVTX_LISTENER names. Loaded by the headers of NVTX as a profiler is (NVTX_INJECTION64_PATH), and by LD_PRELOAD, so that
// it stands before the functions of the CUDA runtime that start work.
#include <dlfcn.h>
#include <nvtx3/nvToolsExt.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace {

void write(const char* event, const char* name = "") {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  static std::FILE* const file = std::fopen(std::getenv("NVTX_LISTENER"), "w");
  if (file == nullptr) std::abort();
  std::fprintf(file, "%s %s\n", event, name);
  std::fflush(file);
}

// The one domain that there is.
nvtxDomainHandle_t domain() {
  static char handle;
  return reinterpret_cast<nvtxDomainHandle_t>(&handle);
}

nvtxDomainHandle_t create(const char* name) {
  write("domain", name);
  return domain();
}
int push(nvtxDomainHandle_t in, const nvtxEventAttributes_t* attributes) {
  if (in == domain()) write("push", attributes->message.ascii);
  return 0;
}
int pop(nvtxDomainHandle_t in) {
  if (in == domain()) write("pop");
  return 0;
}

// As dim3 is passed.
struct Extents {
  unsigned x, y, z;
};
using Start = int(const void*, Extents, Extents, void**, std::size_t, void*);

int start(const char* function, const void* kernel, Extents grid, Extents block, void** arguments, std::size_t shared,
          void* stream) {
  write("kernel");
  return reinterpret_cast<Start*>(dlsym(RTLD_NEXT, function))(kernel, grid, block, arguments, shared, stream);
}

}  // namespace

extern "C" {

int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned int size = 0;
  if (callbacks == nullptr || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size)) return 0;
  *table[NVTX_CBID_CORE2_DomainCreateA] = reinterpret_cast<NvtxFunctionPointer>(create);
  *table[NVTX_CBID_CORE2_DomainRangePushEx] = reinterpret_cast<NvtxFunctionPointer>(push);
  *table[NVTX_CBID_CORE2_DomainRangePop] = reinterpret_cast<NvtxFunctionPointer>(pop);
  return 1;
}

int cudaLaunchKernel(const void* kernel, Extents grid, Extents block, void** arguments, std::size_t shared, void* stream) {
  return start("cudaLaunchKernel", kernel, grid, block, arguments, shared, stream);
}
int __cudaLaunchKernel(const void* kernel, Extents grid, Extents block, void** arguments, std::size_t shared, void* stream) {
  return start("__cudaLaunchKernel", kernel, grid, block, arguments, shared, stream);
}
int cudaLaunchCooperativeKernel(const void* kernel, Extents grid, Extents block, void** arguments, std::size_t shared,
                                void* stream) {
  return start("cudaLaunchCooperativeKernel", kernel, grid, block, arguments, shared, stream);
}
int cudaGraphLaunch(void* graph, void* stream) {
  write("graph");
  return reinterpret_cast<int (*)(void*, void*)>(dlsym(RTLD_NEXT, "cudaGraphLaunch"))(graph, stream);
}

}  // extern "C"
