// Descriptors of the double of cuDNN: which attributes each kind has, and what they may be.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "kernels/vendor/cudnn.h"
#include "tests/vendor_double.h"

namespace gannet::tests {

using namespace kernels::vendor::cudnn;

// What an attribute takes: values of a type, from `least` to `most` of them; descriptors of a kind.
struct Rule {
  Attribute attribute;
  Type type;
  std::int64_t least = 1, most = 1;
  Kind of = Kind::convolution;
};

inline const std::map<Kind, std::vector<Rule>>& rules() {
  static const auto operation = [](int first, int a, int b, int c) {
    return std::vector<Rule>{{Attribute{first}, Type::real},
                             {Attribute{first + 1}, Type::real},
                             {Attribute{first + 2}, Type::descriptor, 1, 1, Kind::convolution},
                             {Attribute{a}, Type::descriptor, 1, 1, Kind::tensor},
                             {Attribute{b}, Type::descriptor, 1, 1, Kind::tensor},
                             {Attribute{c}, Type::descriptor, 1, 1, Kind::tensor}};
  };
  static const std::map<Kind, std::vector<Rule>> all{
      {Kind::tensor,
       {{Attribute::tensor_alignment, Type::int64},
        {Attribute::tensor_type, Type::data_type},
        {Attribute::tensor_extents, Type::int64, 4, 4},
        {Attribute::tensor_strides, Type::int64, 4, 4},
        {Attribute::tensor_id, Type::int64}}},
      {Kind::convolution,
       {{Attribute::convolution_compute_type, Type::data_type},
        {Attribute::convolution_mode, Type::convolution_mode},
        {Attribute::convolution_dimensions, Type::int64},
        {Attribute::convolution_dilations, Type::int64, 2, 2},
        {Attribute::convolution_strides, Type::int64, 2, 2},
        {Attribute::convolution_pads_before, Type::int64, 2, 2},
        {Attribute::convolution_pads_after, Type::int64, 2, 2}}},
      {Kind::convolution_forward, operation(700, 703, 704, 705)},
      {Kind::convolution_backward_data, operation(706, 709, 710, 711)},
      {Kind::convolution_backward_filter, operation(712, 715, 716, 717)},
      {Kind::graph,
       {{Attribute::graph_handle, Type::handle}, {Attribute::graph_operations, Type::descriptor, 1, 1, Kind::graph}}},
      {Kind::heuristics,
       {{Attribute::heuristics_mode, Type::heuristic}, {Attribute::heuristics_graph, Type::descriptor, 1, 1, Kind::graph}}},
      {Kind::plan,
       {{Attribute::plan_handle, Type::handle},
        {Attribute::plan_configuration, Type::descriptor, 1, 1, Kind::engine_configuration}}},
      {Kind::pointers,
       {{Attribute::pointers_ids, Type::int64, 3, 3},
        {Attribute::pointers_data, Type::pointer, 3, 3},
        {Attribute::pointers_workspace, Type::pointer}}},
  };
  return all;
}

inline std::size_t size_of(Type type) {
  switch (type) {
    case Type::data_type:
    case Type::real:
    case Type::convolution_mode:
    case Type::heuristic:
    case Type::numerical_note:
      return 4;
    case Type::text:
      return 1;
    default:
      return 8;
  }
}

[[noreturn]] inline void refuse(const std::string& what) { throw std::runtime_error("the double of cuDNN: " + what); }
inline void require(bool condition, const std::string& what) {
  if (!condition) refuse(what);
}

// The engines that it has. All but the last must be passed over, by what they say of themselves or by not being supported here;
// one that is not gives wrong results.
enum class Engine { nondeterministic, winograd, tensor_core, unsupported, plain };

struct Object {
  Kind kind{};
  bool finalized = false;
  std::map<Attribute, std::vector<std::byte>> values;
  std::map<Attribute, std::shared_ptr<Object>> objects;
  Engine engine{};
  std::unique_ptr<HostKernel> kernel;  // of a plan

  template <typename T>
  std::vector<T> all(Attribute attribute) const {
    const auto& bytes = values.at(attribute);
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }
  template <typename T>
  T one(Attribute attribute) const {
    return all<T>(attribute).at(0);
  }
};
// What a descriptor of the caller's points to; cuDNN keeps what descriptors hold as long as others need it.
struct Box {
  std::shared_ptr<Object> object;
};
inline Box& box(RawDescriptor raw) {
  require(raw != nullptr, "a descriptor is null");
  return *static_cast<Box*>(raw);
}

inline void check_tensor(const Object& tensor) {
  const auto extents = tensor.all<std::int64_t>(Attribute::tensor_extents),
             strides = tensor.all<std::int64_t>(Attribute::tensor_strides);
  require(std::all_of(extents.begin(), extents.end(), [](auto extent) { return extent > 0; }), "an extent is not positive");
  require(strides[1] == 1 && strides[3] == extents[1] && strides[2] == extents[3] * extents[1] &&
              strides[0] == extents[2] * extents[3] * extents[1],
          "a tensor is not packed with channels last");
  require(std::has_single_bit(static_cast<std::uint64_t>(tensor.one<std::int64_t>(Attribute::tensor_alignment))),
          "an alignment is no power of two");
  const auto type = tensor.one<DataType>(Attribute::tensor_type);
  require(type == DataType::f32 || type == DataType::bf16, "a type is unknown");
}

inline void check_geometry(const Object& convolution) {
  require(convolution.one<DataType>(Attribute::convolution_compute_type) == DataType::f32, "products are not summed in fp32");
  require(convolution.one<ConvolutionMode>(Attribute::convolution_mode) == ConvolutionMode::cross_correlation,
          "filters are turned round");
  require(convolution.one<std::int64_t>(Attribute::convolution_dimensions) == 2, "pictures have two dimensions");
  for (const auto dilation : convolution.all<std::int64_t>(Attribute::convolution_dilations))
    require(dilation == 1, "a filter is dilated");
}

}  // namespace gannet::tests
