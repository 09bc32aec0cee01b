// fprop of pictures with few channels (the first layer of a discriminator: 3 x 4 x 4 products an output) in bf16.
//
// A block brings the part of the picture that 4x32 output pixels see to shared memory once, while it computes the last one.
// Each tensor-core fragment of A is gathered from there, so that the inner index (r,s,c) is as long as the filter, without
// padding of the channels; fragments of B (the filters) stay in registers for all the block's pixels. Inner indices are taken
// in an order, and the picture is spread in shared memory, so that the 32 lanes of a load meet 32 banks (see places_of). The
// columns of B are permuted so that a thread ends with 8 neighbouring filters of a pixel: 16-byte stores, whole sectors,
// straight from registers. Limited by the bytes of y.
#include <algorithm>

#include "kernels/cuda/convolution.h"
#include "kernels/cuda/division.h"
#include "kernels/cuda/epilogue.cuh"
#include "kernels/cuda/tensor_core.cuh"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 128, lines = 4, line_pixels = 32, filters = 64;
constexpr int most_steps = 4;           // of 16 inner indices
constexpr int patch_bytes = 20 * 1024;  // two of them and the filters fit where no more is asked for

// An inner index: bytes from where a pixel's unit begins to the element of x; the element of the filter, or -1 for none.
struct Place {
  std::int16_t offset, element;
};

struct Problem {
  const __nv_bfloat16 *x, *w;
  const float* bias;
  void* y;
  int height, width, channels, filters, filter_h, filter_w, output_height, output_width, stride, pad;
  int patch_lines, line_words;  // line_words: read from memory
  // A unit is what lies between the first elements that neighbouring output pixels see. In elements of shared memory: from unit
  // to unit, from line to line, and what is left free after a unit. The latter two are even.
  int unit_pitch, pitch, spread;
  Divider words, unit_words;  // of a line, of a unit
  int patch_size;             // bytes
  int filter_pitch;           // elements in shared memory from filter to filter
  Divider filter_words;
  Place place[most_steps * 16];
  Divider tiles_w, tiles_h;
  int tiles;
  Activation::Kind activation;
  float slope;
  SlopeOf slope_of;
};

__device__ std::uint32_t pair(const char* shared, int first, int second) {
  const auto low = *reinterpret_cast<const std::uint16_t*>(shared + first);
  const auto high = *reinterpret_cast<const std::uint16_t*>(shared + second);
  return low | static_cast<std::uint32_t>(high) << 16;
}

struct Tile {
  int n, p, q;  // the sample and its first output pixel
};
__device__ Tile tile_of(const Problem& g, int index) {
  auto q = static_cast<std::uint32_t>(index);
  auto p = g.tiles_w.divide(q);
  const auto n = static_cast<int>(g.tiles_h.divide(p));
  return {n, static_cast<int>(p) * lines, static_cast<int>(q) * line_pixels};
}

// Elements of a line of x before the first that a tile sees: words begin at the even one.
__device__ int first_element(const Problem& g, const Tile& tile) { return (tile.q * g.stride - g.pad) * g.channels; }

// What a tile sees, as words of two elements; zeros outside the picture.
__device__ void bring_patch(const Problem& g, std::uint32_t shared, const Tile& tile) {
  const int line_elements = g.width * g.channels, first = first_element(g, tile) & ~1;
  const int line = tile.p * g.stride - g.pad;
  const __nv_bfloat16* x = g.x + static_cast<std::int64_t>(tile.n) * g.height * line_elements;
  for (int word = static_cast<int>(threadIdx.x); word < g.patch_lines * g.line_words; word += threads) {
    auto column = static_cast<std::uint32_t>(word);
    const int row = static_cast<int>(g.words.divide(column)), h = line + row;
    const int element = first + static_cast<int>(column) * 2;
    const bool inside = h >= 0 && h < g.height && element >= 0 && element < line_elements;
    const int to = row * g.pitch + element - first + static_cast<int>(g.unit_words.divide(column)) * g.spread;
    copy_to_shared<4>(shared + to * 2, x + (inside ? h * line_elements + element : 0), inside ? 4 : 0);
  }
}

