#include "kernels/cuda/convolution.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/convolution_backward.h"
#include "kernels/cuda/factories.h"
#include "kernels/cuda/implicit_gemm.h"
#include "kernels/one_after_the_other.h"
#include "kernels/operands.h"

namespace gannet::kernels::cuda {
namespace {

int extent(const TensorDesc& desc, int axis) { return static_cast<int>(desc.shape[axis]); }

// y is 1x1 and each filter as large as the picture: samples and filters are vectors of R*S*C numbers.
bool is_product(const Convolution& spec) {
  return extent(spec.y, 1) == 1 && extent(spec.y, 2) == 1 && spec.pad == 0 && extent(spec.x, 1) == extent(spec.w, 1) &&
         extent(spec.x, 2) == extent(spec.w, 2);
}

Convolution as_product(const Convolution& spec) {
  const std::int64_t samples = spec.x.shape[0], filters = spec.w.shape[0], vector = spec.x.elements() / samples;
  Convolution result = spec;
  result.x.shape = {samples, 1, 1, vector};
  result.w.shape = {filters, 1, 1, vector};
  result.stride = 1;
  return result;
}

void describe_output_pixels(const Convolution& spec, ImplicitGemm& product) {
  PixelClass& pixels = product.pixel_class[0];
  const int p = extent(spec.y, 1), q = extent(spec.y, 2);
  pixels.rows = extent(spec.y, 0) * p * q;
  pixels.pixels = Divider(static_cast<std::uint32_t>(p * q));
  pixels.line = Divider(static_cast<std::uint32_t>(q));
  pixels.origin_h = pixels.origin_w = -spec.pad;
  pixels.taps_h = product.filter_h;
  pixels.taps_w = product.filter_w;
}

// Along one axis: pixels first, first + stride, … of x read y at origin + i - t for the filter's elements tap + t * stride.
struct Parity {
  int pixels, origin, tap, taps;
};
Parity parity(int first, int extent, int filter, int stride, int pad) {
  const int tap = (first + pad) % stride;
  return {first < extent ? (extent - first + stride - 1) / stride : 0, (first + pad - tap) / stride, tap,
          tap < filter ? (filter - tap + stride - 1) / stride : 0};
}

void describe_parity_classes(const Convolution& spec, ImplicitGemm& product) {
  product.classes = 0;
  for (int a = 0; a < spec.stride; ++a) {
    for (int b = 0; b < spec.stride; ++b) {
      const Parity h = parity(a, extent(spec.x, 1), product.filter_h, spec.stride, spec.pad);
      const Parity w = parity(b, extent(spec.x, 2), product.filter_w, spec.stride, spec.pad);
      if (h.pixels == 0 || w.pixels == 0) continue;
      PixelClass& pixels = product.pixel_class[product.classes++];
      pixels.rows = extent(spec.x, 0) * h.pixels * w.pixels;
      pixels.pixels = Divider(static_cast<std::uint32_t>(h.pixels * w.pixels));
      pixels.line = Divider(static_cast<std::uint32_t>(w.pixels));
      pixels.origin_h = h.origin, pixels.origin_w = w.origin;
      pixels.taps_h = w.taps == 0 ? 0 : h.taps;
      pixels.taps_w = std::max(1, w.taps);
      pixels.first_r = h.tap, pixels.first_s = w.tap;
      pixels.output_h = a, pixels.output_w = b;
    }
  }
  // The classes with most to do start first.
  std::stable_sort(product.pixel_class, product.pixel_class + product.classes,
                   [](const PixelClass& a, const PixelClass& b) { return a.taps_h * a.taps_w > b.taps_h * b.taps_w; });
}

ProductSpec product_of(const Convolution& given, const Device& device) {
  const Convolution spec = is_product(given) ? as_product(given) : given;
  const int c = extent(spec.x, 3), k = extent(spec.w, 0), r = extent(spec.w, 1), s = extent(spec.w, 2);
  ImplicitGemm product;
  product.filter_h = r, product.filter_w = s;
  product.stride = spec.stride;
  product.has_bias = spec.bias;
  product.activation = spec.activation.kind;
  product.slope = spec.activation.slope;
  product.slope_of = {spec.slope_of.kind, spec.slope_of.slope, nullptr};
  ProductForm form = ProductForm::fprop;
  OperandOrder order;
  const TensorDesc* output = &spec.y;
  if (spec.kind == ConvolutionKind::dgrad) {
    form = ProductForm::dgrad;
    output = &spec.x;
    describe_parity_classes(spec, product);
    product.height = extent(spec.y, 1), product.width = extent(spec.y, 2), product.channels = k;
    product.output_height = extent(spec.x, 1), product.output_width = extent(spec.x, 2);
    product.n = c, product.inner = k;
    product.b_pitch = r * s * c;
    product.columns_per_bias = Divider(static_cast<std::uint32_t>(extent(given.x, 3)));
  } else {
    describe_output_pixels(spec, product);
    product.height = extent(spec.x, 1), product.width = extent(spec.x, 2), product.channels = c;
    if (spec.kind == ConvolutionKind::fprop) {
      product.n = k, product.inner = r * s * c;
      product.b_pitch = product.inner;
      product.columns_per_bias = Divider(static_cast<std::uint32_t>(k));
    } else {
      form = ProductForm::wgrad;
      order = {1, 0};
      output = &spec.w;
      product.m = k, product.n = r * s * c, product.inner = product.pixel_class[0].rows;
      product.a_pitch = k;
    }
  }
  product.elements = output->elements();
  product.output_bf16 = output->type == DType::bf16;
  const DType input = spec.kind == ConvolutionKind::dgrad ? spec.y.type : spec.x.type;
  const ProductMath math = input == DType::bf16 ? ProductMath::bf16 : device.tf32 ? ProductMath::tf32 : ProductMath::f32;
  return {form, math, product, order};
}

// Is this a spec that make_convolution makes of tiles?
bool is_tiled(const Convolution& spec) {
  return !can_implement_few_channels(spec) && !can_implement_narrow_dgrad(spec) && can_implement_tiled(spec);
}

// Both products of a spec, which read all of its inputs; none where one of them is not made of tiles.
std::optional<std::pair<ProductSpec, ProductSpec>> products_of(const ConvolutionBackward& spec, const Device& device) {
  if (!is_tiled(spec.data) || !is_tiled(spec.weights)) return std::nullopt;
  ProductSpec data = product_of(spec.data, device), weights = product_of(spec.weights, device);
  const int other = static_cast<int>(operands_of(spec).inputs.size()) - 1;
  weights.order = spec.data.kind == ConvolutionKind::dgrad ? OperandOrder{0, other} : OperandOrder{other, 0};
  return std::pair(data, weights);
}

}  // namespace

bool can_implement_tiled(const Convolution& spec) {
  return is_product(spec) || (extent(spec.w, 1) <= largest_filter_extent && extent(spec.w, 2) <= largest_filter_extent &&
                              (spec.kind != ConvolutionKind::dgrad || spec.stride <= largest_stride));
}

std::unique_ptr<Kernel> make_tiled_convolution(const Convolution& spec, const Device& device) {
  return make_product(product_of(spec, device), device);
}

std::unique_ptr<Kernel> make_convolution(const Convolution& spec, const Device& device) {
  if (can_implement_few_channels(spec)) return make_few_channels_convolution(spec, device);
  if (can_implement_narrow_dgrad(spec)) return make_narrow_dgrad(spec, device);
  if (can_implement_tiled(spec)) return make_tiled_convolution(spec, device);
  return make_analytic_convolution(spec, device);
}

std::unique_ptr<Kernel> make_convolution_backward(const ConvolutionBackward& spec, const Device& device) {
  if (const auto products = products_of(spec, device))
    if (auto kernel = make_products(products->first, products->second, device)) return kernel;
  return one_after_the_other(spec, make_convolution(spec.data, device), make_convolution(spec.weights, device));
}

bool is_one_launch(const ConvolutionBackward& spec, const Device& device) {
  const auto products = products_of(spec, device);
  return products && can_implement_products(products->first, products->second, device);
}

}  // namespace gannet::kernels::cuda
