// dgrad to pictures of at most four channels, f32: the library's own took five times as long (see simd/narrow_dgrad.cpp).
// One sample is one task; its sums are formed in one order whatever the number of threads.
#include "kernels/cpu/narrow_dgrad.h"

#include <algorithm>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/parallel.h"

namespace gannet::kernels::cpu {
namespace {

std::int64_t aligned(std::int64_t floats) { return (floats + 15) / 16 * 16; }

class NarrowDgradKernel final : public Kernel {
 public:
  explicit NarrowDgradKernel(const Convolution& spec) : bias_(spec.bias), samples_(spec.x.shape[0]) {
    const Shape &x = spec.x.shape, &w = spec.w.shape, &y = spec.y.shape;
    problem_ = {x[1], x[2], x[3], w[1], w[2], y[1], y[2], w[0], spec.stride, spec.pad, w[0], spec.activation};
    if (spec.y.layout == Layout::blocked8) problem_.block = 8;
    if (spec.y.layout == Layout::blocked16) problem_.block = 16;
    const VectorSet vectors = vector_set();
    GANNET_FOR_VECTOR_SET(vectors, complete)(problem_);
    run_ = GANNET_FOR_VECTOR_SET(vectors, narrow_dgrad);
    threads_ = static_cast<int>(std::min<std::int64_t>(samples_, threads_for(y.elements())));
    filter_ = aligned(problem_.K * problem_.columns);
    bias_row_ = aligned(problem_.W * problem_.C + narrow_slack);
    scratch_ = aligned(problem_.padded_floats + problem_.line_floats + problem_.tile_floats);
  }

  std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(filter_ + bias_row_ + threads_ * scratch_) * sizeof(float);
  }

  void run(const Arguments& arguments) override {
    const auto* y = static_cast<const float*>(arguments.inputs[0]);
    const auto* w = static_cast<const float*>(arguments.inputs[1]);
    const auto* bias = bias_ ? static_cast<const float*>(arguments.inputs[2]) : nullptr;
    auto* x = static_cast<float*>(arguments.outputs[0]);
    auto* const filter = static_cast<float*>(arguments.workspace);
    float* const bias_row = filter + filter_;
    float* const scratch = bias_row + bias_row_;
    const std::int64_t taps = problem_.R * problem_.S * problem_.C;
    for (std::int64_t k = 0; k < problem_.K; ++k) {
      float* const row = filter + k * problem_.columns;
      std::fill(std::copy_n(w + k * taps, taps, row), row + problem_.columns, 0.0f);
    }
    for (std::int64_t i = 0; i < bias_row_; ++i) bias_row[i] = bias ? bias[i % problem_.C] : 0;
    const std::int64_t sample_y = problem_.P * problem_.Q * problem_.K, sample_x = problem_.H * problem_.W * problem_.C;
    parallel_for(threads_, samples_, [&](std::int64_t n, int thread) {
      run_(problem_, y + n * sample_y, filter, bias_row, scratch + thread * scratch_, x + n * sample_x);
    });
  }

 private:
  NarrowDgrad problem_;
  bool bias_;
  std::int64_t samples_;
  std::int64_t filter_, bias_row_, scratch_;  // floats of the workspace's parts
  int threads_;
  decltype(&baseline::narrow_dgrad) run_;
};

}  // namespace

bool is_narrow_dgrad(const Convolution& spec) {
  constexpr std::int64_t most_channels = 4;
  const bool f32 = spec.x.type == DType::f32 && spec.w.type == DType::f32 && spec.y.type == DType::f32;
  return f32 && spec.kind == ConvolutionKind::dgrad && spec.x.shape[3] <= most_channels;
}

std::unique_ptr<Kernel> make_narrow_dgrad(const Convolution& spec) { return std::make_unique<NarrowDgradKernel>(spec); }

}  // namespace gannet::kernels::cpu
