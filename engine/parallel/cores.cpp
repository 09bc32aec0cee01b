#include "engine/parallel/cores.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <tuple>

#include "kernels/check.h"

namespace gannet {
namespace {

std::string first_line(const std::string& file) {
  std::string line;
  std::ifstream(file) >> line;
  return line;
}

int topology(int processor, const char* what, int otherwise) {
  const std::string text = first_line(fmt::format("/sys/devices/system/cpu/cpu{}/topology/{}", processor, what));
  return text.empty() ? otherwise : std::atoi(text.c_str());
}

std::vector<Processor> allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<Processor> processors;
  if (::sched_getaffinity(0, sizeof set, &set) != 0)
    return processors;  // a host with more than such a set has: all stays as is
  for (int number = 0; number < CPU_SETSIZE; ++number)
    if (CPU_ISSET(number, &set))
      processors.push_back({number, topology(number, "physical_package_id", 0), topology(number, "core_id", number)});
  return processors;
}

// The machine, not its name: containers on it share its processors too.
std::string machine() { return first_line("/proc/sys/kernel/random/boot_id"); }

}  // namespace

std::vector<int> share_of(std::vector<Processor> processors, int place, int places) {
  std::sort(processors.begin(), processors.end(), [](const Processor& a, const Processor& b) {
    return std::tie(a.package, a.core, a.number) < std::tie(b.package, b.core, b.number);
  });
  // The first thread of each core begins one that can be given away as a whole.
  std::vector<std::size_t> cores;
  for (std::size_t i = 0; i < processors.size(); ++i)
    if (i == 0 || processors[i].package != processors[i - 1].package || processors[i].core != processors[i - 1].core)
      cores.push_back(i);
  const auto count = static_cast<std::size_t>(places), at = static_cast<std::size_t>(place);
  if (cores.size() < count) {  // threads of a core go to different ranks
    cores.resize(processors.size());
    for (std::size_t i = 0; i < cores.size(); ++i) cores[i] = i;
  }
  if (cores.empty()) return {};
  const std::size_t begin = cores.size() < count ? at % cores.size() : cores.size() * at / count;
  const std::size_t end = cores.size() < count ? begin + 1 : cores.size() * (at + 1) / count;
  const std::size_t last = end == cores.size() ? processors.size() : cores[end];
  std::vector<int> numbers;
  for (std::size_t i = cores[begin]; i < last; ++i) numbers.push_back(processors[i].number);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

int take_share_of_processors(Group& group) {
  const std::vector<Processor> processors = allowed_processors();
  std::string mine = machine();
  for (const Processor& processor : processors) mine += fmt::format(" {}", processor.number);
  const std::vector<std::string> all = group.gather(mine);
  const auto places = static_cast<int>(std::count(all.begin(), all.end(), mine));
  const auto place = static_cast<int>(std::count(all.begin(), all.begin() + group.rank(), mine));
  const std::vector<int> share = share_of(processors, place, places);
  if (share.empty()) return 1;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int number : share) CPU_SET(number, &set);
  if (places > 1 && ::sched_setaffinity(0, sizeof set, &set) != 0)
    throw RuntimeError(fmt::format("cannot take {} of this host's processors: {}", share.size(), std::strerror(errno)));
  const auto threads = static_cast<int>(share.size());
  const char* const wanted = std::getenv("OMP_NUM_THREADS");
  if (wanted == nullptr || std::atoi(wanted) <= 0 || group.world().launcher == "torchrun") return threads;
  return std::min(threads, std::atoi(wanted));
}

}  // namespace gannet
