#include "engine/train/run_log.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <ctime>

namespace gannet {

RunLog::RunLog(std::FILE* out) : out_(out), terminal_(out && ::isatty(::fileno(out)) == 1) {}

RunLog::~RunLog() {
  if (shown_) std::fputc('\n', out_);
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

void RunLog::line(std::string_view text) {
  note(text);
  if (!out_) return;
  clear_progress();
  std::fprintf(out_, "%.*s\n", static_cast<int>(text.size()), text.data());
  std::fflush(out_);
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
    text = text.substr(0, window.ws_col - 1u);  // a line that wraps could not be replaced
  std::fprintf(out_, "\r%.*s\x1b[K", static_cast<int>(text.size()), text.data());
  std::fflush(out_);
  shown_ = true;
}

}  // namespace gannet
