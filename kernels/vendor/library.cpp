#include "kernels/vendor/library.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <filesystem>
#include <vector>

#include "kernels/check.h"

namespace gannet::kernels::vendor {
namespace {

namespace fs = std::filesystem;

// Of the CUDA runtime that this program runs with; empty where it can not be told.
fs::path folder_of_runtime() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&cudaRuntimeGetVersion), &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code error;
  const fs::path library = fs::canonical(info.dli_fname, error);
  return error ? fs::path{} : library.parent_path();
}

}  // namespace

Library::Library(const std::string& soname, const std::string& wheel) : name_(soname) {
  std::vector<std::string> places{soname};
  if (const fs::path folder = folder_of_runtime(); !folder.empty()) {
    places.push_back(folder / soname);
    places.push_back(folder / "../.." / wheel / "lib" / soname);
  }
  std::string reason;
  for (const std::string& place : places) {
    handle_ = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return;
    // Of a library that is there and does not load, the reason counts.
    const std::string said = dlerror();
    if (reason.empty() || said.find("No such file") == said.npos) reason = said;
  }
  throw InputError(fmt::format("{} can not be loaded ({}); LD_LIBRARY_PATH may name its folder", soname, reason));
}

Library::~Library() {
  if (handle_ != nullptr) dlclose(handle_);
}

void* Library::address_of(const char* symbol) const {
  void* const address = dlsym(handle_, symbol);
  GANNET_CHECK(address != nullptr, "{} has no {}: another version of it is needed", name_, symbol);
  return address;
}

}  // namespace gannet::kernels::vendor
