// The end of the program: what is left to do is done, then the findings are told.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "machine/options.h"
#include "machine/profile.h"
#include "machine/report.h"
#include "runtime/process.h"

namespace sim::runtime {
namespace {

constexpr int kFindings = 3;
constexpr std::chrono::duration<double> kPatience{60};

/// A host that follows a pointer to device memory: the program ends as it would, and is told why.
void explain_fault(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<Address>(info->si_addr);
  if (address >= kDeviceBase && address < kHostBase) {
    char text[200];
    const auto end = fmt::format_to_n(text, sizeof text, "gannet-sim: the host accesses {:#x}, which is memory of device {}\n",
                                      address, (address - kDeviceBase) / kDeviceSpan);
    (void)!write(STDERR_FILENO, text, std::min(end.size, sizeof text));
  }
  std::signal(signal, SIG_DFL);  // it happens again, and ends the program
}

/// Runs after the destructors of the program's static objects, since it is registered before main's are.
void at_exit(int, void*) {
  if (!Process::exists()) return;
  std::fflush(nullptr);
  try {
    Process& process = Process::instance();
    Lock lock(process.mutex);
    // What the program did not wait for is still run, for its findings. A host function that ends the program would wait for
    // itself.
    const std::string stuck = this_thread().in_host_function ? "" : process.scheduler.drain_for(lock, kPatience);
    if (!stuck.empty()) {
      Finding finding{};
      finding.fault = Fault::timeout;
      finding.warning = true;
      finding.message =
          fmt::format("the program ended without waiting for '{}', which has run for {:.0f} s since", stuck, kPatience.count());
      finding.place.kernel = stuck;
      Report::instance().add(std::move(finding));
    }
    for (const Device& device : process.devices) process.flush_printed(device.index);
    report_leaks(-1);
    lock.unlock();
    std::fflush(stdout);
    Report::instance().print_summary();
    if (!options().profile.empty()) write_profile();
  } catch (const Error& e) {
    stop(e.what());
  }
  std::fflush(nullptr);
  if (Report::instance().errors() != 0) _exit(kFindings);
}

__attribute__((constructor)) void register_exit() {
  if (on_exit(at_exit, nullptr) != 0) stop("the end of the program can not be watched");
  struct sigaction action {};
  action.sa_sigaction = explain_fault;
  action.sa_flags = SA_SIGINFO;
  struct sigaction known {};
  if (sigaction(SIGSEGV, nullptr, &known) == 0 && known.sa_handler == SIG_DFL) sigaction(SIGSEGV, &action, nullptr);
}

}  // namespace

void report_leaks(int device) {
  if (!options().leakcheck) return;
  for (const Allocation* a : Memory::instance().living()) {
    const bool stays = a->kind == MemoryKind::registered || a->kind == MemoryKind::variable || a->kind == MemoryKind::constant;
    if (stays || !a->name.empty() || (device >= 0 && a->device != device)) continue;
    Finding finding{};
    finding.fault = Fault::leak;
    finding.message = fmt::format("{} bytes at {:#x} of device {} were not freed", a->end - a->base, a->base, a->device);
    finding.place.kernel = fmt::format("allocation {}", a->serial);
    Report::instance().add(std::move(finding));
  }
}

}  // namespace sim::runtime
