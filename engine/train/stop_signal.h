// The signals that stop a training, as something to ask for between steps: SIGINT, SIGTERM, SIGHUP (the terminal went away;
// not when it is ignored, as nohup has it) and SIGPIPE (whoever read the output went away).
#pragma once

#include <signal.h>

namespace gannet {

// While it lives, the signals wait to be taken instead of ending the process. Threads started meanwhile inherit that, so make
// it before any. Writing past a file size limit is an error of write() too, instead of a signal.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // The signal that came, or 0. After the first, a second one ends the process at once (SIGPIPE does not).
  int take();

 private:
  sigset_t signals_, previous_;
  int taken_ = 0;
};

}  // namespace gannet
