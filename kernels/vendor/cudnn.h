// What is used of cuDNN 9: its graph API, opened at run time. The declarations are ours, so that everything builds where cuDNN
// is not installed; tests/vendor_headers_test.cpp compares them with NVIDIA's.
// https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/vendor/library.h"

namespace gannet::kernels::vendor::cudnn {

using Handle = struct cudnnContext*;
using RawDescriptor = void*;

enum Status : int { success = 0, not_supported = 3000, not_supported_end = 4000 };

enum class Kind : int {
  convolution = 1,
  engine = 2,
  engine_configuration = 3,
  heuristics = 4,
  plan = 5,
  convolution_forward = 10,
  convolution_backward_filter = 11,
  convolution_backward_data = 12,
  graph = 15,
  pointers = 16,
  tensor = 17,
  device = 38,
};

enum class Type : int {
  handle = 0,
  data_type = 1,
  int64 = 3,
  real = 4,
  pointer = 6,
  convolution_mode = 7,
  heuristic = 8,
  numerical_note = 11,
  descriptor = 15,
  text = 24,
};

enum class Attribute : int {
  convolution_compute_type = 100,
  convolution_mode = 101,
  convolution_dilations = 102,
  convolution_strides = 103,
  convolution_pads_after = 104,
  convolution_pads_before = 105,
  convolution_dimensions = 106,
  heuristics_mode = 200,
  heuristics_graph = 201,
  heuristics_results = 202,
  heuristics_device = 204,
  configuration_engine = 300,
  plan_handle = 400,
  plan_configuration = 401,
  plan_workspace_bytes = 402,
  plan_device = 407,
  forward_alpha = 700,
  forward_beta = 701,
  forward_convolution = 702,
  forward_w = 703,
  forward_x = 704,
  forward_y = 705,
  backward_data_alpha = 706,
  backward_data_beta = 707,
  backward_data_convolution = 708,
  backward_data_w = 709,
  backward_data_dx = 710,
  backward_data_dy = 711,
  backward_filter_alpha = 712,
  backward_filter_beta = 713,
  backward_filter_convolution = 714,
  backward_filter_dw = 715,
  backward_filter_x = 716,
  backward_filter_dy = 717,
  graph_handle = 800,
  graph_operations = 801,
  tensor_alignment = 900,
  tensor_type = 901,
  tensor_extents = 902,
  tensor_strides = 903,
  tensor_id = 906,
  pointers_ids = 1000,
  pointers_data = 1001,
  pointers_workspace = 1003,
  engine_numerical_notes = 1303,
  device_json = 2702,
};

enum class DataType : int { f32 = 0, bf16 = 9 };
enum class ConvolutionMode : int { cross_correlation = 1 };
enum class Heuristic : int { fallback = 2, a = 3 };
enum class Note : int {  // on the arithmetic of an engine
  tensor_core = 0,
  down_convert_inputs = 1,
  reduced_precision_reduction = 2,
  fft = 3,
  nondeterministic = 4,
  winograd = 5,
  winograd_4x4 = 6,
  winograd_6x6 = 7,
  winograd_13x13 = 8,
};

struct Calls {
  std::size_t (*version)();  // 91900 for 9.19.0
  const char* (*error_string)(Status);
  void (*last_error)(char*, std::size_t);
  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  Status (*set_stream)(Handle, cudaStream_t);
  Status (*create_descriptor)(Kind, RawDescriptor*);
  Status (*destroy_descriptor)(RawDescriptor);
  Status (*finalize)(RawDescriptor);
  Status (*set_attribute)(RawDescriptor, Attribute, Type, std::int64_t, const void*);
  Status (*get_attribute)(RawDescriptor, Attribute, Type, std::int64_t, std::int64_t*, void*);
  Status (*execute)(Handle, RawDescriptor plan, RawDescriptor pointers);
};
// InputError where the library has not all of them.
Calls calls_of(const Library& library);

// What cuDNN says of a status that a call has just returned.
std::string text_of(const Calls& calls, Status status);
// Throws RuntimeError with the call, its place and that text.
void check(const Calls& calls, Status status, const char* call, const char* file, int line);
#define GANNET_CUDNN(calls, call) ::gannet::kernels::vendor::cudnn::check(calls, (calls).call, #call, __FILE__, __LINE__)

}  // namespace gannet::kernels::vendor::cudnn