template <typename Output>
__device__ __forceinline__ void store_eight(Output* to, const float (&values)[8]) {
  if constexpr (sizeof(Output) == 2) {
    std::uint32_t pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
      pairs[i] = reinterpret_cast<const std::uint32_t&>(pair);
    }
    *reinterpret_cast<uint4*>(to) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  } else {
    store(to, values);
  }
}

// 16 pixels of a line, all 64 filters.
template <int Steps, typename Output>
__device__ __forceinline__ void convolve_pixels(const Problem& g, const char* patch, const int (&offset)[Steps][4],
                                                const std::uint32_t (&b)[Steps][8][2], const Tile& tile, int p, int q0,
                                                int k0) {
  const int lane = static_cast<int>(threadIdx.x) % 32, q = q0 + lane / 4;
  const char* pixel = patch + 2 * ((p - tile.p) * g.stride * g.pitch + (q - tile.q) * g.unit_pitch);
  const char* next = pixel + 2 * 8 * g.unit_pitch;
  float sums[8][4] = {};
#pragma unroll
  for (int step = 0; step < Steps; ++step) {
    const std::uint32_t a[4] = {pair(pixel, offset[step][0], offset[step][1]), pair(next, offset[step][0], offset[step][1]),
                                pair(pixel, offset[step][2], offset[step][3]), pair(next, offset[step][2], offset[step][3])};
#pragma unroll
    for (int j = 0; j < 8; ++j) multiply_bf16(sums[j], a, b[step][j][0], b[step][j][1]);
  }
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const int k = k0 + part * 32 + lane % 4 * 8;
    if (k >= g.filters) continue;  // 8 divides the number of filters
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      if (q + side * 8 >= g.output_width) continue;
      float values[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] = sums[part * 4 + i / 2][side * 2 + i % 2];
      if (g.bias != nullptr) {
#pragma unroll
        for (int i = 0; i < 8; ++i) values[i] += __ldg(g.bias + k + i);
      }
      activate(g.activation, g.slope, values);
      const std::int64_t element =
          (static_cast<std::int64_t>(tile.n * g.output_height + p) * g.output_width + q + side * 8) * g.filters + k;
      multiply_by_slope<Output>(g.slope_of, element, values);
      store_eight(static_cast<Output*>(g.y) + element, values);
    }
  }
}

template <int Steps, typename Output>
__global__ void __launch_bounds__(threads, 3) convolve_few_channels(const __grid_constant__ Problem g) {
  extern __shared__ __align__(16) char shared[];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, row = lane / 4, quad = lane % 4;
  const int k0 = static_cast<int>(blockIdx.y) * filters, stride = static_cast<int>(gridDim.x);
  const std::uint32_t address = shared_address(shared);
  int index = static_cast<int>(blockIdx.x);

  // The filters, a line for each, on their way to registers; 8 divides their number.
  const int depth = g.filter_h * g.filter_w * g.channels, count = min(filters, g.filters - k0);
  char* lines_of_b = shared + 2 * g.patch_size;
  const __nv_bfloat16* w = g.w + static_cast<std::int64_t>(k0) * depth;
  const std::uint32_t filter_address = address + 2 * g.patch_size;
  if (g.filter_pitch == depth) {
    for (int i = thread; i < count * depth / 8; i += threads) copy_to_shared<16>(filter_address + i * 16, w + i * 8, 16);
  } else {
    for (int i = thread; i < count * depth / 2; i += threads) {
      auto word = static_cast<std::uint32_t>(i);
      const auto k = static_cast<int>(g.filter_words.divide(word));
      copy_to_shared<4>(filter_address + (k * g.filter_pitch + static_cast<int>(word) * 2) * 2, w + i * 2, 4);
    }
  }
  commit_copies();
  bring_patch(g, address, tile_of(g, index));
  commit_copies();
  wait_for_copies<1>();
  __syncthreads();
  std::uint32_t b[Steps][8][2];
  int offset[Steps][4];
#pragma unroll
  for (int step = 0; step < Steps; ++step)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Place places[2] = {g.place[step * 16 + half * 8 + quad * 2], g.place[step * 16 + half * 8 + quad * 2 + 1]};
#pragma unroll
      for (int i = 0; i < 2; ++i) offset[step][half * 2 + i] = places[i].offset;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const int k = j / 4 * 32 + row / 2 * 8 + j % 4 * 2 + row % 2;
        std::uint32_t halves[2];
#pragma unroll
        for (int i = 0; i < 2; ++i)
          halves[i] = k < count && places[i].element >= 0
                          ? *reinterpret_cast<const std::uint16_t*>(lines_of_b + (k * g.filter_pitch + places[i].element) * 2)
                          : 0u;
        b[step][j][half] = halves[0] | halves[1] << 16;
      }
    }

  for (int half = 0; index < g.tiles; index += stride, half ^= 1) {
    if (index + stride < g.tiles) bring_patch(g, address + (half ^ 1) * g.patch_size, tile_of(g, index + stride));
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    const Tile tile = tile_of(g, index);
    const int p = tile.p + thread / 32;
    const char* patch = shared + half * g.patch_size;
    if (p < g.output_height) {
#pragma unroll 1
      for (int q = 0; q < line_pixels; q += 16) convolve_pixels<Steps, Output>(g, patch, offset, b, tile, p, tile.q + q, k0);
    }
    __syncthreads();  // before the other half is filled again
  }
}

