#include "kernels/cpu/onednn.h"

#include <omp.h>

#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/vector_set.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

using dnnl::memory;

// Throws what dnnl::error carries, for the C functions.
void require_success(dnnl_status_t status, const char* action) {
  if (status != dnnl_success) [[unlikely]]
    throw dnnl::error(status, action);
}

memory::format_tag library_tag(const TensorDesc& desc) {
  switch (desc.layout) {
    case Layout::plain:
      return memory::format_tag::nhwc;
    case Layout::blocked8:
      return memory::format_tag::nChw8c;
    case Layout::blocked16:
      return memory::format_tag::nChw16c;
    case Layout::filter8:
      return memory::format_tag::OIhw8i8o;
    case Layout::filter16:
      return memory::format_tag::OIhw16i16o;
  }
  return memory::format_tag::undef;
}

dnnl::algorithm library_algorithm(Activation::Kind kind) {
  switch (kind) {
    case Activation::Kind::none:
      return dnnl::algorithm::undef;
    case Activation::Kind::leaky_relu:
      return dnnl::algorithm::eltwise_relu;
    case Activation::Kind::tanh:
      return dnnl::algorithm::eltwise_tanh;
    case Activation::Kind::sigmoid:
      return dnnl::algorithm::eltwise_logistic;
  }
  return dnnl::algorithm::undef;
}

// The library plans for the threads it sees when a primitive is made and runs on those it sees when it is executed. They are
// a setting of the calling thread, so that another caller, or another backend, may have changed it in between.
class ThreadsAsPlanned {
 public:
  explicit ThreadsAsPlanned(int planned) : found_(omp_get_max_threads()), planned_(planned) {
    if (found_ != planned_) omp_set_num_threads(planned_);
  }
  ~ThreadsAsPlanned() {
    if (found_ != planned_) omp_set_num_threads(found_);
  }
  ThreadsAsPlanned(const ThreadsAsPlanned&) = delete;
  ThreadsAsPlanned& operator=(const ThreadsAsPlanned&) = delete;

 private:
  int found_, planned_;
};

}  // namespace

memory::data_type library_type(DType type) {
  switch (type) {
    case DType::f32:
      return memory::data_type::f32;
    case DType::bf16:
      return memory::data_type::bf16;
    case DType::i32:
      return memory::data_type::s32;
    case DType::u8:
      return memory::data_type::u8;
    case DType::f64:
      return memory::data_type::f64;
  }
  return memory::data_type::undef;
}

memory::dims library_dims(const Shape& shape) {
  if (shape.rank() == 4) return {shape[0], shape[3], shape[1], shape[2]};
  return {shape.begin(), shape.end()};
}

memory::desc describe(const TensorDesc& desc) {
  if (desc.shape.rank() == 4) return {library_dims(desc.shape), library_type(desc.type), library_tag(desc)};
  memory::dims strides(desc.shape.rank(), 1);
  for (int d = desc.shape.rank() - 2; d >= 0; --d) strides[d] = strides[d + 1] * desc.shape[d + 1];
  return {library_dims(desc.shape), library_type(desc.type), strides};
}

memory::desc describe_free(const TensorDesc& desc) {
  return {library_dims(desc.shape), library_type(desc.type), memory::format_tag::any};
}

dnnl::primitive_attr attributes(const Activation& activation) {
  dnnl::primitive_attr result;
  result.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (activation.kind != Activation::Kind::none) {
    dnnl::post_ops operations;
    operations.append_eltwise(library_algorithm(activation.kind), activation.slope, 0);
    result.set_post_ops(operations);
  }
  return result;
}

bool is_reference(const dnnl::primitive_desc_base& primitive) {
  return std::strstr(primitive.impl_info_str(), "ref") != nullptr;
}

bool native_bf16() {
  const auto wanted = static_cast<unsigned>(dnnl_cpu_isa_avx512_core_bf16);
  return (static_cast<unsigned>(dnnl_get_effective_cpu_isa()) & wanted) == wanted;
}

void match_vector_set() {
  const VectorSet set = vector_set();
  if (set == VectorSet::avx512) return;
  const dnnl_cpu_isa_t wanted = set == VectorSet::avx2 ? dnnl_cpu_isa_avx2 : dnnl_cpu_isa_sse41;
  if (dnnl_set_max_cpu_isa(wanted) == dnnl_success) return;
  if (static_cast<unsigned>(dnnl_get_effective_cpu_isa()) <= static_cast<unsigned>(wanted)) return;
  throw RuntimeError(fmt::format("oneDNN is in use with newer instructions than {}", name_of(set)));
}

