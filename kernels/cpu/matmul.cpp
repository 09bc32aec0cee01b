// Matrix products by oneDNN, with bias and activation fused.
#include "kernels/cpu/factories.h"
#include "kernels/cpu/onednn.h"

namespace gannet::kernels::cpu {
namespace {

using dnnl::memory;

constexpr Place first_input{Place::Kind::input, 0}, second_input{Place::Kind::input, 1}, third_input{Place::Kind::input, 2};
constexpr Place output{Place::Kind::output, 0};

memory::desc transposed(const memory::desc& desc, bool transpose) { return transpose ? desc.permute_axes({1, 0}) : desc; }

memory::desc in_f32(const memory::desc& desc) { return {desc.get_dims(), memory::data_type::f32, desc.get_strides()}; }

}  // namespace

std::unique_ptr<Kernel> make_matmul(const Matmul& spec) {
  auto sequence = std::make_unique<PrimitiveSequence>(spec);
  try {
    memory::desc a = transposed(describe(spec.a), spec.transpose_a), b = transposed(describe(spec.b), spec.transpose_b);
    memory::desc c = describe(spec.c);
    const memory::desc bias = spec.bias ? memory::desc({1, spec.c.shape[1]}, memory::data_type::f32, memory::format_tag::ab)
                                        : memory::desc();
    Place place_a = first_input, place_b = second_input, place_c = output;
    const auto attribute = attributes(spec.activation);
    dnnl::matmul::primitive_desc desc(sequence->engine(), a, b, bias, c, attribute, true);
    const bool convert = spec.a.type == DType::bf16 && (!desc || is_reference(desc));
    const memory::desc given_c = c;
    if (convert) {  // no bf16 products on this machine
      place_a = sequence->convert(a, place_a, in_f32(a));
      place_b = sequence->convert(b, place_b, in_f32(b));
      a = in_f32(a), b = in_f32(b), c = in_f32(c);
      if (c != given_c) place_c = sequence->reserve(c);
    }
    if (convert || !desc) desc = dnnl::matmul::primitive_desc(sequence->engine(), a, b, bias, c, attribute);
    std::vector<PrimitiveSequence::Operand> operands = {
        {DNNL_ARG_SRC, a, place_a}, {DNNL_ARG_WEIGHTS, b, place_b}, {DNNL_ARG_DST, c, place_c}};
    if (spec.bias) operands.push_back({DNNL_ARG_BIAS, bias, third_input});
    sequence->add<dnnl::matmul>(desc, std::move(operands));
    if (c != given_c) sequence->convert(c, place_c, given_c, output);
  } catch (const dnnl::error& error) {
    rethrow(error, spec);
  }
  return sequence;
}

}  // namespace gannet::kernels::cpu
