#include "engine/daemon/store/catalogue.h"

#include <algorithm>
#include <charconv>

#include "engine/daemon/store/object_file.h"

namespace atl {

namespace {

using Kind = CatalogueChange::Kind;

constexpr std::uint64_t fold_at_most = 131072;
constexpr std::size_t batch_bytes = 1 << 20;
constexpr std::size_t page_chunk = 256;  // changes looked at under the lock at once

std::uint64_t round_up_to_directory(std::uint64_t id) {
  return std::max<std::uint64_t>((id + objects_per_directory - 1) / objects_per_directory * objects_per_directory, 1);
}

/// The numbers of the files in `folder` called PREFIX and 16 hexadecimal digits, ascending.
Result<std::vector<std::uint64_t>> numbers_of(Disk& disk, const std::string& folder, std::string_view prefix) {
  auto names = disk.list(folder);
  if (!names) return fail(names.error());
  std::vector<std::uint64_t> numbers;
  for (const std::string& name : *names) {
    if (name.size() != prefix.size() + 16 || !name.starts_with(prefix)) continue;
    std::uint64_t number = 0;
    const char* end = name.data() + name.size();
    if (std::from_chars(name.data() + prefix.size(), end, number, 16).ptr == end) numbers.push_back(number);
  }
  return numbers;
}

}  // namespace

// --- opening

Result<std::unique_ptr<Catalogue>> Catalogue::open(Disk& disk, std::string folder, std::uint64_t fold_at,
                                                   StoreCounters& counters) {
  std::unique_ptr<Catalogue> catalogue(new Catalogue(disk, std::move(folder), fold_at, counters));
  if (auto done = catalogue->load(); !done) return fail(done.error());
  return catalogue;
}

Result<> Catalogue::load() {
  auto bases = numbers_of(disk_, folder_, "base-");
  if (!bases) return fail(bases.error());
  auto logs = numbers_of(disk_, folder_, "log-");
  if (!logs) return fail(logs.error());
  BaseFacts facts;
  base_ = CatalogueBase::none();
  if (!bases->empty()) {
    auto base = CatalogueBase::open(disk_, folder_, bases->back(), &facts);
    if (!base) return fail(base.error());
    base_ = std::move(*base);
    // All of it, since it can be made again now and not while others work with it.
    if (auto sound = base_->check(); !sound) return sound;
  }
  next_id_ = facts.next_id;
  clock_s_ = facts.clock_s;
  for (const auto& [id, totals] : facts.totals) {
    account(id).totals = totals;
    used_bytes_ += totals.used_bytes;
  }
  for (const TrashObject& object : facts.trash) add_trash(object);

  const std::uint64_t first = std::max<std::uint64_t>(base_->number(), 1);
  std::erase_if(*logs, [&](std::uint64_t number) { return number < first; });
  if (logs->empty()) {
    // A base is written only once its log stands, so that one without the other is damage.
    if (!bases->empty()) return fail(Code::corrupt, log_path(folder_, first) + " is missing");
    auto log = CatalogueLog::create(disk_, folder_, first);
    if (!log) return fail(log.error());
    log_ = std::move(*log);
  }
  for (std::size_t i = 0; i < logs->size(); ++i) {
    bool whole = false;
    auto length = CatalogueLog::replay(disk_, folder_, (*logs)[i], [this](const CatalogueChange& c) { apply(c); }, &whole);
    if (!length) return fail(length.error());
    const bool last = i + 1 == logs->size();
    if ((*logs)[i] != first + i || (!last && !whole))
      return fail(Code::corrupt, log_path(folder_, (*logs)[i]) + " is damaged");
    if (!last) continue;
    auto log = CatalogueLog::renew(disk_, folder_, (*logs)[i], *length);
    if (!log) return fail(log.error());
    log_ = std::move(*log);
  }
  leftover_floor_ = facts.floor_id;
  return {};
}

Result<> Catalogue::rebuild(Disk& disk, const std::string& folder, const std::map<ObjectKey, LiveObject>& objects,
                            BaseFacts facts) {
  std::vector<std::string> old;
  std::uint64_t number = 1;
  for (const bool base : {true, false}) {
    auto numbers = numbers_of(disk, folder, base ? "base-" : "log-");
    if (!numbers) return fail(numbers.error());
    for (const std::uint64_t found : *numbers) {
      old.push_back(base ? base_path(folder, found) : log_path(folder, found));
      number = std::max(number, found + 1);
    }
  }
  std::map<AccountId, AccountTotals> totals;
  auto log = CatalogueLog::create(disk, folder, number);
  if (!log) return fail(log.error());
  auto writer = CatalogueBaseWriter::create(disk, folder, number);
  if (!writer) return fail(writer.error());
  for (const auto& [key, object] : objects) {
    if (auto done = (*writer)->add(key, object); !done) return done;
    AccountTotals& mine = totals[account_of(key)];
    mine.used_bytes += charged_bytes(object.size);
    ++mine.objects;
  }
  facts.totals.assign(totals.begin(), totals.end());
  if (auto done = (*writer)->finish(facts); !done) return done;
  for (const std::string& path : old) {
    if (auto done = disk.remove(path); !done) return done;
  }
  return disk.sync_directory(folder);
}

// --- applying

Catalogue::Account& Catalogue::account(const AccountId& id) {
  Account& found = accounts_[id];
  found.id = id;
  return found;
}

void Catalogue::add_trash(const TrashObject& object) {
  Account& owner = account(object.account);
  Trashed item;
  item.account = &owner;
  item.size = object.size;
  item.reason = object.reason;
  if (!trash_.emplace(TrashPlace(object.since_s, object.id), item).second) return;
  owner.totals.trash_bytes += charged_bytes(object.size);
  ++owner.totals.trash_objects;
  used_bytes_ += charged_bytes(object.size);
  next_id_ = std::max(next_id_, object.id + 1);
}

void Catalogue::apply(const CatalogueChange& change) {
  if (change.clock_s > clock_s_) clock_s_ = change.clock_s;
  switch (change.kind) {
    case Kind::put: {
      active_[change.key] = LiveObject{change.id, change.size};
      AccountTotals& totals = account(account_of(change.key)).totals;
      totals.used_bytes += charged_bytes(change.size);
      ++totals.objects;
      used_bytes_ += charged_bytes(change.size);
      next_id_ = std::max(next_id_, change.id + 1);
      break;
    }
    case Kind::trash: {
      active_[change.key] = LiveObject();
      AccountTotals& totals = account(account_of(change.key)).totals;
      totals.used_bytes -= charged_bytes(change.size);
      --totals.objects;
      used_bytes_ -= charged_bytes(change.size);
      add_trash({change.clock_s, change.id, account_of(change.key), change.size, change.reason});
      break;
    }
    case Kind::forget: {
      const auto found = trash_.find(TrashPlace(change.clock_s, change.id));
      if (found == trash_.end()) break;
      const std::uint64_t charge = charged_bytes(found->second.size);
      found->second.account->totals.trash_bytes -= charge;
      --found->second.account->totals.trash_objects;
      used_bytes_ -= charge;
      trash_.erase(found);
      break;
    }
    case Kind::clock: break;
  }
  ++log_changes_;
}

// --- looking

Catalogue::Snapshot Catalogue::snapshot() {
  const std::lock_guard lock(mutex_);
  return {base_, frozen_, generation_};
}

Result<LiveObject> Catalogue::find_in(const Snapshot& snapshot, const ObjectKey& key) {
  if (snapshot.frozen) {
    if (const auto found = snapshot.frozen->find(key); found != snapshot.frozen->end()) return found->second;
  }
  auto found = snapshot.base->find(key);
  if (!found) {
    if (found.error().code == Code::corrupt) {
      const std::lock_guard lock(mutex_);
      damage_ = found.error().what + "; it is made again from the objects when the node is started anew";
    }
    return fail(found.error());
  }
  return found->value_or(LiveObject());
}

Result<std::optional<LiveObject>> Catalogue::find(const ObjectKey& key) {
  Snapshot now;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = active_.find(key); found != active_.end())
      return found->second.id == 0 ? std::optional<LiveObject>() : std::optional(found->second);
    now = {base_, frozen_, generation_};
  }
  auto found = find_in(now, key);
  if (!found) return fail(found.error());
  return found->id == 0 ? std::optional<LiveObject>() : std::optional(*found);
}

