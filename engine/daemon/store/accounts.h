// The files of the accounts in a data folder: FOLDER/accounts/ID, one each, replaced whole. Another process may write
// them while a daemon runs. Thread-safe, but for two writers of one account. Errors: not_found, corrupt, newer_format.
#pragma once

#include <vector>

#include "engine/daemon/store/object_store.h"

namespace atl {

Result<Account> read_account(Disk& disk, const std::string& folder, const AccountId& id);
/// Of all accounts, in order.
Result<std::vector<AccountId>> account_ids(Disk& disk, const std::string& folder);
Result<> delete_account(Disk& disk, const std::string& folder, const AccountId& id);

}  // namespace atl
