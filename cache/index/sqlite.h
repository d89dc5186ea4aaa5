// RAII over SQLite: a connection, a prepared statement. Only cache/index includes this. Errors carry SQLite's words.
// Not thread-safe: one thread at a time per connection.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>

#include "cache/index/disk_vfs.h"
#include "engine/base/bytes.h"
#include "engine/base/result.h"

namespace atl {

/// The Error for a failed call on `db`: no_space, corrupt, or io.
Error sqlite_error(sqlite3* db, int code, const std::string& doing);

class SqliteStatement {
 public:
  SqliteStatement() = default;
  /// Code::corrupt if the table is not as the statement needs it.
  static Result<SqliteStatement> prepare(sqlite3* db, const char* sql);

  SqliteStatement& bind(int at, std::int64_t value);
  /// The bytes must live until the step.
  SqliteStatement& bind(int at, ByteView bytes);
  /// SQLITE_ROW or SQLITE_DONE, or the error.
  Result<bool> step();
  /// Steps to the end and resets; for statements without rows.
  Result<> run();
  void reset();

  std::int64_t integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  /// Valid until the next step or reset.
  ByteView blob(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class SqliteConnection {
 public:
  /// Opens `path` through `vfs`, which outlives the connection; creates it if `create`.
  static Result<std::unique_ptr<SqliteConnection>> open(const DiskVfs& vfs, const std::string& path, bool create);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  Result<> execute(const char* sql);
  Result<SqliteStatement> prepare(const char* sql) { return SqliteStatement::prepare(db_, sql); }
  sqlite3* get() { return db_; }

 private:
  explicit SqliteConnection(sqlite3* db) : db_(db) {}
  sqlite3* db_;
};

}  // namespace atl
