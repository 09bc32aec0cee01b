// cuDNN and cuBLASLt, ready to work on one device and its stream.
#pragma once

#include <string>

#include "kernels/cuda/device.h"
#include "kernels/vendor/cublaslt.h"
#include "kernels/vendor/cudnn.h"

namespace gannet::kernels::vendor {

inline Library open_cudnn() { return {"libcudnn.so.9", "cudnn"}; }
inline Library open_cublaslt() { return {"libcublasLt.so.13", "cu13"}; }

struct Libraries {
  // InputError where one is not installed, or does not start here.
  explicit Libraries(const cuda::Device& device);
  ~Libraries();
  Libraries(const Libraries&) = delete;
  Libraries& operator=(const Libraries&) = delete;

  std::string versions() const;  // "cuDNN 9.19.0, cuBLASLt 13.1.0"

  const cuda::Device& device;
  const Library cudnn_library, cublaslt_library;
  const cudnn::Calls cudnn;
  const cublaslt::Calls cublaslt;
  cudnn::Handle cudnn_handle = nullptr;
  cublaslt::Handle cublaslt_handle = nullptr;
};

}  // namespace gannet::kernels::vendor