void rethrow(const dnnl::error& error, const KernelSpec& spec) {
  const Operands operands = operands_of(spec);
  std::string text;
  for (const TensorDesc& desc : operands.inputs) text += (text.empty() ? "" : ", ") + to_string(desc);
  for (const TensorDesc& desc : operands.outputs) text += " -> " + to_string(desc);
  throw RuntimeError(fmt::format("[{}] oneDNN: {} (status {}): {}", kernels::name_of(spec), error.message,
                                 static_cast<int>(error.status), text));
}

PrimitiveSequence::PrimitiveSequence(KernelSpec spec)
    : spec_(std::move(spec)), engine_(dnnl::engine::kind::cpu, 0), stream_(engine_), threads_(omp_get_max_threads()) {}

Place PrimitiveSequence::reserve(const memory::desc& desc) {
  constexpr std::size_t alignment = 64;
  const Place place{Place::Kind::workspace, workspace_bytes_};
  workspace_bytes_ += (desc.get_size() + alignment - 1) / alignment * alignment;
  return place;
}

void PrimitiveSequence::add(const dnnl::primitive_desc_base& desc, const dnnl::primitive& primitive,
                            std::vector<Operand> operands) {
  const memory::desc scratch = desc.scratchpad_desc();
  if (scratch.get_size() != 0) operands.push_back({DNNL_ARG_SCRATCHPAD, scratch, reserve(scratch)});
  Step step{primitive, {}, {}};
  for (const Operand& operand : operands) {
    step.bindings.push_back({memory(operand.desc, engine_, DNNL_MEMORY_NONE), operand.place});
    step.arguments.push_back({operand.argument, step.bindings.back().memory.get()});
  }
  steps_.push_back(std::move(step));
}

void PrimitiveSequence::convert(const memory::desc& from, Place source, const memory::desc& to, Place destination) {
  ++conversions_;
  const dnnl::reorder::primitive_desc desc(engine_, from, engine_, to, attributes());
  add<dnnl::reorder>(desc, {{DNNL_ARG_FROM, from, source}, {DNNL_ARG_TO, to, destination}});
}

Place PrimitiveSequence::convert(const memory::desc& given, Place place, const memory::desc& wanted) {
  if (given == wanted) return place;
  const Place converted = reserve(wanted);
  convert(given, place, wanted, converted);
  return converted;
}

void PrimitiveSequence::add_epilogue(const memory::desc& picture, Place place, bool bias, const Activation& activation) {
  if (bias) {
    const memory::desc vector({1, picture.get_dims()[1], 1, 1}, memory::data_type::f32, memory::format_tag::nchw);
    const dnnl::binary::primitive_desc desc(engine_, dnnl::algorithm::binary_add, picture, vector, picture,
                                            attributes(activation));
    const Place last_input{Place::Kind::input, 2};
    add<dnnl::binary>(desc,
                      {{DNNL_ARG_SRC_0, picture, place}, {DNNL_ARG_SRC_1, vector, last_input}, {DNNL_ARG_DST, picture, place}});
  } else if (activation.kind != Activation::Kind::none) {
    const dnnl::eltwise_forward::primitive_desc desc(engine_, dnnl::prop_kind::forward_inference,
                                                     library_algorithm(activation.kind), picture, picture, activation.slope, 0,
                                                     attributes());
    add<dnnl::eltwise_forward>(desc, {{DNNL_ARG_SRC, picture, place}, {DNNL_ARG_DST, picture, place}});
  }
}

void PrimitiveSequence::run(const Arguments& arguments) {
  const ThreadsAsPlanned threads(threads_);
  try {
    for (Step& step : steps_) {
      for (Binding& binding : step.bindings) {
        void* pointer = nullptr;
        switch (binding.place.kind) {
          case Place::Kind::input:
            pointer = const_cast<void*>(arguments.inputs[binding.place.at]);
            break;
          case Place::Kind::output:
            pointer = arguments.outputs[binding.place.at];
            break;
          case Place::Kind::workspace:
            pointer = static_cast<std::byte*>(arguments.workspace) + binding.place.at;
            break;
        }
        require_success(dnnl_memory_set_data_handle(binding.memory.get(), pointer), "could not bind an operand");
      }
      require_success(dnnl_primitive_execute(step.primitive.get(), stream_.get(), static_cast<int>(step.arguments.size()),
                                             step.arguments.data()),
                      "could not execute a primitive");
    }
    require_success(dnnl_stream_wait(stream_.get()), "could not finish");
  } catch (const dnnl::error& error) {
    rethrow(error, spec_);
  }
}

}  // namespace gannet::kernels::cpu
