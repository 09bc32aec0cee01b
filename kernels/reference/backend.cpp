// The reference backend: what every other backend is judged against. Plain loops in double, written to be read.
#include <cstdlib>
#include <cstring>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/operands.h"
#include "kernels/reference/factories.h"

namespace gannet::kernels {
namespace {

// Programs describe tensors as this backend stores them, in f64; the rules of the headers are written for f32.
void store_as_f64(TensorDesc& desc) {
  if (desc.type == DType::f64) desc.type = DType::f32;
}
void store_as_f64(std::vector<TensorDesc>& descs) {
  for (TensorDesc& desc : descs) store_as_f64(desc);
}

struct HeaderTypes {
  void operator()(Convolution& s) const { store_as_f64(s.x), store_as_f64(s.w), store_as_f64(s.y); }
  void operator()(ConvolutionBackward& s) const { (*this)(s.data), (*this)(s.weights); }
  void operator()(Matmul& s) const { store_as_f64(s.a), store_as_f64(s.b), store_as_f64(s.c); }
  void operator()(Pointwise& s) const { store_as_f64(s.inputs), store_as_f64(s.outputs); }
  void operator()(Reduction& s) const { (*this)(s.chain), store_as_f64(s.output); }
  void operator()(BatchNorm& s) const { store_as_f64(s.x); }
  void operator()(SigmoidBce& s) const { store_as_f64(s.logits); }
  void operator()(OptimizerUpdate& s) const { store_as_f64(s.parameters); }
  void operator()(EmaUpdate& s) const { store_as_f64(s.parameters); }
  void operator()(Bf16Copies& s) const { store_as_f64(s.parameters); }
  void operator()(Random& s) const { store_as_f64(s.output); }
  void operator()(Copy& s) const { store_as_f64(s.input), store_as_f64(s.output); }
  void operator()(Concatenate& s) const { store_as_f64(s.inputs), store_as_f64(s.output); }
  void operator()(AllReduce& s) const { store_as_f64(s.tensors); }
};

class ReferenceBackend final : public Backend {
 public:
  std::string name() const override { return "reference (double precision)"; }

  std::unique_ptr<Kernel> create(const KernelSpec& given) override {
    KernelSpec spec = given;
    std::visit(HeaderTypes{}, spec);
    check_preconditions(spec);
    const Operands operands = operands_of(spec);
    for (const auto* side : {&operands.inputs, &operands.outputs}) {
      for (const TensorDesc& desc : *side) {
        GANNET_CHECK(desc.layout == Layout::plain, "[{}] the reference backend knows the plain layout only, not {}",
                     name_of(spec), to_string(desc));
      }
    }
    return std::visit([](const auto& s) { return reference::make(s); }, spec);
  }

  DType storage(DType type) const override { return type == DType::f32 || type == DType::bf16 ? DType::f64 : type; }
  Layout picture_layout(const Shape&, DType) const override { return Layout::plain; }
  Layout filter_layout(const Shape&, DType) const override { return Layout::plain; }
  bool supports(DType) const override { return true; }

  void* allocate(std::size_t bytes) override {
    // aligned_alloc wants a multiple of the alignment.
    void* memory = std::aligned_alloc(64, (bytes / 64 + 1) * 64);
    if (memory == nullptr) throw RuntimeError(fmt::format("out of memory: {} bytes", bytes));
    return memory;
  }
  void release(void* memory) noexcept override { std::free(memory); }
  void upload(void* device, const void* host, std::size_t bytes) override { std::memcpy(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) override { std::memcpy(host, device, bytes); }
  void synchronize() override {}
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace gannet::kernels
