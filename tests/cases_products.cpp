// Cases of the operators that multiply and accumulate: the convolution triple and matmul.
#include <cmath>

#include "kernels/operands.h"
#include "tests/case_table.h"

namespace gannet::tests {
namespace {

using namespace kernels;

struct Geometry {
  std::int64_t n, h, w, c, k, r, s;
  int stride, pad;
  std::int64_t p() const { return (h + 2 * pad - r) / stride + 1; }
  std::int64_t q() const { return (w + 2 * pad - s) / stride + 1; }
  bool valid() const { return h + 2 * pad >= r && w + 2 * pad >= s; }
  std::int64_t multiplications() const { return n * p() * q() * k * r * s * c; }
};

// The layers of the networks at hand, with small batches.
const Geometry typical[] = {
    {2, 64, 64, 3, 16, 4, 4, 2, 1}, {3, 32, 32, 1, 24, 4, 4, 2, 1}, {2, 16, 16, 16, 32, 4, 4, 2, 1},
    {5, 8, 8, 32, 48, 4, 4, 2, 1},  {3, 4, 4, 64, 1, 4, 4, 1, 0},   {5, 4, 4, 32, 100, 4, 4, 1, 0},
    {7, 4, 4, 16, 16, 4, 4, 1, 0},  {2, 8, 8, 64, 64, 3, 3, 1, 1},  {2, 9, 9, 16, 16, 3, 3, 2, 1},
    {1, 1, 1, 1, 1, 1, 1, 1, 0},    {1, 1, 1, 16, 16, 1, 1, 1, 0},  {2, 1, 1, 7, 5, 3, 3, 1, 1},
    {4, 7, 7, 3, 64, 7, 7, 2, 3},   {2, 12, 12, 48, 3, 4, 4, 2, 1}, {2, 4, 4, 128, 128, 4, 4, 2, 1},
    {1, 33, 17, 8, 8, 5, 3, 1, 2},  {2, 2, 2, 64, 128, 2, 2, 2, 0}, {9, 6, 6, 24, 40, 4, 4, 2, 1},
};

// Rows and columns for every size of tile, ends of tiles, taps and parity classes of unequal weight.
const Geometry tiled[] = {
    {5, 16, 16, 64, 128, 4, 4, 2, 1}, {5, 16, 16, 64, 64, 4, 4, 2, 1},   {4, 8, 8, 128, 256, 4, 4, 2, 1},
    {4, 9, 9, 64, 128, 3, 3, 2, 1},   {2, 12, 12, 192, 200, 3, 3, 1, 1}, {500, 1, 1, 128, 128, 1, 1, 1, 0},
    {130, 4, 4, 32, 100, 4, 4, 1, 0},
};

Geometry draw_geometry(Draw& draw) {
  const std::vector<std::int64_t> channels{1, 2, 3, 4, 7, 8, 12, 16, 16, 24, 32, 32, 48, 64};
  for (;;) {
    Geometry g{};
    g.n = draw.pick<std::int64_t>({1, 1, 2, 3, 5, 8});
    g.h = draw.between(1, 14), g.w = draw.chance(0.5) ? g.h : draw.between(1, 14);
    g.c = draw.pick(channels), g.k = draw.pick(channels);
    g.r = draw.between(1, 5), g.s = draw.chance(0.7) ? g.r : draw.between(1, 5);
    g.stride = static_cast<int>(draw.between(1, 3)), g.pad = static_cast<int>(draw.between(0, 3));
    if (g.valid() && g.multiplications() <= 1'500'000) return g;
  }
}

// Small integers, whose sums are exact; or numbers whose sums of `products` products are about 1, where activations bend.
void set_fills(Case& test, bool exact, std::int64_t products) {
  test.fills.assign(operands_of(test.spec).inputs.size(), exact ? integers(-3, 3) : normal());
  if (!exact) test.fills[1] = normal(0, 1 / std::sqrt(static_cast<double>(products)));
  test.tolerance = exact ? 0 : 1e-5;
  test.floor = exact ? 0 : 1e-3;
}

Case convolution_case(Draw& draw, const Geometry& g, ConvolutionKind kind, DType type, bool exact) {
  Convolution spec{};
  spec.kind = kind;
  spec.stride = g.stride, spec.pad = g.pad;
  const Shape x{g.n, g.h, g.w, g.c}, w{g.k, g.r, g.s, g.c}, y{g.n, g.p(), g.q(), g.k};
  spec.x = {type, x, draw_picture_layout(draw, x)};
  spec.w = {kind == ConvolutionKind::wgrad ? DType::f32 : type, w, draw_filter_layout(draw, w)};
  spec.y = {type, y, draw_picture_layout(draw, y)};
  // A backend must also write f32 from bf16 inputs.
  TensorDesc& output = kind == ConvolutionKind::dgrad ? spec.x : spec.y;
  if (kind != ConvolutionKind::wgrad && type == DType::bf16 && draw.chance(0.3)) output.type = DType::f32;
  if (kind != ConvolutionKind::wgrad) {
    spec.bias = draw.chance(0.4);
    spec.activation =
        exact ? draw.pick<Activation>({{}, {}, {Activation::Kind::leaky_relu, 0}, {Activation::Kind::leaky_relu, 0.25f}})
              : draw_activation(draw);
    if (draw.chance(0.2)) {
      spec.bias = false, spec.activation = {};
      // Exact: slopes of 1 and 0.25, and tanh's where it is 0 or 1.
      spec.slope_of = exact ? draw.pick<Activation>({{Activation::Kind::leaky_relu, 0.25f}, {Activation::Kind::tanh, 0}})
                            : draw.pick<Activation>({{Activation::Kind::leaky_relu, 0.2f},
                                                     {Activation::Kind::leaky_relu, 0},
                                                     {Activation::Kind::tanh, 0},
                                                     {Activation::Kind::sigmoid, 0}});
    }
  }
  Case result;
  result.spec = spec;
  set_fills(result, exact, kind == ConvolutionKind::dgrad ? g.k * g.r * g.s : g.c * g.r * g.s);
  if (spec.slope_of.kind != Activation::Kind::none) {
    result.fills.back() = spec.slope_of.kind == Activation::Kind::leaky_relu ? normal()
                          : spec.slope_of.kind == Activation::Kind::tanh     ? uniform(-1, 1)
                                                                             : uniform(0, 1);
    if (exact) result.fills.back() = listed({-1, 0, 1, 0, 1, -1, 1});
  }
  return result;
}

// Both gradients of a convolution, or of a transposed one.
Case backward_case(Draw& draw, const Geometry& g, ConvolutionKind kind, DType type, bool exact) {
  Case result = convolution_case(draw, g, kind, type, exact);
  const Convolution data = std::get<Convolution>(result.spec);
  Convolution weights{ConvolutionKind::wgrad, data.x, data.w, data.y, data.stride, data.pad, false, {}, {}};
  weights.x.type = weights.y.type = type;
  weights.w.type = DType::f32;
  (kind == ConvolutionKind::dgrad ? weights.x : weights.y).layout = Layout::plain;
  result.spec = ConvolutionBackward{data, weights};
  const std::int64_t products = g.n * g.p() * g.q();
  result.fills.push_back(exact ? integers(-3, 3) : normal(0, 1 / std::sqrt(static_cast<double>(products))));
  return result;
}

Case matmul_case(Draw& draw, std::int64_t m, std::int64_t n, std::int64_t k) {
  const DType type = draw.pick({DType::f32, DType::f32, DType::bf16});
  const bool exact = draw.chance(0.5);
  Matmul spec;
  spec.transpose_a = draw.chance(0.5), spec.transpose_b = draw.chance(0.5), spec.bias = draw.chance(0.5);
  spec.a = {type, spec.transpose_a ? Shape{k, m} : Shape{m, k}, Layout::plain};
  spec.b = {type, spec.transpose_b ? Shape{n, k} : Shape{k, n}, Layout::plain};
  spec.c = {type == DType::bf16 && draw.chance(0.5) ? DType::f32 : type, Shape{m, n}, Layout::plain};
  spec.activation = exact ? draw.pick<Activation>({{}, {Activation::Kind::leaky_relu, 0.25f}}) : draw_activation(draw);
  Case result;
  result.spec = spec;
  set_fills(result, exact, k);
  return result;
}

}  // namespace

std::vector<Case> convolution_cases() {
  CaseTable table("convolution", 20140610);
  const auto kinds = {ConvolutionKind::fprop, ConvolutionKind::dgrad, ConvolutionKind::wgrad};
  for (const Geometry& g : typical)
    for (const ConvolutionKind kind : kinds)
      for (const DType type : {DType::f32, DType::bf16})
        for (const bool exact : {true, false})
          table.add([&](Draw& draw) { return convolution_case(draw, g, kind, type, exact); });
  for (const ConvolutionKind kind : kinds) {
    table.add(700, [&](Draw& draw) {
      const DType type = draw.pick({DType::f32, DType::f32, DType::bf16});
      const bool exact = draw.chance(0.5);
      return convolution_case(draw, draw_geometry(draw), kind, type, exact);
    });
  }
  return table.take();
}

std::vector<Case> backward_cases() {
  CaseTable table("convolution backward", 19860201);
  for (const Geometry& g : typical)
    for (const ConvolutionKind kind : {ConvolutionKind::dgrad, ConvolutionKind::fprop})
      for (const DType type : {DType::f32, DType::bf16})
        table.add([&](Draw& draw) { return backward_case(draw, g, kind, type, draw.chance(0.5)); });
  table.add(200, [&](Draw& draw) {
    const auto kind = draw.pick({ConvolutionKind::dgrad, ConvolutionKind::fprop});
    const DType type = draw.pick({DType::f32, DType::bf16});
    const bool exact = draw.chance(0.5);
    return backward_case(draw, draw_geometry(draw), kind, type, exact);
  });
  return table.take();
}

// Both gradients in tiles of every size that has them together.
std::vector<Case> backward_tile_cases() {
  CaseTable table("tiled convolution backward", 19861009);
  for (const DType type : {DType::f32, DType::bf16})
    for (const Geometry& g : tiled)
      for (const auto kind : {ConvolutionKind::dgrad, ConvolutionKind::fprop})
        table.add([&](Draw& draw) { return backward_case(draw, g, kind, type, true); });
  return table.take();
}

std::vector<Case> tile_cases() {
  CaseTable table("tiled convolution", 20151119);
  // Every n-th case, as a share of the table takes them, has either type and every kind.
  for (const DType type : {DType::f32, DType::bf16})
    for (const Geometry& g : tiled)
      for (const auto kind : {ConvolutionKind::fprop, ConvolutionKind::dgrad, ConvolutionKind::wgrad})
        table.add([&](Draw& draw) { return convolution_case(draw, g, kind, type, true); });
  return table.take();
}

std::vector<Case> matmul_cases() {
  CaseTable table("matmul", 19690101);
  const std::int64_t sizes[][3] = {{1, 1, 1},      {1, 1, 100}, {64, 1, 512}, {64, 784, 128},
                                   {128, 100, 64}, {1, 257, 3}, {255, 1, 1}};
  for (const auto& [m, n, k] : sizes) table.add(8, [&](Draw& draw) { return matmul_case(draw, m, n, k); });
  table.add(300, [](Draw& draw) {
    const std::int64_t m = draw.between(1, 70), n = draw.between(1, 70), k = draw.between(1, 90);
    return matmul_case(draw, m, n, k);
  });
  return table.take();
}

}  // namespace gannet::tests
