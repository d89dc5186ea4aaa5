#include "cache/care/delegates.h"

#include <sodium.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "cache/care/shard_mover.h"
#include "cache/care/shard_verification.h"
#include "cache/keys/keyring_shard_keys.h"
#include "cache/keys/node_credentials.h"
#include "engine/base/mutant.h"
#include "engine/daemons.h"

namespace atl {
namespace {

constexpr KeyPurpose delegate_purpose{11};                       // FORMAT.md, "Keys"
constexpr Duration interval = std::chrono::minutes(5);           // while there are delegates
constexpr Duration idle_interval = std::chrono::hours(1);        // another computer's export is found within this
constexpr Duration large_interval = std::chrono::hours(1);       // between views of more than:
constexpr std::size_t large_view_bytes = 1u << 20;
constexpr Duration heartbeat = std::chrono::hours(6);            // an unchanged view is told again: the owner is still there
constexpr std::size_t view_chunk = 4096;                         // segments looked at under one hold of the state lock

Bytes hash_of(ByteView bytes) {
  Bytes hash(32);
  crypto_generichash(hash.data(), hash.size(), bytes.data(), bytes.size(), nullptr, 0);
  return hash;
}

std::uint64_t number_by(const Clock& clock, std::uint64_t above) {
  return std::max(above + 1, static_cast<std::uint64_t>(std::max<std::int64_t>(0, clock.wall_now().seconds)) * 1000);
}

}  // namespace

/// One at a time looks at the nodes. Does not wait where `patient` is false.
class Delegates::Turn {
 public:
  Turn(Delegates& delegates, bool patient, const std::stop_token& stop) : delegates_(delegates) {
    const auto take = [this] {
      std::lock_guard lock(delegates_.mutex_);
      if (delegates_.busy_) return false;
      return delegates_.busy_ = mine_ = true;
    };
    if (!take() && patient) (void)delegates.core_.changed.wait(delegates.core_.seams.runtime, std::nullopt, stop, take);
  }
  ~Turn() {
    if (!mine_) return;
    {
      std::lock_guard lock(delegates_.mutex_);
      delegates_.busy_ = false;
    }
    delegates_.core_.changed.wake();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  bool mine() const { return mine_; }

 private:
  Delegates& delegates_;
  bool mine_ = false;
};

Result<DelegateKeys> Delegates::keys_of(const DelegateId& id) const {
  auto master = core_.keyring.derive(KeyEpoch{1}, delegate_purpose);
  if (!master) return fail(master.error());
  auto names = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!names) return fail(names.error());
  constexpr std::string_view title = "atoll delegate";
  std::array<std::uint8_t, SecretKey::size> raw;
  crypto_generichash_state state;
  crypto_generichash_init(&state, master->data(), SecretKey::size, raw.size());
  crypto_generichash_update(&state, as_bytes(title).data(), title.size());
  crypto_generichash_update(&state, id.bytes.data(), id.bytes.size());
  crypto_generichash_final(&state, raw.data(), raw.size());
  SecretKey key = SecretKey::from(raw);
  sodium_memzero(raw.data(), raw.size());
  return DelegateKeys(id, std::move(key), std::move(*names));
}

std::optional<std::map<DelegateId, Delegates::OnNodes>> Delegates::look(DelegateExchange& exchange, const SecretKey& names) {
  const auto views = exchange.list([&](const NodeId& node) { return delegate_class_prefix(names, DelegateObject::view, node); });
  const auto reports = exchange.list([&](const NodeId& node) { return delegate_class_prefix(names, DelegateObject::report, node); });
  if (!views || !reports) return std::nullopt;
  std::map<DelegateId, OnNodes> there;
  for (const ListedObject& object : *views) {
    OnNodes& of = there[object.id];
    if (object.number == revoked_number) {
      of.marked.insert(object.node);
    } else {
      of.views[object.number].insert(object.node);
    }
  }
  for (const ListedObject& object : *reports) there[object.id].reports[object.number].insert(object.node);
  return there;
}

bool Delegates::confirm(DelegateExchange& exchange, const DelegateKeys& keys, const OnNodes& there) {
  const bool marked = !there.marked.empty() && exchange.get(keys, DelegateObject::revoked, revoked_number, there.marked).has_value();
  {
    std::lock_guard lock(mutex_);
    if (const auto known = known_.find(keys.id()); known != known_.end()) {
      known->second.revoked = known->second.revoked || marked;
      return true;
    }
  }
  bool real = marked;
  for (auto at = there.views.rbegin(); at != there.views.rend() && !real; ++at) real = exchange.get(keys, DelegateObject::view, at->first, at->second).has_value();
  if (!real) return false;
  std::lock_guard lock(mutex_);
  Known& known = known_[keys.id()];
  known.status.id = keys.id().hex();
  known.status.device = keys.device().id();
  known.revoked = marked;
  return true;
}

Result<DelegateView> Delegates::make_view(const DelegateKeys& keys) {
  auto mac_key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::shard_mac);
  if (!mac_key) return fail(mac_key.error());
  auto account = account_key(core_.keyring);
  if (!account) return fail(account.error());
  DelegateView view;
  view.volume = core_.keyring.volume();
  view.made_at = core_.seams.clock.wall_now();
  view.repair_grace_seconds = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(core_.options.repair_grace).count());
  const KeyPair device = keys.device();
  {
    std::lock_guard lock(core_.mutex);
    for (const auto& [id, spec] : core_.tables->nodes()) {
      DelegatedNode node{spec, {}};
      node.spec.draining = core_.tables->volume().leaving.contains(id);
      view.nodes.push_back(std::move(node));
    }
  }
  for (DelegatedNode& node : view.nodes)
    if (names_daemon(node.spec.url)) node.certificate = TlsIdentity(device, *account, keys.rights(node.spec.id)).certificate_pem();
  for (std::optional<SegmentId> after;;) {
    std::vector<std::pair<SegmentId, DelegatedSegment>> some;
    bool end = false;
    {
      std::lock_guard lock(core_.mutex);
      const auto& segments = core_.tables->segments();
      const VolumeRow& volume = core_.tables->volume();
      auto at = after ? segments.upper_bound(*after) : segments.begin();
      for (std::size_t i = 0; i < view_chunk && at != segments.end(); ++i, ++at) {
        const auto& [id, row] = *at;
        after = id;
        if (!row.has_attempt || row.live_extents == 0 || row.placed.empty()) continue;
        some.emplace_back(id, DelegatedSegment{row.attempt, row.k, row.n, volume.protects(row.k, row.n), row.shipped_bytes(), {}, row.placed});
      }
      end = at == segments.end();
    }
    for (auto& [id, segment] : some) {
      // A node that was removed meanwhile is none that the view could name.
      std::erase_if(segment.placed, [&](const ShardHome& home) {
        return std::none_of(view.nodes.begin(), view.nodes.end(), [&](const DelegatedNode& node) { return node.spec.id == home.node; });
      });
      const SecretKey key = AttemptMacs::key_of(*mac_key, view.volume, segment.attempt);
      std::copy_n(key.data(), segment.mac_key.size(), segment.mac_key.begin());
      view.segments.emplace(id, std::move(segment));
    }
    if (end) return view;
  }
}

