// Reads a range of a segment's shards: first the shard whose bytes are wanted, alone; when that fails or lags, enough
// others to decode from. The first answers that verify win. A node lags when it takes longer than it almost always does
// (its 95th percentile and a quarter), or several times what the others would; never sooner than hedge_after_min. A node
// that has lagged twice, and not kept up since, is not waited for: the others are asked at once beside it.
//
// Absent nodes are passed over at once; only when nothing else can suffice are they asked, under a short time limit:
// what the engine knows of them may be some seconds old.
// On the loop's thread only; cancel() from any.
#pragma once

#include <map>

#include "engine/transfer/operation.h"
#include "engine/transfer/parts.h"

namespace atl {

class Fetch final : public RunningTransfer {
 public:
  static constexpr Duration hedge_after_max = std::chrono::seconds(3);
  static constexpr Duration absent_timeout = std::chrono::seconds(2);

  Fetch(EngineParts& parts, FetchRequest request);
  void stop() override;

 private:
  using Answers = std::vector<std::pair<ShardIndex, Bytes>>;
  enum class Progress { idle, running, spent };
  struct Source {
    FetchSource where;
    std::optional<std::size_t> node;
    Progress progress = Progress::idle;
    bool lags = false;   // others were asked since it took too long
    bool asked = false;  // not waiting for a slot or for the line any more
    std::shared_ptr<Operation> operation;
  };

  void start() override;
  void add_others();
  void ask_first();
  bool reachable(const Source& source) const;
  bool wanted_may_answer() const;
  void ask(std::size_t source, Duration timeout);
  void answered(std::size_t source, Result<Bytes> answer);
  void spend(std::size_t source, std::string why);
  void widen();
  void fill();
  std::size_t count_running() const;
  void ask_absent();
  void arm_hedge();
  Duration hedge_delay() const;
  void hedge();
  Error why_too_few() const;
  void finish(Result<Answers> result);

  FetchRequest request_;
  std::vector<Source> sources_;  // the wanted one first, if there is one; the others by likely speed
  std::size_t first_other_ = 0;
  bool wide_ = false;            // others are asked too
  std::size_t extra_ = 0;        // more of them than needed, since some lag
  bool begun_ = false;           // what is asked from now on is a hedge
  bool finished_ = false;
  std::map<ShardIndex, Bytes> answers_;
  std::vector<std::string> failures_;
  Loop::TimerId hedge_timer_ = 0;
  Loop::TimerId deadline_timer_ = 0;
};

}  // namespace atl
