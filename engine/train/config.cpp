#include "engine/train/config.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "engine/train/nearest.h"

namespace gannet {
namespace {

using nlohmann::json;

constexpr std::uintmax_t largest_file = 1 << 20;  // a configuration is a page or two

json::json_pointer pointer_to(std::string_view path) {
  std::string text = "/" + std::string(path);
  std::replace(text.begin(), text.end(), '.', '/');
  return json::json_pointer(text);
}

const char* name_of(Key::Type type) {
  switch (type) {
    case Key::Type::integer:
      return "an integer";
    case Key::Type::real:
      return "a number";
    case Key::Type::boolean:
      return "true or false";
    case Key::Type::text:
      return "a text";
  }
  return "?";
}

// 1e5 is how people write 100000 steps: a number is an integer when its value is one.
bool is_integer(const json& value) {
  if (value.is_number_unsigned()) return value.get<std::uint64_t>() <= std::uint64_t{1} << 62;
  if (value.is_number_integer()) return true;
  return value.is_number_float() && std::abs(value.get<double>()) <= 9e15 &&
         std::trunc(value.get<double>()) == value.get<double>();
}

bool fits(Key::Type type, const json& value) {
  switch (type) {
    case Key::Type::integer:
      return is_integer(value);
    case Key::Type::real:
      return value.is_number();
    case Key::Type::boolean:
      return value.is_boolean();
    case Key::Type::text:
      return value.is_string();
  }
  return false;
}

std::string range_of(const Key& key) {
  const bool below = key.minimum > -1e300, above = key.maximum < 1e300;
  if (below && above) return fmt::format("from {} to {}", key.minimum, key.maximum);
  return below ? fmt::format("at least {}", key.minimum) : fmt::format("at most {}", key.maximum);
}

// The value in the form that the table gives it: integers as integers, reals as reals.
json checked(const Key& key, const json& value) {
  GANNET_CHECK(fits(key.type, value), "configuration key '{}' must be {}, not {}", key.path, name_of(key.type), value.dump());
  switch (key.type) {
    case Key::Type::integer:
    case Key::Type::real: {
      const double number = value.get<double>();
      GANNET_CHECK(std::isfinite(number) && number >= key.minimum && number <= key.maximum,
                   "configuration key '{}' must be {}, not {}", key.path, range_of(key), value.dump());
      return key.type == Key::Type::integer ? json(value.get<std::int64_t>()) : json(number);
    }
    case Key::Type::text: {
      const auto& text = value.get_ref<const std::string&>();
      GANNET_CHECK(key.choices.empty() || std::find(key.choices.begin(), key.choices.end(), text) != key.choices.end(),
                   "configuration key '{}' must be one of {}, not '{}'", key.path, fmt::join(key.choices, ", "), text);
      return value;
    }
    case Key::Type::boolean:
      return value;
  }
  return value;
}

// Every leaf of `given` must be a key of the table, every inner node a section of it.
void refuse_unknown(const json& given, const std::string& prefix, std::span<const std::string> paths) {
  for (const auto& [name, value] : given.items()) {
    const std::string path = prefix.empty() ? name : prefix + "." + name;
    const bool key = std::find(paths.begin(), paths.end(), path) != paths.end();
    const bool section =
        std::any_of(paths.begin(), paths.end(), [&](const std::string& p) { return p.starts_with(path + "."); });
    GANNET_CHECK(key || section, "unknown configuration key '{}'; the nearest is '{}'", path, nearest(path, paths));
    if (key) continue;
    GANNET_CHECK(value.is_object(), "configuration section '{}' must be an object of keys, not {}", path, value.dump());
    refuse_unknown(value, path, paths);
  }
}

}  // namespace

Config::Config(const nlohmann::json& given, std::span<const Key> table) {
  GANNET_CHECK(given.is_object(), "a configuration must be a JSON object, not {}", given.type_name());
  std::vector<std::string> paths;
  for (const Key& key : table) paths.push_back(key.path);
  refuse_unknown(given, "", paths);
  values_ = json::object();
  for (const Key& key : table) {
    const auto pointer = pointer_to(key.path);
    const bool present = given.contains(pointer);
    GANNET_CHECK(present || !key.initial.is_null(), "configuration key '{}' is missing ({})", key.path, key.help);
    values_[pointer] = checked(key, present ? given.at(pointer) : key.initial);
  }
}

std::int64_t Config::integer(std::string_view path) const { return values_.at(pointer_to(path)).get<std::int64_t>(); }
double Config::real(std::string_view path) const { return values_.at(pointer_to(path)).get<double>(); }
bool Config::boolean(std::string_view path) const { return values_.at(pointer_to(path)).get<bool>(); }
const std::string& Config::text(std::string_view path) const {
  return values_.at(pointer_to(path)).get_ref<const std::string&>();
}

nlohmann::json parse_json(std::string_view text, const std::string& source) {
  std::vector<std::set<std::string>> seen;  // the keys of each object that is open
  const auto refuse_duplicates = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) seen.emplace_back();
    if (event == json::parse_event_t::object_end) seen.pop_back();
    if (event == json::parse_event_t::key)
      GANNET_CHECK(seen.back().insert(parsed.get<std::string>()).second, "{}: key '{}' is given twice", source,
                   parsed.get<std::string>());
    return true;
  };
  try {
    return json::parse(text, refuse_duplicates);
  } catch (const json::exception& error) {
    std::string_view what = error.what();
    if (const auto end = what.find("] "); end != what.npos) what.remove_prefix(end + 2);  // the library's error number
    throw InputError(fmt::format("{}: not valid JSON: {}", source, what));
  }
}

