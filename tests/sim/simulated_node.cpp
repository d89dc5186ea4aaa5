#include "tests/sim/simulated_node.h"

#include <algorithm>

namespace atl::sim {
namespace {

/// A listing of a weak store shows an object so long after it was stored.
constexpr Duration listing_lag = std::chrono::seconds(4);
constexpr Duration refusal_delay = std::chrono::milliseconds(1);
constexpr Duration flush_delay = std::chrono::milliseconds(8);

}  // namespace

Result<> SimulatedNode::store(const std::string& name, Bytes whole, MonotonicTime now) {
  const auto found = objects_.find(name);
  if (found != objects_.end() && *found->second == whole) return {};
  if (found != objects_.end() && !faults.weak) return fail(Code::conflict, "another object has the name " + name);
  if (used_ + whole.size() > capacity_) return fail(Code::no_space, "the node is full");
  if (found != objects_.end()) used_ -= found->second->size();
  used_ += whole.size();
  objects_[name] = std::make_shared<const Bytes>(std::move(whole));
  unflushed_.insert(name);
  if (faults.weak) stored_at_[name] = now;
  return {};
}

Result<SimulatedNode::Object> SimulatedNode::load(const std::string& name) const {
  auto found = objects_.find(name);
  if (found == objects_.end() || faults.forgets) return fail(Code::not_found, "no object " + name);
  if (faults.swaps && ++found == objects_.end()) found = objects_.begin();
  return found->second;
}

Result<std::vector<std::string>> SimulatedNode::names(const std::string& prefix, const std::string& after, std::size_t limit,
                                                      MonotonicTime now) const {
  std::vector<std::string> found;
  if (faults.forgets) return found;
  for (auto it = objects_.lower_bound(std::max(prefix, after)); it != objects_.end() && found.size() < limit; ++it) {
    if (!it->first.starts_with(prefix)) break;
    if (it->first == after) continue;
    const auto at = stored_at_.find(it->first);
    if (at != stored_at_.end() && now - at->second < listing_lag) continue;
    found.push_back(it->first);
  }
  return found;
}

void SimulatedNode::erase(const std::string& name) {
  const auto found = objects_.find(name);
  if (found == objects_.end()) return;
  used_ -= found->second->size();
  objects_.erase(found);
  unflushed_.erase(name);
  stored_at_.erase(name);
}

NodeUsage SimulatedNode::usage() const {
  NodeUsage usage;
  usage.used_bytes = used_;
  usage.capacity_bytes = capacity_;
  usage.free_bytes = capacity_ - std::min(capacity_, used_);
  return usage;
}

void SimulatedNode::crash() {
  ++incarnation_;
  const auto doubtful = std::exchange(unflushed_, {});
  for (const std::string& name : doubtful)
    if (random_.u64() % 2 == 0) erase(name);
}

void SimulatedNode::roll_back() {
  ++incarnation_;
  objects_ = remembered_;
  unflushed_.clear();
  used_ = 0;
  for (const auto& [name, object] : objects_) used_ += object->size();
}

bool SimulatedNode::rot() {
  if (objects_.empty()) return false;
  auto victim = std::next(objects_.begin(), static_cast<std::ptrdiff_t>(random_.u64() % objects_.size()));
  if (victim->second->empty()) return false;
  Bytes changed = *victim->second;
  changed[random_.u64() % changed.size()] ^= static_cast<std::uint8_t>(1u << random_.u64() % 8);
  victim->second = std::make_shared<const Bytes>(std::move(changed));
  return true;
}

class SimulatedLink::Call {
 public:
  explicit Call(SimulatedNode& machine) : machine_(machine) {
    machine_.running_most = std::max(machine_.running_most, ++machine_.running);
  }
  ~Call() { --machine_.running; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  SimulatedNode& machine_;
};

/// The time that a message takes one way.
asio::awaitable<Result<>> SimulatedLink::travel(std::uint64_t bytes) {
  double seconds = static_cast<double>(distance_.latency.count()) * 1e-9;
  if (distance_.jitter > Duration::zero()) {
    // Cubed, so that most messages are close to the usual time and few take long.
    const double luck = static_cast<double>(random_.below(1'000'000)) / 1'000'000;
    seconds += static_cast<double>(distance_.jitter.count()) * 1e-9 * luck * luck * luck;
  }
  if (distance_.bytes_per_second > 0) seconds += static_cast<double>(bytes) / static_cast<double>(distance_.bytes_per_second);
  seconds *= machine_.faults.slowness;
  const Duration delay(static_cast<Duration::rep>(seconds * 1e9));
  if (delay > Duration::zero()) co_await pause_for(loop_, delay);
  const bool lost = machine_.faults.loss > 0 && random_.chance(machine_.faults.loss);
  // Nothing says that a message was lost: the caller waits until it gives up.
  while (cut_ || away_ || lost || machine_.faults.partitioned || machine_.faults.gone) co_await pause_for(loop_, std::chrono::hours(1));
  co_return Result<>();
}

asio::awaitable<Result<>> SimulatedLink::reach(std::string call, std::uint64_t bytes) {
  ++machine_.requests[std::move(call)];
  auto arrived = co_await travel(bytes);
  if (!arrived) co_return arrived;
  if (machine_.faults.down) {
    co_await pause_for(loop_, refusal_delay);
    co_return fail(Code::unavailable, "connection refused");
  }
  co_return Result<>();
}

asio::awaitable<Result<>> SimulatedLink::answer(std::uint64_t incarnation, std::uint64_t bytes) {
  while (machine_.faults.frozen) co_await pause_for(loop_, std::chrono::milliseconds(250));
  if (machine_.incarnation() != incarnation || machine_.faults.down) co_return fail(Code::unavailable, "connection reset");
  co_return co_await travel(bytes);
}

Result<> SimulatedLink::disk_allows() {
  if (machine_.faults.unreliable_disk && random_.below(5) == 0) return fail(Code::io, "the node's disk failed");
  return {};
}

asio::awaitable<Result<>> SimulatedLink::put(std::string name, ObjectBody body) {
  if (!is_object_name(name)) co_return fail(Code::invalid, "a bad name");
  const Call call(machine_);
  auto reached = co_await reach("put", body.size());
  if (!reached) co_return reached;
  const std::uint64_t incarnation = machine_.incarnation();
  auto allowed = disk_allows();
  if (!allowed) co_return allowed;
  Bytes whole;
  whole.reserve(body.size());
  for (const ByteView piece : body.pieces) whole.insert(whole.end(), piece.begin(), piece.end());
  Result<> stored = machine_.store(name, std::move(whole), loop_.now());
  if (distance_.latency > Duration::zero()) co_await pause_for(loop_, flush_delay);
  if (stored && machine_.incarnation() == incarnation) machine_.flush(name);
  auto answered = co_await answer(incarnation, 0);
  if (answered) {
    answered = stored;
    if (stored) ++machine_.acknowledged;
  }
  tell("put", name, answered);
  co_return answered;
}

asio::awaitable<Result<Bytes>> SimulatedLink::get(std::string name, std::uint64_t offset, std::uint64_t length) {
  if (!is_object_name(name)) co_return fail(Code::invalid, "a bad name");
  const Call call(machine_);
  auto reached = co_await reach("get", 0);
  if (!reached) co_return fail(reached.error());
  const std::uint64_t incarnation = machine_.incarnation();
  auto allowed = disk_allows();
  if (!allowed) co_return fail(allowed.error());
  auto object = machine_.load(name);
  Bytes bytes;
  if (object) {
    const Bytes& whole = **object;
    const std::uint64_t from = std::min<std::uint64_t>(offset, whole.size());
    std::uint64_t count = std::min<std::uint64_t>(length, whole.size() - from);
    if (machine_.faults.truncates) count /= 2;
    const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(from);
    bytes.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
    if (machine_.faults.garbage && !bytes.empty()) bytes[random_.below(bytes.size())] ^= static_cast<std::uint8_t>(1 + random_.below(255));
  }
  auto answered = co_await answer(incarnation, bytes.size());
  if (answered && !object) answered = fail(object.error());
  tell("get", name, answered);
  if (!answered) co_return fail(answered.error());
  co_return bytes;
}

asio::awaitable<Result<ObjectStat>> SimulatedLink::stat(std::string name) {
  if (!is_object_name(name)) co_return fail(Code::invalid, "a bad name");
  const Call call(machine_);
  auto reached = co_await reach("stat", 0);
  if (!reached) co_return fail(reached.error());
  const std::uint64_t incarnation = machine_.incarnation();
  auto object = machine_.load(name);
  auto answered = co_await answer(incarnation, 0);
  if (answered && !object) answered = fail(object.error());
  tell("stat", name, answered);
  if (!answered) co_return fail(answered.error());
  co_return ObjectStat{(*object)->size()};
}

asio::awaitable<Result<std::vector<std::string>>> SimulatedLink::list(std::string prefix, std::string after, std::size_t limit) {
  const Call call(machine_);
  auto reached = co_await reach("list", 0);
  if (!reached) co_return fail(reached.error());
  const std::uint64_t incarnation = machine_.incarnation();
  auto found = machine_.names(prefix, after, limit, loop_.now());
  auto answered = co_await answer(incarnation, found->size() * 64);
  tell("list", prefix, answered);
  if (!answered) co_return fail(answered.error());
  co_return found;
}

asio::awaitable<Result<std::size_t>> SimulatedLink::remove(std::vector<std::string> names) {
  const Call call(machine_);
  auto reached = co_await reach("remove", names.size() * 64);
  if (!reached) co_return fail(reached.error());
  const std::uint64_t incarnation = machine_.incarnation();
  auto allowed = disk_allows();
  if (!allowed) co_return fail(allowed.error());
  for (const std::string& name : names) machine_.erase(name);
  auto answered = co_await answer(incarnation, 0);
  tell("remove", names.empty() ? std::string() : names.front(), answered);
  if (!answered) co_return fail(answered.error());
  co_return names.size();
}

asio::awaitable<Result<NodeUsage>> SimulatedLink::usage() {
  auto reached = co_await reach("usage", 0);
  if (!reached) co_return fail(reached.error());
  const std::uint64_t incarnation = machine_.incarnation();
  auto answered = co_await answer(incarnation, 0);
  if (!answered) co_return fail(answered.error());
  co_return machine_.usage();
}

}  // namespace atl::sim
