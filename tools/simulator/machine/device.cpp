#include "machine/device.h"

#include <array>

#include "error.h"

namespace sim {
namespace {

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

// Per multiprocessor: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability", and cuda_occupancy.h.
// Multiprocessors, memory, L2 and bus are those of the product in brackets.
constexpr std::array<DeviceModel, 8> kModels = {{
    {75, "Simulated sm_75 (T4)", 40, 1024, 1024, 16, 65536, 65536, 255, 48 * kKiB, 64 * kKiB, 64 * kKiB, 0, 15 * kGiB, 4 * kMiB,
     256},
    {80, "Simulated sm_80 (A100)", 108, 1024, 2048, 32, 65536, 65536, 255, 48 * kKiB, 163 * kKiB, 164 * kKiB, kKiB, 40 * kGiB,
     40 * kMiB, 5120},
    {86, "Simulated sm_86 (RTX 3090)", 82, 1024, 1536, 16, 65536, 65536, 255, 48 * kKiB, 99 * kKiB, 100 * kKiB, kKiB, 24 * kGiB,
     6 * kMiB, 384},
    {87, "Simulated sm_87 (AGX Orin)", 16, 1024, 1536, 16, 65536, 65536, 255, 48 * kKiB, 163 * kKiB, 164 * kKiB, kKiB,
     60 * kGiB, 4 * kMiB, 256},
    {89, "Simulated sm_89 (L4)", 58, 1024, 1536, 24, 65536, 65536, 255, 48 * kKiB, 99 * kKiB, 100 * kKiB, kKiB, 22 * kGiB,
     48 * kMiB, 192},
    {90, "Simulated sm_90 (H100)", 132, 1024, 2048, 32, 65536, 65536, 255, 48 * kKiB, 227 * kKiB, 228 * kKiB, kKiB, 79 * kGiB,
     50 * kMiB, 5120},
    {100, "Simulated sm_100 (B200)", 148, 1024, 2048, 32, 65536, 65536, 255, 48 * kKiB, 227 * kKiB, 228 * kKiB, kKiB,
     178 * kGiB, 126 * kMiB, 8192},
    {120, "Simulated sm_120 (RTX 5090)", 170, 1024, 1536, 24, 65536, 65536, 255, 48 * kKiB, 99 * kKiB, 100 * kKiB, kKiB,
     31 * kGiB, 96 * kMiB, 512},
}};

}  // namespace

const DeviceModel& device_model(int architecture) {
  for (const DeviceModel& model : kModels) {
    if (model.architecture == architecture) return model;
  }
  std::string known;
  for (const DeviceModel& model : kModels) known += fmt::format("{}sm_{}", known.empty() ? "" : ", ", model.architecture);
  throw Error("there is no device model sm_{}: known are {}", architecture, known);
}

}  // namespace sim
