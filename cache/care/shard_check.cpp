#include "cache/care/shard_check.h"

#include <algorithm>

#include "cache/care/call_results.h"
#include "cache/erasure/shard_codec.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr Duration patience = std::chrono::minutes(2);
constexpr std::size_t page = 16'384;            // names asked for at once
constexpr std::size_t names_slack = 1'000'000;  // that a node may tell beyond what it should hold
constexpr std::size_t chunk_segments = 4096;    // looked at under one hold of the state lock
constexpr std::size_t ask_max = 64;             // objects asked about at once
constexpr std::size_t probes_max = 32;          // ranges read at once
constexpr std::uint32_t window_leaves = 16;     // of each: a quarter of a MiB
constexpr std::size_t group_segments = 16;      // read before the next are looked up, or fewer:
constexpr std::uint64_t group_bytes = 4u << 20;

std::uint64_t fingerprint(std::string_view name) { return std::hash<std::string_view>()(name); }

/// Marks a name as explained. False if the node did not list it.
bool mark(const std::vector<std::uint64_t>& names, std::vector<bool>& known, std::string_view name) {
  const auto at = std::lower_bound(names.begin(), names.end(), fingerprint(name));
  if (at == names.end() || *at != fingerprint(name)) return false;
  known[static_cast<std::size_t>(at - names.begin())] = true;
  return true;
}

tl::unexpected<Error> interrupted() { return fail(Code::cancelled, "the check was interrupted"); }

}  // namespace

std::vector<ShardCheck::Home> ShardCheck::next_homes(std::optional<SegmentId>& after, std::size_t segments_max, std::uint64_t bytes_max,
                                                   const std::optional<NodeId>& on) {
  std::vector<Home> homes;
  std::uint64_t bytes = 0;
  std::lock_guard lock(core_.mutex);
  const auto& segments = core_.tables->segments();
  std::size_t looked = 0;
  for (auto at = after ? segments.upper_bound(*after) : segments.begin(); at != segments.end(); ++at) {
    if ((++looked > segments_max || bytes >= bytes_max) && !homes.empty()) break;
    const auto& [id, row] = *at;
    after = id;
    if (!row.has_attempt || row.live_extents == 0) continue;
    bytes += row.bytes;
    for (const ShardHome& home : row.placed)
      if (!on || home.node == *on) homes.push_back({id, row.attempt, {row.k, row.n}, row.shipped_bytes(), home});
  }
  return homes;
}

bool ShardCheck::still_home(const Home& home) const {
  std::lock_guard lock(core_.mutex);
  const auto found = core_.tables->segments().find(home.segment);
  if (found == core_.tables->segments().end()) return false;
  const SegmentRow& row = found->second;
  return row.has_attempt && row.attempt == home.attempt && row.live_extents > 0 &&
         std::find(row.placed.begin(), row.placed.end(), home.home) != row.placed.end();
}

void ShardCheck::report(const Home& home, Verdict verdict, CheckedNode* node) {
  if (verdict == Verdict::whole || !still_home(home)) return;
  if (verdict == Verdict::silent) {
    if (node != nullptr && silent_.insert({home.attempt, home.home}).second) ++node->silent;
    return;
  }
  if (!reported_.insert({home.attempt, home.home}).second) return;
  if (node != nullptr) ++(verdict == Verdict::missing ? node->missing : node->damaged);
  seams_.found({home.segment, home.attempt, home.home, verdict == Verdict::missing});
}

