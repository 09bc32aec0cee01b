#include "kernels/vendor/cudnn.h"

#include "kernels/check.h"

namespace gannet::kernels::vendor::cudnn {

Calls calls_of(const Library& library) {
  Calls calls{};
  library.bind(calls.version, "cudnnGetVersion");
  library.bind(calls.error_string, "cudnnGetErrorString");
  library.bind(calls.last_error, "cudnnGetLastErrorString");
  library.bind(calls.create, "cudnnCreate");
  library.bind(calls.destroy, "cudnnDestroy");
  library.bind(calls.set_stream, "cudnnSetStream");
  library.bind(calls.create_descriptor, "cudnnBackendCreateDescriptor");
  library.bind(calls.destroy_descriptor, "cudnnBackendDestroyDescriptor");
  library.bind(calls.finalize, "cudnnBackendFinalize");
  library.bind(calls.set_attribute, "cudnnBackendSetAttribute");
  library.bind(calls.get_attribute, "cudnnBackendGetAttribute");
  library.bind(calls.execute, "cudnnBackendExecute");
  return calls;
}

std::string text_of(const Calls& calls, Status status) {
  char more[512] = "";
  calls.last_error(more, sizeof more);
  return fmt::format("{}{}{}", calls.error_string(status), more[0] == 0 ? "" : ": ", more);
}

void check(const Calls& calls, Status status, const char* call, const char* file, int line) {
  if (status == success) [[likely]]
    return;
  throw RuntimeError(fmt::format("cuDNN: {} from {} at {}:{}", text_of(calls, status), call, file, line));
}

}  // namespace gannet::kernels::vendor::cudnn
