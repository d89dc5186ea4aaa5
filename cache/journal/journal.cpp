#include "cache/journal/journal.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "cache/journal/journal_file.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr std::size_t name_digits = 20;
constexpr std::string_view name_suffix = ".log";
// A file in the making. It takes its real name once its header and its space are durable, so that whatever bears a
// real name and has no sound header, or less than its size, was damaged or cut.
constexpr std::string_view spare_name = "next.tmp";
constexpr std::size_t zero_block_bytes = 1024 * 1024;

std::string file_name(Lsn first) {
  std::string digits = std::to_string(first.value);
  return std::string(name_digits - digits.size(), '0') + digits + std::string(name_suffix);
}

bool is_file_name(std::string_view name) {
  return name.size() == name_digits + name_suffix.size() && name.ends_with(name_suffix) &&
         name.substr(0, name_digits).find_first_not_of("0123456789") == std::string_view::npos;
}

Result<> write_zeros(File& file, std::uint64_t from, std::uint64_t to) {
  const Bytes zeros(static_cast<std::size_t>(std::min<std::uint64_t>(zero_block_bytes, to - from)), 0);
  while (from < to) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), to - from));
    if (auto written = file.write(from, ByteView(zeros).first(part)); !written) return written;
    from += part;
  }
  return {};
}

}  // namespace

struct Journal::State {
  struct HeldFile {
    std::string path;
    Lsn first;
    std::uint64_t bytes = 0;
  };
  struct Spare {
    std::unique_ptr<File> file;
    std::uint64_t bytes = 0;
  };

  State(Disk& disk_, std::string directory_, const VolumeId& volume, const SecretKey& key, JournalOptions options_)
      : disk(disk_), directory(std::move(directory_)), codec(key, volume), options(options_) {}

  std::string path(std::string_view name) const { return directory + "/" + std::string(name); }
  tl::unexpected<Error> poison(const Error& cause);
  Result<> usable() const;
  Result<> recover(Lsn known);
  Result<> validate(const std::vector<std::string>& names);
  Result<> settle(std::uint64_t used_end);
  Result<> make_spare(std::uint64_t bytes);
  Result<> begin_file(std::uint64_t needed);
  Result<> scrub();

  Disk& disk;
  const std::string directory;
  const JournalCodec codec;
  const JournalOptions options;

  std::vector<HeldFile> files;  // in order; the last is written to
  std::unique_ptr<File> file;
  std::uint64_t offset = 0;      // where the next batch goes
  std::uint64_t last_batch = 0;  // where the last one found by recovery begins; `offset` if its file has none
  Lsn next_lsn{1};
  ChainHash chain{};
  Spare spare;
  bool scrub_needed = false;  // a batch that failed may lie at `offset`
  bool removal_unsynced = false;
  std::optional<Error> poisoned;
  Bytes buffer;
};

tl::unexpected<Error> Journal::State::poison(const Error& cause) {
  poisoned =
      Error(Code::io, "the journal in " + directory + " takes no more records since a flush failed: " + cause.what,
            "check the disk, then mount the drive again", cause.os_error);
  return fail(*poisoned);
}

Result<> Journal::State::usable() const {
  if (poisoned) return fail(*poisoned);
  return {};
}

/// Prepares a file of at least `bytes` under the temporary name: its space is taken and written once, so that appending
/// changes no metadata.
Result<> Journal::State::make_spare(std::uint64_t bytes) {
  if (spare.file && spare.bytes >= bytes) return {};
  spare = {};
  if (auto there = disk.exists(path(spare_name)); !there) {
    return fail(there.error());
  } else if (*there) {
    if (auto removed = disk.remove(path(spare_name)); !removed) return removed;
  }
  auto opened = disk.open(path(spare_name), OpenMode::create_new);
  if (!opened) return fail(opened.error());
  std::unique_ptr<File> made = std::move(*opened);
  const auto give_up = [&](const Error& error) {
    made.reset();
    (void)disk.remove(path(spare_name));  // else the next attempt or the next open removes it
    return fail(error);
  };
  if (auto allocated = made->allocate(bytes); !allocated) return give_up(allocated.error());
  if (auto written = write_zeros(*made, 0, bytes); !written) return give_up(written.error());
  if (auto synced = made->sync(); !synced) return give_up(synced.error());
  spare = {std::move(made), bytes};
  return {};
}

