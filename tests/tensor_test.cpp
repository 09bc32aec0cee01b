// Shapes, element types, and the order of elements in each layout.
#include "kernels/tensor.h"

#include <gtest/gtest.h>

#include "kernels/check.h"

namespace gannet {
namespace {

// The row-major logical index of each place in memory.
std::vector<std::int64_t> memory_order(const Shape& shape, Layout layout) {
  const std::vector<PhysicalAxis> axes = physical_axes(shape, layout);
  std::vector<std::int64_t> order;
  std::vector<std::int64_t> at(axes.size(), 0);
  for (std::size_t moved = axes.size(); moved != 0 || axes.empty();) {
    std::int64_t logical = 0;
    for (int d = 0; d < shape.rank(); ++d) {
      std::int64_t index = 0;
      for (std::size_t a = 0; a < axes.size(); ++a)
        if (axes[a].dim == d) index += at[a] * axes[a].step;
      logical = logical * shape[d] + index;
    }
    order.push_back(logical);
    if (axes.empty()) break;
    for (moved = axes.size(); moved > 0; --moved) {  // the next place: the last axis runs fastest
      if (++at[moved - 1] < axes[moved - 1].extent) break;
      at[moved - 1] = 0;
    }
  }
  return order;
}

void expect_permutation(const Shape& shape, Layout layout) {
  const std::vector<std::int64_t> order = memory_order(shape, layout);
  ASSERT_EQ(static_cast<std::int64_t>(order.size()), shape.elements()) << to_string(TensorDesc{DType::f32, shape, layout});
  std::vector<int> hits(order.size(), 0);
  for (const std::int64_t logical : order) {
    ASSERT_GE(logical, 0);
    ASSERT_LT(logical, shape.elements());
    ++hits[static_cast<std::size_t>(logical)];
  }
  for (std::size_t i = 0; i < hits.size(); ++i)
    ASSERT_EQ(hits[i], 1) << "element " << i << " of " << to_string(TensorDesc{DType::f32, shape, layout});
}

TEST(PhysicalAxes, HoldEveryElementOnce) {
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{2, 3, 5}, Shape{2, 3, 1, 2, 1, 4}, Shape{3, 5, 2, 7}})
    expect_permutation(shape, Layout::plain);
  for (const Shape& shape : {Shape{1, 1, 1, 16}, Shape{3, 5, 2, 48}, Shape{2, 1, 7, 32}}) {
    expect_permutation(shape, Layout::blocked8);
    expect_permutation(shape, Layout::blocked16);
  }
  for (const Shape& shape : {Shape{16, 1, 1, 16}, Shape{32, 4, 3, 48}, Shape{48, 1, 5, 16}}) {
    expect_permutation(shape, Layout::filter8);
    expect_permutation(shape, Layout::filter16);
  }
}

TEST(PhysicalAxes, PlainIsRowMajor) {
  const std::vector<std::int64_t> order = memory_order({2, 3, 4}, Layout::plain);
  for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<std::int64_t>(i));
}

// (1,1,2,16): element (w, c) is number 16 w + c. In memory: channels 0-7 of both pixels, then channels 8-15 of both.
TEST(PhysicalAxes, Blocked8ByHand) {
  EXPECT_EQ(memory_order({1, 1, 2, 16}, Layout::blocked8),
            (std::vector<std::int64_t>{0, 1, 2,  3,  4,  5,  6,  7,  16, 17, 18, 19, 20, 21, 22, 23,
                                       8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31}));
}

// (8,1,2,8): element (k, s, c) is number 16 k + 8 s + c. In memory s is outside, then c, and k runs fastest.
TEST(PhysicalAxes, Filter8ByHand) {
  const std::vector<std::int64_t> order = memory_order({8, 1, 2, 8}, Layout::filter8);
  const std::vector<std::int64_t> start{0, 16, 32, 48, 64, 80, 96, 112, 1, 17, 33, 49, 65, 81, 97, 113};
  ASSERT_EQ(order.size(), 128u);
  EXPECT_EQ(std::vector(order.begin(), order.begin() + 16), start);
  EXPECT_EQ(order[64], 8) << "the second half is s = 1";
  EXPECT_EQ(order[127], 127);
}

// (16,1,1,8): blocks of k are outermost.
TEST(PhysicalAxes, Filter8BlocksOfKAreOutermost) {
  const std::vector<std::int64_t> order = memory_order({16, 1, 1, 8}, Layout::filter8);
  EXPECT_EQ(order[1], 8) << "k = 1";
  EXPECT_EQ(order[8], 1) << "c = 1";
  EXPECT_EQ(order[64], 64) << "k = 8";
}

TEST(PhysicalAxes, RefuseWhatDoesNotDivide) {
  EXPECT_THROW(physical_axes({2, 4, 4, 12}, Layout::blocked8), InputError);
  EXPECT_THROW(physical_axes({2, 4, 4, 24}, Layout::blocked16), InputError);
  EXPECT_THROW(physical_axes({4, 4, 16}, Layout::blocked8), InputError) << "rank 3";
  EXPECT_THROW(physical_axes({12, 4, 4, 16}, Layout::filter8), InputError) << "K";
  EXPECT_THROW(physical_axes({16, 4, 4, 12}, Layout::filter8), InputError) << "C";
  EXPECT_THROW(physical_axes({24, 4, 4, 16}, Layout::filter16), InputError);
}

TEST(Shape, HasAtMostSixDimensions) {
  EXPECT_EQ((Shape{1, 2, 3, 4, 5, 6}.elements()), 720);
  EXPECT_THROW((Shape{1, 2, 3, 4, 5, 6, 7}), InputError);
  EXPECT_EQ(Shape{}.rank(), 0);
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ((Shape{4, 0, 3}.elements()), 0);
  EXPECT_EQ((Shape{70'000, 70'000}.elements()), 4'900'000'000);
}

TEST(Shape, ComparesRankAndExtents) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{2}), (Shape{2, 0}));
  EXPECT_EQ(to_string(Shape{64, 32, 3}), "(64,32,3)");
  EXPECT_EQ(to_string(Shape{}), "()");
}

TEST(TensorDesc, CountsBytes) {
  EXPECT_EQ(size_of(DType::f32), sizeof(float));
  EXPECT_EQ(size_of(DType::bf16), 2u);
  EXPECT_EQ(size_of(DType::f64), sizeof(double));
  EXPECT_EQ(size_of(DType::i32), sizeof(std::int32_t));
  EXPECT_EQ(size_of(DType::u8), 1u);
  const TensorDesc desc{DType::bf16, {2, 3, 5, 16}, Layout::blocked16};
  EXPECT_EQ(desc.bytes(), 960u);
  EXPECT_EQ(to_string(desc), "bf16(2,3,5,16)/blocked16");
  EXPECT_EQ((TensorDesc{DType::f64, {}, Layout::plain}.bytes()), 8u);
}

}  // namespace
}  // namespace gannet
