// Stands for libcublasLt.so.13 (see vendor_double.h): products of column-major matrices.
#include <memory>
#include <vector>

#include "kernels/vendor/cublaslt.h"
#include "tests/vendor_double.h"

namespace gannet::kernels::vendor::cublaslt {

struct cublasLtContext {};
struct LayoutOpaque {
  DataType type;
  std::uint64_t rows, columns;
  std::int64_t pitch;
  bool bf16() const { return type == DataType::bf16; }
  std::size_t bytes() const { return rows * columns * (bf16() ? 2 : 4); }
};
struct OperationOpaque {
  ComputeType type;
  Transpose a = Transpose::no, b = Transpose::no;
};
struct PreferenceOpaque {
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reduction_schemes = 7;
  std::uint32_t alignments[4] = {256, 256, 256, 256};
};

}  // namespace gannet::kernels::vendor::cublaslt

namespace gannet::tests {
namespace {

using namespace kernels::vendor::cublaslt;

constexpr Status invalid{7}, unknown{1};
constexpr std::size_t workspace_bytes = 500;

// What an algorithm is good for; the algorithm's words hold its address.
struct Problem {
  OperationOpaque operation;
  LayoutOpaque a, b, c;
  std::unique_ptr<HostKernel> kernel;
};
std::vector<std::unique_ptr<Problem>>& problems() {
  static std::vector<std::unique_ptr<Problem>> all;
  return all;
}
int executions = 0;

bool same(const LayoutOpaque& one, const LayoutOpaque& other) {
  return one.type == other.type && one.rows == other.rows && one.columns == other.columns && one.pitch == other.pitch;
}

// C(i,j) = sum_l op(A)(i,l) op(B)(l,j), of matrices whose element (i,j) lies at i + j * pitch.
void multiply(const Problem& t, const void* a, const void* b, void* c) {
  const bool rounded = t.operation.type == ComputeType::fast_tf32;
  const auto inner = static_cast<std::int64_t>(t.operation.a == Transpose::yes ? t.a.rows : t.a.columns);
  for (std::int64_t j = 0; j < static_cast<std::int64_t>(t.c.columns); ++j)
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(t.c.rows); ++i) {
      double sum = 0;
      for (std::int64_t l = 0; l < inner; ++l) {
        const std::int64_t in_a = t.operation.a == Transpose::yes ? l + i * t.a.pitch : i + l * t.a.pitch;
        const std::int64_t in_b = t.operation.b == Transpose::yes ? j + l * t.b.pitch : l + j * t.b.pitch;
        sum += load(a, in_a, t.a.bf16(), rounded) * load(b, in_b, t.b.bf16(), rounded);
      }
      store(c, i + j * t.c.pitch, t.c.bf16(), sum);
    }
}

bool fits(const Problem& t) {
  const bool ta = t.operation.a == Transpose::yes, tb = t.operation.b == Transpose::yes;
  const std::uint64_t m = ta ? t.a.columns : t.a.rows, k = ta ? t.a.rows : t.a.columns;
  return m == t.c.rows && k == (tb ? t.b.columns : t.b.rows) && (tb ? t.b.rows : t.b.columns) == t.c.columns &&
         t.a.type == t.b.type && (t.a.bf16() || !t.c.bf16()) && (t.operation.type == ComputeType::f32 || !t.a.bf16());
}

}  // namespace
}  // namespace gannet::tests

using namespace gannet::tests;

