#include "cache/delegate/delegate.h"

#include <algorithm>

#include "cache/care/leaf_audit.h"
#include "cache/staging/segment_store.h"
#include "engine/base/mutant.h"
#include "engine/base/waiters.h"

namespace atl {
namespace {

constexpr std::size_t batch_jobs = 32;  // reported together
constexpr std::uint64_t state_bytes_max = 64u << 20;

/// The keys that the owner's view gives, one for each attempt.
class DelegatedShardKeys final : public ShardKeys {
 public:
  DelegatedShardKeys(const SecretKey& names, const DelegateView& view) : names_(names) {
    for (const auto& [id, segment] : view.segments) keys_.emplace(segment.attempt, segment.mac_key);
  }
  Result<AttemptMacs> macs(const AttemptId& attempt) const override {
    const auto key = keys_.find(attempt);
    if (key == keys_.end()) return fail(Code::key, "the owner's list has no key for a shard");
    return AttemptMacs(SecretKey::from(key->second));
  }
  std::string name(const AttemptId& attempt, ShardIndex shard, const NodeId& node) const override {
    return shard_object_name(names_, attempt, shard, node);
  }

 private:
  const SecretKey& names_;
  std::map<AttemptId, std::array<std::uint8_t, 32>> keys_;
};

struct Suspects {
  std::mutex mutex;
  std::vector<PendingAudit> audits;
};

SegmentRow row_of(const DelegatedSegment& segment) {
  SegmentRow row;
  row.bytes = segment.shipped_bytes + segment_header_bytes;
  row.live_extents = 1;
  row.finished = true;
  row.has_attempt = true;
  row.attempt = segment.attempt;
  row.k = segment.k;
  row.n = segment.n;
  row.placed = segment.placed;
  return row;
}

std::uint64_t seconds_of(Duration duration) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(duration).count()));
}

}  // namespace

struct Delegate::Books {
  DelegateRound round;
  std::map<SegmentId, SegmentRow> rows;  // the view, and what was stored since
  std::optional<DelegatedShardKeys> keys;

  /// A place that was reported: an object of the shard may lie there.
  void note(const DelegatedMove& move) {
    const auto found = rows.find(move.segment);
    if (found == rows.end() || found->second.attempt != move.attempt) return;
    SegmentRow& row = found->second;
    const ShardHome place{move.shard, move.to};
    const auto old = std::find(row.placed.begin(), row.placed.end(), ShardHome{move.shard, move.from});
    const bool taken = std::any_of(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) { return home.node == move.to; });
    if (move.stored && old != row.placed.end() && !taken) {
      old->node = move.to;
      std::erase_if(row.strays, [&](const Stray& stray) { return stray.home == place; });
    } else if (!taken && std::none_of(row.strays.begin(), row.strays.end(), [&](const Stray& stray) { return stray.home == place; })) {
      row.strays.push_back({place, 0});
    }
  }
};

Delegate::Delegate(DelegateGrant grant, Seams seams, DelegateOptions options, std::stop_token stop)
    : grant_(std::move(grant)), seams_(std::move(seams)), options_(std::move(options)), stop_(std::move(stop)) {}

std::uint64_t Delegate::wall_seconds() const { return static_cast<std::uint64_t>(std::max<std::int64_t>(0, seams_.runtime.clock().wall_now().seconds)); }

Result<Engine*> Delegate::reach(const std::vector<DelegatedNode>& nodes) {
  if (engine_ != nullptr && nodes == reached_) return engine_;
  auto engine = seams_.engine(nodes, grant_.keys.device());
  if (!engine) return fail(engine.error());
  engine_ = *engine;
  reached_ = nodes;
  return engine_;
}