/// Makes the spare file the journal's last.
Result<> Journal::State::begin_file(std::uint64_t needed) {
  if (auto made = make_spare(std::max(options.file_bytes, needed)); !made) return made;
  JournalFileHeader header;
  header.file_bytes = spare.bytes;
  header.first = next_lsn;
  header.previous = chain;
  const auto give_up = [&](const Error& error) {
    spare = {};
    (void)disk.remove(path(spare_name));
    return fail(error);
  };
  if (auto written = spare.file->write(0, codec.encode_file_header(header)); !written) return give_up(written.error());
  if (auto synced = spare.file->sync(); !synced) return give_up(synced.error());

  // From the rename on, the name's fate is unknown until the directory is flushed. An empty last file, begun for a
  // batch that then failed, has the same name and is replaced.
  const HeldFile held{path(file_name(next_lsn)), next_lsn, spare.bytes};
  if (auto renamed = disk.rename(path(spare_name), held.path); !renamed) return poison(renamed.error());
  if (!mutant("journal-name-unflushed"))
    if (auto synced = disk.sync_directory(directory); !synced) return poison(synced.error());
  if (!files.empty() && files.back().first == next_lsn) files.pop_back();
  files.push_back(held);
  file = std::move(spare.file);
  spare = {};
  offset = journal_file_header_bytes;
  return {};
}

/// Makes sure that a batch whose write failed can never be taken for a committed one.
Result<> Journal::State::scrub() {
  if (!scrub_needed || mutant("journal-not-scrubbed")) return {};
  const std::uint64_t end = std::min(offset + journal_batch_header_bytes, files.back().bytes);
  if (auto written = write_zeros(*file, offset, end); !written) return written;
  if (auto synced = file->sync(); !synced) return poison(synced.error());
  scrub_needed = false;
  return {};
}

/// Reads every file, leaving the last one open and the position at the end of the chain. Changes nothing on disk.
Result<> Journal::State::validate(const std::vector<std::string>& names) {
  std::uint64_t end_of_previous = 0;
  for (const auto& name : names) {
    const bool first_file = files.empty(), last_file = &name == &names.back();
    auto opened = disk.open(path(name), last_file ? OpenMode::write : OpenMode::read);
    if (!opened) return fail(opened.error());
    JournalFileReader reader(**opened, codec, path(name));
    if (auto begun = reader.begin(); !begun) return begun;
    if (file_name(reader.header().first) != name)
      return journal_damage(path(name), 0, "the file is not the one that its name says");
    if (!first_file && (reader.header().first != next_lsn || reader.header().previous != chain))
      return journal_damage(files.back().path, end_of_previous, "records are missing before " + name);
    last_batch = reader.offset();
    for (std::uint64_t at = last_batch;; at = reader.offset()) {
      auto batch = reader.next();
      if (!batch) return fail(batch.error());
      if (!*batch) break;
      last_batch = at;
    }
    files.push_back({path(name), reader.header().first, reader.header().file_bytes});
    next_lsn = reader.next_lsn();
    chain = reader.chain();
    offset = end_of_previous = reader.offset();
    if (last_file) file = std::move(*opened);
  }
  return {};
}

/// Makes durable what was found, since whoever opens builds on it. So far it may stand only in the kernel's memory:
/// after a kill before the flush, or after a flush that failed, whose pages the kernel then takes for clean. Only the
/// last batch can be in that state; it is written again. A batch that a crash tore was never acknowledged: it goes, so
/// that its bytes cannot meet later ones.
Result<> Journal::State::settle(std::uint64_t used_end) {
  buffer.resize(static_cast<std::size_t>(offset - last_batch));
  auto read = file->read(last_batch, buffer);
  if (!read) return fail(read.error());
  if (*read != buffer.size()) return journal_damage(files.back().path, last_batch + *read, "the file ends here");
  if (auto written = file->write(last_batch, buffer); !written) return written;
  const std::uint64_t header_end = std::min(offset + journal_batch_header_bytes, files.back().bytes);
  if (auto zeroed = write_zeros(*file, offset, std::max(used_end, header_end)); !zeroed) return zeroed;
  return file->sync();
}

