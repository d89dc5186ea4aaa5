#include "cache/care/history_check.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "cache/care/touched_files.h"
#include "cache/drive/checkpoint.h"
#include "cache/drive/paths.h"
#include "cache/drive/replayer.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

/// Of the journal, read while commits wait.
constexpr std::uint64_t step_bytes = 4u << 20;
/// The journal was shortened so often while it was being read: then something is odd.
constexpr int tries_max = 5;

std::string check_index_path(const std::string& directory) { return directory + "/check.db"; }

bool is_damage(const Error& error) { return error.code == Code::corrupt || error.code == Code::io; }

}  // namespace

/// All rows of an index at one moment, each as two numbers.
struct HistoryCheck::Rows {
  struct Row {
    char table = 0;
    std::uint64_t first = 0;  // of the key: an inode, an extent, a segment
    std::uint64_t key = 0;
    std::uint64_t row = 0;
    friend auto operator<=>(const Row&, const Row&) = default;
  };
  Lsn lsn;
  std::uint64_t count = 0;
  Bytes digest;
  std::vector<Row> rows;  // only if asked for; sorted

  static std::uint64_t hash(ByteView bytes) {
    static constexpr std::array<std::uint8_t, crypto_shorthash_KEYBYTES> key{};
    std::uint64_t sum = 0;
    crypto_shorthash(reinterpret_cast<std::uint8_t*>(&sum), bytes.data(), bytes.size(), key.data());
    return sum;
  }

  static Result<Rows> read(IndexStore& index, bool each, const std::stop_token& stop) {
    Rows rows;
    crypto_generichash_state all;
    crypto_generichash_init(&all, nullptr, 0, 32);
    auto lsn = index.dump([&](std::string_view table, ByteView key, ByteView row) -> Result<> {
      if (stop.stop_requested()) return fail(Code::cancelled, "the check was interrupted");
      ++rows.count;
      const std::array<std::uint64_t, 3> sums{hash(as_bytes(table)), hash(key), hash(row)};
      crypto_generichash_update(&all, reinterpret_cast<const std::uint8_t*>(sums.data()), sizeof sums);
      if (!each) return {};
      Row one{table.empty() ? '?' : table[0], 0, sums[1], sums[2]};
      if (table == "extents") one.table = 't';
      for (std::size_t i = 0; i < 8 && i < key.size(); ++i) one.first = one.first << 8 | key[i];
      rows.rows.push_back(one);
      return {};
    });
    if (!lsn) return fail(lsn.error());
    rows.lsn = *lsn;
    rows.digest.resize(32);
    crypto_generichash_final(&all, rows.digest.data(), rows.digest.size());
    std::sort(rows.rows.begin(), rows.rows.end());
    return rows;
  }
};

void HistoryCheck::clean(Disk& disk, const std::string& directory) {
  for (const char* suffix : {"", "-wal"}) (void)disk.remove(check_index_path(directory) + suffix);  // mostly there is none
}

Result<> HistoryCheck::walk(Lsn from, Lsn upto, const std::function<Result<>(const JournalBatch&)>& visit) {
  while (from <= upto) {
    if (stop_.stop_requested()) return fail(Code::cancelled, "the check was interrupted");
    // Copied, so that nothing but reading happens while commits wait.
    std::vector<std::pair<JournalBatch, Bytes>> batches;
    bool paused = false;
    std::uint64_t bytes = 0;
    auto shown = committer_.with_journal([&](Journal& journal) {
      return journal.replay(from, [&](const JournalBatch& batch) -> Result<> {
        if (batch.first > upto || bytes > step_bytes) {
          paused = true;
          from = batch.first;
          return fail(Code::cancelled);
        }
        bytes += batch.body.size();
        batches.emplace_back(batch, Bytes(batch.body.begin(), batch.body.end()));
        return {};
      });
    });
    for (auto& [batch, body] : batches) {
      batch.body = body;
      if (auto r = visit(batch); !r) return r;
    }
    if (!paused) return shown;
  }
  return {};
}

