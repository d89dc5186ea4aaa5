// An ObjectStore in memory, for tests of the server. As thread-safe as the real one; keeps no trash.
#pragma once

#include <map>
#include <mutex>

#include "engine/daemon/store/object_store.h"
#include "engine/node/node.h"

namespace atl {

class MemoryObjectStore final : public ObjectStore {
 public:
  explicit MemoryObjectStore(std::uint64_t capacity = std::uint64_t{1} << 30) : capacity_(capacity) {}

  Result<> put_account(const Account& account) override;
  Result<Account> account(const AccountId& id) override;
  Result<> remove_account(const AccountId& id) override;
  Result<std::vector<AccountUsage>> accounts() override;
  Result<AccountUsage> account_usage(const AccountId& id) override;
  Result<std::unique_ptr<atl::ObjectUpload>> put(const AccountId& account, const std::string& name, std::uint64_t size,
                                           const ContentHash& hash) override;
  Result<std::unique_ptr<ObjectReader>> get(const AccountId& account, const std::string& name) override;
  Result<ObjectStat> stat(const AccountId& account, const std::string& name) override;
  Result<std::vector<std::string>> list(const AccountId& account, const std::string& prefix, const std::string& after,
                                        std::size_t limit) override;
  Result<> remove(const AccountId& account, const std::vector<std::string>& names) override;
  Result<std::size_t> restore(const AccountId& account) override;
  Result<> maintain() override { return {}; }
  Result<ScrubReport> scrub_all(const std::function<bool(const ScrubReport&)>&) override { return ScrubReport{}; }
  StoreUsage usage() override;
  const StoreCounters& counters() const override { return counters_; }
  std::string trouble() override { return {}; }

  std::uint64_t reserved() const;
  /// Changes a byte of a stored object, as rot or a liar would, without its hash.
  void corrupt(const AccountId& account, const std::string& name);

 private:
  friend class MemoryUpload;
  struct Shelf {
    Account account;
    std::map<std::string, std::pair<std::shared_ptr<const Bytes>, ContentHash>> objects;
    std::uint64_t used = 0;
    std::uint64_t reserved = 0;
  };

  mutable std::mutex mutex_;
  std::map<AccountId, Shelf> shelves_;
  const std::uint64_t capacity_;
  StoreCounters counters_;
};

}  // namespace atl
