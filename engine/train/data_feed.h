// What feeds a step's programs: a loader over a dataset, a replay file, or nothing (a family that draws its data itself).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "engine/data/loader.h"
#include "engine/train/replay.h"
#include "engine/train/step.h"

namespace gannet {

class DataFeed {
 public:
  // dataset: may be null when nothing reads it. position: of the loader. InputError when there is no data, or pictures or
  // labels are not what the model needs. Each rank of the step gets its run of every batch.
  DataFeed(Step& step, std::shared_ptr<const Dataset> dataset, std::uint64_t position);
  DataFeed(Step& step, const std::filesystem::path& replay);

  void feed(Program& program, std::int64_t run);
  // Samples drawn so far: what a checkpoint keeps.
  std::uint64_t position() const { return loader_ ? loader_->position() : 0; }

 private:
  const std::string real_ = "real", labels_ = "labels";  // kept: feeding allocates nothing
  std::optional<Replay> replay_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace gannet
