// A point in the work of a stream that other streams wait for.
#pragma once

#include "kernels/cuda/device.h"

namespace gannet::kernels::cuda {

class Event {
 public:
  Event() { GANNET_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace gannet::kernels::cuda
