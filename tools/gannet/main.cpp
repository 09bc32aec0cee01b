// gannet: the command. Exit codes: 0 done, 1 failed at run time, 2 bad usage, configuration or input, 128 + N stopped by a
// signal.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <new>

#include "engine/parallel/world.h"
#include "kernels/check.h"
#include "tools/gannet/command.h"
#include "tools/gannet/usage.h"

namespace {

int fail(int code, std::string_view message) {
  std::fflush(stdout);
  fmt::print(stderr, "{}gannet: error: {}\n", gannet::rank_prefix(), message);
  return code;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Gannet trains generative adversarial networks.\n"
      "Exit codes: 0 done; 1 failed at run time; 2 bad usage, configuration or input; 128 + N stopped by signal N.",
      "gannet");
  app.set_version_flag("--version", "gannet " GANNET_VERSION);
  app.require_subcommand(1);
  app.formatter(gannet::tool::help_format());
  app.get_formatter()->column_width(34);
  gannet::tool::Chosen chosen;
  gannet::tool::add_train(app, chosen);
  gannet::tool::add_sample(app, chosen);
  gannet::tool::add_eval(app, chosen);
  gannet::tool::add_prepare(app, chosen);
  gannet::tool::add_bench(app, chosen);
  gannet::tool::add_info(app, chosen);
  gannet::tool::add_doctor(app, chosen);
  std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words[0] == "help") {  // gannet help train
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  int code = 0;
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // which takes the last word first
    code = chosen();
  } catch (const CLI::Success& asked) {  // --help, --version
    code = app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return fail(2, gannet::tool::usage_error(app, words, error));
  }
  std::cout.flush();
  std::fflush(stdout);
  if (code == 0 && (!std::cout || std::ferror(stdout) != 0)) return fail(1, "cannot write to the standard output");
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
