// NVTX ranges, in a domain of their own: what Nsight Systems and Nsight Compute show beside the kernels.
#pragma once

#include <string>

struct nvtxDomainRegistration_st;

namespace gannet::kernels::cuda {

class Ranges {
 public:
  Ranges();
  ~Ranges();
  Ranges(const Ranges&) = delete;
  Ranges& operator=(const Ranges&) = delete;
  void begin(const std::string& name);
  void end();

 private:
  nvtxDomainRegistration_st* domain_;
};

}  // namespace gannet::kernels::cuda
