// The convolution triple from its definition: one thread an output, fp32 sums. What computes the specs that the other variants
// decline, and what they can be judged by. Neighbouring threads read neighbouring channels; each operand is read many times.
#include "kernels/cuda/convolution.h"
#include "kernels/cuda/division.h"
#include "kernels/cuda/epilogue.cuh"
#include "kernels/operands.h"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 128;

struct Problem {
  const void *first, *second;
  const float* bias;
  void* output;
  int elements;  // of the output
  int samples, height, width, channels, filters, filter_h, filter_w, output_height, output_width, stride, pad;
  Divider axis1, axis2, axis3;  // extents of the output's last three axes
  Activation::Kind activation;
  float slope;
  SlopeOf slope_of;
};

template <typename T>
__device__ float read(const void* tensor, std::int64_t index) {
  return widened(static_cast<const T*>(tensor)[index]);
}

__device__ std::int64_t index_of(int a, int b, int c, int d, int extent_b, int extent_c, int extent_d) {
  return ((static_cast<std::int64_t>(a) * extent_b + b) * extent_c + c) * extent_d + d;
}

template <typename T>
__device__ float fprop(const Problem& g, int n, int p, int q, int k) {
  float sum = 0;
  for (int r = 0; r < g.filter_h; ++r) {
    const int h = p * g.stride + r - g.pad;
    if (h < 0 || h >= g.height) continue;
    for (int s = 0; s < g.filter_w; ++s) {
      const int w = q * g.stride + s - g.pad;
      if (w < 0 || w >= g.width) continue;
      const std::int64_t x = index_of(n, h, w, 0, g.height, g.width, g.channels);
      const std::int64_t f = index_of(k, r, s, 0, g.filter_h, g.filter_w, g.channels);
      for (int c = 0; c < g.channels; ++c) sum = fmaf(read<T>(g.first, x + c), read<T>(g.second, f + c), sum);
    }
  }
  return sum;
}

template <typename T>
__device__ float dgrad(const Problem& g, int n, int h, int w, int c) {
  float sum = 0;
  for (int r = 0; r < g.filter_h; ++r) {
    const int p = (h + g.pad - r) / g.stride;
    if (h + g.pad < r || p * g.stride != h + g.pad - r || p >= g.output_height) continue;
    for (int s = 0; s < g.filter_w; ++s) {
      const int q = (w + g.pad - s) / g.stride;
      if (w + g.pad < s || q * g.stride != w + g.pad - s || q >= g.output_width) continue;
      const std::int64_t y = index_of(n, p, q, 0, g.output_height, g.output_width, g.filters);
      for (int k = 0; k < g.filters; ++k) {
        const std::int64_t f = index_of(k, r, s, c, g.filter_h, g.filter_w, g.channels);
        sum = fmaf(read<T>(g.first, y + k), read<T>(g.second, f), sum);
      }
    }
  }
  return sum;
}

// A sum for each line of y, so that rounding errors grow with the length of a line and the number of lines, not their product.
template <typename T>
__device__ float wgrad(const Problem& g, int k, int r, int s, int c) {
  float sum = 0;
  for (int n = 0; n < g.samples; ++n) {
    for (int p = 0; p < g.output_height; ++p) {
      const int h = p * g.stride + r - g.pad;
      if (h < 0 || h >= g.height) continue;
      float line = 0;
      for (int q = 0; q < g.output_width; ++q) {
        const int w = q * g.stride + s - g.pad;
        if (w < 0 || w >= g.width) continue;
        line = fmaf(read<T>(g.first, index_of(n, h, w, c, g.height, g.width, g.channels)),
                    read<T>(g.second, index_of(n, p, q, k, g.output_height, g.output_width, g.filters)), line);
      }
      sum += line;
    }
  }
  return sum;
}

