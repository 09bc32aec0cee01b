#include "nccl/mesh.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <unordered_map>

#include "error.h"
#include "nccl/mesh_peer.h"

namespace sim::nccl {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

struct Registry {
  std::mutex mutex;
  std::uint64_t next = 0;
  std::unordered_map<std::uint64_t, std::weak_ptr<Mesh>> meshes;
};

// Never destroyed: threads of meshes may outlive the static objects.
Registry& registry() {
  static Registry* instance = new Registry;
  return *instance;
}

std::uint64_t next_serial() {
  const std::lock_guard lock(registry().mutex);
  return ++registry().next;
}

}  // namespace

Mesh::Mesh(int capacity) : serial_(next_serial()) {
  for (int rank = 0; rank < capacity; ++rank) {
    peers_.push_back(std::make_unique<Peer>());
    peers_.back()->rank = rank;
  }
}

Mesh::~Mesh() {
  const std::lock_guard lock(registry().mutex);
  registry().meshes.erase(serial_);
}

std::shared_ptr<Mesh> Mesh::create(int capacity) {
  std::shared_ptr<Mesh> mesh(new Mesh(capacity));
  const std::lock_guard lock(registry().mutex);
  registry().meshes[mesh->serial_] = mesh;
  return mesh;
}

std::shared_ptr<Mesh> Mesh::find(std::uint64_t serial) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().meshes.find(serial);
  return found == registry().meshes.end() ? nullptr : found->second.lock();
}

void Mesh::join(int rank, std::vector<Link> links, std::string name) {
  const Lock lock(mutex_);
  name_ = std::move(name);
  rank_ = rank;
  size_ = static_cast<int>(links.size());
  for (int r = 0; r < size_; ++r) {
    Link& link = links[static_cast<std::size_t>(r)];
    if (auto* local = std::get_if<std::shared_ptr<Mesh>>(&link)) peer(r).local = std::move(*local);
    if (auto* socket = std::get_if<Socket>(&link)) {
      peer(r).socket = std::move(*socket);
      served_ = true;
    }
  }
  if (served_) {
    wake_ = Socket(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!wake_) throw Error("no eventfd: {}", std::strerror(errno));
    std::thread([self = shared_from_this()] { self->serve(); }).detach();
  }
}

void Mesh::tell(int to, Channel channel, std::uint64_t number, std::string message) {
  std::shared_ptr<Mesh> local;
  {
    const Lock lock(mutex_);
    Peer& p = peer(to);
    if (p.gone || closed_) return;
    local = p.local;
    if (!local) {
      Frame frame;
      frame.header.channel = static_cast<std::uint32_t>(channel);
      frame.header.operation = number;
      frame.header.bytes = message.size();
      frame.message = std::move(message);
      push(p, std::move(frame));
      return;
    }
  }
  const Lock lock(local->mutex_);
  local->peer(rank_).inbox[{channel, number}] = std::move(message);
  ++local->progress_;
  local->changed_.notify_all();
}

bool Mesh::heard(int from, Channel channel, std::uint64_t number) const { return peer(from).inbox.contains({channel, number}); }

std::optional<std::string> Mesh::take(int from, Channel channel, std::uint64_t number) {
  const Lock lock(mutex_);
  auto node = peer(from).inbox.extract({channel, number});
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

Outcome Mesh::hear(int from, Channel channel, std::uint64_t number, std::string& message, Patience& patience) {
  const Outcome outcome = wait([&] { return heard(from, channel, number); }, [&] { return std::vector<int>{from}; }, patience);
  if (outcome == Outcome::done) message = *take(from, channel, number);
  return outcome;
}

std::vector<std::pair<Channel, std::string>> Mesh::untaken(int from) const {
  const Lock lock(mutex_);
  std::vector<std::pair<Channel, std::string>> result;
  for (const auto& [key, message] : peer(from).inbox) result.emplace_back(key.first, message);
  return result;
}

bool Mesh::is_local(int rank) const {
  const Lock lock(mutex_);
  return peer(rank).local != nullptr;
}

void Mesh::start(Transfer& transfer) {
  std::shared_ptr<Mesh> local;
  {
    const Lock lock(mutex_);
    transfer.done = transfer.offered = transfer.copying = false;
    Peer& p = peer(transfer.peer);
    (transfer.outgoing ? sends_ : receives_)[{transfer.peer, transfer.key}] = &transfer;
    if (p.gone) return;
    local = p.local;
    if (!local) {
      Frame frame;
      frame.header.step = transfer.key.step;
      frame.header.operation = transfer.key.operation;
      frame.header.bytes = transfer.bytes;
      if (!transfer.outgoing) {
        frame.header.kind = FrameKind::ready;
        push(p, std::move(frame));
      } else if (p.ready.erase(transfer.key) != 0) {
        frame.header.kind = FrameKind::data;
        frame.data = transfer.data;
        frame.transfer = &transfer;
        push(p, std::move(frame));
      }
      return;
    }
    if (!transfer.outgoing) return;
  }
  const Lock lock(local->mutex_);
  if (local->closed_) return;
  transfer.offered = true;
  local->offers_.push_back({shared_from_this(), rank_, &transfer});
  local->changed_.notify_all();
}

void Mesh::withdraw(Transfer& transfer) {
  std::shared_ptr<Mesh> local;
  {
    Lock lock(mutex_);
    changed_.wait(lock, [&] { return !transfer.copying; });
    (transfer.outgoing ? sends_ : receives_).erase({transfer.peer, transfer.key});
    Peer& p = peer(transfer.peer);
    if (p.destination == &transfer) p.destination = nullptr;
    for (Frame& frame : p.out) {
      if (frame.transfer != &transfer) continue;
      frame.transfer = nullptr;
      frame.data = nullptr;
    }
    if (!transfer.offered || transfer.done) return;
    local = p.local;
  }
  {
    const Lock lock(local->mutex_);
    if (std::erase_if(local->offers_, [&](const Offer& offer) { return offer.transfer == &transfer; }) != 0) return;
  }
  // The receiver is copying it.
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return transfer.done; });
}