extern "C" {

int vendor_double_executions() { return executions; }

std::size_t cublasLtGetVersion() { return 130000; }
const char* cublasLtGetStatusString(Status status) {
  return status == success ? "success" : status == not_supported ? "not supported" : "refused by the double of cuBLASLt";
}
Status cublasLtCreate(Handle* handle) {
  *handle = new gannet::kernels::vendor::cublaslt::cublasLtContext;
  return success;
}
Status cublasLtDestroy(Handle handle) {
  delete handle;
  return success;
}

Status cublasLtMatrixLayoutCreate(Layout* layout, DataType type, std::uint64_t rows, std::uint64_t columns,
                                  std::int64_t pitch) {
  const bool known = type == DataType::f32 || type == DataType::bf16;
  if (!known || rows == 0 || columns == 0 || pitch != static_cast<std::int64_t>(rows)) return invalid;  // packed
  *layout = new gannet::kernels::vendor::cublaslt::LayoutOpaque{type, rows, columns, pitch};
  return success;
}
Status cublasLtMatrixLayoutDestroy(Layout layout) {
  delete layout;
  return success;
}
Status cublasLtMatmulDescCreate(Operation* operation, ComputeType type, DataType scale) {
  if ((type != ComputeType::f32 && type != ComputeType::fast_tf32) || scale != DataType::f32) return invalid;
  *operation = new gannet::kernels::vendor::cublaslt::OperationOpaque{type};
  return success;
}
Status cublasLtMatmulDescDestroy(Operation operation) {
  delete operation;
  return success;
}
Status cublasLtMatmulDescSetAttribute(Operation operation, OperationAttribute attribute, const void* data, std::size_t bytes) {
  if (bytes != sizeof(std::int32_t)) return invalid;
  Transpose value{};
  std::memcpy(&value, data, bytes);
  if (attribute == OperationAttribute::transpose_a)
    operation->a = value;
  else if (attribute == OperationAttribute::transpose_b)
    operation->b = value;
  else
    return invalid;
  return value == Transpose::no || value == Transpose::yes ? success : invalid;
}
Status cublasLtMatmulPreferenceCreate(Preference* preference) {
  *preference = new gannet::kernels::vendor::cublaslt::PreferenceOpaque;
  return success;
}
Status cublasLtMatmulPreferenceDestroy(Preference preference) {
  delete preference;
  return success;
}
Status cublasLtMatmulPreferenceSetAttribute(Preference preference, PreferenceAttribute attribute, const void* data,
                                            std::size_t bytes) {
  if (attribute == PreferenceAttribute::most_workspace_bytes && bytes == sizeof(std::uint64_t))
    std::memcpy(&preference->workspace_bytes, data, bytes);
  else if (attribute == PreferenceAttribute::reduction_schemes && bytes == sizeof(std::uint32_t))
    std::memcpy(&preference->reduction_schemes, data, bytes);
  else if (attribute >= PreferenceAttribute::alignment_a && attribute <= PreferenceAttribute::alignment_d &&
           bytes == sizeof(std::uint32_t))
    std::memcpy(&preference->alignments[static_cast<int>(attribute) - static_cast<int>(PreferenceAttribute::alignment_a)], data,
                bytes);
  else
    return invalid;
  return success;
}

Status cublasLtMatmulAlgoGetHeuristic(Handle handle, Operation operation, Layout a, Layout b, Layout c, Layout d,
                                      Preference preference, int most, Found* found, int* count) {
  if (handle == nullptr || most < 1 || !same(*c, *d)) return invalid;
  // Neither in place nor in bf16, which would be less than fp32 sums.
  if ((preference->reduction_schemes & ~reduction_in_compute_type) != 0 || preference->workspace_bytes < workspace_bytes)
    return invalid;
  for (const std::uint32_t alignment : preference->alignments)
    if (alignment > 64) return invalid;  // what operands are aligned to
  auto problem = std::make_unique<Problem>(Problem{*operation, *a, *b, *c, nullptr});
  if (!fits(*problem)) return invalid;
  *count = 0;
  if (c->rows * c->columns == 1) return not_supported;  // so that there is a product that it has not
  Problem* const raw = problem.get();
  raw->kernel = std::make_unique<HostKernel>(a->bytes(), b->bytes(), c->bytes(),
                                             [raw](const void* x, const void* y, void* z) { multiply(*raw, x, y, z); });
  problems().push_back(std::move(problem));
  *found = {};
  std::memcpy(found->algorithm.data, &raw, sizeof raw);
  found->workspace_bytes = workspace_bytes;
  *count = 1;
  return success;
}

Status cublasLtMatmul(Handle handle, Operation operation, const void* alpha, const void* a, Layout la, const void* b, Layout lb,
                      const void* beta, const void* c, Layout lc, void* d, Layout ld, const Algorithm* algorithm,
                      void* workspace, std::size_t bytes, cudaStream_t stream) {
  Problem* problem = nullptr;
  std::memcpy(&problem, algorithm->data, sizeof problem);
  bool known = false;
  for (const auto& one : problems()) known = known || one.get() == problem;
  if (!known || handle == nullptr) return unknown;
  float one = 0, zero = 1;
  std::memcpy(&one, alpha, sizeof one);
  std::memcpy(&zero, beta, sizeof zero);
  const bool as_found = same(*la, problem->a) && same(*lb, problem->b) && same(*lc, problem->c) && same(*ld, problem->c) &&
                        operation->a == problem->operation.a && operation->b == problem->operation.b &&
                        operation->type == problem->operation.type;
  if (!as_found || one != 1 || zero != 0 || c != d || bytes < workspace_bytes) return invalid;
  if (!aligned(a, 64) || !aligned(b, 64) || !aligned(d, 64) || !aligned(workspace, 256)) return invalid;
  try {
    use_workspace(workspace, workspace_bytes, stream);
    problem->kernel->enqueue(a, b, d, stream);
  } catch (const std::exception&) {
    return unknown;
  }
  ++executions;
  return success;
}

}  // extern "C"
