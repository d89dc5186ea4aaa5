// The files of a `dir:` node: a folder on some disk that carries its identity. All calls block; DirNode wraps them.
//
//     FOLDER/atoll-node                "atoll-node 1\nid HEX\n", written once
//     FOLDER/objects/XX/NAME           one object, one regular file
//     FOLDER/incoming/...              objects being written; leftovers of a crash are removed at the next start
//
// XX: the last two characters of the name if these are lower-case hexadecimal digits, else the low byte of the name's
// 32-bit FNV-1a hash in hexadecimal.
//
// The identity is read before every write, and before a read if it was not within the last second: an unmounted disk
// leaves an empty folder, another disk may appear in its place, and neither must be taken for this node. Directories
// are never created above objects/, so that a bare mount point stays bare.
//
// Thread-safe. Errors as Node states them. Paths are not held open, so that a disk can be unmounted at any time.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/disk.h"
#include "engine/base/ids.h"
#include "engine/base/random.h"
#include "engine/node/node.h"

namespace atl {

class DirStore {
 public:
  static constexpr Duration identity_trusted_for = std::chrono::seconds(1);

  /// `folder` is absolute, without a slash at its end. `instance` makes names in incoming/ differ between processes.
  DirStore(std::shared_ptr<Disk> disk, std::string folder, NodeId id, std::uint64_t instance);

  Result<> put(const std::string& name, const ObjectBody& body);
  Result<Bytes> get(const std::string& name, std::uint64_t offset, std::uint64_t length, MonotonicTime now);
  Result<ObjectStat> stat(const std::string& name, MonotonicTime now);
  Result<std::vector<std::string>> list(const std::string& prefix, const std::string& after, std::size_t limit,
                                        MonotonicTime now);
  Result<std::size_t> remove(const std::vector<std::string>& names);
  Result<NodeUsage> usage();
  /// Counts the bytes of all objects, once; usage() says zero before, and is kept up to date after. Takes long with many
  /// objects; others may store and remove meanwhile.
  void count_used();

 private:
  Result<> verify_identity();
  Result<> verify_identity_lately(MonotonicTime now);
  Result<> prepare();
  /// What a failed file call means, given whether the folder still is this node.
  tl::unexpected<Error> explain(Error error);
  std::string directory_of(const std::string& name) const;
  std::string object_path(const std::string& name) const;
  Result<> remove_object(const std::string& name);
  Result<std::uint64_t> size_of(const std::string& path);
  std::int64_t bytes_on(std::size_t shelf);
  Result<> ensure_room(std::uint64_t size);
  Result<> ensure_directory_of(const std::string& name);
  Result<> write_incoming(const std::string& path, const ObjectBody& body);
  Result<> place(const std::string& incoming, const std::string& name, const ObjectBody& body);
  Result<> compare(const std::string& name, const ObjectBody& body);

  const std::shared_ptr<Disk> disk_;
  const std::string folder_;
  const NodeId id_;
  const std::uint64_t instance_;
  std::atomic<std::uint64_t> incoming_count_{0};
  std::atomic<std::int64_t> used_bytes_{0};

  /// One of the directories below objects/. A name appears or goes under its mutex, together with its count.
  struct Shelf {
    std::mutex mutex;
    bool counted = false;
    std::int64_t bytes = 0;  // its part of used_bytes_
  };
  /// After a change of a name by so many bytes. Where these are not known, or the change failed and may have happened all
  /// the same, the directory is asked.
  void count_change(std::size_t shelf, bool known, std::int64_t bytes);

  std::array<Shelf, 256> shelves_;

  std::mutex mutex_;  // guards the rest
  std::optional<MonotonicTime> identity_seen_;
  bool prepared_ = false;
};

/// Reads the identity of a folder. Code::not_found without one, newer_format, corrupt.
Result<NodeId> read_identity(Disk& disk, const std::string& folder);

/// Creates the folder if it is absent and gives it an identity if it has none. Code::not_empty if it holds other things.
Result<NodeId> adopt_folder(Disk& disk, const std::string& folder, Random& random);

}  // namespace atl
