#include "engine/train/process_memory.h"

#include <fstream>
#include <string>

namespace gannet {
namespace {

// In bytes; 0 where there is none. The file gives KiB.
std::size_t field_of(const char* file, const std::string& field) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(field + ":")) return std::stoull(line.substr(field.size() + 1)) * 1024;
  return 0;
}

}  // namespace

std::size_t resident_bytes() { return field_of("/proc/self/status", "VmRSS"); }
std::size_t peak_resident_bytes() { return field_of("/proc/self/status", "VmHWM"); }
std::size_t available_bytes() { return field_of("/proc/meminfo", "MemAvailable"); }

}  // namespace gannet