Result<std::vector<Catalogue::Listed>> Catalogue::page(const ObjectKey& prefix, const ObjectKey& after,
                                                       std::size_t limit) {
  std::vector<Listed> out;
  // The least key that is wanted: the prefix itself, or the first one behind `after`.
  ObjectKey from = std::max(prefix, after.empty() ? after : after + '\0');
  for (bool more = true; more && out.size() < limit;) {
    Snapshot now;
    std::vector<Listed> changed;
    {
      const std::lock_guard lock(mutex_);
      now = {base_, frozen_, generation_};
      auto at = active_.lower_bound(from);
      for (; at != active_.end() && at->first.starts_with(prefix) && changed.size() < page_chunk; ++at)
        changed.push_back({at->first, at->second});
      more = at != active_.end() && at->first.starts_with(prefix);
    }
    // Beyond the last change that was copied nothing is known yet; the next turn begins behind it.
    const ObjectKey bound = more ? changed.back().key : ObjectKey();
    CatalogueBase::Cursor cursor(*now.base);
    if (auto done = cursor.seek(from); !done) return fail(done.error());
    Delta::const_iterator frozen;
    if (now.frozen) frozen = now.frozen->lower_bound(from);
    auto next_changed = changed.begin();
    while (out.size() < limit) {
      const ObjectKey* least = nullptr;
      if (cursor.entry()) least = &cursor.entry()->key;
      const bool has_frozen = now.frozen && frozen != now.frozen->end();
      if (has_frozen && (!least || frozen->first < *least)) least = &frozen->first;
      if (next_changed != changed.end() && (!least || next_changed->key < *least)) least = &next_changed->key;
      if (!least || !least->starts_with(prefix) || (more && *least > bound)) break;
      Listed entry{*least, {}};
      if (cursor.entry() && cursor.entry()->key == entry.key) {
        entry.object = cursor.entry()->object;
        if (auto done = cursor.next(); !done) return fail(done.error());
      }
      if (has_frozen && frozen->first == entry.key) entry.object = (frozen++)->second;
      if (next_changed != changed.end() && next_changed->key == entry.key) entry.object = (next_changed++)->object;
      if (entry.object.id != 0) out.push_back(std::move(entry));
    }
    if (more) from = bound + '\0';
  }
  return out;
}