Result<> Delegate::read_view() {
  if (auto reached = reach(view_ ? view_->nodes : grant_.nodes); !reached) return fail(reached.error());
  DelegateExchange exchange(*engine_, seams_.runtime, stop_);
  const auto listed = exchange.list([&](const NodeId& node) { return grant_.keys.prefix(DelegateObject::view, node); });
  if (!listed) return fail(Code::unavailable, "none of the drive's nodes answers", "this delegate may have been revoked: ask the drive's owner");
  std::map<std::uint64_t, std::set<NodeId>> holders;
  for (const ListedObject& object : *listed) holders[object.number].insert(object.node);
  if (const auto mark = holders.find(revoked_number); mark != holders.end()) {
    auto open = exchange.get(grant_.keys, DelegateObject::revoked, revoked_number, mark->second);
    if (open) return fail(Code::not_permitted, "the owner of the drive has revoked this delegate");
    holders.erase(mark);  // a node made it up
  }
  // The newest that any node gives: one alone may be behind.
  for (auto at = holders.rbegin(); at != holders.rend() && (!view_ || at->first > view_number_); ++at) {
    auto plain = exchange.get(grant_.keys, DelegateObject::view, at->first, at->second);
    if (!plain && plain.error().code == Code::cancelled) return fail(plain.error());
    if (!plain) continue;
    auto view = decode_delegate_view(*plain);
    if (!view) return fail(view.error());
    if (view->volume != grant_.volume) return fail(Code::corrupt, "the list of shards is of another drive");
    view_ = std::move(*view);
    view_number_ = at->first;
    break;
  }
  if (!view_) return fail(Code::unavailable, "no node that answers has a list of shards for this delegate", "the drive's mount writes one; has it been revoked?");
  if (auto reached = reach(view_->nodes); !reached) return fail(reached.error());
  return {};
}

Result<> Delegate::read_reports(Books& books) {
  DelegateExchange exchange(*engine_, seams_.runtime, stop_);
  const auto listed = exchange.list([&](const NodeId& node) { return grant_.keys.prefix(DelegateObject::report, node); });
  if (!listed) return fail(Code::unavailable, "none of the drive's nodes answers");
  std::map<std::uint64_t, std::set<NodeId>> holders;
  for (const ListedObject& object : *listed) holders[object.number].insert(object.node);
  for (const auto& [number, nodes] : holders) {
    last_report_ = std::max(last_report_, number);
    auto plain = exchange.get(grant_.keys, DelegateObject::report, number, nodes);
    if (!plain && plain.error().code == Code::cancelled) return fail(plain.error());
    // One that the owner took over meanwhile is gone; what a node garbled would only tell what is found out again.
    if (!plain) continue;
    const auto report = decode_delegate_report(*plain);
    if (!report) return fail(report.error());
    for (const DelegatedMove& move : report->moves) books.note(move);
  }
  return {};
}

void Delegate::recall() {
  if (std::exchange(recalled_, true)) return;
  auto bytes = read_file(seams_.disk, options_.state_path, state_bytes_max);
  if (!bytes) return;
  // Whatever is wrong with it: what it knew is learnt again.
  if (auto state = decode_care(*bytes, grant_.volume)) state_ = std::move(*state);
}

Result<> Delegate::save() { return replace_file(seams_.disk, options_.state_path, encode_care(state_, grant_.volume)); }

void Delegate::observe(Books& books) {
  for (const NodeStatus& node : engine_->nodes()) {
    NodeMemory& memory = state_.nodes[node.spec.id];
    if (node.state == NodeState::absent) {
      memory.away_since = std::min(memory.away_since.value_or(wall_seconds()), wall_seconds());
      books.round.absent.push_back(node.spec.url);
    } else {
      memory.away_since.reset();
    }
    if (memory.reputation.trust() == Trust::failing) books.round.failing.push_back(node.spec.url);
  }
  // Of segments that are gone, or encoded anew.
  std::set<AttemptId> attempts;
  for (const auto& [id, row] : books.rows) attempts.insert(row.attempt);
  std::erase_if(state_.bad, [&](const auto& item) { return !attempts.contains(item.first); });
}

NodeFate Delegate::fate_of(const NodeStatus& node) const {
  const auto found = state_.nodes.find(node.spec.id);
  const NodeMemory memory = found == state_.nodes.end() ? NodeMemory{} : found->second;
  if (memory.reputation.trust() == Trust::failing) return NodeFate::lost;
  if (node.state != NodeState::absent) return NodeFate::present;
  const std::uint64_t now = wall_seconds();
  const std::uint64_t away = now - std::min(now, memory.away_since.value_or(now));
  const std::uint64_t grace = options_.repair_grace ? seconds_of(*options_.repair_grace) : view_->repair_grace_seconds;
  if (away >= grace) return NodeFate::overdue;
  return away >= seconds_of(options_.patience) ? NodeFate::away : NodeFate::blinked;
}

