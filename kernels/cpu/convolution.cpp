// The convolution triple by oneDNN: its direct kernels on the layouts that the operands have, or as a product of matrices
// where the filter covers the picture. Measured, not guessed, what runs where: see CpuBackend::picture_layout.
#include <optional>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/factories.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/widened.h"
#include "kernels/slope_of.h"

namespace gannet::kernels::cpu {
namespace {

using dnnl::memory;

constexpr Place first_input{Place::Kind::input, 0}, second_input{Place::Kind::input, 1}, third_input{Place::Kind::input, 2};
constexpr Place output{Place::Kind::output, 0};

memory::desc bias_desc(std::int64_t channels) { return {{channels}, memory::data_type::f32, memory::format_tag::a}; }

// y is 1x1 and each filter as large as the picture: every sample and every filter is one vector of R*S*C numbers.
bool is_product(const Convolution& spec) {
  const Shape &x = spec.x.shape, &w = spec.w.shape, &y = spec.y.shape;
  return y[1] == 1 && y[2] == 1 && spec.pad == 0 && x[1] == w[1] && x[2] == w[2];
}

// The filters as matrix (K, R*S*C) with their elements in the order of a sample of x.
memory::desc filters_like_samples(const Convolution& spec) {
  TensorDesc desc = spec.w;
  desc.layout = spec.x.layout;
  return describe(desc);
}

bool has_epilogue(const Convolution& spec) { return spec.bias || spec.activation.kind != Activation::Kind::none; }

// What dgrad is computed as where bias or activation follow in a pass of their own: bf16 is rounded once, at the end.
TensorDesc before_epilogue(const Convolution& spec, bool epilogue) {
  TensorDesc picture = spec.x;
  if (epilogue) picture.type = DType::f32;
  return picture;
}

void finish_dgrad(PrimitiveSequence& sequence, const Convolution& spec, const TensorDesc& picture, Place place) {
  sequence.add_epilogue(describe(picture), place, spec.bias, spec.activation);
  if (picture != spec.x) sequence.convert(describe(picture), place, describe(spec.x), output);
}

void build_product(PrimitiveSequence& sequence, const Convolution& spec) {
  const std::int64_t N = spec.x.shape[0], K = spec.w.shape[0], F = spec.x.elements() / N;
  const memory::desc filters = describe(spec.w), filters_wanted = filters_like_samples(spec);
  const auto matrix = [](std::int64_t rows, std::int64_t columns, DType type, bool transposed = false) {
    const memory::desc desc({rows, columns}, library_type(type), memory::format_tag::ab);
    return transposed ? desc.permute_axes({1, 0}) : desc;
  };
  const memory::desc x = matrix(N, F, spec.x.type), y = matrix(N, K, spec.y.type), none;
  switch (spec.kind) {
    case ConvolutionKind::fprop: {
      const Place w = sequence.convert(filters, second_input, filters_wanted);
      const memory::desc w_transposed = matrix(K, F, spec.w.type, true);
      const memory::desc bias = spec.bias ? memory::desc({1, K}, memory::data_type::f32, memory::format_tag::ab) : none;
      const dnnl::matmul::primitive_desc desc(sequence.engine(), x, w_transposed, bias, y, attributes(spec.activation));
      std::vector<PrimitiveSequence::Operand> operands = {
          {DNNL_ARG_SRC, x, first_input}, {DNNL_ARG_WEIGHTS, w_transposed, w}, {DNNL_ARG_DST, y, output}};
      if (spec.bias) operands.push_back({DNNL_ARG_BIAS, bias, third_input});
      sequence.add<dnnl::matmul>(desc, std::move(operands));
      break;
    }
    case ConvolutionKind::dgrad: {
      const Place w = sequence.convert(filters, second_input, filters_wanted);
      const TensorDesc picture = before_epilogue(spec, spec.bias);
      const memory::desc w_matrix = matrix(K, F, spec.w.type), product = matrix(N, F, picture.type);
      const Place place_x = picture == spec.x ? output : sequence.reserve(product);
      const dnnl::matmul::primitive_desc desc(sequence.engine(), y, w_matrix, none, product,
                                              attributes(spec.bias ? Activation{} : spec.activation));
      sequence.add<dnnl::matmul>(
          desc, {{DNNL_ARG_SRC, y, first_input}, {DNNL_ARG_WEIGHTS, w_matrix, w}, {DNNL_ARG_DST, product, place_x}});
      if (spec.bias) finish_dgrad(sequence, spec, picture, place_x);
      break;
    }
    case ConvolutionKind::wgrad: {
      const memory::desc y_transposed = matrix(N, K, spec.y.type, true), w_matrix = matrix(K, F, spec.w.type);
      const dnnl::matmul::primitive_desc desc(sequence.engine(), y_transposed, x, none, w_matrix, attributes());
      const bool same = filters == filters_wanted;
      const Place w = same ? output : sequence.reserve(filters_wanted);
      sequence.add<dnnl::matmul>(
          desc, {{DNNL_ARG_SRC, y_transposed, second_input}, {DNNL_ARG_WEIGHTS, x, first_input}, {DNNL_ARG_DST, w_matrix, w}});
      if (!same) sequence.convert(filters_wanted, w, filters, output);
      break;
    }
  }
}

// A primitive of the library and the layouts in which it takes the operands.
struct Direct {
  dnnl::primitive_desc_base desc;
  dnnl::primitive primitive;
  memory::desc x, w, y;
};

class DirectSearch {
 public:
  DirectSearch(const dnnl::engine& engine, const Convolution& spec) : engine_(engine), spec_(spec) {}

