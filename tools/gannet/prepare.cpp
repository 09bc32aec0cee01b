// gannet prepare
#include "engine/data/prepare.h"

#include <fmt/format.h>

#include "engine/data/image.h"
#include "tools/gannet/command.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {
namespace {

int run(const PrepareOptions& options) {
  const PrepareSummary summary = prepare(options);
  fmt::print("{}:\n{}", options.out.string(), to_string(summary));
  return 0;
}

std::string footer() {
  std::string text = "Kinds:\n";
  for (const PrepareKind& kind : prepare_kinds())
    text += fmt::format("  {:<9}{}. SOURCE: {}\n", kind.name, kind.summary, kind.source);
  text += "The dataset file appears when it is complete, or not at all.";
  return text;
}

}  // namespace

void add_prepare(CLI::App& app, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("prepare", "Turn a source of pictures into a dataset file");
  auto options = std::make_shared<PrepareOptions>();
  std::vector<std::string> kinds, filters;
  for (const PrepareKind& kind : prepare_kinds()) kinds.emplace_back(kind.name);
  for (const ResizeFilterName& filter : resize_filters()) filters.emplace_back(filter.name);
  one_of(command->add_option("KIND", options->kind, "What SOURCE is"), kinds)->required();
  path(command->add_option("SOURCE", options->source, "A file or folder"), "")->required();
  path(command->add_option("--out", options->out, "The dataset file to write (always needed)"), "FILE")->required();
  whole_number(command->add_option("--size", options->size,
                                   "Side of the square pictures; 0: as in the source, 64 for emoji; folder needs it"),
               0, 8192)
      ->capture_default_str();
  one_of(command->add_option("--channels", options->channels, "Of the pictures; 0: as in the source"), {"0", "1", "3"})
      ->capture_default_str();
  one_of(command->add_option("--filter", options->filter, "How pictures are resized"), filters)->capture_default_str();
  command->add_flag("--pad", options->pad, "idx, cifar10: reach --size with a border of zeros instead of resizing");
  whole_number(command->add_option("--limit", options->limit, "Keep at most so many pictures, evenly spaced; 0: all"), 0)
      ->capture_default_str();
  one_of(command->add_option("--split", options->split, "idx, cifar10, of a folder: which pictures"), {"train", "test"})
      ->capture_default_str();
  command->add_option("--classes", options->classes, "idx: names of the labels 0, 1, …, separated by commas")
      ->delimiter(',')
      ->type_name("NAME,NAME");
  command->add_flag("--skip-bad", options->skip_bad, "folder: pass over files that cannot be decoded");
  path(command->add_option("--names", options->names, "emoji: captions from a CLDR annotations file (en.xml)"), "FILE");
  path(command->add_option("--groups", options->groups, "emoji: labels from Unicode's emoji-test.txt"), "FILE");
  command->add_flag("--force", options->force, "Replace an existing file");
  command->footer(footer());
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace gannet::tool
