#include "cache/care/leaf_audit.h"

#include <algorithm>

#include "cache/care/call_results.h"

namespace atl {
namespace {

constexpr Duration audit_patience = std::chrono::seconds(40);
constexpr Duration late_after = std::chrono::seconds(5);
constexpr std::size_t pending_max = 4096;

std::vector<PendingAudit>::iterator find_pending(CareState& state, const PendingAudit& audit) {
  return std::find_if(state.pending.begin(), state.pending.end(), [&](const PendingAudit& other) {
    return other.attempt == audit.attempt && other.home == audit.home;
  });
}

}  // namespace

SampleChooser::SampleChooser(std::set<NodeId> due, const CareState& state, Random& random) : due_(std::move(due)), bad_(state.bad), random_(random) {
  for (const PendingAudit& audit : state.pending) pending_.emplace(Place(audit.attempt, audit.home), audit);
}

void SampleChooser::offer(SegmentId segment, const SegmentRow& row, bool busy) {
  if (!row.has_attempt || row.live_extents == 0) return;
  const ShardGeometry geometry = ShardGeometry::of({row.k, row.n}, row.shipped_bytes());
  for (const ShardHome& home : row.placed) {
    const Place place(row.attempt, home);
    const auto waiting = pending_.find(place);
    if (waiting != pending_.end()) there_.insert(place);
    if (!due_.contains(home.node) || settled_.contains(home.node) || bad_.contains(place) || busy) continue;
    if (waiting != pending_.end()) {
      samples_[home.node] = {segment, waiting->second, geometry.object_bytes()};
      settled_.insert(home.node);
      continue;
    }
    std::uint64_t& weight = weights_[home.node];
    weight += geometry.leaves;
    if (random_.u64() % weight >= geometry.leaves) continue;
    const auto leaf = static_cast<std::uint32_t>(random_.u64() % geometry.leaves);
    samples_[home.node] = {segment, {row.attempt, home, leaf, 0}, geometry.object_bytes()};
  }
}

void SampleChooser::forget_gone(CareState& state) const {
  std::erase_if(state.pending, [&](const PendingAudit& audit) {
    const Place place(audit.attempt, audit.home);
    return pending_.contains(place) && !there_.contains(place);
  });
}

std::optional<std::vector<LeafAnswer>> ask_leaves(Engine& engine, Runtime& runtime, const std::stop_token& stop, const ShardKeys& keys,
                                                  const std::vector<LeafSample>& samples) {
  struct Asked {
    bool answered = false;
    bool right = false;
    bool done = false;
    std::optional<Result<ObjectStat>> stat;
    MonotonicTime done_at{};
  };
  struct Answers {
    std::mutex mutex;
    std::vector<Asked> asked;
    std::size_t missing = 0;
    Waiters landed;
  };
  const auto answers = std::make_shared<Answers>();
  answers->asked.resize(samples.size());
  answers->missing = samples.size();
  Clock& clock = runtime.clock();
  const MonotonicTime began = clock.now();
  const auto end = [answers, &clock](std::size_t i) {
    {
      std::lock_guard lock(answers->mutex);
      answers->asked[i].done = true;
      answers->asked[i].done_at = clock.now();
      --answers->missing;
    }
    answers->landed.wake();
  };
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const PendingAudit& audit = samples[i].audit;
    auto made = keys.macs(audit.attempt);
    if (!made) {  // nobody can say what is right there
      end(i);
      continue;
    }
    const auto macs = std::make_shared<const AttemptMacs>(std::move(*made));
    const std::string name = keys.name(audit.attempt, audit.home.shard, audit.home.node);
    FetchRequest fetch;
    fetch.wanted = FetchSource{audit.home, name};
    fetch.offset = ShardGeometry::leaf_offset(audit.leaf);
    fetch.length = leaf_bytes + leaf_mac_bytes;
    fetch.deadline = began + audit_patience;
    fetch.verify = [answers, macs, i, leaf = audit.leaf](ShardIndex shard, ByteView answer) {
      const bool right = macs->verify(shard, leaf, 1, answer);
      std::lock_guard lock(answers->mutex);
      answers->asked[i].answered = true;
      answers->asked[i].right = right;
      return right;
    };
    fetch.done = [answers, end, engine = &engine, i, name, node = audit.home.node](Result<std::vector<std::pair<ShardIndex, Bytes>>> result) {
      bool judged = false;
      {
        std::lock_guard lock(answers->mutex);
        judged = result.has_value() || answers->asked[i].answered;
      }
      if (judged) return end(i);
      // No answer: is the object there at all?
      engine->stat(node, name, [answers, end, i](Result<ObjectStat> stat) {
        {
          std::lock_guard lock(answers->mutex);
          answers->asked[i].stat = std::move(stat);
        }
        end(i);
      });
    };
    (void)engine.fetch(std::move(fetch));
  }
  const bool all = answers->landed.wait(runtime, began + 2 * audit_patience, stop, [&] {
    std::lock_guard lock(answers->mutex);
    return answers->missing == 0;
  });
  if (!all && stop.stop_requested()) return std::nullopt;
  const std::vector<NodeStatus> nodes = engine.nodes();
  const auto verdict_of = [&](const LeafSample& sample, const Asked& asked) {
    if (asked.answered) return asked.right ? LeafVerdict::right : LeafVerdict::wrong;
    if (asked.stat && *asked.stat) return (*asked.stat)->size < sample.object_bytes ? LeafVerdict::wrong : LeafVerdict::silent;  // cut, or held back
    if (asked.stat && asked.stat->error().code == Code::not_found) return LeafVerdict::wrong;  // acknowledged once, and gone
    const bool there = std::any_of(nodes.begin(), nodes.end(), [&](const NodeStatus& node) {
      return node.spec.id == sample.audit.home.node && node.state != NodeState::absent;
    });
    return there ? LeafVerdict::silent : LeafVerdict::away;
  };
  std::vector<LeafAnswer> judged;
  std::lock_guard lock(answers->mutex);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Asked& asked = answers->asked[i];
    judged.push_back({samples[i], verdict_of(samples[i], asked), asked.done ? asked.done_at - began : 2 * audit_patience});
  }
  return judged;
}

void note_suspect(CareState& state, const PendingAudit& audit) {
  const bool known = find_pending(state, audit) != state.pending.end();
  if (!known && !state.bad.contains({audit.attempt, audit.home}) && state.pending.size() < pending_max) state.pending.push_back(audit);
}

AuditEffect note_answer(CareState& state, const LeafAnswer& answer) {
  const PendingAudit& audit = answer.sample.audit;
  Reputation& reputation = state.nodes[audit.home.node].reputation;
  const auto waiting = find_pending(state, audit);
  if (answer.verdict == LeafVerdict::silent) {
    reputation.silent();
    const unsigned tries = waiting == state.pending.end() ? 1 : waiting->tries + 1;
    if (tries < Reputation::silent_max) {
      // The same leaf is asked for again, before any other: who answers only for some shards gains nothing by silence.
      if (waiting != state.pending.end()) {
        waiting->tries = tries;
      } else if (state.pending.size() < pending_max) {
        state.pending.push_back({audit.attempt, audit.home, audit.leaf, tries});
      }
      return AuditEffect::asked_again;
    }
  }
  if (waiting != state.pending.end()) state.pending.erase(waiting);
  if (answer.verdict == LeafVerdict::right) {
    reputation.right();
    if (answer.took > late_after) reputation.late();
    return AuditEffect::none;
  }
  reputation.wrong();
  state.bad.insert({audit.attempt, audit.home});
  return AuditEffect::found_bad;
}

}  // namespace atl
