#include "engine/transfer/fetch.h"

#include <algorithm>
#include <tuple>

#include "engine/base/mutant.h"

namespace atl {

namespace {

/// What is asked first: nodes in order, then those known to be slow, then those whose answers did not verify.
int rank_of(NodeState state) {
  switch (state) {
    case NodeState::ok:
    case NodeState::full: return 0;
    case NodeState::slow:
    case NodeState::stale: return 1;
    case NodeState::lying: return 2;
    case NodeState::absent: return 3;
  }
  return 3;
}

}  // namespace

Fetch::Fetch(EngineParts& parts, FetchRequest request) : RunningTransfer(parts), request_(std::move(request)) {}

void Fetch::start() {
  if (request_.deadline) {
    const Duration left = std::max(*request_.deadline - parts_.loop.now(), Duration::zero());
    deadline_timer_ = parts_.loop.after(left, [this, self = shared_from_this()] {
      if (!finished_) finish(fail(Code::timed_out, "the nodes did not answer in time: " + why_too_few().what));
    });
  }
  if (request_.wanted) {
    Source wanted;
    wanted.where = *request_.wanted;
    wanted.node = parts_.find(wanted.where.home.node);
    sources_.push_back(std::move(wanted));
    first_other_ = 1;
  }
  add_others();
  ask_first();
  begun_ = true;
}

void Fetch::ask_first() {
  if (!wanted_may_answer() || !reachable(sources_[0])) {
    widen();
    return;
  }
  const NodeState state = parts_.health.state(*sources_[0].node);
  ask(0, parts_.options.get_timeout);
  if (state == NodeState::slow || state == NodeState::lying || parts_.health.lags(*sources_[0].node)) {
    widen();
  } else {
    arm_hedge();
  }
}

void Fetch::stop() {
  if (!finished_) finish(fail(Code::cancelled, "the read was given up"));
}

void Fetch::add_others() {
  if (request_.need == 0) return;  // nothing can be decoded from them
  using Key = std::tuple<int, Duration, std::uint64_t>;
  std::vector<std::pair<Key, Source>> ordered;
  for (const FetchSource& where : request_.others) {
    Source source;
    source.where = where;
    source.node = parts_.find(where.home.node);
    Key key(rank_of(NodeState::absent), Duration::zero(), parts_.random.u64());
    if (source.node) {
      const auto load = static_cast<Duration::rep>(1 + parts_.slots.load(*source.node));
      std::get<0>(key) = rank_of(parts_.health.state(*source.node));
      if (parts_.health.lags(*source.node)) std::get<0>(key) = std::max(std::get<0>(key), rank_of(NodeState::slow));
      std::get<1>(key) = parts_.health.read_latency(*source.node, 50) * load;
    }
    ordered.emplace_back(key, std::move(source));
  }
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& entry : ordered) sources_.push_back(std::move(entry.second));
}

bool Fetch::reachable(const Source& source) const { return source.node && parts_.health.reachable(*source.node); }

bool Fetch::wanted_may_answer() const { return first_other_ == 1 && sources_[0].progress != Progress::spent; }

void Fetch::ask(std::size_t source, Duration timeout) {
  Source& target = sources_[source];
  target.progress = Progress::running;
  if (begun_) ++parts_.counters.hedged_reads;
  const auto self = std::static_pointer_cast<Fetch>(shared_from_this());
  OperationPlan<Bytes> plan;
  plan.node = *target.node;
  plan.kind = CallKind::read;
  plan.timeout = timeout;
  plan.bytes = request_.length;
  plan.call = [self, source](Node& node) {
    self->sources_[source].asked = true;
    ++self->parts_.counters.node_reads;
    return node.get(self->sources_[source].where.object_name, self->request_.offset, self->request_.length);
  };
  plan.done = [self, source](Result<Bytes> answer) { self->answered(source, std::move(answer)); };
  target.operation = start_operation(parts_, std::move(plan));
}

void Fetch::answered(std::size_t source, Result<Bytes> answer) {
  Source& from = sources_[source];
  from.operation.reset();
  const std::size_t node = *from.node;
  const std::string& url = parts_.health.status(node).spec.url;
  if (!answer) {
    spend(source, url + ": " + answer.error().what);
    return;
  }
  parts_.counters.node_read_bytes += answer->size();
  const ShardIndex shard = from.where.home.shard;
  if (answer->size() != request_.length || (!request_.verify(shard, *answer) && !mutant("answer-unverified"))) {
    ++parts_.counters.bad_shards;
    const std::string what = "what it sent for " + from.where.object_name + " is not what was stored";
    parts_.health.answered_badly(node, what);
    spend(source, url + ": " + what);
    return;
  }
  parts_.health.verified(node);
  parts_.health.kept_up(node);
  from.progress = Progress::spent;
  if (first_other_ == 1 && source == 0) {
    Answers alone;
    alone.emplace_back(shard, std::move(*answer));
    finish(std::move(alone));
    return;
  }
  answers_.emplace(shard, std::move(*answer));
  if (answers_.size() < request_.need) {
    fill();
    return;
  }
  Answers all;
  for (auto& [index, bytes] : answers_) all.emplace_back(index, std::move(bytes));
  finish(std::move(all));
}

