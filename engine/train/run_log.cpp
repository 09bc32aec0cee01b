#include "engine/train/run_log.h"

#include <fmt/format.h>
#include <stdio_ext.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <ctime>

namespace gannet {
namespace {

// Whole figures, which two spaces part: half of one would be another.
std::string_view that_fits(std::string_view text, std::size_t columns) {
  if (text.size() <= columns) return text;
  const auto end = text.rfind("  ", columns);
  return text.substr(0, end == text.npos ? columns : end);
}

}  // namespace

RunLog::RunLog(std::FILE* out) : out_(out), terminal_(out && ::isatty(::fileno(out)) == 1) {}

RunLog::~RunLog() {
  if (out_ && shown_) std::fputc('\n', out_);
}

void RunLog::note(std::string_view text) {
  if (!opened_) return;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char stamp[32];
  file_.append({stamp, std::strftime(stamp, sizeof(stamp), "%F %T  ", &local)});
  file_.append(text);
  file_.append("\n");
  file_.flush();
}

void RunLog::clear_progress() {
  if (shown_) std::fputs("\r\x1b[K", out_);
  shown_ = false;
}

// A terminal or a reader that went away is left alone from there on; the file has it all.
void RunLog::flush_out() {
  if (std::fflush(out_) == 0) return;
  __fpurge(out_);
  out_ = nullptr;
  terminal_ = false;
}

void RunLog::line(std::string_view text) {
  note(text);
  if (!out_) return;
  clear_progress();
  std::fprintf(out_, "%.*s\n", static_cast<int>(text.size()), text.data());
  flush_out();
}

void RunLog::progress_line(std::string_view text) {
  if (terminal_)
    note(text);
  else
    line(text);
}

void RunLog::progress(std::string_view text) {
  winsize window{};
  if (::ioctl(::fileno(out_), TIOCGWINSZ, &window) == 0 && window.ws_col > 1)
    text = that_fits(text, window.ws_col - 1u);  // a line that wraps could not be replaced
  std::fprintf(out_, "\r%.*s\x1b[K", static_cast<int>(text.size()), text.data());
  shown_ = true;
  flush_out();
}

}  // namespace gannet
