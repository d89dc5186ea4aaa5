#include "tests/support/memory_object_store.h"

namespace atl {

/// Holds a reservation until it ends.
class MemoryUpload final : public atl::ObjectUpload {
 public:
  MemoryUpload(MemoryObjectStore& store, AccountId account, std::string name, std::uint64_t size, ContentHash hash, bool there)
      : store_(store), account_(account), name_(std::move(name)), size_(size), hash_(hash), there_(there) {}
  ~MemoryUpload() override {
    const std::lock_guard lock(store_.mutex_);
    if (!there_) store_.shelves_[account_].reserved -= size_;
  }
  bool already_there() const override { return there_; }
  Result<> write(ByteView bytes) override {
    if (bytes.size() > size_ - body_.size()) return fail(Code::invalid, "the body is longer than announced");
    body_.insert(body_.end(), bytes.begin(), bytes.end());
    return {};
  }
  Result<> finish() override {
    if (there_) return {};
    if (body_.size() != size_ || content_hash(body_) != hash_) return fail(Code::invalid, "the body is not what its hash says");
    const std::lock_guard lock(store_.mutex_);
    auto& shelf = store_.shelves_[account_];
    const auto found = shelf.objects.find(name_);
    if (found != shelf.objects.end()) {
      if (found->second.second == hash_) return {};
      return fail(Code::conflict, name_ + " holds other content");
    }
    shelf.used += size_;
    shelf.objects.emplace(name_, std::pair(std::make_shared<const Bytes>(std::move(body_)), hash_));
    ++store_.counters_.puts;
    return {};
  }

 private:
  MemoryObjectStore& store_;
  const AccountId account_;
  const std::string name_;
  const std::uint64_t size_;
  const ContentHash hash_;
  const bool there_;
  Bytes body_;
};

namespace {

class MemoryReader final : public ObjectReader {
 public:
  MemoryReader(std::shared_ptr<const Bytes> body, ContentHash hash) : body_(std::move(body)), hash_(hash) {}
  std::uint64_t size() const override { return body_->size(); }
  const ContentHash& hash() const override { return hash_; }
  Result<std::size_t> read(std::uint64_t offset, MutableBytes out) override {
    const std::size_t at = static_cast<std::size_t>(std::min<std::uint64_t>(offset, body_->size()));
    const std::size_t count = std::min(out.size(), body_->size() - at);
    std::copy_n(body_->begin() + static_cast<std::ptrdiff_t>(at), count, out.begin());
    return count;
  }

 private:
  const std::shared_ptr<const Bytes> body_;
  const ContentHash hash_;
};

tl::unexpected<Error> no_account() { return fail(Code::not_found, "no such account"); }

}  // namespace

Result<> MemoryObjectStore::put_account(const Account& account) {
  const std::lock_guard lock(mutex_);
  shelves_[account.id].account = account;
  return {};
}

Result<Account> MemoryObjectStore::account(const AccountId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = shelves_.find(id);
  if (found == shelves_.end()) return no_account();
  return found->second.account;
}

Result<> MemoryObjectStore::remove_account(const AccountId& id) {
  const std::lock_guard lock(mutex_);
  shelves_.erase(id);
  return {};
}

Result<AccountUsage> MemoryObjectStore::account_usage(const AccountId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = shelves_.find(id);
  if (found == shelves_.end()) return no_account();
  const Shelf& shelf = found->second;
  AccountUsage usage;
  usage.id = id;
  usage.label = shelf.account.label;
  usage.quota_bytes = shelf.account.quota_bytes;
  usage.used_bytes = shelf.used;
  usage.reserved_bytes = shelf.reserved;
  usage.objects = shelf.objects.size();
  return usage;
}

Result<std::vector<AccountUsage>> MemoryObjectStore::accounts() {
  std::vector<AccountId> ids;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, shelf] : shelves_) ids.push_back(id);
  }
  std::vector<AccountUsage> all;
  for (const AccountId& id : ids)
    if (auto usage = account_usage(id)) all.push_back(*usage);
  return all;
}

Result<std::unique_ptr<atl::ObjectUpload>> MemoryObjectStore::put(const AccountId& account, const std::string& name,
                                                            std::uint64_t size, const ContentHash& hash) {
  if (!is_object_name(name)) return fail(Code::invalid, "this is no name of an object");
  const std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(account);
  if (shelf == shelves_.end()) return no_account();
  const auto found = shelf->second.objects.find(name);
  const bool there = found != shelf->second.objects.end();
  if (there && found->second.second != hash) return fail(Code::conflict, name + " holds other content");
  if (!there) {
    Shelf& its = shelf->second;
    if (size > its.account.quota_bytes || its.used + its.reserved > its.account.quota_bytes - size)
      return fail(Code::no_space, "the quota is full");
    its.reserved += size;
  }
  return std::make_unique<MemoryUpload>(*this, account, name, size, hash, there);
}

Result<std::unique_ptr<ObjectReader>> MemoryObjectStore::get(const AccountId& account, const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(account);
  if (shelf == shelves_.end()) return no_account();
  const auto found = shelf->second.objects.find(name);
  if (found == shelf->second.objects.end()) return fail(Code::not_found, "no object " + name);
  return std::make_unique<MemoryReader>(found->second.first, found->second.second);
}

Result<ObjectStat> MemoryObjectStore::stat(const AccountId& account, const std::string& name) {
  const auto reader = get(account, name);
  if (!reader) return fail(reader.error());
  ObjectStat stat;
  stat.size = (*reader)->size();
  return stat;
}

Result<std::vector<std::string>> MemoryObjectStore::list(const AccountId& account, const std::string& prefix,
                                                         const std::string& after, std::size_t limit) {
  const std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(account);
  if (shelf == shelves_.end()) return no_account();
  std::vector<std::string> names;
  for (const auto& [name, object] : shelf->second.objects)
    if (names.size() < std::min(limit, list_max) && name > after && name.starts_with(prefix)) names.push_back(name);
  return names;
}

Result<> MemoryObjectStore::remove(const AccountId& account, const std::vector<std::string>& names) {
  const std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(account);
  if (shelf == shelves_.end()) return no_account();
  for (const std::string& name : names) {
    const auto found = shelf->second.objects.find(name);
    if (found == shelf->second.objects.end()) continue;
    shelf->second.used -= found->second.first->size();
    shelf->second.objects.erase(found);
  }
  return {};
}

Result<std::size_t> MemoryObjectStore::restore(const AccountId&) { return std::size_t{0}; }

StoreUsage MemoryObjectStore::usage() {
  const std::lock_guard lock(mutex_);
  StoreUsage usage;
  usage.capacity_bytes = capacity_;
  for (const auto& [id, shelf] : shelves_) usage.used_bytes += shelf.used + shelf.reserved;
  usage.free_bytes = capacity_ - std::min(capacity_, usage.used_bytes);
  return usage;
}

std::uint64_t MemoryObjectStore::reserved() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t total = 0;
  for (const auto& [id, shelf] : shelves_) total += shelf.reserved;
  return total;
}

void MemoryObjectStore::corrupt(const AccountId& account, const std::string& name) {
  const std::lock_guard lock(mutex_);
  auto& object = shelves_.at(account).objects.at(name);
  Bytes changed = *object.first;
  changed.at(changed.size() / 2) ^= 1;
  object.first = std::make_shared<const Bytes>(std::move(changed));
}

}  // namespace atl
