#include "nccl/communicator.h"

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <unordered_map>

#include "machine/options.h"

namespace sim::nccl {
namespace {

struct Communicators {
  std::mutex mutex;
  std::unordered_map<const ncclComm*, std::shared_ptr<ncclComm>> alive;
  char last_error[1024] = "";
};

// Never destroyed: programs destroy communicators in the destructors of their static objects.
Communicators& communicators() {
  static Communicators* instance = new Communicators;
  return *instance;
}

// A program may end while a rank waits for one that never comes. What it has begun is given a time, then ended: the exit of a
// process with a GPU does not wait for anything.
void begin_exit() {
  std::thread([seconds = options().deadlock] {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    for (;;) {
      std::vector<std::shared_ptr<Mesh>> meshes;
      {
        const std::lock_guard lock(communicators().mutex);
        for (const auto& [handle, comm] : communicators().alive) {
          const std::lock_guard state(comm->mutex);
          if (comm->mesh) meshes.push_back(comm->mesh);
        }
      }
      for (const std::shared_ptr<Mesh>& mesh : meshes) mesh->interrupt();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }).detach();
}

[[gnu::constructor]] void watch_exit() {
  std::atexit([] {
    if (!communicators().alive.empty()) begin_exit();
  });
}

bool warns() {
  const char* level = std::getenv("NCCL_DEBUG");
  return level != nullptr &&
         (std::strcmp(level, "WARN") == 0 || std::strcmp(level, "INFO") == 0 || std::strcmp(level, "TRACE") == 0);
}

}  // namespace

std::shared_ptr<ncclComm> communicator(ncclComm_t handle) {
  const std::lock_guard lock(communicators().mutex);
  const auto found = communicators().alive.find(handle);
  if (found == communicators().alive.end())
    throw Failure(ncclInvalidArgument, "{} is no communicator, or was destroyed", static_cast<void*>(handle));
  return found->second;
}

std::shared_ptr<ncclComm> ready_communicator(ncclComm_t handle) {
  std::shared_ptr<ncclComm> comm = communicator(handle);
  const std::lock_guard lock(comm->mutex);
  if (comm->state == ncclInProgress || comm->unseen) {
    throw Failure(ncclInvalidArgument,
                  "the communicator is used before ncclCommGetAsyncError said that its last call, which returned "
                  "ncclInProgress, is done");
  }
  if (comm->state != ncclSuccess) throw Failure(comm->state, "the communicator has failed before");
  return comm;
}

ncclComm_t add_communicator(const std::shared_ptr<ncclComm>& comm) {
  const std::lock_guard lock(communicators().mutex);
  communicators().alive[comm.get()] = comm;
  return comm.get();
}

void remove_communicator(const ncclComm* comm) {
  const std::lock_guard lock(communicators().mutex);
  communicators().alive.erase(comm);
}

void say(const std::string& text) {
  // In one piece: other threads and processes write, too.
  const std::string line = "gannet-sim: " + text + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

void set_last_error(const std::string& text) {
  {
    const std::lock_guard lock(communicators().mutex);
    std::snprintf(communicators().last_error, sizeof communicators().last_error, "%s", text.c_str());
  }
  if (warns()) say("NCCL WARN " + text);
}

const char* last_error() { return communicators().last_error; }

void set_state(ncclComm& comm, ncclResult_t state) {
  const std::lock_guard lock(comm.mutex);
  comm.state = state;
  comm.changed.notify_all();
}

void set_error(ncclComm& comm, ncclResult_t error, const std::string& text) {
  set_last_error(text);
  set_state(comm, error);
}

void drain(ncclComm& comm) {
  cudaEvent_t event = nullptr;
  {
    const std::lock_guard lock(comm.launch_mutex);
    if (comm.eager.recorded) event = comm.eager.event;
  }
  if (event != nullptr) cudaEventSynchronize(event);
  std::unique_lock lock(comm.mutex);
  comm.changed.wait(lock, [&] { return !comm.busy; });
}

void stop_running(ncclComm& comm) {
  if (comm.mesh) comm.mesh->interrupt();
  std::unique_lock lock(comm.mutex);
  comm.changed.wait(lock, [&] { return !comm.busy; });
}

void destroy(const std::shared_ptr<ncclComm>& comm) {
  std::shared_ptr<Mesh> mesh;
  {
    const std::lock_guard lock(comm->mutex);
    comm->destroyed = true;
    mesh = comm->mesh;
  }
  if (mesh) mesh->close();
  {
    // Not when the last reference goes, which may be in the runtime, with its locks held.
    const std::lock_guard lock(comm->launch_mutex);
    for (StreamOrder* order : {&comm->eager, &comm->captured}) {
      if (order->event != nullptr) cudaEventDestroy(order->event);
      *order = {};
    }
  }
  remove_communicator(comm.get());
}

}  // namespace sim::nccl
