#include "cache/drive/replayer.h"

#include "cache/journal/record.h"

namespace atl {
namespace {

/// Rows folded between two transactions: bounds memory.
constexpr std::size_t rows_max = 50'000;

}  // namespace

Result<> Replayer::fold(const JournalBatch& batch) {
  if (batch.first != last_.next()) return fail(Code::corrupt, "the index was applied to the middle of a journal batch");
  auto folded = decode_records(batch.body, [&](const Record& record) -> Result<> {
    last_ = last_.next();
    return atl::fold(record, tables_);
  });
  if (!folded) return folded;
  rows_ += batch.count;
  return rows_ < rows_max ? Result<>() : apply();
}

Result<> Replayer::apply() {
  rows_ = 0;
  std::vector<IndexChanges> commits;
  commits.push_back(tables_.take_changes(last_));
  if (auto r = index_.apply(commits); !r) return r;
  tables_.applied(commits.front());
  return {};
}

}  // namespace atl
