// gannet prepare
#include "engine/data/prepare.h"

#include <fmt/format.h>

#include "engine/data/image.h"
#include "tools/gannet/command.h"

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
  command->add_option("KIND", options->kind, "What SOURCE is")->required()->check(CLI::IsMember(kinds));
  command->add_option("SOURCE", options->source, "A file or folder")->required();
  command->add_option("--out", options->out, "The dataset file to write")->required()->type_name("FILE");
  command
      ->add_option("--size", options->size, "Side of the square pictures; 0: as in the source, 64 for emoji; folder needs it")
      ->check(CLI::Range(0, 8192))
      ->capture_default_str();
  command->add_option("--channels", options->channels, "1 or 3; 0: as in the source")
      ->check(CLI::IsMember({0, 1, 3}))
      ->capture_default_str();
  command->add_option("--filter", options->filter, "How pictures are resized")
      ->check(CLI::IsMember(filters))
      ->capture_default_str();
  command->add_flag("--pad", options->pad, "idx, cifar10: reach --size with a border of zeros instead of resizing");
  command->add_option("--limit", options->limit, "Keep at most so many pictures, evenly spaced; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--split", options->split, "idx, cifar10, of a folder: train or test")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  command->add_option("--classes", options->classes, "idx: names of the labels 0, 1, …, separated by commas")
      ->delimiter(',')
      ->type_name("NAME,…");
  command->add_flag("--skip-bad", options->skip_bad, "folder: pass over files that cannot be decoded");
  command->add_option("--names", options->names, "emoji: captions from a CLDR annotations file (en.xml)")->type_name("FILE");
  command->add_option("--groups", options->groups, "emoji: labels from Unicode's emoji-test.txt")->type_name("FILE");
  command->add_flag("--force", options->force, "Replace an existing file");
  command->footer(footer());
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace gannet::tool
