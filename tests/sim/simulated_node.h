// A storage node far away, as an owner meets it: the machine (SimulatedNode) with its disk, its faults and its honesty,
// and the way to it (SimulatedLink), which has latency, bandwidth and loss and can be cut.
//
// The machine outlives every process of the owner; a link belongs to one process, and cutting it is what the end of that
// process looks like from outside. Errors as Node. On the loop's thread; loop, random and machine outlive the link.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "engine/loop/loop.h"
#include "engine/node/node.h"
#include "tests/support/seeded_random.h"

namespace atl::sim {

class SimulatedNode {
 public:
  using Object = std::shared_ptr<const Bytes>;
  using Objects = std::map<std::string, Object>;

  struct Faults {
    bool gone = false;         // for ever
    bool down = false;         // refuses connections
    bool partitioned = false;  // nothing reaches it, nothing comes back
    bool frozen = false;       // takes requests, answers none
    double slowness = 1;       // factor on all it does
    double loss = 0;           // of requests and of answers, each
    bool garbage = false;      // answers with other bytes
    bool swaps = false;        // answers with another object's bytes
    bool truncates = false;    // answers that lack their end
    bool forgets = false;      // says that it holds nothing
    bool weak = false;         // a store without put-if-absent whose listing lags
    bool unreliable_disk = false;  // says no to one call in five
  };

  SimulatedNode(Random& random, std::uint64_t capacity) : random_(random), capacity_(capacity) {}

  // --- the machine's side of a call ---
  Result<> store(const std::string& name, Bytes whole, MonotonicTime now);
  /// The object is on the disk's platters now.
  void flush(const std::string& name) { unflushed_.erase(name); }
  Result<Object> load(const std::string& name) const;
  Result<std::vector<std::string>> names(const std::string& prefix, const std::string& after, std::size_t limit, MonotonicTime now) const;
  void erase(const std::string& name);
  NodeUsage usage() const;

  // --- what befalls it ---
  /// The power goes: what was not flushed is there or is not. Calls under way are never answered.
  void crash();
  /// So that a later roll_back() can restore the disk as it is now.
  void remember() { remembered_ = objects_; }
  /// Its disk is restored from what was remembered.
  void roll_back();
  /// One byte of one object changes. False if it holds nothing.
  bool rot();
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  std::uint64_t used() const { return used_; }
  const Objects& objects() const { return objects_; }
  std::uint64_t incarnation() const { return incarnation_; }

  Faults faults;
  std::map<std::string, std::uint64_t> requests;  // sent to it, by kind of call
  std::size_t running = 0;  // calls but for probes
  std::size_t running_most = 0;
  std::uint64_t acknowledged = 0;  // stores whose answer arrived

 private:
  Random& random_;
  std::uint64_t capacity_;
  std::uint64_t used_ = 0;
  std::uint64_t incarnation_ = 0;
  Objects objects_;
  Objects remembered_;
  std::set<std::string> unflushed_;
  std::map<std::string, MonotonicTime> stored_at_;  // of a weak store, for its listing
};

/// How far away it is, on a good day.
struct Distance {
  Duration latency{};                // one way, the usual
  Duration jitter{};                 // at most this more, mostly much less
  std::uint64_t bytes_per_second = 0;  // 0: no limit
};

class SimulatedLink final : public Node {
 public:
  /// `told` hears of every call that ended.
  SimulatedLink(Loop& loop, SeededRandom& random, SimulatedNode& machine, Distance distance,
                std::function<void(std::string_view call, const std::string& name, const Result<>& how)> told = {})
      : loop_(loop), random_(random), machine_(machine), distance_(distance), told_(std::move(told)) {}

  asio::awaitable<Result<>> put(std::string name, ObjectBody body) override;
  asio::awaitable<Result<Bytes>> get(std::string name, std::uint64_t offset, std::uint64_t length) override;
  asio::awaitable<Result<ObjectStat>> stat(std::string name) override;
  asio::awaitable<Result<std::vector<std::string>>> list(std::string prefix, std::string after,
                                                         std::size_t limit) override;
  asio::awaitable<Result<std::size_t>> remove(std::vector<std::string> names) override;
  asio::awaitable<Result<NodeUsage>> usage() override;
  bool close(Duration) override { return true; }

  /// The process is no more: nothing comes of what it asked.
  void cut() { cut_ = true; }
  /// While it is away, nothing gets through between this owner and the machine, which others reach.
  void away(bool away) { away_ = away; }

 private:
  class Call;
  asio::awaitable<Result<>> travel(std::uint64_t bytes);
  asio::awaitable<Result<>> reach(std::string call, std::uint64_t bytes);
  asio::awaitable<Result<>> answer(std::uint64_t incarnation, std::uint64_t bytes);
  void tell(std::string_view call, const std::string& name, const Result<>& how) const {
    if (told_ && !cut_) told_(call, name, how);
  }
  Result<> disk_allows();

  Loop& loop_;
  SeededRandom& random_;
  SimulatedNode& machine_;
  const Distance distance_;
  const std::function<void(std::string_view, const std::string&, const Result<>&)> told_;
  bool cut_ = false;
  bool away_ = false;
};

}  // namespace atl::sim
