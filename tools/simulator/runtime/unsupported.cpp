#include <string_view>

namespace sim::runtime {
[[noreturn]] void stop(std::string_view message);
}

#define NOT_SIMULATED(name) \
  extern "C" void name() { sim::runtime::stop(#name " is not simulated"); }
#include "runtime/unsupported.list"
