#include "engine/train/process_memory.h"

#include <fstream>
#include <string>

namespace gannet {
namespace {

std::size_t status_of(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field + ":")) return std::stoull(line.substr(field.size() + 1)) * 1024;
  return 0;
}

}  // namespace

std::size_t resident_bytes() { return status_of("VmRSS"); }
std::size_t peak_resident_bytes() { return status_of("VmHWM"); }

}  // namespace gannet
