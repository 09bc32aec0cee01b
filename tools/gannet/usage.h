// How the command line is read and explained: what an option takes, what is wrong with what was given, and the help.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gannet::tool {

// The option takes a whole number of the range.
CLI::Option* whole_number(CLI::Option* option, std::int64_t least,
                          std::int64_t most = std::numeric_limits<std::int64_t>::max());
CLI::Option* one_of(CLI::Option* option, const std::vector<std::string>& choices);
// The option takes a path, which is not empty. type: what the help calls it.
CLI::Option* path(CLI::Option* option, const std::string& type);

// "--count N [64]": what an option takes and its default.
std::shared_ptr<CLI::FormatterBase> help_format();

// What is wrong with these words, and where help is. error: what the parser says.
std::string usage_error(const CLI::App& app, std::span<const std::string> words, const CLI::ParseError& error);

}  // namespace gannet::tool
