// One tensor's sum over the ranks, by Gloo's connections.
//
// Sums are made in the order of the ranks and rounded once, so that they have the same bits on every rank, in every run, and
// however tensors lie in buckets; a ring would add each part of a tensor in another order and round bf16 at every hop. Each
// rank gets its segment of the tensor from all others, adds it up, and sends the sums to all: as many bytes as a ring, in two
// steps instead of 2 (ranks - 1). Small tensors go whole to everybody, in one step.
//
// Gloo's bound buffers are used: what comes is written where it belongs without being asked for, and a connection that breaks
// wakes whoever waits for one of them; who waits for an unbound one that is half filled would not be woken.
#pragma once

#include <gloo/context.h>
#include <gloo/transport/buffer.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/all_reduce.h"

namespace gannet {

class GlooExchange {
 public:
  using Combine = kernels::AllReduce::Combine;
  static constexpr int slots = 4;  // names of messages that it takes, from `first_slot` on: the same on every rank

  // names: of the ranks, for errors. Context and names outlive it.
  GlooExchange(gloo::Context& context, const std::vector<std::string>& names, Combine combine, const TensorDesc& desc,
               int first_slot);
  // Where the tensor is and its sum goes, which may be the same place. Allocates only when it is another one than before.
  void bind(const void* input, void* output);
  // Sends what needs no sum. RuntimeError names the rank to which the connection broke.
  void start();
  // Until the output is complete and the input may be written again.
  void finish();

 private:
  using Buffer = std::unique_ptr<gloo::transport::Buffer>;
  struct Peer {
    int rank = 0;
    Buffer parts;          // of its tensor, which come into scratch_
    Buffer input, output;  // to it, and from it into the output
    Buffer sums;
    int inputs_sent = 0, sums_sent = 0;
  };
  struct Piece {
    std::size_t first = 0, bytes = 0;
  };
  // Another one in each direction: who lets go of a buffer to send from has Gloo forget the one of that slot to receive into.
  int slot_of_parts(int from, int to) const { return slot_ + (from < to ? 0 : 1); }
  int slot_of_sums(int from, int to) const { return slot_ + (from < to ? 2 : 3); }
  Piece piece(int rank, std::size_t index) const;  // of the rank's segment; empty beyond its end
  void send_piece(std::size_t index);
  void sum_piece(std::size_t index);
  void finish_segments();
  void finish_whole();
  void add_up(Piece own, std::size_t offset);  // with what lies at `offset` of each peer's part of scratch_
  template <typename Function>
  void with(const Peer& peer, Function function) const;

  gloo::Context& context_;
  const std::vector<std::string>& names_;
  int slot_;
  DType type_;
  float scale_;
  std::size_t bytes_, segment_ = 0;  // segment_ 0: whole tensors are sent
  std::vector<Peer> peers_;
  std::size_t stride_ = 0;  // of the peers' parts in scratch_
  std::vector<std::byte> scratch_;
  std::size_t turn_ = 0;  // of whole tensors: a peer may send the next before this one is added up
  std::vector<const void*> parts_;
  const std::byte* in_ = nullptr;
  std::byte* out_ = nullptr;
};

}  // namespace gannet
