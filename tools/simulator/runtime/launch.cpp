// What a launch is checked for before it has a place in a stream.
#include <cstring>

#include "machine/occupancy.h"
#include "runtime/work.h"

namespace sim::runtime {
namespace {

std::uint64_t count(const dim3& d) { return static_cast<std::uint64_t>(d.x) * d.y * d.z; }

cudaError_t refuse(const KernelWork& work, cudaError_t error, std::string why) {
  const Kernel* kernel = work.function->devices[this_thread().device].kernel;
  misuse("launch of " + (kernel != nullptr ? kernel->demangled : work.function->name), std::move(why));
  return error;
}

cudaError_t check_attributes(KernelWork& work) {
  for (const auto& [id, value] : work.attributes) {
    switch (id) {
      case cudaLaunchAttributeCooperative:
        work.cooperative = value.cooperative != 0;
        break;
      case cudaLaunchAttributeClusterDimension:
        if (static_cast<std::uint64_t>(value.clusterDim.x) * value.clusterDim.y * value.clusterDim.z > 1)
          throw Error("launch of {}: clusters of {} x {} x {} blocks are not simulated", work.function->name,
                      value.clusterDim.x, value.clusterDim.y, value.clusterDim.z);
        break;
      case cudaLaunchAttributeProgrammaticEvent:
        throw Error("launch of {}: cudaLaunchAttributeProgrammaticEvent is not simulated", work.function->name);
      case cudaLaunchAttributeLaunchCompletionEvent:
        throw Error("launch of {}: cudaLaunchAttributeLaunchCompletionEvent is not simulated", work.function->name);
      case cudaLaunchAttributeDeviceUpdatableKernelNode:
        if (value.deviceUpdatableKernelNode.deviceUpdatable != 0)
          throw Error("launch of {}: device-updatable kernel nodes are not simulated", work.function->name);
        break;
      // A dependent launch that starts early is a launch that may start early: the simulator starts it late. The others are
      // hints.
      case cudaLaunchAttributeProgrammaticStreamSerialization:
      case cudaLaunchAttributeIgnore:
      case cudaLaunchAttributeAccessPolicyWindow:
      case cudaLaunchAttributeSynchronizationPolicy:
      case cudaLaunchAttributeClusterSchedulingPolicyPreference:
      case cudaLaunchAttributePriority:
      case cudaLaunchAttributeMemSyncDomainMap:
      case cudaLaunchAttributeMemSyncDomain:
      case cudaLaunchAttributePreferredClusterDimension:
      case cudaLaunchAttributePreferredSharedMemoryCarveout:
      case cudaLaunchAttributeNvlinkUtilCentricScheduling:
        break;
      default:
        return cudaErrorInvalidValue;
    }
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t check_launch(KernelWork& work, int device) {
  if (const cudaError_t error = check_attributes(work); error != cudaSuccess) return error;
  const DeviceModel& model = Process::instance().model;
  const Kernel& kernel = kernel_on(*work.function, device);
  const std::uint64_t threads = count(work.block);
  if (count(work.grid) == 0 || work.grid.x > 0x7fffffffu || work.grid.y > 65535 || work.grid.z > 65535)
    return refuse(work, cudaErrorInvalidConfiguration,
                  fmt::format("a grid of {} x {} x {} blocks is not possible", work.grid.x, work.grid.y, work.grid.z));
  if (threads == 0 || work.block.x > 1024 || work.block.y > 1024 || work.block.z > 64 ||
      threads > static_cast<std::uint64_t>(model.max_threads_per_block))
    return refuse(work, cudaErrorInvalidConfiguration,
                  fmt::format("a block of {} x {} x {} threads is not possible", work.block.x, work.block.y, work.block.z));
  if (kernel.required_threads[0] > 0) {
    const std::uint32_t b[3] = {work.block.x, work.block.y, work.block.z};
    for (int i = 0; i < 3; ++i)
      if (static_cast<int>(b[i]) != std::max(1, kernel.required_threads[i]))
        return refuse(work, cudaErrorInvalidValue, "the block is not of the size that the kernel requires");
  }
  if (kernel.max_threads[0] > 0) {
    const auto bound = static_cast<std::uint64_t>(kernel.max_threads[0]) * std::max(1, kernel.max_threads[1]) *
                       std::max(1, kernel.max_threads[2]);
    if (threads > bound)
      return refuse(work, cudaErrorInvalidValue,
                    fmt::format("a block of {} threads exceeds the kernel's __launch_bounds__ of {}", threads, bound));
  }

  const auto& settings = work.function->devices[device];
  const std::size_t shared = kernel.static_shared_bytes + work.dynamic_shared;
  const std::size_t allowed =
      settings.dynamic_shared >= 0 ? static_cast<std::size_t>(settings.dynamic_shared) + kernel.static_shared_bytes : 0;
  if (work.dynamic_shared != 0 && shared > std::max(model.shared_per_block, allowed))
    return refuse(
        work, cudaErrorInvalidValue,
        fmt::format("{} bytes of dynamic and {} of static shared memory exceed {} bytes; more than {} has to be asked for with "
                    "cudaFuncAttributeMaxDynamicSharedMemorySize",
                    work.dynamic_shared, kernel.static_shared_bytes, std::max(model.shared_per_block, allowed),
                    model.shared_per_block));
  if (shared > model.shared_per_block_optin)
    return refuse(work, cudaErrorInvalidValue,
                  fmt::format("{} bytes of shared memory exceed the device's {}", shared, model.shared_per_block_optin));

  bool estimate = false;
  const int registers = registers_of(*work.function, device, &estimate);
  const std::uint64_t warps = (threads + 31) / 32, per_warp = static_cast<std::uint64_t>(registers * 32 + 255) / 256 * 256;
  if (!estimate && warps * per_warp > static_cast<std::uint64_t>(model.registers_per_block))
    return refuse(work, cudaErrorLaunchOutOfResources,
                  fmt::format("{} threads of {} registers need more than the {} of a block", threads, registers,
                              model.registers_per_block));

  if (work.cooperative) {
    const Occupancy o = occupancy(model, static_cast<std::uint32_t>(threads), estimate ? 0 : registers, shared);
    if (count(work.grid) > static_cast<std::uint64_t>(o.blocks) * model.multiprocessors)
      return refuse(work, cudaErrorCooperativeLaunchTooLarge,
                    fmt::format("a cooperative launch of {} blocks: {} multiprocessors hold {} blocks each at a time",
                                count(work.grid), model.multiprocessors, o.blocks));
  }
  return cudaSuccess;
}

cudaError_t make_kernel_work(KernelWork& work, const void* handle, dim3 grid, dim3 block, void* const* arguments,
                             std::size_t shared, int device) {
  work.handle = handle;
  work.function = Modules::instance().function(handle);
  if (work.function == nullptr) return cudaErrorInvalidDeviceFunction;
  work.grid = grid;
  work.block = block;
  work.dynamic_shared = shared;
  const Kernel& kernel = kernel_on(*work.function, device);
  work.parameters.assign(kernel.parameter_bytes, std::byte{0});
  work.parameter_pointers = std::make_shared<std::vector<void*>>();
  if (!kernel.parameters.empty() && arguments == nullptr) return cudaErrorInvalidValue;
  for (std::size_t i = 0; i < kernel.parameters.size(); ++i) {
    const auto [offset, bytes] = kernel.parameters[i];
    if (arguments[i] == nullptr) return cudaErrorInvalidValue;
    std::memcpy(work.parameters.data() + offset, arguments[i], bytes);
  }
  return check_launch(work, device);
}

}  // namespace sim::runtime
