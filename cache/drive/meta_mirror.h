// Brings the objects of metadata that count to every node, and takes what does not count any more from them.
//
// Each reachable node is first asked what it holds; then it gets what it lacks, one object at a time and the head last,
// so that a head on a node never lacks anything there. A node that was away is asked again when it returns, and all are
// now and then. Whoever finds a head or a claim that is newer than its own learns it through `take_foreign()`.
//
// Nodes of a kind that likes fewer requests (engine/ship_interval.h) get what they lack in batches: all of a kind at one
// moment, when its interval is over and `open_batches()` is called; claims at once.
// Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cache/drive/core.h"
#include "cache/drive/tasks.h"
#include "cache/heads/head_store.h"

namespace atl {

class MetaMirror {
 public:
  /// `epoch` is this computer's. `poke` is called (on any thread) when there may be something to do.
  MetaMirror(DriveCore& core, HeadStore& store, std::shared_ptr<const MetaSealer> sealer, std::uint32_t epoch, std::function<void()> poke);
  ~MetaMirror();

  /// What every node is to hold, in the order in which it is put; the head is last.
  void want(std::vector<MetaName> objects, MetaName head);
  /// This head counts: who serves an older one from now on is stale.
  void counted(MetaName head);
  /// Heads of earlier epochs are foreign as well, if they are newer than the one that this computer went on from.
  void watch_forks(MetaName from);
  /// From now on nothing is removed from nodes.
  void keep_everything();
  /// While held, nodes get claims and nothing else.
  void hold(bool held);
  /// Starts what can be started.
  void step();
  /// Nothing of this drive is touched by answers that come later.
  void stop();

  struct Count {
    std::size_t nodes = 0;      // of the drive
    std::size_t reachable = 0;  // that said what they hold
    std::size_t holders = 0;    // that hold the wanted head
    std::size_t open = 0;       // that would get a newer head at once; the others wait for their next batch
    std::size_t lacking = 0;    // that are getting the wanted head
    std::size_t litter = 0;     // objects on reachable nodes that nothing needs any more
    std::vector<MetaName> heads;  // by reachable node, the newest head that it has of those wanted lately; newest first
    /// The newest head that so many nodes hold, or a newer one. Of generation 0 if there is none.
    MetaName held_by(std::size_t need) const { return need == 0 || heads.size() < need ? MetaName{} : heads[need - 1]; }
  };
  Count count() const;
  /// Nodes of a kind lack something, and its interval is over.
  struct BatchDue {
    MetaName held;           // the oldest of the newest heads that they have; of generation 0: one has none
    bool single = true;      // none of them lacks more than one object
  };
  std::optional<BatchDue> batch_due() const;
  /// Whose batch is due gets now what is wanted.
  void open_batches();
  /// Somebody waits for the nodes: the next batch of each kind is due now.
  void rush();
  struct Foreign {
    MetaName name;
    NodeId node;
  };
  /// An object that somebody else seems to have put, to be fetched and judged: claims before heads, each once a node.
  /// judged() says that this has been done; or not, since the node did not give it: then it is told of again.
  std::optional<Foreign> take_foreign();
  void judged(const Foreign& foreign, bool seen);
  /// A head that the one that was gone on from has made superfluous, and that no drive of this epoch has told of.
  std::optional<Foreign> take_ancestor();
  /// Every node that is there has said in this run what heads and claims it holds, and all of that was judged; nodes have
  /// had the time to be found. Before, somebody else's state may rest on anything.
  bool all_asked() const;
  /// The highest generation that nodes told of, within this epoch.
  std::uint64_t generation_seen() const;
  /// Nodes that said lately that an older head is the newest that they hold, until they hold the wanted one; and those that
  /// forgot one that they had taken, for a while. Why, in words.
  std::map<NodeId, std::string> stale() const;
  /// Objects put and removed on each node so far, and lists and stats asked: what a metered store would charge.
  std::uint64_t requests() const;

 private:
  struct State;
  DriveCore& core_;
  HeadStore& store_;
  const std::shared_ptr<const MetaSealer> sealer_;
  std::shared_ptr<State> state_;  // shared with answers that are under way
};

}  // namespace atl
