#include "engine/daemon/store/accounts.h"

#include <algorithm>

#include "engine/base/codec.h"
#include "engine/daemon/store/sums.h"

namespace atl {

namespace {

constexpr std::string_view magic = "atollacc";
constexpr std::uint32_t format = 1;
constexpr std::size_t sum_bytes = 8;
constexpr std::size_t label_bytes_max = 1024;
constexpr std::size_t blob_bytes_max = 65536;
constexpr std::uint64_t file_bytes_max = 80000;

std::string account_path(const std::string& folder, const AccountId& id) { return folder + "/accounts/" + id.hex(); }

}  // namespace

Result<> write_account(Disk& disk, const std::string& folder, const Account& account) {
  if (account.label.size() > label_bytes_max || account.blob.size() > blob_bytes_max)
    return fail(Code::too_large, "an account's label or data is too long");
  Bytes bytes;
  Encoder out(bytes);
  out.raw(as_bytes(magic));
  out.u32(format);
  out.id(account.id);
  out.u64(account.quota_bytes);
  out.text(account.label);
  out.blob(account.blob);
  out.raw(sum8({bytes}));
  return replace_file(disk, account_path(folder, account.id), bytes);
}

Result<Account> read_account(Disk& disk, const std::string& folder, const AccountId& id) {
  const std::string path = account_path(folder, id);
  auto content = read_file(disk, path, file_bytes_max);
  if (!content) return fail(content.error());
  const Error damaged(Code::corrupt, path + " is damaged");
  if (content->size() < sum_bytes) return fail(damaged);
  const ByteView body = ByteView(*content).first(content->size() - sum_bytes);
  const Sum8 sum = sum8({body});
  if (!std::equal(sum.begin(), sum.end(), content->begin() + static_cast<std::ptrdiff_t>(body.size())))
    return fail(damaged);
  Decoder in(body);
  if (as_text(in.raw(magic.size())) != magic) return fail(damaged);
  if (in.u32() != format) return fail(Code::newer_format, path + " was written by a newer version of Atoll");
  Account account;
  account.id = in.id<AccountId>();
  account.quota_bytes = in.u64();
  account.label = in.text();
  const ByteView blob = in.blob();
  account.blob.assign(blob.begin(), blob.end());
  if (!in.done() || account.id != id) return fail(damaged);
  return account;
}

Result<std::vector<AccountId>> account_ids(Disk& disk, const std::string& folder) {
  auto names = disk.list(folder + "/accounts");
  if (!names) return fail(names.error());
  std::vector<AccountId> ids;
  for (const std::string& name : *names) {
    if (auto id = AccountId::from_hex(name); id && id->hex() == name) ids.push_back(*id);
  }
  return ids;
}

Result<> delete_account(Disk& disk, const std::string& folder, const AccountId& id) {
  if (auto done = disk.remove(account_path(folder, id)); !done) return done;
  return disk.sync_directory(folder + "/accounts");
}

}  // namespace atl