NodeFates Delegate::fates(const Books&) const {
  NodeFates fates;
  for (const NodeStatus& node : engine_->nodes()) fates[node.spec.id] = fate_of(node);
  return fates;
}

Result<> Delegate::audit(Books& books) {
  for (unsigned i = 0; i < options_.audits; ++i) {
    std::set<NodeId> due;
    for (const NodeStatus& node : engine_->nodes())
      if (node.state != NodeState::absent) due.insert(node.spec.id);
    SampleChooser chooser(due, state_, seams_.random);
    for (const auto& [id, row] : books.rows) chooser.offer(id, row, false);
    chooser.forget_gone(state_);
    std::vector<LeafSample> samples;
    for (const auto& [node, sample] : chooser.samples()) samples.push_back(sample);
    if (samples.empty()) return {};
    const auto answers = ask_leaves(*engine_, seams_.runtime, stop_, *books.keys, samples);
    if (!answers) return fail(Code::cancelled, "the audits were interrupted");
    for (const LeafAnswer& answer : *answers) {
      if (answer.verdict == LeafVerdict::away) continue;
      ++books.round.audits;
      if (note_answer(state_, answer) == AuditEffect::found_bad) ++books.round.audits_wrong;
    }
  }
  return {};
}

Result<> Delegate::report(const std::vector<DelegatedMove>& moves) {
  DelegateReport report;
  report.volume = grant_.volume;
  report.made_at = seams_.runtime.clock().wall_now();
  report.moves = moves;
  // By the clock, so that a number is not used again when the owner has removed what it has read.
  last_report_ = std::max(last_report_ + 1, wall_seconds() * 1000);
  const auto object = std::make_shared<const Bytes>(grant_.keys.seal(DelegateObject::report, last_report_, encode_delegate_report(report), seams_.random));
  DelegateExchange exchange(*engine_, seams_.runtime, stop_);
  if (exchange.put(grant_.keys, DelegateObject::report, last_report_, object, exchange.nodes()).empty())
    return fail(stop_.stop_requested() ? Code::cancelled : Code::unavailable, "no node took the report of what is repaired");
  return {};
}

Result<> Delegate::pay(std::uint64_t bytes) {
  const double seconds = static_cast<double>(bytes) / static_cast<double>(std::max<std::uint64_t>(options_.bandwidth, 1));
  const auto wait = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  Waiters nobody;
  (void)nobody.wait(seams_.runtime, seams_.runtime.clock().now() + wait, stop_, [] { return false; });
  if (stop_.stop_requested()) return fail(Code::cancelled, "the repairs were interrupted");
  return {};
}

