#include "kernels/vendor/cublaslt.h"

#include "kernels/check.h"

namespace gannet::kernels::vendor::cublaslt {

Calls calls_of(const Library& library) {
  Calls calls{};
  library.bind(calls.version, "cublasLtGetVersion");
  library.bind(calls.status_string, "cublasLtGetStatusString");
  library.bind(calls.create, "cublasLtCreate");
  library.bind(calls.destroy, "cublasLtDestroy");
  library.bind(calls.create_layout, "cublasLtMatrixLayoutCreate");
  library.bind(calls.destroy_layout, "cublasLtMatrixLayoutDestroy");
  library.bind(calls.create_operation, "cublasLtMatmulDescCreate");
  library.bind(calls.destroy_operation, "cublasLtMatmulDescDestroy");
  library.bind(calls.set_operation, "cublasLtMatmulDescSetAttribute");
  library.bind(calls.create_preference, "cublasLtMatmulPreferenceCreate");
  library.bind(calls.destroy_preference, "cublasLtMatmulPreferenceDestroy");
  library.bind(calls.set_preference, "cublasLtMatmulPreferenceSetAttribute");
  library.bind(calls.find, "cublasLtMatmulAlgoGetHeuristic");
  library.bind(calls.multiply, "cublasLtMatmul");
  return calls;
}

void check(const Calls& calls, Status status, const char* call, const char* file, int line) {
  if (status == success) [[likely]]
    return;
  throw RuntimeError(fmt::format("cuBLASLt: {} from {} at {}:{}", calls.status_string(status), call, file, line));
}

}  // namespace gannet::kernels::vendor::cublaslt
