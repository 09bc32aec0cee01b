// Our declarations of cuDNN's and cuBLASLt's functions and numbers are NVIDIA's. Compiled where their headers are; what differs
// does not compile.
#include <cublasLt.h>
#include <cudnn.h>
#include <fmt/format.h>

#include <type_traits>

#include "kernels/vendor/cublaslt.h"
#include "kernels/vendor/cudnn.h"

namespace {

namespace dnn = gannet::kernels::vendor::cudnn;
namespace lt = gannet::kernels::vendor::cublaslt;

template <typename Ours, typename Theirs>
constexpr bool equal(Ours ours, Theirs theirs) {
  return static_cast<long long>(ours) == static_cast<long long>(theirs);
}

// Passed alike: pointers of any kind are, and enumerations are the integers that they are made of.
template <typename Ours, typename Theirs>
constexpr bool alike() {
  if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>)
    return true;
  else if constexpr (std::is_enum_v<Theirs> || std::is_enum_v<Ours>)
    return sizeof(Ours) == sizeof(Theirs) && !std::is_pointer_v<Ours> && !std::is_pointer_v<Theirs>;
  else
    return std::is_same_v<Ours, Theirs>;
}
template <typename Ours, typename Theirs>
struct Function : std::false_type {};
template <typename R, typename... A, typename S, typename... B>
struct Function<R (*)(A...), S (*)(B...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(A) == sizeof...(B))
      return alike<R, S>() && (alike<A, B>() && ...);
    else
      return false;
  }();
};

