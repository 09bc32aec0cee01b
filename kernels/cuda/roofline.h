// What a CUDA device can reach at best, from its properties.
#pragma once

#include <cstddef>
#include <string>

namespace gannet::kernels {

struct Roofline {
  std::string device;
  int architecture = 0, multiprocessors = 0;  // 80 for compute capability 8.0
  std::size_t cache_bytes = 0;                // the last before memory
  bool simulated = false;                     // by gannet-sim: times mean nothing
  double bytes_per_s = 0;                     // of its memory
  double fp32_per_s = 0;                      // floating-point operations on CUDA cores, a multiply-add being two
  double tf32_per_s = 0, bf16_per_s = 0;      // dense, on tensor cores
};

// RuntimeError where there is no such device.
Roofline cuda_roofline(int device = 0);

}  // namespace gannet::kernels