template <ConvolutionKind Kind, typename T, typename Output>
__global__ void __launch_bounds__(threads) convolve(const __grid_constant__ Problem g) {
  const int element = static_cast<int>(blockIdx.x) * threads + static_cast<int>(threadIdx.x);
  if (element >= g.elements) return;
  auto d = static_cast<std::uint32_t>(element);
  std::uint32_t c = g.axis3.divide(d), b = g.axis2.divide(c);
  const auto a = static_cast<int>(g.axis1.divide(b));
  const int i = static_cast<int>(b), j = static_cast<int>(c), l = static_cast<int>(d);
  float value[1];
  if constexpr (Kind == ConvolutionKind::fprop) {
    value[0] = fprop<T>(g, a, i, j, l);
  } else if constexpr (Kind == ConvolutionKind::dgrad) {
    value[0] = dgrad<T>(g, a, i, j, l);
  } else {
    value[0] = wgrad<T>(g, a, i, j, l);
  }
  if (g.bias != nullptr) value[0] += g.bias[l];
  activate(g.activation, g.slope, value);
  multiply_by_slope<Output>(g.slope_of, element, value);
  store(static_cast<Output*>(g.output) + element, value);
}

using Function = void (*)(Problem);

template <ConvolutionKind Kind>
Function find(DType input, DType output) {
  using bf16 = __nv_bfloat16;
  if (input == DType::bf16) return output == DType::bf16 ? convolve<Kind, bf16, bf16> : convolve<Kind, bf16, float>;
  return output == DType::bf16 ? convolve<Kind, float, bf16> : convolve<Kind, float, float>;
}

class AnalyticConvolution final : public Kernel {
 public:
  AnalyticConvolution(const Convolution& spec, const Device& device) : bias_(spec.bias), stream_(device.stream) {
    const auto extent = [](const TensorDesc& desc, int axis) { return static_cast<int>(desc.shape[axis]); };
    const Operands operands = operands_of(spec);
    const TensorDesc& output = operands.outputs[0];
    const auto divider = [&](int axis) { return Divider(static_cast<std::uint32_t>(output.shape[axis])); };
    problem_ = {.first = nullptr,
                .second = nullptr,
                .bias = nullptr,
                .output = nullptr,
                .elements = static_cast<int>(output.elements()),
                .samples = extent(spec.x, 0),
                .height = extent(spec.x, 1),
                .width = extent(spec.x, 2),
                .channels = extent(spec.x, 3),
                .filters = extent(spec.w, 0),
                .filter_h = extent(spec.w, 1),
                .filter_w = extent(spec.w, 2),
                .output_height = extent(spec.y, 1),
                .output_width = extent(spec.y, 2),
                .stride = spec.stride,
                .pad = spec.pad,
                .axis1 = divider(1),
                .axis2 = divider(2),
                .axis3 = divider(3),
                .activation = spec.activation.kind,
                .slope = spec.activation.slope,
                .slope_of = {spec.slope_of.kind, spec.slope_of.slope, nullptr}};
    const DType input = operands.inputs[0].type;
    function_ = spec.kind == ConvolutionKind::fprop   ? find<ConvolutionKind::fprop>(input, output.type)
                : spec.kind == ConvolutionKind::dgrad ? find<ConvolutionKind::dgrad>(input, output.type)
                                                      : find<ConvolutionKind::wgrad>(input, output.type);
  }

  void run(const Arguments& arguments) override {
    Problem problem = problem_;
    problem.first = arguments.inputs[0];
    problem.second = arguments.inputs[1];
    const void* const* last = arguments.inputs + 2;
    if (bias_) problem.bias = static_cast<const float*>(*last++);
    if (problem.slope_of.kind != Activation::Kind::none) problem.slope_of.activated = *last;
    problem.output = arguments.outputs[0];
    function_<<<static_cast<unsigned>((problem.elements + threads - 1) / threads), threads, 0, stream_>>>(problem);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  Problem problem_{};
  bool bias_;
  cudaStream_t stream_;
  Function function_ = nullptr;
};

}  // namespace

std::unique_ptr<Kernel> make_analytic_convolution(const Convolution& spec, const Device& device) {
  return std::make_unique<AnalyticConvolution>(spec, device);
}

}  // namespace gannet::kernels::cuda
