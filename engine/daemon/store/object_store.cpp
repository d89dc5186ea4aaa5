#include <algorithm>

#include "engine/base/mutant.h"
#include "engine/daemon/store/accounts.h"
#include "engine/daemon/store/store_impl.h"
#include "engine/node/node.h"

namespace atl {

namespace {

constexpr std::uint64_t reserve_bytes_max = 64 << 20;  // left free on the disk, for the catalogue and the file system
constexpr std::size_t directories_known_max = 64;
constexpr std::size_t verify_bytes = 256 << 10;

class PresentUpload final : public ObjectUpload {
 public:
  bool already_there() const override { return true; }
  Result<> write(ByteView) override { return {}; }
  Result<> finish() override { return {}; }
};

class UploadImpl final : public ObjectUpload {
 public:
  UploadImpl(ObjectStoreImpl& store, ObjectHeader header) : store_(store), header_(std::move(header)) {}
  ~UploadImpl() override {
    writer_.reset();
    bool gone = stored_;
    if (!stored_ && !doubt_) {
      auto removed = store_.disk().remove(object_path(store_.folder(), header_.id));
      gone = removed || removed.error().code == Code::not_found;
    }
    // What stays for now counts as begun, so that the next start finds it.
    if (gone) store_.catalogue().end(header_.id);
    if (!mutant("quota-not-given-back")) store_.unreserve(header_.account, charged_bytes(header_.size));
  }
  UploadImpl(const UploadImpl&) = delete;
  UploadImpl& operator=(const UploadImpl&) = delete;

  Result<> begin() {
    const std::uint64_t directory = header_.id / objects_per_directory;
    if (auto done = store_.directories().make(directory); !done) return failed(done.error());
    auto file = store_.disk().open(object_path(store_.folder(), header_.id), OpenMode::create_new);
    if (!file) return failed(file.error());
    writer_ = std::make_unique<ObjectFileWriter>(std::move(*file), header_.id);
    return {};
  }
  bool already_there() const override { return false; }
  Result<> write(ByteView bytes) override {
    if (!writer_) return fail(Code::invalid, "the upload has ended");
    if (bytes.size() > header_.size - received_) return fail(Code::invalid, "the body is longer than announced");
    received_ += bytes.size();
    hasher_.add(bytes);
    if (auto done = writer_->write(bytes); !done) return failed(done.error());
    return {};
  }
  Result<> finish() override {
    if (!writer_) return fail(Code::invalid, "the upload has ended");
    if (received_ != header_.size) return refused(Error(Code::invalid, "the body is shorter than announced"));
    if (hasher_.finish() != header_.hash && !mutant("body-unhashed")) return refused(Error(Code::invalid, "the body is not what its hash says"));
    if (auto done = writer_->finish(header_); !done) return failed(done.error());
    writer_.reset();
    const std::uint64_t directory = header_.id / objects_per_directory;
    if (auto done = store_.directories().flush(directory); !done) {
      store_.catalogue().next_directory();  // a failed flush is not asked again as if it could succeed
      return failed(done.error());
    }
    const ObjectKey key = object_key(header_.account, header_.name);
    for (;;) {
      auto done = store_.catalogue().put(key, {header_.id, header_.size}, &doubt_);
      if (done) {
        stored_ = true;
        ++store_.count().puts;
        store_.count().written_bytes += header_.size;
        return {};
      }
      if (done.error().code != Code::exists) return failed(done.error());
      auto same = store_.same_content(key, header_.size, header_.hash);
      if (!same && same.error().code == Code::not_found) continue;
      if (!same) return failed(same.error());
      if (!*same) return refused(Error(Code::conflict, "the node holds another object under the name " + header_.name));
      ++store_.count().puts_repeated;
      return {};
    }
  }

 private:
  tl::unexpected<Error> failed(Error error) {
    writer_.reset();
    ++store_.count().puts_failed;
    return fail(std::move(error));
  }
  tl::unexpected<Error> refused(Error error) {
    writer_.reset();
    ++store_.count().puts_refused;
    return fail(std::move(error));
  }

