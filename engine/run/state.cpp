// Variables in the backend's memory.
#include <algorithm>
#include <cstring>
#include <map>

#include "engine/run/host_tensor.h"
#include "engine/run/program.h"

namespace gannet {
namespace {

// FNV-1a: a name's stream of random numbers.
std::uint32_t stream_of(const std::string& name) {
  std::uint32_t hash = 2166136261u;
  for (unsigned char byte : name) hash = (hash ^ byte) * 16777619u;
  return hash;
}

struct Entry {
  Variable variable;
  TensorDesc desc;
  void* data = nullptr;
};

}  // namespace

struct State::Implementation {
  kernels::Backend& backend;
  std::uint64_t seed;
  std::map<std::string, Entry> entries;

  const Entry& at(const std::string& name) const {
    const auto found = entries.find(name);
    GANNET_CHECK(found != entries.end(), "there is no variable '{}'", name);
    return found->second;
  }
};

State::State(kernels::Backend& backend, std::uint64_t seed) : implementation_(new Implementation{backend, seed, {}}) {}

State::~State() {
  for (const auto& [name, entry] : implementation_->entries) implementation_->backend.release(entry.data);
}

void State::add(const Variable& variable, Layout layout) {
  const auto found = implementation_->entries.find(variable.name);
  if (found != implementation_->entries.end()) {
    GANNET_CHECK(found->second.variable.type == variable.type, "variable '{}' is both {} and {}", variable.name,
                 to_string(found->second.variable.type), to_string(variable.type));
    return;
  }
  kernels::Backend& backend = implementation_->backend;
  const TensorDesc desc{variable.type.type, variable.type.shape, layout};
  implementation_->entries[variable.name] = {variable, desc, backend.allocate(bytes_on(desc, backend))};

  const auto count = static_cast<std::size_t>(desc.elements());
  std::vector<float> values(count, variable.initial.a);
  if (variable.initial.kind != Initializer::Kind::constant) {
    using Random = kernels::Random;
    const auto distribution =
        variable.initial.kind == Initializer::Kind::normal ? Random::Distribution::normal : Random::Distribution::uniform;
    const TensorDesc drawn{DType::f32, desc.shape, Layout::plain};
    Random spec;
    spec.distribution = distribution;
    spec.a = variable.initial.a, spec.b = variable.initial.b;
    spec.seed = implementation_->seed, spec.stream = stream_of(variable.name);
    spec.output = drawn;
    const auto kernel = backend.create(spec);
    const BackendMemory output(backend, bytes_on(drawn, backend)), step(backend, size_of(DType::i32)),
        workspace(backend, kernel->workspace_bytes());
    const std::int32_t zero = 0;
    backend.upload(step.data(), &zero, sizeof zero);
    const void* inputs[] = {step.data()};
    void* outputs[] = {output.data()};
    kernel->run({inputs, outputs, workspace.data()});
    backend.synchronize();
    values = download(backend, drawn, output.data());
  }
  set(variable.name, values);
}

bool State::contains(const std::string& name) const { return implementation_->entries.contains(name); }

std::vector<Variable> State::variables() const {
  std::vector<Variable> variables;
  for (const auto& [name, entry] : implementation_->entries) variables.push_back(entry.variable);
  return variables;
}

const TensorDesc& State::desc(const std::string& name) const { return implementation_->at(name).desc; }
void* State::data(const std::string& name) const { return implementation_->at(name).data; }

std::size_t State::bytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, entry] : implementation_->entries) bytes += bytes_on(entry.desc, implementation_->backend);
  return bytes;
}

std::uint64_t State::seed() const { return implementation_->seed; }
kernels::Backend& State::backend() const { return implementation_->backend; }

std::vector<float> State::get(const std::string& name) const {
  const Entry& entry = implementation_->at(name);
  return download(implementation_->backend, entry.desc, entry.data);
}

void State::set(const std::string& name, std::span<const float> values) {
  const Entry& entry = implementation_->at(name);
  GANNET_CHECK(values.size() == static_cast<std::size_t>(entry.desc.elements()), "variable '{}' {} takes {} values, not {}",
               name, to_string(entry.desc.shape), entry.desc.elements(), values.size());
  upload(implementation_->backend, entry.desc, entry.data, values);
}

}  // namespace gannet