Result<std::vector<std::uint64_t>> ShardCheck::names_on(const NodeId& node, const SecretKey& name_key) {
  const std::string prefix = shard_object_prefix(name_key, node);
  std::uint64_t names_max = names_slack;
  {
    std::lock_guard lock(core_.mutex);
    for (const auto& [id, row] : core_.tables->segments()) names_max += row.n;
    for (const auto& [attempt, row] : core_.tables->garbage()) names_max += row.n;
  }
  std::vector<std::uint64_t> names;
  for (std::string after;;) {
    Engine* const engine = core_.engine.load();
    if (engine == nullptr || stop_.stop_requested()) return interrupted();
    const auto answer = std::make_shared<CallResults<std::vector<std::string>>>(1);
    engine->list(node, prefix, after, page, [answer](Result<std::vector<std::string>> listed) { answer->give(0, std::move(listed)); });
    const bool landed = answer->landed.wait(core_.seams.runtime, core_.seams.clock.now() + patience, stop_, [&] { return answer->all(); });
    if (!landed && stop_.stop_requested()) return interrupted();
    if (!landed) return fail(Code::timed_out, "it did not say in time what it holds");
    std::lock_guard lock(answer->mutex);
    if (!*answer->results[0]) return fail(answer->results[0]->error());
    const std::vector<std::string>& listed = **answer->results[0];
    for (const std::string& name : listed) {
      if (!name.starts_with(prefix) || name <= after || names.size() > names_max)
        return fail(Code::corrupt, "what it says that it holds makes no sense");
      names.push_back(fingerprint(name));
      after = name;
    }
    if (listed.size() < page) break;
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<ShardCheck::Verdict>> ShardCheck::ask_about(const std::vector<const Home*>& homes, const SecretKey& name_key) {
  std::vector<Verdict> verdicts;
  for (std::size_t begin = 0; begin < homes.size(); begin += ask_max) {
    Engine* const engine = core_.engine.load();
    if (engine == nullptr || stop_.stop_requested()) return interrupted();
    const std::size_t count = std::min(ask_max, homes.size() - begin);
    const auto answers = std::make_shared<CallResults<ObjectStat>>(count);
    for (std::size_t i = 0; i < count; ++i) {
      const Home& home = *homes[begin + i];
      engine->stat(home.home.node, shard_object_name(name_key, home.attempt, home.home.shard, home.home.node),
                   [answers, i](Result<ObjectStat> stat) { answers->give(i, stat); });
    }
    (void)answers->landed.wait(core_.seams.runtime, core_.seams.clock.now() + patience, stop_, [&] { return answers->all(); });
    if (stop_.stop_requested()) return interrupted();
    std::lock_guard lock(answers->mutex);
    for (std::size_t i = 0; i < count; ++i) {
      const Home& home = *homes[begin + i];
      const auto& answer = answers->results[i];
      const std::uint64_t bytes = ShardGeometry::of(home.redundancy, home.shipped_bytes).object_bytes();
      if (answer && *answer) {
        verdicts.push_back((*answer)->size == bytes ? Verdict::whole : Verdict::damaged);
      } else {
        verdicts.push_back(answer && answer->error().code == Code::not_found && !mutant("check-missing-is-silent") ? Verdict::missing : Verdict::silent);
      }
    }
  }
  return verdicts;
}

std::uint64_t ShardCheck::count_strange(const NodeId& node, const std::vector<std::uint64_t>& names, std::vector<bool>& known, const SecretKey& name_key) {
  const auto explain = [&](const AttemptId& attempt, std::uint8_t n) {
    // Any node may hold any shard of an attempt: an upload that was given up may have put a second copy there.
    for (std::uint8_t shard = 0; shard < n; ++shard) (void)mark(names, known, shard_object_name(name_key, attempt, ShardIndex(shard), node));
  };
  std::vector<std::pair<AttemptId, std::uint8_t>> attempts;
  {
    std::lock_guard lock(core_.mutex);
    for (const auto& [id, row] : core_.tables->segments())
      if (row.has_attempt) attempts.emplace_back(row.attempt, row.n);
    for (const auto& [attempt, row] : core_.tables->garbage()) attempts.emplace_back(attempt, row.n);
  }
  for (const auto& [attempt, n] : attempts) {
    if (stop_.stop_requested()) return 0;
    explain(attempt, n);
  }
  return static_cast<std::uint64_t>(std::count(known.begin(), known.end(), false));
}

Result<> ShardCheck::list(CheckedNode& node) {
  auto name_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!name_key) return fail(name_key.error());
  Result<std::vector<std::uint64_t>> names = fail(Code::unavailable, node.error);
  if (node.error.empty()) names = names_on(node.node, *name_key);
  if (!names && names.error().code == Code::cancelled) return fail(names.error());
  node.listed = names.has_value();
  if (!names) node.error = names.error().what;
  std::vector<bool> known(names ? names->size() : 0);
  for (std::optional<SegmentId> after;;) {
    const std::vector<Home> homes = next_homes(after, chunk_segments, ~std::uint64_t{0}, node.node);
    if (homes.empty()) break;
    node.shards += homes.size();
    if (!names) continue;
    std::vector<const Home*> unlisted;
    for (const Home& home : homes)
      if (!mark(*names, known, shard_object_name(*name_key, home.attempt, home.home.shard, home.home.node))) unlisted.push_back(&home);
    auto verdicts = ask_about(unlisted, *name_key);
    if (!verdicts) return fail(verdicts.error());
    for (std::size_t i = 0; i < unlisted.size(); ++i) report(*unlisted[i], (*verdicts)[i], &node);
  }
  if (std::find(known.begin(), known.end(), false) != known.end()) node.strange = count_strange(node.node, *names, known, *name_key);
  return {};
}

CheckedNode* ShardCheck::entry_of(std::vector<CheckedNode>& nodes, const NodeId& id) {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const CheckedNode& node) { return node.node == id; });
  return found == nodes.end() ? nullptr : &*found;
}

void ShardCheck::recall(const BadShards& bad, std::vector<CheckedNode>& nodes) {
  for (std::optional<SegmentId> after;;) {
    const std::vector<Home> homes = next_homes(after, chunk_segments, ~std::uint64_t{0}, std::nullopt);
    if (homes.empty()) return;
    for (const Home& home : homes)
      if (bad.contains({home.attempt, home.home})) report(home, Verdict::damaged, entry_of(nodes, home.home.node));
  }
}

