// Makes heads: cuts through the history that a fresh machine can come back to from nodes alone.
//
// A head in the making is a cut (everything accepted so far is durable here), then waits until every segment that lives
// at the cut is protected, with what dies meanwhile kept (DriveCore::pins), then tells the nodes: the stretch of the
// journal since the last head, and the head. It counts once a majority of the nodes holds it. So heads are made also
// while somebody writes without end, and what one names is always there. Objects on nodes that became garbage go only
// when a head that does not need them counts (Reclaimer asks `published_lsn`). Where it takes more nodes to survive as many
// losses as protected data does (r - k), a head counts on so many.
//
// Nodes of a kind that likes fewer requests are told in batches (MetaMirror): heads go on being made for the others, a
// node that holds one holds all before it, and the head that opens a batch carries in one stretch what the batch lacks.
//
// Cost: stretches are the changes themselves, compressed; a checkpoint follows when the stretches have grown as large as
// the last one, so that what it costs is in proportion to the changes. Thread-safe.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

#include "cache/drive/checkpointer.h"
#include "cache/drive/committer.h"
#include "cache/drive/core.h"
#include "cache/drive/meta_mirror.h"
#include "cache/drive/ship_pace.h"
#include "cache/drive/shipper.h"
#include "cache/drive/tasks.h"
#include "cache/heads/claim.h"

namespace atl {

class Publisher {
 public:
  Publisher(DriveCore& core, Committer& committer, Shipper& shipper, Checkpointer& checkpointer, Tasks& tasks)
      : core_(core), committer_(committer), shipper_(shipper), checkpointer_(checkpointer), tasks_(tasks), pace_(core.ship_limits()) {}

  /// Reads the computer's own copies; before anything else. Errors are the disk's; damage is no error, since a new
  /// checkpoint makes good for it.
  Result<> load();
  void start();
  void stop();
  /// Looks whether a head is due; called now and then, and whenever something that it waits for may have happened.
  void pump();
  /// Makes one as soon as it can be made.
  void hurry();

  /// Makes a checkpoint where the journal on nodes outweighs it, and waits until what it replaces has left the nodes
  /// that can be reached. Code::too_few_nodes at the deadline, cancelled.
  Result<> condense(MonotonicTime deadline, const std::stop_token& stop);

  struct Standing {
    std::uint32_t epoch = 0;
    std::uint64_t generation = 0;
    MetaMirror::Count nodes;
    std::uint64_t requests = 0;
    std::map<NodeId, std::string> stale;  // nodes that serve an older head, and why that is told
    bool contested = false;               // another computer claims this epoch as well, and it is open whose it is
  };
  Standing standing() const;
  /// An earlier owner told nodes of more than this computer went on from. Until a person has resolved that, nothing on nodes
  /// is removed, since the other state may rest on it.
  bool fork_stands() const { return fork_stands_.load(); }
  /// No fork stands, as far as all nodes that are there tell, which were asked in this run.
  bool garbage_may_go() const { return !fork_stands_ && mirror_ && mirror_->all_asked(); }

  /// So many of the drive's nodes must hold a head before it counts; or before what it tells survives all that full data
  /// survives. Takes the state lock.
  std::size_t nodes_needed(std::size_t nodes, SyncLevel level);
  /// Since when the oldest change waits that no head that counts has. State lock held.
  MonotonicTime unshipped_since() const;
  /// Nodes hold a head with all changes up to `changes`, and all shards placed up to `placed`, so many of them that what is
  /// full comes back without this computer.
  bool tells_full(Lsn changes, Lsn placed) const;

 private:
  /// A head between its cut and the moment at which all that lives at the cut is on nodes.
  struct Making {
    Committer::Mark mark;
    MonotonicTime begun{};
    struct At {
      bool finished = false;
      std::optional<AttemptId> attempt;
    };
    std::map<SegmentId, At> segments;  // not protected at the cut
    std::map<SegmentId, std::size_t> filling;  // protected and not full: how many shards were placed
    Lsn placed;                        // the head tells where shards lie up to here
    bool hurried = false;
  };

