// Matrix products by oneDNN, with bias and activation fused.
#include "kernels/cpu/factories.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/widened.h"

namespace gannet::kernels::cpu {
namespace {

using dnnl::memory;

constexpr Place first_input{Place::Kind::input, 0}, second_input{Place::Kind::input, 1}, third_input{Place::Kind::input, 2};
constexpr Place output{Place::Kind::output, 0};

memory::desc transposed(const memory::desc& desc, bool transpose) { return transpose ? desc.permute_axes({1, 0}) : desc; }

}  // namespace

std::unique_ptr<Kernel> make_matmul(const Matmul& spec) {
  auto sequence = std::make_unique<PrimitiveSequence>(spec);
  try {
    const memory::desc a = transposed(describe(spec.a), spec.transpose_a);
    const memory::desc b = transposed(describe(spec.b), spec.transpose_b);
    const memory::desc c = describe(spec.c);
    const memory::desc bias =
        spec.bias ? memory::desc({1, spec.c.shape[1]}, memory::data_type::f32, memory::format_tag::ab) : memory::desc();
    const bool bf16 = has_bf16(spec);
    const dnnl::matmul::primitive_desc desc(sequence->engine(), a, b, bias, c, attributes(spec.activation), bf16);
    if (bf16 && (!desc || is_reference(desc))) return make_widened(spec);
    std::vector<PrimitiveSequence::Operand> operands = {
        {DNNL_ARG_SRC, a, first_input}, {DNNL_ARG_WEIGHTS, b, second_input}, {DNNL_ARG_DST, c, output}};
    if (spec.bias) operands.push_back({DNNL_ARG_BIAS, bias, third_input});
    sequence->add<dnnl::matmul>(desc, std::move(operands));
  } catch (const dnnl::error& error) {
    rethrow(error, spec);
  }
  return sequence;
}

}  // namespace gannet::kernels::cpu
