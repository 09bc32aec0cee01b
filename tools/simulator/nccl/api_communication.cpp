// Collectives, transfers, groups and operators of the library.
#include <limits>

#include "machine/options.h"
#include "nccl/api.h"
#include "nccl/execution.h"
#include "nccl/group.h"

namespace sim::nccl {
namespace {

struct Arguments {
  const void* send = nullptr;
  void* receive = nullptr;
  std::size_t count = 0;
  ncclDataType_t type = ncclInt8;
  int op = ncclSum;
  int peer = -1;
};

void set_operator(ncclComm& comm, Call& call, int op) {
  if (op >= 0 && op < ncclNumOps) {
    constexpr Operator kBuiltIn[] = {Operator::sum, Operator::prod, Operator::max, Operator::min, Operator::average};
    call.what.op = kBuiltIn[op];
    return;
  }
  const std::lock_guard lock(comm.mutex);
  const auto found = comm.operators.find(op);
  if (found == comm.operators.end()) throw Failure(ncclInvalidArgument, "{} is no operator of this communicator", op);
  if (found->second.type != call.what.type) {
    throw Failure(ncclInvalidArgument, "the operator was made for {}, not for {}", name_of(found->second.type),
                  name_of(call.what.type));
  }
  call.what.op = Operator::scaled_sum;
  call.what.scalar = found->second.scalar;
  call.scalar_address = found->second.address;
}

ncclResult_t communicate(CallKind kind, const Arguments& arguments, ncclComm_t handle, cudaStream_t stream) {
  const std::string name(name_of(kind));
  return call(name.c_str(), [&] {
    const std::shared_ptr<ncclComm> comm = ready_communicator(handle);
    {
      const std::lock_guard lock(comm->mutex);
      if (comm->finalized || comm->revoked)
        throw Failure(ncclInvalidUsage, "the communicator was {}", comm->finalized ? "finalized" : "revoked");
    }
    if (!is_known(arguments.type)) throw Failure(ncclInvalidArgument, "invalid type {}", static_cast<int>(arguments.type));
    Call call;
    call.what.kind = kind;
    call.what.type = arguments.type;
    call.what.count = arguments.count;
    call.send = arguments.send;
    call.receive = arguments.receive;
    call.stream = stream;
    if (is_point_to_point(kind) || has_root(kind)) {
      if (arguments.peer < 0 || arguments.peer >= comm->ranks) {
        throw Failure(ncclInvalidArgument, "invalid {} {}: the communicator has {} ranks", has_root(kind) ? "root" : "peer",
                      arguments.peer, comm->ranks);
      }
      call.what.peer = arguments.peer;
    }
    if (reduces(kind)) {
      set_operator(*comm, call, arguments.op);
      const bool is_float8 = arguments.type == ncclFloat8e4m3 || arguments.type == ncclFloat8e5m2;
      if (is_float8 && options().architecture < 90)
        throw Failure(ncclInvalidArgument, "FP8 reduction support begins with sm90 capable devices.");
    }
    if (arguments.count >
        std::numeric_limits<std::int64_t>::max() / size_of(arguments.type) / static_cast<std::size_t>(comm->ranks)) {
      throw Failure(ncclInvalidArgument, "count {} is too large", arguments.count);
    }
    // NCCL discards empty collectives: they wait for nobody.
    if (arguments.count == 0 && !is_point_to_point(kind)) return ncclSuccess;
    return add(comm, call);
  });
}

}  // namespace
}  // namespace sim::nccl

using namespace sim::nccl;

NCCL_API(ncclResult_t, ncclAllReduce, const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype,
         ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return communicate(CallKind::all_reduce, {sendbuff, recvbuff, count, datatype, op, -1}, comm, stream);
}

NCCL_API(ncclResult_t, ncclBroadcast, const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype, int root,
         ncclComm_t comm, cudaStream_t stream) {
  return communicate(CallKind::broadcast, {sendbuff, recvbuff, count, datatype, ncclSum, root}, comm, stream);
}

NCCL_API(ncclResult_t, ncclBcast, void* buff, size_t count, ncclDataType_t datatype, int root, ncclComm_t comm,
         cudaStream_t stream) {
  return communicate(CallKind::broadcast, {buff, buff, count, datatype, ncclSum, root}, comm, stream);
}

