#include "engine/train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "engine/train/config.h"

namespace gannet {
namespace {

constexpr const char* format_version = "1";

// The shape in files: a filter's (K,R,S,C) is PyTorch's (K,C,R,S).
Shape file_shape(const Shape& shape) { return shape.rank() == 4 ? Shape{shape[0], shape[3], shape[1], shape[2]} : shape; }

// Per K, a transposition of (rows, columns): (R*S, C) to files, (C, R*S) from them.
std::vector<float> transpose_filters(std::span<const float> values, std::int64_t filters, std::int64_t rows,
                                     std::int64_t columns) {
  std::vector<float> result(values.size());
  for (std::int64_t k = 0; k < filters; ++k) {
    const float* from = values.data() + k * rows * columns;
    float* to = result.data() + k * rows * columns;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
  return result;
}

std::vector<float> to_file(const Shape& shape, std::vector<float> values) {
  if (shape.rank() != 4) return values;
  return transpose_filters(values, shape[0], shape[1] * shape[2], shape[3]);
}

std::vector<float> from_file(const Shape& shape, std::vector<float> values) {
  if (shape.rank() != 4) return values;
  return transpose_filters(values, shape[0], shape[3], shape[1] * shape[2]);
}

std::string describe(const SafetensorsEntry& entry) { return fmt::format("{} ({})", entry.type, fmt::join(entry.shape, ",")); }

std::string describe(const Variable& variable) {
  const char* type = variable.type.type == DType::i32 ? "I32" : "F32";
  return fmt::format("{} {}", type, to_string(file_shape(variable.type.shape)));
}

// Into the state, when the file's tensor has the variable's shape (and, when `exact`, its type).
void set_variable(const SafetensorsFile& file, State& state, const Variable& variable, bool exact, const char* what) {
  const SafetensorsEntry& entry = file.entries().at(variable.name);
  const Shape shape = file_shape(variable.type.shape);
  const bool same_shape = std::equal(shape.begin(), shape.end(), entry.shape.begin(), entry.shape.end());
  const bool same_type = entry.type == (variable.type.type == DType::i32 ? "I32" : "F32");
  GANNET_CHECK(same_shape && (same_type || !exact), "{}: {}: tensor '{}' is {}, this model has {}", file.path().string(), what,
               variable.name, describe(entry), describe(variable));
  state.set(variable.name, from_file(variable.type.shape, file.values(variable.name)));
}

template <typename Integer>
Integer integer_of(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  GANNET_CHECK(found != file.metadata().end(), "{}: not a checkpoint: its metadata has no '{}'", file.path().string(), key);
  const std::string& text = found->second;
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  GANNET_CHECK(error == std::errc() && end == text.data() + text.size(), "{}: metadata '{}' is not a number: '{}'",
               file.path().string(), key, text);
  return value;
}

bool ends_with_any(const std::string& name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return name.ends_with(ending); });
}

bool begins_with_any(const std::string& name, std::initializer_list<std::string_view> beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](std::string_view beginning) { return name.starts_with(beginning); });
}

}  // namespace

void save_checkpoint(const std::filesystem::path& file, const State& state, const CheckpointInfo& info) {
  std::vector<TensorDeclaration> tensors;
  for (const Variable& variable : state.variables())
    tensors.push_back(
        {variable.name, variable.type.type == DType::i32 ? DType::i32 : DType::f32, file_shape(variable.type.shape)});
  Metadata metadata = {{"format", "pt"},  // what PyTorch's tools look for
                       {"gannet.checkpoint", format_version},
                       {"gannet.step", std::to_string(info.step)},
                       {"gannet.seed", std::to_string(info.seed)},
                       {"gannet.position", std::to_string(info.position)},
                       {"gannet.family", info.family},
                       {"gannet.configuration", info.configuration.dump()}};
  SafetensorsWriter writer(file, tensors, std::move(metadata));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Shape& shape = state.desc(tensors[i].name).shape;
    const std::vector<float> values = to_file(shape, state.get(tensors[i].name));
    if (tensors[i].type == DType::i32) {
      std::vector<std::int32_t> integers(values.size());
      std::transform(values.begin(), values.end(), integers.begin(),
                     [](float v) { return static_cast<std::int32_t>(std::lrint(v)); });
      writer.append(i, std::as_bytes(std::span(integers)));
    } else {
      writer.append(i, std::as_bytes(std::span(values)));
    }
  }
  writer.finish();
}

