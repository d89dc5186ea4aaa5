// Caretaker: which node is asked for a random leaf when, and what follows from its answer (leaf_audit.h).
#include <algorithm>

#include "cache/care/caretaker.h"
#include "cache/care/leaf_audit.h"
#include "cache/keys/keyring_shard_keys.h"

namespace atl {
namespace {

constexpr Duration audit_interval = Duration(std::chrono::hours(24)) / audits_per_day;
constexpr Duration quick_interval = std::chrono::seconds(10);  // of a node that has just answered wrongly
constexpr unsigned quick_audits = 30;
constexpr std::size_t sample_chunk = 4096;

}  // namespace

void Caretaker::take_suspects() {
  const std::vector<Suspect> suspects = core_.take_suspects();
  std::lock_guard lock(mutex_);
  for (const Suspect& suspect : suspects) {
    note_suspect(state_, {suspect.attempt, suspect.home, suspect.leaf, 0});
    audit_due_[suspect.home.node] = MonotonicTime{};
  }
}

std::vector<LeafSample> Caretaker::choose_samples(const std::set<NodeId>& due) {
  std::optional<SampleChooser> chooser;
  {
    std::lock_guard lock(mutex_);
    chooser.emplace(due, state_, core_.seams.random);
  }
  for (std::optional<SegmentId> after;;) {
    std::lock_guard lock(core_.mutex);
    const auto& segments = core_.tables->segments();
    auto at = after ? segments.upper_bound(*after) : segments.begin();
    for (std::size_t i = 0; i < sample_chunk && at != segments.end(); ++i, ++at) {
      after = at->first;
      chooser->offer(at->first, at->second, core_.in_care.contains(at->first));
    }
    if (at == segments.end()) break;
  }
  std::lock_guard lock(mutex_);
  chooser->forget_gone(state_);
  std::vector<LeafSample> samples;
  for (const auto& [node, sample] : chooser->samples()) samples.push_back(sample);
  return samples;
}

void Caretaker::audit() {
  Engine* engine = core_.engine.load();
  const MonotonicTime now = core_.seams.clock.now();
  std::set<NodeId> due;
  {
    const std::vector<NodeStatus> nodes = engine->nodes();
    std::lock_guard lock(mutex_);
    for (const NodeStatus& node : nodes) {
      if (node.state == NodeState::absent) continue;
      const auto [when, first] = audit_due_.try_emplace(node.spec.id, now);
      if (when->second > now) continue;
      due.insert(node.spec.id);
      unsigned& quick = suspicion_[node.spec.id];
      when->second = now + (quick > 0 ? quick_interval : audit_interval);
      if (quick > 0) --quick;
    }
  }
  if (due.empty()) return;
  const std::vector<LeafSample> samples = choose_samples(due);
  if (samples.empty()) return;
  const auto keys = KeyringShardKeys::make(core_.keyring);
  if (!keys) return;  // without keys there is no drive either
  const auto answers = ask_leaves(*engine, core_.seams.runtime, tasks_.stop_token(), *keys, samples);
  if (!answers) return;
  for (const LeafAnswer& answer : *answers)
    if (answer.verdict != LeafVerdict::away) judge(answer);
}

void Caretaker::judge(const LeafAnswer& answer) {
  const PendingAudit& audit = answer.sample.audit;
  std::scoped_lock lock(core_.mutex, mutex_);
  // It may have moved, or been dropped, while we asked.
  const auto found = core_.tables->segments().find(answer.sample.segment);
  if (found == core_.tables->segments().end()) return;
  const SegmentRow& row = found->second;
  const bool placed = std::find(row.placed.begin(), row.placed.end(), audit.home) != row.placed.end();
  if (!row.has_attempt || row.attempt != audit.attempt || row.live_extents == 0 || !placed) return;
  ++core_.counters.audits;
  switch (note_answer(state_, answer)) {
    case AuditEffect::none: return;
    case AuditEffect::asked_again: {
      unsigned& quick = suspicion_[audit.home.node];
      quick = std::max(quick, Reputation::silent_max);
      return;
    }
    case AuditEffect::found_bad: break;
  }
  ++core_.counters.audits_wrong;
  suspicion_[audit.home.node] = quick_audits;
  audit_due_[audit.home.node] = core_.seams.clock.now() + quick_interval;
  // Repaired in the round that follows at once.
  std::lock_guard flags(flags_mutex_);
  again_ = true;
}

}  // namespace atl
