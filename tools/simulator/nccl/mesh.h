#pragma once
#include <array>
#include <atomic>
#include <compare>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "nccl/socket.h"

namespace sim::nccl {

/// What a message is about. Messages of one channel between two ranks are numbered by both ends.
enum class Channel : std::uint32_t { collective, send, receive, connection, management };

/// Names a transfer between two ranks in one direction; the same at both ends and never used twice.
struct Key {
  std::uint64_t operation = 0;
  std::uint32_t step = 0;
  auto operator<=>(const Key&) const = default;
};

/// A piece of data on its way. The sender gives it up when the receiver has all of it; the receiver when the sender knows. So a
/// process may end as soon as its transfers are done.
struct Transfer {
  int peer = 0;
  Key key;
  bool outgoing = false;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  // Guarded by the mesh.
  bool done = false;
  bool offered = false;  // outgoing: a peer of this process knows of it
  bool copying = false;  // incoming: a thread is writing it
};

enum class Outcome {
  done,
  interrupted,  // Mesh::interrupt or Mesh::abort
  stopped,      // Patience::stop
  gone,         // a rank that was waited for has left
};

/// How long a wait lasts and what happens meanwhile.
struct Patience {
  const std::atomic<bool>* stop = nullptr;
  double seconds = 10;                                    // without any progress, after which `complain` is called, once
  std::function<void(const std::vector<int>&)> complain;  // with the ranks that are waited for
  bool uninterruptible = false;                           // only Mesh::abort ends it
  bool complained = false;
};

class Mesh;
/// How a peer is reached: it is in this process, or there is a connection.
using Link = std::variant<std::monostate, std::shared_ptr<Mesh>, Socket>;

/// One rank's end of the connections between all ranks of a communicator. Ranks of one process copy directly from memory to
/// memory; for the others a thread of the mesh moves data through non-blocking sockets, so large messages in both directions do
/// not block each other.
class Mesh : public std::enable_shared_from_this<Mesh> {
 public:
  /// `capacity`: no more ranks than this.
  static std::shared_ptr<Mesh> create(int capacity);
  ~Mesh();

  /// A mesh of this process by its number, which is never used twice; null when there is none (any more).
  static std::shared_ptr<Mesh> find(std::uint64_t serial);
  std::uint64_t serial() const { return serial_; }

  /// Peers in this process may tell it something before. One link for each rank, none for its own; `name` is for messages.
  void join(int rank, std::vector<Link> links, std::string name = "its communicator");
  const std::string& name() const { return name_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

  /// A small message; never blocks.
  void tell(int peer, Channel channel, std::uint64_t number, std::string message);
  /// What `peer` told, once.
  std::optional<std::string> take(int peer, Channel channel, std::uint64_t number);
  /// Waits for it.
  Outcome hear(int peer, Channel channel, std::uint64_t number, std::string& message, Patience& patience);
  /// The messages of `peer` that nobody has taken.
  std::vector<std::pair<Channel, std::string>> untaken(int peer) const;

  /// Begins a transfer. It must stay where it is until it is done or withdrawn.
  void start(Transfer& transfer);
  /// Afterwards its memory is not touched any more.
  void withdraw(Transfer& transfer);
  /// Waits for all; when that fails they are withdrawn.
  Outcome finish(std::vector<Transfer>& transfers, Patience& patience);

  /// Waits until `ready` (called with the mesh locked: it may only look at Transfer::done and call heard()). `awaited` names
  /// the ranks that are waited for.
  Outcome wait(const std::function<bool()>& ready, const std::function<std::vector<int>()>& awaited, Patience& patience);
  bool heard(int peer, Channel channel, std::uint64_t number) const;  // for `ready`

  bool is_local(int peer) const;  // it is a rank of this process
  bool is_gone(int peer) const;
  std::string why_gone(int peer) const;  // "has left the communicator"

  /// Ends all waits that are not uninterruptible, now and later.
  void interrupt();
  /// Ends all waits.
  void abort();
  bool aborted() const { return aborted_; }
  bool interrupted() const { return interrupted_; }
  /// The others see that this rank is gone. What was told before still arrives.
  void close();

 private:
  struct Frame;
  struct Offer;
  struct Peer;
  using Lock = std::unique_lock<std::mutex>;

  explicit Mesh(int capacity);
  Peer& peer(int rank) { return *peers_[static_cast<std::size_t>(rank)]; }
  const Peer& peer(int rank) const { return *peers_[static_cast<std::size_t>(rank)]; }
  bool copy_an_offer(Lock& lock);
  void post_receive(Transfer& transfer);

  // mesh_sockets.cpp
  void serve();
  void transmit(Peer& peer);
  void receive(Peer& peer);
  void accept_frame(Peer& peer);
  void begin_payload(Peer& peer);
  void push(Peer& peer, Frame frame);
  void lose(Peer& peer);
  void wake();

  const std::uint64_t serial_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int rank_ = -1, size_ = 0;
  std::string name_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<Offer> offers_;  // of local peers, to be copied by this rank's thread
  std::map<std::pair<int, Key>, Transfer*> receives_, sends_;
  std::uint64_t progress_ = 0;  // grows with every byte and message
  std::atomic<bool> interrupted_{false}, aborted_{false};
  bool closed_ = false;
  bool served_ = false;  // there is a thread for sockets
  Socket wake_;          // an eventfd that the thread polls
};

}  // namespace sim::nccl
