// Configurations: JSON checked against a table of keys. The table gives types, ranges, defaults and help; nothing else does.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/check.h"

namespace gannet {

struct Key {
  enum class Type { integer, real, boolean, text };
  std::string path;  // "train.batch"
  Type type;
  nlohmann::json initial;  // the default; null: must be given
  std::string help;
  double minimum = -1e300, maximum = 1e300;  // of integer and real, inclusive
  std::vector<std::string> choices = {};     // of text; empty: any
};

// A fully resolved configuration: every key of the table has a value of its type and range.
class Config {
 public:
  Config() = default;
  // Checks `given` against the table. InputError names the key (and the nearest known one), what is wrong and what is allowed.
  Config(const nlohmann::json& given, std::span<const Key> table);

  std::int64_t integer(std::string_view path) const;
  double real(std::string_view path) const;
  bool boolean(std::string_view path) const;
  const std::string& text(std::string_view path) const;
  const nlohmann::json& json() const { return values_; }

 private:
  nlohmann::json values_;
};

// Reads JSON; `source` is named in the message when it is malformed (with line and column) or gives a key twice.
nlohmann::json parse_json(std::string_view text, const std::string& source);
nlohmann::json read_json(const std::filesystem::path& file);

// Whether JSON can hold the text.
bool is_utf8(const std::string& text);

// Applies "--set a.b=value": the value is read as JSON where that parses, else as text.
void set_key(nlohmann::json& config, std::string_view assignment);

// The keys that every family has (model.family; sections loss, generator_optimizer, discriminator_optimizer, train, data).
std::vector<Key> common_keys();
// The common keys and a family's own; of two with the same path, the family's.
std::vector<Key> all_keys(std::span<const Key> family_keys);

// The first key whose values differ, as "model.latent: 100, now 128"; empty when none. `ignored` are paths that may differ.
std::string first_difference(const Config& before, const Config& now, std::span<const std::string_view> ignored);

}  // namespace gannet
