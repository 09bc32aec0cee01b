#include "machine/stream_ordered.h"

#include <algorithm>

#include "error.h"
#include "machine/checks.h"
#include "machine/operations.h"

namespace sim {

StreamOrdered::StreamOrdered(const Order& allocated, std::string_view call)
    : call_(call), lane_(allocated.lane), at_(allocated.at) {}

bool StreamOrdered::add(std::uint32_t operation, const Order& order, std::uint64_t segment, std::uint32_t thread,
                        std::uint32_t instruction) {
  const std::lock_guard lock(mutex_);
  if (std::any_of(users_.begin(), users_.end(), [&](const User& user) { return user.operation == operation; })) return true;
  // Who comes behind this one comes behind those before it.
  std::erase_if(users_, [&](const User& user) { return Operations::ordered(user.lane, user.at, order); });
  users_.push_back({operation, order.lane, order.at, segment, thread, instruction});
  return Operations::ordered(lane_, at_, order);
}

void StreamOrdered::report_early(const Allocation& a, std::string_view name, Place place) const {
  Finding finding;
  finding.fault = Fault::stream_race;
  finding.message = fmt::format(
      "use of the memory at {:#x} by {}, which no stream, event or synchronisation orders behind its {}", a.base, name, call_);
  finding.place = std::move(place);
  finding.has_other = true;
  finding.other.kernel = call_;
  Report::instance().add(std::move(finding));
}

void StreamOrdered::free(const Allocation& a, const Order& order, std::string_view call) {
  const std::lock_guard lock(mutex_);
  for (const User& user : users_) {
    if (Operations::ordered(user.lane, user.at, order)) continue;
    const Operations::Owner owner = Operations::instance().owner(user.segment);
    Finding finding;
    finding.fault = Fault::stream_race;
    finding.message = fmt::format("{} of {:#x}, which no stream, event or synchronisation orders behind its use by {}", call,
                                  a.base, owner.record.name);
    finding.place.kernel = call;
    finding.has_other = true;
    finding.other = checks::place(owner.record, owner.block, user.thread, user.instruction);
    Report::instance().add(std::move(finding));
  }
  users_.clear();
}

void order_by_stream(const Allocation& a, const Order& allocated, std::string_view call) {
  // Findings may name it as long as the process lives.
  const_cast<Allocation&>(a).stream_ordered = new StreamOrdered(allocated, call);
}

}  // namespace sim