#define SAME_CALL(calls, member, function) \
  static_assert(Function<decltype(calls::member), decltype(&function)>::value, #function " is declared otherwise")
#define SAME(ours, theirs) static_assert(equal(ours, theirs), #ours " is not " #theirs)

SAME_CALL(dnn::Calls, version, cudnnGetVersion);
SAME_CALL(dnn::Calls, error_string, cudnnGetErrorString);
SAME_CALL(dnn::Calls, last_error, cudnnGetLastErrorString);
SAME_CALL(dnn::Calls, create, cudnnCreate);
SAME_CALL(dnn::Calls, destroy, cudnnDestroy);
SAME_CALL(dnn::Calls, set_stream, cudnnSetStream);
SAME_CALL(dnn::Calls, create_descriptor, cudnnBackendCreateDescriptor);
SAME_CALL(dnn::Calls, destroy_descriptor, cudnnBackendDestroyDescriptor);
SAME_CALL(dnn::Calls, finalize, cudnnBackendFinalize);
SAME_CALL(dnn::Calls, set_attribute, cudnnBackendSetAttribute);
SAME_CALL(dnn::Calls, get_attribute, cudnnBackendGetAttribute);
SAME_CALL(dnn::Calls, execute, cudnnBackendExecute);

SAME(dnn::success, CUDNN_STATUS_SUCCESS);
SAME(dnn::not_supported, CUDNN_STATUS_NOT_SUPPORTED);
SAME(dnn::not_supported_end, CUDNN_STATUS_INTERNAL_ERROR);
SAME(dnn::Kind::convolution, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
SAME(dnn::Kind::engine, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
SAME(dnn::Kind::engine_configuration, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
SAME(dnn::Kind::heuristics, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
SAME(dnn::Kind::plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
SAME(dnn::Kind::convolution_forward, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
SAME(dnn::Kind::convolution_backward_filter, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
SAME(dnn::Kind::convolution_backward_data, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
SAME(dnn::Kind::graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
SAME(dnn::Kind::pointers, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
SAME(dnn::Kind::tensor, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
SAME(dnn::Type::handle, CUDNN_TYPE_HANDLE);
SAME(dnn::Type::data_type, CUDNN_TYPE_DATA_TYPE);
SAME(dnn::Type::int64, CUDNN_TYPE_INT64);
SAME(dnn::Type::real, CUDNN_TYPE_FLOAT);
SAME(dnn::Type::pointer, CUDNN_TYPE_VOID_PTR);
SAME(dnn::Type::convolution_mode, CUDNN_TYPE_CONVOLUTION_MODE);
SAME(dnn::Type::heuristic, CUDNN_TYPE_HEUR_MODE);
SAME(dnn::Type::numerical_note, CUDNN_TYPE_NUMERICAL_NOTE);
SAME(dnn::Type::descriptor, CUDNN_TYPE_BACKEND_DESCRIPTOR);
SAME(dnn::Attribute::convolution_compute_type, CUDNN_ATTR_CONVOLUTION_COMP_TYPE);
SAME(dnn::Attribute::convolution_mode, CUDNN_ATTR_CONVOLUTION_CONV_MODE);
SAME(dnn::Attribute::convolution_dilations, CUDNN_ATTR_CONVOLUTION_DILATIONS);
SAME(dnn::Attribute::convolution_strides, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
SAME(dnn::Attribute::convolution_pads_after, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
SAME(dnn::Attribute::convolution_pads_before, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
SAME(dnn::Attribute::convolution_dimensions, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS);
SAME(dnn::Attribute::heuristics_mode, CUDNN_ATTR_ENGINEHEUR_MODE);
SAME(dnn::Attribute::heuristics_graph, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
SAME(dnn::Attribute::heuristics_results, CUDNN_ATTR_ENGINEHEUR_RESULTS);
SAME(dnn::Attribute::configuration_engine, CUDNN_ATTR_ENGINECFG_ENGINE);
SAME(dnn::Attribute::plan_handle, CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
SAME(dnn::Attribute::plan_configuration, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
SAME(dnn::Attribute::plan_workspace_bytes, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
SAME(dnn::Attribute::forward_alpha, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA);
SAME(dnn::Attribute::forward_beta, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA);
SAME(dnn::Attribute::forward_convolution, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
SAME(dnn::Attribute::forward_w, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W);
SAME(dnn::Attribute::forward_x, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X);
SAME(dnn::Attribute::forward_y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
SAME(dnn::Attribute::backward_data_alpha, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA);
SAME(dnn::Attribute::backward_data_beta, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA);
SAME(dnn::Attribute::backward_data_convolution, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC);
SAME(dnn::Attribute::backward_data_w, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W);
SAME(dnn::Attribute::backward_data_dx, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX);
SAME(dnn::Attribute::backward_data_dy, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY);
SAME(dnn::Attribute::backward_filter_alpha, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA);
SAME(dnn::Attribute::backward_filter_beta, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA);
SAME(dnn::Attribute::backward_filter_convolution, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC);
SAME(dnn::Attribute::backward_filter_dw, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW);
SAME(dnn::Attribute::backward_filter_x, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X);
SAME(dnn::Attribute::backward_filter_dy, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY);
SAME(dnn::Attribute::graph_handle, CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
SAME(dnn::Attribute::graph_operations, CUDNN_ATTR_OPERATIONGRAPH_OPS);
SAME(dnn::Attribute::tensor_alignment, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
SAME(dnn::Attribute::tensor_type, CUDNN_ATTR_TENSOR_DATA_TYPE);
SAME(dnn::Attribute::tensor_extents, CUDNN_ATTR_TENSOR_DIMENSIONS);
SAME(dnn::Attribute::tensor_strides, CUDNN_ATTR_TENSOR_STRIDES);
SAME(dnn::Attribute::tensor_id, CUDNN_ATTR_TENSOR_UNIQUE_ID);
SAME(dnn::Attribute::pointers_ids, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
SAME(dnn::Attribute::pointers_data, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
SAME(dnn::Attribute::pointers_workspace, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
SAME(dnn::Attribute::engine_numerical_notes, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
#if CUDNN_VERSION >= 91100  // devices that are only described came with 9.11
SAME(dnn::Kind::device, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
SAME(dnn::Type::text, CUDNN_TYPE_CHAR);
SAME(dnn::Attribute::heuristics_device, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
SAME(dnn::Attribute::plan_device, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
SAME(dnn::Attribute::device_json, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION);
#endif
SAME(dnn::DataType::f32, CUDNN_DATA_FLOAT);
SAME(dnn::DataType::bf16, CUDNN_DATA_BFLOAT16);
SAME(dnn::ConvolutionMode::cross_correlation, CUDNN_CROSS_CORRELATION);
SAME(dnn::Heuristic::fallback, CUDNN_HEUR_MODE_FALLBACK);
SAME(dnn::Heuristic::a, CUDNN_HEUR_MODE_A);
SAME(dnn::Note::tensor_core, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
SAME(dnn::Note::down_convert_inputs, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
SAME(dnn::Note::reduced_precision_reduction, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
SAME(dnn::Note::fft, CUDNN_NUMERICAL_NOTE_FFT);
SAME(dnn::Note::nondeterministic, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
SAME(dnn::Note::winograd, CUDNN_NUMERICAL_NOTE_WINOGRAD);
SAME(dnn::Note::winograd_4x4, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4);
SAME(dnn::Note::winograd_6x6, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6);
SAME(dnn::Note::winograd_13x13, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13);

SAME_CALL(lt::Calls, version, cublasLtGetVersion);
SAME_CALL(lt::Calls, status_string, cublasLtGetStatusString);
SAME_CALL(lt::Calls, create, cublasLtCreate);
SAME_CALL(lt::Calls, destroy, cublasLtDestroy);
SAME_CALL(lt::Calls, create_layout, cublasLtMatrixLayoutCreate);
SAME_CALL(lt::Calls, destroy_layout, cublasLtMatrixLayoutDestroy);
SAME_CALL(lt::Calls, create_operation, cublasLtMatmulDescCreate);
SAME_CALL(lt::Calls, destroy_operation, cublasLtMatmulDescDestroy);
SAME_CALL(lt::Calls, create_preference, cublasLtMatmulPreferenceCreate);
SAME_CALL(lt::Calls, destroy_preference, cublasLtMatmulPreferenceDestroy);
SAME_CALL(lt::Calls, set_operation, cublasLtMatmulDescSetAttribute);
SAME_CALL(lt::Calls, set_preference, cublasLtMatmulPreferenceSetAttribute);
SAME_CALL(lt::Calls, find, cublasLtMatmulAlgoGetHeuristic);
SAME_CALL(lt::Calls, multiply, cublasLtMatmul);

SAME(lt::success, CUBLAS_STATUS_SUCCESS);
SAME(lt::not_supported, CUBLAS_STATUS_NOT_SUPPORTED);
SAME(lt::ComputeType::f32, CUBLAS_COMPUTE_32F);
SAME(lt::ComputeType::fast_tf32, CUBLAS_COMPUTE_32F_FAST_TF32);
SAME(lt::DataType::f32, CUDA_R_32F);
SAME(lt::DataType::bf16, CUDA_R_16BF);
SAME(lt::Transpose::no, CUBLAS_OP_N);
SAME(lt::Transpose::yes, CUBLAS_OP_T);
SAME(lt::OperationAttribute::transpose_a, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(lt::OperationAttribute::transpose_b, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(lt::PreferenceAttribute::most_workspace_bytes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(lt::PreferenceAttribute::reduction_schemes, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(lt::PreferenceAttribute::alignment_a, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(lt::PreferenceAttribute::alignment_b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(lt::PreferenceAttribute::alignment_c, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(lt::PreferenceAttribute::alignment_d, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(lt::reduction_in_compute_type, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
static_assert(sizeof(lt::Found) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(lt::Found, workspace_bytes) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(lt::Found, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(sizeof(lt::Algorithm) == sizeof(cublasLtMatmulAlgo_t));

}  // namespace

int main() { fmt::print("declared as in the headers of cuDNN {} and cuBLASLt {}\n", CUDNN_VERSION, CUBLAS_VER_MAJOR); }
