// `gannet prepare`: turns a source of pictures into a dataset file (see dataset.h). One file per kind of source.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"

namespace gannet {

struct PrepareOptions {
  std::string kind;              // one of prepare_kinds()
  std::filesystem::path source;  // see PrepareKind::source
  std::filesystem::path out;     // the dataset file

  int size = 0;      // side of the square pictures; 0: as in the source (idx, cifar10), 64 (emoji); folder needs it
  int channels = 0;  // 1 or 3; 0: as in the source (idx 1, others 3)
  std::string filter = "lanczos";    // how pictures are resized: a name of resize_filters() in image.h
  bool pad = false;                  // idx, cifar10: reach `size` with a border of zeros instead of resizing
  std::int64_t limit = 0;            // keep at most this many pictures, evenly spaced over the source; 0: all
  std::string split = "train";       // idx and cifar10 where the source is a folder: "train" or "test"
  std::vector<std::string> classes;  // idx: names of the labels 0, 1, …; empty: the numbers
  bool skip_bad = false;             // folder: pass over files that cannot be decoded
  bool force = false;                // replace an existing file
  std::filesystem::path names;       // emoji: a CLDR annotations file -> `captions`; empty: none
  std::filesystem::path groups;      // emoji: Unicode's emoji-test.txt -> `labels`, and only what it lists; empty: none
};

struct PrepareSummary {
  Shape images;              // (N,H,W,C)
  std::uintmax_t bytes = 0;  // of the file
  bool labelled = false;
  std::vector<std::string> classes;     // names of the labels
  std::vector<std::int64_t> histogram;  // pictures per class
  std::int64_t captions = 0;            // pictures with a caption
  std::vector<std::string> skipped;     // with skip_bad: "FILE: what is wrong"
  std::int64_t ignored = 0;             // files of a folder that are neither PNG nor JPEG by name
};

// For the help of the command.
struct PrepareKind {
  std::string_view name;
  std::string_view source;   // what SOURCE may be
  std::string_view summary;  // a line
};
std::span<const PrepareKind> prepare_kinds();

// Writes options.out, all of it or nothing. InputError names the file at fault: a missing, truncated, corrupt or empty source,
// options that do not fit the kind, an existing `out` without `force`. RuntimeError: the disk is full or not writable.
PrepareSummary prepare(const PrepareOptions& options);

// The summary as lines for a terminal, with a histogram of the labels.
std::string to_string(const PrepareSummary& summary);

}  // namespace gannet
