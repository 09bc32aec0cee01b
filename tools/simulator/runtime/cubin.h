#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace sim::runtime {

/// What ptxas gave a kernel, from the .nv.info sections of a cubin.
struct Resources {
  int registers = 0;
  std::size_t frame_bytes = 0;  // local memory a thread, spills included
};

/// By mangled name. Throws Error for what is not a 64-bit ELF file or is cut short.
std::map<std::string, Resources> resources_of(std::string_view cubin);

}  // namespace sim::runtime
