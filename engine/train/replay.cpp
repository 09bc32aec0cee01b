#include "engine/train/replay.h"

#include <algorithm>
#include <cstring>

#include "kernels/check.h"

namespace gannet {
namespace {

// The shape of one entry in the file.
Shape entry_shape(const Shape& shape) { return shape.rank() == 4 ? Shape{shape[0], shape[3], shape[1], shape[2]} : shape; }

void to_nhwc(const std::byte* nchw, const Shape& nhwc, float* result) {
  const std::int64_t pixels = nhwc[1] * nhwc[2], channels = nhwc[3];
  for (std::int64_t n = 0; n < nhwc[0]; ++n)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t p = 0; p < pixels; ++p) {
        const std::int64_t from = (n * channels + c) * pixels + p, to = (n * pixels + p) * channels + c;
        std::memcpy(result + to, nchw + from * static_cast<std::int64_t>(sizeof(float)), sizeof(float));
      }
}

}  // namespace

Replay::Replay(const std::filesystem::path& file, const Step& step, std::int64_t steps)
    : file_(file), options_(step.trace_options()) {
  std::vector<std::string> read;
  for (const Step::Part& part : step.parts()) {
    for (const std::string& name : part.program.inputs()) {
      if (name == "step" || name == "stop" || name.starts_with("learning_rate.")) continue;
      sources_.push_back(make_source(part.program, name, steps * part.repeats));
      read.push_back(name);
    }
  }
  for (const std::string& name : file_.names())
    GANNET_CHECK(std::find(read.begin(), read.end(), name) != read.end(),
                 "{}: this model does not read tensor '{}'; it reads {}", file.string(), name, fmt::join(read, ", "));
}

Replay::Source Replay::make_source(const Program& program, const std::string& name, std::int64_t entries) const {
  const std::string path = file_.path().string();
  const TensorType& type = program.input_type(name);
  GANNET_CHECK(file_.contains(name), "{}: has no tensor '{}', which this model reads", path, name);
  Source source{&program, name, file_.tensor(name), {}};
  const Shape& shape = source.tensor.shape;
  Shape entry = entry_shape(type.shape);
  const std::size_t own = static_cast<std::size_t>(entry.elements()) * sizeof(float);
  source.first = own * static_cast<std::size_t>(options_.rank);
  source.stride = own * static_cast<std::size_t>(options_.ranks);
  if (entry.rank() == 4) source.entry.resize(static_cast<std::size_t>(entry.elements()));
  if (entry.rank() > 0) entry[0] *= options_.ranks;
  GANNET_CHECK(source.tensor.type == type.type, "{}: tensor '{}' is {}, not {}", path, name, name_of(source.tensor.type),
               name_of(type.type));
  GANNET_CHECK(shape.rank() == entry.rank() + 1 && std::equal(entry.begin(), entry.end(), shape.begin() + 1),
               "{}: tensor '{}' is {}; it must hold entries of {}", path, name, to_string(shape), to_string(entry));
  GANNET_CHECK(shape[0] >= entries, "{}: tensor '{}' has {} entries; these steps read {}", path, name, shape[0], entries);
  return source;
}

void Replay::feed(Program& program, std::int64_t run) {
  for (Source& source : sources_) {
    if (source.program != &program) continue;
    const std::size_t bytes = source.stride / static_cast<std::size_t>(options_.ranks);
    const std::byte* entry = source.tensor.data.data() + static_cast<std::size_t>(run) * source.stride + source.first;
    if (source.entry.empty()) {
      program.write(source.name, entry, bytes);
    } else {
      to_nhwc(entry, program.input_type(source.name).shape, source.entry.data());
      program.write(source.name, source.entry.data(), bytes);
    }
  }
}

}  // namespace gannet
