#include "cache/care/caretaker.h"

#include <algorithm>

#include "cache/care/history_check.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr Duration round_interval = std::chrono::seconds(5);
constexpr Duration save_interval = std::chrono::minutes(1);
constexpr Duration retry_after = std::chrono::minutes(1);
constexpr std::size_t jobs_max = 256;         // of one plan: the rest is planned again
constexpr std::size_t plan_chunk = 4096;      // segments looked at under one hold of the state lock
constexpr std::uint64_t care_bytes_max = 64u << 20;

std::uint64_t seconds_of(Duration duration) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(duration).count()));
}

}  // namespace

void Caretaker::start() {
  recall();
  HistoryCheck::clean(core_.seams.disk, core_.directory);
  {
    std::lock_guard lock(flags_mutex_);
    stopped_ = false;
  }
  saved_at_ = core_.seams.clock.now();
  schedule(round_interval);
}

void Caretaker::recall() {
  auto bytes = read_file(core_.seams.disk, care_path(core_.directory), care_bytes_max);
  if (!bytes) return;
  // Whatever is wrong with it: care begins anew, and learns again.
  if (auto state = decode_care(*bytes, core_.keyring.volume())) {
    std::lock_guard lock(mutex_);
    state_ = std::move(*state);
  }
}

void Caretaker::stop() {
  std::lock_guard lock(flags_mutex_);
  stopped_ = true;
}

void Caretaker::save() {
  std::lock_guard saving(save_mutex_);
  Bytes bytes;
  {
    std::lock_guard lock(mutex_);
    bytes = encode_care(state_, core_.keyring.volume());
  }
  (void)replace_file(core_.seams.disk, care_path(core_.directory), bytes);  // what is lost is learnt again
}

void Caretaker::hurry() {
  {
    std::lock_guard lock(flags_mutex_);
    hurried_ = true;
  }
  {
    std::lock_guard lock(mutex_);
    not_before_.clear();
  }
  pump();
}

void Caretaker::schedule(Duration delay) {
  tasks_.after(delay, [this] {
    {
      std::lock_guard lock(flags_mutex_);
      if (stopped_) return;
    }
    pump();
    schedule(round_interval);
  });
}

void Caretaker::pump() {
  {
    std::lock_guard lock(flags_mutex_);
    again_ = true;
    if (stopped_ || std::exchange(running_, true)) return;
  }
  tasks_.post([this] {
    for (;;) {
      {
        std::lock_guard lock(flags_mutex_);
        if (stopped_ || !std::exchange(again_, false)) {
          running_ = false;
          break;
        }
      }
      try {
        round();
      } catch (const IndexFailure& failure) {
        std::lock_guard lock(core_.mutex);
        core_.fail_stop(failure.error());
      }
    }
    core_.changed.wake();
  });
}

void Caretaker::round() {
  observe();
  take_suspects();
  // First: what a delegate rebuilt need not be rebuilt again.
  spend(delegates_.pass());
  bool more = true;
  while (more && within_budget() && !tasks_.stop_token().stop_requested()) more = repair() || rebalance();
  if (tasks_.stop_token().stop_requested()) return;
  audit();
  const MonotonicTime now = core_.seams.clock.now();
  if (now - saved_at_ >= save_interval) {
    saved_at_ = now;
    save();
  }
  // The budget bounds the rate, not the job: the next one begins when this one is paid for.
  const bool pays = more && !within_budget();
  {
    std::lock_guard lock(flags_mutex_);
    paying_ = pays;
  }
  core_.changed.wake();
  if (pays) tasks_.after(free_at_ - now, [this] { pump(); });
}

std::vector<NodeSpec> Caretaker::specs_for_engine() {
  std::scoped_lock lock(core_.mutex, mutex_);
  std::vector<NodeSpec> specs;
  for (const auto& [id, known] : core_.tables->nodes()) {
    NodeSpec spec = known;
    const auto memory = state_.nodes.find(id);
    const bool failing = memory != state_.nodes.end() && memory->second.reputation.trust() == Trust::failing;
    spec.draining = failing || core_.tables->volume().leaving.contains(id);
    specs.push_back(std::move(spec));
  }
  return specs;
}

/// The engine follows what the journal says: who is a node, where, and who gets nothing new.
void Caretaker::tell_engine() {
  std::lock_guard telling(core_.engine_nodes_mutex);
  Engine* engine = core_.engine.load();
  const std::vector<NodeStatus> told = engine->nodes();
  std::vector<NodeSpec> specs = specs_for_engine();
  const bool same = specs.size() == told.size() && std::all_of(specs.begin(), specs.end(), [&](const NodeSpec& spec) {
    return std::any_of(told.begin(), told.end(), [&](const NodeStatus& node) { return node.spec == spec; });
  });
  if (!same) (void)engine->set_nodes(std::move(specs));  // refused by a closing engine, else tried again
}