bool Delegates::tell(DelegateExchange& exchange, const DelegateKeys& keys, const DelegateView& view, OnNodes& there) {
  DelegateView timeless = view;
  timeless.made_at = {};
  Bytes plain = encode_delegate_view(timeless);
  const Bytes hash = hash_of(plain);
  const MonotonicTime now = core_.seams.clock.now();
  const std::uint64_t newest = there.views.empty() ? 0 : there.views.rbegin()->first;
  {
    std::lock_guard lock(mutex_);
    const Known& known = known_.at(keys.id());
    const bool complete = known.told_number == newest && newest != 0 && there.views.at(newest).size() >= exchange.nodes().size();
    const Duration age = now - known.told_at;
    if (!known.told.empty() && known.told == hash && complete && age < heartbeat) return true;
    if (!known.told.empty() && plain.size() > large_view_bytes && age < large_interval && known.read.empty()) return false;
  }
  plain = encode_delegate_view(view);
  const std::uint64_t number = number_by(core_.seams.clock, newest);
  const auto object = std::make_shared<const Bytes>(keys.seal(DelegateObject::view, number, plain, core_.seams.random));
  sodium_memzero(plain.data(), plain.size());
  const std::set<NodeId> have = exchange.put(keys, DelegateObject::view, number, object, exchange.nodes());
  if (have.empty()) return false;  // tried again by the next pass
  {
    std::lock_guard lock(mutex_);
    Known& known = known_.at(keys.id());
    known.told = hash;
    known.told_number = number;
    known.told_at = now;
  }
  // The one before stays, for a delegate that is just reading it.
  std::map<NodeId, std::vector<std::string>> old;
  for (const auto& [before, holders] : there.views)
    for (const NodeId& node : holders)
      if (before != newest && have.contains(node)) old[node].push_back(keys.object_name(DelegateObject::view, before, node));
  exchange.remove(old);
  there.views[number] = have;
  return true;
}

