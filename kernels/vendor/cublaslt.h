// What is used of cuBLASLt 13, opened at run time. The declarations are ours, as those of cudnn.h are.
// https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/vendor/library.h"

namespace gannet::kernels::vendor::cublaslt {

using Handle = struct cublasLtContext*;
using Layout = struct LayoutOpaque*;
using Operation = struct OperationOpaque*;
using Preference = struct PreferenceOpaque*;

enum Status : int { success = 0, not_supported = 15 };

enum class ComputeType : int { f32 = 68, fast_tf32 = 77 };
enum class DataType : int { f32 = 0, bf16 = 14 };
enum class Transpose : std::int32_t { no = 0, yes = 1 };
enum class OperationAttribute : int { transpose_a = 3, transpose_b = 4 };
enum class PreferenceAttribute : int {
  most_workspace_bytes = 1,
  reduction_schemes = 3,
  alignment_a = 5,  // bytes; 256 when not set
  alignment_b = 6,
  alignment_c = 7,
  alignment_d = 8,
};
// How parts of a sum are added up that were worked out side by side: in none, or in the workspace in fp32, in one order.
inline constexpr std::uint32_t reduction_in_compute_type = 2;

struct Algorithm {
  std::uint64_t data[8];
};
struct Found {  // cublasLtMatmulHeuristicResult_t
  Algorithm algorithm;
  std::size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

struct Calls {
  std::size_t (*version)();  // 130100 for 13.1.0
  const char* (*status_string)(Status);
  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  Status (*create_layout)(Layout*, DataType, std::uint64_t rows, std::uint64_t columns, std::int64_t pitch);
  Status (*destroy_layout)(Layout);
  Status (*create_operation)(Operation*, ComputeType, DataType scale);
  Status (*destroy_operation)(Operation);
  Status (*set_operation)(Operation, OperationAttribute, const void*, std::size_t);
  Status (*create_preference)(Preference*);
  Status (*destroy_preference)(Preference);
  Status (*set_preference)(Preference, PreferenceAttribute, const void*, std::size_t);
  Status (*find)(Handle, Operation, Layout a, Layout b, Layout c, Layout d, Preference, int most, Found*, int* count);
  Status (*multiply)(Handle, Operation, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta,
                     const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, std::size_t, cudaStream_t);
};
// InputError where the library has not all of them.
Calls calls_of(const Library& library);

// Throws RuntimeError with the call, its place and cuBLASLt's own text.
void check(const Calls& calls, Status status, const char* call, const char* file, int line);
#define GANNET_CUBLASLT(calls, call) ::gannet::kernels::vendor::cublaslt::check(calls, (calls).call, #call, __FILE__, __LINE__)

}  // namespace gannet::kernels::vendor::cublaslt
