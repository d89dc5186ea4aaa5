// A delegate at work: audits the shards of a drive that it cannot read, and repairs them while the owner is away.
//
// A round: the newest view of the drive and this delegate's own reports are read from the nodes; random leaves are asked for;
// then, unless the owner was heard of lately, what is lost is rebuilt (cache/care: the same plan, the same transfer as the
// owner's). What is about to be stored is reported before it is stored, and again when it is, so that the owner finds every
// object, whatever happens in between. A delegate removes nothing: damaged shards are rebuilt elsewhere, and nodes are not
// emptied.
//
// What it learnt of nodes is kept in a file (FORMAT.md, "Care"); losing it costs what was learnt. One round at a time;
// blocks for nodes and on the disk. Seams outlive it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "cache/care/care_state.h"
#include "cache/care/shard_transfer.h"
#include "cache/delegate/exchange.h"
#include "cache/delegate/grant.h"
#include "engine/net/credentials.h"

namespace atl {

struct DelegateOptions {
  Duration stand_in_after = std::chrono::hours(24);  // repairs begin when the newest view is so old
  std::optional<Duration> repair_grace;              // of absent nodes; nothing: as the drive has it
  Duration patience = std::chrono::minutes(2);       // a node that is away for a shorter time is not yet away
  std::uint64_t bandwidth = 8ull << 20;              // bytes a second for repairs
  unsigned audits = 1;                               // leaves of each node and round
  std::string state_path;
};

/// What a round saw and did. All of it can be told to anybody.
struct DelegateRound {
  std::uint64_t view_age_seconds = 0;
  bool owner_away = false;
  std::vector<std::string> absent;    // addresses of nodes that do not answer
  std::vector<std::string> failing;   // and of such as fail their audits
  std::uint64_t segments = 0;
  std::uint64_t audits = 0;
  std::uint64_t audits_wrong = 0;
  std::uint64_t shards_rebuilt = 0;
  std::uint64_t segments_waiting = 0; // still to be repaired when the round ended
  std::uint64_t segments_lost = 0;    // of which fewer than k shards can be had now
  std::optional<int> worst_margin;    // good shards less k, after the round
  bool no_place = false;              // something had no node to go to
  std::uint64_t read_bytes = 0;       // for repairs
  std::uint64_t written_bytes = 0;
};

class Delegate {
 public:
  struct Seams {
    Disk& disk;
    Runtime& runtime;
    Random& random;
    /// An engine for these nodes, which stays until the next call.
    std::function<Result<Engine*>(const std::vector<DelegatedNode>&, const KeyPair&)> engine;
  };
  Delegate(DelegateGrant grant, Seams seams, DelegateOptions options, std::stop_token stop);

  /// Code::unavailable if no node has a view for this delegate; not_permitted once the owner has revoked it; cancelled; or
  /// what the disk says. What was done before stands.
  Result<DelegateRound> round();

 private:
  struct Books;  // of one round

  Result<Engine*> reach(const std::vector<DelegatedNode>& nodes);
  Result<> read_view();
  Result<> read_reports(Books& books);
  void observe(Books& books);
  NodeFate fate_of(const NodeStatus& node) const;
  NodeFates fates(const Books& books) const;
  Result<> audit(Books& books);
  Result<> repair(Books& books);
  Result<> report(const std::vector<DelegatedMove>& moves);
  Result<> pay(std::uint64_t bytes);
  void recall();
  Result<> save();
  std::uint64_t wall_seconds() const;

  const DelegateGrant grant_;
  const Seams seams_;
  const DelegateOptions options_;
  const std::stop_token stop_;
  Engine* engine_ = nullptr;
  std::vector<DelegatedNode> reached_;  // the nodes that engine_ was made for
  std::optional<DelegateView> view_;
  std::uint64_t view_number_ = 0;
  std::uint64_t last_report_ = 0;
  CareState state_;  // away_since in seconds of the wall clock: nobody counts a delegate's running time
  bool recalled_ = false;
};

}  // namespace atl