  ObjectStoreImpl& store_;
  const ObjectHeader header_;
  ContentHasher hasher_;
  std::unique_ptr<ObjectFileWriter> writer_;
  std::uint64_t received_ = 0;
  bool stored_ = false;
  bool doubt_ = false;
};

class ReaderImpl final : public ObjectReader {
 public:
  ReaderImpl(ObjectStoreImpl& store, std::unique_ptr<ObjectFileReader> file) : store_(store), file_(std::move(file)) {}
  std::uint64_t size() const override { return file_->header().size; }
  const ContentHash& hash() const override { return file_->header().hash; }
  Result<std::size_t> read(std::uint64_t offset, MutableBytes out) override {
    auto count = file_->read(offset, out);
    if (!count && count.error().code == Code::corrupt) {
      const ObjectHeader& header = file_->header();
      // The read failed whether or not that could be written down; a scrub finds it again.
      (void)store_.give_up(object_key(header.account, header.name), header.id);
    }
    if (count) store_.count().read_bytes += *count;
    return count;
  }

 private:
  ObjectStoreImpl& store_;
  const std::unique_ptr<ObjectFileReader> file_;
};

}  // namespace

// --- directories

std::shared_ptr<DirectoryFlusher::State> DirectoryFlusher::state(std::uint64_t directory) {
  const std::lock_guard lock(mutex_);
  auto& found = states_[directory];
  if (!found) found = std::make_shared<State>();
  auto result = found;
  ++result->asked;
  if (states_.size() > directories_known_max) {
    for (auto at = states_.begin(); at != states_.end();) at = at->second.use_count() == 1 ? states_.erase(at) : std::next(at);
  }
  return result;
}

Result<> DirectoryFlusher::make(std::uint64_t directory) {
  const auto mine = state(directory);
  const std::lock_guard lock(mine->mutex);
  if (mine->made) return {};
  if (auto done = disk_.make_directory(object_directory(folder_, directory)); !done) return done;
  if (auto done = disk_.sync_directory(folder_ + "/objects"); !done) return done;
  mine->made = true;
  return {};
}

Result<> DirectoryFlusher::flush(std::uint64_t directory) {
  const auto mine = state(directory);
  std::uint64_t ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    ticket = mine->asked;
  }
  const std::lock_guard lock(mine->mutex);
  if (mine->flushed >= ticket) return {};
  std::uint64_t covered = 0;
  {
    const std::lock_guard counting(mutex_);
    covered = mine->asked;
  }
  if (!mutant("store-name-unflushed"))
    if (auto done = disk_.sync_directory(object_directory(folder_, directory)); !done) return done;
  mine->flushed = covered;
  return {};
}

// --- accounts

Result<Account> ObjectStoreImpl::account(const AccountId& id) { return read_account(*disk_, folder_, id); }

Result<AccountUsage> ObjectStoreImpl::account_usage(const AccountId& id) {
  auto found = account(id);
  if (!found) return fail(found.error());
  AccountUsage usage;
  usage.id = id;
  usage.label = found->label;
  usage.quota_bytes = found->quota_bytes;
  const AccountTotals totals = catalogue_->totals(id);
  usage.used_bytes = totals.used_bytes;
  usage.objects = totals.objects;
  usage.trash_bytes = totals.trash_bytes;
  usage.trash_objects = totals.trash_objects;
  const std::lock_guard lock(space_mutex_);
  if (const auto reserved = reserved_.find(id); reserved != reserved_.end()) usage.reserved_bytes = reserved->second;
  return usage;
}

Result<std::vector<AccountUsage>> ObjectStoreImpl::accounts() {
  auto ids = account_ids(*disk_, folder_);
  if (!ids) return fail(ids.error());
  std::vector<AccountUsage> all;
  for (const AccountId& id : *ids) {
    auto usage = account_usage(id);
    if (!usage && usage.error().code == Code::not_found) continue;  // removed meanwhile
    if (!usage) return fail(usage.error());
    all.push_back(std::move(*usage));
  }
  return all;
}

Result<> ObjectStoreImpl::remove_account(const AccountId& id) {
  if (auto found = account(id); !found) return fail(found.error());
  const ObjectKey prefix = object_key(id, "");
  for (;;) {
    auto page = catalogue_->page(prefix, {}, remove_max);
    if (!page) return fail(page.error());
    if (page->empty()) break;
    std::vector<Catalogue::Removal> removals;
    for (const auto& listed : *page) removals.push_back({listed.key, listed.object.id, TrashReason::removed});
    if (auto done = catalogue_->trash(removals); !done) return done;
    counters_.removed += removals.size();
  }
  return delete_account(*disk_, folder_, id);
}

// --- space

std::uint64_t ObjectStoreImpl::disk_free() {
  auto space = disk_->usage(folder_);
  if (!space) return 0;
  const std::uint64_t reserve = std::min(reserve_bytes_max, space->capacity_bytes / 64);
  return space->free_bytes > reserve ? space->free_bytes - reserve : 0;
}

