// The subcommands of `gannet`. Each adds its options and help to the command line, and what it does when it is the one chosen.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace gannet::tool {

// The command that the user gave; it returns the exit code.
using Chosen = std::function<int()>;

void add_train(CLI::App& app, Chosen& chosen);
void add_sample(CLI::App& app, Chosen& chosen);
void add_eval(CLI::App& app, Chosen& chosen);
void add_prepare(CLI::App& app, Chosen& chosen);
void add_bench(CLI::App& app, Chosen& chosen);
void add_info(CLI::App& app, Chosen& chosen);
void add_doctor(CLI::App& app, Chosen& chosen);

}  // namespace gannet::tool