  // Generated code for the operands as they are, else with the filter, then pictures too in another layout. Else any code,
  // but for bf16, which is faster in f32.
  std::optional<Direct> find() const {
    if (misses_taps()) return {};
    const memory::desc x = describe(spec_.x), w = describe(spec_.w), y = describe(spec_.y);
    const memory::desc free_x = describe_free(spec_.x), free_w = describe_free(spec_.w), free_y = describe_free(spec_.y);
    const Direct candidates[] = {{{}, {}, x, w, y},
                                 {{}, {}, x, free_w, y},
                                 {{}, {}, free_x, free_w, y},
                                 {{}, {}, x, free_w, free_y},
                                 {{}, {}, free_x, free_w, free_y}};
    for (Direct candidate : candidates) {
      if (create(candidate, true) && !is_reference(candidate.desc)) return candidate;
    }
    if (has_bf16(spec_)) return {};
    Direct last = candidates[4];
    create(last, false);
    return last;
  }

 private:
  // A tap that lies in the padding for every output: the library's bf16 wgrad leaves its gradient undefined (oneDNN 3.2).
  bool misses_taps() const {
    if (spec_.kind != ConvolutionKind::wgrad || !has_bf16(spec_)) return false;
    for (int axis : {1, 2}) {
      for (std::int64_t tap = 0; tap < spec_.w.shape[axis]; ++tap) {
        bool meets = false;
        for (std::int64_t out = 0; out < spec_.y.shape[axis] && !meets; ++out) {
          const std::int64_t in = out * spec_.stride + tap - spec_.pad;
          meets = in >= 0 && in < spec_.x.shape[axis];
        }
        if (!meets) return true;
      }
    }
    return false;
  }

  bool create(Direct& direct, bool allow_none) const {
    const memory::dims strides(2, spec_.stride), pad(2, spec_.pad);
    // On the far side the padding is what the output's extent asks for, negative where the last rows meet no tap.
    memory::dims far_pad(2);
    for (int d = 0; d < 2; ++d) {
      far_pad[d] = (spec_.y.shape[1 + d] - 1) * spec_.stride + spec_.w.shape[1 + d] - spec_.x.shape[1 + d] - spec_.pad;
    }
    constexpr auto direct_algorithm = dnnl::algorithm::convolution_direct;
    switch (spec_.kind) {
      case ConvolutionKind::fprop: {
        using Primitive = dnnl::convolution_forward;
        const auto prop = dnnl::prop_kind::forward_training;
        const auto attribute = attributes(spec_.activation);
        const Primitive::primitive_desc desc =
            spec_.bias
                ? Primitive::primitive_desc(engine_, prop, direct_algorithm, direct.x, direct.w, bias_desc(spec_.w.shape[0]),
                                            direct.y, strides, pad, far_pad, attribute, allow_none)
                : Primitive::primitive_desc(engine_, prop, direct_algorithm, direct.x, direct.w, direct.y, strides, pad,
                                            far_pad, attribute, allow_none);
        if (!desc) return false;
        direct = {desc, Primitive(desc), desc.src_desc(), desc.weights_desc(), desc.dst_desc()};
        return true;
      }
      case ConvolutionKind::dgrad: {
        using Primitive = dnnl::convolution_backward_data;
        const Primitive::primitive_desc desc(engine_, direct_algorithm, direct.x, direct.w, direct.y, strides, pad, far_pad,
                                             hint(strides, pad, far_pad), attributes(), allow_none);
        if (!desc) return false;
        direct = {desc, Primitive(desc), desc.diff_src_desc(), desc.weights_desc(), desc.diff_dst_desc()};
        return true;
      }
      case ConvolutionKind::wgrad: {
        using Primitive = dnnl::convolution_backward_weights;
        const auto forward = hint(strides, pad, far_pad);
        Primitive::primitive_desc desc(engine_, direct_algorithm, direct.x, direct.w, direct.y, strides, pad, far_pad, forward,
                                       attributes(), allow_none);
        if (!desc) return false;
        // Of few channels, with last rows or columns that meet no tap: generated code for AVX2 adds what it never read
        // (oneDNN 3.2).
        const bool leaves_some = far_pad[0] < 0 || far_pad[1] < 0;
        while (leaves_some && spec_.x.shape[3] % 8 != 0 && !is_reference(desc) && desc.next_impl()) {
        }
        direct = {desc, Primitive(desc), desc.src_desc(), desc.diff_weights_desc(), desc.diff_dst_desc()};
        return true;
      }
    }
    return false;
  }

