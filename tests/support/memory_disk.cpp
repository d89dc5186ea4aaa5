#include "tests/support/memory_disk.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "tests/support/paged_bytes.h"
#include "tests/support/seeded_random.h"

namespace atl {
namespace {

using Unflushed = MemoryDisk::Unflushed;

enum class Standing { pending, flushed, doubtful };

struct ContentChange {
  enum class Kind { write, truncate, allocate, punch } kind;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // truncate, allocate: the size
  Bytes data;
  Standing standing = Standing::pending;
};

void apply_to(PagedBytes& content, const ContentChange& change) {
  switch (change.kind) {
    case ContentChange::Kind::write:
      content.write(change.offset, change.data);
      break;
    case ContentChange::Kind::truncate:
      content.resize(change.length);
      break;
    case ContentChange::Kind::allocate:
      content.allocate(change.length);
      break;
    case ContentChange::Kind::punch:
      content.punch(change.offset, change.length);
      break;
  }
}

using SharedCount = std::shared_ptr<std::atomic<std::int64_t>>;

struct Inode : std::enable_shared_from_this<Inode> {
  explicit Inode(SharedCount used_) : used(std::move(used_)) {}

  void change(ContentChange change) {
    const auto before = static_cast<std::int64_t>(current.allocated());
    apply_to(current, change);
    *used += static_cast<std::int64_t>(current.allocated()) - before;
    log.push_back(std::move(change));
  }

  void flush() {
    const bool doubt = std::any_of(log.begin(), log.end(), [](auto& c) { return c.standing == Standing::doubtful; });
    if (doubt) {
      for (auto& change : log)
        if (change.standing == Standing::pending) change.standing = Standing::flushed;
    } else {
      const bool writes_only =
          std::all_of(log.begin(), log.end(), [](auto& c) { return c.kind == ContentChange::Kind::write; });
      if (writes_only)
        for (const auto& change : log) durable.share(current, change.offset, change.length);
      else
        durable = current;
      log.clear();
    }
    ++syncs;
  }

  /// The content after a power cut.
  PagedBytes after_crash(Unflushed policy, SeededRandom& random) const {
    PagedBytes content = durable;
    constexpr double probabilities[] = {0.1, 0.5, 0.9, 1.0};
    const double keep = probabilities[random.below(4)];
    bool sizes_lost = false;  // size changes reach the disk in order; data does not
    for (const auto& change : log) {
      if (change.standing == Standing::flushed || policy == Unflushed::keep) {
        apply_to(content, change);
        continue;
      }
      if (policy == Unflushed::drop) continue;
      switch (change.kind) {
        case ContentChange::Kind::write: {
          const std::uint64_t end = change.offset + change.data.size();
          if (end > content.size()) {
            if (!sizes_lost && random.chance(keep))
              content.resize(end);
            else
              sizes_lost = true;
          }
          for (std::uint64_t at = change.offset; at < end;) {
            const std::uint64_t stop = std::min(end, (at / MemoryDisk::sector_bytes + 1) * MemoryDisk::sector_bytes);
            const std::uint64_t clipped = std::min(stop, content.size());
            if (clipped > at && random.chance(keep))
              content.write(at, ByteView(change.data).subspan(at - change.offset, clipped - at));
            at = stop;
          }
          break;
        }
        case ContentChange::Kind::truncate:
        case ContentChange::Kind::allocate:
          if (!sizes_lost && random.chance(keep))
            apply_to(content, change);
          else
            sizes_lost = true;
          break;
        case ContentChange::Kind::punch:
          if (random.chance(keep)) apply_to(content, change);
          break;
      }
    }
    return content;
  }

