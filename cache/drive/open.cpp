// Making a drive, opening it after whatever happened, and closing it.
#include <algorithm>

#include "cache/drive/checkpoint.h"
#include "cache/drive/drive_impl.h"
#include "cache/drive/fenced_note.h"
#include "cache/drive/paths.h"
#include "cache/drive/replayer.h"
#include "cache/heads/head_store.h"

namespace atl {
namespace {

/// Ids of extents and segments that one epoch may use.
constexpr unsigned epoch_id_bits = 40;

Result<std::unique_ptr<IndexStore>> rebuild_index(DriveCore& core, const SecretKey& key) {
  auto index = IndexStore::create(core.seams.disk, index_path(core.directory));
  if (!index) return fail(index.error());
  auto lsn = load_checkpoint(core.seams.disk, checkpoint_directory(core.directory), **index, core.keyring.volume(), key);
  if (!lsn) return fail(lsn.error());
  return index;
}

/// Folds the journal behind what the index has applied.
Result<> replay(DriveCore& core) {
  core.tables.emplace(*core.index);
  Replayer replayer(*core.index, *core.tables);
  if (core.journal->last() > replayer.last()) {
    auto replayed = core.journal->replay(replayer.last().next(), [&](const JournalBatch& batch) { return replayer.fold(batch); });
    if (!replayed) return replayed;
  }
  core.last_lsn = replayer.last();
  return replayer.apply();
}

/// Index and journal, together at the last committed state.
Result<> recover(DriveCore& core) {
  auto key = core.keyring.derive(KeyEpoch{1}, KeyPurpose::journal);
  if (!key) return fail(key.error());
  bool rebuilt = false;
  auto marked = core.seams.disk.exists(index_damaged_path(core.directory));
  if (!marked) return fail(marked.error());
  Result<std::unique_ptr<IndexStore>> index = fail(Code::corrupt);
  if (!*marked) index = IndexStore::open(core.seams.disk, index_path(core.directory));
  if (index)
    if (auto sound = (*index)->check(); !sound) index = fail(sound.error());
  for (;;) {
    if (!index) {
      // A format number that is newer may be a damaged one; the journal says whether this version reads the drive.
      const Code code = index.error().code;
      const bool remade = code == Code::corrupt || code == Code::not_found || code == Code::newer_format;
      if (rebuilt || !remade) return fail(index.error());
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
    core.index_rebuilt = rebuilt;
    if (*marked) (void)core.seams.disk.remove(index_damaged_path(core.directory));  // at worst it is rebuilt once more
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
    // Another computer may have used ids that this state does not know of: each epoch has a range of its own.
    auto epoch = claimed_epoch(seams.disk, heads_directory(core->directory));
    if (!epoch) return fail(epoch.error());
    const std::uint64_t first_id = std::uint64_t{*epoch - 1} << epoch_id_bits;
    core->next_extent = std::max(volume.next_extent, first_id);
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
        *core->segments, SegmentId(std::max(volume.next_segment, first_id)), segment_header_bytes + ShardGeometry::segment_capacity({volume.k, volume.n}));
    auto note = read_fenced_note(seams.disk, core->directory);
    if (!note && note.error().code != Code::corrupt) return fail(note.error());
    if (note && *note) {
      core->fenced = fenced_error((*note)->epoch, core->directory);
      core->untold = (*note)->untold;
    }
    if (!options.read_only && !core->fenced) {
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
    (void)replace_file(seams.disk, index_damaged_path(core->directory), as_bytes("rebuild the index\n"));
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
      checkpointer_(*core_, committer_),
      caretaker_(*core_, committer_, shipper_, checkpointer_, tasks_),
      publisher_(*core_, committer_, shipper_, checkpointer_, tasks_) {}

DriveImpl::~DriveImpl() { (void)close(std::chrono::seconds(10)); }

std::vector<NodeSpec> DriveImpl::nodes() const {
  std::lock_guard lock(core_->mutex);
  std::vector<NodeSpec> nodes;
  for (const auto& [id, spec] : core_->tables->nodes()) {
    nodes.push_back(spec);
    nodes.back().draining = core_->tables->volume().leaving.contains(id);
  }
  return nodes;
}

void DriveImpl::start(Engine& engine) {
  core_->engine = &engine;
  schedule_flush();
  if (core_->options.read_only) return;
  if (auto loaded = publisher_.load(); !loaded) {
    std::lock_guard lock(core_->mutex);
    core_->fail_stop(loaded.error());
    return;
  }
  reclaimer_.start(publisher_);
  shipper_.start(reclaimer_, publisher_);
  publisher_.start();
  caretaker_.start();
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
  if (core_->engine.load() != nullptr && !core_->options.read_only) {
    caretaker_.stop();
    publisher_.stop();
    shipper_.stop();
  }
  tasks_.close();
  if (core_->engine.load() != nullptr && !core_->options.read_only) caretaker_.save();
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
    (void)replace_file(core_->seams.disk, index_damaged_path(core_->directory), as_bytes("rebuild the index\n"));
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
