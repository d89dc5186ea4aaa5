// A drive in memory, for tests of what lies above it: plain maps under one lock, no durability, no nodes.
// Thread-safe. Hooks let a test hold up reads or see commits.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "cache/drive/drive.h"

namespace atl {

class FakeDrive final : public Drive {
 public:
  FakeDrive();

  /// Called before a read, without a lock; its error is the read's.
  std::function<Result<>(InodeNumber, std::stop_token)> before_read;
  std::function<Result<>(SyncLevel, const std::function<void(const SyncProgress&)>&, std::stop_token)> on_sync;
  DriveStatus shown;  // what status() answers

  std::uint64_t commits() const;
  std::uint64_t lookups_held() const;  // over all inodes but the root
  bool closed() const;

  void start(Engine&) override {}
  std::vector<NodeSpec> nodes() const override { return {}; }
  Result<> close(Duration bound) override;
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
  Result<std::uint64_t> copy_range(InodeNumber from, std::uint64_t from_offset, InodeNumber to, std::uint64_t to_offset, std::uint64_t length) override;
  Result<> commit() override;
  Result<> sync(SyncLevel level, std::optional<MonotonicTime> deadline, const std::function<void(const SyncProgress&)>& progress,
                std::stop_token stop) override;
  Care& care() override { return care_; }
  SpaceUsage space() override;
  DriveStatus status() override;
  Result<std::uint64_t> drop_cache() override;
  Result<> collect_garbage(bool wait, std::stop_token stop) override;
  Result<FileReport> inspect(InodeNumber inode, bool verify) override;
  Result<Bytes> digest() override;

 private:
  struct FakeCare final : Care {
    CareStatus status() override { return {}; }
    Result<> drain(NodeId, bool, bool, const std::function<void(const CareProgress&)>&, std::stop_token) override { return fail(Code::unsupported); }
    Result<> remove_node(NodeId, const std::function<void(const CareProgress&)>&, std::stop_token) override { return fail(Code::unsupported); }
    Result<CheckReport> check(const CheckOptions&, const std::function<void(const CheckProgress&)>&, std::stop_token) override { return fail(Code::unsupported); }
    Result<> set_redundancy(Redundancy, std::uint8_t) override { return fail(Code::unsupported); }
    void hurry() override {}
  };
  FakeCare care_;
  static constexpr std::uint64_t page_bytes = 4096;
  struct Inode {
    Attributes attributes;
    std::string target;
    std::map<std::uint64_t, Bytes> pages;  // by number
    std::map<std::string, Bytes, std::less<>> xattrs;
    std::map<std::string, std::pair<std::uint64_t, InodeNumber>, std::less<>> entries;  // name: cookie, inode
    std::map<std::uint64_t, std::string> order;                                         // cookie: name
    InodeNumber parent = root_inode;
    std::uint64_t next_cookie = 3;
    std::uint64_t lookups = 0;
  };

  Result<Inode*> find(InodeNumber inode);
  Result<Inode*> find_directory(InodeNumber inode);
  Result<Attributes> make(InodeNumber parent, std::string_view name, std::uint32_t mode, const Caller& caller,
                          std::uint64_t device, std::string_view target);
  void insert(Inode& directory, std::string_view name, InodeNumber inode);
  void erase(Inode& directory, std::string_view name);
  void unlinked(InodeNumber inode);
  void drop_if_dead(InodeNumber inode);
  void zero(Inode& inode, std::uint64_t from, std::uint64_t to);
  Attributes shown_attributes(const Inode& inode) const;
  Timestamp tick();

  mutable std::mutex mutex_;
  std::map<InodeNumber, Inode> inodes_;  // all below guarded by mutex_
  std::uint64_t next_inode_ = 2;
  std::uint64_t commits_ = 0;
  bool closed_ = false;
};

}  // namespace atl
