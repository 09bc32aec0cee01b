#include "tools/gannet/job.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/parallel/cores.h"
#include "kernels/check.h"
#include "kernels/cuda/backend.h"
#include "tools/gannet/launch.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {
namespace {

// Which GPU a rank takes: its own of the host's, or the only one that its launcher lets it see.
int gpu_of(const World& world) {
  const auto gpus = static_cast<int>(kernels::cuda_machine().devices.size());
  if (gpus == 1) return 0;
  GANNET_CHECK(world.local_rank < gpus, "this host has {} GPUs and {} ranks: each needs one of its own", gpus,
               world.local_size);
  return world.local_rank;
}

}  // namespace

int ranks_of(const DeviceOptions& options) {
  GANNET_CHECK(options.gpus == 1 || options.device == "cuda",
               "--gpus {} is for --device cuda; --processes {} is its like on CPUs", options.gpus, options.gpus);
  GANNET_CHECK(options.processes == 1 || options.device == "cpu",
               "--processes {} is for --device cpu; --gpus {} is its like on GPUs", options.processes, options.processes);
  return std::max(options.gpus, options.processes);
}

void add_ranks_to(CLI::App& command, DeviceOptions& options) {
  whole_number(command.add_option("--gpus", options.gpus,
                                  "Train on so many GPUs of this host, each with its part of every batch (train.batch)"),
               1, 1024);
  whole_number(command.add_option("--processes", options.processes, "The same with so many processes on CPUs"), 1, 1024);
}

std::optional<int> start_ranks(const DeviceOptions& options) {
  const int ranks = ranks_of(options);
  const World world = world_from_environment();
  if (world.size > 1 || !world.launcher.empty()) {
    GANNET_CHECK(ranks == 1 || (world.launcher == "gannet" && ranks == world.size),
                 "{} has started {} ranks already, so --{} {} can not be", world.launcher, world.size,
                 options.gpus > 1 ? "gpus" : "processes", ranks);
    return std::nullopt;
  }
  if (ranks == 1) return std::nullopt;
  if (options.device == "cuda") {
    const std::string reason = kernels::cuda_unavailable();
    GANNET_CHECK(reason.empty(), "--device cuda: {}; --device cpu trains here", reason);
    const auto gpus = static_cast<int>(kernels::cuda_machine().devices.size());
    GANNET_CHECK(gpus >= ranks, "--gpus {}: this host has {}", ranks, gpus);
  }
  return launch(ranks);
}

Job::Job(const DeviceOptions& options, const Config& config) {
  const World world = world_from_environment();
  DeviceOptions own = options;
  if (world.size > 1) {
    group_ = std::make_unique<Group>(world, GroupOptions{static_cast<double>(config.integer("train.silence")),
                                                         static_cast<double>(config.integer("train.patience"))});
    if (options.device == "cuda") own.gpu = gpu_of(world);
  }
  const auto make = [&] {
    if (group_) {
      const int share = take_share_of_processors(*group_);
      if (own.threads == 0 && config.integer("train.threads") == 0) own.threads = share;
    }
    backend_ = own.make_backend(config);
    if (!group_) return 0;
    communicator_ = options.device == "cuda" ? make_nccl_communicator(*group_, *backend_) : make_gloo_communicator(*group_);
    ranks_.emplace(Ranks{*group_, *communicator_});
    return 0;
  };
  run(make);
}

int Job::run(const std::function<int()>& body) {
  if (!group_) return body();
  try {
    return body();
  } catch (const InputError& error) {
    throw InputError(group_->fail(error.what()));
  } catch (const std::exception& error) {
    throw RuntimeError(group_->fail(error.what()));
  }
}

}  // namespace gannet::tool