std::vector<ShardVerdict> Delegates::verify(const SegmentRow& row, std::span<const DelegatedMove> moves, std::uint64_t& read_bytes) {
  if (mutant("delegate-believed")) return std::vector<ShardVerdict>(moves.size(), ShardVerdict::whole);
  std::vector<ShardVerdict> verdicts(moves.size(), ShardVerdict::silent);
  const auto keys = KeyringShardKeys::make(core_.keyring);
  if (!keys) return verdicts;
  Engine& engine = *core_.engine.load();
  const auto did_not_verify = [&core = core_](const AttemptId& attempt, const ShardHome& home, std::uint32_t leaf) { core.suspect({attempt, home, leaf}); };
  ShardTransfer transfer(engine, core_.seams.runtime, tasks_.stop_token(), {*keys, [](const ShardHome&) { return true; }, did_not_verify});
  std::vector<ShardTarget> expected;
  for (const DelegatedMove& move : moves) expected.push_back({{move.shard, move.from}, move.to, false, {}});
  ShardTransfer::Outcome outcome;
  // From their homes as they are believed so far: nothing that the delegate says now is among the sources.
  const Result<> rebuilt = mutant("delegate-mac-suffices") ? fail(Code::too_few_nodes) : transfer.read(row, {}, {}, expected, outcome);
  read_bytes += outcome.read_bytes;
  if (!rebuilt && rebuilt.error().code != Code::too_few_nodes) return verdicts;
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const ShardHome place{moves[i].shard, moves[i].to};
    const ByteView object = rebuilt ? ByteView(expected[i].object) : ByteView();
    verdicts[i] = verify_shard(engine, core_.seams.runtime, tasks_.stop_token(), *keys, row, place, object, read_bytes);
  }
  return verdicts;
}

bool Delegates::take_over(std::span<const DelegatedMove> moves, Known& counted, std::uint64_t& read_bytes) {
  const SegmentId segment = moves.front().segment;
  const AttemptId attempt = moves.front().attempt;
  std::vector<DelegatedMove> fresh;
  {
    std::lock_guard lock(core_.mutex);
    const auto found = core_.tables->segments().find(segment);
    const bool alive = found != core_.tables->segments().end() && found->second.has_attempt && found->second.attempt == attempt && found->second.live_extents > 0;
    if (!alive) return true;  // obsolete, or never known to this computer: another owner's state may rest on it
    for (const DelegatedMove& move : moves)
      if (move.shard.value < found->second.n && core_.tables->nodes().contains(move.to)) fresh.push_back(move);
  }
  if (fresh.empty()) return true;
  const auto claim = CaredSegment::claim(core_, shipper_, segment, attempt);
  if (!claim) return false;
  const SegmentRow& row = claim->row();
  // Where each shard came to lie in the end, if it began where it is believed to be.
  std::vector<ShardHome> now = row.placed;
  for (const DelegatedMove& move : fresh) {
    const auto old = std::find(now.begin(), now.end(), ShardHome{move.shard, move.from});
    const bool taken = std::any_of(now.begin(), now.end(), [&](const ShardHome& home) { return home.node == move.to; });
    if (move.stored && old != now.end() && !taken) old->node = move.to;
  }
  std::vector<DelegatedMove> said;
  bool in_the_way = false;  // what has moved there since another shard left it has to wait until that one is believed
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (now[i] == row.placed[i]) continue;
    const bool held = std::any_of(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) { return home.node == now[i].node; });
    in_the_way = in_the_way || held;
    if (!held) said.push_back({segment, attempt, now[i].shard, row.placed[i].node, now[i].node, true});
  }
  std::vector<ShardVerdict> verdicts;
  if (!said.empty()) verdicts = verify(row, said, read_bytes);
  std::lock_guard lock(core_.mutex);
  if (core_.refusal()) return false;
  // Whatever lies there is found again, and removed if it does not come to count.
  for (const DelegatedMove& move : fresh) core_.log(ShardMoving{segment, attempt, {move.shard, move.to}, core_.ran_seconds()});
  bool whole = true;
  bool adopted = false;
  for (std::size_t i = 0; i < said.size(); ++i) {
    if (verdicts[i] == ShardVerdict::whole) {
      core_.log(ShardMoved{segment, attempt, said[i].shard, said[i].from, said[i].to, core_.ran_seconds()});
      ++counted.status.taken_over;
      adopted = true;
    } else if (verdicts[i] == ShardVerdict::silent) {
      whole = false;
    } else {
      ++counted.status.refused;
      spdlog::warn("delegate {} said that shard {} of segment {} lies on node {}, which it does not: not believed", counted.status.id, said[i].shard.value,
                   segment.value, said[i].to.hex().substr(0, 16));
    }
  }
  return whole && !(in_the_way && adopted);
}

