// dgrad with stride 2 to few channels (the last layer of a generator: 3 channels, tanh) in bf16.
//
// The four output pixels (2i+a, 2j+b) see y in the same few places around (i,j). They are computed together: the 16 columns of
// one product are (a, b, c), its inner index is (place, k), and the filters are zero where a pixel does not see a place. A
// block brings its 8x16 pixels of y and their neighbours to shared memory once and reads fragments of A for every place from
// there; the result leaves through shared memory in whole lines. Limited by the bytes of y.
#include <algorithm>

#include "kernels/cuda/convolution.h"
#include "kernels/cuda/division.h"
#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/tensor_core.cuh"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 128, lines = 8, line_pixels = 16, most_places = 3, depth = 64, columns = 16;
constexpr int patch_w = line_pixels + most_places - 1, patch_h = lines + most_places - 1;
constexpr int patch_pitch = 24;  // a multiple of 8: a pixel's chunks are exchanged alike in every line
constexpr int pixel_bytes = depth * 2, filter_bytes = most_places * most_places * columns * pixel_bytes;
constexpr int patch_bytes = patch_h * patch_pitch * pixel_bytes;
constexpr int most_channels = 4;

// Along one axis: output 2i + a reads y at i + origin[a] - t for the filter's element tap[a] + 2 t, t < taps[a].
struct Axis {
  int origin[2], tap[2], taps[2];
  int first, places;  // the places i + first … that the two see
};

struct Problem {
  const __nv_bfloat16 *y, *w;
  const float* bias;
  void* x;
  int output_height, output_width, filters;  // of y
  int height, width, channels;               // of x
  int filter_h, filter_w;
  int tiles;
  Axis h, w_axis;
  Divider tiles_h, tiles_w, c, s, r;  // c, s, r: of an element of a filter
  Activation::Kind activation;
  float slope;
  SlopeOf slope_of;
};

// Byte of chunk `chunk` of line `line` where lines have 128 bytes: matrix loads read 8 lines at one chunk.
__device__ int swizzled(int line, int chunk) { return line * pixel_bytes + ((chunk ^ (line & 7)) << 4); }

// Filters k0 … as B: line (place, column), 64 inner indices k.
__device__ void bring_filters(const Problem& g, char* shared, int k0) {
  for (int i = static_cast<int>(threadIdx.x); i < filter_bytes / 16; i += threads)
    reinterpret_cast<uint4*>(shared)[i] = make_uint4(0, 0, 0, 0);
  __syncthreads();
  const int volume = g.filter_h * g.filter_w * g.channels, count = min(depth, g.filters - k0) * volume;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) {
    auto c = static_cast<std::uint32_t>(i);
    auto s = g.c.divide(c);
    auto r = g.s.divide(s);
    const int k = static_cast<int>(g.r.divide(r));
    const __nv_bfloat16 value = g.w[static_cast<std::int64_t>(k0) * volume + i];
    // Element r belongs to the one a whose taps it is among.
    const int a = g.h.tap[0] == static_cast<int>(r & 1) ? 0 : 1, b = g.w_axis.tap[0] == static_cast<int>(s & 1) ? 0 : 1;
    const int dh = g.h.origin[a] - static_cast<int>(r >> 1) - g.h.first;
    const int dw = g.w_axis.origin[b] - static_cast<int>(s >> 1) - g.w_axis.first;
    const int line = (dh * most_places + dw) * columns + (a * 2 + b) * most_channels + static_cast<int>(c);
    *reinterpret_cast<__nv_bfloat16*>(shared + swizzled(line, k / 8) + k % 8 * 2) = value;
  }
}

// The pixels of y that a tile sees, channels k0 …; zeros outside.
__device__ void bring_patch(const Problem& g, std::uint32_t shared, int n, int i0, int j0, int k0) {
  constexpr int chunks = pixel_bytes / 16;
  const int chunk = static_cast<int>(threadIdx.x) % chunks, k = k0 + chunk * 8, p0 = i0 + g.h.first, q0 = j0 + g.w_axis.first;
  const __nv_bfloat16* y = g.y + static_cast<std::int64_t>(n) * g.output_height * g.output_width * g.filters + k;
#pragma unroll 4
  for (int pixel = static_cast<int>(threadIdx.x) / chunks; pixel < patch_h * patch_w; pixel += threads / chunks) {
    const int row = pixel / patch_w, column = pixel % patch_w, p = p0 + row, q = q0 + column;
    const bool inside = static_cast<unsigned>(p) < static_cast<unsigned>(g.output_height) &&
                        static_cast<unsigned>(q) < static_cast<unsigned>(g.output_width) && k < g.filters;
    copy_to_shared<16>(shared + swizzled(row * patch_pitch + column, chunk),
                       y + (inside ? (p * g.output_width + q) * g.filters : 0), inside ? 16 : 0);
  }
  commit_copies();
}