void Caretaker::observe() {
  tell_engine();
  const std::vector<NodeStatus> nodes = core_.engine.load()->nodes();
  const MonotonicTime now = core_.seams.clock.now();
  std::uint64_t ran = 0;
  {
    std::lock_guard lock(core_.mutex);
    ran = core_.ran_seconds();
  }
  const std::uint64_t grace = seconds_of(core_.options.repair_grace);
  std::lock_guard lock(mutex_);
  std::map<NodeId, NodeState> states;
  for (const NodeStatus& node : nodes) states[node.spec.id] = node.state;
  // A node came back or went: what waited for it need not wait for its next try.
  if (states != seen_states_) not_before_.clear();
  seen_states_ = std::move(states);
  const std::uint64_t elapsed = observed_at_ ? seconds_of(now - *observed_at_) : 0;
  if (!observed_at_ || elapsed > 0) observed_at_ = now;
  for (const NodeStatus& node : nodes) {
    NodeMemory& memory = state_.nodes[node.spec.id];
    if (answers(node.state)) {
      memory.away_since.reset();
      memory.counted_lost = false;
    } else {
      // A crash may have set the clock of running back a little.
      memory.away_since = std::min(memory.away_since.value_or(ran), ran);
      if (!memory.counted_lost && ran - *memory.away_since >= grace) {
        memory.counted_lost = true;
        ++state_.losses;
      }
    }
    state_.node_seconds += elapsed;
  }
}

NodeFate Caretaker::fate_of(const NodeId& node, const std::map<NodeId, NodeState>& states, const std::set<NodeId>& leaving) {
  const auto state = states.find(node);
  const auto memory = state_.nodes.find(node);
  if (state != states.end() && answers(state->second)) {
    if (memory != state_.nodes.end() && memory->second.reputation.trust() == Trust::failing) return NodeFate::lost;
    return leaving.contains(node) ? NodeFate::leaving : NodeFate::present;
  }
  if (memory == state_.nodes.end() || !memory->second.away_since) return NodeFate::blinked;
  const std::uint64_t ran = core_.ran_seconds();
  const std::uint64_t away = ran - std::min(ran, *memory->second.away_since);
  // A person said that it goes: nobody waits for its return.
  if (leaving.contains(node) && away >= seconds_of(core_.options.repair_patience)) return NodeFate::lost;
  if (away >= seconds_of(core_.options.repair_grace)) return NodeFate::overdue;
  return away >= seconds_of(core_.options.repair_patience) ? NodeFate::away : NodeFate::blinked;
}

NodeFates Caretaker::fates() {
  std::map<NodeId, NodeState> states;
  for (const NodeStatus& node : core_.engine.load()->nodes()) states[node.spec.id] = node.state;
  std::scoped_lock lock(core_.mutex, mutex_);
  NodeFates fates;
  for (const auto& [id, spec] : core_.tables->nodes()) fates[id] = fate_of(id, states, core_.tables->volume().leaving);
  return fates;
}

std::vector<CareJob> Caretaker::plan(const NodeFates& fates) {
  BadShards bad;
  std::map<SegmentId, MonotonicTime> not_before;
  {
    std::lock_guard lock(mutex_);
    if (!mutant("bad-shards-forgotten")) bad = state_.bad;
    not_before = not_before_;
  }
  const MonotonicTime now = core_.seams.clock.now();
  std::vector<CareJob> jobs;
  std::set<std::pair<AttemptId, ShardHome>> bad_still;
  std::uint64_t waiting = 0;
  for (std::optional<SegmentId> after;;) {
    std::lock_guard lock(core_.mutex);
    const auto& segments = core_.tables->segments();
    const VolumeRow& volume = core_.tables->volume();
    auto at = after ? segments.upper_bound(*after) : segments.begin();
    for (std::size_t i = 0; i < plan_chunk && at != segments.end(); ++i, ++at) {
      const auto& [id, row] = *at;
      after = id;
      if (!row.has_attempt || row.live_extents == 0 || row.placed.empty()) continue;
      for (const ShardHome& home : row.placed)
        if (bad.contains({row.attempt, home})) bad_still.insert({row.attempt, home});
      CareJob job = plan_segment(id, row, assess(row, fates, bad), volume.protects(row.k, row.n));
      if (job.empty()) continue;
      ++waiting;
      if (const auto delayed = not_before.find(id); delayed != not_before.end() && delayed->second > now) continue;
      jobs.push_back(std::move(job));
    }
    if (jobs.size() > 2 * jobs_max) {
      std::nth_element(jobs.begin(), jobs.begin() + jobs_max, jobs.end(), more_pressing);
      jobs.resize(jobs_max);
    }
    if (at == segments.end()) break;
  }
  std::sort(jobs.begin(), jobs.end(), more_pressing);
  std::lock_guard lock(mutex_);
  waiting_jobs_ = waiting;
  if (waiting == 0) {
    no_place_ = false;
    not_before_.clear();
  }
  // Bad shards of segments that are gone are nobody's any more.
  std::erase_if(state_.bad, [&](const auto& item) { return bad.contains(item) && !bad_still.contains(item); });
  return jobs;
}

