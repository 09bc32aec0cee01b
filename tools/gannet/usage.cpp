#include "tools/gannet/usage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "engine/train/nearest.h"

namespace gannet::tool {
namespace {

class HelpFormat final : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";  // a flag
    std::string text;
    if (!option->get_type_name().empty()) text += " " + option->get_type_name();
    if (const std::string initial = option->get_default_str(); !initial.empty())
      text += initial.starts_with('[') ? " " + initial : " [" + initial + "]";  // a list has brackets already
    if (option->get_expected_max() == CLI::detail::expected_max_vector_size) text += " ...";
    return text;
  }
};

}  // namespace

CLI::Option* whole_number(CLI::Option* option, std::int64_t least, std::int64_t most) {
  const auto check = [least, most](const std::string& text) -> std::string {
    std::int64_t value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, failure] = std::from_chars(text.data(), last, value);
    if (failure == std::errc() && end == last && value >= least && value <= most) return "";
    const bool bounded = most < std::numeric_limits<std::int64_t>::max();
    const std::string range = bounded ? fmt::format("from {} to {}", least, most) : fmt::format("of at least {}", least);
    return fmt::format("must be a whole number {}, not '{}'", range, text);
  };
  return option->type_name("N")->check(check, "");
}

CLI::Option* one_of(CLI::Option* option, const std::vector<std::string>& choices) {
  const auto check = [choices](const std::string& text) -> std::string {
    if (std::find(choices.begin(), choices.end(), text) != choices.end()) return "";
    return fmt::format("must be {}, not '{}'", fmt::join(choices, " or "), text);
  };
  return option->type_name(fmt::format("{}", fmt::join(choices, "|")))->check(check, "");
}

CLI::Option* path(CLI::Option* option, const std::string& type) {
  const auto check = [](const std::string& text) -> std::string { return text.empty() ? "must be a path, not ''" : ""; };
  return option->type_name(type)->check(check, "");
}

std::shared_ptr<CLI::FormatterBase> help_format() { return std::make_shared<HelpFormat>(); }

std::string usage_error(const CLI::App& app, std::span<const std::string> words, const CLI::ParseError& error) {
  const CLI::App* at = &app;
  std::string command = app.get_name();
  for (std::size_t i = 0;; ++i) {
    std::vector<std::string> names;
    for (const CLI::App* below : at->get_subcommands(nullptr)) names.push_back(below->get_name());
    if (names.empty()) return fmt::format("{} ({} --help)", error.what(), command);
    const std::string all = fmt::format("{}", fmt::join(names, ", "));
    if (i == words.size()) return fmt::format("a subcommand is missing: {} ({} --help)", all, command);
    if (words[i].starts_with('-')) return fmt::format("{} has no option '{}' ({} --help)", command, words[i], command);
    if (std::find(names.begin(), names.end(), words[i]) == names.end())
      return fmt::format("{} has no command '{}'; the nearest is '{}' ({})", command, words[i], nearest(words[i], names), all);
    at = at->get_subcommand(words[i]);
    command += " " + words[i];
  }
}

}  // namespace gannet::tool