std::vector<Catalogue::TrashEntry> Catalogue::trash_before(std::uint64_t before_s, std::size_t limit) {
  const std::lock_guard lock(mutex_);
  std::vector<TrashEntry> entries;
  for (const auto& [place, item] : trash_) {
    if (place.first >= before_s || entries.size() >= limit) break;
    entries.push_back({place.first, place.second, item.size, item.reason});
  }
  return entries;
}

std::vector<Catalogue::TrashEntry> Catalogue::trash_of(const AccountId& id) {
  const std::lock_guard lock(mutex_);
  std::vector<TrashEntry> entries;
  for (auto at = trash_.rbegin(); at != trash_.rend(); ++at) {
    if (at->second.account->id == id)
      entries.push_back({at->first.first, at->first.second, at->second.size, at->second.reason});
  }
  return entries;
}

AccountTotals Catalogue::totals(const AccountId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = accounts_.find(id);
  return found == accounts_.end() ? AccountTotals() : found->second.totals;
}

std::uint64_t Catalogue::used_bytes() {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

// --- numbers

std::uint64_t Catalogue::begin() {
  const std::lock_guard lock(mutex_);
  const std::uint64_t id = next_id_++;
  begun_.insert(id);
  return id;
}

void Catalogue::end(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  begun_.erase(id);
}

void Catalogue::next_directory() {
  const std::lock_guard lock(mutex_);
  next_id_ = round_up_to_directory(next_id_);
}

void Catalogue::begin_numbers_at(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  next_id_ = round_up_to_directory(std::max(next_id_, id));
}

std::uint64_t Catalogue::floor_id() {
  const std::lock_guard lock(mutex_);
  return leftover_floor_.value_or(1);
}

void Catalogue::leftovers_gone() {
  const std::lock_guard lock(mutex_);
  leftover_floor_.reset();
}

// --- changing

Result<> Catalogue::change(const std::vector<ObjectKey>& keys, const Decide& decide, bool* doubt) {
  auto mine = std::make_shared<Pending>();
  for (;;) {
    const Snapshot now = snapshot();
    std::vector<LiveObject> standing;
    for (const ObjectKey& key : keys) {
      auto found = find_in(now, key);
      if (!found) return fail(found.error());
      standing.push_back(*found);
    }
    bool claimed = false;
    {
      const std::lock_guard lock(mutex_);
      if (generation_ != now.generation) continue;
      for (std::size_t i = 0; i < keys.size(); ++i) {
        if (claims_.contains(keys[i])) claimed = true;
        if (const auto found = active_.find(keys[i]); found != active_.end()) standing[i] = found->second;
      }
      if (!claimed) {
        auto changes = decide(standing);
        if (!changes) return fail(changes.error());
        if (changes->empty()) return {};
        mine->changes = std::move(*changes);
        for (const CatalogueChange& one : mine->changes) {
          if (!one.key.empty()) claims_.insert(one.key);
        }
        pending_.push_back(mine);
      }
    }
    const std::lock_guard lock(flush_mutex_);
    while (claimed ? has_pending() : !mine->done) flush_batch();
    if (claimed) continue;
    if (!mine->result && doubt) *doubt = log_broken_;
    return mine->result;
  }
}

bool Catalogue::has_pending() {
  const std::lock_guard lock(mutex_);
  return !pending_.empty();
}

Result<> Catalogue::mend_log() {
  auto renewed = CatalogueLog::renew(disk_, folder_, log_->number(), log_->length());
  if (!renewed) return fail(Code::read_only, "the node's catalogue cannot be written: " + renewed.error().what,
                            renewed.error().hint, renewed.error().os_error);
  log_ = std::move(*renewed);
  log_broken_ = false;
  return {};
}

void Catalogue::flush_batch() {
  std::vector<std::shared_ptr<Pending>> batch;
  Bytes bytes;
  {
    const std::lock_guard lock(mutex_);
    std::size_t taken = 0;
    while (taken < pending_.size() && bytes.size() < batch_bytes) {
      const Bytes one = encode_changes(pending_[taken]->changes);
      bytes.insert(bytes.end(), one.begin(), one.end());
      batch.push_back(pending_[taken++]);
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  if (batch.empty()) return;
  Result<> done = log_broken_ ? mend_log() : Result<>();
  if (done) {
    done = log_->append(bytes);
    ++counters_.flushes;
    if (!done) {
      ++counters_.catalogue_failures;
      log_broken_ = true;
      (void)mend_log();  // the next batch tries again, and says so if it fails
    }
  }
  const std::lock_guard lock(mutex_);
  trouble_ = log_broken_ ? (done ? std::string() : done.error().what) : std::string();
  for (const auto& one : batch) {
    for (const CatalogueChange& change : one->changes) {
      claims_.erase(change.key);
      if (done) apply(change);
    }
    one->result = done;
    one->done = true;
  }
}

Result<> Catalogue::put(const ObjectKey& key, const LiveObject& object, bool* doubt) {
  return change({key}, [&](const std::vector<LiveObject>& standing) -> Result<std::vector<CatalogueChange>> {
    if (standing[0].id != 0) return fail(Code::exists, "the name is taken");
    return std::vector<CatalogueChange>{{Kind::put, key, object.id, object.size, 0, TrashReason::removed}};
  }, doubt);
}

Result<> Catalogue::trash(const std::vector<Removal>& removals) {
  std::vector<ObjectKey> keys;
  for (const Removal& removal : removals) keys.push_back(removal.key);
  return change(keys, [&](const std::vector<LiveObject>& standing) -> Result<std::vector<CatalogueChange>> {
    std::vector<CatalogueChange> changes;
    std::set<ObjectKey> seen;
    for (std::size_t i = 0; i < removals.size(); ++i) {
      const Removal& removal = removals[i];
      if (standing[i].id == 0 || (removal.id != 0 && removal.id != standing[i].id)) continue;
      if (!seen.insert(removal.key).second) continue;
      changes.push_back({Kind::trash, removal.key, standing[i].id, standing[i].size, clock_s_, removal.reason});
    }
    return changes;
  }, nullptr);
}

Result<> Catalogue::forget(const std::vector<TrashEntry>& entries) {
  return change({}, [&](const std::vector<LiveObject>&) -> Result<std::vector<CatalogueChange>> {
    std::vector<CatalogueChange> changes;
    for (const TrashEntry& entry : entries) {
      if (trash_.contains(TrashPlace(entry.since_s, entry.id)))
        changes.push_back({Kind::forget, {}, entry.id, 0, entry.since_s, TrashReason::removed});
    }
    return changes;
  }, nullptr);
}

Result<> Catalogue::restore(const ObjectKey& key, const TrashEntry& entry) {
  return change({key}, [&](const std::vector<LiveObject>& standing) -> Result<std::vector<CatalogueChange>> {
    if (standing[0].id != 0) return fail(Code::exists, "the name is taken");
    if (!trash_.contains(TrashPlace(entry.since_s, entry.id))) return fail(Code::not_found, "not in the trash");
    return std::vector<CatalogueChange>{{Kind::put, key, entry.id, entry.size, 0, TrashReason::removed},
                                        {Kind::forget, {}, entry.id, 0, entry.since_s, TrashReason::removed}};
  }, nullptr);
}

Result<> Catalogue::save_clock() {
  return change({}, [&](const std::vector<LiveObject>&) -> Result<std::vector<CatalogueChange>> {
    return std::vector<CatalogueChange>{{Kind::clock, {}, 0, 0, clock_s_, TrashReason::removed}};
  }, nullptr);
}

std::string Catalogue::trouble() {
  const std::lock_guard lock(mutex_);
  return trouble_.empty() ? damage_ : trouble_;
}

// --- folding

Result<> Catalogue::freeze() {
  const std::lock_guard flushing(flush_mutex_);
  if (log_broken_) {
    if (auto done = mend_log(); !done) return done;
  }
  auto next = CatalogueLog::create(disk_, folder_, log_->number() + 1);
  // Half a rotation may have happened: the log in use must not be followed by one that is not.
  if (!next) return fail(next.error());
  log_ = std::move(*next);
  const std::lock_guard lock(mutex_);
  Fold fold;
  fold.number = log_->number();
  fold.facts.next_id = next_id_;
  fold.facts.floor_id = std::min(leftover_floor_.value_or(next_id_), begun_.empty() ? next_id_ : *begun_.begin());
  fold.facts.clock_s = clock_s_;
  for (const auto& [id, account] : accounts_) fold.facts.totals.emplace_back(id, account.totals);
  for (const auto& [place, item] : trash_)
    fold.facts.trash.push_back({place.first, place.second, item.account->id, item.size, item.reason});
  frozen_ = std::make_shared<const Delta>(std::move(active_));
  active_.clear();
  log_changes_ = 0;
  ++generation_;
  fold_ = std::move(fold);
  return {};
}

Result<> Catalogue::fold_if_due() {
  const std::lock_guard folding(fold_mutex_);
  if (!fold_) {
    {
      const std::lock_guard lock(mutex_);
      if (log_changes_ < std::max(fold_at_, std::min(base_->count() / 4, fold_at_most))) return {};
    }
    if (auto done = freeze(); !done) return done;
  }
  const Snapshot now = snapshot();
  auto writer = CatalogueBaseWriter::create(disk_, folder_, fold_->number);
  if (!writer) return fail(writer.error());
  CatalogueBase::Cursor cursor(*now.base);
  if (auto done = cursor.seek({}); !done) return done;
  auto frozen = now.frozen->begin();
  while (cursor.entry() || frozen != now.frozen->end()) {
    const bool changed = frozen != now.frozen->end() && (!cursor.entry() || frozen->first <= cursor.entry()->key);
    const bool both = changed && cursor.entry() && cursor.entry()->key == frozen->first;
    const ObjectKey& key = changed ? frozen->first : cursor.entry()->key;
    const LiveObject object = changed ? frozen->second : cursor.entry()->object;
    if (object.id != 0) {
      if (auto done = (*writer)->add(key, object); !done) return done;
    }
    if (!changed || both) {
      if (auto done = cursor.next(); !done) return done;
    }
    if (changed) ++frozen;
  }
  if (auto done = (*writer)->finish(fold_->facts); !done) return done;
  auto base = CatalogueBase::open(disk_, folder_, fold_->number, nullptr);
  if (!base) return fail(base.error());
  const std::uint64_t number = fold_->number;
  {
    const std::lock_guard lock(mutex_);
    base_ = std::move(*base);
    frozen_.reset();
    ++generation_;
  }
  fold_.reset();
  for (const bool of_base : {true, false}) {
    auto numbers = numbers_of(disk_, folder_, of_base ? "base-" : "log-");
    if (!numbers) return fail(numbers.error());
    for (const std::uint64_t old : *numbers) {
      if (old >= number) continue;
      if (auto done = disk_.remove(of_base ? base_path(folder_, old) : log_path(folder_, old)); !done) return done;
    }
  }
  return disk_.sync_directory(folder_);
}

}  // namespace atl
