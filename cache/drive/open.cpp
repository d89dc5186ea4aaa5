// Making a drive, opening it after whatever happened, and closing it.
#include <algorithm>

#include "cache/drive/checkpoint.h"
#include "cache/drive/drive_impl.h"
#include "cache/drive/paths.h"

namespace atl {
namespace {

/// Rows folded between two transactions of a replay: bounds memory.
constexpr std::size_t replay_rows = 50'000;

/// Left by a drive that found its index damaged: the next mount rebuilds it.
std::string damaged_marker(const std::string& directory) { return directory + "/index.damaged"; }

Result<std::unique_ptr<IndexStore>> rebuild_index(DriveCore& core, const SecretKey& key) {
  auto index = IndexStore::create(index_path(core.directory));
  if (!index) return fail(index.error());
  auto lsn = load_checkpoint(core.seams.disk, checkpoint_directory(core.directory), **index, core.keyring.volume(), key);
  if (!lsn) return fail(lsn.error());
  return index;
}

/// Folds the journal behind what the index has applied.
Result<> replay(DriveCore& core) {
  core.tables.emplace(*core.index);
  core.last_lsn = core.index->applied();
  const auto apply = [&core]() -> Result<> {
    std::vector<IndexChanges> commits;
    commits.push_back(core.tables->take_changes(core.last_lsn));
    if (auto r = core.index->apply(commits); !r) return r;
    core.tables->applied(commits.front());
    return {};
  };
  std::size_t rows = 0;
  if (core.journal->last() > core.last_lsn) {
    auto replayed = core.journal->replay(core.last_lsn.next(), [&](const JournalBatch& batch) -> Result<> {
      if (batch.first != core.last_lsn.next()) {
        return fail(Code::corrupt, "the index was applied to the middle of a journal batch");
      }
      auto folded = decode_records(batch.body, [&](const Record& record) -> Result<> {
        core.last_lsn = core.last_lsn.next();
        return fold(record, *core.tables);
      });
      if (!folded) return folded;
      rows += batch.count;
      if (rows < replay_rows) return {};
      rows = 0;
      return apply();
    });
    if (!replayed) return replayed;
  }
  return apply();
}

/// Index and journal, together at the last committed state.
Result<> recover(DriveCore& core) {
  auto key = core.keyring.derive(KeyEpoch{1}, KeyPurpose::journal);
  if (!key) return fail(key.error());
  bool rebuilt = false;
  auto marked = core.seams.disk.exists(damaged_marker(core.directory));
  if (!marked) return fail(marked.error());
  Result<std::unique_ptr<IndexStore>> index = fail(Code::corrupt);
  if (!*marked) index = IndexStore::open(index_path(core.directory));
  for (;;) {
    if (!index) {
      if (rebuilt || (index.error().code != Code::corrupt && index.error().code != Code::not_found)) return fail(index.error());
      rebuilt = true;
      index = rebuild_index(core, *key);
      if (!index) return fail(index.error());
    }
    core.tables.reset();
    core.journal.reset();
    core.index = std::move(*index);
    try {
      const Lsn applied = core.index->applied();
      if (applied.value > 0 && core.index->volume().volume != core.keyring.volume()) {
        return fail(Code::key, "the index in " + core.directory + " is of another drive");
      }
      auto journal = Journal::open(core.seams.disk, journal_directory(core.directory), core.keyring.volume(), *key, applied);
      if (!journal) return fail(journal.error());
      core.journal = std::move(*journal);
      if (core.journal->first() > applied.next()) {
        // The index is older than the journal goes back: only a checkpoint can tell what lies between.
        index = fail(Code::corrupt, "the index in " + core.directory + " is older than the journal beside it");
        continue;
      }
      if (auto r = replay(core); !r) {
        // Either the index or the journal lies: the journal is proven by its hashes.
        if (r.error().code != Code::corrupt || rebuilt) return r;
        index = fail(r.error());
        continue;
      }
    } catch (const IndexFailure& failure) {
      index = fail(Code::corrupt, failure.error().what);
      continue;
    }
    if (*marked) (void)core.seams.disk.remove(damaged_marker(core.directory));  // at worst it is rebuilt once more
    return {};
  }
}

}  // namespace

Result<> Drive::create(DriveSeams seams, const std::string& directory, const Keyring& keyring, const NewDrive& drive) {
  auto key = keyring.derive(KeyEpoch{1}, KeyPurpose::journal);
  if (!key) return fail(key.error());
  const std::string journal_path = journal_directory(directory);
  for (const std::string& path : {journal_path, index_path(directory)}) {
    auto exists = seams.disk.exists(path);
    if (!exists) return fail(exists.error());
    if (*exists) return fail(Code::exists, directory + " already holds a drive");
  }
  const auto make = [&]() -> Result<> {
    if (auto r = seams.disk.make_directory(journal_path); !r) return r;
    if (auto r = Journal::create(seams.disk, journal_path, keyring.volume(), *key); !r) return r;
    if (auto r = seams.disk.sync_directory(directory); !r) return r;
    auto journal = Journal::open(seams.disk, journal_path, keyring.volume(), *key, Lsn{});
    if (!journal) return fail(journal.error());
    Bytes body;
    std::uint32_t count = 2;
    encode_record(VolumeMade{keyring.volume(), drive.uid, drive.gid, seams.clock.wall_now()}, body);
    encode_record(RedundancySet{drive.redundancy.k, drive.redundancy.n, drive.protect_min}, body);
    for (const NodeSpec& node : drive.nodes) {
      encode_record(NodeAdded{node}, body);
      ++count;
    }
    if (auto r = (*journal)->append(body, count); !r) return fail(r.error());
    return {};
  };
  auto made = make();
  if (!made) {
    // Best effort: what is left is an empty folder of ours, and the error matters more.
    if (auto names = seams.disk.list(journal_path))
      for (const std::string& name : *names) (void)seams.disk.remove(journal_path + "/" + name);
    (void)seams.disk.remove(journal_path);
  }
  return made;
}

Result<std::unique_ptr<Drive>> Drive::open(DriveSeams seams, std::string directory, Keyring keyring, DriveOptions options) {
  auto core = std::make_unique<DriveCore>(seams, std::move(directory), std::move(keyring), options);
  auto there = seams.disk.exists(journal_directory(core->directory));
  if (!there) return fail(there.error());
  if (!*there) return fail(Code::not_found, core->directory + " holds no drive", "make one with `atoll init`");
  if (auto r = recover(*core); !r) return fail(r.error());
  try {
    Tables& tables = *core->tables;
    const VolumeRow volume = tables.volume();
    core->durable_lsn = core->last_lsn;
    core->next_extent = volume.next_extent;
    core->ran_base_seconds = volume.ran_seconds;
    auto store = SegmentStore::open(seams.disk, core->directory, core->keyring.volume(), [&tables](SegmentId id) {
      const auto found = tables.segments().find(id);
      if (found == tables.segments().end()) return SegmentStore::Standing::unknown;
      return found->second.full() ? SegmentStore::Standing::cached : SegmentStore::Standing::staged;
    });
    if (!store) return fail(store.error());
    core->segments = std::move(*store);
    auto frame_key = core->keyring.derive(KeyEpoch{1}, KeyPurpose::frame_header);
    if (!frame_key) return fail(frame_key.error());
    core->frames = std::make_unique<FrameCipher>(*frame_key);
    core->writer = std::make_unique<SegmentWriter>(
        *core->segments, SegmentId(volume.next_segment), segment_header_bytes + ShardGeometry::full_segment_bytes({volume.k, volume.n}));
    if (!options.read_only) {
      // Segments that were open: nothing is appended to them any more. Files without names: their users are gone.
      std::vector<std::pair<SegmentId, std::uint64_t>> unfinished;
      for (const auto& [id, row] : tables.segments())
        if (!row.finished) unfinished.emplace_back(id, row.bytes);
      for (const auto& [id, bytes] : unfinished) core->log(SegmentFinished{id, bytes, seams.clock.wall_now()});
      const std::set<InodeNumber> orphans = tables.orphans();
      for (InodeNumber inode : orphans) core->log(Purged{inode});
    }
  } catch (const IndexFailure& failure) {
    // A damaged index mends itself at the next mount; should this note fail to be written, it is found again then.
    (void)replace_file(seams.disk, damaged_marker(core->directory), as_bytes("rebuild the index\n"));
    return fail(failure.error().code, failure.error().what, "mount again: the index is rebuilt from the journal then");
  }
  return std::make_unique<DriveImpl>(std::move(core));
}

DriveImpl::DriveImpl(std::unique_ptr<DriveCore> core)
    : core_(std::move(core)),
      tasks_(core_->seams.runtime),
      committer_(*core_, tasks_),
      fetcher_(*core_),
      reader_(*core_, fetcher_),
      shipper_(*core_, committer_, tasks_),
      reclaimer_(*core_, committer_, reader_, fetcher_, shipper_, tasks_),
      checkpointer_(*core_, committer_) {}

DriveImpl::~DriveImpl() { (void)close(std::chrono::seconds(10)); }

std::vector<NodeSpec> DriveImpl::nodes() const {
  std::lock_guard lock(core_->mutex);
  std::vector<NodeSpec> nodes;
  for (const auto& [id, spec] : core_->tables->nodes()) nodes.push_back(spec);
  return nodes;
}

void DriveImpl::start(Engine& engine) {
  core_->engine = &engine;
  schedule_flush();
  if (!core_->options.read_only) shipper_.start(reclaimer_);
}

void DriveImpl::schedule_flush() {
  tasks_.after(core_->options.flush_interval, [this] {
    (void)committer_.commit();  // no_space is told to whoever writes; anything else has become the drive's trouble
    schedule_flush();
    if (core_->options.read_only) return;
    sweep_orphans();
    if (!checkpointer_.due()) return;
    tasks_.post([this] {
      if (auto r = checkpointer_.run(); !r && r.error().code == Code::corrupt) {
        std::lock_guard lock(core_->mutex);
        core_->fail_stop(r.error());
      }
    });
  });
}

Result<> DriveImpl::close(Duration bound) {
  if (std::exchange(closed_, true)) return {};
  const MonotonicTime deadline = core_->seams.clock.now() + bound;
  Result<> result = committer_.commit();
  {
    std::lock_guard lock(core_->mutex);
    core_->closing = true;
  }
  tasks_.request_stop();
  core_->changed.wake();
  if (core_->engine.load() != nullptr && !core_->options.read_only) shipper_.stop();
  tasks_.close();
  // What came between the first commit and the closing, and placements of uploads that landed just now.
  if (auto last = committer_.commit(); result) result = last;
  if (result) result = committer_.apply();
  bool damaged = false;
  {
    std::lock_guard lock(core_->mutex);
    damaged = core_->trouble && core_->trouble->code == Code::corrupt;
  }
  if (damaged) {
    // A damaged index mends itself at the next mount; should this note fail to be written, it is found again then.
    (void)replace_file(core_->seams.disk, damaged_marker(core_->directory), as_bytes("rebuild the index\n"));
  } else if (result) {
    if (auto flushed = core_->index->flush(); !flushed) result = fail(flushed.error());
  }
  if (auto stored = core_->segments->close(); result) result = stored;
  core_->engine = nullptr;
  if (result && core_->seams.clock.now() > deadline) {
    return fail(Code::timed_out, "unmounting took longer than it should; everything is safe on the local disk");
  }
  return result;
}

}  // namespace atl
