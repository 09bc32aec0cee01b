// oneDNN behind the Kernel interface: tensors described in the engine's layouts, and a sequence of primitives as one kernel.
#pragma once

#include <cstddef>
#include <dnnl.hpp>
#include <initializer_list>
#include <utility>
#include <vector>

#include "kernels/backend.h"

namespace gannet::kernels::cpu {

dnnl::memory::data_type library_type(DType type);

// The library names pictures (N,C,H,W) and filters (K,C,R,S) whatever their order in memory; matrices keep theirs.
dnnl::memory::dims library_dims(const Shape& shape);
dnnl::memory::desc describe(const TensorDesc& desc);
// The same tensor, in the layout that the library prefers.
dnnl::memory::desc describe_free(const TensorDesc& desc);

// The fused activation and scratch memory from the kernel's workspace.
dnnl::primitive_attr attributes(const Activation& activation = {});

// The library's plain C++ loops, thousands of times slower than its generated code.
bool is_reference(const dnnl::primitive_desc_base& primitive);

// bf16 products without conversion to f32.
bool native_bf16();

// Lets the library use no newer instructions than the SIMD kernels do (see vector_set.h). RuntimeError when the library has
// already generated code for more.
void match_vector_set();

[[noreturn]] void rethrow(const dnnl::error& error, const KernelSpec& spec);

// Where a primitive finds an operand.
struct Place {
  enum class Kind { input, output, workspace };
  Kind kind;
  std::size_t at;  // which input or output, or bytes from the start of the workspace
};

// Primitives run one after the other. Argument lists are made once: run() only sets pointers.
class PrimitiveSequence final : public Kernel {
 public:
  explicit PrimitiveSequence(KernelSpec spec);

  const dnnl::engine& engine() const { return engine_; }
  Place reserve(const dnnl::memory::desc& desc);

  struct Operand {
    int argument;  // DNNL_ARG_...
    dnnl::memory::desc desc;
    Place place;
  };
  void add(const dnnl::primitive_desc_base& desc, const dnnl::primitive& primitive, std::vector<Operand> operands);
  template <class Primitive>
  void add(const typename Primitive::primitive_desc& desc, std::vector<Operand> operands) {
    add(desc, Primitive(desc), std::move(operands));
  }

  // Converts type and layout where they differ: returns where the operand lies as `wanted`.
  Place convert(const dnnl::memory::desc& given, Place place, const dnnl::memory::desc& wanted);
  void convert(const dnnl::memory::desc& from, Place source, const dnnl::memory::desc& to, Place destination);
  // picture = activation(picture + bias), in place.
  void add_epilogue(const dnnl::memory::desc& picture, Place place, bool bias, const Activation& activation);

  void count_picture_reorder() { ++picture_reorders_; }

  std::size_t workspace_bytes() const override { return workspace_bytes_; }
  Reorders reorders() const override { return {picture_reorders_, conversions_ - picture_reorders_}; }
  void run(const Arguments& arguments) override;

 private:
  struct Binding {
    dnnl::memory memory;
    Place place;
  };
  struct Step {
    dnnl::primitive primitive;
    std::vector<Binding> bindings;
    std::vector<dnnl_exec_arg_t> arguments;
  };

  KernelSpec spec_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  int threads_;
  std::vector<Step> steps_;
  std::size_t workspace_bytes_ = 0;
  int conversions_ = 0, picture_reorders_ = 0;
};

}  // namespace gannet::kernels::cpu
