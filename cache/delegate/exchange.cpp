#include "cache/delegate/exchange.h"

#include "cache/care/call_results.h"
#include "cache/heads/fetch_object.h"

namespace atl {
namespace {

constexpr Duration patience = std::chrono::minutes(2);
constexpr Duration list_patience = std::chrono::seconds(30);  // others have the same
constexpr std::size_t names_max = 65'536;  // of a node; a delegate leaves some each day

}  // namespace

std::vector<NodeId> DelegateExchange::nodes() const {
  std::vector<NodeId> ids;
  for (const NodeStatus& node : engine_.nodes())
    if (node.state != NodeState::absent) ids.push_back(node.spec.id);
  return ids;
}

std::optional<std::vector<ListedObject>> DelegateExchange::list(const std::function<std::string(const NodeId&)>& prefix) {
  const std::vector<NodeId> asked = nodes();
  const auto answers = std::make_shared<CallResults<std::vector<std::string>>>(asked.size());
  for (std::size_t i = 0; i < asked.size(); ++i)
    engine_.list(asked[i], prefix(asked[i]), {}, names_max, [answers, i](Result<std::vector<std::string>> names) { answers->give(i, std::move(names)); });
  (void)answers->landed.wait(runtime_, runtime_.clock().now() + list_patience, stop_, [&] { return answers->all(); });
  std::optional<std::vector<ListedObject>> listed;
  std::lock_guard lock(answers->mutex);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const auto& answer = answers->results[i];
    if (!answer || !*answer) continue;
    if (!listed) listed.emplace();
    for (const std::string& name : **answer) {
      const auto parsed = name.starts_with(prefix(asked[i])) ? parse_delegate_name(name) : std::nullopt;
      if (parsed) listed->push_back({parsed->first, parsed->second, asked[i], name});
    }
  }
  return listed;
}

Result<Bytes> DelegateExchange::get(const DelegateKeys& keys, DelegateObject kind, std::uint64_t number, const std::set<NodeId>& holders) {
  Error last(Code::unavailable, "no node that holds it answers");
  for (const NodeId& node : holders) {
    const MonotonicTime deadline = runtime_.clock().now() + patience;
    const auto answer = std::make_shared<CallResults<Bytes>>(1);
    fetch_object(engine_, node, keys.object_name(kind, number, node), deadline, [](ByteView) { return true; },
                 [answer](Result<Bytes> object) { answer->give(0, std::move(object)); }, object_bytes_max);
    const bool landed = answer->landed.wait(runtime_, deadline + std::chrono::seconds(5), stop_, [&] { return answer->all(); });
    if (!landed && stop_.stop_requested()) return fail(Code::cancelled, "reading was interrupted");
    std::lock_guard lock(answer->mutex);
    if (!landed || !*answer->results[0]) {
      if (landed) last = answer->results[0]->error();
      continue;
    }
    auto plain = keys.open(kind, number, **answer->results[0]);
    if (plain) return plain;
    last = plain.error();
  }
  return fail(std::move(last));
}

std::set<NodeId> DelegateExchange::put(const DelegateKeys& keys, DelegateObject kind, std::uint64_t number, std::shared_ptr<const Bytes> object,
                                       std::span<const NodeId> to) {
  const auto answers = std::make_shared<CallResults<void>>(to.size());
  for (std::size_t i = 0; i < to.size(); ++i)
    engine_.put(to[i], keys.object_name(kind, number, to[i]), object, [answers, i](Result<> stored) { answers->give(i, std::move(stored)); });
  (void)answers->landed.wait(runtime_, runtime_.clock().now() + patience, stop_, [&] { return answers->all(); });
  std::set<NodeId> have;
  std::lock_guard lock(answers->mutex);
  for (std::size_t i = 0; i < to.size(); ++i)
    if (answers->results[i] && *answers->results[i]) have.insert(to[i]);
  return have;
}

void DelegateExchange::remove(const std::map<NodeId, std::vector<std::string>>& names) {
  const auto answers = std::make_shared<CallResults<std::size_t>>(names.size());
  std::size_t i = 0;
  for (const auto& [node, some] : names) {
    engine_.remove(node, some, [answers, i](Result<std::size_t> gone) { answers->give(i, std::move(gone)); });
    ++i;
  }
  (void)answers->landed.wait(runtime_, runtime_.clock().now() + patience, stop_, [&] { return answers->all(); });
}

}  // namespace atl
