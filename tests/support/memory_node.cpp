#include "tests/support/memory_node.h"

#include <algorithm>

namespace atl {

namespace {

class Counted {
 public:
  Counted(std::size_t& running, std::size_t& most) : running_(running) { most = std::max(most, ++running_); }
  ~Counted() { --running_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::size_t& running_;
};

Bytes joined(const ObjectBody& body) {
  Bytes whole;
  for (const ByteView piece : body.pieces) whole.insert(whole.end(), piece.begin(), piece.end());
  return whole;
}

}  // namespace

asio::awaitable<Result<>> MemoryNode::enter() {
  while (faults.hangs) co_await pause_for(loop_, std::chrono::hours(1));
  if (faults.delay > Duration::zero()) co_await pause_for(loop_, faults.delay);
  if (faults.absent) co_return fail(Code::unavailable, "the node is not there");
  co_return Result<>();
}

std::uint64_t MemoryNode::used() const {
  std::uint64_t total = 0;
  for (const auto& object : objects) total += object.second.size();
  return total;
}

asio::awaitable<Result<>> MemoryNode::put(std::string name, ObjectBody body) {
  const Counted counted(running, running_most);
  ++puts;
  if (!is_object_name(name)) co_return fail(Code::invalid, "a bad name");
  if (faults.put_delay > Duration::zero()) co_await pause_for(loop_, faults.put_delay);
  auto entered = co_await enter();
  if (!entered) co_return entered;
  if (!faults.refuses.empty()) {
    const Code code = faults.refuses.front();
    faults.refuses.pop_front();
    co_return fail(code, "refused by the test");
  }
  Bytes whole = joined(body);
  const auto found = objects.find(name);
  if (found != objects.end()) {
    if (found->second == whole) co_return Result<>();
    co_return fail(Code::conflict, "another object has the name " + name);
  }
  if (used() + whole.size() > capacity_) co_return fail(Code::no_space, "the node is full");
  objects.emplace(std::move(name), std::move(whole));
  co_return Result<>();
}

asio::awaitable<Result<Bytes>> MemoryNode::get(std::string name, std::uint64_t offset, std::uint64_t length) {
  const Counted counted(running, running_most);
  ++gets;
  if (!is_object_name(name)) co_return fail(Code::invalid, "a bad name");
  auto entered = co_await enter();
  if (!entered) co_return fail(entered.error());
  if (!faults.refuses.empty()) {
    const Code code = faults.refuses.front();
    faults.refuses.pop_front();
    co_return fail(code, "refused by the test");
  }
  auto found = objects.find(name);
  if (found == objects.end()) co_return fail(Code::not_found, "no object " + name);
  if (faults.swaps) {
    if (++found == objects.end()) found = objects.begin();
  }
  const Bytes& whole = found->second;
  const std::uint64_t from = std::min<std::uint64_t>(offset, whole.size());
  std::uint64_t count = std::min<std::uint64_t>(length, whole.size() - from);
  if (faults.truncates) count /= 2;
  const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(from);
  Bytes answer(begin, begin + static_cast<std::ptrdiff_t>(count));
  if (faults.garbage) {
    for (std::uint8_t& byte : answer) byte ^= 0x5a;
  }
  co_return answer;
}

asio::awaitable<Result<ObjectStat>> MemoryNode::stat(std::string name) {
  if (!is_object_name(name)) co_return fail(Code::invalid, "a bad name");
  auto entered = co_await enter();
  if (!entered) co_return fail(entered.error());
  const auto found = objects.find(name);
  if (found == objects.end()) co_return fail(Code::not_found, "no object " + name);
  co_return ObjectStat{found->second.size()};
}

asio::awaitable<Result<std::vector<std::string>>> MemoryNode::list(std::string prefix, std::string after,
                                                                   std::size_t limit) {
  auto entered = co_await enter();
  if (!entered) co_return fail(entered.error());
  std::vector<std::string> names;
  for (const auto& object : objects) {
    if (names.size() < limit && object.first > after && object.first.starts_with(prefix)) names.push_back(object.first);
  }
  co_return names;
}

asio::awaitable<Result<std::size_t>> MemoryNode::remove(std::vector<std::string> names) {
  auto entered = co_await enter();
  if (!entered) co_return fail(entered.error());
  for (const std::string& name : names) objects.erase(name);
  co_return names.size();
}

asio::awaitable<Result<NodeUsage>> MemoryNode::usage() {
  ++usages;
  auto entered = co_await enter();
  if (!entered) co_return fail(entered.error());
  NodeUsage usage;
  usage.used_bytes = used();
  usage.capacity_bytes = capacity_;
  usage.free_bytes = capacity_ - std::min(capacity_, usage.used_bytes);
  co_return usage;
}

}  // namespace atl