bool Caretaker::repair() {
  {
    std::lock_guard lock(flags_mutex_);
    hurried_ = false;
  }
  const NodeFates now = fates();
  {
    const bool well = std::all_of(now.begin(), now.end(), [](const auto& node) { return node.second == NodeFate::present; });
    std::lock_guard lock(mutex_);
    if (well && state_.bad.empty() && waiting_jobs_ == 0) return false;
  }
  bool any = false;
  for (const CareJob& job : plan(now)) {
    if (!within_budget() || tasks_.stop_token().stop_requested()) return true;
    any = run_job(job, {}) || any;
    // What the plan rests on may have changed meanwhile.
    if (fates() != now) return true;
  }
  return any;
}

bool Caretaker::run_job(const CareJob& job, const std::map<ShardHome, NodeId>& destinations) {
  const NodeFates known = fates();
  ShardMover::Request request;
  request.job = job;
  request.destinations = destinations;
  for (const NodeStatus& node : core_.engine.load()->nodes()) {
    const auto fate = known.find(node.spec.id);
    if (fate == known.end() || !answers(node.state)) continue;
    request.nodes.push_back({node, fate->second == NodeFate::present});
  }
  BadShards bad;
  {
    std::lock_guard lock(mutex_);
    bad = state_.bad;
  }
  request.bad = &bad;
  const std::set<ShardHome> chosen = [&] {
    std::set<ShardHome> homes;
    for (const auto& [home, to] : destinations) homes.insert(home);
    return homes;
  }();
  request.still_wanted = [&](const ShardHome& home) { return chosen.contains(home) || still_wanted(job.attempt, home); };
  const auto outcome = mover_.run(request);
  std::lock_guard lock(mutex_);
  if (!outcome || outcome->busy || outcome->replaced.empty()) not_before_[job.segment] = core_.seams.clock.now() + retry_after;
  if (!outcome) return false;
  no_place_ = outcome->no_place;
  if (outcome->no_place) not_before_[job.segment] = core_.seams.clock.now() + retry_after;
  for (const ShardHome& home : outcome->replaced) {
    state_.bad.erase({job.attempt, home});
    std::erase_if(state_.pending, [&](const PendingAudit& audit) { return audit.attempt == job.attempt && audit.home == home; });
    if (destinations.empty()) ++(job.rebuild.empty() ? core_.counters.shards_moved : core_.counters.shards_rebuilt);
  }
  if (destinations.empty()) {
    core_.counters.care_read_bytes += outcome->read_bytes;
    core_.counters.care_written_bytes += outcome->written_bytes;
  } else {
    core_.counters.shards_balanced += outcome->replaced.size();
    core_.counters.balance_bytes += outcome->read_bytes + outcome->written_bytes;
  }
  spend(outcome->read_bytes + outcome->written_bytes);
  return !outcome->replaced.empty();
}

bool Caretaker::still_wanted(const AttemptId& attempt, const ShardHome& home) {
  const NodeFates known = fates();
  const auto fate = known.find(home.node);
  if (fate == known.end() || fate->second != NodeFate::present) return fate == known.end() || fate->second != NodeFate::blinked;
  std::lock_guard lock(mutex_);
  return state_.bad.contains({attempt, home});
}

bool Caretaker::within_budget() const { return core_.seams.clock.now() >= free_at_; }

void Caretaker::spend(std::uint64_t bytes) {
  const double seconds = static_cast<double>(bytes) / static_cast<double>(std::max<std::uint64_t>(core_.options.care_bandwidth, 1));
  free_at_ = std::max(free_at_, core_.seams.clock.now()) + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace atl
