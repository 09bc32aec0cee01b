#include <array>

#include "engine/train/nearest.h"
#include "models/models.h"
#include "models/ready.h"

namespace gannet::models {

std::span<const Family> families() {
  static const std::array all{vanilla(), gaussian1d(), dcgan(), wgan_gp()};
  return all;
}

const Family& family(std::string_view name) {
  std::vector<std::string> names;
  for (const Family& known : families()) {
    if (known.name == name) return known;
    names.push_back(known.name);
  }
  throw InputError(fmt::format("model.family: there is no family '{}'; the nearest is '{}' (families: {})", name,
                               nearest(name, names), fmt::join(names, ", ")));
}

std::vector<std::string> ready_names() {
  std::vector<std::string> names;
  for (const ReadyConfiguration& ready : ready_configurations()) names.emplace_back(ready.name);
  return names;
}

std::string_view ready_configuration(std::string_view name) {
  for (const ReadyConfiguration& ready : ready_configurations())
    if (ready.name == name) return ready.text;
  return {};
}

}  // namespace gannet::models
