// Which of two kernels is the faster: timed once for each spec and machine, and kept in a file.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"

namespace gannet::kernels::vendor {

struct Times {
  double native = 0, vendor = 0;  // seconds
};

using Log = std::function<void(const std::string&)>;

class Timings {
 public:
  // machine: all that times depend on beside the spec (device, driver, versions). file: read where it is there; what can not be
  // read, or is not such a file, is measured anew, as a line of the log says.
  Timings(std::filesystem::path file, std::string machine, Log log);

  // What is in the file of this machine and spec; else what `measure` finds, which goes into the file. That it can not be
  // written is a line of the log.
  Times of(const std::string& spec, const std::function<Times()>& measure);

 private:
  void write() const;

  std::filesystem::path file_;
  std::string machine_;
  Log log_;
  std::map<std::string, Times> times_;  // of this machine
};

// $XDG_CACHE_HOME/gannet/kernels.json, or that below ~/.cache; empty where neither is known.
std::filesystem::path timings_file();

// Everything that tells one spec from another, as text.
std::string key_of(const KernelSpec& spec, bool tf32);

// Of one run: the median of several graphs of runs in memory of their own, after some that do not count.
double seconds_of(Kernel& kernel, const KernelSpec& spec, const cuda::Device& device);

}  // namespace gannet::kernels::vendor
