#include "cache/drive/changes.h"

#include <algorithm>

#include "cache/drive/drive_impl.h"
#include "cache/journal/record.h"

namespace atl {
namespace {

/// Notes what a record does to inodes. False if nobody would see it.
class Collector {
 public:
  explicit Collector(Changes& changes) : changes_(changes) {}

  bool operator()(const InodeMade& r) { return entry(r.parent, r.inode, r.time); }
  bool operator()(const Linked& r) { return entry(r.parent, r.inode, r.time); }
  bool operator()(const Unlinked& r) {
    gone_.insert(r.inode);
    changes_.parents.insert(r.parent);
    return at(r.time);
  }
  bool operator()(const Renamed& r) {
    changes_.parents.insert(r.to);
    if (r.replaced.value != 0) (r.exchange ? changes_.changed : gone_).insert(r.replaced);
    return entry(r.from, r.inode, r.time);
  }
  bool operator()(const AttributesSet& r) {
    if (r.mask == AttributesSet::atime_bit) {  // somebody read it
      changes_.read.insert(r.inode);
      return false;
    }
    return inode(r.inode, (r.mask & AttributesSet::ctime_bit) != 0 ? r.ctime : Timestamp{});
  }
  bool operator()(const Written& r) { return inode(r.inode, r.time); }
  bool operator()(const Shared& r) { return inode(r.inode, r.time); }
  bool operator()(const Punched& r) { return inode(r.inode, r.time); }
  bool operator()(const XattrSet& r) { return inode(r.inode, r.time); }
  bool operator()(const XattrRemoved& r) { return inode(r.inode, r.time); }
  template <typename Other>
  bool operator()(const Other&) {
    return false;
  }
  /// Inodes that lost a name: changed where another name is left, but nothing new.
  const std::unordered_set<InodeNumber>& gone() const { return gone_; }

 private:
  bool at(const Timestamp& time) {
    if (!changes_.oldest && time != Timestamp{}) changes_.oldest = time;
    return true;
  }
  bool inode(InodeNumber inode, const Timestamp& time) {
    changes_.changed.insert(inode);
    return at(time);
  }
  bool entry(InodeNumber parent, InodeNumber child, const Timestamp& time) {
    changes_.parents.insert(parent);
    return inode(child, time);
  }

  Changes& changes_;
  std::unordered_set<InodeNumber> gone_;
};

}  // namespace

Result<Changes> collect_changes(Journal& journal, Lsn told, Tables& tables) {
  Changes changes;
  changes.untold.complete = journal.first() <= told.next();
  Collector collector(changes);
  Lsn lsn;
  auto replayed = journal.replay(std::max(told.next(), journal.first()), [&](const JournalBatch& batch) {
    lsn = Lsn(batch.first.value - 1);
    return decode_records(batch.body, [&](const Record& record) -> Result<> {
      lsn = lsn.next();
      if (lsn <= told) return {};
      if (std::visit(collector, record)) ++changes.untold.changes;
      if (const auto* written = std::get_if<Written>(&record))
        if (const auto row = tables.extent(written->extent)) changes.untold.bytes += row->length;
      return {};
    });
  });
  if (!replayed) return fail(replayed.error());
  for (const InodeNumber inode : changes.changed)
    changes.untold.files += tables.inode(inode) != nullptr && !tables.orphans().contains(inode);
  changes.changed.insert(collector.gone().begin(), collector.gone().end());
  return changes;
}

Result<std::optional<Lsn>> find_point(Journal& journal, const HistoryPoint& point) {
  if (journal.last() == point.lsn) return journal.chain() == point.chain ? std::optional(point.lsn) : std::nullopt;
  if (journal.last() < point.lsn || journal.first() > point.lsn.next()) return std::optional<Lsn>();
  std::optional<Lsn> found;
  // The batch that ends there, or the one behind it.
  auto replayed = journal.replay(std::max(point.lsn, journal.first()), [&](const JournalBatch& batch) -> Result<> {
    if (batch.first.value + batch.count - 1 == point.lsn.value && batch.chain == point.chain) found = point.lsn;
    if (batch.first.value == point.lsn.value + 1 && batch.previous == point.chain) found = point.lsn;
    if (found || batch.first > point.lsn) return fail(Code::cancelled);  // seen enough
    return {};
  });
  if (!replayed && replayed.error().code != Code::cancelled) return fail(replayed.error());
  return found;
}

Result<Changes> changes_since(Drive& drive, const HistoryPoint& point) {
  auto* const real = dynamic_cast<DriveImpl*>(&drive);
  if (real == nullptr) return fail(Code::unsupported, "this drive has no journal");
  return real->changes_since(point);
}

Result<Changes> DriveImpl::changes_since(const HistoryPoint& point) {
  if (auto r = committer_.commit(); !r) return fail(r.error());
  return committer_.with_journal([&](Journal& journal) -> Result<Changes> {
    auto told = find_point(journal, point);
    if (!told) return fail(told.error());
    return locked([&]() -> Result<Changes> {
      auto changes = collect_changes(journal, told->value_or(point.lsn), *core_->tables);
      if (changes && !*told) changes->untold.complete = false;
      return changes;
    });
  });
}

}  // namespace atl
