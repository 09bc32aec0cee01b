#include "tools/gannet/configuration.h"

#include <sched.h>

#include "engine/train/nearest.h"
#include "engine/train/run_folder.h"
#include "kernels/cuda/backend.h"
#include "models/models.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {

nlohmann::json load_configuration(const std::string& name_or_file) {
  if (const std::string_view text = models::ready_configuration(name_or_file); !text.empty())
    return parse_json(text, "ready configuration " + name_or_file);
  std::error_code error;
  if (!std::filesystem::exists(name_or_file, error)) {
    const std::vector<std::string> ready = models::ready_names();
    throw InputError(
        fmt::format("no configuration '{}': it is neither a file nor a ready one; the nearest of those is '{}' ({})",
                    name_or_file, nearest(name_or_file, ready), fmt::join(ready, ", ")));
  }
  return read_json(name_or_file);
}

Resolved resolve(const nlohmann::json& given) {
  GANNET_CHECK(given.is_object(), "a configuration must be a JSON object, not {}", given.type_name());
  const auto pointer = nlohmann::json::json_pointer("/model/family");
  GANNET_CHECK(given.contains(pointer), "configuration key 'model.family' is missing (the family of GAN)");
  GANNET_CHECK(given.at(pointer).is_string(), "configuration key 'model.family' must be a text, not {}",
               given.at(pointer).dump());
  const Family& family = models::family(given.at(pointer).get<std::string>());
  return {&family, Config(given, all_keys(family.keys))};
}

Resolved resolve(nlohmann::json given, const std::vector<std::string>& settings) {
  GANNET_CHECK(given.is_object(), "a configuration must be a JSON object, not {}", given.type_name());
  for (const std::string& setting : settings) set_key(given, setting);
  return resolve(given);
}

void DeviceOptions::add_to(CLI::App& command, const std::string& threads_help) {
  one_of(command.add_option("--device", device, "What computes"), {"cpu", "cuda"})->capture_default_str();
  one_of(command.add_option("--kernels", kernels,
                            "Whose kernels compute convolutions and products on --device cuda: Gannet's, those of cuDNN and "
                            "cuBLASLt, or the faster for each shape (timed once on the GPU and kept in "
                            "~/.cache/gannet/kernels.json; not on the simulator)"),
         {"native", "vendor", "auto"})
      ->capture_default_str();
  const std::string which = threads_help.empty() ? "" : " " + threads_help;
  whole_number(command.add_option("--threads", threads, "CPU threads" + which + "; 0: all that the process may use"), 0, 4096);
}

std::unique_ptr<kernels::Backend> DeviceOptions::make_backend(const Config& config) const {
  return make_backend(config.integer("train.threads"), config.text("train.precision") == "tf32");
}

std::unique_ptr<kernels::Backend> DeviceOptions::make_backend(std::int64_t configured_threads, bool tf32) const {
  if (device == "cuda") {
    const std::string reason = kernels::cuda_unavailable();
    GANNET_CHECK(reason.empty(), "--device cuda: {}; --device cpu trains here", reason);
    kernels::CudaOptions options;
    options.device = gpu;
    options.tf32 = tf32, options.kernel_by_kernel = kernel_by_kernel;
    options.kernels = kernels == "vendor" ? kernels::CudaKernels::vendor
                      : kernels == "auto" ? kernels::CudaKernels::automatic
                                          : kernels::CudaKernels::native;
    options.log = [](const std::string& line) { fmt::print(stderr, "gannet: {}\n", line); };
    return kernels::make_cuda_backend(options);
  }
  GANNET_CHECK(kernels == "native", "--kernels {} is for --device cuda: the CPU has its own kernels alone", kernels);
  GANNET_CHECK(!kernel_by_kernel, "--kernel-by-kernel is for --device cuda: the CPU has no graphs");
  return kernels::make_cpu_backend(threads > 0 ? threads : static_cast<int>(configured_threads));
}

Trained::Trained(const std::filesystem::path& run_or_file)
    : checkpoint(find_checkpoint(run_or_file)),
      resolved(resolve(checkpoint.info().configuration)),
      model(resolved.family->trace(resolved.config, {})) {}

int available_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

}  // namespace gannet::tool