// Whole lines of the finished pixels, `pitch` elements apart in shared memory.
template <typename Output, int Piece>
__device__ void store_lines(const Problem& g, const Output* result, int pitch, int n, int i0, int j0) {
  const int first_w = j0 * 2 * g.channels, line = min(2 * line_pixels * g.channels, g.width * g.channels - first_w);
  const int per_line = 2 * line_pixels * g.channels / Piece;
  for (int i = static_cast<int>(threadIdx.x); i < 2 * lines * per_line; i += threads) {
    const int row = i / per_line, column = i % per_line * Piece, h = i0 * 2 + row;
    if (h >= g.height || column >= line) continue;
    using Pieces = Packet<Output, Piece>;
    const std::int64_t element = static_cast<std::int64_t>(n * g.height + h) * g.width * g.channels + first_w + column;
    auto piece = *reinterpret_cast<const Pieces*>(result + row * pitch + column);
    multiply_by_slope(g.slope_of, element, piece);
    *reinterpret_cast<Pieces*>(static_cast<Output*>(g.x) + element) = piece;
  }
}

template <typename Output, int Piece>
__global__ void __launch_bounds__(threads, 3) convolve_to_few_channels(const __grid_constant__ Problem g) {
  extern __shared__ __align__(128) char shared[];
  char* patch = shared + filter_bytes;
  const std::uint32_t filter_address = shared_address(shared), patch_address = filter_address + filter_bytes;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  // What this lane loads of the first step; the next steps' chunks are 2 further, that is, another bit 5 and 6 of the address.
  const std::uint32_t b_address = filter_address + swizzled(lane / 16 * 8 + lane % 8, lane / 8 % 2);
  std::uint32_t a_address[most_places];
#pragma unroll
  for (int dw = 0; dw < most_places; ++dw)
    a_address[dw] = patch_address + swizzled(warp * 2 * patch_pitch + lane % 16 + dw, lane / 16);
  const bool filters_stay = g.filters <= depth;
  if (filters_stay) bring_filters(g, shared, 0);

  for (int tile = static_cast<int>(blockIdx.x); tile < g.tiles; tile += static_cast<int>(gridDim.x)) {
    auto j = static_cast<std::uint32_t>(tile);
    auto i = g.tiles_w.divide(j);
    const int n = static_cast<int>(g.tiles_h.divide(i)), i0 = static_cast<int>(i) * lines,
              j0 = static_cast<int>(j) * line_pixels;
    float sums[2][2][4] = {};  // of two lines of pixels; columns of a = 0 and a = 1
    for (int k0 = 0; k0 < g.filters; k0 += depth) {
      __syncthreads();
      if (!filters_stay) bring_filters(g, shared, k0);
      bring_patch(g, patch_address, n, i0, j0, k0);
      wait_for_copies<0>();
      __syncthreads();
#pragma unroll
      for (int dw = 0; dw < most_places; ++dw) {
        if (dw >= g.w_axis.places) break;
#pragma unroll
        for (int step = 0; step < depth / 16; ++step) {
          std::uint32_t a[most_places + 1][4];
          unrolled<most_places + 1>(
              [&](auto row) { load_matrices<row * patch_pitch * pixel_bytes>(a[row], a_address[dw] ^ step << 5); });
          unrolled<most_places>([&](auto dh) {
            if (dh >= g.h.places) return;
            std::uint32_t b[4];
            load_matrices<dh * most_places * columns * pixel_bytes>(b, (b_address ^ step << 5) + dw * columns * pixel_bytes);
#pragma unroll
            for (int line = 0; line < 2; ++line) {
              multiply_bf16(sums[line][0], a[dh + line], b[0], b[1]);
              multiply_bf16(sums[line][1], a[dh + line], b[2], b[3]);
            }
          });
        }
      }
    }
    __syncthreads();  // the patch has been read: its place takes the result, 16 lines of 32 pixels
    auto* result = reinterpret_cast<Output*>(patch);
    const int pitch = 2 * line_pixels * g.channels;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int column = lane % 4 * 2 + e, b = column / most_channels, c = column % most_channels;
      if (c >= g.channels) continue;
      const float bias = g.bias != nullptr ? __ldg(g.bias + c) : 0.0f;
#pragma unroll
      for (int line = 0; line < 2; ++line) {
        float values[4];  // of a = 0: pixels lane / 4 and 8 further; then of a = 1
#pragma unroll
        for (int i = 0; i < 4; ++i) values[i] = sums[line][i / 2][i % 2 * 2 + e] + bias;
        activate(g.activation, g.slope, values);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = (warp * 2 + line) * 2 + i / 2, w = (lane / 4 + i % 2 * 8) * 2 + b;
          result[row * pitch + w * g.channels + c] = narrowed<Output>(values[i]);
        }
      }
    }
    __syncthreads();
    store_lines<Output, Piece>(g, result, pitch, n, i0, j0);
  }
}