Checkpoint::Checkpoint(const std::filesystem::path& file) : file_(file) {
  const Metadata& metadata = file_.metadata();
  const auto version = metadata.find("gannet.checkpoint");
  GANNET_CHECK(version != metadata.end(), "{}: not a checkpoint of this program (a safetensors file of something else)",
               file.string());
  GANNET_CHECK(version->second == format_version, "{}: checkpoint format {}, this program reads {}", file.string(),
               version->second, format_version);
  file_.verify(true);
  info_.step = integer_of<std::int64_t>(file_, "gannet.step");
  info_.seed = integer_of<std::uint64_t>(file_, "gannet.seed");
  info_.position = integer_of<std::uint64_t>(file_, "gannet.position");
  GANNET_CHECK(metadata.contains("gannet.family") && metadata.contains("gannet.configuration"),
               "{}: its metadata has no family or configuration", file.string());
  info_.family = metadata.at("gannet.family");
  info_.configuration = parse_json(metadata.at("gannet.configuration"), file.string() + ": configuration");
}

void Checkpoint::restore(State& state, bool whole) const {
  const std::string path = file_.path().string();
  std::vector<std::string> names;
  for (const Variable& variable : state.variables()) {
    names.push_back(variable.name);
    GANNET_CHECK(file_.contains(variable.name), "{}: checkpoint of another model ({}): it has no tensor '{}' {}", path,
                 info_.family, variable.name, describe(variable));
    set_variable(file_, state, variable, true, fmt::format("checkpoint of another model ({})", info_.family).c_str());
  }
  if (!whole) return;
  for (const auto& [name, entry] : file_.entries())
    GANNET_CHECK(state.contains(name), "{}: checkpoint of another model ({}): this model has no tensor '{}' {}", path,
                 info_.family, name, describe(entry));
}

void initialise_weights(const std::filesystem::path& path, State& state, std::span<const std::string> parameters) {
  const SafetensorsFile file(path);
  for (const std::string& name : parameters)
    GANNET_CHECK(file.contains(name), "{}: has no tensor '{}', which this model needs", path.string(), name);
  for (const auto& [name, entry] : file.entries()) {
    if (begins_with_any(name, {"ema.", "optimizer."}) || name.ends_with(".num_batches_tracked")) continue;
    const bool ours = begins_with_any(name, {"generator.", "discriminator."});
    GANNET_CHECK(ours, "{}: tensor '{}' belongs to no player; names begin with 'generator.' or 'discriminator.'", path.string(),
                 name);
    GANNET_CHECK(state.contains(name), "{}: this model has no tensor '{}' {}", path.string(), name, describe(entry));
  }
  for (const Variable& variable : state.variables()) {
    const bool weight = std::find(parameters.begin(), parameters.end(), variable.name) != parameters.end() ||
                        ends_with_any(variable.name, {".running_mean", ".running_var"});
    if (weight && !variable.name.starts_with("ema.") && file.contains(variable.name))
      set_variable(file, state, variable, false, "weights of another model");
  }
}

void start_averages(State& state) {
  constexpr std::string_view prefix = "ema.";
  for (const Variable& variable : state.variables()) {
    if (!variable.name.starts_with(prefix)) continue;
    const std::string source = variable.name.substr(prefix.size());
    if (state.contains(source)) state.set(variable.name, state.get(source));
  }
}

}  // namespace gannet
