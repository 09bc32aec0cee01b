#include "kernels/cuda/ranges.h"

#include <nvtx3/nvToolsExt.h>

namespace gannet::kernels::cuda {

// Without a profiler in the process each of these calls is one test of a pointer.
Ranges::Ranges() : domain_(nvtxDomainCreateA("gannet")) {}
Ranges::~Ranges() { nvtxDomainDestroy(domain_); }

void Ranges::begin(const std::string& name) {
  nvtxEventAttributes_t attributes{};
  attributes.version = NVTX_VERSION;
  attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
  attributes.message.ascii = name.c_str();
  nvtxDomainRangePushEx(domain_, &attributes);
}

void Ranges::end() { nvtxDomainRangePop(domain_); }

}  // namespace gannet::kernels::cuda
