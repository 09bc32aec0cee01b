#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "engine/parallel/communicator.h"
#include "engine/parallel/nccl_library.h"
#include "kernels/check.h"

namespace gannet {
namespace {

using kernels::Kernel;
using kernels::SideStream;

// One tensor of a reduction.
struct Part {
  std::size_t elements;
  Nccl::Type type;
  Nccl::Operation operation;
  std::unique_ptr<Kernel> scaling;  // of the sum, where NCCL's mean is not good enough
};

// NCCL's communicator. Ends with its last owner: ours, or one of its kernels.
class Ranks {
 public:
  Ranks(Group& group, std::unique_ptr<SideStream> side) : nccl_(nccl()), side_(std::move(side)), size_(group.size()) {
    Nccl::UniqueId id{};
    if (group.rank() == 0) nccl_.check(nccl_.unique_id(&id), "listening for the other ranks");
    const std::string told = group.broadcast({id.bytes, sizeof id.bytes});
    std::memcpy(id.bytes, told.data(), sizeof id.bytes);
    // Returns when all ranks have come. Where one does not, the group ends this process.
    nccl_.check(nccl_.init(&communicator_, size_, id, group.rank()), "connecting the ranks");
  }
  ~Ranks() {
    // What is under way when something fails may never end: other ranks need not take part in it any more.
    if (std::uncaught_exceptions() > 0)
      nccl_.abort(communicator_);
    else
      nccl_.destroy(communicator_);
  }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int size() const { return size_; }
  SideStream& side() { return *side_; }
  void all_reduce(const std::vector<Part>& parts, const kernels::Arguments& arguments) {
    constexpr const char* doing = "a reduction";
    nccl_.check(nccl_.group_start(), doing);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      nccl_.check(nccl_.all_reduce(arguments.inputs[i], arguments.outputs[i], parts[i].elements, parts[i].type,
                                   parts[i].operation, communicator_, side_->stream()),
                  doing);
    }
    nccl_.check(nccl_.group_end(), doing);
  }

 private:
  const Nccl& nccl_;
  std::unique_ptr<SideStream> side_;
  int size_;
  Nccl::Communicator communicator_ = nullptr;
};

// NCCL makes a mean by multiplying each rank's numbers with 1/ranks, rounded to their type, before it adds them up. That is
// exact for powers of two, and in f32 as good as anything; but a third in bf16 is off by a five hundredth: such sums are
// multiplied afterwards.
bool scaled_afterwards(const kernels::AllReduce& spec, const TensorDesc& desc, int ranks) {
  return spec.combine == kernels::AllReduce::Combine::mean && desc.type == DType::bf16 && (ranks & (ranks - 1)) != 0;
}

kernels::Pointwise scaling(const TensorDesc& desc, int ranks) {
  using kernels::PointwiseOp;
  const TensorDesc flat{desc.type, {desc.elements()}};
  kernels::PointwiseInstruction times{PointwiseOp::affine};
  times.alpha = 1.0f / static_cast<float>(ranks);
  return {flat.shape, Layout::plain, {flat}, {times}, {flat}, {1}};
}

class NcclAllReduce final : public Kernel {
 public:
  NcclAllReduce(std::shared_ptr<Ranks> ranks, kernels::Backend& backend, const kernels::AllReduce& spec)
      : ranks_(std::move(ranks)), work_(ranks_->side().work()) {
    for (const TensorDesc& desc : spec.tensors) {
      const bool scaled = scaled_afterwards(spec, desc, ranks_->size());
      const bool mean = spec.combine == kernels::AllReduce::Combine::mean;
      parts_.push_back({static_cast<std::size_t>(desc.elements()), desc.type == DType::bf16 ? Nccl::bf16 : Nccl::f32,
                        mean && !scaled ? Nccl::mean : Nccl::sum,
                        scaled ? backend.create(scaling(desc, ranks_->size())) : nullptr});
    }
    outputs_.resize(parts_.size());
  }

  void run(const kernels::Arguments& arguments) override {
    work_->begin();
    ranks_->all_reduce(parts_, arguments);
    work_->end();
    std::copy_n(arguments.outputs, outputs_.size(), outputs_.begin());
    pending_ = true;
  }
  void await() override {
    if (!pending_) return;
    pending_ = false;
    work_->await();
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const void* const sum = outputs_[i];
      if (parts_[i].scaling != nullptr) parts_[i].scaling->run({&sum, &outputs_[i], nullptr});
    }
  }

 private:
  std::shared_ptr<Ranks> ranks_;
  std::unique_ptr<SideStream::Work> work_;
  std::vector<Part> parts_;
  std::vector<void*> outputs_;  // of the last run
  bool pending_ = false;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Group& group, kernels::Backend& backend, std::unique_ptr<SideStream> side)
      : ranks_(std::make_shared<Ranks>(group, std::move(side))), backend_(backend) {}
  std::string name() const override { return "NCCL " + nccl().version_text(); }
  std::unique_ptr<Kernel> create(const kernels::AllReduce& spec) override {
    check_all_reduce(spec);
    return std::make_unique<NcclAllReduce>(ranks_, backend_, spec);
  }

 private:
  std::shared_ptr<Ranks> ranks_;
  kernels::Backend& backend_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Group& group, kernels::Backend& backend) {
  // Sums that NVLink's switches make differ from call to call (NVIDIA/nccl #1497); rings and trees are deterministic.
  // Whoever sets the variable has decided.
  setenv("NCCL_NVLS_ENABLE", "0", 0);
  std::unique_ptr<SideStream> side = backend.side_stream();
  if (side == nullptr) throw RuntimeError(fmt::format("NCCL works between GPUs, and the backend is {}", backend.name()));
  return std::make_unique<NcclCommunicator>(group, backend, std::move(side));
}

}  // namespace gannet