Result<> ObjectStoreImpl::reserve(const Account& account, std::uint64_t charge) {
  const std::uint64_t free = disk_free();
  const std::lock_guard lock(space_mutex_);
  const AccountTotals totals = catalogue_->totals(account.id);
  std::uint64_t& mine = reserved_[account.id];
  const std::uint64_t held = totals.used_bytes + mine;
  const auto fits = [](std::uint64_t limit, std::uint64_t used, std::uint64_t more) {
    return used <= limit && more <= limit - used;
  };
  const std::uint64_t with_trash = account.quota_bytes > UINT64_MAX / 2 ? UINT64_MAX : account.quota_bytes * 2;
  if (!fits(account.quota_bytes, held, charge) && !mutant("quota-ignored")) return fail(Code::no_space, "the account's quota is used up");
  if (!fits(with_trash, held + totals.trash_bytes, charge))
    return fail(Code::no_space, "the account's trash is as large as its quota", "it is emptied by and by");
  if (!fits(options_.capacity_bytes, catalogue_->used_bytes() + reserved_all_, charge))
    return fail(Code::no_space, "the node's capacity is used up");
  if (!fits(free, reserved_all_, charge)) return fail(Code::no_space, "the node's disk is full");
  mine += charge;
  reserved_all_ += charge;
  return {};
}

void ObjectStoreImpl::unreserve(const AccountId& account, std::uint64_t charge) {
  const std::lock_guard lock(space_mutex_);
  const auto found = reserved_.find(account);
  found->second -= charge;
  if (found->second == 0) reserved_.erase(found);
  reserved_all_ -= charge;
}

StoreUsage ObjectStoreImpl::usage() {
  StoreUsage usage;
  usage.capacity_bytes = options_.capacity_bytes;
  const std::uint64_t free = disk_free();
  const std::lock_guard lock(space_mutex_);
  usage.used_bytes = catalogue_->used_bytes() + reserved_all_;
  usage.free_bytes = usage.capacity_bytes > usage.used_bytes ? usage.capacity_bytes - usage.used_bytes : 0;
  usage.free_bytes = std::min(usage.free_bytes, free > reserved_all_ ? free - reserved_all_ : 0);
  return usage;
}

// --- objects

Result<> ObjectStoreImpl::check(const AccountId& id, const std::string& name) {
  if (!is_object_name(name)) return fail(Code::invalid, "'" + name + "' cannot name an object on a node");
  if (auto found = account(id); !found) return fail(found.error());
  return {};
}

Result<> ObjectStoreImpl::read_whole(ObjectFileReader& reader) {
  Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(verify_bytes, reader.header().size)));
  for (std::uint64_t at = 0; at < reader.header().size; at += buffer.size()) {
    if (auto count = reader.read(at, buffer); !count) return fail(count.error());
  }
  return {};
}

Result<> ObjectStoreImpl::give_up(const ObjectKey& key, std::uint64_t id) {
  ++counters_.rotten;
  return catalogue_->trash({{key, id, TrashReason::rotten}});
}

Result<bool> ObjectStoreImpl::same_content(const ObjectKey& key, std::uint64_t size, const ContentHash& hash) {
  for (;;) {
    auto found = catalogue_->find(key);
    if (!found) return fail(found.error());
    if (!*found) return fail(Code::not_found, "no such object");
    auto reader = ObjectFileReader::open(*disk_, folder_, (*found)->id);
    Result<> whole;
    if (reader) {
      const ObjectHeader& header = (*reader)->header();
      if (object_key(header.account, header.name) == key && header.size == (*found)->size) {
        if (header.size != size || header.hash != hash) return false;
        whole = read_whole(**reader);
      } else {
        whole = fail(Code::corrupt, "another object's file");
      }
    } else {
      whole = fail(reader.error());
    }
    if (whole) return true;
    const Code code = whole.error().code;
    if (code != Code::corrupt && code != Code::not_found) return fail(whole.error());
    if (auto done = give_up(key, (*found)->id); !done) return fail(done.error());
  }
}

