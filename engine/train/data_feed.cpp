#include "engine/train/data_feed.h"

#include "kernels/check.h"

namespace gannet {
namespace {

void check(const Dataset* dataset, const Program& program) {
  GANNET_CHECK(dataset, "no data: give a dataset file with --data (gannet prepare makes one)");
  const Shape& has = dataset->shape();
  const Shape& needs = program.input_type("real").shape;
  GANNET_CHECK(has[1] == needs[1] && has[2] == needs[2] && has[3] == needs[3],
               "{}: its pictures are {}x{} with {} channels; the model needs {}x{} with {} (model.image_size, model.channels)",
               dataset->path().string(), has[1], has[2], has[3], needs[1], needs[2], needs[3]);
  GANNET_CHECK(!program.has_input("labels") || !dataset->labels().empty(), "{}: has no labels, which the model needs",
               dataset->path().string());
}

}  // namespace

DataFeed::DataFeed(Step& step, std::shared_ptr<const Dataset> dataset, std::uint64_t position) {
  const Step::Part* reader = step.part_with_input(real_);
  if (!reader) return;
  check(dataset.get(), reader->program);
  const Config& config = step.config();
  LoaderOptions options;
  options.batch = step.trace_options().batch(config);
  options.rank = step.trace_options().rank;
  options.world = step.trace_options().ranks;
  options.seed = static_cast<std::uint64_t>(config.integer("train.seed"));
  options.flips = config.boolean("data.flip");
  options.position = position;
  loader_ = std::make_unique<Loader>(std::move(dataset), options);
}

DataFeed::DataFeed(Step& step, const std::filesystem::path& replay) {
  replay_.emplace(replay, step, step.config().integer("train.steps"));
}

void DataFeed::feed(Program& program, std::int64_t run) {
  if (replay_) return replay_->feed(program, run);
  if (!loader_ || !program.has_input(real_)) return;
  const Batch& batch = loader_->next();
  program.write(real_, batch.images.data(), batch.images.size());
  if (program.has_input(labels_)) program.write(labels_, batch.labels.data(), batch.labels.size_bytes());
}

}  // namespace gannet
