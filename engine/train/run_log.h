// What a run says: lines to log.txt and the terminal, and on a terminal one line of progress that is kept up to date.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "engine/train/output_file.h"

namespace gannet {

class RunLog {
 public:
  // out: where lines are printed; null: nowhere.
  explicit RunLog(std::FILE* out);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  // From here on lines go to the file too, with the time.
  void open(const std::filesystem::path& file) {
    file_ = OutputFile(file);
    opened_ = true;
  }
  void line(std::string_view text);
  // To the file alone: what the terminal hears of by another way.
  void note(std::string_view text);
  // A line for those who read later; on a terminal the progress line says the same.
  void progress_line(std::string_view text);
  // Replaces the progress line of a terminal.
  void progress(std::string_view text);
  bool terminal() const { return terminal_; }

 private:
  void clear_progress();
  void flush_out();

  std::FILE* out_;  // null when it cannot be written to any more
  bool terminal_;
  bool shown_ = false;
  bool opened_ = false;
  OutputFile file_;
};

}  // namespace gannet
