#include "kernels/vendor/choice.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/operands.h"

namespace gannet::kernels::vendor {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int format = 1;

// The object "machines" of the file; empty where there is none. Throws where it is not what write() leaves.
json read_machines(const fs::path& file) {
  std::ifstream stream(file);
  if (!stream) {
    if (fs::exists(file)) throw std::runtime_error("it can not be opened");
    return json::object();
  }
  const json all = json::parse(stream);
  if (all.at("format") != format) throw std::runtime_error("it is of another version");
  for (const auto& [machine, specs] : all.at("machines").items())
    for (const auto& [spec, times] : specs.items())
      if (!(times.at(0).get<double>() > 0 && times.at(1).get<double>() > 0)) throw std::runtime_error("a time is not positive");
  return all.at("machines");
}

}  // namespace

Timings::Timings(fs::path file, std::string machine, Log log)
    : file_(std::move(file)), machine_(std::move(machine)), log_(std::move(log)) {
  try {
    const json machines = read_machines(file_);
    if (!machines.contains(machine_)) return;
    for (const auto& [spec, times] : machines.at(machine_).items()) times_[spec] = {times.at(0), times.at(1)};
  } catch (const std::exception& error) {
    times_.clear();
    log_(fmt::format("{}: no times of kernels are taken from it, they are measured anew: {}", file_.string(), error.what()));
  }
}

Times Timings::of(const std::string& spec, const std::function<Times()>& measure) {
  const auto known = times_.find(spec);
  if (known != times_.end()) return known->second;
  const Times times = measure();
  times_[spec] = times;
  try {
    write();
  } catch (const std::exception& error) {
    log_(fmt::format("{}: times of kernels are not kept: {}", file_.string(), error.what()));
  }
  return times;
}

// Beside what other machines and processes have written meanwhile; as a whole or not at all.
void Timings::write() const {
  if (file_.empty()) throw std::runtime_error("neither XDG_CACHE_HOME nor HOME is set");
  json machines = json::object();
  try {
    machines = read_machines(file_);
  } catch (const std::exception&) {  // as the constructor said, or broken since: written anew
  }
  for (const auto& [spec, times] : times_) machines[machine_][spec] = {times.native, times.vendor};
  if (!file_.parent_path().empty()) fs::create_directories(file_.parent_path());
  const fs::path next = fmt::format("{}.{}", file_.string(), ::getpid());
  {
    std::ofstream stream(next);
    stream << json{{"format", format}, {"machines", std::move(machines)}}.dump(1) << '\n';
    stream.close();
    if (!stream) {
      std::error_code ignored;
      fs::remove(next, ignored);
      throw std::runtime_error("it can not be written");
    }
  }
  fs::rename(next, file_);
}

fs::path timings_file() {
  const auto variable = [](const char* name) -> fs::path {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const fs::path cache = variable("XDG_CACHE_HOME"); cache.is_absolute()) return cache / "gannet/kernels.json";
  const fs::path home = variable("HOME");
  return home.empty() ? home : home / ".cache/gannet/kernels.json";
}

std::string key_of(const KernelSpec& spec, bool tf32) {
  std::string key = name_of(spec);
  const Operands operands = operands_of(spec);
  for (const TensorDesc& desc : operands.inputs) key += " " + to_string(desc);
  for (const TensorDesc& desc : operands.outputs) key += " -> " + to_string(desc);
  const auto add = [&](const char* name, const Activation& activation) {
    if (activation.kind != Activation::Kind::none)
      key += fmt::format(" {}={}:{}", name, static_cast<int>(activation.kind), activation.slope);
  };
  const auto* both = std::get_if<ConvolutionBackward>(&spec);
  if (both != nullptr) key += fmt::format(" of {}", name_of(both->data));
  if (const auto* convolution = both != nullptr ? &both->data : std::get_if<Convolution>(&spec)) {
    key += fmt::format(" stride={} pad={}", convolution->stride, convolution->pad);
    if (convolution->bias) key += " bias";
    add("activation", convolution->activation);
    add("slope_of", convolution->slope_of);
  }
  if (const auto* matmul = std::get_if<Matmul>(&spec)) {
    if (matmul->transpose_a) key += " transpose_a";
    if (matmul->transpose_b) key += " transpose_b";
    if (matmul->bias) key += " bias";
    add("activation", matmul->activation);
  }
  return tf32 ? key + " tf32" : key;
}

}  // namespace gannet::kernels::vendor
