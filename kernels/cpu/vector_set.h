// The vector sets that the SIMD sources (simd/*.cpp) are compiled for, and which of them this machine runs.
#pragma once

namespace gannet::kernels::cpu {

enum class VectorSet { baseline, avx2, avx512 };

// The best that the machine has; the environment variable GANNET_CPU_ISA (baseline, avx2 or avx512) asks for another, for
// tests and comparisons. Kernels ask when they are created. InputError when there is no such set or the machine lacks it.
VectorSet vector_set();
const char* name_of(VectorSet set);  // "AVX-512"

}  // namespace gannet::kernels::cpu

// Declares functions of a SIMD source in the namespace of each vector set, and picks one of them for this machine.
#if defined(__x86_64__)
#define GANNET_PER_VECTOR_SET(...) \
  namespace baseline {             \
  __VA_ARGS__                      \
  }                                \
  namespace avx2 {                 \
  __VA_ARGS__                      \
  }                                \
  namespace avx512 {               \
  __VA_ARGS__                      \
  }
#define GANNET_FOR_VECTOR_SET(set, function)                                                     \
  ((set) == ::gannet::kernels::cpu::VectorSet::avx512 ? ::gannet::kernels::cpu::avx512::function \
   : (set) == ::gannet::kernels::cpu::VectorSet::avx2 ? ::gannet::kernels::cpu::avx2::function   \
                                                      : ::gannet::kernels::cpu::baseline::function)
#else
#define GANNET_PER_VECTOR_SET(...) \
  namespace baseline {             \
  __VA_ARGS__                      \
  }
#define GANNET_FOR_VECTOR_SET(set, function) (static_cast<void>(set), ::gannet::kernels::cpu::baseline::function)
#endif
