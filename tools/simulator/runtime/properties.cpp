#include "runtime/properties.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace sim::runtime {
namespace {

/// Single-precision results a double-precision one costs: by the number of units, CUDA C++ Programming Guide, "Arithmetic
/// Instructions".
int single_to_double(int architecture) {
  switch (architecture) {
    case 80:
    case 90:
    case 100:
      return 2;
    case 75:
    case 86:
    case 87:
    case 89:
      return 32;
    default:
      return 64;
  }
}

template <std::size_t n>
void set(int (&to)[n], std::initializer_list<int> values) {
  std::copy(values.begin(), values.end(), to);
}

}  // namespace

std::string pci_name(int device) { return fmt::format("0000:{:02X}:00.0", device + 1); }

void fill_properties(cudaDeviceProp& p, const DeviceModel& m, int device) {
  p = {};
  const std::size_t length = std::min(m.name.size(), sizeof p.name - 1);
  std::memcpy(p.name, m.name.data(), length);
  const std::string uuid = fmt::format("gannet-sim-{:05}", device);
  std::memcpy(p.uuid.bytes, uuid.data(), sizeof p.uuid.bytes);
  p.totalGlobalMem = m.memory;
  p.sharedMemPerBlock = m.shared_per_block;
  p.regsPerBlock = m.registers_per_block;
  p.warpSize = 32;
  p.memPitch = 0x7fffffff;
  p.maxThreadsPerBlock = m.max_threads_per_block;
  set(p.maxThreadsDim, {1024, 1024, 64});
  set(p.maxGridSize, {0x7fffffff, 65535, 65535});
  p.totalConstMem = 65536;
  p.major = m.architecture / 10;
  p.minor = m.architecture % 10;
  p.textureAlignment = 512;
  p.texturePitchAlignment = 32;
  p.multiProcessorCount = m.multiprocessors;
  p.canMapHostMemory = 1;
  p.maxTexture1D = 131072;
  p.maxTexture1DMipmap = 32768;
  set(p.maxTexture2D, {131072, 65536});
  set(p.maxTexture2DMipmap, {32768, 32768});
  set(p.maxTexture2DLinear, {131072, 65000, 2097120});
  set(p.maxTexture2DGather, {32768, 32768});
  set(p.maxTexture3D, {16384, 16384, 16384});
  set(p.maxTexture3DAlt, {8192, 8192, 32768});
  p.maxTextureCubemap = 32768;
  set(p.maxTexture1DLayered, {32768, 2048});
  set(p.maxTexture2DLayered, {32768, 32768, 2048});
  set(p.maxTextureCubemapLayered, {32768, 2046});
  p.maxSurface1D = 32768;
  set(p.maxSurface2D, {131072, 65536});
  set(p.maxSurface3D, {16384, 16384, 16384});
  set(p.maxSurface1DLayered, {32768, 2048});
  set(p.maxSurface2DLayered, {32768, 32768, 2048});
  p.maxSurfaceCubemap = 32768;
  set(p.maxSurfaceCubemapLayered, {32768, 2046});
  p.surfaceAlignment = 512;
  p.concurrentKernels = 1;
  p.pciBusID = device + 1;
  p.asyncEngineCount = 3;
  p.unifiedAddressing = 1;
  p.memoryBusWidth = m.memory_bus_width;
  p.l2CacheSize = static_cast<int>(m.l2_cache);
  p.persistingL2CacheMaxSize = m.architecture >= 80 ? static_cast<int>(m.l2_cache / 4 * 3) : 0;
  p.maxThreadsPerMultiProcessor = m.max_threads_per_multiprocessor;
  p.streamPrioritiesSupported = 1;
  p.globalL1CacheSupported = 1;
  p.localL1CacheSupported = 1;
  p.sharedMemPerMultiprocessor = m.shared_per_multiprocessor;
  p.regsPerMultiprocessor = m.registers_per_multiprocessor;
  p.managedMemory = 1;
  p.multiGpuBoardGroupID = device;
  p.concurrentManagedAccess = 1;
  p.computePreemptionSupported = 1;
  p.canUseHostPointerForRegisteredMem = 1;
  p.cooperativeLaunch = 1;
  p.sharedMemPerBlockOptin = m.shared_per_block_optin;
  p.maxBlocksPerMultiProcessor = m.max_blocks_per_multiprocessor;
  p.accessPolicyMaxWindowSize = m.architecture >= 80 ? 128 << 20 : 0;
  p.reservedSharedMemPerBlock = m.reserved_shared_per_block;
  p.hostRegisterSupported = 1;
  p.memoryPoolsSupported = 1;
  p.hostNumaId = -1;
  p.deviceNumaId = -1;
}

