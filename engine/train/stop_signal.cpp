#include "engine/train/stop_signal.h"

#include <cerrno>
#include <cstring>
#include <ctime>

#include "kernels/check.h"

namespace gannet {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

StopSignal::StopSignal() {
  sigset_t set = stop_signals();
  sigaddset(&set, SIGXFSZ);
  const int error = pthread_sigmask(SIG_BLOCK, &set, &previous_);
  if (error != 0) throw RuntimeError(fmt::format("cannot block signals: {}", std::strerror(error)));
}

StopSignal::~StopSignal() {
  const sigset_t set = stop_signals();
  const timespec now{};
  sigset_t limit;
  sigemptyset(&limit);
  sigaddset(&limit, SIGXFSZ);
  while (sigtimedwait(&set, nullptr, &now) > 0 || sigtimedwait(&limit, nullptr, &now) > 0) {
  }  // what is pending is answered: it must not end the process on its way out
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

int StopSignal::take() {
  if (taken_ != 0) return taken_;
  const sigset_t set = stop_signals();
  const timespec now{};
  const int signal = sigtimedwait(&set, nullptr, &now);
  if (signal > 0) {
    taken_ = signal;
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  } else if (errno != EAGAIN && errno != EINTR) {
    throw RuntimeError(fmt::format("cannot wait for signals: {}", std::strerror(errno)));
  }
  return taken_;
}

}  // namespace gannet