Result<std::unique_ptr<ObjectUpload>> ObjectStoreImpl::put(const AccountId& id, const std::string& name, std::uint64_t size,
                                                     const ContentHash& hash) {
  if (!is_object_name(name)) return fail(Code::invalid, "'" + name + "' cannot name an object on a node");
  if (size > object_bytes_max) return fail(Code::too_large, "objects have at most 1 GiB");
  auto owner = account(id);
  if (!owner) return fail(owner.error());
  auto same = same_content(object_key(id, name), size, hash);
  if (same && !*same) {
    ++counters_.puts_refused;
    return fail(Code::conflict, "the node holds another object under the name " + name);
  }
  if (same) {
    ++counters_.puts_repeated;
    return std::make_unique<PresentUpload>();
  }
  if (same.error().code != Code::not_found) return fail(same.error());
  if (auto done = reserve(*owner, charged_bytes(size)); !done) {
    ++counters_.puts_refused;
    return fail(done.error());
  }
  ObjectHeader header;
  header.id = catalogue_->begin();
  header.size = size;
  header.account = id;
  header.hash = hash;
  header.name = name;
  auto upload = std::make_unique<UploadImpl>(*this, std::move(header));
  if (auto done = upload->begin(); !done) return fail(done.error());
  return upload;
}

Result<std::unique_ptr<ObjectReader>> ObjectStoreImpl::get(const AccountId& id, const std::string& name) {
  if (auto done = check(id, name); !done) return fail(done.error());
  const ObjectKey key = object_key(id, name);
  for (;;) {
    auto found = catalogue_->find(key);
    if (!found) return fail(found.error());
    if (!*found) return fail(Code::not_found, "the node has no object " + name);
    auto file = ObjectFileReader::open(*disk_, folder_, (*found)->id);
    if (file) {
      const ObjectHeader& header = (*file)->header();
      if (object_key(header.account, header.name) == key && header.size == (*found)->size) {
        ++counters_.reads;
        return std::make_unique<ReaderImpl>(*this, std::move(*file));
      }
      file = fail(Code::corrupt, "the file of object " + name + " is another's");
    }
    if (file.error().code != Code::corrupt && file.error().code != Code::not_found) return fail(file.error());
    auto again = catalogue_->find(key);
    if (again && *again && (*again)->id != (*found)->id) continue;
    if (again && !*again) return fail(Code::not_found, "the node has no object " + name);
    if (auto done = give_up(key, (*found)->id); !done) return fail(done.error());
    return fail(Code::corrupt, "the object " + name + " is rotten");
  }
}

Result<ObjectStat> ObjectStoreImpl::stat(const AccountId& id, const std::string& name) {
  if (auto done = check(id, name); !done) return fail(done.error());
  auto found = catalogue_->find(object_key(id, name));
  if (!found) return fail(found.error());
  if (!*found) return fail(Code::not_found, "the node has no object " + name);
  return ObjectStat{(*found)->size};
}

Result<std::vector<std::string>> ObjectStoreImpl::list(const AccountId& id, const std::string& prefix,
                                                       const std::string& after, std::size_t limit) {
  if (auto found = account(id); !found) return fail(found.error());
  auto page = catalogue_->page(object_key(id, prefix), object_key(id, after), std::min(limit, list_max));
  if (!page) return fail(page.error());
  std::vector<std::string> names;
  for (const auto& listed : *page) names.emplace_back(name_of(listed.key));
  return names;
}

Result<> ObjectStoreImpl::remove(const AccountId& id, const std::vector<std::string>& names) {
  if (names.size() > remove_max) return fail(Code::invalid, "too many names at once");
  if (auto found = account(id); !found) return fail(found.error());
  std::vector<Catalogue::Removal> removals;
  for (const std::string& name : names) {
    if (!is_object_name(name)) return fail(Code::invalid, "'" + name + "' cannot name an object on a node");
    removals.push_back({object_key(id, name), 0, TrashReason::removed});
  }
  if (auto done = catalogue_->trash(removals); !done) return done;
  counters_.removed += removals.size();
  return {};
}

Result<std::size_t> ObjectStoreImpl::restore(const AccountId& id) {
  if (auto found = account(id); !found) return fail(found.error());
  std::size_t count = 0;
  for (const auto& entry : catalogue_->trash_of(id)) {
    auto reader = ObjectFileReader::open(*disk_, folder_, entry.id);
    if (!reader || (*reader)->header().account != id || (*reader)->header().size != entry.size) continue;
    if (!read_whole(**reader)) continue;
    auto done = catalogue_->restore(object_key(id, (*reader)->header().name), entry);
    if (done) ++count;
    if (!done && done.error().code != Code::exists && done.error().code != Code::not_found) return fail(done.error());
  }
  return count;
}

}  // namespace atl
