// Stands for libcudnn.so.9 (see vendor_double.h): its graph API, as far as a graph is one convolution.
#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "tests/vendor_double_descriptors.h"

namespace gannet::tests {
namespace {

constexpr Status bad_parameter{2000}, not_supported_here{3000}, failed{5000};
constexpr std::int64_t workspace_bytes = 1000;

// A convolution, from the descriptors alone.
struct Problem {
  const Object *x, *w, *y, *out;
  std::int64_t n, c, h, wide, k, r, s, p, q, stride_h, stride_w, pad_h, pad_w;
  bool bf16(const Object* tensor) const { return tensor->one<DataType>(Attribute::tensor_type) == DataType::bf16; }
};

Problem problem_of(const Object& operation) {
  const bool forward = operation.kind == Kind::convolution_forward,
             filter = operation.kind == Kind::convolution_backward_filter;
  const int first = forward ? 700 : filter ? 712 : 706;
  const auto tensor = [&](Attribute f, Attribute d, Attribute g) {
    return operation.objects.at(forward ? f : filter ? g : d).get();
  };
  Problem result{};
  result.x = tensor(Attribute::forward_x, Attribute::backward_data_dx, Attribute::backward_filter_x);
  result.w = tensor(Attribute::forward_w, Attribute::backward_data_w, Attribute::backward_filter_dw);
  result.y = tensor(Attribute::forward_y, Attribute::backward_data_dy, Attribute::backward_filter_dy);
  result.out = forward ? result.y : filter ? result.w : result.x;
  require(operation.one<float>(Attribute{first}) == 1 && operation.one<float>(Attribute{first + 1}) == 0, "a result is scaled");
  const Object& convolution = *operation.objects.at(Attribute{first + 2});
  const auto x = result.x->all<std::int64_t>(Attribute::tensor_extents),
             w = result.w->all<std::int64_t>(Attribute::tensor_extents);
  const auto y = result.y->all<std::int64_t>(Attribute::tensor_extents);
  const auto strides = convolution.all<std::int64_t>(Attribute::convolution_strides);
  const auto before = convolution.all<std::int64_t>(Attribute::convolution_pads_before);
  const auto after = convolution.all<std::int64_t>(Attribute::convolution_pads_after);
  for (std::size_t i = 0; i < 2; ++i) {
    require(strides[i] > 0 && before[i] >= 0 && after[i] >= 0, "a stride or a pad is out of range");
    require((x[i + 2] + before[i] + after[i] - w[i + 2]) / strides[i] + 1 == y[i + 2], "extents do not fit");
  }
  require(x[0] == y[0] && x[1] == w[1] && y[1] == w[0], "samples or channels do not fit");
  result.n = x[0], result.c = x[1], result.h = x[2], result.wide = x[3], result.k = w[0], result.r = w[2], result.s = w[3];
  result.p = y[2], result.q = y[3];
  result.stride_h = strides[0], result.stride_w = strides[1], result.pad_h = before[0], result.pad_w = before[1];
  return result;
}

// Of an operation's tensors, those that are read have one type.
bool has_engines(const Problem& problem) {
  const bool inputs[] = {problem.bf16(problem.x), problem.bf16(problem.w), problem.bf16(problem.y)};
  const std::size_t out = problem.out == problem.x ? 0 : problem.out == problem.w ? 1 : 2;
  const bool bf16 = inputs[out == 0 ? 1 : 0];
  for (std::size_t i = 0; i < 3; ++i)
    if (i != out) require(inputs[i] == bf16, "the inputs have different types");
  require(bf16 || !inputs[out], "f32 is not computed to bf16");
  return !bf16 || inputs[out] || (problem.c % 8 == 0 && problem.k % 8 == 0);  // bf16 to f32 is not for all
}

std::size_t bytes_of(const Object* tensor) {
  std::int64_t elements = tensor->one<DataType>(Attribute::tensor_type) == DataType::bf16 ? 2 : 4;
  for (const auto extent : tensor->all<std::int64_t>(Attribute::tensor_extents)) elements *= extent;
  return static_cast<std::size_t>(elements);
}

// a, b: the inputs, in the order x, w, y.
void compute(const Problem& t, Engine engine, const void* a, const void* b, void* c) {
  const bool rounded = engine == Engine::tensor_core;
  const Object* const first = t.out == t.x ? t.w : t.x;
  const Object* const second = t.out == t.y ? t.w : t.y;
  const bool a16 = t.bf16(first), b16 = t.bf16(second), c16 = t.bf16(t.out);
  std::vector<double> sum(bytes_of(t.out) / (c16 ? 2 : 4));
  const auto index = [](const Object* tensor, std::int64_t i0, std::int64_t i1, std::int64_t i2, std::int64_t i3) {
    const auto strides = tensor->all<std::int64_t>(Attribute::tensor_strides);
    return i0 * strides[0] + i1 * strides[1] + i2 * strides[2] + i3 * strides[3];
  };
  const std::int64_t x_step = index(t.x, 0, 1, 0, 0), w_step = index(t.w, 0, 1, 0, 0);
  for (std::int64_t n = 0; n < t.n; ++n)
    for (std::int64_t p = 0; p < t.p; ++p)
      for (std::int64_t q = 0; q < t.q; ++q)
        for (std::int64_t r = 0; r < t.r; ++r)
          for (std::int64_t s = 0; s < t.s; ++s) {
            const std::int64_t h = p * t.stride_h + r - t.pad_h, w = q * t.stride_w + s - t.pad_w;
            if (h < 0 || h >= t.h || w < 0 || w >= t.wide) continue;
            for (std::int64_t k = 0; k < t.k; ++k) {
              const std::int64_t iy = index(t.y, n, k, p, q);
              std::int64_t ix = index(t.x, n, 0, h, w), iw = index(t.w, k, 0, r, s);
              for (std::int64_t channel = 0; channel < t.c; ++channel, ix += x_step, iw += w_step) {
                const std::int64_t ia = t.out == t.x ? iw : ix, ib = t.out == t.y ? iw : iy,
                                   ic = t.out == t.x   ? ix
                                        : t.out == t.w ? iw
                                                       : iy;
                sum[static_cast<std::size_t>(ic)] += load(a, ia, a16, rounded) * load(b, ib, b16, rounded);
              }
            }
          }
  const bool wrong = engine != Engine::plain && engine != Engine::tensor_core;
  for (std::size_t i = 0; i < sum.size(); ++i) store(c, static_cast<std::int64_t>(i), c16, wrong ? std::nan("") : sum[i]);
}

std::string last_error;
int executions = 0;

// Runs a call; what it refuses is a status and a text.
template <typename Body>
Status guarded(Body body) {
  try {
    last_error.clear();
    return body();
  } catch (const std::exception& error) {
    last_error = error.what();
    return bad_parameter;
  }
}

struct Context {
  cudaStream_t stream = nullptr;
  bool has_stream = false;
};

Status finalize_plan(Object& plan) {
  const Object& configuration = *plan.objects.at(Attribute::plan_configuration);
  if (configuration.engine == Engine::unsupported) return not_supported_here;
  plan.engine = configuration.engine;
  const std::shared_ptr<Object> operation = configuration.objects.at(Attribute::graph_operations);
  const Problem problem = problem_of(*operation);
  const Object* const first = problem.out == problem.x ? problem.w : problem.x;
  const Object* const second = problem.out == problem.y ? problem.w : problem.y;
  plan.kernel = std::make_unique<HostKernel>(
      bytes_of(first), bytes_of(second), bytes_of(problem.out),
      // The operation keeps the tensors that the problem points to.
      [operation, problem, engine = plan.engine](const void* a, const void* b, void* c) { compute(problem, engine, a, b, c); });
  return success;
}

}  // namespace
}  // namespace gannet::tests

