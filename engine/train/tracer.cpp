#include "engine/train/model.h"

#include "kernels/check.h"

namespace gannet {
namespace {

// FNV-1a: a draw keeps its stream whatever else a family draws.
std::uint32_t stream_of(std::string_view name) {
  std::uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

}  // namespace

std::int64_t TraceOptions::batch(const Config& config) const {
  const std::int64_t all = config.integer("train.batch");
  GANNET_CHECK(all % ranks == 0, "train.batch: {} samples can not be cut in {} equal runs, one for each rank", all, ranks);
  return all / ranks;
}

Value Tracer::step() {
  if (!step_) step_ = graph_.input("step", {DType::i32, {}});
  return step_;
}

Value Tracer::learning_rate(const std::string& player) { return graph_.input("learning_rate." + player, {DType::f32, {}}); }

// The loader delivers bytes; they become numbers here, so that a quarter of the memory is moved.
Value Tracer::real(const Shape& nhwc) {
  if (options_.replay) return graph_.input("real", {DType::f32, nhwc});
  return ops::affine(ops::cast(graph_.input("real", {DType::u8, nhwc}), DType::f32), 1.0f / 127.5f, -1.0f);
}

Value Tracer::normal(const std::string& name, const Shape& shape, float mean, float deviation) {
  if (options_.replay) return graph_.input(name, {DType::f32, shape});
  return ops::random_normal(step(), shape, mean, deviation, seed_, stream_of(name), options_.rank * shape.elements());
}

Value Tracer::uniform(const std::string& name, const Shape& shape, float low, float high) {
  if (options_.replay) return graph_.input(name, {DType::f32, shape});
  return ops::random_uniform(step(), shape, low, high, seed_, stream_of(name), options_.rank * shape.elements());
}

}  // namespace gannet
