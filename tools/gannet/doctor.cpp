// gannet doctor
#include <dnnl.h>
#include <fmt/format.h>
#include <png.h>
#include <sys/statvfs.h>
#include <zlib.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "engine/data/file.h"
#include "kernels/cuda/backend.h"
#include "tools/gannet/command.h"
#include "tools/gannet/configuration.h"

namespace gannet::tool {
namespace {

// A field of /proc/cpuinfo or /proc/meminfo.
std::string field_of(const char* file, const std::string& name) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const auto colon = line.find(':');
    if (colon == line.npos || !line.starts_with(name)) continue;
    const auto value = line.find_first_not_of(" \t", colon + 1);
    return value == line.npos ? "" : line.substr(value);
  }
  return "unknown";
}

std::string vector_sets() {
  std::istringstream flags(field_of("/proc/cpuinfo", "flags"));
  std::vector<std::string> found;
  for (std::string flag; flags >> flag;)
    for (const char* known : {"sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni",
                              "avx512_bf16", "amx_tile", "amx_bf16"})
      if (flag == known) found.push_back(flag);
  return found.empty() ? "none known" : fmt::format("{}", fmt::join(found, " "));
}

double memory_of(const std::string& name) {
  const std::string text = field_of("/proc/meminfo", name);
  return text == "unknown" ? 0 : std::stod(text) * 1024;
}

std::string disk() {
  struct statvfs info {};
  if (::statvfs(".", &info) != 0) return "unknown";
  return format_bytes(static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize)) + " free here";
}

// Every device, or why there is none.
void print_gpus() {
  const kernels::CudaMachine machine = kernels::cuda_machine();
  if (!machine.runtime.empty()) {
    std::string of_kernel;
    std::getline(std::ifstream("/sys/module/nvidia/version"), of_kernel);
    fmt::print("CUDA          runtime {}, {}\n", machine.runtime,
               machine.driver.empty()
                   ? "no driver"
                   : fmt::format("driver {}{}", machine.driver, of_kernel.empty() ? "" : fmt::format(" ({})", of_kernel)));
    fmt::print("cuDNN         {}\n", machine.cudnn);
  }
  for (std::size_t i = 0; i < machine.devices.size(); ++i) {
    const kernels::CudaMachine::Device& device = machine.devices[i];
    fmt::print("{:<14}{}, compute capability {}.{}, {} multiprocessors, {}{}\n", fmt::format("GPU {}", i), device.name,
               device.major, device.minor, device.multiprocessors, format_bytes(static_cast<double>(device.bytes)),
               device.unsupported.empty() ? "" : "; can not be used: " + device.unsupported);
  }
  if (const std::string reason = kernels::cuda_unavailable(); !reason.empty()) fmt::print("GPU           none: {}\n", reason);
}

int run(const DeviceOptions& device) {
  const auto backend = device.make_backend();
  const dnnl_version_t* const onednn = dnnl_version();
  fmt::print("gannet        {}\n", GANNET_VERSION);
  fmt::print("processor     {}\n", field_of("/proc/cpuinfo", "model name"));
  fmt::print("vector sets   {}\n", vector_sets());
  fmt::print("threads       {} of {} may be used\n", available_threads(), std::thread::hardware_concurrency());
  fmt::print("memory        {} of {} available\n", format_bytes(memory_of("MemAvailable")),
             format_bytes(memory_of("MemTotal")));
  fmt::print("disk          {}\n", disk());
  fmt::print("backend       {}\n", backend->name());
  fmt::print("bf16          {}\n", backend->supports(DType::bf16) ? "native" : "no arithmetic here: train.precision=fp32");
  fmt::print("oneDNN        {}.{}.{}\n", onednn->major, onednn->minor, onednn->patch);
  fmt::print("libraries     zlib {}, libpng {}, fmt {}.{}.{}, CLI11 {}\n", zlibVersion(), png_get_libpng_ver(nullptr),
             FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100, CLI11_VERSION);
  print_gpus();
  return 0;
}

}  // namespace

void add_doctor(CLI::App& app, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this machine and this build can do");
  auto device = std::make_shared<DeviceOptions>();
  device->add_to(*command);
  command->callback([device, &chosen] { chosen = [device] { return run(*device); }; });
}

}  // namespace gannet::tool