Result<> HistoryCheck::check_journal(CheckReport& report) {
  for (int tries = 0;; ++tries) {
    Lsn first, last;
    ChainHash end{};
    committer_.with_journal([&](Journal& journal) {
      first = journal.first();
      last = journal.last();
      end = journal.chain();
    });
    std::optional<ChainHash> chain;
    std::uint64_t records = 0;
    auto walked = walk(first, last, [&](const JournalBatch& batch) -> Result<> {
      if (chain && *chain != batch.previous)
        return fail(Code::corrupt, "the chain of the journal breaks before record " + std::to_string(batch.first.value));
      chain = batch.chain;
      records += batch.count;
      show_(CheckProgress::Step::journal, records, last.value - first.value + 1);
      return {};
    });
    // A checkpoint was made meanwhile, and the front dropped.
    if (!walked && walked.error().code == Code::not_found && tries < tries_max) continue;
    if (!walked && walked.error().code == Code::cancelled) return walked;
    report.journal_records = records;
    if (!walked && !mutant("check-journal-believed")) {
      report.journal_damage = walked.error().what;
    } else if (chain && *chain != end) {
      report.journal_damage = "the journal on disk does not end with record " + std::to_string(last.value) + " as it was written";
    }
    return {};
  }
}

Result<> HistoryCheck::check_index(CheckReport& report) {
  for (int tries = 0;; ++tries) {
    Result<> compared;
    try {
      compared = compare(report);
    } catch (const IndexFailure& failure) {
      compared = fail(failure.error());
    }
    clean(core_.seams.disk, core_.directory);
    if (compared) return {};
    if (compared.error().code == Code::not_found && tries < tries_max) continue;
    if (!is_damage(compared.error())) return compared;
    report.index_damage = compared.error().what;
    return {};
  }
}

Result<> HistoryCheck::compare(CheckReport& report) {
  show_(CheckProgress::Step::index, 0, 1);
  auto key = core_.keyring.derive(KeyEpoch{1}, KeyPurpose::journal);
  if (!key) return fail(key.error());
  auto live = core_.index->beside();
  if (!live) return fail(live.error());
  if (auto sound = (*live)->check(); !sound) return sound;
  // The checkpoint first: what the real one has applied is at least that.
  auto again = IndexStore::create(core_.seams.disk, check_index_path(core_.directory));
  if (!again) return fail(again.error());
  auto loaded = load_checkpoint(core_.seams.disk, checkpoint_directory(core_.directory), **again, core_.keyring.volume(), *key);
  if (!loaded && is_damage(loaded.error())) {
    report.checkpoint_damage = loaded.error().what;
    return {};
  }
  if (!loaded) return fail(loaded.error());
  auto real = Rows::read(**live, false, stop_);
  if (!real) return fail(real.error());
  Tables tables(**again);
  Replayer replayer(**again, tables);
  const std::uint64_t total = real->lsn.value - std::min(real->lsn.value, loaded->value);
  auto folded = walk(loaded->next(), real->lsn, [&](const JournalBatch& batch) -> Result<> {
    show_(CheckProgress::Step::index, replayer.last().value - loaded->value, total);
    return replayer.fold(batch);
  });
  if (!folded) return folded;
  if (auto applied = replayer.apply(); !applied) return applied;
  auto made = Rows::read(**again, false, stop_);
  if (!made) return fail(made.error());
  report.index_rows = real->count;
  report.index_compared = true;
  if (made->digest == real->digest || mutant("check-index-believed")) return {};

  // Rare, so that it may cost memory: which rows?
  auto real_rows = Rows::read(**live, true, stop_);
  if (!real_rows) return fail(real_rows.error());
  if (real_rows->lsn != made->lsn) {  // somebody saves: then which ones is not told
    report.index_damage = "rows of the index are not what the journal says";
    return {};
  }
  auto made_rows = Rows::read(**again, true, stop_);
  if (!made_rows) return fail(made_rows.error());
  std::vector<Rows::Row> different;
  std::set_symmetric_difference(real_rows->rows.begin(), real_rows->rows.end(), made_rows->rows.begin(), made_rows->rows.end(),
                                std::back_inserter(different));
  std::set<std::tuple<char, std::uint64_t, std::uint64_t>> keys;
  std::set<InodeNumber> inodes;
  for (const Rows::Row& row : different) {
    keys.emplace(row.table, row.first, row.key);
    if (std::string_view("iexw").find(row.table) != std::string_view::npos) inodes.insert(InodeNumber(row.first));
  }
  report.index_damage = std::to_string(keys.size()) + " of " + std::to_string(real->count) + " rows of the index are not what the journal says";
  auto files = name_inodes(**again, inodes);
  if (!files) return fail(files.error());
  report.weakened_files = std::move(*files);
  return {};
}

}  // namespace atl