NCCL_API(ncclResult_t, ncclReduce, const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype, ncclRedOp_t op,
         int root, ncclComm_t comm, cudaStream_t stream) {
  return communicate(CallKind::reduce, {sendbuff, recvbuff, count, datatype, op, root}, comm, stream);
}

NCCL_API(ncclResult_t, ncclReduceScatter, const void* sendbuff, void* recvbuff, size_t recvcount, ncclDataType_t datatype,
         ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return communicate(CallKind::reduce_scatter, {sendbuff, recvbuff, recvcount, datatype, op, -1}, comm, stream);
}

NCCL_API(ncclResult_t, ncclAllGather, const void* sendbuff, void* recvbuff, size_t sendcount, ncclDataType_t datatype,
         ncclComm_t comm, cudaStream_t stream) {
  return communicate(CallKind::all_gather, {sendbuff, recvbuff, sendcount, datatype, ncclSum, -1}, comm, stream);
}

NCCL_API(ncclResult_t, ncclAlltoAll, const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype,
         ncclComm_t comm, cudaStream_t stream) {
  return communicate(CallKind::all_to_all, {sendbuff, recvbuff, count, datatype, ncclSum, -1}, comm, stream);
}

NCCL_API(ncclResult_t, ncclGather, const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype, int root,
         ncclComm_t comm, cudaStream_t stream) {
  return communicate(CallKind::gather, {sendbuff, recvbuff, count, datatype, ncclSum, root}, comm, stream);
}

NCCL_API(ncclResult_t, ncclScatter, const void* sendbuff, void* recvbuff, size_t count, ncclDataType_t datatype, int root,
         ncclComm_t comm, cudaStream_t stream) {
  return communicate(CallKind::scatter, {sendbuff, recvbuff, count, datatype, ncclSum, root}, comm, stream);
}

NCCL_API(ncclResult_t, ncclSend, const void* sendbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
         cudaStream_t stream) {
  return communicate(CallKind::send, {sendbuff, nullptr, count, datatype, ncclSum, peer}, comm, stream);
}

NCCL_API(ncclResult_t, ncclRecv, void* recvbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm,
         cudaStream_t stream) {
  return communicate(CallKind::receive, {nullptr, recvbuff, count, datatype, ncclSum, peer}, comm, stream);
}

NCCL_API(ncclResult_t, ncclGroupStart, ) {
  group_start();
  return ncclSuccess;
}

NCCL_API(ncclResult_t, ncclGroupEnd, ) {
  return call("ncclGroupEnd", [] { return group_end(); });
}

NCCL_API(ncclResult_t, ncclRedOpCreatePreMulSum, ncclRedOp_t* op, void* scalar, ncclDataType_t datatype,
         ncclScalarResidence_t residence, ncclComm_t handle) {
  return call("ncclRedOpCreatePreMulSum", [&] {
    require(op != nullptr && scalar != nullptr, "op and scalar must not be null");
    require(is_known(datatype), "invalid type");
    require(residence == ncclScalarDevice || residence == ncclScalarHostImmediate, "invalid residence of the scalar");
    const std::shared_ptr<ncclComm> comm = ready_communicator(handle);
    UserOperator made;
    made.type = datatype;
    if (residence == ncclScalarHostImmediate) {
      std::memcpy(&made.scalar, scalar, size_of(datatype));
    } else {
      made.address = scalar;
    }
    // Unique in the process, so that an operator that is used with another communicator is noticed.
    static std::atomic<int> next{ncclNumOps};
    const int number = next++;
    const std::lock_guard lock(comm->mutex);
    comm->operators[number] = made;
    *op = static_cast<ncclRedOp_t>(number);
    return ncclSuccess;
  });
}

NCCL_API(ncclResult_t, ncclRedOpDestroy, ncclRedOp_t op, ncclComm_t handle) {
  return call("ncclRedOpDestroy", [&] {
    require(op < 0 || op >= ncclNumOps, "a built-in operator can not be destroyed");
    const std::shared_ptr<ncclComm> comm = communicator(handle);
    const std::lock_guard lock(comm->mutex);
    if (comm->operators.erase(op) == 0)
      throw Failure(ncclInvalidArgument, "{} is no operator of this communicator", static_cast<int>(op));
    return ncclSuccess;
  });
}
