#include "engine/parallel/nccl_library.h"

#include <dlfcn.h>
#include <link.h>

#include <filesystem>
#include <type_traits>
#include <vector>

#include "kernels/check.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

constexpr const char* name = "libnccl.so.2";

// Of the CUDA runtime of this process; empty where there is none.
fs::path folder_of_runtime() {
  std::string found;
  const auto look = [](dl_phdr_info* library, std::size_t, void* result) {
    const fs::path path = library->dlpi_name;
    if (!path.filename().string().starts_with("libcudart.so")) return 0;
    *static_cast<std::string*>(result) = path.string();
    return 1;
  };
  dl_iterate_phdr(look, &found);
  std::error_code error;
  const fs::path library = fs::canonical(found, error);
  return error ? fs::path{} : library.parent_path();
}

void* opened() {
  std::vector<std::string> places{name};
  if (const fs::path folder = folder_of_runtime(); !folder.empty()) {
    places.push_back(folder / name);
    places.push_back(folder / "../../nccl/lib" / name);
  }
  std::string reason;
  for (const std::string& place : places) {
    if (void* const library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    const std::string said = dlerror();
    // Of a library that is there and does not load, the reason counts.
    if (reason.empty() || said.find("No such file") == said.npos) reason = said;
  }
  throw RuntimeError(
      fmt::format("GPUs of several processes train together by NCCL, which can not be loaded ({}); install it, or set "
                  "LD_LIBRARY_PATH to its "
                  "folder",
                  reason));
}

Nccl loaded() {
  void* const library = opened();
  Nccl nccl{};
  const auto bind = [&](auto& function, const char* symbol) {
    void* const address = dlsym(library, symbol);
    if (address == nullptr) throw RuntimeError(fmt::format("{} has no {}: a newer version is needed", name, symbol));
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
  };
  bind(nccl.version, "ncclGetVersion");
  bind(nccl.unique_id, "ncclGetUniqueId");
  bind(nccl.init, "ncclCommInitRank");
  bind(nccl.destroy, "ncclCommDestroy");
  bind(nccl.abort, "ncclCommAbort");
  bind(nccl.all_reduce, "ncclAllReduce");
  bind(nccl.group_start, "ncclGroupStart");
  bind(nccl.group_end, "ncclGroupEnd");
  bind(nccl.error_text, "ncclGetErrorString");
  bind(nccl.last_error, "ncclGetLastError");
  return nccl;
}

}  // namespace

void Nccl::check(Result result, const char* doing) const {
  if (result == success) return;
  const std::string last = last_error(nullptr);
  throw RuntimeError(
      fmt::format("NCCL {}: {} failed: {}{}{}", version_text(), doing, error_text(result), last.empty() ? "" : ": ", last));
}

std::string Nccl::version_text() const {
  int number = 0;
  if (version(&number) != success) return "of an unknown version";
  return fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

const Nccl& nccl() {
  static const Nccl library = loaded();
  return library;
}

}  // namespace gannet
