// The texts of models/configs/*.json, compiled in.
#pragma once

#include <span>
#include <string_view>

namespace gannet::models {

struct ReadyConfiguration {
  std::string_view name;  // of the file, without its extension
  std::string_view text;
};

std::span<const ReadyConfiguration> ready_configurations();  // by name

}  // namespace gannet::models
