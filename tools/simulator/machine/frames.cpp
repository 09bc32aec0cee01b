#include "machine/executor.h"

namespace sim {

Frame* FramePool::take(const Code& code) {
  std::vector<Frame*>& idle = idle_[&code];
  if (idle.empty()) {
    auto storage = std::make_unique<std::byte[]>(code.frame_bytes + 64);
    const auto address = reinterpret_cast<std::uintptr_t>(storage.get());
    Frame& frame = frames_.emplace_back();
    frame.code = &code;
    frame.registers = storage.get() + (64 - address % 64) % 64;
    storage_.push_back(std::move(storage));
    all_[&code].push_back(&frame);
    idle.push_back(&frame);
  }
  Frame* frame = idle.back();
  idle.pop_back();
  return frame;
}

void FramePool::give_back(Frame* frame) { idle_[frame->code].push_back(frame); }

void FramePool::reset() { idle_ = all_; }

}  // namespace sim
