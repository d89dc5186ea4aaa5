// What a person may ask of the delegates of a drive: others who may audit and repair its shards without being able to read
// them (cache/delegate). A care that has delegates is one of these too. Thread-safe.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cache/care/care.h"
#include "engine/base/clock.h"
#include "engine/net/key_pair.h"

namespace atl {

struct DelegateStatus {
  std::string id;                      // in hexadecimal
  KeyId device;                        // as node daemons know it
  std::optional<Timestamp> reported_at;  // its newest report that was read since the drive was mounted
  std::uint64_t taken_over = 0;        // shards, since then
  std::uint64_t refused = 0;           // that were not what the delegate said
};

class DelegateKeeper {
 public:
  virtual ~DelegateKeeper() = default;
  struct Made {
    std::string file;  // the content of its file (cache/delegate/grant.h): a secret
    KeyId device;
  };
  /// Makes a delegate and tells the nodes of it. Code::unavailable while no node can be told; cancelled; the drive's
  /// refusal.
  virtual Result<Made> make_delegate(const std::string& drive_name, std::stop_token stop) = 0;
  /// If the key is a delegate's: it gets no more lists, and learns why. False if it is none's that is known. Node daemons
  /// are told by whoever revokes the key there. Code::unavailable, cancelled.
  virtual Result<bool> forget_delegate(const KeyId& device, std::stop_token stop) = 0;
  /// Those that nodes told of.
  virtual std::vector<DelegateStatus> delegates() = 0;
};

/// The delegates of a care; null if it has none.
inline DelegateKeeper* delegate_keeper(Care& care) { return dynamic_cast<DelegateKeeper*>(&care); }

}  // namespace atl
