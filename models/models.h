// The families, and their ready configurations by name.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/train/model.h"

namespace gannet::models {

Family dcgan();
Family vanilla();
Family wgan_gp();
Family gaussian1d();

std::span<const Family> families();
// InputError naming the nearest when there is no such family.
const Family& family(std::string_view name);

// Ready configurations (models/configs/NAME.json, compiled in).
std::vector<std::string> ready_names();
// JSON text; empty view when there is no such name.
std::string_view ready_configuration(std::string_view name);

}  // namespace gannet::models
