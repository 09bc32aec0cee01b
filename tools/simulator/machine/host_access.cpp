#include "error.h"
#include "machine/checks.h"
#include "machine/global_races.h"
#include "machine/launch.h"
#include "machine/options.h"

namespace sim {
namespace {

void report(std::string_view what, Fault fault, std::string message) {
  if (!checks::is_on(fault)) return;
  Finding finding;
  finding.fault = fault;
  finding.message = std::move(message);
  finding.place.kernel = what;
  Report::instance().add(std::move(finding));
}

}  // namespace

bool host_access(const Order& order, std::uint32_t operation, std::string_view what, Address address, std::size_t bytes,
                 bool write, int) {
  if (bytes == 0) return true;
  Memory& memory = Memory::instance();
  const char* const does = write ? "write" : "read";
  const Allocation* a = memory.find(address);
  if (a == nullptr) {
    const Allocation* near = memory.nearest(address);
    std::string where = "where no memory of a device is";
    if (near != nullptr) {
      const bool before = address < near->base;
      where = fmt::format("{} bytes {} {}an allocation of {} bytes", before ? near->base - address : address - near->end,
                          before ? "before" : "after", near->freed ? "what was " : "", near->end - near->base);
    }
    report(what, near == nullptr ? Fault::invalid_address : Fault::out_of_bounds,
           fmt::format("{} of {} bytes at {:#x}, {}", does, bytes, address, where));
    return false;
  }
  if (__atomic_load_n(&a->freed, __ATOMIC_RELAXED)) {
    report(what, Fault::use_after_free,
           fmt::format("{} of {} bytes at {:#x}, in a freed allocation of {} bytes", does, bytes, address, a->end - a->base));
    return false;
  }
  if (bytes > a->end - address) {
    report(what, Fault::out_of_bounds,
           fmt::format("{} of {} bytes at {:#x}, the last {} of them behind {}{}allocation of {} bytes", does, bytes, address,
                       address + bytes - a->end, a->name.empty() ? "an " : a->name, a->name.empty() ? "" : ", an ",
                       a->end - a->base));
    return false;
  }
  if (options().initcheck && a->initialized != nullptr) {
    if (!write) {
      if (const Address first = memory.first_uninitialized(*a, address, bytes); first != 0) {
        report(what, Fault::uninitialized_copy,
               fmt::format("read of {} bytes at {:#x}: nothing was ever written to {:#x}, byte {} of an allocation of {} bytes",
                           bytes, address, first, first - a->base, a->end - a->base));
      }
    } else {
      memory.mark_initialized(*a, address, bytes);
    }
  }
  if (options().racecheck) check_copy_race(order, operation, what, *a, address, bytes, write);
  return true;
}

}  // namespace sim
