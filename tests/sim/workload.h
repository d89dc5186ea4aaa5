// What an owner does to a drive, with a plain model of its contents beside it, and what must hold meanwhile.
//
// The model keeps every state that the drive may come back to: those since the last one known to be durable here
// (committed) or on nodes (protected). All calls from inside tasks of the world's scheduler.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "tests/sim/world.h"

namespace atl::sim {

using Content = std::shared_ptr<const Bytes>;
/// All files by path; paths have at most one folder.
using Tree = std::map<std::string, Content>;

class Workload {
 public:
  explicit Workload(World& world);

  /// One operation, drawn. Errors that faults explain are none of its concern; wrong bytes and broken bounds are
  /// violations.
  void step();
  /// Reads at random until told to stop, beside steps.
  void read_now_and_then(const bool& stop);
  void commit();
  /// Whether everything so far is on nodes now.
  bool sync(SyncLevel level, Duration patience);

  /// The power goes, now or in the middle of the next `writes` calls of the disk; then the drive opens again and must
  /// be a state that was, not before what was committed.
  void crash();
  void crash_amid();
  void restart(Duration off = Duration(0));
  /// Everything of the computer is gone; nodes bring back a state not before what was protected.
  void lose_computer();
  /// All files, wholly, against the newest state. Waits for nodes up to `patience` in all.
  void check_everything(Duration patience);
  /// One node is to be emptied, or is not any more.
  void drain();
  /// Where a node was lost after others were to be emptied: so many of these stay that a segment has its n places.
  void keep_enough();
  /// Nodes that something new may go to: neither gone, nor to be emptied, nor failing audits.
  std::size_t usable();
  /// Care has done its work, with all nodes there but those that left for ever: nothing lies on these any more, nor on
  /// nodes that are to be emptied, and each segment has all its shards; if there are nodes enough, and within a time
  /// that grace and bandwidth explain.
  void check_care();
  /// Whether nothing has its home on the node.
  bool empty(std::size_t node);
  /// Of what the drive says of itself, with nothing under way.
  void check_counters();
  /// The computer's disk has no room from now on, until it is restarted.
  void fill_disk();
  bool disk_fails() const { return disk_fails_; }
  /// Unmounted for so long.
  void off_for(Duration time) { restart(time); }
  void drop_cache();

  std::uint64_t operations = 0;
  std::uint64_t reads = 0;
  std::uint64_t reads_failed = 0;
  std::uint64_t protections = 0;

 private:
  struct State {
    std::uint64_t number = 0;
    Tree tree;
  };
  using Outcome = Result<>;

  const Tree& now() const { return history_.back().tree; }
  void push(Tree tree);
  std::string draw_name(bool existing);
  Result<InodeNumber> find(const std::string& path);
  Result<InodeNumber> folder_of(const std::string& path, bool make);
  /// The result of a change: true if it happened. Otherwise it must be one that faults explain.
  template <typename T>
  bool happened(const Result<T>& result, std::string_view what);
  template <typename Operation>
  auto timed(std::string_view what, Duration bound, Operation operation) -> decltype(operation());
  void write();
  void truncate();
  void unlink();
  void rename();
  void read_some(const std::stop_token& stop);
  /// What the drive holds now, wholly. Nothing if some bytes could not be had by `deadline`.
  std::optional<Tree> whole_tree(MonotonicTime deadline);
  std::optional<Bytes> read_file(InodeNumber inode, std::uint64_t size, MonotonicTime deadline);
  /// Goes back to the state that the drive has come back with, which must not be before `least`.
  void adopt(std::uint64_t least, std::string_view after);
  /// Interrupts the readers that run beside, and waits until they have left the drive.
  void stop_readers();
  void trim();

  World& world_;
  SeededRandom random_;
  std::deque<State> history_;
  std::uint64_t committed_ = 0;  // numbers of states
  std::uint64_t protected_ = 0;
  std::optional<Tree> attempted_;  // what a change that has not ended may have made already
  std::string attempted_path_;
  bool troubled_ = false;  // the drive takes no changes any more: a restart comes before anything else
  bool disk_fails_ = false;  // which explains that
  std::stop_source stop_readers_;
  bool readers_may_ = true;
  std::size_t readers_inside_ = 0;
};

}  // namespace atl::sim
