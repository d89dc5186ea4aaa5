// The drive's operations over its parts. Private to cache/drive: everybody else sees drive.h.
#pragma once

#include <atomic>
#include <memory>

#include "cache/care/caretaker.h"
#include "cache/drive/changes.h"
#include "cache/drive/checkpointer.h"
#include "cache/drive/committer.h"
#include "cache/drive/core.h"
#include "cache/drive/extent_reader.h"
#include "cache/drive/publisher.h"
#include "cache/drive/reclaimer.h"
#include "cache/drive/segment_fetcher.h"
#include "cache/drive/shipper.h"
#include "cache/drive/tasks.h"

namespace atl {

class DriveImpl final : public Drive {
 public:
  explicit DriveImpl(std::unique_ptr<DriveCore> core);
  ~DriveImpl() override;

  void start(Engine& engine) override;
  std::vector<NodeSpec> nodes() const override;
  Result<> close(Duration bound) override;
  Result<> put_node(const NodeSpec& node);  // node_list.h
  Result<Changes> changes_since(const HistoryPoint& point);  // changes.h
  std::vector<AttemptLeft> attempts();                       // attempts.h
  Result<std::size_t> discard_attempts(const std::vector<AttemptLeft>& attempts);

  Result<Attributes> lookup(InodeNumber parent, std::string_view name) override;
  void forget(InodeNumber inode, std::uint64_t count) override;
  Result<Attributes> attributes(InodeNumber inode) override;
  Result<Attributes> make_node(InodeNumber parent, std::string_view name, std::uint32_t mode, std::uint64_t device,
                               const Caller& caller) override;
  Result<Attributes> make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode, const Caller& caller) override;
  Result<Attributes> make_symlink(InodeNumber parent, std::string_view name, std::string_view target, const Caller& caller) override;
  Result<Attributes> link(InodeNumber inode, InodeNumber parent, std::string_view name) override;
  Result<> unlink(InodeNumber parent, std::string_view name) override;
  Result<> remove_directory(InodeNumber parent, std::string_view name) override;
  Result<> rename(InodeNumber from, std::string_view from_name, InodeNumber to, std::string_view to_name, RenameMode mode) override;
  Result<std::string> read_symlink(InodeNumber inode) override;
  Result<> list_directory(InodeNumber directory, std::uint64_t cookie, bool with_attributes,
                          const std::function<bool(const DirectoryEntry&)>& visit) override;

  Result<Attributes> change_attributes(InodeNumber inode, const AttributeChange& change) override;
  Result<Bytes> get_xattr(InodeNumber inode, std::string_view name) override;
  Result<> set_xattr(InodeNumber inode, std::string_view name, ByteView value, SetXattrMode mode) override;
  Result<std::vector<std::string>> list_xattrs(InodeNumber inode) override;
  Result<> remove_xattr(InodeNumber inode, std::string_view name) override;

  Result<std::size_t> read(InodeNumber inode, std::uint64_t offset, MutableBytes out, bool update_atime, std::stop_token stop) override;
  Result<> write(InodeNumber inode, std::uint64_t offset, ByteView in, std::stop_token stop) override;
  Result<> fallocate(InodeNumber inode, FallocateMode mode, std::uint64_t offset, std::uint64_t length) override;
  Result<std::uint64_t> seek(InodeNumber inode, std::uint64_t offset, SeekWhat what) override;
  Result<std::uint64_t> copy_range(InodeNumber from, std::uint64_t from_offset, InodeNumber to, std::uint64_t to_offset,
                                   std::uint64_t length) override;

  Result<> commit() override;
  Result<> sync(SyncLevel level, std::optional<MonotonicTime> deadline, const std::function<void(const SyncProgress&)>& progress,
                std::stop_token stop) override;

  Care& care() override { return caretaker_; }
  SpaceUsage space() override;
  DriveStatus status() override;
  Result<std::uint64_t> drop_cache() override;
  Result<> collect_garbage(bool wait, std::stop_token stop) override;
  Result<FileReport> inspect(InodeNumber inode, bool verify) override;
  Result<Bytes> digest() override;

 private:
  /// Runs an operation under the state lock; an index that cannot be read ends the drive's service and is answered.
  template <typename Operation>
  auto locked(Operation operation) -> decltype(operation());
  template <typename Operation>
  auto changing(Operation operation) -> decltype(operation());

  // All of these are called with the state lock held.
  Attributes attributes_of(InodeNumber inode, const InodeRow& row) const;
  Result<std::shared_ptr<const InodeRow>> inode_row(InodeNumber inode);
  Result<std::shared_ptr<const InodeRow>> directory_row(InodeNumber inode);
  Result<std::shared_ptr<const InodeRow>> file_row(InodeNumber inode);
  Result<Attributes> make_inode(InodeNumber parent, std::string_view name, std::uint32_t mode, std::uint64_t device,
                                std::string_view target, const Caller& caller);
  Result<> check_new_name(InodeNumber parent, std::string_view name);
  /// An access ACL follows the permission bits.
  Result<> keep_acl_with_mode(InodeNumber inode, const InodeRow& row, std::uint32_t mode);
  /// Logs the times of bytes that are still dirty, before another change to the inode gets a later time.
  void settle_times(InodeNumber inode);
  /// Purges the inode if nothing names or uses it.
  void purge_if_unused(InodeNumber inode);
  bool is_below(InodeNumber directory, InodeNumber ancestor);
  void touch_atime(InodeNumber inode, const InodeRow& row);
  /// Turns what is dirty in a range into extents, so that it can be shared. Releases and takes the lock.
  Result<> seal_dirty(std::unique_lock<std::mutex>& lock, InodeNumber inode, std::uint64_t offset, std::uint64_t length);

  Result<> admit(std::uint64_t bytes, const std::stop_token& stop);
  struct SealedBlocks {
    std::vector<SegmentWriter::Place> places;
    std::vector<ExtentId> extents;
  };
  /// Seals whole blocks into reserved places and writes them; the caller logs them and settles the places.
  Result<SealedBlocks> seal_blocks(ByteView in);
  void purge_in_steps();
  /// Purges what could not be purged when its last user went, since the drive took no changes then.
  void sweep_orphans();
  void schedule_flush();
  std::uint64_t unshipped_bytes();

  std::unique_ptr<DriveCore> core_;
  Tasks tasks_;
  Committer committer_;
  SegmentFetcher fetcher_;
  ExtentReader reader_;
  Shipper shipper_;
  Reclaimer reclaimer_;
  Checkpointer checkpointer_;
  Caretaker caretaker_;
  Publisher publisher_;
  std::atomic<std::uint64_t> disk_free_{~std::uint64_t{0}};  // as last asked
  std::atomic<std::int64_t> disk_asked_at_{0};
  std::set<InodeNumber> to_purge_;  // large files, purged step by step; state lock
  bool purge_scheduled_ = false;    // state lock
  bool closed_ = false;
};

}  // namespace atl

#include "cache/drive/locked.h"
