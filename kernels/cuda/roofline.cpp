#include "kernels/cuda/roofline.h"

#include "kernels/cuda/device.h"

namespace gannet::kernels {
namespace {

// Operations of a multiprocessor in one clock, from NVIDIA's architecture white papers.
struct PerClock {
  int architecture;
  double fp32, tf32, bf16;
};
constexpr PerClock per_clock[] = {
    {80, 128, 1024, 2048},   // A100
    {86, 256, 256, 512},     // GeForce and workstation Ampere
    {87, 256, 256, 512},     // Orin
    {89, 256, 512, 1024},    // Ada
    {90, 256, 2048, 4096},   // H100
    {100, 256, 4096, 8192},  // B200
    {120, 256, 512, 1024},   // workstation Blackwell
};

}  // namespace

Roofline cuda_roofline(int device) {
  cudaDeviceProp properties{};
  GANNET_CUDA(cudaGetDeviceProperties(&properties, device));
  int clock_khz = 0, memory_khz = 0;
  GANNET_CUDA(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, device));
  GANNET_CUDA(cudaDeviceGetAttribute(&memory_khz, cudaDevAttrMemoryClockRate, device));
  Roofline roofline;
  roofline.device = properties.name;
  roofline.simulated = roofline.device.starts_with("Simulated");
  roofline.architecture = properties.major * 10 + properties.minor;
  roofline.multiprocessors = properties.multiProcessorCount;
  roofline.cache_bytes = static_cast<std::size_t>(properties.l2CacheSize);
  roofline.bytes_per_s = 2e3 * memory_khz * properties.memoryBusWidth / 8;  // two transfers a clock
  const double clocks = 1e3 * clock_khz * roofline.multiprocessors;
  PerClock found = per_clock[0];
  for (const PerClock& one : per_clock)
    if (one.architecture <= roofline.architecture) found = one;
  roofline.fp32_per_s = found.fp32 * clocks;
  roofline.tf32_per_s = found.tf32 * clocks;
  roofline.bf16_per_s = found.bf16 * clocks;
  return roofline;
}

}  // namespace gannet::kernels
