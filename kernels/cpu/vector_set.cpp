#include "kernels/cpu/vector_set.h"

#include <cstdlib>
#include <string_view>

#include "kernels/check.h"

namespace gannet::kernels::cpu {
namespace {

bool runs_here(VectorSet set) {
#if defined(__x86_64__)
  switch (set) {
    case VectorSet::baseline:
      return true;
    case VectorSet::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case VectorSet::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
  }
  return false;
#else
  return set == VectorSet::baseline;
#endif
}

}  // namespace

const char* name_of(VectorSet set) {
  switch (set) {
    case VectorSet::baseline:
      return "baseline";
    case VectorSet::avx2:
      return "AVX2";
    case VectorSet::avx512:
      return "AVX-512";
  }
  return "?";
}

VectorSet vector_set() {
  if (const char* asked = std::getenv("GANNET_CPU_ISA"); asked != nullptr && *asked != '\0') {
    const std::string_view name = asked;
    GANNET_CHECK(name == "baseline" || name == "avx2" || name == "avx512",
                 "GANNET_CPU_ISA is '{}'; it can be baseline, avx2 or avx512", name);
    const VectorSet set = name == "avx512" ? VectorSet::avx512 : name == "avx2" ? VectorSet::avx2 : VectorSet::baseline;
    GANNET_CHECK(runs_here(set), "GANNET_CPU_ISA asks for {}, which this machine does not have", name_of(set));
    return set;
  }
  if (runs_here(VectorSet::avx512)) return VectorSet::avx512;
  return runs_here(VectorSet::avx2) ? VectorSet::avx2 : VectorSet::baseline;
}

}  // namespace gannet::kernels::cpu