nlohmann::json read_json(const std::filesystem::path& file) {
  std::error_code error;
  GANNET_CHECK(!std::filesystem::is_directory(file, error), "{}: is a folder, not a file", file.string());
  GANNET_CHECK(!std::filesystem::is_other(file, error), "{}: not a regular file", file.string());
  std::ifstream stream(file, std::ios::binary);
  GANNET_CHECK(stream, "cannot open {}: {}", file.string(), std::strerror(errno));
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  GANNET_CHECK(!error, "cannot read {}: {}", file.string(), error.message());
  GANNET_CHECK(size <= largest_file, "{}: too large for a configuration ({} bytes)", file.string(), size);
  std::ostringstream text;
  text << stream.rdbuf();
  return parse_json(text.str(), file.string());
}

bool is_utf8(const std::string& text) {
  try {
    static_cast<void>(json(text).dump());
    return true;
  } catch (const json::type_error&) {
    return false;
  }
}

void set_key(nlohmann::json& config, std::string_view assignment) {
  GANNET_CHECK(is_utf8(std::string(assignment)), "--set: the text is not UTF-8");
  const auto equals = assignment.find('=');
  GANNET_CHECK(equals != assignment.npos && equals > 0, "--set takes key=value, not '{}'", assignment);
  const std::string_view path = assignment.substr(0, equals);
  const std::string text(assignment.substr(equals + 1));
  nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  if (value.is_discarded()) value = text;
  GANNET_CHECK(path.find('/') == path.npos && path.find('~') == path.npos, "--set: '{}' is not a dotted path", path);
  nlohmann::json* node = &config;
  for (std::size_t start = 0;;) {
    const auto dot = path.find('.', start);
    const std::string name(path.substr(start, dot == path.npos ? dot : dot - start));
    GANNET_CHECK(!name.empty() && (node->is_object() || node->is_null()), "--set: '{}' is not a dotted path to a key", path);
    node = &(*node)[name];
    if (dot == path.npos) break;
    start = dot + 1;
  }
  *node = std::move(value);
}

std::vector<Key> all_keys(std::span<const Key> family_keys) {
  std::vector<Key> keys = common_keys();
  for (const Key& own : family_keys) {
    const auto same = std::find_if(keys.begin(), keys.end(), [&](const Key& key) { return key.path == own.path; });
    if (same == keys.end())
      keys.push_back(own);
    else
      *same = own;
  }
  return keys;
}

std::string first_difference(const Config& before, const Config& now, std::span<const std::string_view> ignored) {
  const nlohmann::json a = before.json().flatten(), b = now.json().flatten();
  nlohmann::json paths = a;
  paths.update(b);
  for (const auto& [pointer, unused] : paths.items()) {
    std::string path = pointer.substr(1);
    std::replace(path.begin(), path.end(), '/', '.');
    if (std::find(ignored.begin(), ignored.end(), path) != ignored.end()) continue;
    const std::string left = a.contains(pointer) ? a[pointer].dump() : "absent",
                      right = b.contains(pointer) ? b[pointer].dump() : "absent";
    if (left != right) return fmt::format("{}: {}, now {}", path, left, right);
  }
  return "";
}

}  // namespace gannet