void Delegates::take_over(DelegateExchange& exchange, const DelegateKeys& keys, const OnNodes& there, std::uint64_t& read_bytes) {
  std::set<std::uint64_t> known_numbers;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [number, lsn] : known_.at(keys.id()).read) known_numbers.insert(number);
  }
  Known counted;
  counted.status.id = keys.id().hex();
  std::map<std::pair<SegmentId, AttemptId>, std::vector<DelegatedMove>> by_segment;
  std::vector<std::uint64_t> numbers;
  bool whole = true;
  for (const auto& [number, holders] : there.reports) {
    if (known_numbers.contains(number)) continue;
    auto plain = exchange.get(keys, DelegateObject::report, number, holders);
    // What a node made up does not open. Where one is not had now, those after it may not be understood without it.
    whole = whole && (plain || plain.error().code == Code::corrupt);
    if (!plain) continue;
    const auto report = decode_delegate_report(*plain);
    if (!report || report->volume != core_.keyring.volume()) continue;
    numbers.push_back(number);
    for (const DelegatedMove& move : report->moves) by_segment[{move.segment, move.attempt}].push_back(move);
    if (!counted.status.reported_at || report->made_at.seconds > counted.status.reported_at->seconds) counted.status.reported_at = report->made_at;
  }
  if (numbers.empty()) return;
  for (const auto& [of, moves] : by_segment) {
    if (tasks_.stop_token().stop_requested()) return;
    whole = take_over(moves, counted, read_bytes) && whole;
  }
  if (auto committed = committer_.commit(); !committed) return;
  if (counted.status.taken_over > 0) spdlog::info("took over {} shards that delegate {} rebuilt", counted.status.taken_over, keys.id().hex());
  std::scoped_lock lock(core_.mutex, mutex_);
  Known& known = known_.at(keys.id());
  known.status.taken_over += counted.status.taken_over;
  known.status.refused += counted.status.refused;
  if (!known.status.reported_at || counted.status.reported_at->seconds > known.status.reported_at->seconds) known.status.reported_at = counted.status.reported_at;
  if (!whole) return;
  for (const std::uint64_t number : numbers) known.read[number] = core_.telling_lsn;
}

void Delegates::clear(DelegateExchange& exchange, const DelegateKeys& keys, const OnNodes& there, bool told) {
  std::map<NodeId, std::vector<std::string>> names;
  {
    std::lock_guard lock(mutex_);
    Known& known = known_.at(keys.id());
    std::erase_if(known.read, [&](const auto& read) { return !there.reports.contains(read.first); });
    for (const auto& [number, lsn] : known.read)
      if (told && lsn <= core_.published_lsn.load())
        for (const NodeId& node : there.reports.at(number)) names[node].push_back(keys.object_name(DelegateObject::report, number, node));
    if (known.revoked)
      for (const auto& [number, holders] : there.views)
        for (const NodeId& node : holders) names[node].push_back(keys.object_name(DelegateObject::view, number, node));
  }
  if (!names.empty()) exchange.remove(names);
}

