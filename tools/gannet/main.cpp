// gannet: the command. Exit codes: 0 done, 1 failed at run time, 2 bad usage, configuration or input, 128 + N stopped by a
// signal.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>

#include "engine/train/nearest.h"
#include "kernels/check.h"
#include "tools/gannet/command.h"

namespace {

int fail(int code, std::string_view message) {
  std::fflush(stdout);
  fmt::print(stderr, "gannet: error: {}\n", message);
  return code;
}

// "trian" is a command that there is not, which says more than that one is required.
std::string usage_error(const CLI::App& app, std::string_view first, const CLI::ParseError& error) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  if (first.empty() || first.starts_with('-') || std::find(names.begin(), names.end(), first) != names.end())
    return fmt::format("{} (gannet --help, gannet COMMAND --help)", error.what());
  return fmt::format("there is no command '{}'; the nearest is '{}' ({})", first, gannet::nearest(first, names),
                     fmt::join(names, ", "));
}

int run(int argc, char** argv) {
  CLI::App app(
      "Gannet trains generative adversarial networks.\n"
      "Exit codes: 0 done; 1 failed at run time; 2 bad usage, configuration or input; 128 + N stopped by signal N.",
      "gannet");
  app.set_version_flag("--version", "gannet " GANNET_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  gannet::tool::Chosen chosen;
  gannet::tool::add_train(app, chosen);
  gannet::tool::add_sample(app, chosen);
  gannet::tool::add_eval(app, chosen);
  gannet::tool::add_prepare(app, chosen);
  gannet::tool::add_bench(app, chosen);
  gannet::tool::add_info(app, chosen);
  gannet::tool::add_doctor(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return fail(2, usage_error(app, argc > 1 ? argv[1] : "", error));
  }
  const int code = chosen();
  if (std::fflush(stdout) != 0) return fail(1, "cannot write to the standard output");
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const gannet::InputError& error) {
    return fail(2, error.what());
  } catch (const std::bad_alloc&) {
    return fail(1, "not enough memory (gannet train --dry-run says what a run takes)");
  } catch (const std::exception& error) {
    return fail(1, error.what());
  }
}