Result<> ShardCheck::read_some(std::span<const Probe> probes, const SecretKey& name_key, const SecretKey& mac_key, std::vector<CheckedNode>& nodes) {
  Engine* const engine = core_.engine.load();
  if (engine == nullptr || stop_.stop_requested()) return interrupted();
  using Shards = std::vector<std::pair<ShardIndex, Bytes>>;
  const auto answers = std::make_shared<CallResults<Shards>>(probes.size());
  const MonotonicTime deadline = core_.seams.clock.now() + patience;
  std::vector<std::shared_ptr<Transfer>> transfers;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    const Probe& probe = probes[i];
    FetchRequest request;
    request.wanted = FetchSource{probe.home->home, shard_object_name(name_key, probe.home->attempt, probe.home->home.shard, probe.home->home.node)};
    request.need = 1;
    request.offset = probe.first == 0 ? 0 : ShardGeometry::leaf_offset(probe.first);  // the header as well
    request.length = ShardGeometry::leaf_offset(probe.first + probe.count) - request.offset;
    // Judged below and not by the engine: a bad shard is the answer, not a reason to ask elsewhere.
    request.verify = [](ShardIndex, ByteView) { return true; };
    request.deadline = deadline;
    request.done = [answers, i](Result<Shards> shards) { answers->give(i, std::move(shards)); };
    transfers.push_back(engine->fetch(std::move(request)));
  }
  const bool all = answers->landed.wait(core_.seams.runtime, deadline + std::chrono::seconds(5), stop_, [&] { return answers->all(); });
  if (!all) {
    for (const auto& transfer : transfers) transfer->cancel();
    if (stop_.stop_requested()) return interrupted();
  }
  std::vector<const Home*> unread;
  {
    std::lock_guard lock(answers->mutex);
    for (std::size_t i = 0; i < probes.size(); ++i) {
      const Probe& probe = probes[i];
      const auto& answer = answers->results[i];
      if (!answer || !*answer || (*answer)->empty()) {
        if (std::find(unread.begin(), unread.end(), probe.home) == unread.end()) unread.push_back(probe.home);
        continue;
      }
      ByteView bytes = (*answer)->front().second;
      read_bytes_ += bytes.size();
      bool whole = true;
      if (probe.first == 0) {
        whole = check_shard_header(bytes.first(shard_header_bytes)).has_value();
        bytes = bytes.subspan(shard_header_bytes);
      }
      const LeafMacs macs(mac_key, core_.keyring.volume(), probe.home->attempt);
      whole = whole && macs.verify(probe.home->home.shard, probe.first, probe.count, bytes);
      if (!whole && !mutant("check-unverified")) report(*probe.home, Verdict::damaged, entry_of(nodes, probe.home->home.node));
    }
  }
  auto verdicts = ask_about(unread, name_key);
  if (!verdicts) return fail(verdicts.error());
  for (std::size_t i = 0; i < unread.size(); ++i) {
    // There, of the right size, and yet not read: it was not answered for.
    const Verdict verdict = (*verdicts)[i] == Verdict::whole ? Verdict::silent : (*verdicts)[i];
    report(*unread[i], verdict, entry_of(nodes, unread[i]->home.node));
  }
  return {};
}

Result<std::uint64_t> ShardCheck::read(unsigned percent, std::optional<SegmentId> after, std::vector<CheckedNode>& nodes) {
  auto mac_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::shard_mac);
  auto name_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!mac_key) return fail(mac_key.error());
  if (!name_key) return fail(name_key.error());
  const auto answers = [&](const NodeId& id) {
    return std::any_of(nodes.begin(), nodes.end(), [&](const CheckedNode& node) { return node.node == id && node.listed; });
  };
  std::uint64_t total = 0;
  {
    std::lock_guard lock(core_.mutex);
    for (const auto& [id, row] : core_.tables->segments())
      if (row.has_attempt && row.live_extents > 0 && (!after || id > *after))
        total += ShardGeometry::of({row.k, row.n}, row.shipped_bytes()).object_bytes() * row.placed.size() * percent / 100;
  }
  for (;;) {
    const std::vector<Home> homes = next_homes(after, group_segments, group_bytes, std::nullopt);
    if (homes.empty()) break;
    std::vector<Probe> probes;
    for (const Home& home : homes) {
      if (!answers(home.home.node) || reported_.contains({home.attempt, home.home})) continue;
      const std::uint32_t leaves = ShardGeometry::of(home.redundancy, home.shipped_bytes).leaves;
      for (std::uint32_t first = 0; first < leaves; first += window_leaves)
        if (percent >= 100 || core_.seams.random.u64() % 100 < percent) probes.push_back({&home, first, std::min(window_leaves, leaves - first)});
    }
    // The same part of all shards, then the next: all nodes are read at once.
    std::stable_sort(probes.begin(), probes.end(), [](const Probe& a, const Probe& b) { return a.first < b.first; });
    for (std::size_t begin = 0; begin < probes.size(); begin += probes_max) {
      const auto some = std::span(probes).subspan(begin, std::min(probes_max, probes.size() - begin));
      if (auto r = read_some(some, *name_key, *mac_key, nodes); !r) return fail(r.error());
      seams_.progress(std::min(read_bytes_, total), total);
    }
    if (!mutant("check-begins-anew")) seams_.read_upto(*after);
  }
  return read_bytes_;
}

}  // namespace atl
