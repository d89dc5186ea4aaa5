// How many connections a server holds, and whose: strangers, who have proven no key yet, and tenants.
//
// A stranger too many closes the oldest stranger of the same address, or of the address that has most, so that a flood
// of half-open connections displaces itself: an honest peer needs one round trip to stop being a stranger. A tenant's
// connection too many closes that tenant's longest idle one, one too many of all that of the tenant with most idle ones;
// where none is idle it is closed itself.
//
// On the loop's thread only. Guests are known by address and live until they left.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <unordered_map>

#include "engine/net/key_pair.h"

namespace atl {

/// What admission needs of a connection.
class Guest {
 public:
  virtual ~Guest() = default;
  /// Ends it soon; nothing of admission is called from within.
  virtual void close() = 0;
};

class Admission {
 public:
  struct Limits {
    std::size_t strangers = 512;
    std::size_t strangers_per_address = 128;
    std::size_t guests = 512;
    std::size_t guests_per_tenant = 64;
  };

  explicit Admission(const Limits& limits) : limits_(limits) {}

  /// A connection from `address` (for IPv6 the /64 it lies in). May close another stranger.
  void enter(Guest& guest, const std::string& address);
  /// It has proven whose it is. False: too many; the caller closes it. May close an idle one of the same tenant.
  bool promote(Guest& guest, const KeyId& tenant);
  /// Whether it waits for a request, so that it may be closed without harm.
  void set_idle(Guest& guest, bool idle);
  /// Last; more than once does nothing.
  void leave(Guest& guest);

  std::size_t strangers() const { return strangers_; }
  std::size_t guests() const { return guests_; }
  /// Closed for want of room since the start.
  std::uint64_t displaced() const { return displaced_; }

 private:
  struct Place {
    std::string address;  // of a stranger
    KeyId tenant;
    bool known = false;
    bool idle = false;
    std::list<Guest*>::iterator at;
  };
  struct Tenant {
    std::list<Guest*> busy;
    std::list<Guest*> idle;  // longest idle first
  };

  void displace(Guest& guest);

  const Limits limits_;
  std::unordered_map<Guest*, Place> places_;
  std::map<std::string, std::list<Guest*>> addresses_;  // of strangers, oldest first
  std::map<KeyId, Tenant> tenants_;
  std::size_t strangers_ = 0;
  std::size_t guests_ = 0;
  std::uint64_t displaced_ = 0;
};

}  // namespace atl