using Function = void (*)(Problem);

template <typename Output>
Function find(int steps) {
  constexpr Function functions[most_steps] = {convolve_few_channels<1, Output>, convolve_few_channels<2, Output>,
                                              convolve_few_channels<3, Output>, convolve_few_channels<4, Output>};
  return functions[steps - 1];
}

int extent(const TensorDesc& desc, int axis) { return static_cast<int>(desc.shape[axis]); }
int depth_of(const Convolution& spec) { return extent(spec.w, 1) * extent(spec.w, 2) * extent(spec.w, 3); }
int patch_lines(const Convolution& spec) { return (lines - 1) * spec.stride + extent(spec.w, 1); }
// Elements; one before and one behind to begin and end with a word.
int patch_line(const Convolution& spec) {
  return (((line_pixels - 1) * spec.stride + extent(spec.w, 2)) * extent(spec.x, 3) + 2) / 2 * 2;
}

// How a patch lies in shared memory. A load is of 8 pixels (units) by 4 pairs of inner indices. Four neighbouring words of a
// line meet 32 banks or the same words where units have 1, 2 or 4 words. Units of 3 words (3 channels, stride 2) are given 4,
// and each line begins a bank further modulo 4: then one word of each of 4 lines meets 32 banks.
struct Layout {
  int unit, spread, pitch, patch_size;

  explicit Layout(const Convolution& spec) : unit(spec.stride * extent(spec.x, 3)), spread(unit == 6 ? 2 : 0) {
    int words = patch_line(spec) / 2 + (patch_line(spec) / unit + 1) * spread / 2;
    while (words % 4 != 1) ++words;
    pitch = 2 * words;
    patch_size = (patch_lines(spec) * pitch * 2 + 15) / 16 * 16;
  }
};

// Lines of filters begin at different banks, where they begin with a word.
int filter_pitch(const Convolution& spec) {
  const int depth = depth_of(spec);
  return depth % 2 != 0 ? depth : (depth / 2 + 2) / 8 * 16 + 10;
}

// The order of inner indices: of each line of the filter as many fours of pairs as there are, then what is left, across lines;
// all across lines where units are spread.
void set_places(const Convolution& spec, const Layout& layout, Place (&places)[most_steps * 16]) {
  const int r_count = extent(spec.w, 1), line = extent(spec.w, 2) * extent(spec.x, 3), first = spec.pad * extent(spec.x, 3) % 2;
  int count = 0;
  const auto add = [&](int r, int i) {
    const int element = first + i;
    places[count++] = {static_cast<std::int16_t>(2 * (r * layout.pitch + element + element / layout.unit * layout.spread)),
                       static_cast<std::int16_t>(r * line + i)};
  };
  const int fours = line % 2 != 0 ? line : layout.spread != 0 ? 0 : line / 8 * 8;
  for (int r = 0; r < r_count; ++r)
    for (int i = 0; i < fours; ++i) add(r, i);
  for (int i = fours; i < line; i += 2)
    for (int r = 0; r < r_count; ++r) add(r, i), add(r, i + 1);
  // Past the end any element that the pixel sees does: b is 0 there.
  for (; count < most_steps * 16; ++count) places[count] = {places[count - 1].offset, -1};
}

