// The form of a pointwise chain: all of it but the numbers, which is what a kernel compiled for it knows. Forms have a text,
// one of which reads "bf16 f32:one2 | multiply 0 1, affine 2 | bf16 3": inputs with how they are read where that is not flat,
// and over how many axes; instructions with their operands; outputs with the registers that they store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/cuda/chain.h"

namespace gannet::kernels::cuda {

struct ChainForm {
  struct Input {
    DType type = DType::f32;
    Reading reading = Reading::flat;
    std::uint8_t axes = 0;
    bool operator==(const Input&) const = default;
  };
  struct Step {
    PointwiseOp op = PointwiseOp::constant;
    std::uint8_t a = 0, b = 0;  // registers
    bool operator==(const Step&) const = default;
  };
  struct Output {
    DType type = DType::f32;
    std::uint8_t result = 0;  // register
    bool operator==(const Output&) const = default;
  };
  int inputs = 0, steps = 0, outputs = 0;
  Input input[max_chain_inputs];
  Step step[max_chain_steps];
  Output output[max_chain_outputs];
  bool operator==(const ChainForm&) const = default;
};

namespace form_text {

inline constexpr DType types[] = {DType::f32, DType::bf16, DType::i32, DType::u8};
inline constexpr std::string_view type_names[] = {"f32", "bf16", "i32", "u8"};
inline constexpr std::string_view reading_names[] = {"flat", "row", "one", "gather"};
inline constexpr std::string_view op_names[] = {
    "constant", "affine", "add",  "subtract", "multiply", "divide", "maximum",    "minimum",  "greater",    "exp",
    "log",      "sqrt",   "tanh", "sigmoid",  "abs",      "sign",   "reciprocal", "softplus", "leaky_relu", "leaky_step"};

template <std::size_t N>
constexpr int index_in(const std::string_view (&names)[N], std::string_view name) {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == name) return static_cast<int>(i);
  throw "not a name of a chain's form";
}

// Takes the next part off the front of `text`, up to `separator`.
constexpr std::string_view next(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  std::string_view part = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
  while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return part;
}

constexpr std::uint8_t number(std::string_view text) {
  int value = 0;
  for (const char digit : text) value = 10 * value + (digit >= '0' && digit <= '9' ? digit - '0' : throw "not a number");
  return static_cast<std::uint8_t>(value);
}

}  // namespace form_text

constexpr ChainForm parse_form(std::string_view text) {
  using namespace form_text;
  ChainForm form;
  std::string_view inputs = next(text, '|'), steps = next(text, '|'), outputs = text;
  while (!inputs.empty()) {
    std::string_view input = next(inputs, ' ');
    ChainForm::Input& into = form.input[form.inputs++];
    into.type = types[index_in(type_names, next(input, ':'))];
    if (!input.empty()) {
      into.axes = number(input.substr(input.size() - 1));
      into.reading = static_cast<Reading>(index_in(reading_names, input.substr(0, input.size() - 1)));
    }
  }
  while (!steps.empty()) {
    std::string_view step = next(steps, ',');
    ChainForm::Step& into = form.step[form.steps++];
    into.op = static_cast<PointwiseOp>(index_in(op_names, next(step, ' ')));
    into.a = number(next(step, ' '));
    into.b = number(next(step, ' '));
  }
  while (!outputs.empty()) {
    ChainForm::Output& into = form.output[form.outputs++];
    into.type = types[index_in(type_names, next(outputs, ' '))];
    into.result = number(next(outputs, ' '));
  }
  return form;
}

constexpr int bytes_of(DType type) { return type == DType::u8 ? 1 : type == DType::bf16 ? 2 : 4; }

// Elements that a thread takes at once: the widest operand that is as large as the chain moves 16 bytes. A sum stores none.
constexpr int packet_of(const ChainForm& form, bool summed = false) {
  int widest = 1;
  for (int i = 0; i < form.inputs; ++i)
    if (form.input[i].reading == Reading::flat && bytes_of(form.input[i].type) > widest) widest = bytes_of(form.input[i].type);
  for (int o = 0; o < form.outputs && !summed; ++o)
    if (bytes_of(form.output[o].type) > widest) widest = bytes_of(form.output[o].type);
  return 16 / widest;
}

// The form that a kernel for this chain would be compiled for. The chain is not longer than chain.h allows.
ChainForm form_of(const Pointwise& spec);
std::string to_text(const ChainForm& form);

// Whether a kernel is compiled for chains of this form that are stored, or summed: chains_ahead.inc lists both.
bool compiled_ahead(const ChainForm& form, bool summed = false);

}  // namespace gannet::kernels::cuda
