// The instructions that a tensor-core product is made of: asynchronous copies, matrix loads and mma.sync.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace gannet::kernels::cuda {

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// Calls function(std::integral_constant<int, i>) for i = 0 … Count - 1, so that i can be part of an instruction.
template <int Count, typename Function>
__device__ __forceinline__ void unrolled(Function function) {
  [&]<int... I>(std::integer_sequence<int, I...>) { (function(std::integral_constant<int, I>()), ...); }
  (std::make_integer_sequence<int, Count>());
}

// Copies `Bytes` (16, 8, 4 or 2) from `from` + Displacement to shared memory at `to` + Offset, or zeros where `size` is 0 and
// not `Bytes`; then `from` is not read. All but 2 are asynchronous. 16 bytes bypass L1: what is read again is read from shared
// memory.
template <int Bytes, int Offset = 0, int Displacement = 0>
__device__ __forceinline__ void copy_to_shared(std::uint32_t to, const void* from, int size) {
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0 + %3], [%1 + %4], 16, %2;" ::"r"(to), "l"(from), "r"(size), "n"(Offset),
                 "n"(Displacement)
                 : "memory");
  } else if constexpr (Bytes >= 4) {
    asm volatile("cp.async.ca.shared.global [%0 + %3], [%1 + %4], %5, %2;" ::"r"(to), "l"(from), "r"(size), "n"(Offset),
                 "n"(Displacement), "n"(Bytes)
                 : "memory");
  } else {
    static_assert(Bytes == 2 && Displacement == 0);
    const std::uint16_t value = size != 0 ? __ldg(static_cast<const std::uint16_t*>(from)) : std::uint16_t{0};
    asm volatile("st.shared.u16 [%0 + %2], %1;" ::"r"(to), "h"(value), "n"(Offset) : "memory");
  }
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `Pending` of this thread's groups are under way.
template <int Pending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Four 8x8 matrices of 16-bit elements (or 8x4 of 32 bits) at address + Offset: lane l gives the address of row l % 8 of matrix
// l / 8 and gets from row l / 4 of each the 4 bytes at 4 * (l % 4).
template <int Offset = 0>
__device__ __forceinline__ void load_matrices(std::uint32_t (&values)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4 + %5];"
               : "=r"(values[0]), "=r"(values[1]), "=r"(values[2]), "=r"(values[3])
               : "r"(address), "n"(Offset)
               : "memory");
}

// The same, transposed: lane l gets of each matrix column l / 4 of the rows 2 * (l % 4) and the next.
template <int Offset = 0>
__device__ __forceinline__ void load_transposed_matrices(std::uint32_t (&values)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4 + %5];"
               : "=r"(values[0]), "=r"(values[1]), "=r"(values[2]), "=r"(values[3])
               : "r"(address), "n"(Offset)
               : "memory");
}

template <int Offset>
__device__ __forceinline__ std::uint32_t load_shared_word(std::uint32_t address) {
  std::uint32_t value;
  asm volatile("ld.shared.b32 %0, [%1 + %2];" : "=r"(value) : "r"(address), "n"(Offset) : "memory");
  return value;
}

template <int Offset>
__device__ __forceinline__ void load_shared_pair(int& first, std::uint32_t& second, std::uint32_t address) {
  asm volatile("ld.shared.v2.b32 {%0,%1}, [%2 + %3];" : "=r"(first), "=r"(second) : "r"(address), "n"(Offset) : "memory");
}

// base + index elements of Size bytes, in one instruction.
template <int Size>
__device__ __forceinline__ const char* advanced(const char* base, int index) {
  const char* result;
  asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(result) : "r"(index), "n"(Size), "l"(base));
  return result;
}

__device__ __forceinline__ float4 load_shared_vector(std::uint32_t address) {
  float4 value;
  asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "r"(address)
               : "memory");
  return value;
}

// c (16x8) += a (16x16) b (16x8)
__device__ __forceinline__ void multiply_bf16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c (16x8) += a (16x8) b (8x8)
__device__ __forceinline__ void multiply_tf32(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// To the nearest: the tensor core would cut the 13 low bits off.
__device__ __forceinline__ std::uint32_t rounded_to_tf32(std::uint32_t value) {
  std::uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(__uint_as_float(value)));
  return result;
}

}  // namespace gannet::kernels::cuda
