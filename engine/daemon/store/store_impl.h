// The parts of ObjectStore that its uploads, readers and upkeep share. Only engine/daemon/store includes this.
// Thread-safe unless a member says otherwise. Lock order: none of its mutexes is held while another is taken.
#pragma once

#include <map>
#include <mutex>

#include "engine/daemon/store/catalogue.h"
#include "engine/daemon/store/object_file.h"

namespace atl {

/// Flushes directories for many at once: who waits for a flush usually finds it done.
class DirectoryFlusher {
 public:
  DirectoryFlusher(Disk& disk, std::string folder) : disk_(disk), folder_(std::move(folder)) {}
  /// Makes the directory if it is not there, durably.
  Result<> make(std::uint64_t directory);
  /// Names made in the directory before this call are durable once it returns.
  Result<> flush(std::uint64_t directory);

 private:
  struct State {
    std::mutex mutex;  // held while flushing
    bool made = false;
    std::uint64_t flushed = 0;
    std::uint64_t asked = 0;  // guarded by DirectoryFlusher::mutex_
  };
  std::shared_ptr<State> state(std::uint64_t directory);

  Disk& disk_;
  const std::string folder_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<State>> states_;  // the newest few
};

class ObjectStoreImpl final : public ObjectStore {
 public:
  ObjectStoreImpl(std::shared_ptr<Disk> disk, std::string folder, StoreOptions options, const Clock& clock)
      : disk_(std::move(disk)), folder_(std::move(folder)), options_(options), clock_(clock),
        directories_(*disk_, folder_), maintained_(clock.now()) {}
  Result<> start();

  Result<> put_account(const Account& account) override { return write_account(*disk_, folder_, account); }
  Result<Account> account(const AccountId& id) override;
  Result<> remove_account(const AccountId& id) override;
  Result<std::vector<AccountUsage>> accounts() override;
  Result<AccountUsage> account_usage(const AccountId& id) override;
  Result<std::unique_ptr<ObjectUpload>> put(const AccountId& account, const std::string& name, std::uint64_t size,
                                      const ContentHash& hash) override;
  Result<std::unique_ptr<ObjectReader>> get(const AccountId& account, const std::string& name) override;
  Result<ObjectStat> stat(const AccountId& account, const std::string& name) override;
  Result<std::vector<std::string>> list(const AccountId& account, const std::string& prefix, const std::string& after,
                                        std::size_t limit) override;
  Result<> remove(const AccountId& account, const std::vector<std::string>& names) override;
  Result<std::size_t> restore(const AccountId& account) override;
  Result<> maintain() override;
  Result<ScrubReport> scrub_all(const std::function<bool(const ScrubReport&)>& go_on) override;
  StoreUsage usage() override;
  const StoreCounters& counters() const override { return counters_; }
  std::string trouble() override { return catalogue_->trouble(); }

  /// Whether what stands under the key has this content. Code::not_found if nothing stands there, or it was rotten and
  /// is no longer claimed.
  Result<bool> same_content(const ObjectKey& key, std::uint64_t size, const ContentHash& hash);
  void unreserve(const AccountId& account, std::uint64_t charge);
  /// Ceases to claim an object.
  Result<> give_up(const ObjectKey& key, std::uint64_t id);
  Result<> read_whole(ObjectFileReader& reader);

  Disk& disk() { return *disk_; }
  const std::string& folder() const { return folder_; }
  Catalogue& catalogue() { return *catalogue_; }
  DirectoryFlusher& directories() { return directories_; }
  StoreCounters& count() { return counters_; }

 private:
  Result<> check(const AccountId& account, const std::string& name);
  Result<> reserve(const Account& account, std::uint64_t charge);
  std::uint64_t disk_free();
  Result<> rebuild_catalogue();
  Result<> remove_leftovers();
  Result<> empty_trash();
  Result<> scrub(std::uint64_t seconds);
  /// Whether it is whole; false: it was given up.
  Result<bool> scrub_object(const Catalogue::Listed& listed);
  Result<> save_cursor();
  Result<> load_cursor();

  const std::shared_ptr<Disk> disk_;
  const std::string folder_;
  const StoreOptions options_;
  const Clock& clock_;
  StoreCounters counters_;
  DirectoryFlusher directories_;
  std::unique_ptr<Catalogue> catalogue_;

  std::mutex space_mutex_;  // guards reservations
  std::map<AccountId, std::uint64_t> reserved_;
  std::uint64_t reserved_all_ = 0;

  // Of maintain(), which one thread calls.
  MonotonicTime maintained_;
  std::uint64_t clock_saved_s_ = 0;
  std::uint64_t old_directories_end_ = 0;  // directories below it were there at the start
  bool leftovers_gone_ = false;
  ObjectKey scrubbed_to_;
  std::uint64_t cursor_saved_s_ = 0;
};

}  // namespace atl