Result<> Journal::State::recover(Lsn known) {
  auto listed = disk.list(directory);
  if (!listed) return fail(listed.error());
  std::vector<std::string> names;
  std::ranges::copy_if(*listed, std::back_inserter(names), is_file_name);
  if (names.empty())
    return fail(Code::corrupt, "there is no journal in " + directory,
                "restore the folder from a copy, or recover the drive from its nodes");
  if (auto valid = validate(names); !valid) return valid;

  JournalFileReader reader(*file, codec, files.back().path);
  if (auto begun = reader.begin(); !begun) return begun;
  auto tail = reader.tail_from(offset, next_lsn);
  if (!tail) return fail(tail.error());
  if (tail->valid_batch && !mutant("journal-cut-at-damage"))
    return journal_damage(files.back().path, offset,
                          "a later batch at byte " + std::to_string(*tail->valid_batch) + " is whole");
  if (next_lsn <= known && !mutant("journal-end-unknown"))
    return journal_damage(files.back().path, offset,
                          "records up to " + std::to_string(known.value) + " were durable, the journal ends with " +
                              std::to_string(next_lsn.value - 1));

  if (!mutant("journal-not-settled"))
    if (auto settled = settle(tail->used_end); !settled) return settled;
  if (std::ranges::find(*listed, spare_name) != listed->end())
    if (auto removed = disk.remove(path(spare_name)); !removed) return removed;
  return disk.sync_directory(directory);
}

Journal::Journal(std::unique_ptr<State> state) : state_(std::move(state)) {}
Journal::~Journal() = default;

Result<> Journal::create(Disk& disk, const std::string& directory, const VolumeId& volume, const SecretKey& key,
                         JournalOptions options) {
  auto made = continue_at(disk, directory, volume, key, Lsn{1}, JournalCodec(key, volume).genesis(), options);
  if (!made) return fail(made.error());
  return {};
}

Result<std::unique_ptr<Journal>> Journal::continue_at(Disk& disk, const std::string& directory, const VolumeId& volume,
                                                      const SecretKey& key, Lsn first, const ChainHash& previous,
                                                      JournalOptions options) {
  auto names = disk.list(directory);
  if (!names) return fail(names.error());
  if (std::ranges::any_of(*names, is_file_name))
    return fail(Code::exists, "there is a journal in " + directory, "choose another folder");
  auto state = std::make_unique<State>(disk, directory, volume, key, options);
  state->next_lsn = first;
  state->chain = previous;
  if (auto begun = state->begin_file(0); !begun) return fail(begun.error());
  return std::unique_ptr<Journal>(new Journal(std::move(state)));
}

Result<std::unique_ptr<Journal>> Journal::open(Disk& disk, const std::string& directory, const VolumeId& volume,
                                               const SecretKey& key, Lsn known, JournalOptions options) {
  auto state = std::make_unique<State>(disk, directory, volume, key, options);
  if (auto recovered = state->recover(known); !recovered) return fail(recovered.error());
  return std::unique_ptr<Journal>(new Journal(std::move(state)));
}

Result<> Journal::replay(Lsn from, const std::function<Result<>(const JournalBatch&)>& visit) {
  State& state = *state_;
  if (from < first())
    return fail(Code::not_found, "the journal in " + state.directory + " begins with record " +
                                     std::to_string(first().value) + ", not " + std::to_string(from.value));
  for (std::size_t i = 0; i < state.files.size(); ++i) {
    const bool last_file = i + 1 == state.files.size();
    const Lsn end = last_file ? state.next_lsn : state.files[i + 1].first;
    if (end <= from) continue;
    auto opened = state.disk.open(state.files[i].path, OpenMode::read);
    if (!opened) return fail(opened.error());
    JournalFileReader reader(**opened, state.codec, state.files[i].path);
    if (auto begun = reader.begin(); !begun) return begun;
    while (reader.next_lsn() < end) {
      auto batch = reader.next();
      if (!batch) return fail(batch.error());
      if (!*batch)
        return journal_damage(state.files[i].path, reader.offset(), "a batch that was whole is not any more");
      if (reader.next_lsn() <= from) continue;
      if (auto seen = visit(**batch); !seen) return seen;
    }
  }
  return {};
}

