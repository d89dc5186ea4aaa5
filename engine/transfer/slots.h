// How many calls run at once, over all nodes and on each. Reads go first, and a quarter of the room is theirs alone, so
// that a person who opens a file does not wait behind an upload.
// On the loop's thread only. Grants are posted, never made inside a call.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <vector>

#include "engine/loop/loop.h"

namespace atl {

enum class CallKind {
  read,
  write,
  probe,  // not counted: a probe must get through where others hang
};

class Slots {
 public:
  using Ticket = std::uint64_t;

  Slots(Loop& loop, std::size_t nodes, std::size_t total_max, std::size_t per_node_max);

  /// While paused no further write begins.
  void pause_writes(bool paused);
  bool paused() const { return paused_; }
  void add_node() { nodes_.emplace_back(); }
  /// Posts `answered`, with true once there is room: then the caller owes a finish(); or with false after reject().
  Ticket acquire(std::size_t node, CallKind kind, std::function<void(bool)> answered);
  /// Turns away all that wait for the node.
  void reject(std::size_t node);
  /// Gives up waiting. False if it was answered already.
  bool withdraw(Ticket ticket);
  /// The call is still running and nobody waits for it any more: it keeps its place at the node, so that a node that
  /// hangs is not asked for ever more, but takes no room from other nodes.
  void abandon(CallKind kind);
  void finish(std::size_t node, CallKind kind, bool abandoned);
  /// Calls that run at a node or wait for it.
  std::size_t load(std::size_t node) const { return nodes_[node].load; }
  /// Calls that run at a node, but for probes.
  std::size_t running(std::size_t node) const { return nodes_[node].running; }

 private:
  struct Waiter {
    Ticket ticket;
    std::size_t node;
    CallKind kind;
    std::function<void(bool)> answered;
  };
  struct Count {
    std::size_t running = 0;
    std::size_t writes = 0;
    std::size_t load = 0;
  };

  bool has_room(std::size_t node, CallKind kind) const;
  void grant(Waiter waiter);
  void grant_waiting();

  Loop& loop_;
  const std::size_t total_max_;
  const std::size_t per_node_max_;
  bool paused_ = false;
  Count total_;
  std::vector<Count> nodes_;
  std::list<Waiter> reads_;
  std::list<Waiter> writes_;
  Ticket last_ticket_ = 0;
};

}  // namespace atl