using Function = void (*)(Problem);

int extent(const TensorDesc& desc, int axis) { return static_cast<int>(desc.shape[axis]); }

Axis axis_of(int filter, int pad) {
  Axis axis{};
  int last = -(1 << 20);
  axis.first = 1 << 20;
  for (int a = 0; a < 2; ++a) {
    axis.tap[a] = (a + pad) % 2;
    axis.origin[a] = (a + pad - axis.tap[a]) / 2;
    axis.taps[a] = axis.tap[a] < filter ? (filter - axis.tap[a] + 1) / 2 : 0;
    if (axis.taps[a] == 0) continue;
    axis.first = std::min(axis.first, axis.origin[a] - axis.taps[a] + 1);
    last = std::max(last, axis.origin[a]);
  }
  axis.places = last - axis.first + 1;
  return axis;
}

class NarrowDgrad final : public Kernel {
 public:
  NarrowDgrad(const Convolution& spec, const Device& device) : bias_(spec.bias), stream_(device.stream) {
    const int h = extent(spec.x, 1), w = extent(spec.x, 2), c = extent(spec.x, 3);
    const int tiles_h = (h + 2 * lines - 1) / (2 * lines), tiles_w = (w + 2 * line_pixels - 1) / (2 * line_pixels);
    const auto divider = [](int by) { return Divider(static_cast<std::uint32_t>(by)); };
    problem_ = {.y = nullptr,
                .w = nullptr,
                .bias = nullptr,
                .x = nullptr,
                .output_height = extent(spec.y, 1),
                .output_width = extent(spec.y, 2),
                .filters = extent(spec.w, 0),
                .height = h,
                .width = w,
                .channels = c,
                .filter_h = extent(spec.w, 1),
                .filter_w = extent(spec.w, 2),
                .tiles = extent(spec.x, 0) * tiles_h * tiles_w,
                .h = axis_of(extent(spec.w, 1), spec.pad),
                .w_axis = axis_of(extent(spec.w, 2), spec.pad),
                .tiles_h = divider(tiles_h),
                .tiles_w = divider(tiles_w),
                .c = divider(c),
                .s = divider(extent(spec.w, 2)),
                .r = divider(extent(spec.w, 1)),
                .activation = spec.activation.kind,
                .slope = spec.activation.slope,
                .slope_of = {spec.slope_of.kind, spec.slope_of.slope, nullptr}};
    if (spec.x.type == DType::bf16) {
      function_ = w * c % 8 == 0 ? convolve_to_few_channels<__nv_bfloat16, 8> : convolve_to_few_channels<__nv_bfloat16, 1>;
    } else {
      function_ = w * c % 4 == 0 ? convolve_to_few_channels<float, 4> : convolve_to_few_channels<float, 1>;
    }
    GANNET_CUDA(cudaFuncSetAttribute(reinterpret_cast<const void*>(function_), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     shared_bytes));
    blocks_ = static_cast<unsigned>(std::min(problem_.tiles, 3 * std::max(1, device.multiprocessors)));
  }

  void run(const Arguments& arguments) override {
    Problem problem = problem_;
    problem.y = static_cast<const __nv_bfloat16*>(arguments.inputs[0]);
    problem.w = static_cast<const __nv_bfloat16*>(arguments.inputs[1]);
    const void* const* last = arguments.inputs + 2;
    if (bias_) problem.bias = static_cast<const float*>(*last++);
    if (problem.slope_of.kind != Activation::Kind::none) problem.slope_of.activated = *last;
    problem.x = arguments.outputs[0];
    function_<<<blocks_, threads, shared_bytes, stream_>>>(problem);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  static constexpr int shared_bytes = filter_bytes + patch_bytes;
  Problem problem_{};
  bool bias_;
  cudaStream_t stream_;
  Function function_ = nullptr;
  unsigned blocks_ = 0;
};

}  // namespace

bool can_implement_narrow_dgrad(const Convolution& spec) {
  return spec.kind == ConvolutionKind::dgrad && spec.y.type == DType::bf16 && spec.stride == 2 &&
         extent(spec.x, 3) <= most_channels && extent(spec.w, 0) % 8 == 0 &&
         axis_of(extent(spec.w, 1), spec.pad).places <= most_places &&
         axis_of(extent(spec.w, 2), spec.pad).places <= most_places;
}

std::unique_ptr<Kernel> make_narrow_dgrad(const Convolution& spec, const Device& device) {
  return std::make_unique<NarrowDgrad>(spec, device);
}

}  // namespace gannet::kernels::cuda