Result<Lsn> Journal::append(ByteView body, std::uint32_t count) {
  State& state = *state_;
  assert(count > 0);
  if (auto usable = state.usable(); !usable) return fail(usable.error());
  if (body.size() > std::numeric_limits<std::uint32_t>::max() / 2)
    return fail(Code::too_large, "a journal batch of " + human_bytes(body.size()));
  if (auto scrubbed = state.scrub(); !scrubbed) return fail(scrubbed.error());

  const std::uint64_t bytes = JournalCodec::batch_bytes(body.size());
  if (state.offset + bytes > state.files.back().bytes)
    if (auto begun = state.begin_file(journal_file_header_bytes + bytes); !begun) return fail(begun.error());

  const Lsn first = state.next_lsn;
  const ChainHash chain = state.codec.encode_batch(first, count, state.chain, body, state.buffer);
  if (auto written = state.file->write(state.offset, state.buffer); !written) {
    state.scrub_needed = true;
    return fail(written.error());
  }
  if (!mutant("journal-unflushed"))
    if (auto synced = state.file->sync(); !synced)
      return mutant("journal-goes-on") ? fail(synced.error()) : state.poison(synced.error());
  state.offset += bytes;
  state.chain = chain;
  state.next_lsn = Lsn(first.value + count);
  constexpr std::size_t buffer_kept_bytes = 4 * 1024 * 1024;
  if (state.buffer.capacity() > buffer_kept_bytes) Bytes().swap(state.buffer);
  return first;
}

Lsn Journal::first() const {
  return state_->files.front().first;
}
Lsn Journal::last() const {
  return Lsn(state_->next_lsn.value - 1);
}
ChainHash Journal::chain() const {
  return state_->chain;
}

std::uint64_t Journal::disk_bytes() const {
  std::uint64_t sum = state_->spare.bytes;
  for (const auto& file : state_->files) sum += file.bytes;
  return sum;
}

Result<> Journal::reserve(std::uint64_t bytes) {
  State& state = *state_;
  if (auto usable = state.usable(); !usable) return usable;
  const std::uint64_t needed = JournalCodec::batch_bytes(bytes);
  if (state.offset + needed <= state.files.back().bytes) return {};
  return state.make_spare(std::max(state.options.file_bytes, journal_file_header_bytes + needed));
}

Result<> Journal::begin_new_file() {
  State& state = *state_;
  if (auto usable = state.usable(); !usable) return usable;
  if (auto scrubbed = state.scrub(); !scrubbed) return scrubbed;
  return state.begin_file(0);
}

Result<> Journal::drop_before(Lsn keep) {
  State& state = *state_;
  if (auto usable = state.usable(); !usable) return usable;
  // One name at a time is made durable: a power cut must never take a file from the middle.
  while (state.removal_unsynced || (state.files.size() > 1 && state.files[1].first <= keep)) {
    if (!state.removal_unsynced) {
      if (auto removed = state.disk.remove(state.files.front().path); !removed) return removed;
      state.files.erase(state.files.begin());
      state.removal_unsynced = true;
    }
    if (!mutant("journal-dropped-unordered"))
      if (auto synced = state.disk.sync_directory(state.directory); !synced) return synced;
    state.removal_unsynced = false;
  }
  return {};
}

Result<> inspect_journal_file(Disk& disk, const std::string& path, const VolumeId& volume, const SecretKey& key,
                              const std::function<void(std::uint64_t offset, const JournalBatch&)>& visit) {
  auto opened = disk.open(path, OpenMode::read);
  if (!opened) return fail(opened.error());
  const JournalCodec codec(key, volume);
  JournalFileReader reader(**opened, codec, path);
  if (auto begun = reader.begin(); !begun) return begun;
  for (;;) {
    const std::uint64_t offset = reader.offset();
    auto batch = reader.next();
    if (!batch) return fail(batch.error());
    if (!*batch) break;
    visit(offset, **batch);
  }
  auto tail = reader.tail_from(reader.offset(), reader.next_lsn());
  if (!tail) return fail(tail.error());
  if (tail->valid_batch)
    return journal_damage(path, reader.offset(),
                          "a later batch at byte " + std::to_string(*tail->valid_batch) + " is whole");
  if (tail->used_end > reader.offset())
    return journal_damage(path, reader.offset(), "a batch that was begun and not finished, or damage");
  return {};
}

}  // namespace atl
