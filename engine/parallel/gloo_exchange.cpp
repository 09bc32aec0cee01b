#include "engine/parallel/gloo_exchange.h"

#include <gloo/transport/pair.h>

#include <algorithm>

#include "engine/parallel/sums.h"
#include "kernels/check.h"

namespace gannet {
namespace {

constexpr std::size_t whole_bytes = 8 << 10;    // up to which latency counts, not bytes
constexpr std::size_t piece_bytes = 256 << 10;  // of a segment: one is added up while the next ones are under way
constexpr std::size_t ahead = 2;                // pieces

std::size_t rounded_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

// Without the place in Gloo's sources that it begins with.
std::string text_of(const std::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return text.starts_with('[') && end != text.npos ? text.substr(end + 2) : text;
}

}  // namespace

GlooExchange::GlooExchange(gloo::Context& context, const std::vector<std::string>& names, Combine combine,
                           const TensorDesc& desc, int first_slot)
    : context_(context),
      names_(names),
      slot_(first_slot),
      type_(desc.type),
      scale_(combine == Combine::mean ? 1.0f / static_cast<float>(context.size) : 1.0f),
      bytes_(desc.bytes()),
      parts_(static_cast<std::size_t>(context.size)) {
  const auto ranks = static_cast<std::size_t>(context.size);
  if (bytes_ > whole_bytes) segment_ = rounded_up((bytes_ + ranks - 1) / ranks, 64);
  stride_ = rounded_up(segment_ == 0 ? 2 * bytes_ : segment_, 64);
  scratch_.resize(stride_ * (ranks - 1));
  for (int rank = 0; rank < context.size; ++rank) {
    if (rank == context.rank) continue;
    Peer peer;
    peer.rank = rank;
    std::byte* const parts = scratch_.data() + peers_.size() * stride_;
    peer.parts = context.getPair(rank)->createRecvBuffer(slot_of_parts(rank, context.rank), parts, stride_);
    peers_.push_back(std::move(peer));
  }
}

void GlooExchange::bind(const void* input, void* output) {
  if (in_ == input && out_ == output) return;
  in_ = static_cast<const std::byte*>(input);
  out_ = static_cast<std::byte*>(output);
  const int own = context_.rank;
  for (Peer& peer : peers_) {
    const auto& pair = context_.getPair(peer.rank);
    peer.input = pair->createSendBuffer(slot_of_parts(own, peer.rank), const_cast<void*>(input), bytes_);
    if (segment_ == 0) continue;
    peer.output = pair->createSendBuffer(slot_of_sums(own, peer.rank), output, bytes_);
    peer.sums.reset();  // before another one has its slot
    peer.sums = pair->createRecvBuffer(slot_of_sums(peer.rank, own), output, bytes_);
  }
}

template <typename Function>
void GlooExchange::with(const Peer& peer, Function function) const {
  try {
    function();
  } catch (const std::exception& error) {
    throw RuntimeError(
        fmt::format("the connection to {} broke: {}", names_[static_cast<std::size_t>(peer.rank)], text_of(error)));
  }
}

GlooExchange::Piece GlooExchange::piece(int rank, std::size_t index) const {
  const std::size_t begin = std::min(static_cast<std::size_t>(rank) * segment_, bytes_);
  const std::size_t end = std::min(begin + segment_, bytes_);
  const std::size_t first = std::min(begin + index * piece_bytes, end);
  return {first, std::min(piece_bytes, end - first)};
}

void GlooExchange::add_up(Piece own, std::size_t offset) {
  parts_[static_cast<std::size_t>(context_.rank)] = in_ + own.first;
  for (std::size_t i = 0; i < peers_.size(); ++i)
    parts_[static_cast<std::size_t>(peers_[i].rank)] = scratch_.data() + i * stride_ + offset;
  sum_of_ranks(type_, parts_, scale_, out_ + own.first, own.bytes / size_of(type_));
}

void GlooExchange::send_piece(std::size_t index) {
  for (Peer& peer : peers_) {
    const Piece next = piece(peer.rank, index);
    if (next.bytes == 0) continue;
    with(peer, [&] { peer.input->send(next.first, next.bytes, index * piece_bytes); });
    ++peer.inputs_sent;
  }
}

void GlooExchange::sum_piece(std::size_t index) {
  const Piece own = piece(context_.rank, index);
  if (own.bytes == 0) return;
  for (Peer& peer : peers_) with(peer, [&] { peer.parts->waitRecv(); });
  add_up(own, index * piece_bytes);
  for (Peer& peer : peers_) {
    with(peer, [&] { peer.output->send(own.first, own.bytes, own.first); });
    ++peer.sums_sent;
  }
}

void GlooExchange::start() {
  if (segment_ > 0) {
    for (std::size_t i = 0; i < ahead; ++i) send_piece(i);
  } else if (bytes_ > 0) {
    turn_ ^= 1;
    for (Peer& peer : peers_) with(peer, [&] { peer.input->send(0, bytes_, turn_ * bytes_); });
  }
}

void GlooExchange::finish_whole() {
  for (Peer& peer : peers_) {
    with(peer, [&] {
      peer.parts->waitRecv();
      peer.input->waitSend();
    });
  }
  add_up({0, bytes_}, turn_ * bytes_);
}

void GlooExchange::finish_segments() {
  for (std::size_t i = 0; i * piece_bytes < segment_; ++i) {
    sum_piece(i);
    send_piece(i + ahead);
  }
  for (Peer& peer : peers_) {
    with(peer, [&] {
      for (std::size_t i = 0; piece(peer.rank, i).bytes > 0; ++i) peer.sums->waitRecv();
      for (; peer.inputs_sent > 0; --peer.inputs_sent) peer.input->waitSend();
      for (; peer.sums_sent > 0; --peer.sums_sent) peer.output->waitSend();
    });
  }
}

void GlooExchange::finish() {
  if (segment_ > 0)
    finish_segments();
  else if (bytes_ > 0)
    finish_whole();
}

}  // namespace gannet