  // The forward convolution that the library wants to see before a backward one; any layouts and types do.
  dnnl::convolution_forward::primitive_desc hint(const memory::dims& strides, const memory::dims& pad,
                                                 const memory::dims& far_pad) const {
    const auto in_f32 = [](TensorDesc desc) {
      desc.type = DType::f32;
      return describe_free(desc);
    };
    return {engine_,
            dnnl::prop_kind::forward_training,
            dnnl::algorithm::convolution_direct,
            in_f32(spec_.x),
            in_f32(spec_.w),
            in_f32(spec_.y),
            strides,
            pad,
            far_pad};
  }

  const dnnl::engine& engine_;
  const Convolution& spec_;
};

void build_direct(PrimitiveSequence& sequence, const Convolution& spec, const Direct& direct) {
  const memory::desc x = describe(spec.x), w = describe(spec.w), y = describe(spec.y);
  const auto convert_picture = [&](const memory::desc& given, Place place, const memory::desc& wanted) {
    if (given != wanted) sequence.count_picture_reorder();
    return sequence.convert(given, place, wanted);
  };
  const auto output_place = [&](const memory::desc& given, const memory::desc& produced) {
    return given == produced ? output : sequence.reserve(produced);
  };
  const auto deliver = [&](const memory::desc& given, const memory::desc& produced, Place place) {
    if (given != produced) sequence.convert(produced, place, given, output);
  };
  switch (spec.kind) {
    case ConvolutionKind::fprop: {
      const Place place_x = convert_picture(x, first_input, direct.x), place_w = sequence.convert(w, second_input, direct.w);
      const Place place_y = output_place(y, direct.y);
      std::vector<PrimitiveSequence::Operand> operands = {
          {DNNL_ARG_SRC, direct.x, place_x}, {DNNL_ARG_WEIGHTS, direct.w, place_w}, {DNNL_ARG_DST, direct.y, place_y}};
      if (spec.bias) operands.push_back({DNNL_ARG_BIAS, bias_desc(spec.w.shape[0]), third_input});
      sequence.add(direct.desc, direct.primitive, std::move(operands));
      if (y != direct.y) sequence.count_picture_reorder();
      deliver(y, direct.y, place_y);
      break;
    }
    case ConvolutionKind::dgrad: {
      const Place place_y = convert_picture(y, first_input, direct.y), place_w = sequence.convert(w, second_input, direct.w);
      const TensorDesc picture = before_epilogue(spec, has_epilogue(spec));
      const memory::desc result = describe(picture);
      const Place place = picture == spec.x ? output : sequence.reserve(result);
      const Place place_x = result == direct.x ? place : sequence.reserve(direct.x);
      sequence.add(direct.desc, direct.primitive,
                   {{DNNL_ARG_DIFF_DST, direct.y, place_y},
                    {DNNL_ARG_WEIGHTS, direct.w, place_w},
                    {DNNL_ARG_DIFF_SRC, direct.x, place_x}});
      if (result != direct.x) {
        sequence.count_picture_reorder();
        sequence.convert(direct.x, place_x, result, place);
      }
      finish_dgrad(sequence, spec, picture, place);
      break;
    }
    case ConvolutionKind::wgrad: {
      const Place place_x = convert_picture(x, first_input, direct.x), place_y = convert_picture(y, second_input, direct.y);
      const Place place_w = output_place(w, direct.w);
      sequence.add(direct.desc, direct.primitive,
                   {{DNNL_ARG_SRC, direct.x, place_x},
                    {DNNL_ARG_DIFF_DST, direct.y, place_y},
                    {DNNL_ARG_DIFF_WEIGHTS, direct.w, place_w}});
      deliver(w, direct.w, place_w);
      break;
    }
  }
}

}  // namespace

std::unique_ptr<Kernel> make_convolution(const Convolution& spec) {
  if (spec.slope_of.kind != Activation::Kind::none) {
    Convolution straight = spec;
    straight.slope_of = {};
    return then_slope(make_convolution(straight), make_pointwise(slope_chain(spec)));
  }
  try {
    if (is_product(spec)) {
      if (has_bf16(spec) && !native_bf16()) return make_widened(spec);
      auto sequence = std::make_unique<PrimitiveSequence>(spec);
      build_product(*sequence, spec);
      return sequence;
    }
    if (is_narrow_dgrad(spec)) return make_narrow_dgrad(spec);
    auto sequence = std::make_unique<PrimitiveSequence>(spec);
    Convolution computed = spec;
    if (spec.kind == ConvolutionKind::dgrad) computed.x = before_epilogue(spec, has_epilogue(spec));
    const std::optional<Direct> direct = DirectSearch(sequence->engine(), computed).find();
    if (!direct) return make_widened(spec);
    build_direct(*sequence, spec, *direct);
    return sequence;
  } catch (const dnnl::error& error) {
    rethrow(error, spec);
  }
}

}  // namespace gannet::kernels::cpu
