#include "engine/train/progress.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace gannet {
namespace {

constexpr std::chrono::seconds longest_silence{10};
constexpr std::chrono::milliseconds refresh{200};

}  // namespace

Progress::Progress(RunLog& log, std::int64_t total, std::int64_t batch, std::int64_t log_every)
    : log_(log), total_(total), batch_(batch), log_every_(log_every), last_line_(Clock::now()), last_progress_(last_line_) {
  text_.reserve(1024);
}

void Progress::show(std::int64_t made, double seconds, const Step& step) {
  ++measured_;
  step_seconds_ += (seconds - step_seconds_) / static_cast<double>(std::min<std::int64_t>(measured_, 50));
  const Clock::time_point now = Clock::now();
  const bool line = made % log_every_ == 0 || made == total_ || now - last_line_ >= longest_silence;
  const bool refreshed = log_.terminal() && now - last_progress_ >= refresh;
  if (!line && !refreshed) return;
  compose(made, step);
  const std::string_view text(text_.data(), text_.size());
  if (line) log_.progress_line(text);
  if (log_.terminal()) log_.progress(text);
  if (line) last_line_ = now;
  last_progress_ = now;
}

void Progress::compose(std::int64_t made, const Step& step) {
  static constexpr std::pair<const char*, const char*> shown[] = {
      {"loss_d", "loss_d"}, {"loss_g", "loss_g"}, {"d_real", "D(x)"}, {"d_fake", "D(G(z))"}};
  text_.clear();
  const auto out = std::back_inserter(text_);
  const std::int64_t left = std::lround(static_cast<double>(total_ - made) * step_seconds_);
  fmt::format_to(out, "step {}/{}  {:.1f} images/s  left {}:{:02}:{:02}", made, total_,
                 static_cast<double>(batch_) / step_seconds_, left / 3600, left / 60 % 60, left % 60);
  for (const auto& [name, label] : shown)
    if (const double value = step.figure(name); !std::isnan(value)) fmt::format_to(out, "  {} {:.4f}", label, value);
}

}  // namespace gannet
