#include "engine/daemon/admission.h"

#include <algorithm>

namespace atl {

void Admission::enter(Guest& guest, const std::string& address) {
  if (const auto same = addresses_.find(address); same != addresses_.end() && same->second.size() >= limits_.strangers_per_address) {
    displace(*same->second.front());
  } else if (strangers_ >= limits_.strangers) {
    const auto most = std::max_element(addresses_.begin(), addresses_.end(),
                                       [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
    displace(*most->second.front());
  }
  std::list<Guest*>& list = addresses_[address];
  Place place;
  place.address = address;
  place.at = list.insert(list.end(), &guest);
  places_.emplace(&guest, std::move(place));
  ++strangers_;
}

bool Admission::promote(Guest& guest, const KeyId& tenant) {
  leave(guest);
  Tenant& its = tenants_[tenant];
  bool room = true;
  if (its.busy.size() + its.idle.size() >= limits_.guests_per_tenant) {
    room = !its.idle.empty();
    if (room) displace(*its.idle.front());
  } else if (guests_ >= limits_.guests) {
    const auto most = std::max_element(tenants_.begin(), tenants_.end(), [](const auto& a, const auto& b) {
      return a.second.idle.size() < b.second.idle.size();
    });
    room = !most->second.idle.empty();
    if (room) displace(*most->second.idle.front());
  }
  if (!room) {
    ++displaced_;
    if (its.busy.empty() && its.idle.empty()) tenants_.erase(tenant);
    return false;
  }
  Tenant& now = tenants_[tenant];  // displacing may have emptied it
  Place place;
  place.tenant = tenant;
  place.known = true;
  place.at = now.busy.insert(now.busy.end(), &guest);
  places_.emplace(&guest, std::move(place));
  ++guests_;
  return true;
}

void Admission::set_idle(Guest& guest, bool idle) {
  const auto found = places_.find(&guest);
  if (found == places_.end() || !found->second.known || found->second.idle == idle) return;
  Tenant& its = tenants_[found->second.tenant];
  found->second.idle = idle;
  if (idle) {
    its.idle.splice(its.idle.end(), its.busy, found->second.at);
  } else {
    its.busy.splice(its.busy.end(), its.idle, found->second.at);
  }
}

void Admission::leave(Guest& guest) {
  const auto found = places_.find(&guest);
  if (found == places_.end()) return;
  const Place place = std::move(found->second);
  places_.erase(found);
  if (place.known) {
    --guests_;
    const auto tenant = tenants_.find(place.tenant);
    (place.idle ? tenant->second.idle : tenant->second.busy).erase(place.at);
    if (tenant->second.idle.empty() && tenant->second.busy.empty()) tenants_.erase(tenant);
    return;
  }
  --strangers_;
  const auto address = addresses_.find(place.address);
  address->second.erase(place.at);
  if (address->second.empty()) addresses_.erase(address);
}

void Admission::displace(Guest& guest) {
  ++displaced_;
  leave(guest);
  guest.close();
}

}  // namespace atl
