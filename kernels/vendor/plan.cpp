#include "kernels/vendor/plan.h"

#include <algorithm>

#include "kernels/operands.h"

namespace gannet::kernels::vendor::cudnn {
namespace {

constexpr std::int64_t alignment = 16;  // bytes that pointers are multiples of: operands and workspaces are of 64
constexpr std::int64_t most_configurations = 64;

// cuDNN numbers axes as N,C,H,W and K,C,R,S whatever their order in memory is, which the strides give.
Descriptor tensor(const Calls& calls, const TensorDesc& desc, std::int64_t id) {
  const Shape& s = desc.shape;
  Descriptor result(calls, Kind::tensor);
  result.set(Attribute::tensor_type, desc.type == DType::bf16 ? DataType::bf16 : DataType::f32)
      .set(Attribute::tensor_extents, {s[0], s[3], s[1], s[2]})
      .set(Attribute::tensor_strides, {s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]})
      .set(Attribute::tensor_alignment, alignment)
      .set(Attribute::tensor_id, id)
      .finalize();
  return result;
}

Descriptor geometry(const Calls& calls, const Convolution& spec) {
  Descriptor result(calls, Kind::convolution);
  const std::int64_t stride = spec.stride, pad = spec.pad;
  result.set(Attribute::convolution_compute_type, DataType::f32)
      .set(Attribute::convolution_mode, Type::convolution_mode, ConvolutionMode::cross_correlation)
      .set(Attribute::convolution_dimensions, std::int64_t{2})
      .set(Attribute::convolution_dilations, {1, 1})
      .set(Attribute::convolution_strides, {stride, stride})
      .set(Attribute::convolution_pads_before, {pad, pad})
      .set(Attribute::convolution_pads_after, {pad, pad})
      .finalize();
  return result;
}

struct Names {
  Kind kind;
  Attribute alpha, beta, convolution, x, w, y;
};
Names names_of(ConvolutionKind kind) {
  switch (kind) {
    case ConvolutionKind::fprop:
      return {Kind::convolution_forward, Attribute::forward_alpha, Attribute::forward_beta, Attribute::forward_convolution,
              Attribute::forward_x,      Attribute::forward_w,     Attribute::forward_y};
    case ConvolutionKind::dgrad:
      return {Kind::convolution_backward_data,      Attribute::backward_data_alpha, Attribute::backward_data_beta,
              Attribute::backward_data_convolution, Attribute::backward_data_dx,    Attribute::backward_data_w,
              Attribute::backward_data_dy};
    case ConvolutionKind::wgrad:
      break;
  }
  return {Kind::convolution_backward_filter,      Attribute::backward_filter_alpha, Attribute::backward_filter_beta,
          Attribute::backward_filter_convolution, Attribute::backward_filter_x,     Attribute::backward_filter_dw,
          Attribute::backward_filter_dy};
}

enum class Arithmetic { f32, tf32, bf16 };

bool acceptable(const std::vector<Note>& notes, Arithmetic arithmetic) {
  return std::none_of(notes.begin(), notes.end(), [&](Note note) {
    switch (note) {
      case Note::tensor_core:
        return arithmetic == Arithmetic::f32;
      case Note::down_convert_inputs:  // of f32 to tf32
        return arithmetic != Arithmetic::tf32;
      default:
        return note >= Note::reduced_precision_reduction && note <= Note::winograd_13x13;
    }
  });
}

std::optional<Plan> plan_as(const Calls& calls, const Target& target, const Convolution& spec, Arithmetic arithmetic) {
  const Descriptor x = tensor(calls, spec.x, id_x), w = tensor(calls, spec.w, id_w), y = tensor(calls, spec.y, id_y);
  const Descriptor convolution = geometry(calls, spec);
  const Names names = names_of(spec.kind);
  Descriptor operation(calls, names.kind);
  operation.set(names.convolution, convolution).set(names.x, x).set(names.w, w).set(names.y, y);
  operation.set(names.alpha, 1.0f).set(names.beta, 0.0f).finalize();
  Descriptor graph(calls, Kind::graph);
  graph.set(Attribute::graph_operations, operation);
  if (target.handle != nullptr) graph.set(Attribute::graph_handle, Type::handle, target.handle);
  graph.finalize();
  for (const Heuristic mode : {Heuristic::a, Heuristic::fallback}) {
    Descriptor heuristics(calls, Kind::heuristics);
    heuristics.set(Attribute::heuristics_graph, graph).set(Attribute::heuristics_mode, Type::heuristic, mode);
    if (target.properties != nullptr) heuristics.set(Attribute::heuristics_device, *target.properties);
    if (!heuristics.finalized_where_supported()) continue;
    for (const Descriptor& configuration :
         heuristics.descriptors(Attribute::heuristics_results, Kind::engine_configuration, most_configurations)) {
      const std::vector<Descriptor> engine = configuration.descriptors(Attribute::configuration_engine, Kind::engine, 1);
      if (engine.empty()) continue;
      const auto notes = engine[0].get<Note>(Attribute::engine_numerical_notes, Type::numerical_note, 16);
      if (!acceptable(notes, arithmetic)) continue;
      Descriptor plan(calls, Kind::plan);
      plan.set(Attribute::plan_configuration, configuration);
      if (target.properties != nullptr)
        plan.set(Attribute::plan_device, *target.properties);
      else
        plan.set(Attribute::plan_handle, Type::handle, target.handle);
      if (!plan.finalized_where_supported()) continue;
      const auto bytes = plan.get<std::int64_t>(Attribute::plan_workspace_bytes, Type::int64, 1);
      return Plan{std::move(plan), static_cast<std::size_t>(bytes.at(0)), false};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Plan> plan_convolution(const Calls& calls, const Target& target, const Convolution& spec, bool tf32) {
  const Operands operands = operands_of(spec);
  if (operands.inputs[0].type != DType::bf16) return plan_as(calls, target, spec, tf32 ? Arithmetic::tf32 : Arithmetic::f32);
  std::optional<Plan> plan = plan_as(calls, target, spec, Arithmetic::bf16);
  if (plan || operands.outputs[0].type == DType::bf16) return plan;
  // Not every device has engines from bf16 to f32. Every bf16 is a tf32, and products of tf32 are summed as those of bf16 are.
  Convolution wide = spec;
  wide.x.type = wide.w.type = wide.y.type = DType::f32;
  std::optional<Plan> of_wide = plan_as(calls, target, wide, Arithmetic::tf32);
  if (of_wide) of_wide->widened = true;
  return of_wide;
}

}  // namespace gannet::kernels::vendor::cudnn
