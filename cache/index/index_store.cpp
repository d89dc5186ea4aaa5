#include "cache/index/index_store.h"

#include <sodium.h>

#include <array>

#include "cache/index/sqlite.h"
#include "engine/base/codec.h"
#include "engine/base/mutant.h"

namespace atl {
namespace {

constexpr const char* schema = R"(
  CREATE TABLE meta(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE inodes(inode INTEGER PRIMARY KEY, links INTEGER NOT NULL, row BLOB NOT NULL);
  CREATE INDEX orphans ON inodes(inode) WHERE links = 0;
  CREATE TABLE entries(parent INTEGER NOT NULL, name BLOB NOT NULL, inode INTEGER NOT NULL, type INTEGER NOT NULL,
                       cookie INTEGER NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY(parent, name)) WITHOUT ROWID;
  CREATE INDEX entries_by_cookie ON entries(parent, cookie);
  CREATE TABLE xattrs(inode INTEGER PRIMARY KEY, row BLOB NOT NULL);
  CREATE TABLE windows(inode INTEGER NOT NULL, window INTEGER NOT NULL, row BLOB NOT NULL,
                       PRIMARY KEY(inode, window)) WITHOUT ROWID;
  CREATE TABLE extents(extent INTEGER PRIMARY KEY, row BLOB NOT NULL);
  CREATE TABLE segments(segment INTEGER PRIMARY KEY, row BLOB NOT NULL);
  CREATE TABLE garbage(attempt BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE nodes(node BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;
)";

/// How dump() reads a table and load() fills it: the key as bytes, big-endian, so that key order is table order.
struct TableShape {
  const char* name;
  const char* select;
  int key_integers;  // leading INTEGER columns of the key; 0: one BLOB
  bool key_blob;     // a BLOB after them
  char tag;          // of the table in row sums
};

constexpr std::array<TableShape, 8> shapes = {{
    {"inodes", "SELECT inode, row FROM inodes ORDER BY inode", 1, false, 'i'},
    {"entries", "SELECT parent, name, inode, type, cookie FROM entries ORDER BY parent, name", 1, true, 'e'},
    {"xattrs", "SELECT inode, row FROM xattrs ORDER BY inode", 1, false, 'x'},
    {"windows", "SELECT inode, window, row FROM windows ORDER BY inode, window", 2, false, 'w'},
    {"extents", "SELECT extent, row FROM extents ORDER BY extent", 1, false, 't'},
    {"segments", "SELECT segment, row FROM segments ORDER BY segment", 1, false, 's'},
    {"garbage", "SELECT attempt, row FROM garbage ORDER BY attempt", 0, true, 'g'},
    {"nodes", "SELECT node, row FROM nodes ORDER BY node", 0, true, 'n'},
}};

/// SQLite does not notice a flipped bit in a row. Every row carries a sum over its table, key and content, so that rot
/// in the index is told from truth; it guards against damage, not against people.
constexpr std::size_t sum_bytes = 4;
constexpr std::array<std::uint8_t, crypto_shorthash_KEYBYTES> sum_key = {'a', 't', 'o', 'l', 'l', ' ', 'i', 'n', 'd', 'e', 'x'};

std::uint32_t row_sum(char table, std::uint64_t key, std::uint64_t second_key, ByteView key_bytes, ByteView row) {
  thread_local Bytes all;
  all.clear();
  Encoder out(all);
  out.u8(static_cast<std::uint8_t>(table));
  out.u64(key);
  out.u64(second_key);
  out.blob(key_bytes);
  out.raw(row);
  std::array<std::uint8_t, crypto_shorthash_BYTES> hash{};
  crypto_shorthash(hash.data(), all.data(), all.size(), sum_key.data());
  return Decoder(hash).u32();
}

void add_sum(char table, std::uint64_t key, std::uint64_t second_key, ByteView key_bytes, Bytes& row) {
  const std::uint32_t sum = row_sum(table, key, second_key, key_bytes, row);
  Encoder(row).u32(sum);
}

/// The row without its sum. Code::corrupt if that does not fit.
Result<ByteView> take_sum(char table, std::uint64_t key, std::uint64_t second_key, ByteView key_bytes, ByteView row) {
  if (row.size() >= sum_bytes) {
    const ByteView content = row.first(row.size() - sum_bytes);
    if (Decoder(row.last(sum_bytes)).u32() == row_sum(table, key, second_key, key_bytes, content)) return content;
  }
  return fail(Code::corrupt, std::string("a row of the index is damaged (table ") + table + ")");
}

std::uint32_t entry_sum(const EntryKey& key, const EntryRow& row) {
  Bytes content;
  Encoder out(content);
  out.id(row.inode);
  out.varint(row.type);
  out.varint(row.cookie);
  return row_sum('e', key.parent.value, 0, as_bytes(key.name), content);
}

std::int64_t sql(std::uint64_t value) { return static_cast<std::int64_t>(value); }
std::uint64_t number(std::int64_t value) { return static_cast<std::uint64_t>(value); }

void put_big_endian(Bytes& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

template <typename T>
T must(Result<T> result) {
  if (!result) throw IndexFailure(result.error());
  return std::move(*result);
}

}  // namespace

std::size_t IndexChanges::weight() const {
  std::size_t sum = 256 * (segments.size() + garbage.size() + nodes.size());
  const auto add = [&sum](const auto& changes) {
    for (const auto& [key, row] : changes) sum += sizeof(key) + 64 + (row ? row->weight() : 0);
  };
  add(inodes);
  add(entries);
  add(xattrs);
  add(windows);
  add(extents);
  return sum;
}

struct IndexStore::State {
  std::shared_ptr<DiskVfs> vfs;  // outlives the connections
  std::string path;
  std::unique_ptr<SqliteConnection> reader, writer;

  struct Reads {
    SqliteStatement inode, entry, xattrs, window, extent, list, windows, orphans;
  } reads;

  struct Writes {
    SqliteStatement put_inode, cut_inode, put_entry, cut_entry, put_xattrs, cut_xattrs, put_window, cut_window,
        put_extent, cut_extent, put_segment, cut_segment, put_garbage, cut_garbage, put_node, cut_node, put_meta;
  } writes;

  Result<> prepare();
  /// One row by integer key, decoded.
  template <typename Row>
  std::shared_ptr<const Row> read_row(SqliteStatement& statement, char table, std::uint64_t key);
  Result<> apply_one(const IndexChanges& changes);
  Result<> put_meta(const char* key, ByteView value);
  Result<> run_blob(SqliteStatement& statement, std::int64_t key, ByteView row) {
    return statement.bind(1, key).bind(2, row).run();
  }
};

Result<> IndexStore::State::prepare() {
  for (SqliteConnection* connection : {reader.get(), writer.get()}) {
    if (auto r = connection->execute("PRAGMA temp_store=MEMORY;"); !r) return r;
    if (vfs->read_only()) continue;
    // Nothing in the index needs to survive by itself: what a power cut takes, the journal gives back.
    if (auto r = connection->execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"); !r) return r;
  }
  if (auto r = reader->execute("PRAGMA cache_size=-16384;"); !r) return r;
  if (auto r = writer->execute("PRAGMA cache_size=-16384; PRAGMA wal_autocheckpoint=4000;"); !r) return r;

  const std::array<std::pair<SqliteStatement*, const char*>, 8> to_read = {{
      {&reads.inode, "SELECT row FROM inodes WHERE inode = ?"},
      {&reads.entry, "SELECT inode, type, cookie, sum FROM entries WHERE parent = ? AND name = ?"},
      {&reads.xattrs, "SELECT row FROM xattrs WHERE inode = ?"},
      {&reads.window, "SELECT row FROM windows WHERE inode = ? AND window = ?"},
      {&reads.extent, "SELECT row FROM extents WHERE extent = ?"},
      {&reads.list, "SELECT name, inode, type, cookie, sum FROM entries INDEXED BY entries_by_cookie WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ?"},
      {&reads.windows, "SELECT window FROM windows WHERE inode = ? AND window BETWEEN ? AND ? ORDER BY window"},
      {&reads.orphans, "SELECT inode FROM inodes WHERE links = 0 ORDER BY inode"},
  }};
  const std::array<std::pair<SqliteStatement*, const char*>, 17> to_write = {{
      {&writes.put_inode, "INSERT OR REPLACE INTO inodes(inode, row, links) VALUES(?, ?, ?)"},
      {&writes.cut_inode, "DELETE FROM inodes WHERE inode = ?"},
      {&writes.put_entry, "INSERT OR REPLACE INTO entries(parent, name, inode, type, cookie, sum) VALUES(?, ?, ?, ?, ?, ?)"},
      {&writes.cut_entry, "DELETE FROM entries WHERE parent = ? AND name = ?"},
      {&writes.put_xattrs, "INSERT OR REPLACE INTO xattrs(inode, row) VALUES(?, ?)"},
      {&writes.cut_xattrs, "DELETE FROM xattrs WHERE inode = ?"},
      {&writes.put_window, "INSERT OR REPLACE INTO windows(inode, window, row) VALUES(?, ?, ?)"},
      {&writes.cut_window, "DELETE FROM windows WHERE inode = ? AND window = ?"},
      {&writes.put_extent, "INSERT OR REPLACE INTO extents(extent, row) VALUES(?, ?)"},
      {&writes.cut_extent, "DELETE FROM extents WHERE extent = ?"},
      {&writes.put_segment, "INSERT OR REPLACE INTO segments(segment, row) VALUES(?, ?)"},
      {&writes.cut_segment, "DELETE FROM segments WHERE segment = ?"},
      {&writes.put_garbage, "INSERT OR REPLACE INTO garbage(attempt, row) VALUES(?, ?)"},
      {&writes.cut_garbage, "DELETE FROM garbage WHERE attempt = ?"},
      {&writes.put_node, "INSERT OR REPLACE INTO nodes(node, row) VALUES(?, ?)"},
      {&writes.cut_node, "DELETE FROM nodes WHERE node = ?"},
      {&writes.put_meta, "INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)"},
  }};
  const auto prepare_all = [](SqliteConnection& connection, const auto& list) -> Result<> {
    for (const auto& [statement, text] : list) {
      auto prepared = connection.prepare(text);
      if (!prepared) return fail(prepared.error());
      *statement = std::move(*prepared);
    }
    return {};
  };
  if (auto r = prepare_all(*reader, to_read); !r) return r;
  return prepare_all(*writer, to_write);
}

Result<> IndexStore::State::put_meta(const char* key, ByteView value) {
  return writes.put_meta.bind(1, as_bytes(key)).bind(2, value).run();
}

template <typename Row>
std::shared_ptr<const Row> IndexStore::State::read_row(SqliteStatement& statement, char table, std::uint64_t key) {
  auto found = statement.step();
  if (!found) {
    statement.reset();
    throw IndexFailure(found.error());
  }
  if (!*found) {
    statement.reset();
    return nullptr;
  }
  auto row = take_sum(table, key, 0, {}, statement.blob(0)).and_then([](ByteView content) { return Row::decode(content); });
  statement.reset();
  return std::make_shared<const Row>(must(std::move(row)));
}

IndexStore::IndexStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
IndexStore::~IndexStore() = default;

Result<std::unique_ptr<IndexStore>> IndexStore::create(Disk& disk, const std::string& path) {
  // The old log must be gone for certain before there is a new database that it could be taken to belong to.
  for (const char* suffix : {"", "-wal"})
    if (auto removed = disk.remove(path + suffix); !removed && removed.error().code != Code::not_found) return fail(removed.error());
  if (auto r = disk.sync_directory(path.substr(0, path.rfind('/'))); !r) return fail(r.error());
  auto vfs = std::make_shared<DiskVfs>(disk, false);
  auto connection = SqliteConnection::open(*vfs, path, true);
  if (!connection) return fail(connection.error());
  if (auto r = (*connection)->execute("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA temp_store=MEMORY; BEGIN;"); !r)
    return fail(r.error());
  if (auto r = (*connection)->execute(schema); !r) return fail(r.error());
  const std::string version = "PRAGMA user_version=" + std::to_string(format) + "; PRAGMA application_id=1096044364; COMMIT;";
  if (auto r = (*connection)->execute(version.c_str()); !r) return fail(r.error());
  connection->reset();
  return connect(std::move(vfs), path);
}

Result<std::unique_ptr<IndexStore>> IndexStore::open(Disk& disk, const std::string& path) {
  return connect(std::make_shared<DiskVfs>(disk, false), path);
}

Result<std::unique_ptr<IndexStore>> IndexStore::open_read_only(Disk& disk, const std::string& path) {
  return connect(std::make_shared<DiskVfs>(disk, true), path);
}

Result<std::unique_ptr<IndexStore>> IndexStore::beside() { return connect(state_->vfs, state_->path); }

Result<std::unique_ptr<IndexStore>> IndexStore::connect(std::shared_ptr<DiskVfs> vfs, const std::string& path) {
  auto state = std::make_unique<State>();
  state->vfs = std::move(vfs);
  state->path = path;
  for (auto* connection : {&state->reader, &state->writer}) {
    auto opened = SqliteConnection::open(*state->vfs, path, false);
    if (!opened) return fail(opened.error());
    *connection = std::move(*opened);
  }
  {
    auto version = state->reader->prepare("PRAGMA user_version");
    if (!version) return fail(version.error());
    auto row = version->step();
    if (!row) return fail(row.error());
    const std::int64_t found = version->integer(0);
    if (found > format) {
      return fail(Code::newer_format, "the index " + path + " has format " + std::to_string(found) + "; this version reads " + std::to_string(format),
                  "use the version of atoll that wrote it");
    }
    if (found != format) return fail(Code::corrupt, "the index " + path + " has no valid format number");
  }
  if (auto r = state->prepare(); !r) return fail(r.error());
  return std::unique_ptr<IndexStore>(new IndexStore(std::move(state)));
}

Result<> IndexStore::check() {
  auto check = state_->reader->prepare("PRAGMA integrity_check(1)");
  if (!check) return fail(check.error());
  auto row = check->step();
  if (!row) return fail(row.error());
  const std::string said(as_text(check->blob(0)));
  if (said != "ok") return fail(Code::corrupt, "the index is damaged: " + said);
  return {};
}

std::shared_ptr<const InodeRow> IndexStore::inode(InodeNumber inode) {
  return state_->read_row<InodeRow>(state_->reads.inode.bind(1, sql(inode.value)), 'i', inode.value);
}

std::shared_ptr<const EntryRow> IndexStore::entry(const EntryKey& key) {
  SqliteStatement& s = state_->reads.entry;
  auto found = s.bind(1, sql(key.parent.value)).bind(2, as_bytes(key.name)).step();
  std::shared_ptr<const EntryRow> row;
  if (found && *found) {
    EntryRow value;
    value.inode.value = number(s.integer(0));
    value.type = static_cast<std::uint32_t>(s.integer(1));
    value.cookie = number(s.integer(2));
    if (s.integer(3) == entry_sum(key, value)) {
      row = std::make_shared<const EntryRow>(value);
    } else {
      found = fail(Code::corrupt, "a row of the index is damaged (table e)");
    }
  }
  s.reset();
  must(std::move(found));
  return row;
}

std::shared_ptr<const XattrsRow> IndexStore::xattrs(InodeNumber inode) {
  return state_->read_row<XattrsRow>(state_->reads.xattrs.bind(1, sql(inode.value)), 'x', inode.value);
}

std::shared_ptr<const WindowRow> IndexStore::window(const WindowKey& key) {
  SqliteStatement& s = state_->reads.window;
  auto found = s.bind(1, sql(key.inode.value)).bind(2, sql(key.window)).step();
  std::shared_ptr<const WindowRow> row;
  if (found && *found) {
    auto decoded = take_sum('w', key.inode.value, key.window, {}, s.blob(0)).and_then([&](ByteView content) {
      return WindowRow::decode(key.window, content);
    });
    s.reset();
    return std::make_shared<const WindowRow>(must(std::move(decoded)));
  }
  s.reset();
  must(std::move(found));
  return row;
}

std::shared_ptr<const ExtentRow> IndexStore::extent(ExtentId extent) {
  return state_->read_row<ExtentRow>(state_->reads.extent.bind(1, sql(extent.value)), 't', extent.value);
}

std::vector<ListedEntry> IndexStore::list(InodeNumber parent, std::uint64_t after, std::size_t limit) {
  SqliteStatement& s = state_->reads.list;
  s.bind(1, sql(parent.value)).bind(2, sql(after)).bind(3, sql(limit));
  std::vector<ListedEntry> entries;
  for (;;) {
    auto row = s.step();
    if (!row || !*row) {
      s.reset();
      must(std::move(row));
      return entries;
    }
    ListedEntry entry;
    entry.name = as_text(s.blob(0));
    entry.row.inode.value = number(s.integer(1));
    entry.row.type = static_cast<std::uint32_t>(s.integer(2));
    entry.row.cookie = number(s.integer(3));
    if (s.integer(4) != entry_sum({parent, entry.name}, entry.row)) {
      s.reset();
      throw IndexFailure(Error(Code::corrupt, "a row of the index is damaged (table e)"));
    }
    entries.push_back(std::move(entry));
  }
}

std::vector<std::uint64_t> IndexStore::windows(InodeNumber inode, std::uint64_t first, std::uint64_t last) {
  SqliteStatement& s = state_->reads.windows;
  s.bind(1, sql(inode.value)).bind(2, sql(first)).bind(3, sql(last));
  std::vector<std::uint64_t> found;
  for (;;) {
    auto row = s.step();
    if (!row || !*row) {
      s.reset();
      must(std::move(row));
      return found;
    }
    found.push_back(number(s.integer(0)));
  }
}

std::vector<InodeNumber> IndexStore::orphans() {
  SqliteStatement& s = state_->reads.orphans;
  std::vector<InodeNumber> found;
  for (;;) {
    auto row = s.step();
    if (!row || !*row) {
      s.reset();
      must(std::move(row));
      return found;
    }
    found.push_back(InodeNumber(number(s.integer(0))));
  }
}

namespace {

/// Reads a small table whole.
template <typename Item, typename Read>
std::vector<Item> read_all(SqliteConnection& connection, const char* text, Read read) {
  auto statement = must(connection.prepare(text));
  std::vector<Item> items;
  while (must(statement.step())) items.push_back(read(statement));
  return items;
}

}  // namespace

std::vector<std::pair<SegmentId, SegmentRow>> IndexStore::segments() {
  return read_all<std::pair<SegmentId, SegmentRow>>(*state_->reader, "SELECT segment, row FROM segments ORDER BY segment",
                                                    [](SqliteStatement& s) {
                                                      return std::pair(SegmentId(number(s.integer(0))), must(take_sum('s', number(s.integer(0)), 0, {}, s.blob(1)).and_then(SegmentRow::decode)));
                                                    });
}

std::vector<std::pair<AttemptId, GarbageRow>> IndexStore::garbage() {
  return read_all<std::pair<AttemptId, GarbageRow>>(*state_->reader, "SELECT attempt, row FROM garbage ORDER BY attempt",
                                                    [](SqliteStatement& s) {
                                                      return std::pair(must(AttemptId::from_hex(to_hex(s.blob(0)))), must(take_sum('g', 0, 0, s.blob(0), s.blob(1)).and_then(GarbageRow::decode)));
                                                    });
}

std::vector<NodeSpec> IndexStore::nodes() {
  return read_all<NodeSpec>(*state_->reader, "SELECT node, row FROM nodes ORDER BY node", [](SqliteStatement& s) {
                              return must(take_sum('n', 0, 0, s.blob(0), s.blob(1)).and_then(decode_node));
                            });
}

VolumeRow IndexStore::volume() {
  auto rows = read_all<VolumeRow>(*state_->reader, "SELECT value FROM meta WHERE key = CAST('volume' AS BLOB)",
                                  [](SqliteStatement& s) { return must(take_sum('v', 0, 0, {}, s.blob(0)).and_then(VolumeRow::decode)); });
  return rows.empty() ? VolumeRow{} : rows.front();
}

Lsn IndexStore::applied() {
  auto rows = read_all<Lsn>(*state_->reader, "SELECT value FROM meta WHERE key = CAST('applied' AS BLOB)",
                            [](SqliteStatement& s) { return Lsn(Decoder(must(take_sum('a', 0, 0, {}, s.blob(0)))).u64()); });
  return rows.empty() ? Lsn{} : rows.front();
}

Result<> IndexStore::State::apply_one(const IndexChanges& changes) {
  Bytes row;
  const auto encoded = [&row](char table, std::uint64_t key, ByteView key_bytes, const auto& value) -> ByteView {
    row.clear();
    value.encode(row);
    add_sum(table, key, 0, key_bytes, row);
    return row;
  };
  for (const auto& [key, value] : changes.inodes) {
    auto r = value ? writes.put_inode.bind(1, sql(key.value)).bind(2, encoded('i', key.value, {}, *value)).bind(3, value->links).run()
                   : writes.cut_inode.bind(1, sql(key.value)).run();
    if (!r) return r;
  }
  for (const auto& [key, value] : changes.entries) {
    auto r = value ? writes.put_entry.bind(1, sql(key.parent.value))
                         .bind(2, as_bytes(key.name))
                         .bind(3, sql(value->inode.value))
                         .bind(4, value->type)
                         .bind(5, sql(value->cookie))
                         .bind(6, entry_sum(key, *value))
                         .run()
                   : writes.cut_entry.bind(1, sql(key.parent.value)).bind(2, as_bytes(key.name)).run();
    if (!r) return r;
  }
  for (const auto& [key, value] : changes.xattrs) {
    auto r = value ? run_blob(writes.put_xattrs, sql(key.value), encoded('x', key.value, {}, *value)) : writes.cut_xattrs.bind(1, sql(key.value)).run();
    if (!r) return r;
  }
  for (const auto& [key, value] : changes.windows) {
    Result<> r;
    if (value) {
      row.clear();
      value->encode(key.window, row);
      add_sum('w', key.inode.value, key.window, {}, row);
      r = writes.put_window.bind(1, sql(key.inode.value)).bind(2, sql(key.window)).bind(3, ByteView(row)).run();
    } else {
      r = writes.cut_window.bind(1, sql(key.inode.value)).bind(2, sql(key.window)).run();
    }
    if (!r) return r;
  }
  for (const auto& [key, value] : changes.extents) {
    auto r = value ? run_blob(writes.put_extent, sql(key.value), encoded('t', key.value, {}, *value)) : writes.cut_extent.bind(1, sql(key.value)).run();
    if (!r) return r;
  }
  for (const auto& [key, value] : changes.segments) {
    auto r = value ? run_blob(writes.put_segment, sql(key.value), encoded('s', key.value, {}, *value)) : writes.cut_segment.bind(1, sql(key.value)).run();
    if (!r) return r;
  }
  for (const auto& [key, value] : changes.garbage) {
    auto r = value ? writes.put_garbage.bind(1, key.view()).bind(2, encoded('g', 0, key.view(), *value)).run() : writes.cut_garbage.bind(1, key.view()).run();
    if (!r) return r;
  }
  for (const auto& [key, value] : changes.nodes) {
    row.clear();
    if (value) {
      encode_node(*value, row);
      add_sum('n', 0, 0, key.view(), row);
    }
    auto r = value ? writes.put_node.bind(1, key.view()).bind(2, ByteView(row)).run() : writes.cut_node.bind(1, key.view()).run();
    if (!r) return r;
  }
  if (changes.volume) {
    if (auto r = put_meta("volume", encoded('v', 0, {}, *changes.volume)); !r) return r;
  }
  if (mutant("index-in-parts"))
    if (auto r = writer->execute("COMMIT; BEGIN IMMEDIATE"); !r) return r;
  row.clear();
  Encoder(row).u64(changes.upto.value);
  add_sum('a', 0, 0, {}, row);
  return put_meta("applied", row);
}

Result<> IndexStore::apply(const std::vector<IndexChanges>& commits) {
  if (commits.empty()) return {};
  if (auto r = state_->writer->execute("BEGIN IMMEDIATE"); !r) return r;
  for (const IndexChanges& changes : commits) {
    if (auto r = state_->apply_one(changes); !r) {
      (void)state_->writer->execute("ROLLBACK");  // the transaction may have ended by itself; the first error counts
      return r;
    }
  }
  if (auto r = state_->writer->execute("COMMIT"); !r) {
    (void)state_->writer->execute("ROLLBACK");
    return r;
  }
  return {};
}

Result<Lsn> IndexStore::flush() {
  // Read before the checkpoint: what it copies is at least this far.
  auto statement = state_->writer->prepare("SELECT value FROM meta WHERE key = CAST('applied' AS BLOB)");
  if (!statement) return fail(statement.error());
  auto row = statement->step();
  if (!row) return fail(row.error());
  auto applied_row = *row ? take_sum('a', 0, 0, {}, statement->blob(0)) : Result<ByteView>(ByteView());
  if (!applied_row) return fail(applied_row.error());
  const Lsn lsn = *row ? Lsn(Decoder(*applied_row).u64()) : Lsn{};
  statement->reset();
  int log_frames = 0, copied = 0;
  const int code = sqlite3_wal_checkpoint_v2(state_->writer->get(), nullptr, SQLITE_CHECKPOINT_FULL, &log_frames, &copied);
  if (code != SQLITE_OK) return fail(sqlite_error(state_->writer->get(), code, "flushing its log"));
  return lsn;
}

Result<Lsn> IndexStore::dump(const std::function<Result<>(std::string_view, ByteView, ByteView)>& visit) {
  // One read transaction, so that all tables are of one moment while the applier goes on.
  if (auto r = state_->reader->execute("BEGIN"); !r) return fail(r.error());
  Lsn lsn;
  const auto all = [&]() -> Result<> {
    Bytes key, row;
    for (const TableShape& shape : shapes) {
      auto statement = state_->reader->prepare(shape.select);
      if (!statement) return fail(statement.error());
      for (;;) {
        auto found = statement->step();
        if (!found) return fail(found.error());
        if (!*found) break;
        key.clear();
        row.clear();
        int column = 0;
        for (; column < shape.key_integers; ++column) put_big_endian(key, number(statement->integer(column)));
        if (shape.key_blob) {
          const ByteView blob = statement->blob(column++);
          key.insert(key.end(), blob.begin(), blob.end());
        }
        if (std::string_view(shape.name) == "entries") {
          Encoder out(row);
          for (int i = 0; i < 3; ++i) out.varint(number(statement->integer(column + i)));
        } else {
          const auto big_endian = [&key](std::size_t which) {
            std::uint64_t value = 0;
            for (std::size_t i = 0; i < 8; ++i) value = value << 8 | key[which * 8 + i];
            return value;
          };
          const std::uint64_t first = shape.key_integers > 0 ? big_endian(0) : 0;
          const std::uint64_t second = shape.key_integers > 1 ? big_endian(1) : 0;
          auto content = take_sum(shape.tag, first, second, shape.key_blob ? ByteView(key) : ByteView(), statement->blob(column));
          if (!content) return fail(content.error());
          row.assign(content->begin(), content->end());
        }
        if (auto r = visit(shape.name, key, row); !r) return r;
      }
    }
    row.clear();
    volume().encode(row);
    lsn = applied();
    return visit("volume", {}, row);
  };
  Result<> result = all();
  auto ended = state_->reader->execute("COMMIT");
  if (!result) return fail(result.error());
  if (!ended) return fail(ended.error());
  return lsn;
}

Result<> IndexStore::begin_load() { return state_->writer->execute("BEGIN IMMEDIATE"); }

Result<> IndexStore::load(std::string_view table, ByteView key, ByteView row) {
  const auto integer = [&key](std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value = value << 8 | key[at * 8 + i];
    return value;
  };
  const auto malformed = [&] { return fail(Code::corrupt, "a checkpoint holds a malformed key in table " + std::string(table)); };
  Bytes sealed(row.begin(), row.end());
  const auto summed = [&sealed](char tag, std::uint64_t first, std::uint64_t second, ByteView key_bytes) -> ByteView {
    add_sum(tag, first, second, key_bytes, sealed);
    return sealed;
  };
  auto& w = state_->writes;
  if (table == "volume") return state_->put_meta("volume", summed('v', 0, 0, {}));
  if (table == "garbage") return w.put_garbage.bind(1, key).bind(2, summed('g', 0, 0, key)).run();
  if (table == "nodes") return w.put_node.bind(1, key).bind(2, summed('n', 0, 0, key)).run();
  if (table == "entries") {
    if (key.size() < 9) return malformed();
    Decoder in(row);
    EntryRow entry;
    entry.inode = in.id<InodeNumber>();
    entry.type = static_cast<std::uint32_t>(in.varint());
    entry.cookie = in.varint();
    if (!in.done()) return malformed();
    const EntryKey entry_key{InodeNumber(integer(0)), std::string(as_text(key.subspan(8)))};
    return w.put_entry.bind(1, sql(integer(0)))
        .bind(2, key.subspan(8))
        .bind(3, sql(entry.inode.value))
        .bind(4, entry.type)
        .bind(5, sql(entry.cookie))
        .bind(6, entry_sum(entry_key, entry))
        .run();
  }
  if (table == "windows") {
    if (key.size() != 16) return malformed();
    return w.put_window.bind(1, sql(integer(0))).bind(2, sql(integer(1))).bind(3, summed('w', integer(0), integer(1), {})).run();
  }
  if (key.size() != 8) return malformed();
  if (table == "inodes") {
    auto inode = InodeRow::decode(row);
    if (!inode) return fail(inode.error());
    return w.put_inode.bind(1, sql(integer(0))).bind(2, summed('i', integer(0), 0, {})).bind(3, inode->links).run();
  }
  if (table == "xattrs") return state_->run_blob(w.put_xattrs, sql(integer(0)), summed('x', integer(0), 0, {}));
  if (table == "extents") return state_->run_blob(w.put_extent, sql(integer(0)), summed('t', integer(0), 0, {}));
  if (table == "segments") return state_->run_blob(w.put_segment, sql(integer(0)), summed('s', integer(0), 0, {}));
  return fail(Code::newer_format, "a checkpoint holds a table '" + std::string(table) + "', which this version does not know");
}

Result<> IndexStore::end_load(Lsn applied_lsn) {
  Bytes row;
  Encoder(row).u64(applied_lsn.value);
  add_sum('a', 0, 0, {}, row);
  if (auto r = state_->put_meta("applied", row); !r) return r;
  return state_->writer->execute("COMMIT");
}

Result<> IndexStore::abandon_load() { return state_->writer->execute("ROLLBACK"); }

Result<Bytes> IndexStore::digest() {
  crypto_generichash_state hash;
  crypto_generichash_init(&hash, nullptr, 0, 32);
  Bytes framed;
  auto result = dump([&](std::string_view table, ByteView key, ByteView row) -> Result<> {
    framed.clear();
    Encoder out(framed);
    out.text(table);
    out.blob(key);
    out.blob(row);
    crypto_generichash_update(&hash, framed.data(), framed.size());
    return {};
  });
  if (!result) return fail(result.error());
  Bytes digest(32);
  crypto_generichash_final(&hash, digest.data(), digest.size());
  return digest;
}

}  // namespace atl