  void round();
  bool due();
  /// Shards were placed that the newest head does not tell of, and it is time that one does.
  bool placements_due(bool hurried);
  bool worth_condensing() const;
  Result<> begin();
  /// Whether all segments of the cut are protected; absent if the cut cannot be completed any more.
  std::optional<bool> protected_now();
  Result<> finish();
  void give_up();
  Result<> new_checkpoint(Head& head);
  /// Packs the journal from `first` on up to the cut; small stretches go inside the head.
  Result<> add_stretches(Head& head, Lsn first);
  void add_supplement(Head& head);
  /// From which of its stretches on nodes whose batch is due lack all; their count if that is none, or too much to be told
  /// to all nodes once more.
  std::size_t lacked_from(const Head& head) const;
  bool counts() const { return head_ && counted_ == head_->name(); }
  void count_holders();
  void retire_old();
  /// False if the node did not give the object.
  bool judge(const MetaMirror::Foreign& foreign);
  /// Sealed by this drive's keys, as nodes hold it; empty: it is not. Code::unavailable if the node did not answer.
  Result<Bytes> fetch(const MetaMirror::Foreign& foreign);
  void note_fork(const MetaName& name);
  /// Heads before the one that was gone on from are superfluous.
  void gather_ancestors();
  void judge_claims();
  /// Another computer owns the drive: remembers that, and what nobody took over from here.
  void fence(std::uint32_t epoch, const std::optional<HistoryPoint>& from);
  /// Up to where the new owner took over what this computer has; absent if that cannot be told for certain.
  Result<std::optional<Lsn>> told_upto(const std::optional<HistoryPoint>& from);
  void tell_mirror();

  DriveCore& core_;
  Committer& committer_;
  Shipper& shipper_;
  Checkpointer& checkpointer_;
  Tasks& tasks_;

  std::shared_ptr<const MetaSealer> sealer_;
  std::unique_ptr<HeadStore> store_;
  std::unique_ptr<HeadStore> forks_store_;  // heads of others: forks, and those that are to leave the nodes
  std::unique_ptr<MetaMirror> mirror_;

  mutable std::mutex mutex_;  // guards the flags
  bool stopped_ = true;
  bool running_ = false;
  bool again_ = false;
  bool hurried_ = false;
  bool condensing_ = false;  // a checkpoint is wanted as soon as it saves anything

  // Of the one round that runs.
  std::optional<Making> making_;
  ShipPace pace_;                  // of heads that nobody waits for
  bool paced_ = false;             // it is such a one that is due
  std::uint64_t filled_told_ = 0;  // segments that were full before the last cut
  mutable std::mutex head_mutex_;  // written by the round, read by standing()
  std::optional<Head> head_;       // the newest; may not count yet
  MetaName counted_;               // the newest that does; of generation 0: none is known to
  struct Told {
    Lsn changes;
    Lsn placed;
  };
  std::map<MetaName, Told> told_;  // heads that may come to count, or to be on nodes enough for what is full
  Lsn placed_told_;                // by the newest
  std::atomic<Lsn> full_lsn_{Lsn{}};
  std::atomic<Lsn> full_placed_lsn_{Lsn{}};
  // Of the state lock:
  std::map<Lsn, MonotonicTime> unshipped_;       // cuts: since when what they have, and no head that counts, waits
  std::optional<MonotonicTime> cut_given_up_;    // the same, of cuts from which no head came
  std::uint32_t epoch_ = 1;
  DeviceId device_;
  bool want_checkpoint_ = false;
  MetaName from_;                   // the head that this epoch went on from; of generation 0: none
  Bytes own_claim_;                 // of this epoch; empty before the first head of a drive
  std::map<NodeId, Bytes> claims_;  // of this epoch, as nodes hold them
  bool won_ = false;                // another claim of it did not count
  std::set<MetaName> forks_;        // heads of earlier owners that this one did not go on from
  std::atomic<bool> fork_stands_{false};
  std::atomic<bool> contested_{false};
};

}  // namespace atl