class FewChannelsFprop final : public Kernel {
 public:
  FewChannelsFprop(const Convolution& spec, const Device& device) : bias_(spec.bias), stream_(device.stream) {
    const int p = extent(spec.y, 1), q = extent(spec.y, 2);
    const int tiles_h = (p + lines - 1) / lines, tiles_w = (q + line_pixels - 1) / line_pixels;
    const auto divider = [](int by) { return Divider(static_cast<std::uint32_t>(by)); };
    const Layout layout(spec);
    problem_ = {.x = nullptr,
                .w = nullptr,
                .bias = nullptr,
                .y = nullptr,
                .height = extent(spec.x, 1),
                .width = extent(spec.x, 2),
                .channels = extent(spec.x, 3),
                .filters = extent(spec.w, 0),
                .filter_h = extent(spec.w, 1),
                .filter_w = extent(spec.w, 2),
                .output_height = p,
                .output_width = q,
                .stride = spec.stride,
                .pad = spec.pad,
                .patch_lines = patch_lines(spec),
                .line_words = patch_line(spec) / 2,
                .unit_pitch = layout.unit + layout.spread,
                .pitch = layout.pitch,
                .spread = layout.spread,
                .words = divider(patch_line(spec) / 2),
                .unit_words = divider(std::max(1, layout.unit / 2)),
                .patch_size = layout.patch_size,
                .filter_pitch = filter_pitch(spec),
                .filter_words = divider(std::max(1, depth_of(spec) / 2)),
                .place = {},
                .tiles_w = divider(tiles_w),
                .tiles_h = divider(tiles_h),
                .tiles = extent(spec.x, 0) * tiles_h * tiles_w,
                .activation = spec.activation.kind,
                .slope = spec.activation.slope,
                .slope_of = {spec.slope_of.kind, spec.slope_of.slope, nullptr}};
    set_places(spec, layout, problem_.place);
    const int steps = (depth_of(spec) + 15) / 16;
    function_ = spec.y.type == DType::bf16 ? find<__nv_bfloat16>(steps) : find<float>(steps);
    shared_bytes_ = static_cast<unsigned>(2 * layout.patch_size + filters * filter_pitch(spec) * 2);
    grid_ = dim3(static_cast<unsigned>(std::min(problem_.tiles, 3 * std::max(1, device.multiprocessors))),
                 static_cast<unsigned>((problem_.filters + filters - 1) / filters));
  }

  void run(const Arguments& arguments) override {
    Problem problem = problem_;
    problem.x = static_cast<const __nv_bfloat16*>(arguments.inputs[0]);
    problem.w = static_cast<const __nv_bfloat16*>(arguments.inputs[1]);
    const void* const* last = arguments.inputs + 2;
    if (bias_) problem.bias = static_cast<const float*>(*last++);
    if (problem.slope_of.kind != Activation::Kind::none) problem.slope_of.activated = *last;
    problem.y = arguments.outputs[0];
    function_<<<grid_, threads, shared_bytes_, stream_>>>(problem);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  Problem problem_{};
  bool bias_;
  cudaStream_t stream_;
  Function function_ = nullptr;
  unsigned shared_bytes_ = 0;
  dim3 grid_;
};

}  // namespace

bool can_implement_few_channels(const Convolution& spec) {
  return spec.kind == ConvolutionKind::fprop && spec.x.type == DType::bf16 && extent(spec.x, 3) <= 4 &&
         depth_of(spec) <= most_steps * 16 && extent(spec.w, 0) % 8 == 0 && extent(spec.x, 2) * extent(spec.x, 3) % 2 == 0 &&
         Layout(spec).patch_size <= patch_bytes;
}

std::unique_ptr<Kernel> make_few_channels_convolution(const Convolution& spec, const Device& device) {
  return std::make_unique<FewChannelsFprop>(spec, device);
}

}  // namespace gannet::kernels::cuda
