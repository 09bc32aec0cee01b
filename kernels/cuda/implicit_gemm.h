// A product of matrices whose operands are read where they lie: the convolution triple and matmul are its forms.
//
//   form        rows m           columns n    inner index                A from         B from
//   fprop       output pixels    filters K    (r,s,c)                    picture x      filters
//   dgrad       pixels of x      channels C   (tap, k), tap by tap       picture y      filters
//   wgrad       filters K        (r,s,c)      output pixels              picture y      picture x
//   transposed  columns of a     rows of b    rows of a                  a              b
// A matrix is a picture of 1x1 pixels, so that fprop computes a b', dgrad a b and wgrad a' b.
//
// dgrad with a stride: pixels with equal (h % stride, w % stride) see the same taps; each such class is a product of its own
// without a multiplication by zero (Gannet's vocabulary: parity classes).
//
// Tiles are numbered, fastest first: the classes, where they are alike and so read the same pixels; tiles of columns; tiles of
// rows; other classes. Blocks next to each other have a tile each, then the next part of the inner index of the same tiles.
// What runs at one time shares rows of A and, where it is split, both operands.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/activation.h"
#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/division.h"
#include "kernels/cuda/epilogue.h"

namespace gannet::kernels::cuda {

enum class ProductForm : std::uint8_t { fprop, dgrad, wgrad, transposed };
enum class ProductMath : std::uint8_t { bf16, tf32, f32 };  // tensor cores; tensor cores; fp32 on CUDA cores

inline constexpr int largest_stride = 4;
inline constexpr int largest_filter_extent = 15;  // taps inside the picture are bits: 15 of r, 15 of s

// Rows of the product that see the same taps.
struct PixelClass {
  int rows = 0;
  Divider pixels, line;            // of one sample; of one line of it
  int origin_h = 0, origin_w = 0;  // of the gathered picture, that the first tap of the first row reads
  int taps_h = 1, taps_w = 1;
  int first_r = 0, first_s = 0;    // dgrad: the filter's element of the first tap; the next is `stride` further
  int output_h = 0, output_w = 0;  // dgrad: the class's first pixel of x
};

// Tiles one after the other, each shared by as many blocks.
struct TileGroup {
  unsigned first_block = 0, blocks = 0;  // of the launch; a group may have none
  int first_tile = 0, splits = 1;
  Divider tiles;  // of the group's blocks
  // splits > 1: where the blocks of a tile leave their sums and meet (implicit_gemm_splits.cuh).
  float* partial = nullptr;          // (tiles, pairs of splits, a tile)
  unsigned int* meetings = nullptr;  // (tiles, splits); 0 before and after

#ifdef __CUDACC__
  __device__ bool has(unsigned block) const { return block - first_block < blocks; }
#endif
};

struct ImplicitGemm {
  const void *a = nullptr, *b = nullptr;
  const float* bias = nullptr;  // of column n % columns_per_bias
  void* c = nullptr;
  SlopeOf slope_of;
  int m = 0, n = 0, inner = 0;   // dgrad: inner is K
  std::int64_t elements = 0;     // of c
  int a_pitch = 0, b_pitch = 0;  // elements from row to row, where the operand is a matrix
  // The gathered picture, and the filter's extents.
  int height = 1, width = 1, channels = 0;
  int filter_h = 1, filter_w = 1;
  int stride = 1;
  int output_height = 1, output_width = 1;  // dgrad: of x
  TileGroup groups[2];
  Divider together, column_tiles, row_tiles;  // of tiles: classes next to each other
  Divider columns_per_bias;
  Activation::Kind activation = Activation::Kind::none;
  float slope = 0;
  bool output_bf16 = false, has_bias = false;
  int classes = 1;
  PixelClass pixel_class[largest_stride * largest_stride];
};

// Rows and columns of a block's tile. wide: 256x128, large: 128x128, tall: 256x64, medium: 128x64, small: 64x64.
enum class ProductTile : std::uint8_t { wide, large, tall, medium, small };
// How operands are read: 16 bytes at a time, 4, or one bf16 at a time; half: A by 8 bytes, B by 16 (a latent of 100); mixed: A
// by 16 bytes, B by elements (wgrad of a picture with few channels). pairs: by 16 bytes, and the inner index comes in whole
// pairs of 64 bytes, of each tap.
enum class ProductAccess : std::uint8_t { pairs, vector, half, word, element, mixed };

struct ProductVariant {
  ProductForm form;
  ProductMath math;
  ProductAccess access;
  ProductTile tile;
};

// Two products in one launch: blocks of either, as their groups say.
struct ProductPair {
  ImplicitGemm first, second;
};

// The kernel of a variant, allowed the dynamic shared memory that it needs.
struct ProductKernel {
  const void* function = nullptr;
  int shared_bytes = 0, threads = 0;
};
// Compiled in files of their own; null where there is no such variant.
ProductKernel find_bf16_kernel(const ProductVariant& variant);
ProductKernel find_tf32_kernel(const ProductVariant& variant);
ProductKernel find_f32_kernel(const ProductVariant& variant);
// Of fprop or dgrad first, then wgrad, both of one math, on tensor cores.
ProductKernel find_bf16_kernel(const ProductVariant& first, const ProductVariant& wgrad);
ProductKernel find_tf32_kernel(const ProductVariant& first, const ProductVariant& wgrad);

// Which of a kernel's inputs are A and B.
struct OperandOrder {
  int a = 0, b = 1;
};

// A product to be prepared; pointers are not looked at.
struct ProductSpec {
  ProductForm form = ProductForm::fprop;
  ProductMath math = ProductMath::f32;
  ImplicitGemm product;
  OperandOrder order;
};

// Prepares a product: the variant that reads the operands in the largest pieces that their extents allow, in tiles and with a
// number of splits that keep the device busy.
std::unique_ptr<Kernel> make_product(const ProductSpec& spec, const Device& device);

// fprop or dgrad, and wgrad, in one launch; its outputs are theirs. Null where no kernel does both or two launches are faster.
std::unique_ptr<Kernel> make_products(const ProductSpec& first, const ProductSpec& wgrad, const Device& device);
bool can_implement_products(const ProductSpec& first, const ProductSpec& wgrad, const Device& device);

// Products of matrices with a side of 4 or fewer, as make_product makes them.
bool can_implement_thin(ProductForm form, const ImplicitGemm& product);
std::unique_ptr<Kernel> make_thin_product(ProductForm form, DType input, const ImplicitGemm& product, OperandOrder order,
                                          const Device& device);

}  // namespace gannet::kernels::cuda
