// The CUDA backend: NHWC, hand-written kernels on one stream, copies of inputs on another; a program is one CUDA Graph.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace gannet::kernels {

// Whose kernels compute what both have: ours, those of cuDNN and cuBLASLt (kernels/vendor), or those that are the faster for
// the spec on this device.
enum class CudaKernels { native, vendor, automatic };

struct CudaOptions {
  int device = 0;
  bool tf32 = false;  // fp32 products may run on tensor cores with 10-bit mantissas
  // Kernels are chosen as for a device of so many; 0: of those that it has. With few, tests see the largest tiles on small
  // problems.
  int multiprocessors = 0;
  // Programs start their kernels one by one, each in the range of its operator, instead of as one graph: for profilers.
  bool kernel_by_kernel = false;
  CudaKernels kernels = CudaKernels::native;
  std::function<void(const std::string&)> log = {};  // takes lines on what goes on beside the work, as that times are not kept
};

// Why device work is impossible here, in one sentence ("no CUDA driver is installed"); empty when it is possible.
std::string cuda_unavailable();

// Does a backend for such a device make this one kernel? Needs none here; multiprocessors: 0 for those of an A100.
bool cuda_computes_together(const ConvolutionBackward& spec, const CudaOptions& options = {});

// What is installed. Versions are of CUDA ("13.0"), empty where there is nothing.
struct CudaMachine {
  struct Device {
    std::string name;
    int major = 0, minor = 0;  // compute capability
    int multiprocessors = 0;
    std::size_t bytes = 0;    // of memory
    std::string unsupported;  // why it can not be used; empty when it can
  };
  std::string driver, runtime;
  std::string cudnn;  // "9.19.0; cuBLASLt 13.1.0", or which of them is missing and why
  std::vector<Device> devices;
};
CudaMachine cuda_machine();

// RuntimeError with that sentence where it is not; InputError where the kernels asked for are not to be had.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options = {});

}  // namespace gannet::kernels
