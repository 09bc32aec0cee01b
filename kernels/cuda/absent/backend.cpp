// What stands for the CUDA backend in a build without the CUDA toolkit.
#include "kernels/cuda/backend.h"

#include "kernels/check.h"

namespace gannet::kernels {

std::string cuda_unavailable() { return "this program was built without CUDA"; }

CudaMachine cuda_machine() { return {}; }

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&) { throw RuntimeError(cuda_unavailable()); }

}  // namespace gannet::kernels
