// What the kernel says of memory.
#pragma once

#include <cstddef>

namespace gannet {

std::size_t resident_bytes();       // of this process now (VmRSS)
std::size_t peak_resident_bytes();  // at most so far (VmHWM)
std::size_t available_bytes();      // that processes could take beside what they have (MemAvailable); 0: unknown

}  // namespace gannet
