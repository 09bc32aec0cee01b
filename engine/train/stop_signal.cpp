#include "engine/train/stop_signal.h"

#include <cerrno>
#include <cstring>
#include <ctime>

#include "kernels/check.h"

namespace gannet {
namespace {

bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// Takes one that is pending; 0 when none is.
int take_pending(const sigset_t& set) {
  const timespec now{};
  const int signal = sigtimedwait(&set, nullptr, &now);
  if (signal > 0) return signal;
  if (errno != EAGAIN && errno != EINTR) throw RuntimeError(fmt::format("cannot wait for signals: {}", std::strerror(errno)));
  return 0;
}

}  // namespace

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) sigaddset(&signals_, signal);
  if (!is_ignored(SIGHUP)) sigaddset(&signals_, SIGHUP);
  sigset_t set = signals_;
  sigaddset(&set, SIGXFSZ);
  const int error = pthread_sigmask(SIG_BLOCK, &set, &previous_);
  if (error != 0) throw RuntimeError(fmt::format("cannot block signals: {}", std::strerror(error)));
}

StopSignal::~StopSignal() {
  sigset_t set = signals_;
  sigaddset(&set, SIGXFSZ);
  const timespec now{};
  while (sigtimedwait(&set, nullptr, &now) > 0) {
  }  // what is pending is answered: it must not end the process on its way out
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

int StopSignal::take() {
  if (taken_ != 0) return taken_;
  taken_ = take_pending(signals_);
  if (taken_ != 0) {
    sigset_t again = signals_;
    sigdelset(&again, SIGPIPE);
    pthread_sigmask(SIG_UNBLOCK, &again, nullptr);
  }
  return taken_;
}

}  // namespace gannet