Result<> Delegate::repair(Books& books) {
  std::map<NodeId, NodeSpec> specs;
  for (const DelegatedNode& node : view_->nodes) specs[node.spec.id] = node.spec;
  std::set<SegmentId> tried;
  const std::map<ShardHome, NodeId> undecided;
  for (;;) {
    const NodeFates fates_now = fates(books);
    std::vector<CareJob> jobs;
    for (const auto& [id, row] : books.rows) {
      if (tried.contains(id)) continue;
      CareJob job = plan_segment(id, row, assess(row, fates_now, state_.bad), view_->segments.at(id).protect_min);
      if (!job.rebuild.empty()) jobs.push_back(std::move(job));
    }
    if (jobs.empty()) return {};
    std::sort(jobs.begin(), jobs.end(), more_pressing);
    if (jobs.size() > batch_jobs) jobs.resize(batch_jobs);
    std::vector<ShardPlace> places;
    for (const NodeStatus& node : engine_->nodes())
      if (node.state != NodeState::absent) places.push_back({node, fates_now.at(node.spec.id) == NodeFate::present && !specs[node.spec.id].draining});

    std::vector<DelegatedMove> moves;
    std::vector<std::pair<SegmentId, std::vector<ShardTarget>>> work;
    for (const CareJob& job : jobs) {
      tried.insert(job.segment);
      const SegmentRow& row = books.rows.at(job.segment);
      // What lies damaged under a name cannot be removed from here: the name is taken.
      const auto usable = [&](ShardIndex shard, const NodeId& node) { return !state_.bad.contains({row.attempt, {shard, node}}); };
      const TargetChoice choice{row, job, specs, places, state_.bad, undecided, usable, false};
      std::vector<ShardTarget> targets = choose_targets(choice, seams_.random, books.round.no_place);
      for (const ShardTarget& target : targets) moves.push_back({job.segment, row.attempt, target.old.shard, target.old.node, target.to, false});
      if (!targets.empty()) work.emplace_back(job.segment, std::move(targets));
    }
    if (work.empty()) continue;
    // Before the first byte leaves: whatever comes to lie on nodes can be found by the owner.
    if (auto reported = mutant("delegate-unreported") ? Result<>() : report(moves); !reported) return reported;

    std::vector<DelegatedMove> done;
    Result<> result;
    for (auto& [segment, targets] : work) {
      SegmentRow& row = books.rows.at(segment);
      const auto suspects = std::make_shared<Suspects>();  // an answer that comes too late still finds it
      const auto did_not_verify = [suspects](const AttemptId& attempt, const ShardHome& home, std::uint32_t leaf) {
        std::lock_guard lock(suspects->mutex);
        suspects->audits.push_back({attempt, home, leaf, 0});
      };
      ShardTransfer transfer(*engine_, seams_.runtime, stop_, {*books.keys, [](const ShardHome&) { return true; }, did_not_verify});
      ShardTransfer::Outcome outcome;
      Result<> read = transfer.read(row, {}, state_.bad, targets, outcome);
      if (read) transfer.store(row, targets, outcome);
      {
        std::lock_guard lock(suspects->mutex);
        for (const PendingAudit& suspect : suspects->audits) note_suspect(state_, suspect);
      }
      for (const ShardHome& place : outcome.taken) state_.bad.insert({row.attempt, place});
      books.round.read_bytes += outcome.read_bytes;
      books.round.written_bytes += outcome.written_bytes;
      for (const ShardTarget& target : targets) {
        if (std::find(outcome.replaced.begin(), outcome.replaced.end(), target.old) == outcome.replaced.end()) continue;
        done.push_back({segment, row.attempt, target.old.shard, target.old.node, target.to, true});
        state_.bad.erase({row.attempt, target.old});
      }
      if (!read && read.error().code == Code::cancelled) result = read;
      if (result) result = pay(outcome.read_bytes + outcome.written_bytes);
      if (!result) break;
    }
    for (const DelegatedMove& move : done) books.note(move);
    books.round.shards_rebuilt += done.size();
    if (!done.empty())
      if (auto reported = report(done); !reported) return reported;
    if (!result) return result;
  }
}

Result<DelegateRound> Delegate::round() {
  recall();
  if (auto read = read_view(); !read) return fail(read.error());
  Books books;
  for (const auto& [id, segment] : view_->segments) books.rows.emplace(id, row_of(segment));
  books.keys.emplace(grant_.keys.names(), *view_);
  if (auto read = read_reports(books); !read) return fail(read.error());
  observe(books);
  books.round.segments = books.rows.size();
  const auto made = static_cast<std::uint64_t>(std::max<std::int64_t>(0, view_->made_at.seconds));
  books.round.view_age_seconds = wall_seconds() - std::min(wall_seconds(), made);
  books.round.owner_away = books.round.view_age_seconds >= seconds_of(options_.stand_in_after);
  Result<> result = audit(books);
  if (result && books.round.owner_away) result = repair(books);
  // However far it came.
  const NodeFates fates_now = fates(books);
  for (const auto& [id, row] : books.rows) {
    if (row.placed.empty()) continue;
    const SegmentHealth health = assess(row, fates_now, state_.bad);
    if (health.margin < 0) ++books.round.segments_lost;
    if (!plan_segment(id, row, health, view_->segments.at(id).protect_min).rebuild.empty()) ++books.round.segments_waiting;
    books.round.worst_margin = std::min(books.round.worst_margin.value_or(health.margin), health.margin);
  }
  if (auto saved = save(); !saved && result) result = saved;
  if (!result) return fail(result.error());
  return books.round;
}

}  // namespace atl
