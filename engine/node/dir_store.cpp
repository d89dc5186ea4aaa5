#include "engine/node/dir_store.h"

#include <algorithm>
#include <set>

#include "engine/base/mutant.h"

namespace atl {

namespace {

constexpr std::uint64_t reserve_bytes_max = 16 << 20;  // left free on a node's disk, for its file system's own needs

/// The value of a lower-case hexadecimal digit; -1 for anything else.
int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// Which of the 256 directories holds a name.
std::uint8_t shelf_of(std::string_view name) {
  if (name.size() >= 2) {
    const int high = digit(name[name.size() - 2]);
    const int low = digit(name[name.size() - 1]);
    if (high >= 0 && low >= 0) return static_cast<std::uint8_t>(high * 16 + low);
  }
  std::uint32_t hash = 2166136261u;  // FNV-1a, 32 bits
  for (const char c : name) hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619u;
  return static_cast<std::uint8_t>(hash);
}

tl::unexpected<Error> bad_name(const std::string& name) {
  return fail(Code::invalid, "'" + name + "' cannot name an object on a node");
}

}  // namespace

DirStore::DirStore(std::shared_ptr<Disk> disk, std::string folder, NodeId id, std::uint64_t instance)
    : disk_(std::move(disk)), folder_(std::move(folder)), id_(id), instance_(instance) {}

std::string DirStore::directory_of(const std::string& name) const {
  const std::uint8_t shelf = shelf_of(name);
  return folder_ + "/objects/" + to_hex(ByteView(&shelf, 1));
}

std::string DirStore::object_path(const std::string& name) const { return directory_of(name) + "/" + name; }

Result<std::uint64_t> DirStore::size_of(const std::string& path) {
  auto file = disk_->open(path, OpenMode::read);
  if (!file) return fail(file.error());
  return (*file)->size();
}

Result<> DirStore::verify_identity() {
  auto found = read_identity(*disk_, folder_);
  if (found && *found == id_) return {};
  {
    const std::lock_guard lock(mutex_);
    identity_seen_.reset();
    prepared_ = false;  // whatever comes back may have been written to elsewhere
  }
  if (found) {
    return fail(Code::unavailable, folder_ + " belongs to another node (" + found->hex().substr(0, 8) + "…)",
                "mount the right disk there");
  }
  const Error& error = found.error();
  if (mutant("absent-is-empty") && error.code == Code::not_found) return {};
  if (error.code == Code::not_found || error.code == Code::not_directory)
    return fail(Code::unavailable, folder_ + " does not carry this node's identity", "is its disk mounted?");
  return fail(Code::unavailable, error.what, error.hint, error.os_error);
}

Result<> DirStore::verify_identity_lately(MonotonicTime now) {
  {
    const std::lock_guard lock(mutex_);
    if (identity_seen_ && now - *identity_seen_ < identity_trusted_for) return {};
  }
  auto done = verify_identity();
  if (!done) return done;
  const std::lock_guard lock(mutex_);
  identity_seen_ = now;
  return {};
}

Result<> DirStore::prepare() {
  const std::lock_guard lock(mutex_);
  if (prepared_) return {};
  for (const char* name : {"/objects", "/incoming"}) {
    if (auto done = disk_->make_directory(folder_ + name); !done) return done;
  }
  auto leftovers = disk_->list(folder_ + "/incoming");
  if (!leftovers) return fail(leftovers.error());
  for (const std::string& name : *leftovers) {
    auto removed = disk_->remove(folder_ + "/incoming/" + name);
    if (!removed && removed.error().code != Code::not_found) return removed;
  }
  prepared_ = true;
  return {};
}

tl::unexpected<Error> DirStore::explain(Error error) {
  if (error.code == Code::no_space || error.code == Code::conflict) return fail(std::move(error));
  if (auto still_ours = verify_identity(); !still_ours) return fail(still_ours.error());
  return fail(std::move(error));
}

Result<> DirStore::ensure_room(std::uint64_t size) {
  auto space = disk_->usage(folder_);
  if (!space) return fail(space.error());
  const std::uint64_t reserve = std::min(reserve_bytes_max, space->capacity_bytes / 64);
  if (space->free_bytes >= reserve && space->free_bytes - reserve >= size) return {};
  return fail(Code::no_space, "the disk of " + folder_ + " is full", "free space on that disk");
}

Result<> DirStore::ensure_directory_of(const std::string& name) {
  const std::string directory = directory_of(name);
  auto there = disk_->exists(directory);
  if (!there) return fail(there.error());
  if (*there) return {};
  if (auto done = disk_->make_directory(directory); !done) return done;
  return disk_->sync_directory(folder_ + "/objects");
}

Result<> DirStore::write_incoming(const std::string& path, const ObjectBody& body) {
  auto file = disk_->open(path, OpenMode::create_new);
  if (!file) return fail(file.error());
  if (auto done = (*file)->write_gather(0, body.pieces); !done) return done;
  if (mutant("dir-object-unflushed")) return {};
  return (*file)->sync();
}

Result<> DirStore::compare(const std::string& name, const ObjectBody& body) {
  auto file = disk_->open(object_path(name), OpenMode::read);
  if (!file) return fail(file.error());
  auto size = (*file)->size();
  if (!size) return fail(size.error());
  const Error conflict(Code::conflict, folder_ + " holds another object under the name " + name);
  if (*size != body.size()) return fail(conflict);
  Bytes there;
  std::uint64_t offset = 0;
  for (const ByteView piece : body.pieces) {
    there.resize(piece.size());
    auto count = (*file)->read(offset, there);
    if (!count) return fail(count.error());
    if (mutant("put-compares-sizes")) continue;
    if (*count != piece.size() || !std::equal(piece.begin(), piece.end(), there.begin())) return fail(conflict);
    offset += piece.size();
  }
  // Whoever wrote it may not have come to this yet.
  return disk_->sync_directory(directory_of(name));
}

Result<> DirStore::place(const std::string& incoming, const std::string& name, const ObjectBody& body) {
  if (auto done = ensure_directory_of(name); !done) return done;
  Result<> placed;
  {
    const std::uint8_t number = shelf_of(name);
    const std::lock_guard lock(shelves_[number].mutex);
    placed = mutant("put-replaces") ? disk_->rename(incoming, object_path(name)) : disk_->rename_new(incoming, object_path(name));
    if (placed || placed.error().code != Code::exists) count_change(number, placed.has_value(), static_cast<std::int64_t>(body.size()));
  }
  if (!placed && placed.error().code == Code::exists) {
    (void)disk_->remove(incoming);
    return compare(name, body);
  }
  if (!placed || mutant("dir-name-unflushed")) return placed;
  return disk_->sync_directory(directory_of(name));
}

Result<> DirStore::put(const std::string& name, const ObjectBody& body) {
  if (!is_object_name(name)) return bad_name(name);
  if (auto done = verify_identity(); !done) return done;
  if (auto done = prepare(); !done) return explain(done.error());
  auto there = disk_->exists(object_path(name));
  if (!there) return explain(there.error());
  if (*there) {
    auto same = compare(name, body);
    if (same || same.error().code != Code::not_found) return same ? same : Result<>(explain(same.error()));
  }
  if (auto done = ensure_room(body.size()); !done) return explain(done.error());
  const std::string incoming =
      folder_ + "/incoming/" + to_hex({reinterpret_cast<const std::uint8_t*>(&instance_), sizeof instance_}) + "-" +
      std::to_string(++incoming_count_);
  auto done = write_incoming(incoming, body);
  if (done) done = place(incoming, name, body);
  if (!done && done.error().code == Code::not_found && verify_identity()) {
    // Another process that opened this node took our file for a leftover. It does so once.
    done = write_incoming(incoming, body);
    if (done) done = place(incoming, name, body);
  }
  if (done) return done;
  (void)disk_->remove(incoming);
  return explain(done.error());
}

Result<Bytes> DirStore::get(const std::string& name, std::uint64_t offset, std::uint64_t length, MonotonicTime now) {
  if (!is_object_name(name)) return bad_name(name);
  if (auto done = verify_identity_lately(now); !done) return fail(done.error());
  auto file = disk_->open(object_path(name), OpenMode::read);
  if (!file) return explain(file.error());
  auto size = (*file)->size();
  if (!size) return explain(size.error());
  if (offset >= *size) return Bytes();
  Bytes answer(static_cast<std::size_t>(std::min(length, *size - offset)));
  auto count = (*file)->read(offset, answer);
  if (!count) return explain(count.error());
  answer.resize(*count);
  return answer;
}

Result<ObjectStat> DirStore::stat(const std::string& name, MonotonicTime now) {
  if (!is_object_name(name)) return bad_name(name);
  if (auto done = verify_identity_lately(now); !done) return fail(done.error());
  auto file = disk_->open(object_path(name), OpenMode::read);
  if (!file) return explain(file.error());
  auto size = (*file)->size();
  if (!size) return explain(size.error());
  return ObjectStat{*size};
}

Result<std::vector<std::string>> DirStore::list(const std::string& prefix, const std::string& after, std::size_t limit,
                                                MonotonicTime now) {
  if (auto done = verify_identity_lately(now); !done) return fail(done.error());
  std::vector<std::string> names;
  auto directories = disk_->list(folder_ + "/objects");
  if (!directories) return explain(directories.error());
  for (const std::string& directory : *directories) {
    auto found = disk_->list(folder_ + "/objects/" + directory);
    if (!found && found.error().code == Code::not_directory) continue;  // somebody else's file
    if (!found) return explain(found.error());
    for (std::string& name : *found) {
      if (name > after && name.starts_with(prefix) && is_object_name(name)) names.push_back(std::move(name));
    }
  }
  // A folder that was unmounted half-way would have answered with too little.
  if (auto done = verify_identity(); !done) return fail(done.error());
  const std::size_t count = std::min(limit, names.size());
  std::partial_sort(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(count), names.end());
  names.resize(count);
  return names;
}

Result<> DirStore::remove_object(const std::string& name) {
  const std::string path = object_path(name);
  const std::uint8_t number = shelf_of(name);
  const std::lock_guard lock(shelves_[number].mutex);
  const auto size = shelves_[number].counted ? size_of(path) : 0;
  auto removed = disk_->remove(path);
  if (removed || removed.error().code != Code::not_found)
    count_change(number, removed && size, -static_cast<std::int64_t>(size.value_or(0)));
  return removed;
}

std::int64_t DirStore::bytes_on(std::size_t shelf) {
  const auto byte = static_cast<std::uint8_t>(shelf);
  const std::string directory = folder_ + "/objects/" + to_hex(ByteView(&byte, 1));
  std::int64_t bytes = 0;
  if (const auto names = disk_->list(directory)) {
    for (const std::string& name : *names) bytes += static_cast<std::int64_t>(size_of(directory + "/" + name).value_or(0));
  }
  return bytes;
}

void DirStore::count_change(std::size_t number, bool known, std::int64_t bytes) {
  Shelf& shelf = shelves_[number];
  if (!shelf.counted) return;
  if (!known) bytes = bytes_on(number) - shelf.bytes;
  shelf.bytes += bytes;
  used_bytes_ += bytes;
}

Result<std::size_t> DirStore::remove(const std::vector<std::string>& names) {
  if (auto done = verify_identity(); !done) return fail(done.error());
  std::set<std::string> touched;
  std::size_t gone = 0;
  std::optional<Error> error;
  for (const std::string& name : names) {
    if (!is_object_name(name)) {
      error = bad_name(name).value();
      break;
    }
    auto removed = remove_object(name);
    if (removed) {
      touched.insert(directory_of(name));
    } else if (removed.error().code != Code::not_found) {
      error = removed.error();
      break;
    }
    ++gone;
  }
  for (const std::string& directory : touched) {
    if (auto done = disk_->sync_directory(directory); !done) return explain(done.error());
  }
  if (gone == 0 && error) return explain(*error);
  // A missing name is gone only if this still is the node.
  if (auto done = verify_identity(); !done) return fail(done.error());
  return gone;
}

Result<NodeUsage> DirStore::usage() {
  if (auto done = verify_identity(); !done) return fail(done.error());
  if (auto done = prepare(); !done && done.error().code != Code::read_only && done.error().code != Code::no_space)
    return explain(done.error());
  auto space = disk_->usage(folder_);
  if (!space) return explain(space.error());
  NodeUsage usage;
  usage.used_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(used_bytes_.load(), 0));
  usage.free_bytes = space->free_bytes;
  usage.capacity_bytes = space->capacity_bytes;
  usage.device = space->device;
  return usage;
}

void DirStore::count_used() {
  for (std::size_t number = 0; number < shelves_.size(); ++number) {
    Shelf& shelf = shelves_[number];
    const std::lock_guard lock(shelf.mutex);
    if (shelf.counted) continue;
    shelf.counted = true;
    shelf.bytes = bytes_on(number);
    used_bytes_ += shelf.bytes;
  }
}

}  // namespace atl