bool attribute_of(int& value, cudaDeviceAttr attribute, const DeviceModel& m, int device) {
  cudaDeviceProp p;
  fill_properties(p, m, device);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxBlockDimX:
      value = p.maxThreadsDim[0];
      break;
    case cudaDevAttrMaxBlockDimY:
      value = p.maxThreadsDim[1];
      break;
    case cudaDevAttrMaxBlockDimZ:
      value = p.maxThreadsDim[2];
      break;
    case cudaDevAttrMaxGridDimX:
      value = p.maxGridSize[0];
      break;
    case cudaDevAttrMaxGridDimY:
      value = p.maxGridSize[1];
      break;
    case cudaDevAttrMaxGridDimZ:
      value = p.maxGridSize[2];
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      value = static_cast<int>(p.sharedMemPerBlock);
      break;
    case cudaDevAttrTotalConstantMemory:
      value = static_cast<int>(p.totalConstMem);
      break;
    case cudaDevAttrWarpSize:
      value = p.warpSize;
      break;
    case cudaDevAttrMaxPitch:
      value = static_cast<int>(p.memPitch);
      break;
    case cudaDevAttrMaxRegistersPerBlock:
      value = p.regsPerBlock;
      break;
    case cudaDevAttrTextureAlignment:
      value = static_cast<int>(p.textureAlignment);
      break;
    case cudaDevAttrTexturePitchAlignment:
      value = static_cast<int>(p.texturePitchAlignment);
      break;
    case cudaDevAttrMultiProcessorCount:
      value = p.multiProcessorCount;
      break;
    case cudaDevAttrMaxTexture1DWidth:
      value = p.maxTexture1D;
      break;
    case cudaDevAttrMaxTexture2DWidth:
      value = p.maxTexture2D[0];
      break;
    case cudaDevAttrMaxTexture2DHeight:
      value = p.maxTexture2D[1];
      break;
    case cudaDevAttrMaxTexture3DWidth:
      value = p.maxTexture3D[0];
      break;
    case cudaDevAttrMaxTexture3DHeight:
      value = p.maxTexture3D[1];
      break;
    case cudaDevAttrMaxTexture3DDepth:
      value = p.maxTexture3D[2];
      break;
    case cudaDevAttrMaxTexture2DLayeredWidth:
      value = p.maxTexture2DLayered[0];
      break;
    case cudaDevAttrMaxTexture2DLayeredHeight:
      value = p.maxTexture2DLayered[1];
      break;
    case cudaDevAttrMaxTexture2DLayeredLayers:
      value = p.maxTexture2DLayered[2];
      break;
    case cudaDevAttrMaxTexture1DLayeredWidth:
      value = p.maxTexture1DLayered[0];
      break;
    case cudaDevAttrMaxTexture1DLayeredLayers:
      value = p.maxTexture1DLayered[1];
      break;
    case cudaDevAttrMaxTexture2DGatherWidth:
      value = p.maxTexture2DGather[0];
      break;
    case cudaDevAttrMaxTexture2DGatherHeight:
      value = p.maxTexture2DGather[1];
      break;
    case cudaDevAttrMaxTexture3DWidthAlt:
      value = p.maxTexture3DAlt[0];
      break;
    case cudaDevAttrMaxTexture3DHeightAlt:
      value = p.maxTexture3DAlt[1];
      break;
    case cudaDevAttrMaxTexture3DDepthAlt:
      value = p.maxTexture3DAlt[2];
      break;
    case cudaDevAttrMaxTextureCubemapWidth:
      value = p.maxTextureCubemap;
      break;
    case cudaDevAttrMaxTextureCubemapLayeredWidth:
      value = p.maxTextureCubemapLayered[0];
      break;
    case cudaDevAttrMaxTextureCubemapLayeredLayers:
      value = p.maxTextureCubemapLayered[1];
      break;
    case cudaDevAttrMaxSurface1DWidth:
      value = p.maxSurface1D;
      break;
    case cudaDevAttrMaxSurface2DWidth:
      value = p.maxSurface2D[0];
      break;
    case cudaDevAttrMaxSurface2DHeight:
      value = p.maxSurface2D[1];
      break;
    case cudaDevAttrMaxSurface3DWidth:
      value = p.maxSurface3D[0];
      break;
    case cudaDevAttrMaxSurface3DHeight:
      value = p.maxSurface3D[1];
      break;
    case cudaDevAttrMaxSurface3DDepth:
      value = p.maxSurface3D[2];
      break;
    case cudaDevAttrMaxSurface1DLayeredWidth:
      value = p.maxSurface1DLayered[0];
      break;
    case cudaDevAttrMaxSurface1DLayeredLayers:
      value = p.maxSurface1DLayered[1];
      break;
    case cudaDevAttrMaxSurface2DLayeredWidth:
      value = p.maxSurface2DLayered[0];
      break;
    case cudaDevAttrMaxSurface2DLayeredHeight:
      value = p.maxSurface2DLayered[1];
      break;
    case cudaDevAttrMaxSurface2DLayeredLayers:
      value = p.maxSurface2DLayered[2];
      break;
    case cudaDevAttrMaxSurfaceCubemapWidth:
      value = p.maxSurfaceCubemap;
      break;
    case cudaDevAttrMaxSurfaceCubemapLayeredWidth:
      value = p.maxSurfaceCubemapLayered[0];
      break;
    case cudaDevAttrMaxSurfaceCubemapLayeredLayers:
      value = p.maxSurfaceCubemapLayered[1];
      break;
    case cudaDevAttrMaxTexture1DLinearWidth:
      value = 268435456;
      break;
    case cudaDevAttrMaxTexture2DLinearWidth:
      value = p.maxTexture2DLinear[0];
      break;
    case cudaDevAttrMaxTexture2DLinearHeight:
      value = p.maxTexture2DLinear[1];
      break;
    case cudaDevAttrMaxTexture2DLinearPitch:
      value = p.maxTexture2DLinear[2];
      break;
    case cudaDevAttrMaxTexture2DMipmappedWidth:
      value = p.maxTexture2DMipmap[0];
      break;
    case cudaDevAttrMaxTexture2DMipmappedHeight:
      value = p.maxTexture2DMipmap[1];
      break;
    case cudaDevAttrMaxTexture1DMipmappedWidth:
      value = p.maxTexture1DMipmap;
      break;
    case cudaDevAttrSurfaceAlignment:
      value = static_cast<int>(p.surfaceAlignment);
      break;
    case cudaDevAttrComputeCapabilityMajor:
      value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      value = p.minor;
      break;
    case cudaDevAttrPciBusId:
      value = p.pciBusID;
      break;
    case cudaDevAttrPciDeviceId:
      value = p.pciDeviceID;
      break;
    case cudaDevAttrPciDomainId:
      value = p.pciDomainID;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      value = p.memoryBusWidth;
      break;
    case cudaDevAttrL2CacheSize:
      value = p.l2CacheSize;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      value = p.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrAsyncEngineCount:
      value = p.asyncEngineCount;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      value = static_cast<int>(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      value = p.regsPerMultiprocessor;
      break;
    case cudaDevAttrMultiGpuBoardGroupID:
      value = p.multiGpuBoardGroupID;
      break;
    case cudaDevAttrSingleToDoublePrecisionPerfRatio:
      value = single_to_double(m.architecture);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      value = static_cast<int>(p.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      value = p.maxBlocksPerMultiProcessor;
      break;
    case cudaDevAttrMaxPersistingL2CacheSize:
      value = p.persistingL2CacheMaxSize;
      break;
    case cudaDevAttrMaxAccessPolicyWindowSize:
      value = p.accessPolicyMaxWindowSize;
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      value = static_cast<int>(p.reservedSharedMemPerBlock);
      break;
    case cudaDevAttrMemSyncDomainCount:
      value = m.architecture >= 90 ? 4 : 1;
      break;
    case cudaDevAttrNumaId:
    case cudaDevAttrHostNumaId:
      value = -1;
      break;
    case cudaDevAttrGpuOverlap:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrGlobalL1CacheSupported:
    case cudaDevAttrLocalL1CacheSupported:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrComputePreemptionSupported:
    case cudaDevAttrCanUseHostPointerForRegisteredMem:
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrHostRegisterSupported:
    case cudaDevAttrMemoryPoolsSupported:
      value = 1;
      break;
    // What the simulated device has not: clusters, sparse arrays, sharing with other processes, paging of the host's memory;
    // and no clocks.
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
    case cudaDevAttrKernelExecTimeout:
    case cudaDevAttrIntegrated:
    case cudaDevAttrComputeMode:
    case cudaDevAttrEccEnabled:
    case cudaDevAttrTccDriver:
    case cudaDevAttrIsMultiGpuBoard:
    case cudaDevAttrHostNativeAtomicSupported:
    case cudaDevAttrPageableMemoryAccess:
    case cudaDevAttrReserved92:
    case cudaDevAttrReserved93:
    case cudaDevAttrReserved94:
    case cudaDevAttrReserved96:
    case cudaDevAttrCanFlushRemoteWrites:
    case cudaDevAttrPageableMemoryAccessUsesHostPageTables:
    case cudaDevAttrDirectManagedMemAccessFromHost:
    case cudaDevAttrSparseCudaArraySupported:
    case cudaDevAttrHostRegisterReadOnlySupported:
    case cudaDevAttrTimelineSemaphoreInteropSupported:
    case cudaDevAttrGPUDirectRDMASupported:
    case cudaDevAttrGPUDirectRDMAFlushWritesOptions:
    case cudaDevAttrGPUDirectRDMAWritesOrdering:
    case cudaDevAttrMemoryPoolSupportedHandleTypes:
    case cudaDevAttrClusterLaunch:
    case cudaDevAttrDeferredMappingCudaArraySupported:
    case cudaDevAttrReserved122:
    case cudaDevAttrReserved123:
    case cudaDevAttrReserved124:
    case cudaDevAttrIpcEventSupport:
    case cudaDevAttrReserved127:
    case cudaDevAttrReserved128:
    case cudaDevAttrReserved129:
    case cudaDevAttrNumaConfig:
    case cudaDevAttrReserved132:
    case cudaDevAttrMpsEnabled:
    case cudaDevAttrD3D12CigSupported:
    case cudaDevAttrVulkanCigSupported:
    case cudaDevAttrGpuPciDeviceId:
    case cudaDevAttrGpuPciSubsystemId:
    case cudaDevAttrReserved141:
    case cudaDevAttrHostNumaMemoryPoolsSupported:
    case cudaDevAttrHostNumaMultinodeIpcSupported:
    case cudaDevAttrHostMemoryPoolsSupported:
    case cudaDevAttrReserved145:
    case cudaDevAttrOnlyPartialHostNativeAtomicSupported:
      value = 0;
      break;
    default:
      return false;
  }
  return true;
}

}  // namespace sim::runtime