void Fetch::spend(std::size_t source, std::string why) {
  sources_[source].progress = Progress::spent;
  failures_.push_back(std::move(why));
  widen();
}

void Fetch::widen() {
  wide_ = true;
  fill();
}

std::size_t Fetch::count_running() const {
  return static_cast<std::size_t>(std::count_if(
      sources_.begin() + static_cast<std::ptrdiff_t>(first_other_), sources_.end(),
      [](const Source& source) { return source.progress == Progress::running; }));
}

void Fetch::fill() {
  if (!wide_) return;
  const std::size_t target = request_.need + extra_;
  std::size_t expected = answers_.size() + count_running();
  std::size_t in_reserve = 0;  // could still be asked, absent ones too
  for (std::size_t i = first_other_; i < sources_.size(); ++i) {
    if (sources_[i].progress != Progress::idle || !sources_[i].node) continue;
    if (expected < target && reachable(sources_[i])) {
      ask(i, parts_.options.get_timeout);
      ++expected;
    } else {
      ++in_reserve;
    }
  }
  const bool others_may_suffice = request_.need > 0 && expected + in_reserve >= request_.need;
  const bool wanted_runs = wanted_may_answer() && sources_[0].progress == Progress::running;
  if (!wanted_runs && (expected < request_.need || request_.need == 0)) ask_absent();
  if (finished_) return;
  const bool anything_runs = std::any_of(sources_.begin(), sources_.end(), [](const Source& source) {
    return source.progress == Progress::running;
  });
  const bool wanted_runs_now = wanted_may_answer() && sources_[0].progress == Progress::running;
  if (!anything_runs || (!wanted_runs_now && !others_may_suffice)) {
    finish(fail(why_too_few()));
    return;
  }
  if (hedge_timer_ == 0) arm_hedge();
}

void Fetch::ask_absent() {
  for (Source& source : sources_) {
    if (source.progress == Progress::idle && source.node)
      ask(static_cast<std::size_t>(&source - sources_.data()), absent_timeout);
  }
}

Duration Fetch::hedge_delay() const {
  const Duration least = parts_.options.hedge_after_min;
  Duration patience = least;
  std::vector<Duration> others;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const Source& source = sources_[i];
    if (source.progress == Progress::running) {
      const Duration usual = parts_.health.read_latency(*source.node, 95);
      patience = std::max(patience, usual + usual / 4);
    }
    if (i >= first_other_ && source.progress != Progress::spent && reachable(source)) others.push_back(parts_.health.read_latency(*source.node, 50));
  }
  // A node that is always slow must not be waited for when enough others are always quick.
  if (const std::size_t need = request_.need; need > 0 && others.size() >= need) {
    std::nth_element(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(need - 1), others.end());
    const Duration others_take = others[need - 1];
    if (others_take > Duration::zero()) patience = std::min(patience, least + 3 * others_take);
  }
  return std::min(patience, std::max(least, hedge_after_max));
}

void Fetch::arm_hedge() {
  hedge_timer_ = parts_.loop.after(hedge_delay(), [this, self = shared_from_this()] {
    hedge_timer_ = 0;
    if (!finished_) hedge();
  });
}

void Fetch::hedge() {
  const bool more = std::any_of(sources_.begin() + static_cast<std::ptrdiff_t>(first_other_), sources_.end(),
                                [this](const Source& source) {
                                  return source.progress == Progress::idle && reachable(source);
                                });
  if (!more) return;  // nobody is left to be quicker
  const bool waits_for_line = parts_.download->limit() != 0 && std::any_of(sources_.begin(), sources_.end(), [](const Source& source) {
    return source.progress == Progress::running && !source.asked;
  });
  if (waits_for_line) {
    arm_hedge();  // more requests would only take more of what is short
    return;
  }
  for (Source& source : sources_) source.lags = source.lags || (source.progress == Progress::running && source.asked);
  if (wide_) ++extra_;
  widen();
}

Error Fetch::why_too_few() const {
  std::string what = std::to_string(answers_.size()) + " of the " + std::to_string(request_.need) +
                     " shards needed could be read";
  for (const std::string& failure : failures_) what += "; " + failure;
  for (const Source& source : sources_) {
    if (source.progress != Progress::spent && !reachable(source))
      what += "; " + (source.node ? parts_.health.status(*source.node).spec.url : source.where.home.node.hex()) +
              ": absent";
  }
  return Error(Code::too_few_nodes, std::move(what), "bring the absent nodes back");
}

void Fetch::finish(Result<Answers> result) {
  finished_ = true;
  parts_.loop.cancel(hedge_timer_);
  parts_.loop.cancel(deadline_timer_);
  for (Source& source : sources_) {
    if (source.operation && source.lags && result) parts_.health.lagged(*source.node);
    if (source.operation) source.operation->cancel();
    source.operation.reset();
  }
  const auto self = shared_from_this();
  auto done = std::move(request_.done);
  leave();
  if (done) done(std::move(result));
  request_ = {};
}

}  // namespace atl
