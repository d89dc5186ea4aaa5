// The owner's side of delegates: tells them through the nodes what there is to look after, and takes over what they did.
//
// Nothing about them is kept on this computer: which delegates there are is what the nodes list, and their keys derive from
// the keyring, so that a drive that was recovered finds its delegates and what they did meanwhile. What a delegate reports is
// believed of no shard before all of it was read. A MAC alone proves nothing there, since the delegate has its key: the shard
// is rebuilt from k others that are believed already, and compared. Only where fewer than k of these can be read, so that
// without the delegate's the segment is lost, does a MAC suffice. Whatever else it says, the place becomes a stray, which is
// removed like any other. A report leaves the nodes when a head that counts knows what was taken over.
//
// pass() is called by the Caretaker, one at a time; the other calls from any thread. They block for nodes.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <span>

#include "cache/care/delegate_keeper.h"
#include "cache/care/shard_verification.h"
#include "cache/delegate/exchange.h"
#include "cache/delegate/grant.h"
#include "cache/drive/committer.h"
#include "cache/drive/core.h"
#include "cache/drive/shipper.h"
#include "cache/drive/tasks.h"

namespace atl {

class Delegates {
 public:
  Delegates(DriveCore& core, Committer& committer, Shipper& shipper, Tasks& tasks)
      : core_(core), committer_(committer), shipper_(shipper), tasks_(tasks) {}

  /// Does what is due. The bytes that were read from nodes for it.
  std::uint64_t pass();
  Result<DelegateKeeper::Made> make(const std::string& drive_name, const std::stop_token& stop);
  Result<bool> forget(const KeyId& device, const std::stop_token& stop);
  std::vector<DelegateStatus> status();

 private:
  class Turn;
  struct OnNodes {
    std::map<std::uint64_t, std::set<NodeId>> views, reports;
    std::set<NodeId> marked;
  };
  struct Known {
    DelegateStatus status;
    bool revoked = false;
    Bytes told;                      // hash of the view last written, but for its time
    std::uint64_t told_number = 0;
    MonotonicTime told_at{};
    std::map<std::uint64_t, Lsn> read;  // reports, and the record after which a head knows what they said
  };

  std::optional<std::map<DelegateId, OnNodes>> look(DelegateExchange& exchange, const SecretKey& names);
  Result<DelegateKeys> keys_of(const DelegateId& id) const;
  /// Whether there is such a delegate: nodes may list what they like.
  bool confirm(DelegateExchange& exchange, const DelegateKeys& keys, const OnNodes& there);
  Result<DelegateView> make_view(const DelegateKeys& keys);
  /// Whether the nodes that answer have the view, or one like it.
  bool tell(DelegateExchange& exchange, const DelegateKeys& keys, const DelegateView& view, OnNodes& there);
  /// All reports that there are, together: a shard may have moved more than once. Remembers those of which nothing need be
  /// looked at again.
  void take_over(DelegateExchange& exchange, const DelegateKeys& keys, const OnNodes& there, std::uint64_t& read_bytes);
  /// What reports say of one attempt of one segment, in their order. True if nothing of it is left to be looked at.
  bool take_over(std::span<const DelegatedMove> moves, Known& counted, std::uint64_t& read_bytes);
  /// Of each of the moves' shards; silent where it cannot be said now.
  std::vector<ShardVerdict> verify(const SegmentRow& row, std::span<const DelegatedMove> moves, std::uint64_t& read_bytes);
  /// Removes what was read and is known to a head that counts, and to the delegate's view (`told`); all views of one that is
  /// revoked.
  void clear(DelegateExchange& exchange, const DelegateKeys& keys, const OnNodes& there, bool told);

  DriveCore& core_;
  Committer& committer_;
  Shipper& shipper_;
  Tasks& tasks_;
  std::mutex mutex_;  // guards what follows; after the state lock, where both are held; not held while nodes are asked
  bool busy_ = false;
  std::map<DelegateId, Known> known_;
  std::optional<MonotonicTime> due_at_;
};

}  // namespace atl