  PagedBytes current;
  PagedBytes durable;
  std::vector<ContentChange> log;  // since `durable`
  std::uint64_t syncs = 0;
  SharedCount used;
};

using InodePtr = std::shared_ptr<Inode>;

/// A pointer for names and open files. With the last of them the space is free again, though the disk may still have to
/// remember the content for a power cut that brings an old name back.
InodePtr in_use(const InodePtr& inode) {
  struct Use {
    explicit Use(InodePtr inode_) : inode(std::move(inode_)) {
      *inode->used += static_cast<std::int64_t>(inode->current.allocated());
    }
    ~Use() { *inode->used -= static_cast<std::int64_t>(inode->current.allocated()); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    InodePtr inode;
  };
  return {std::make_shared<Use>(inode), inode.get()};
}

/// The pointer beneath one from in_use().
InodePtr remembered(const InodePtr& inode) {
  return inode ? inode->shared_from_this() : nullptr;
}

using Names = std::map<std::string, InodePtr>;  // nullptr: a directory

struct NameChange {
  enum class Kind { add, remove, move } kind;
  std::string path;
  std::string to;
  InodePtr inode;
  std::vector<std::string> unflushed;  // directories that must be synced before it is certain
};

void apply_to(Names& names, const NameChange& change) {
  switch (change.kind) {
    case NameChange::Kind::add:
      names[change.path] = change.inode;
      break;
    case NameChange::Kind::remove:
      names.erase(change.path);
      break;
    case NameChange::Kind::move: {
      if (change.inode) {
        const auto old = names.find(change.path);
        if (old != names.end() && old->second == change.inode) names.erase(old);
        names[change.to] = change.inode;
        break;
      }
      Names moved;
      for (auto it = names.begin(); it != names.end();) {
        if (it->first == change.path || it->first.starts_with(change.path + "/")) {
          moved[change.to + it->first.substr(change.path.size())] = it->second;
          it = names.erase(it);
        } else {
          ++it;
        }
      }
      names.merge(moved);
    }
  }
}

std::string clean(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

struct MemoryDisk::State {
  struct OneShot {
    std::uint64_t remaining;
    Fault fault;
    std::uint32_t operations;
  };

  mutable std::mutex mutex;
  std::uint64_t capacity = 0;
  std::shared_ptr<std::atomic<std::int64_t>> used = std::make_shared<std::atomic<std::int64_t>>(0);
  Names names{{"/", nullptr}};
  Names durable{{"/", nullptr}};
  std::vector<NameChange> log;
  std::function<std::optional<Fault>(const Call&)> rule;
  std::vector<OneShot> one_shots;
  std::uint64_t power_countdown = 0;  // 0: never
  bool power_partly = true;
  bool power_off = false;
  std::uint64_t calls = 0;
  std::uint64_t changes = 0;

  enum class Extent { all, none, half };  // how much of a call happens
  struct Verdict {
    Extent extent = Extent::all;
    std::optional<Error> error;
  };

  /// Counts a call and asks whether it is to fail.
  Verdict begin(Operation operation, const std::string& path) {
    std::function<std::optional<Fault>(const Call&)> ask;
    Call call{operation, path, 0};
    {
      const std::lock_guard lock(mutex);
      const Error off(Code::io, "the power is off");
      call.number = ++calls;
      if (power_off) return {Extent::none, off};
      if ((operation & (op_changes | op_sync | op_sync_directory)) != 0) {
        ++changes;
        if (power_countdown != 0 && --power_countdown == 0) {
          power_off = true;
          return {power_partly ? Extent::all : Extent::none, off};
        }
      }
      for (auto it = one_shots.begin(); it != one_shots.end(); ++it) {
        if ((operation & it->operations) == 0 || --it->remaining != 0) continue;
        const Fault fault = it->fault;
        one_shots.erase(it);
        return verdict(fault, path);
      }
      ask = rule;
    }
    if (ask)
      if (const auto fault = ask(call)) return verdict(*fault, path);
    return {};
  }
  static Verdict verdict(const Fault& fault, const std::string& path) {
    return {fault.wholly ? Extent::all : fault.partly ? Extent::half : Extent::none, Error(fault.code, "an injected fault at " + path)};
  }

  bool is_directory(const std::string& path) const {
    const auto it = names.find(path);
    return it != names.end() && !it->second;
  }
  void change(NameChange change) {
    apply_to(names, change);
    change.unflushed.push_back(parent_of(change.path));
    if (change.kind == NameChange::Kind::move && parent_of(change.to) != parent_of(change.path))
      change.unflushed.push_back(parent_of(change.to));
    change.inode = remembered(change.inode);
    log.push_back(std::move(change));
  }
  void flush_names(const std::string& directory) {
    for (auto& change : log) std::erase(change.unflushed, directory);
    auto it = log.begin();
    for (; it != log.end() && it->unflushed.empty(); ++it) apply_to(durable, *it);
    log.erase(log.begin(), it);
  }
  bool fits(std::uint64_t more) const { return static_cast<std::uint64_t>(used->load()) + more <= capacity; }
};

class MemoryFile final : public File {
 public:
  MemoryFile(std::shared_ptr<MemoryDisk::State> state, InodePtr inode, std::string path, bool writable)
      : state_(std::move(state)), inode_(std::move(inode)), path_(std::move(path)), writable_(writable) {}

  Result<std::size_t> read(std::uint64_t offset, MutableBytes out) override {
    if (auto verdict = state_->begin(MemoryDisk::op_read, path_); verdict.error) return fail(*verdict.error);
    const std::lock_guard lock(state_->mutex);
    return inode_->current.read(offset, out);
  }
  Result<> write(std::uint64_t offset, ByteView in) override {
    ContentChange change{ContentChange::Kind::write, offset, in.size(), Bytes(in.begin(), in.end())};
    return content_change(MemoryDisk::op_write, std::move(change));
  }
  Result<> sync() override {
    auto verdict = state_->begin(MemoryDisk::op_sync, path_);
    const std::lock_guard lock(state_->mutex);
    if (verdict.error) {
      for (auto& change : inode_->log)
        if (change.standing == Standing::pending) change.standing = Standing::doubtful;
      return fail(*verdict.error);
    }
    inode_->flush();
    return {};
  }
  Result<std::uint64_t> size() override {
    if (auto verdict = state_->begin(MemoryDisk::op_list, path_); verdict.error) return fail(*verdict.error);
    const std::lock_guard lock(state_->mutex);
    return inode_->current.size();
  }
  Result<> truncate(std::uint64_t size) override {
    return content_change(MemoryDisk::op_truncate, {ContentChange::Kind::truncate, 0, size, {}});
  }
  Result<> allocate(std::uint64_t size) override {
    return content_change(MemoryDisk::op_allocate, {ContentChange::Kind::allocate, 0, size, {}});
  }
  Result<> punch(std::uint64_t offset, std::uint64_t length) override {
    return content_change(MemoryDisk::op_punch, {ContentChange::Kind::punch, offset, length, {}});
  }
  Result<std::uint64_t> allocated() override {
    if (auto verdict = state_->begin(MemoryDisk::op_list, path_); verdict.error) return fail(*verdict.error);
    const std::lock_guard lock(state_->mutex);
    return inode_->current.allocated();
  }
  Result<std::shared_ptr<const std::uint8_t>> map(std::uint64_t offset, std::uint64_t length) override {
    if (auto verdict = state_->begin(MemoryDisk::op_read, path_); verdict.error) return fail(*verdict.error);
    auto copy = std::make_shared<Bytes>(length);
    const std::lock_guard lock(state_->mutex);
    inode_->current.read(offset, *copy);
    return std::shared_ptr<const std::uint8_t>(copy, copy->data());
  }

 private:
  Result<> content_change(MemoryDisk::Operation operation, ContentChange change) {
    auto verdict = state_->begin(operation, path_);
    if (!writable_) return fail(Code::read_only, path_ + " was opened for reading");
    const std::lock_guard lock(state_->mutex);
    if (verdict.extent == MemoryDisk::State::Extent::none) return fail(*verdict.error);
    if (verdict.extent == MemoryDisk::State::Extent::half) {
      change.data.resize(change.data.size() / 2);
      if (change.kind != ContentChange::Kind::truncate) change.length /= 2;
    }
    std::uint64_t more = 0;
    if (change.kind == ContentChange::Kind::write) more = inode_->current.missing(change.offset, change.data.size());
    if (change.kind == ContentChange::Kind::allocate) more = inode_->current.missing(0, change.length);
    if (more != 0 && !state_->fits(more)) return fail(Code::no_space, "no space left on the disk for " + path_);
    inode_->change(std::move(change));
    if (verdict.error) return fail(*verdict.error);
    return {};
  }

  std::shared_ptr<MemoryDisk::State> state_;
  InodePtr inode_;
  std::string path_;
  bool writable_;
};

MemoryDisk::MemoryDisk(std::uint64_t capacity_bytes) : state_(std::make_shared<State>()) {
  state_->capacity = capacity_bytes;
}
MemoryDisk::MemoryDisk(std::shared_ptr<State> state) : state_(std::move(state)) {}
MemoryDisk::~MemoryDisk() = default;

Result<std::unique_ptr<File>> MemoryDisk::open(const std::string& path_, OpenMode mode) {
  const std::string path = clean(path_);
  bool there = false;
  {
    const std::lock_guard lock(state_->mutex);
    there = state_->names.contains(path);
  }
  const bool creating = !there && (mode == OpenMode::create || mode == OpenMode::create_new);
  auto verdict = state_->begin(creating ? op_create : op_open, path);
  const std::lock_guard lock(state_->mutex);
  if (verdict.extent == State::Extent::none) return fail(*verdict.error);
  const auto it = state_->names.find(path);
  if (it == state_->names.end()) {
    if (!creating) return fail(Code::not_found, "no file " + path);
    if (!state_->is_directory(parent_of(path))) return fail(Code::not_found, "no directory for " + path);
    const InodePtr inode = in_use(std::make_shared<Inode>(state_->used));
    state_->change({NameChange::Kind::add, path, {}, inode, {}});
    if (verdict.error) return fail(*verdict.error);
    return std::make_unique<MemoryFile>(state_, inode, path, true);
  }
  if (verdict.error) return fail(*verdict.error);
  if (mode == OpenMode::create_new) return fail(Code::exists, path + " exists");
  if (!it->second) return fail(Code::is_directory, path + " is a directory");
  return std::make_unique<MemoryFile>(state_, it->second, path, mode != OpenMode::read);
}

Result<> MemoryDisk::rename(const std::string& from_, const std::string& to_) {
  const std::string from = clean(from_), to = clean(to_);
  auto verdict = state_->begin(op_rename, to);
  const std::lock_guard lock(state_->mutex);
  if (verdict.extent != State::Extent::all) return fail(*verdict.error);
  const auto it = state_->names.find(from);
  if (it == state_->names.end()) return fail(Code::not_found, "no file " + from);
  if (!state_->is_directory(parent_of(to))) return fail(Code::not_found, "no directory for " + to);
  if (from != to) state_->change({NameChange::Kind::move, from, to, it->second, {}});
  if (verdict.error) return fail(*verdict.error);
  return {};
}

Result<> MemoryDisk::link(const std::string& from_, const std::string& to_) {
  const std::string from = clean(from_), to = clean(to_);
  auto verdict = state_->begin(op_rename, to);
  const std::lock_guard lock(state_->mutex);
  if (verdict.extent != State::Extent::all) return fail(*verdict.error);
  const auto it = state_->names.find(from);
  if (it == state_->names.end() || !it->second) return fail(Code::not_found, "no file " + from);
  if (state_->names.contains(to)) return fail(Code::exists, to + " exists");
  if (!state_->is_directory(parent_of(to))) return fail(Code::not_found, "no directory for " + to);
  state_->change({NameChange::Kind::add, to, {}, it->second, {}});
  if (verdict.error) return fail(*verdict.error);
  return {};
}

Result<> MemoryDisk::remove(const std::string& path_) {
  const std::string path = clean(path_);
  auto verdict = state_->begin(op_remove, path);
  const std::lock_guard lock(state_->mutex);
  if (verdict.extent != State::Extent::all) return fail(*verdict.error);
  const auto it = state_->names.find(path);
  if (it == state_->names.end()) return fail(Code::not_found, "no file " + path);
  if (!it->second) {
    const auto next = state_->names.lower_bound(path + "/");
    if (next != state_->names.end() && next->first.starts_with(path + "/"))
      return fail(Code::not_empty, path + " is not empty");
  }
  state_->change({NameChange::Kind::remove, path, {}, {}, {}});
  if (verdict.error) return fail(*verdict.error);
  return {};
}

Result<> MemoryDisk::make_directory(const std::string& path_) {
  const std::string path = clean(path_);
  auto verdict = state_->begin(op_make_directory, path);
  const std::lock_guard lock(state_->mutex);
  if (verdict.extent != State::Extent::all) return fail(*verdict.error);
  if (state_->is_directory(path)) return {};
  if (state_->names.contains(path)) return fail(Code::exists, path + " is a file");
  if (!state_->is_directory(parent_of(path))) return fail(Code::not_found, "no directory for " + path);
  state_->change({NameChange::Kind::add, path, {}, nullptr, {}});
  if (verdict.error) return fail(*verdict.error);
  return {};
}

Result<> MemoryDisk::sync_directory(const std::string& path_) {
  const std::string path = clean(path_);
  if (auto verdict = state_->begin(op_sync_directory, path); verdict.error) return fail(*verdict.error);
  const std::lock_guard lock(state_->mutex);
  if (!state_->is_directory(path)) return fail(Code::not_found, "no directory " + path);
  state_->flush_names(path);
  return {};
}

Result<std::vector<std::string>> MemoryDisk::list(const std::string& path_) {
  const std::string path = clean(path_);
  if (auto verdict = state_->begin(op_list, path); verdict.error) return fail(*verdict.error);
  const std::lock_guard lock(state_->mutex);
  if (!state_->is_directory(path)) return fail(Code::not_found, "no directory " + path);
  const std::string prefix = path == "/" ? path : path + "/";
  std::vector<std::string> result;
  for (auto it = state_->names.lower_bound(prefix); it != state_->names.end() && it->first.starts_with(prefix); ++it) {
    const std::string name = it->first.substr(prefix.size());
    if (!name.empty() && name.find('/') == std::string::npos) result.push_back(name);
  }
  std::sort(result.begin(), result.end());
  return result;
}

Result<bool> MemoryDisk::exists(const std::string& path_) {
  const std::string path = clean(path_);
  if (auto verdict = state_->begin(op_list, path); verdict.error) return fail(*verdict.error);
  const std::lock_guard lock(state_->mutex);
  return state_->names.contains(path);
}

Result<DiskUsage> MemoryDisk::usage(const std::string& path) {
  if (auto verdict = state_->begin(op_list, clean(path)); verdict.error) return fail(*verdict.error);
  const auto used = static_cast<std::uint64_t>(state_->used->load());
  return DiskUsage{state_->capacity, state_->capacity - std::min(used, state_->capacity), 1};
}

std::unique_ptr<MemoryDisk> MemoryDisk::crash(Unflushed policy, std::uint64_t seed) const {
  const std::lock_guard lock(state_->mutex);
  SeededRandom random(seed);
  auto fresh = std::make_shared<State>();
  fresh->capacity = state_->capacity;
  Names names = state_->durable;
  constexpr double probabilities[] = {0.1, 0.5, 0.9, 1.0};
  const double keep = probabilities[random.below(4)];
  for (const auto& change : state_->log) {
    const bool kept =
        change.unflushed.empty() || policy == Unflushed::keep || (policy == Unflushed::draw && random.chance(keep));
    if (kept) apply_to(names, change);
  }
  std::map<Inode*, InodePtr> copies;  // hard links stay links
  for (const auto& [path, inode] : names) {
    if (path != "/" && (!names.contains(parent_of(path)) || names.at(parent_of(path))))
      continue;  // lost with its parent
    if (!inode) {
      fresh->names[path] = fresh->durable[path] = nullptr;
      continue;
    }
    auto& copy = copies[inode.get()];
    if (!copy) {
      const auto made = std::make_shared<Inode>(fresh->used);
      made->current = made->durable = inode->after_crash(policy, random);
      copy = in_use(made);
    }
    fresh->names[path] = copy;
    fresh->durable[path] = remembered(copy);
  }
  return std::unique_ptr<MemoryDisk>(new MemoryDisk(std::move(fresh)));
}

std::unique_ptr<MemoryDisk> MemoryDisk::crash(std::uint64_t seed) const {
  switch (seed % 8) {
    case 0:
      return crash(Unflushed::drop, seed);
    case 1:
      return crash(Unflushed::keep, seed);
    default:
      return crash(Unflushed::draw, seed);
  }
}

std::unique_ptr<MemoryDisk> MemoryDisk::clone() const {
  const std::lock_guard lock(state_->mutex);
  auto fresh = std::make_shared<State>();
  fresh->capacity = state_->capacity;
  std::map<Inode*, InodePtr> copies, uses;
  const auto copy_of = [&](const InodePtr& inode) -> InodePtr {
    if (!inode) return nullptr;
    auto& copy = copies[inode.get()];
    if (!copy) {
      copy = std::make_shared<Inode>(fresh->used);
      copy->current = inode->current;
      copy->durable = inode->durable;
      copy->log = inode->log;
      copy->syncs = inode->syncs;
    }
    return copy;
  };
  for (const auto& [path, inode] : state_->names) {
    auto& use = uses[inode.get()];
    if (inode && !use) use = in_use(copy_of(inode));
    fresh->names[path] = use;
  }
  for (const auto& [path, inode] : state_->durable) fresh->durable[path] = copy_of(inode);
  for (auto change : state_->log) {
    change.inode = copy_of(change.inode);
    fresh->log.push_back(std::move(change));
  }
  return std::unique_ptr<MemoryDisk>(new MemoryDisk(std::move(fresh)));
}

void MemoryDisk::set_fault_rule(std::function<std::optional<Fault>(const Call&)> rule) {
  const std::lock_guard lock(state_->mutex);
  state_->rule = std::move(rule);
  if (state_->rule) return;
  state_->one_shots.clear();
  state_->power_countdown = 0;
  state_->power_off = false;
}

void MemoryDisk::fail_call(std::uint64_t nth, Fault fault, std::uint32_t operations) {
  const std::lock_guard lock(state_->mutex);
  state_->one_shots.push_back({nth, fault, operations});
}

void MemoryDisk::power_off_at(std::uint64_t nth, bool partly) {
  const std::lock_guard lock(state_->mutex);
  state_->power_countdown = nth;
  state_->power_partly = partly;
}

std::uint64_t MemoryDisk::calls() const {
  const std::lock_guard lock(state_->mutex);
  return state_->calls;
}

std::uint64_t MemoryDisk::changes() const {
  const std::lock_guard lock(state_->mutex);
  return state_->changes;
}

std::uint64_t MemoryDisk::syncs(const std::string& path) const {
  const std::lock_guard lock(state_->mutex);
  return state_->names.at(clean(path))->syncs;
}

Bytes MemoryDisk::content(const std::string& path) const {
  const std::lock_guard lock(state_->mutex);
  const auto& current = state_->names.at(clean(path))->current;
  Bytes result(current.size());
  current.read(0, result);
  return result;
}

void MemoryDisk::damage(const std::string& path, std::uint64_t offset, ByteView bytes) {
  const std::lock_guard lock(state_->mutex);
  auto& inode = *state_->names.at(clean(path));
  inode.change({ContentChange::Kind::write, offset, bytes.size(), Bytes(bytes.begin(), bytes.end())});
  inode.flush();
}

void MemoryDisk::cut(const std::string& path, std::uint64_t size) {
  const std::lock_guard lock(state_->mutex);
  auto& inode = *state_->names.at(clean(path));
  inode.change({ContentChange::Kind::truncate, 0, size, {}});
  inode.flush();
}

std::vector<std::pair<std::string, Bytes>> MemoryDisk::snapshot() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<std::pair<std::string, Bytes>> result;
  for (const auto& [path, inode] : state_->names) {
    if (!inode) continue;
    Bytes bytes(inode->current.size());
    inode->current.read(0, bytes);
    result.emplace_back(path, std::move(bytes));
  }
  return result;
}

}  // namespace atl