std::uint64_t Delegates::pass() {
  const MonotonicTime now = core_.seams.clock.now();
  {
    std::lock_guard lock(mutex_);
    if (due_at_ && *due_at_ > now) return 0;
  }
  Engine* const engine = core_.engine.load();
  const Turn turn(*this, false, tasks_.stop_token());
  if (!turn.mine()) return 0;
  {
    std::lock_guard lock(core_.mutex);
    if (core_.refusal()) return 0;
  }
  auto names = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!names) return 0;  // without keys there is no drive either
  DelegateExchange exchange(*engine, core_.seams.runtime, tasks_.stop_token());
  auto there = look(exchange, *names);
  std::uint64_t read_bytes = 0;
  bool any = false;
  if (there) {
    for (auto& [id, on_nodes] : *there) {
      auto keys = keys_of(id);
      if (!keys || !confirm(exchange, *keys, on_nodes)) continue;
      any = true;
      bool revoked = false;
      {
        std::lock_guard lock(mutex_);
        revoked = known_.at(id).revoked;
      }
      take_over(exchange, *keys, on_nodes, read_bytes);
      if (tasks_.stop_token().stop_requested()) return read_bytes;
      bool told = revoked;
      if (revoked) {
        std::vector<NodeId> lack = exchange.nodes();
        std::erase_if(lack, [&](const NodeId& node) { return on_nodes.marked.contains(node); });
        if (!lack.empty())
          (void)exchange.put(*keys, DelegateObject::revoked, revoked_number,
                             std::make_shared<const Bytes>(keys->seal(DelegateObject::revoked, revoked_number, {}, core_.seams.random)), lack);
      } else if (auto view = make_view(*keys)) {
        told = tell(exchange, *keys, *view, on_nodes);
      }
      // After the view: who finds no report of a shard any more finds where it lies there.
      clear(exchange, *keys, on_nodes, told);
    }
  }
  std::lock_guard lock(mutex_);
  due_at_ = now + (!there || any ? interval : idle_interval);
  return read_bytes;
}

Result<DelegateKeeper::Made> Delegates::make(const std::string& drive_name, const std::stop_token& stop) {
  const Turn turn(*this, true, stop);
  Engine* const engine = core_.engine.load();
  if (engine == nullptr) return fail(Code::unavailable, "the drive is not mounted");
  if (!turn.mine()) return fail(Code::cancelled, "making a delegate was interrupted");
  {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
  }
  auto keys = keys_of(core_.seams.random.id<DelegateId>());
  if (!keys) return fail(keys.error());
  auto view = make_view(*keys);
  if (!view) return fail(view.error());
  {
    std::lock_guard lock(mutex_);
    Known& known = known_[keys->id()];
    known.status.id = keys->id().hex();
    known.status.device = keys->device().id();
  }
  DelegateExchange exchange(*engine, core_.seams.runtime, stop);
  OnNodes there;
  const bool told = tell(exchange, *keys, *view, there);
  std::lock_guard lock(mutex_);
  if (!told) {
    known_.erase(keys->id());
    return fail(stop.stop_requested() ? Code::cancelled : Code::unavailable, "no node could be told of the delegate", "bring nodes back, then try again");
  }
  due_at_.reset();
  const KeyId device = keys->device().id();
  return DelegateKeeper::Made{encode_delegate_grant({drive_name, core_.keyring.volume(), std::move(*keys), std::move(view->nodes)}), device};
}

Result<bool> Delegates::forget(const KeyId& device, const std::stop_token& stop) {
  const Turn turn(*this, true, stop);
  Engine* const engine = core_.engine.load();
  if (engine == nullptr) return fail(Code::unavailable, "the drive is not mounted");
  if (!turn.mine()) return fail(Code::cancelled, "revoking a delegate was interrupted");
  auto names = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::object_name);
  if (!names) return fail(names.error());
  DelegateExchange exchange(*engine, core_.seams.runtime, stop);
  // What was made on another computer, or before this mount, may not have been looked at yet.
  const auto there = look(exchange, *names);
  if (!there) return fail(Code::unavailable, "no node answers that could tell of delegates");
  for (const auto& [id, on_nodes] : *there) {
    auto keys = keys_of(id);
    if (!keys) return fail(keys.error());
    if (keys->device().id() != device || !confirm(exchange, *keys, on_nodes)) continue;
    const auto mark = std::make_shared<const Bytes>(keys->seal(DelegateObject::revoked, revoked_number, {}, core_.seams.random));
    if (exchange.put(*keys, DelegateObject::revoked, revoked_number, mark, exchange.nodes()).empty() && on_nodes.marked.empty())
      return fail(Code::unavailable, "no node could be told that the delegate is revoked");
    std::lock_guard lock(mutex_);
    known_.at(id).revoked = true;
    due_at_.reset();  // its lists go
    return true;
  }
  return false;
}

std::vector<DelegateStatus> Delegates::status() {
  std::lock_guard lock(mutex_);
  std::vector<DelegateStatus> all;
  for (const auto& [id, known] : known_)
    if (!known.revoked) all.push_back(known.status);
  return all;
}

}  // namespace atl
