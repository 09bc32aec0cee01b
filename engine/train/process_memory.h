// What the kernel says of this process's memory.
#pragma once

#include <cstddef>

namespace gannet {

std::size_t resident_bytes();       // now (VmRSS)
std::size_t peak_resident_bytes();  // at most so far (VmHWM)

}  // namespace gannet
