#include "tests/crash/world.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "cache/journal/journal.h"

namespace atl::crash {
namespace {

const Caller caller{};

/// The same keys in every world: the drive is one.
const Keyring& keys() {
  static const Keyring keyring = [] {
    SeededRandom random(11);
    return Keyring::generate(random);
  }();
  return keyring;
}

Keyring own_keys() {
  static const SecretKey wrapping;
  SeededRandom random(12);
  static const Bytes wrapped = keys().wrap(wrapping, random);
  return std::move(*Keyring::unwrap(wrapped, wrapping));
}

Bytes bytes_of(std::uint64_t step, std::size_t count) { return SeededRandom(step * 7919 + count).bytes(count); }

std::uint64_t hash(ByteView bytes) {
  std::uint64_t value = 0xcbf29ce484222325ull ^ bytes.size();
  for (std::size_t at = 0; at < bytes.size(); at += sizeof value) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
    value = (value ^ word) * 0x9e3779b97f4a7c15ull;
    value ^= value >> 29;
  }
  return value;
}

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().what);
  return std::move(*result);
}
void must(const Result<>& result) {
  if (!result) throw std::runtime_error(result.error().what);
}

bool drive_failed(Code code) {
  switch (code) {
    case Code::io:
    case Code::corrupt:
    case Code::no_space:
    case Code::read_only:
    case Code::timed_out:
    case Code::too_few_nodes:
    case Code::unavailable:
      return true;
    default:
      return false;
  }
}

}  // namespace

const std::vector<std::string>& kinds() {
  static const std::vector<std::string> all = {
      "create", "write",   "append", "overwrite", "large",  "truncate", "extend",   "rename", "rename-over", "noreplace", "exchange",
      "link",   "unlink",  "symlink", "mkdir",    "rmdir",  "chmod",    "setxattr", "rmxattr", "punch",      "copy",      "commit",
      "flush",  "ship",    "gc",     "remount"};
  return all;
}

std::string to_text(const std::vector<std::size_t>& workload) {
  std::string text;
  for (std::size_t kind : workload) text += (text.empty() ? "" : ",") + kinds()[kind];
  return text;
}

std::vector<std::size_t> from_text(const std::string& text) {
  std::vector<std::size_t> workload;
  std::istringstream in(text);
  for (std::string kind; std::getline(in, kind, ',');) {
    const auto found = std::ranges::find(kinds(), kind);
    if (found == kinds().end()) return {};
    workload.push_back(static_cast<std::size_t>(found - kinds().begin()));
  }
  return workload;
}

World::World(Remains remains) : disk_(std::move(remains.disk)), engine_(runtime_, std::move(remains.nodes)) {}
World::~World() { kill(); }

/// A drive's first journal file has 16 MiB, all of which an opening reads. Here openings are most of the work: it is made
/// again with a size that the workloads just do not fill.
void World::shorten_journal() {
  const SecretKey key = must(keys().derive(KeyEpoch{1}, KeyPurpose::journal));
  const std::string folder = std::string(directory) + "/journal";
  const auto whole = must(Journal::open(*disk_, folder, keys().volume(), key, Lsn{}));
  std::vector<std::pair<Bytes, std::uint32_t>> batches;
  must(whole->replay(Lsn{1}, [&](const JournalBatch& batch) -> Result<> {
    batches.emplace_back(Bytes(batch.body.begin(), batch.body.end()), batch.count);
    return {};
  }));
  for (const std::string& name : must(disk_->list(folder))) must(disk_->remove(folder + "/" + name));
  const JournalOptions options{journal_bytes};
  must(Journal::create(*disk_, folder, keys().volume(), key, options));
  const auto shorter = must(Journal::open(*disk_, folder, keys().volume(), key, Lsn{}, options));
  for (const auto& [body, count] : batches) must(shorter->append(body, count));
}

Remains World::base(bool shipped) {
  World world({std::make_unique<MemoryDisk>(), FakeEngine::make_nodes(redundancy.n)});
  must(world.disk().make_directory(directory));
  must(world.disk().sync_directory("/"));
  NewDrive made;
  made.nodes = FakeEngine::specs(world.nodes());
  made.redundancy = redundancy;
  made.protect_min = 2;
  must(Drive::create({world.disk(), world.runtime_.clock(), world.random_, world.runtime_}, directory, keys(), made));
  world.shorten_journal();
  must(world.open());
  world.put_base_files();
  if (shipped) must(world.run("ship", 0));
  must(world.close());
  return world.remains_after(world.disk().clone());
}