// Copies one piece from a peer of this process, if there is one for which a receive is posted. Gives the lock up meanwhile.
bool Mesh::copy_an_offer(Lock& lock) {
  for (std::size_t i = 0; i < offers_.size(); ++i) {
    const auto found = receives_.find({offers_[i].rank, offers_[i].transfer->key});
    if (found == receives_.end()) continue;
    const Offer offer = std::move(offers_[i]);
    Transfer& to = *found->second;
    offers_.erase(offers_.begin() + static_cast<std::ptrdiff_t>(i));
    receives_.erase(found);
    to.copying = true;
    lock.unlock();
    if (to.bytes != 0) std::memcpy(to.data, offer.transfer->data, std::min(to.bytes, offer.transfer->bytes));
    {
      const Lock other(offer.from->mutex_);
      offer.from->sends_.erase({offer.transfer->peer, offer.transfer->key});
      offer.transfer->done = true;
      ++offer.from->progress_;
      offer.from->changed_.notify_all();
    }
    lock.lock();
    to.copying = false;
    to.done = true;
    ++progress_;
    changed_.notify_all();
    return true;
  }
  return false;
}

Outcome Mesh::wait(const std::function<bool()>& ready, const std::function<std::vector<int>()>& awaited, Patience& patience) {
  Lock lock(mutex_);
  std::uint64_t seen = progress_;
  auto since = steady_clock::now();
  for (;;) {
    while (copy_an_offer(lock)) {
    }
    if (ready()) return Outcome::done;
    if (aborted_ || (interrupted_ && !patience.uninterruptible)) return Outcome::interrupted;
    if (patience.stop != nullptr && *patience.stop) return Outcome::stopped;
    const std::vector<int> ranks = awaited();
    if (std::any_of(ranks.begin(), ranks.end(), [&](int r) { return peer(r).gone; })) return Outcome::gone;
    const auto now = steady_clock::now();
    if (progress_ != seen) {
      seen = progress_;
      since = now;
    }
    if (!patience.complained && patience.complain && now - since > std::chrono::duration<double>(patience.seconds)) {
      patience.complained = true;
      lock.unlock();
      patience.complain(ranks);
      lock.lock();
      continue;
    }
    changed_.wait_for(lock, 50ms);
  }
}

Outcome Mesh::finish(std::vector<Transfer>& transfers, Patience& patience) {
  const Outcome outcome =
      wait([&] { return std::all_of(transfers.begin(), transfers.end(), [](const Transfer& t) { return t.done; }); },
           [&] {
             std::vector<int> ranks;
             for (const Transfer& t : transfers) {
               if (!t.done) ranks.push_back(t.peer);
             }
             return ranks;
           },
           patience);
  if (outcome != Outcome::done) {
    for (Transfer& t : transfers) withdraw(t);
  }
  return outcome;
}

bool Mesh::is_gone(int rank) const {
  const Lock lock(mutex_);
  return peer(rank).gone;
}

std::string Mesh::why_gone(int rank) const {
  const Lock lock(mutex_);
  return peer(rank).said_goodbye ? "has destroyed or aborted its communicator"
                                 : "can not be reached any more: its process has ended";
}

void Mesh::interrupt() {
  const Lock lock(mutex_);
  interrupted_ = true;
  changed_.notify_all();
}

void Mesh::abort() {
  const Lock lock(mutex_);
  interrupted_ = aborted_ = true;
  changed_.notify_all();
}

void Mesh::close() {
  std::vector<std::shared_ptr<Mesh>> locals;
  {
    const Lock lock(mutex_);
    if (closed_) return;
    for (const auto& p : peers_) {
      if (p->local) locals.push_back(std::move(p->local));
      if (p->socket && !p->gone) {
        Frame frame;
        frame.header.kind = FrameKind::goodbye;
        push(*p, std::move(frame));
      }
    }
    closed_ = true;
    if (served_) wake();
  }
  for (const std::shared_ptr<Mesh>& local : locals) {
    const Lock lock(local->mutex_);
    Peer& p = local->peer(rank_);
    p.gone = p.said_goodbye = true;
    local->changed_.notify_all();
  }
}

}  // namespace sim::nccl
