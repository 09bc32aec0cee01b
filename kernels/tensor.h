// What a kernel knows of a tensor: element type, logical shape, and how it lies in memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace gannet {

enum class DType : std::uint8_t { f32, bf16, f64, i32, u8 };

std::size_t size_of(DType type);  // bytes of one element
const char* name_of(DType type);  // "f32", "bf16", …

inline constexpr int max_rank = 6;

// Logical extents, outermost first: pictures are (N,H,W,C), filters (K,R,S,C), matrices (rows, columns).
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[axis]; }
  std::int64_t& operator[](int axis) { return extents_[axis]; }
  std::int64_t elements() const;  // 1 for rank 0
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "(64,32,32,3)"

// How the logical elements of a tensor are ordered in memory. Blocked layouts need channels (for filters: both K and C)
// divisible by the block, so that no layout has padding and every layout of a shape has the same number of bytes.
enum class Layout : std::uint8_t {
  plain,      // row-major over the logical shape
  blocked8,   // rank 4 (N,H,W,C) as (N, C/8, H, W, 8)
  blocked16,  // rank 4 (N,H,W,C) as (N, C/16, H, W, 16)
  filter8,    // rank 4 (K,R,S,C) as (K/8, C/8, R, S, 8 of C, 8 of K)
  filter16,   // rank 4 (K,R,S,C) as (K/16, C/16, R, S, 16 of C, 16 of K)
};
const char* name_of(Layout layout);

// One axis of the physical order: walks `extent` positions, each `step` further along logical dimension `dim`.
struct PhysicalAxis {
  int dim;
  std::int64_t extent;
  std::int64_t step;
};

// The physical order of a tensor, outermost axis first. The flat memory index runs row-major over these axes.
std::vector<PhysicalAxis> physical_axes(const Shape& shape, Layout layout);

struct TensorDesc {
  DType type = DType::f32;
  Shape shape;
  Layout layout = Layout::plain;

  std::int64_t elements() const { return shape.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(type); }
  bool operator==(const TensorDesc&) const = default;
};

std::string to_string(const TensorDesc& desc);  // "f32(64,32,32,64)/blocked16"

}  // namespace gannet
