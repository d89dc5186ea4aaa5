#include "cache/index/sqlite.h"

namespace atl {

Error sqlite_error(sqlite3* db, int code, const std::string& doing) {
  Code kind = Code::io;
  switch (code & 0xff) {
    case SQLITE_FULL: kind = Code::no_space; break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: kind = Code::busy; break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_READONLY:  // what a damaged header may claim
    case SQLITE_ERROR: kind = Code::corrupt; break;
    case SQLITE_CANTOPEN: kind = Code::not_found; break;
    default: break;
  }
  return Error(kind, "the index: " + doing + ": " + (db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code)), {},
               db != nullptr ? sqlite3_system_errno(db) : 0);
}

Result<SqliteStatement> SqliteStatement::prepare(sqlite3* db, const char* sql) {
  sqlite3_stmt* raw = nullptr;
  if (const int code = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr); code != SQLITE_OK) {
    return fail(sqlite_error(db, code, "preparing a statement"));
  }
  SqliteStatement statement;
  statement.statement_.reset(raw);
  return statement;
}

SqliteStatement& SqliteStatement::bind(int at, std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), at, value);
  return *this;
}

SqliteStatement& SqliteStatement::bind(int at, ByteView bytes) {
  static const std::uint8_t nothing = 0;  // a null pointer would bind NULL
  sqlite3_bind_blob64(statement_.get(), at, bytes.empty() ? &nothing : bytes.data(), bytes.size(), SQLITE_STATIC);
  return *this;
}

Result<bool> SqliteStatement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return fail(sqlite_error(sqlite3_db_handle(statement_.get()), code, "running a statement"));
}

Result<> SqliteStatement::run() {
  auto stepped = step();
  reset();
  if (!stepped) return fail(stepped.error());
  return {};
}

void SqliteStatement::reset() { sqlite3_reset(statement_.get()); }

ByteView SqliteStatement::blob(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_.get(), column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::open(const DiskVfs& vfs, const std::string& path, bool create) {
  sqlite3* db = nullptr;
  const int flags = SQLITE_OPEN_NOMUTEX | (vfs.read_only() ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | (create ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, vfs.name().c_str());
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(db));
  if (code != SQLITE_OK) return fail(sqlite_error(db, code, "opening " + path));
  sqlite3_extended_result_codes(db, 1);
  // Nobody else has the file; the bound only covers the moment in which a write-ahead log is reset.
  sqlite3_busy_timeout(db, 10'000);
  return connection;
}

SqliteConnection::~SqliteConnection() { sqlite3_close_v2(db_); }

Result<> SqliteConnection::execute(const char* sql) {
  if (const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr); code != SQLITE_OK) {
    return fail(sqlite_error(db_, code, "running a statement"));
  }
  return {};
}

}  // namespace atl
