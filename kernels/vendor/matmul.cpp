// Products of matrices by cuBLASLt. Its matrices are column-major: what it multiplies are the transposes of ours, in the other
// order, C^T = B^T A^T.
#include <algorithm>
#include <utility>

#include "kernels/vendor/composed.h"
#include "kernels/vendor/factories.h"

namespace gannet::kernels::vendor {
namespace {

using namespace cublaslt;

constexpr std::uint64_t most_workspace_bytes = 32 << 20;
constexpr std::uint32_t alignment = 64;  // of operands

DataType type_of(const TensorDesc& desc) { return desc.type == DType::bf16 ? DataType::bf16 : DataType::f32; }

// Our row-major (rows, columns) as cuBLASLt's column-major (columns, rows).
class Matrix {
 public:
  Matrix(const Calls& calls, const TensorDesc& desc) : calls_(&calls) {
    const auto rows = static_cast<std::uint64_t>(desc.shape[0]), columns = static_cast<std::uint64_t>(desc.shape[1]);
    GANNET_CUBLASLT(calls, create_layout(&layout_, type_of(desc), columns, rows, desc.shape[1]));
  }
  ~Matrix() { calls_->destroy_layout(layout_); }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;
  operator Layout() const { return layout_; }

 private:
  const Calls* calls_;
  Layout layout_ = nullptr;
};

class Multiplication {
 public:
  Multiplication(const Calls& calls, const Matmul& spec, bool tf32) : calls_(&calls) {
    const bool fast = tf32 && spec.a.type == DType::f32;
    GANNET_CUBLASLT(calls, create_operation(&operation_, fast ? ComputeType::fast_tf32 : ComputeType::f32, DataType::f32));
    try {
      set(OperationAttribute::transpose_a, spec.transpose_b);
      set(OperationAttribute::transpose_b, spec.transpose_a);
    } catch (...) {
      calls.destroy_operation(operation_);
      throw;
    }
  }
  ~Multiplication() { calls_->destroy_operation(operation_); }
  Multiplication(const Multiplication&) = delete;
  Multiplication& operator=(const Multiplication&) = delete;
  operator Operation() const { return operation_; }

 private:
  void set(OperationAttribute attribute, bool transposed) {
    const Transpose value = transposed ? Transpose::yes : Transpose::no;
    GANNET_CUBLASLT(*calls_, set_operation(operation_, attribute, &value, sizeof value));
  }

  const Calls* calls_;
  Operation operation_ = nullptr;
};

// What algorithms may do.
class Terms {
 public:
  explicit Terms(const Calls& calls) : calls_(&calls) {
    GANNET_CUBLASLT(calls, create_preference(&preference_));
    try {
      set(PreferenceAttribute::most_workspace_bytes, most_workspace_bytes);
      set(PreferenceAttribute::reduction_schemes, reduction_in_compute_type);
      for (const auto of : {PreferenceAttribute::alignment_a, PreferenceAttribute::alignment_b,
                            PreferenceAttribute::alignment_c, PreferenceAttribute::alignment_d})
        set(of, alignment);
    } catch (...) {
      calls.destroy_preference(preference_);
      throw;
    }
  }
  ~Terms() { calls_->destroy_preference(preference_); }
  Terms(const Terms&) = delete;
  Terms& operator=(const Terms&) = delete;
  operator Preference() const { return preference_; }

 private:
  template <typename T>
  void set(PreferenceAttribute attribute, T value) {
    GANNET_CUBLASLT(*calls_, set_preference(preference_, attribute, &value, sizeof value));
  }

  const Calls* calls_;
  Preference preference_ = nullptr;
};

class MatmulKernel final : public Kernel {
 public:
  MatmulKernel(const Matmul& spec, const Libraries& libraries)
      : libraries_(libraries),
        operation_(libraries.cublaslt, spec, libraries.device.tf32),
        a_(libraries.cublaslt, spec.a),
        b_(libraries.cublaslt, spec.b),
        c_(libraries.cublaslt, spec.c) {
    const Terms terms(libraries.cublaslt);
    const Status status =
        libraries.cublaslt.find(libraries.cublaslt_handle, operation_, b_, a_, c_, c_, terms, 1, &found_, &count_);
    if (status == not_supported) count_ = 0;
    if (status != not_supported) check(libraries.cublaslt, status, "find", __FILE__, __LINE__);
  }

  bool supported() const { return count_ > 0 && found_.state == success; }
  std::size_t workspace_bytes() const override { return with_alignment(found_.workspace_bytes); }

  void run(const Arguments& arguments) override {
    const float one = 1, zero = 0;
    GANNET_CUBLASLT(libraries_.cublaslt,
                    multiply(libraries_.cublaslt_handle, operation_, &one, arguments.inputs[1], b_, arguments.inputs[0], a_,
                             &zero, arguments.outputs[0], c_, arguments.outputs[0], c_, &found_.algorithm,
                             aligned_workspace(arguments.workspace), found_.workspace_bytes, libraries_.device.stream));
  }

 private:
  const Libraries& libraries_;
  Multiplication operation_;
  Matrix a_, b_, c_;
  Found found_{};
  int count_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_matmul(const Matmul& spec, const Libraries& libraries) {
  const Ending ending{spec.bias, spec.activation};
  Matmul plain = spec;
  plain.bias = false, plain.activation = {};
  plain.c = before(ending, spec.c);
  auto kernel = std::make_unique<MatmulKernel>(plain, libraries);
  if (!kernel->supported()) return nullptr;
  return then(std::move(kernel), ending, spec.c, libraries);
}

}  // namespace gannet::kernels::vendor