void World::put_base_files() {
  const auto file = [&](InodeNumber parent, const char* name, std::size_t count) {
    const Attributes made = must(drive_->make_node(parent, name, S_IFREG | 0644, 0, caller));
    must(drive_->write(made.inode, 0, bytes_of(count, count), {}));
    drive_->forget(made.inode, 1);
    return made.inode;
  };
  file(root_inode, "a", 9000);
  const InodeNumber b = file(root_inode, "b", 20'000);
  must(drive_->set_xattr(b, "user.base", bytes_of(1, 40), SetXattrMode::create));
  const Attributes d = must(drive_->make_directory(root_inode, "d", 0755, caller));
  file(d.inode, "e", 5000);
  drive_->forget(d.inode, 1);
  drive_->forget(must(drive_->make_directory(root_inode, "g", 0700, caller)).inode, 1);
  drive_->forget(must(drive_->make_symlink(root_inode, "s", "d/e", caller)).inode, 1);
  must(drive_->commit());
}

Result<> World::open() {
  DriveOptions options;
  options.disk_reserve = 1 << 20;
  auto opened = Drive::open({*disk_, runtime_.clock(), random_, runtime_}, directory, own_keys(), options);
  if (!opened) return fail(opened.error());
  drive_ = std::move(*opened);
  drive_->start(engine_);
  return {};
}

Result<> World::close() {
  if (!drive_) return {};
  auto closed = drive_->close(std::chrono::seconds(10));
  if (!closed) disk_->power_off_at(1);
  drive_.reset();
  return closed;
}

void World::kill() {
  if (!drive_) return;
  disk_->power_off_at(1);
  drive_.reset();
}

Result<Attributes> World::find(std::string_view path) {
  InodeNumber at = root_inode;
  for (;;) {
    const auto slash = path.find('/');
    auto found = drive_->lookup(at, path.substr(0, slash));
    if (!found) return found;
    drive_->forget(found->inode, 1);
    if (slash == std::string_view::npos) return found;
    at = found->inode;
    path.remove_prefix(slash + 1);
  }
}

World::Outcome World::perform(std::string_view kind, std::uint64_t step) {
  acknowledged_ = false;
  if (!drive_) return Outcome::failed;
  const Result<> result = run(kind, step);
  if (result) return Outcome::done;
  acknowledged_ = false;
  return drive_failed(result.error().code) ? Outcome::failed : Outcome::refused;
}

Result<> World::run(std::string_view kind, std::uint64_t step) {
  const std::string own = "n" + std::to_string(step);
  Drive& drive = *drive_;
  const auto forgotten = [&drive](Result<Attributes> made) -> Result<> {
    if (!made) return fail(made.error());
    drive.forget(made->inode, 1);
    return {};
  };
  const auto with = [this](const char* path, auto act) -> Result<> {
    auto found = find(path);
    if (!found) return fail(found.error());
    return act(*found);
  };
  const auto change = [&](const char* path, const AttributeChange& what) {
    return with(path, [&](const Attributes& f) -> Result<> {
      auto changed = drive.change_attributes(f.inode, what);
      if (!changed) return fail(changed.error());
      return {};
    });
  };
  if (kind == "create") return forgotten(drive.make_node(root_inode, own, S_IFREG | 0600, 0, caller));
  if (kind == "write") return with("d/e", [&](const Attributes& f) { return drive.write(f.inode, 100 * step, bytes_of(step, 4096), {}); });
  if (kind == "append") return with("a", [&](const Attributes& f) { return drive.write(f.inode, f.size, bytes_of(step, 700), {}); });
  if (kind == "overwrite") return with("a", [&](const Attributes& f) { return drive.write(f.inode, 1000 + step * 10, bytes_of(step, 3000), {}); });
  if (kind == "large") return with("b", [&](const Attributes& f) { return drive.write(f.inode, 0, bytes_of(step, 128 * 1024), {}); });
  if (kind == "truncate" || kind == "extend") {
    AttributeChange size;
    size.size = kind == "truncate" ? 600 + step : 30'000 + step;
    return change("a", size);
  }
  if (kind == "rename") return drive.rename(root_inode, "a", root_inode, own, RenameMode::replace);
  if (kind == "rename-over") return drive.rename(root_inode, "a", root_inode, "b", RenameMode::replace);
  if (kind == "noreplace") return drive.rename(root_inode, "b", root_inode, own, RenameMode::no_replace);
  if (kind == "exchange") return with("d", [&](const Attributes& d) { return drive.rename(root_inode, "a", d.inode, "e", RenameMode::exchange); });
  if (kind == "link") return with("a", [&](const Attributes& f) { return forgotten(drive.link(f.inode, root_inode, own)); });
  if (kind == "unlink") return drive.unlink(root_inode, "b");
  if (kind == "symlink") return forgotten(drive.make_symlink(root_inode, own, "d/somewhere", caller));
  if (kind == "mkdir") return forgotten(drive.make_directory(root_inode, own, 0750, caller));
  if (kind == "rmdir") return drive.remove_directory(root_inode, "g");
  if (kind == "chmod") {
    AttributeChange mode;
    mode.mode = 0400 + static_cast<std::uint32_t>(step % 64);
    return change("a", mode);
  }
  if (kind == "setxattr")
    return with("a", [&](const Attributes& f) { return drive.set_xattr(f.inode, "user.step", bytes_of(step, 100), SetXattrMode::create_or_replace); });
  if (kind == "rmxattr") return with("b", [&](const Attributes& f) { return drive.remove_xattr(f.inode, "user.base"); });
  if (kind == "punch")
    return with("b", [&](const Attributes& f) { return drive.fallocate(f.inode, FallocateMode::punch_hole, 1000 * (step % 10), 4096); });
  if (kind == "copy")
    return with("b", [&](const Attributes& from) -> Result<> {
      return with("a", [&](const Attributes& to) -> Result<> {
        auto copied = drive.copy_range(from.inode, 100, to.inode, 2000, 10'000);
        if (!copied) return fail(copied.error());
        return {};
      });
    });
  acknowledged_ = true;
  if (kind == "commit") return drive.commit();
  if (kind == "ship") return drive.sync(SyncLevel::full, runtime_.clock().now() + std::chrono::minutes(5), {}, {});
  if (kind == "gc") {
    acknowledged_ = false;
    return drive.collect_garbage(true, {});
  }
  if (kind == "flush") {
    runtime_.advance(std::chrono::seconds(2));
    acknowledged_ = false;
    return {};
  }
  if (kind == "remount") {
    if (auto closed = close(); !closed) return closed;
    return open();
  }
  throw std::logic_error("no such operation: " + std::string(kind));
}

std::string World::describe() {
  std::string out;
  describe_below(root_inode, "", out);
  return out;
}

void World::describe_below(InodeNumber folder, const std::string& path, std::string& out) {
  std::vector<std::string> names;
  const auto listed = drive_->list_directory(folder, 0, false, [&](const DirectoryEntry& entry) {
    if (entry.name != "." && entry.name != "..") names.emplace_back(entry.name);
    return true;
  });
  if (!listed) out += path + " !" + listed.error().what + "\n";
  std::ranges::sort(names);
  for (const std::string& name : names) {
    const auto found = drive_->lookup(folder, name);
    if (!found) {
      out += path + "/" + name + " !" + found.error().what + "\n";
      continue;
    }
    out += path + "/" + name + " " + describe_one(*found) + "\n";
    if (S_ISDIR(found->mode)) describe_below(found->inode, path + "/" + name, out);
    drive_->forget(found->inode, 1);
  }
}

std::string World::describe_one(const Attributes& file) {
  std::ostringstream out;
  out << std::oct << file.mode << std::dec << " " << file.links;
  const auto names = drive_->list_xattrs(file.inode);
  if (!names) return out.str() + " !" + names.error().what;
  for (const std::string& name : *names) {
    const auto value = drive_->get_xattr(file.inode, name);
    if (!value) return out.str() + " !" + value.error().what;
    out << " " << name << "=" << std::hex << hash(*value) << std::dec;
  }
  if (S_ISLNK(file.mode)) {
    const auto target = drive_->read_symlink(file.inode);
    out << (target ? " -> " + *target : " !" + target.error().what);
  }
  if (!S_ISREG(file.mode)) return out.str();
  Bytes content(static_cast<std::size_t>(file.size) + 1);
  const auto got = drive_->read(file.inode, 0, content, false, {});
  out << " " << file.size;
  if (got) {
    content.resize(*got);
    out << " " << std::hex << hash(content);
  } else {
    out << " !" << got.error().what;
  }
  return out.str();
}

}  // namespace atl::crash