using namespace gannet::tests;

extern "C" {

int vendor_double_executions() { return executions; }

std::size_t cudnnGetVersion() { return 90000; }
const char* cudnnGetErrorString(Status status) { return status == success ? "success" : "refused"; }
void cudnnGetLastErrorString(char* text, std::size_t bytes) {
  std::strncpy(text, last_error.c_str(), bytes - 1);
  text[bytes - 1] = 0;
}
Status cudnnCreate(Handle* handle) {
  *handle = reinterpret_cast<Handle>(new Context);
  return success;
}
Status cudnnDestroy(Handle handle) {
  delete reinterpret_cast<Context*>(handle);
  return success;
}
Status cudnnSetStream(Handle handle, cudaStream_t stream) {
  *reinterpret_cast<Context*>(handle) = {stream, true};
  return success;
}

Status cudnnBackendCreateDescriptor(Kind kind, RawDescriptor* raw) {
  return guarded([&] {
    auto object = std::make_shared<Object>();
    object->kind = kind;
    *raw = new Box{std::move(object)};
    return success;
  });
}
Status cudnnBackendDestroyDescriptor(RawDescriptor raw) {
  delete static_cast<Box*>(raw);
  return success;
}

Status cudnnBackendSetAttribute(RawDescriptor raw, Attribute attribute, Type type, std::int64_t count, const void* data) {
  return guarded([&] {
    Object& object = *box(raw).object;
    const std::string name = fmt::format("attribute {} of kind {}", static_cast<int>(attribute), static_cast<int>(object.kind));
    require(!object.finalized, name + " is set after the end");
    const auto of_kind = rules().find(object.kind);
    require(of_kind != rules().end(), name + " can not be set");
    const auto rule = std::find_if(of_kind->second.begin(), of_kind->second.end(),
                                   [&](const Rule& one) { return one.attribute == attribute; });
    require(rule != of_kind->second.end(), name + " is unknown");
    require(rule->type == type, name + " has another type");
    require(count >= rule->least && count <= rule->most && data != nullptr, name + " has another number of values");
    if (type == Type::descriptor) {
      const std::shared_ptr<Object>& value = box(*static_cast<const RawDescriptor*>(data)).object;
      const bool operation = value->kind == Kind::convolution_forward || value->kind == Kind::convolution_backward_data ||
                             value->kind == Kind::convolution_backward_filter;
      require(attribute == Attribute::graph_operations ? operation : value->kind == rule->of, name + " is of another kind");
      require(value->finalized, name + " is not finalized");
      object.objects[attribute] = value;
    } else {
      const auto* const bytes = static_cast<const std::byte*>(data);
      object.values[attribute].assign(bytes, bytes + static_cast<std::size_t>(count) * size_of(type));
    }
    return success;
  });
}

Status cudnnBackendFinalize(RawDescriptor raw) {
  return guarded([&] {
    Object& object = *box(raw).object;
    require(!object.finalized, "a descriptor is finalized twice");
    for (const Rule& rule : rules().at(object.kind)) {
      const bool set =
          rule.type == Type::descriptor ? object.objects.contains(rule.attribute) : object.values.contains(rule.attribute);
      require(set, fmt::format("attribute {} is missing", static_cast<int>(rule.attribute)));
    }
    Status status = success;
    if (object.kind == Kind::tensor) check_tensor(object);
    if (object.kind == Kind::convolution) check_geometry(object);
    if (object.kind == Kind::convolution_forward || object.kind == Kind::convolution_backward_data ||
        object.kind == Kind::convolution_backward_filter)
      problem_of(object);
    if (object.kind == Kind::plan) status = finalize_plan(object);
    object.finalized = status == success;
    return status;
  });
}

Status cudnnBackendGetAttribute(RawDescriptor raw, Attribute attribute, Type type, std::int64_t most, std::int64_t* count,
                                void* data) {
  return guarded([&] {
    const Object& object = *box(raw).object;
    require(object.finalized, "a descriptor is asked before it is finalized");
    if (attribute == Attribute::heuristics_results && type == Type::descriptor && object.kind == Kind::heuristics) {
      const std::shared_ptr<Object>& operation =
          object.objects.at(Attribute::heuristics_graph)->objects.at(Attribute::graph_operations);
      std::vector<Engine> engines;
      if (has_engines(problem_of(*operation))) {
        engines = {Engine::nondeterministic, Engine::winograd, Engine::tensor_core, Engine::unsupported};
        if (object.one<Heuristic>(Attribute::heuristics_mode) == Heuristic::fallback) engines = {Engine::plain};
      }
      *count = std::min<std::int64_t>(most, static_cast<std::int64_t>(engines.size()));
      for (std::int64_t i = 0; i < *count; ++i) {
        Object& configuration = *box(static_cast<RawDescriptor*>(data)[i]).object;
        require(configuration.kind == Kind::engine_configuration && !configuration.finalized, "results go into configurations");
        configuration.engine = engines[static_cast<std::size_t>(i)];
        configuration.objects[Attribute::graph_operations] = operation;
        configuration.finalized = true;
      }
    } else if (attribute == Attribute::configuration_engine && type == Type::descriptor && most >= 1) {
      Object& engine = *box(*static_cast<RawDescriptor*>(data)).object;
      require(engine.kind == Kind::engine && !engine.finalized, "an engine goes into an engine");
      engine.engine = object.engine;
      engine.finalized = true;
      *count = 1;
    } else if (attribute == Attribute::engine_numerical_notes && type == Type::numerical_note && object.kind == Kind::engine) {
      const std::map<Engine, std::vector<Note>> notes{{Engine::nondeterministic, {Note::tensor_core, Note::nondeterministic}},
                                                      {Engine::winograd, {Note::winograd}},
                                                      {Engine::tensor_core, {Note::tensor_core}}};
      const auto found = notes.find(object.engine);
      *count = found == notes.end() ? 0 : static_cast<std::int64_t>(found->second.size());
      require(*count <= most, "there are more notes");
      if (*count > 0) std::memcpy(data, found->second.data(), static_cast<std::size_t>(*count) * sizeof(Note));
    } else if (attribute == Attribute::plan_workspace_bytes && type == Type::int64 && object.kind == Kind::plan && most >= 1) {
      *static_cast<std::int64_t*>(data) = workspace_bytes;
      *count = 1;
    } else {
      refuse(fmt::format("attribute {} can not be read", static_cast<int>(attribute)));
    }
    return success;
  });
}

Status cudnnBackendExecute(Handle handle, RawDescriptor plan, RawDescriptor pointers) {
  const Status status = guarded([&] {
    const auto* context = reinterpret_cast<Context*>(handle);
    require(context->has_stream, "there is no stream");
    Object &of_plan = *box(plan).object, &pack = *box(pointers).object;
    require(of_plan.kind == Kind::plan && of_plan.finalized && pack.kind == Kind::pointers && pack.finalized,
            "not a plan and pointers");
    const auto ids = pack.all<std::int64_t>(Attribute::pointers_ids);
    const auto data = pack.all<void*>(Attribute::pointers_data);
    const auto workspace = pack.one<void*>(Attribute::pointers_workspace);
    require(aligned(workspace, 256), "the workspace is not aligned");
    const Object& operation = *of_plan.objects.at(Attribute::plan_configuration)->objects.at(Attribute::graph_operations);
    const Problem problem = problem_of(operation);
    const auto pointer = [&](const Object* tensor) {
      const auto found = std::find(ids.begin(), ids.end(), tensor->one<std::int64_t>(Attribute::tensor_id));
      require(found != ids.end(), "a tensor has no pointer");
      void* const at = data[static_cast<std::size_t>(found - ids.begin())];
      require(aligned(at, static_cast<std::size_t>(tensor->one<std::int64_t>(Attribute::tensor_alignment))),
              "a pointer is not aligned");
      return at;
    };
    use_workspace(workspace, workspace_bytes, context->stream);
    of_plan.kernel->enqueue(pointer(problem.out == problem.x ? problem.w : problem.x),
                            pointer(problem.out == problem.y ? problem.w : problem.y), pointer(problem.out), context->stream);
    ++executions;
    return success;
  });
  return status == success ? success : failed;
}

}  // extern "C"
