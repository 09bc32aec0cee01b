// The library itself: version, errors, memory, and what is not simulated.
#include "nccl/api.h"

#include <cuda_runtime_api.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "nccl/communicator.h"
#include "nccl/group.h"

namespace sim::nccl {

void stop(const std::string& text) {
  std::fflush(stdout);
  say(text);
  _exit(2);
}

void not_simulated(const char* name) { stop(fmt::format("{} is not simulated", name)); }

ncclResult_t fail(const char* name, ncclResult_t result, const char* text) {
  const std::string message = text;
  set_last_error(message.starts_with(name) ? message : fmt::format("{}: {}", name, message));
  note_group_error(result);
  return result;
}

}  // namespace sim::nccl

using namespace sim::nccl;

NCCL_API(ncclResult_t, ncclGetVersion, int* version) {
  return call("ncclGetVersion", [&] {
    require(version != nullptr, "version must not be null");
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
  });
}

NCCL_API(const char*, ncclGetErrorString, ncclResult_t result) {
  constexpr std::array<const char*, ncclNumResults> kTexts = {
      "no error",
      "unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
      "unhandled system error (run with NCCL_DEBUG=INFO for details)",
      "internal error - please report this issue to the NCCL developers",
      "invalid argument (run with NCCL_DEBUG=WARN for details)",
      "invalid usage (run with NCCL_DEBUG=WARN for details)",
      "remote process exited or there was a network error",
      "NCCL operation in progress",
  };
  return result >= 0 && result < ncclNumResults ? kTexts[result] : "unknown result code";
}

NCCL_API(const char*, ncclGetLastError, ncclComm_t) { return last_error(); }

NCCL_API(void, ncclResetDebugInit, ) {}  // NCCL_DEBUG is read when something is to be said

NCCL_API(ncclResult_t, ncclMemAlloc, void** ptr, size_t size) {
  return call("ncclMemAlloc", [&] {
    require(ptr != nullptr, "ptr must not be null");
    if (const cudaError_t error = cudaMalloc(ptr, size); error != cudaSuccess) {
      throw Failure(ncclUnhandledCudaError, "{} bytes: {}", size, cudaGetErrorString(error));
    }
    return ncclSuccess;
  });
}

NCCL_API(ncclResult_t, ncclMemFree, void* ptr) {
  return call("ncclMemFree", [&] {
    if (const cudaError_t error = cudaFree(ptr); error != cudaSuccess)
      throw Failure(ncclUnhandledCudaError, "{}", cudaGetErrorString(error));
    return ncclSuccess;
  });
}

namespace {

// Registration makes transfers faster on hardware; here it only has to be consistent.
ncclResult_t add_registration(const char* name, ncclComm_t handle, void* buffer, std::size_t size, void** out) {
  return call(name, [&] {
    require(out != nullptr && buffer != nullptr && size > 0, "buffer, size and handle must be given");
    const std::shared_ptr<ncclComm> comm = ready_communicator(handle);
    auto registration = std::make_unique<char>();
    *out = registration.get();
    const std::lock_guard lock(comm->mutex);
    comm->registrations[*out] = std::move(registration);
    return ncclSuccess;
  });
}

ncclResult_t remove_registration(const char* name, ncclComm_t handle, void* registration) {
  return call(name, [&] {
    if (registration == nullptr) return ncclSuccess;
    const std::shared_ptr<ncclComm> comm = communicator(handle);
    const std::lock_guard lock(comm->mutex);
    if (comm->registrations.erase(registration) == 0)
      throw Failure(ncclInvalidArgument, "{} is no registration of this communicator", registration);
    return ncclSuccess;
  });
}

}  // namespace

NCCL_API(ncclResult_t, ncclCommRegister, const ncclComm_t comm, void* buff, size_t size, void** handle) {
  return add_registration("ncclCommRegister", comm, buff, size, handle);
}

NCCL_API(ncclResult_t, ncclCommDeregister, const ncclComm_t comm, void* handle) {
  return remove_registration("ncclCommDeregister", comm, handle);
}

NCCL_API(ncclResult_t, ncclCommWindowRegister, ncclComm_t comm, void* buff, size_t size, ncclWindow_t* win, int winFlags) {
  const bool known = winFlags == NCCL_WIN_DEFAULT || winFlags == NCCL_WIN_COLL_SYMMETRIC;
  const bool aligned = reinterpret_cast<std::uintptr_t>(buff) % NCCL_WIN_REQUIRED_ALIGNMENT == 0;
  if (!known) return fail("ncclCommWindowRegister", ncclInvalidArgument, "invalid flags");
  if (!aligned)
    return fail("ncclCommWindowRegister", ncclInvalidArgument, "the buffer is not aligned to NCCL_WIN_REQUIRED_ALIGNMENT");
  return add_registration("ncclCommWindowRegister", comm, buff, size, reinterpret_cast<void**>(win));
}

NCCL_API(ncclResult_t, ncclCommWindowDeregister, ncclComm_t comm, ncclWindow_t win) {
  return remove_registration("ncclCommWindowDeregister", comm, win);
}

// Communication started by kernels, and estimates of time. The declarations do not matter: the functions do not return.
#define NOT_SIMULATED(name) \
  NCCL_API(void, name, ) { not_simulated(#name); }
NOT_SIMULATED(ncclDevCommCreate)
NOT_SIMULATED(ncclDevCommDestroy)
NOT_SIMULATED(ncclGinBarrierCreateRequirement)
NOT_SIMULATED(ncclLLA2ACalcSlots)
NOT_SIMULATED(ncclLLA2ACreateRequirement)
NOT_SIMULATED(ncclLsaBarrierCreateRequirement)
NOT_SIMULATED(ncclTeamLsa)
NOT_SIMULATED(ncclTeamRail)
NOT_SIMULATED(ncclTeamRankToLsa)
NOT_SIMULATED(ncclTeamRankToWorld)
NOT_SIMULATED(ncclTeamWorld)
NCCL_API(ncclResult_t, ncclGroupSimulateEnd, ncclSimInfo_t*) { not_simulated("ncclGroupSimulateEnd"); }
extern "C" [[gnu::visibility("default")]] void ncclResetDebugInitInternal();
extern "C" void ncclResetDebugInitInternal() {}
