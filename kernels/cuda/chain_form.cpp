#include "kernels/cuda/chain_form.h"

#include <algorithm>
#include <iterator>

#include "kernels/check.h"

namespace gannet::kernels::cuda {
namespace {

struct Ahead {
  bool summed;
  ChainForm form;
};
constexpr Ahead all_ahead[] = {
#define GANNET_CHAIN(text) {false, parse_form(text)},
#define GANNET_SUM(text) {true, parse_form(text)},
#include "kernels/cuda/chains_ahead.inc"
#undef GANNET_CHAIN
#undef GANNET_SUM
};

}  // namespace

ChainForm form_of(const Pointwise& spec) {
  ChainForm form;
  form.inputs = static_cast<int>(spec.inputs.size());
  form.steps = static_cast<int>(spec.instructions.size());
  form.outputs = static_cast<int>(spec.results.size());
  for (int o = 0; o < form.outputs; ++o) {
    const auto at = static_cast<std::size_t>(o);
    form.output[o] = {at < spec.outputs.size() ? spec.outputs[at].type : DType::f32,
                      static_cast<std::uint8_t>(spec.results[at])};
  }
  for (int i = 0; i < form.inputs; ++i) {  // readings depend on the packet, which depends on what is flat
    const TensorDesc& input = spec.inputs[static_cast<std::size_t>(i)];
    form.input[i] = {input.type, input.shape == spec.shape ? Reading::flat : Reading::gather, 0};
  }
  const Chain chain = plan_chain(spec, packet_of(form, spec.outputs.empty()), "pointwise");
  for (int i = 0; i < form.inputs; ++i) form.input[i] = {chain.input[i].type, chain.input[i].reading, chain.input[i].axes};
  for (int s = 0; s < form.steps; ++s) {
    const PointwiseInstruction& instruction = spec.instructions[static_cast<std::size_t>(s)];
    const int operands = operands_of(instruction.op);
    form.step[s] = {instruction.op, static_cast<std::uint8_t>(operands > 0 ? instruction.a : 0),
                    static_cast<std::uint8_t>(operands > 1 ? instruction.b : 0)};
  }
  return form;
}

std::string to_text(const ChainForm& form) {
  std::string text;
  for (int i = 0; i < form.inputs; ++i) {
    const ChainForm::Input& input = form.input[i];
    text += name_of(input.type);
    if (input.reading != Reading::flat)
      text += fmt::format(":{}{}", form_text::reading_names[static_cast<int>(input.reading)], input.axes);
    text += ' ';
  }
  text += '|';
  for (int s = 0; s < form.steps; ++s) {
    const ChainForm::Step& step = form.step[s];
    text += fmt::format("{} {}", s == 0 ? "" : ",", name_of(step.op));
    if (operands_of(step.op) > 0) text += fmt::format(" {}", step.a);
    if (operands_of(step.op) > 1) text += fmt::format(" {}", step.b);
  }
  text += " |";
  for (int o = 0; o < form.outputs; ++o) text += fmt::format(" {} {}", name_of(form.output[o].type), form.output[o].result);
  return text;
}

bool compiled_ahead(const ChainForm& form, bool summed) {
  return std::any_of(std::begin(all_ahead), std::end(all_ahead),
                     [&](const Ahead& ahead) { return ahead.summed == summed && ahead.form == form; });
}

}  // namespace gannet::kernels::cuda
