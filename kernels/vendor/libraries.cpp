#include "kernels/vendor/libraries.h"

#include "kernels/check.h"
#include "kernels/vendor/vendor.h"

namespace gannet::kernels::vendor {
namespace {

std::string version_text(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace

Libraries::Libraries(const cuda::Device& device_given)
    : device(device_given),
      cudnn_library(open_cudnn()),
      cublaslt_library(open_cublaslt()),
      cudnn(cudnn::calls_of(cudnn_library)),
      cublaslt(cublaslt::calls_of(cublaslt_library)) {
  const cudnn::Status of_cudnn = cudnn.create(&cudnn_handle);
  GANNET_CHECK(of_cudnn == cudnn::success, "cuDNN does not start here ({})", cudnn::text_of(cudnn, of_cudnn));
  try {
    GANNET_CUDNN(cudnn, set_stream(cudnn_handle, device.stream));
    const cublaslt::Status of_cublaslt = cublaslt.create(&cublaslt_handle);
    GANNET_CHECK(of_cublaslt == cublaslt::success, "cuBLASLt does not start here ({})", cublaslt.status_string(of_cublaslt));
  } catch (...) {
    cudnn.destroy(cudnn_handle);
    throw;
  }
}

Libraries::~Libraries() {
  cublaslt.destroy(cublaslt_handle);
  cudnn.destroy(cudnn_handle);
}

std::string Libraries::versions() const {
  return fmt::format("cuDNN {}, cuBLASLt {}", version_text(cudnn.version()), version_text(cublaslt.version()));
}

std::string describe_libraries() {
  std::string text;
  try {
    const Library library = open_cudnn();
    text = version_text(cudnn::calls_of(library).version());
  } catch (const InputError& error) {
    text = fmt::format("none: {}", error.what());
  }
  try {
    const Library library = open_cublaslt();
    return fmt::format("{}; cuBLASLt {}", text, version_text(cublaslt::calls_of(library).version()));
  } catch (const InputError& error) {
    return fmt::format("{}; no cuBLASLt: {}", text, error.what());
  }
}

}  // namespace gannet::kernels::vendor
