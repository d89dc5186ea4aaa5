#include "tests/sim/workload.h"

#include <algorithm>

#include "cache/drive/home.h"

namespace atl::sim {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t request_bytes_max = 1u << 20;  // as the kernel asks
constexpr Duration slack = 5s;                        // beyond a stated bound, for the last node's answer

/// What an error of a change may be when nodes, network and disk fail.
bool explained(Code code) {
  return code == Code::no_space || code == Code::timed_out || code == Code::too_few_nodes || code == Code::unavailable;
}

bool of_the_disk(Code code) { return code == Code::io || code == Code::read_only; }

}  // namespace

Workload::Workload(World& world) : world_(world), random_(world.shape().seed * 41 + 11), history_(1) {}

void Workload::push(Tree tree) {
  history_.push_back({history_.back().number + 1, std::move(tree)});
}

void Workload::trim() {
  const std::uint64_t least = std::min(committed_, protected_);
  while (history_.size() > 1 && history_.front().number < least) history_.pop_front();
}

std::string Workload::draw_name(bool existing) {
  if (existing && !now().empty()) return std::next(now().begin(), static_cast<std::ptrdiff_t>(random_.below(now().size())))->first;
  const std::string file = "f" + std::to_string(random_.below(10));
  return random_.below(2) == 0 ? file : "d" + std::to_string(random_.below(3)) + "/" + file;
}

template <typename T>
bool Workload::happened(const Result<T>& result, std::string_view what) {
  if (result) return true;
  world_.note(std::string(what) + " failed: " + result.error().what);
  const Code code = result.error().code;
  if (!explained(code) && !(of_the_disk(code) && disk_fails_))
    throw Violation(std::string(what) + " failed though nothing explains it: " + result.error().what);
  if (of_the_disk(code)) troubled_ = true;
  return false;
}

template <typename Operation>
auto Workload::timed(std::string_view what, Duration bound, Operation operation) -> decltype(operation()) {
  const MonotonicTime began = world_.scheduler.now();
  const std::uint64_t jumps = world_.scheduler.jumped();
  auto result = operation();
  const Duration took = world_.scheduler.now() - began;
  if (took > bound && world_.scheduler.jumped() == jumps)
    throw Violation(std::string(what) + " took " + std::to_string(took.count() / 1'000'000) + " ms, more than its bound of " + std::to_string(bound.count() / 1'000'000));
  return result;
}

Result<InodeNumber> Workload::folder_of(const std::string& path, bool make) {
  const auto slash = path.find('/');
  if (slash == std::string::npos) return root_inode;
  const std::string name = path.substr(0, slash);
  auto found = timed("lookup", 0s, [&] { return world_.drive().lookup(root_inode, name); });
  if (!found && found.error().code == Code::not_found && make) found = world_.drive().make_directory(root_inode, name, 0755, world_.caller);
  if (!found) return fail(found.error());
  return found->inode;
}

Result<InodeNumber> Workload::find(const std::string& path) {
  auto folder = folder_of(path, false);
  if (!folder) return folder;
  const auto slash = path.find('/');
  auto found = timed("lookup", 0s, [&] { return world_.drive().lookup(*folder, slash == std::string::npos ? path : path.substr(slash + 1)); });
  if (!found) return fail(found.error());
  return found->inode;
}

namespace {
std::string base_of(const std::string& path) { return path.substr(path.find('/') == std::string::npos ? 0 : path.find('/') + 1); }
}  // namespace

void Workload::step() {
  ++operations;
  if (troubled_) return restart();
  switch (random_.below(20)) {
    case 0: return unlink();
    case 1:
    case 2: return rename();
    case 3: return truncate();
    case 4:
    case 5: return commit();
    case 6:
      sync(SyncLevel::protected_, 60s);
      return;
    case 7:
      if (random_.below(3) == 0) sync(SyncLevel::full, 60s);
      return;
    case 8:
      return drop_cache();
    case 9:
      if (random_.below(4) == 0) return drain();
      if (random_.below(3) == 0) (void)happened(timed("gc", 1h, [&] { return world_.drive().collect_garbage(false, {}); }), "reclaiming");
      return;
    case 10:
    case 11: return world_.scheduler.sleep(Duration(static_cast<Duration::rep>(random_.below(20'000'000'000))));
    case 12: {
      const DriveStatus status = timed("status", 0s, [&] { return world_.drive().status(); });
      if (status.staged_bytes > world_.shape().drive.staging_max + (16u << 20)) throw Violation("staging holds more than its bound");
      (void)timed("space", 0s, [&] { return world_.drive().space(); });
      (void)timed("what care says", 0s, [&] { return world_.drive().care().status(); });
      return;
    }
    case 13:
    case 14:
    case 15: return read_some({});
    default: return write();
  }
}

void Workload::write() {
  const std::string path = draw_name(random_.below(3) != 0);
  const auto folder = folder_of(path, true);
  if (!happened(folder, "finding a folder")) return;
  Tree next = now();
  if (!next.contains(path)) {
    const auto made = timed("create", 0s, [&] { return world_.drive().make_node(*folder, base_of(path), 0100644, 0, world_.caller); });
    if (!happened(made, "creating " + path)) return;
    next[path] = std::make_shared<const Bytes>();
    push(next);
  }
  const auto inode = find(path);
  if (!happened(inode, "finding " + path)) return;
  const Bytes& old = *next[path];
  static constexpr std::uint64_t sizes[] = {200, 5'000, 9'000, 60'000, 400'000};
  const std::size_t size = 1 + random_.below(sizes[random_.below(std::size(sizes))]);
  const std::uint64_t offset = random_.below(3) == 0 ? 0 : random_.below(std::min<std::size_t>(old.size(), 1u << 20) + 1);
  const Bytes bytes = random_.bytes(std::min(size, request_bytes_max));
  auto changed = std::make_shared<Bytes>(old);
  if (changed->size() < offset + bytes.size()) changed->resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), changed->begin() + static_cast<std::ptrdiff_t>(offset));
  next[path] = std::move(changed);
  attempted_ = next;
  attempted_path_ = path;
  world_.note("write " + path + " " + std::to_string(offset) + "+" + std::to_string(bytes.size()));
  const auto written = timed("write", world_.shape().drive.write_timeout + slack, [&] { return world_.drive().write(*inode, offset, bytes, {}); });
  if (happened(written, "writing " + path)) {
    push(std::move(next));
    attempted_.reset();
    return;
  }
  if (troubled_) return;
  // Refused: nothing of it may have happened, so that nothing has to be remembered.
  attempted_.reset();
}

void Workload::drop_cache() {
  (void)happened(timed("drop_cache", 0s, [&] { return world_.drive().drop_cache(); }), "dropping the cache");
}

void Workload::truncate() {
  if (now().empty()) return;
  const std::string path = draw_name(true);
  const auto inode = find(path);
  if (!happened(inode, "finding " + path)) return;
  Tree next = now();
  auto changed = std::make_shared<Bytes>(*next[path]);
  changed->resize(random_.below(changed->size() + 1));
  AttributeChange change;
  change.size = changed->size();
  world_.note("truncate " + path + " to " + std::to_string(changed->size()));
  next[path] = std::move(changed);
  const auto cut = timed("truncate", 0s, [&] { return world_.drive().change_attributes(*inode, change); });
  if (happened(cut, "truncating " + path)) push(std::move(next));
}

void Workload::unlink() {
  if (now().empty()) return;
  const std::string path = draw_name(true);
  const auto folder = folder_of(path, false);
  const auto inode = find(path);
  if (!happened(folder, "finding a folder") || !happened(inode, "finding " + path)) return;
  world_.note("unlink " + path);
  const auto gone = timed("unlink", 0s, [&] { return world_.drive().unlink(*folder, base_of(path)); });
  if (!happened(gone, "unlinking " + path)) return;
  Tree next = now();
  next.erase(path);
  push(std::move(next));
  world_.drive().forget(*inode, 1'000'000);
}

void Workload::rename() {
  if (now().empty()) return;
  const std::string from = draw_name(true);
  const std::string to = draw_name(false);
  if (from == to) return;
  const auto from_folder = folder_of(from, false);
  const auto to_folder = folder_of(to, true);
  if (!happened(from_folder, "finding a folder") || !happened(to_folder, "finding a folder")) return;
  std::optional<InodeNumber> replaced;
  if (now().contains(to)) {
    const auto inode = find(to);
    if (!happened(inode, "finding " + to)) return;
    replaced = *inode;
  }
  world_.note("rename " + from + " " + to);
  const auto moved = timed("rename", 0s, [&] { return world_.drive().rename(*from_folder, base_of(from), *to_folder, base_of(to), RenameMode::replace); });
  if (!happened(moved, "renaming " + from)) return;
  Tree next = now();
  next[to] = next[from];
  next.erase(from);
  push(std::move(next));
  if (replaced) world_.drive().forget(*replaced, 1'000'000);
}

void Workload::commit() {
  const std::uint64_t reached = history_.back().number;
  const auto done = timed("fsync", slack, [&] { return world_.drive().commit(); });
  if (!happened(done, "fsync")) return;
  committed_ = std::max(committed_, reached);
  world_.note("fsync returned");
  trim();
}

bool Workload::sync(SyncLevel level, Duration patience) {
  const std::uint64_t reached = history_.back().number;
  const auto done = timed("sync", patience + slack, [&] { return world_.drive().sync(level, world_.scheduler.now() + patience, {}, {}); });
  if (!happened(done, "sync")) {
    std::string states;
    for (const NodeStatus& node : world_.engine_nodes()) states += " " + std::string(to_string(node.state)) + (node.last_error.empty() ? "" : " (" + node.last_error + ")");
    world_.note("the engine's nodes:" + states);
    return false;
  }
  committed_ = std::max(committed_, reached);
  protected_ = std::max(protected_, reached);
  ++protections;
  world_.note(level == SyncLevel::full ? "all is full" : "all is protected");
  trim();
  return true;
}

void Workload::read_some(const std::stop_token& stop) {
  if (now().empty()) return;
  const std::string path = draw_name(true);
  const auto inode = find(path);
  if (!happened(inode, "finding " + path)) return;
  const Content content = now().at(path);
  const std::uint64_t offset = random_.below(content->size() + 1);
  const std::size_t request = 1 + random_.below(request_bytes_max);
  Bytes out(request);
  ++reads;
  // What others do to the file meanwhile may be seen in part: each byte is then of one of these.
  const std::uint64_t before = history_.back().number;
  std::vector<Content> versions{content};
  const auto add_attempted = [&] {
    if (attempted_ && attempted_path_ == path) versions.push_back(attempted_->at(path));
  };
  add_attempted();
  const auto got = timed("read", world_.shape().drive.read_timeout + slack, [&] { return world_.drive().read(*inode, offset, out, true, stop); });
  const std::uint64_t changes = history_.back().number - before;
  if (!got) {
    if (got.error().code == Code::cancelled && stop.stop_requested()) return;
    if (got.error().code == Code::not_found && changes > 0) return;
    ++reads_failed;
    world_.note("reading " + path + " failed: " + got.error().what);
    if (!explained(got.error().code) && !disk_fails_) throw Violation("reading " + path + " failed though nothing explains it: " + got.error().what);
    return;
  }
  add_attempted();
  if (changes > 0) {
    const auto later = now().find(path);
    if (changes > 2 || later == now().end()) return;
    for (const State& state : history_)
      if (state.number > before && state.tree.contains(path)) versions.push_back(state.tree.at(path));
  }
  out.resize(*got);
  const auto is_of = [&](const Content& version) {
    const std::size_t expected = std::min<std::size_t>(version->size() - std::min<std::size_t>(offset, version->size()), request);
    return out.size() == expected && std::equal(out.begin(), out.end(), version->begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(offset, version->size())));
  };
  if (std::any_of(versions.begin(), versions.end(), is_of)) return;
  for (std::size_t i = 0; i < out.size() || versions.size() == 1; ++i) {
    const bool known = std::any_of(versions.begin(), versions.end(), [&](const Content& version) { return offset + i < version->size() && (*version)[offset + i] == out[i]; });
    if (!known || versions.size() == 1) throw Violation("wrong bytes in " + path + " in " + std::to_string(out.size()) + " bytes at " + std::to_string(offset));
  }
}

void Workload::read_now_and_then(const bool& stop) {
  while (!stop) {
    world_.scheduler.sleep(Duration(static_cast<Duration::rep>(random_.below(10'000'000'000))));
    if (stop) return;
    if (!world_.is_open() || !readers_may_ || troubled_) continue;
    ++readers_inside_;
    read_some(stop_readers_.get_token());
    --readers_inside_;
  }
}

void Workload::stop_readers() {
  readers_may_ = false;
  stop_readers_.request_stop();
  while (readers_inside_ > 0) world_.scheduler.sleep(10ms);
  stop_readers_ = std::stop_source();
}

std::optional<Bytes> Workload::read_file(InodeNumber inode, std::uint64_t size, MonotonicTime deadline) {
  Bytes whole;
  while (whole.size() < size) {
    Bytes part(std::min<std::uint64_t>(request_bytes_max, size - whole.size()));
    auto got = world_.drive().read(inode, whole.size(), part, false, {});
    if (!got) {
      world_.note("reading everything: " + got.error().what);
      if (!explained(got.error().code)) throw Violation("a read failed though nothing explains it: " + got.error().what);
      if (world_.scheduler.now() >= deadline) return std::nullopt;
      world_.scheduler.sleep(5s);
      continue;
    }
    if (*got == 0) break;
    whole.insert(whole.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(*got));
  }
  return whole;
}

std::optional<Tree> Workload::whole_tree(MonotonicTime deadline) {
  Tree tree;
  struct Found {
    std::string name;
    InodeNumber inode;
    std::uint32_t mode = 0;
  };
  const auto entries = [&](InodeNumber folder) {
    std::vector<Found> found;
    auto listed = world_.drive().list_directory(folder, 2, false, [&](const DirectoryEntry& entry) {
      found.push_back({std::string(entry.name), entry.inode, entry.mode});
      return true;
    });
    if (!listed) throw Violation("a folder cannot be listed: " + listed.error().what);
    return found;
  };
  const auto add = [&](const std::string& path, InodeNumber inode) {
    auto attributes = world_.drive().attributes(inode);
    if (!attributes) throw Violation("a file has no attributes: " + attributes.error().what);
    auto bytes = read_file(inode, attributes->size, deadline);
    if (!bytes) return false;
    if (bytes->size() != attributes->size) throw Violation(path + " is shorter than its size");
    tree[path] = std::make_shared<const Bytes>(std::move(*bytes));
    return true;
  };
  for (const Found& outer : entries(root_inode)) {
    if ((outer.mode & 0170000) != 0040000) {
      if (!add(outer.name, outer.inode)) return std::nullopt;
      continue;
    }
    for (const Found& inner : entries(outer.inode))
      if (!add(outer.name + "/" + inner.name, inner.inode)) return std::nullopt;
  }
  return tree;
}

namespace {

bool same(const Tree& one, const Tree& other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end(), [](const auto& a, const auto& b) {
    return a.first == b.first && (a.second == b.second || *a.second == *b.second);
  });
}

/// How two trees differ, for who has to find out why.
std::string difference(const Tree& found, const Tree& expected) {
  std::string text;
  for (const auto& [path, content] : expected) {
    const auto other = found.find(path);
    if (other == found.end()) {
      text += " lacks " + path;
    } else if (*other->second != *content) {
      const auto at = std::mismatch(content->begin(), content->end(), other->second->begin(), other->second->end()).first - content->begin();
      text += " " + path + " (" + std::to_string(other->second->size()) + " bytes, not " + std::to_string(content->size()) + ") differs at " + std::to_string(at);
    }
  }
  for (const auto& [path, content] : found)
    if (!expected.contains(path)) text += " has " + path;
  return text;
}

}  // namespace

void Workload::adopt(std::uint64_t least, std::string_view after) {
  const auto found = whole_tree(world_.scheduler.now() + 10min);
  if (!found) throw Violation("after " + std::string(after) + " some bytes cannot be read, though enough nodes are there");
  std::optional<State> state;
  for (auto it = history_.rbegin(); it != history_.rend() && !state; ++it)
    if (same(it->tree, *found)) state = *it;
  if (!state && attempted_) {
    // The request under way when the power went may have happened in part, in its file alone.
    Tree rest = *found;
    Tree wanted = *attempted_;
    const auto got = rest.find(attempted_path_);
    if (got != rest.end() && wanted.contains(attempted_path_)) {
      const Bytes& next = *wanted[attempted_path_];
      const auto before = now().find(attempted_path_);
      const Bytes& old = *before->second;
      const Bytes& is = *got->second;
      bool mixed = is.size() >= old.size() && is.size() <= next.size();
      for (std::size_t i = 0; mixed && i < is.size(); ++i) mixed = is[i] == next[i] || (i < old.size() && is[i] == old[i]);
      wanted[attempted_path_] = got->second;
      if (mixed && same(rest, wanted)) state = State{history_.back().number + 1, *found};
    }
  }
  if (!state) throw Violation("after " + std::string(after) + " the drive is in no state that it had; against the newest it" + difference(*found, now()));
  if (state->number < least) {
    throw Violation("after " + std::string(after) + " the drive is in state " + std::to_string(state->number) + ", before " + std::to_string(least) +
                    ", which had been acknowledged");
  }
  attempted_.reset();
  world_.note("back in state " + std::to_string(state->number) + " of " + std::to_string(history_.back().number));
  while (history_.back().number > state->number) history_.pop_back();
  if (history_.empty() || history_.back().number < state->number) history_.push_back(*state);
  committed_ = std::min(committed_, state->number);
  protected_ = std::min(protected_, state->number);
  readers_may_ = true;  // not before the model is the drive's again
}

void Workload::crash() {
  world_.note("the power goes");
  world_.power_off();
  stop_readers();
  world_.crash();
  world_.open();
  troubled_ = disk_fails_ = false;
  adopt(committed_, "a power cut");
  committed_ = history_.back().number;
}

void Workload::crash_amid() {
  // In the middle of what the disk is asked for next.
  disk_fails_ = true;
  world_.disk().power_off_at(1 + random_.below(12));
  for (int i = 0; i < 40 && !troubled_; ++i) {
    write();
    if (!troubled_) commit();
  }
  crash();
}

void Workload::fill_disk() {
  world_.note("the computer's disk is full");
  disk_fails_ = true;
  world_.disk().set_fault_rule([](const MemoryDisk::Call& call) -> std::optional<MemoryDisk::Fault> {
    if ((call.operation & (MemoryDisk::op_create | MemoryDisk::op_write | MemoryDisk::op_allocate | MemoryDisk::op_make_directory)) == 0) return std::nullopt;
    return MemoryDisk::Fault{Code::no_space, true, false};
  });
}

void Workload::restart(Duration off) {
  world_.note("unmount and mount");
  stop_readers();
  const bool before = troubled_;
  const auto closed = world_.close();
  if (!closed) {
    world_.note("unmounting: " + closed.error().what);
    if (!explained(closed.error().code) && !disk_fails_) throw Violation("unmounting failed though nothing explains it: " + closed.error().what);
  } else if (!before) {
    committed_ = history_.back().number;
  }
  world_.disk().clear_faults();
  world_.scheduler.jump(off);
  world_.open();
  troubled_ = disk_fails_ = false;
  adopt(committed_, "unmounting and mounting");
  committed_ = history_.back().number;
}

void Workload::lose_computer() {
  world_.note("the computer is gone");
  world_.power_off();
  stop_readers();
  if (auto recovered = world_.recover(); !recovered) throw Violation("the drive does not come back from its nodes: " + recovered.error().what);
  troubled_ = disk_fails_ = false;
  adopt(protected_, "losing the computer");
  committed_ = protected_ = history_.back().number;
}

void Workload::check_everything(Duration patience) {
  const auto found = whole_tree(world_.scheduler.now() + patience);
  if (!found) throw Violation("not all can be read, though all nodes are there");
  if (!same(*found, now())) throw Violation("the drive is not what was saved: it" + difference(*found, now()));
}

void Workload::drain() {
  const auto node = static_cast<std::size_t>(random_.below(world_.count()));
  const CareStatus before = world_.drive().care().status();
  std::size_t leaving = 0;
  bool now = false;
  for (const NodeCare& care : before.nodes) {
    leaving += care.leaving ? 1 : 0;
    now |= care.leaving && care.node == world_.spec(node).id;
  }
  std::size_t gone = 0;
  for (std::size_t i = 0; i < world_.count(); ++i) gone += world_.node(i).faults.gone ? 1 : 0;
  if (!now && leaving + gone + 1 + world_.shape().redundancy.n > world_.count()) return;
  world_.note("node " + std::to_string(node) + (now ? " is to stay" : " is to be emptied"));
  const auto done = timed("drain", slack, [&] { return world_.drive().care().drain(world_.spec(node).id, !now, false, {}, {}); });
  (void)happened(done, "emptying a node");
}

bool Workload::empty(std::size_t node) {
  for (const NodeCare& care : world_.drive().care().status().nodes)
    if (care.node == world_.spec(node).id) return care.shards == 0;
  return true;
}

std::size_t Workload::usable() {
  const CareStatus status = world_.drive().care().status();
  std::size_t usable = 0;
  for (std::size_t i = 0; i < world_.count(); ++i) {
    const auto care = std::find_if(status.nodes.begin(), status.nodes.end(), [&](const NodeCare& one) { return one.node == world_.spec(i).id; });
    usable += care != status.nodes.end() && !care->leaving && care->trust != Trust::failing && !world_.node(i).faults.gone ? 1 : 0;
  }
  return usable;
}

void Workload::keep_enough() {
  const CareStatus status = world_.drive().care().status();
  std::size_t usable = 0;
  std::vector<std::size_t> leaving;
  for (std::size_t i = 0; i < world_.count(); ++i) {
    const auto care = std::find_if(status.nodes.begin(), status.nodes.end(), [&](const NodeCare& one) { return one.node == world_.spec(i).id; });
    if (care == status.nodes.end() || world_.node(i).faults.gone || care->trust == Trust::failing) continue;
    if (care->leaving) leaving.push_back(i);
    usable += care->leaving ? 0 : 1;
  }
  for (const std::size_t node : leaving) {
    if (usable >= world_.shape().redundancy.n) return;
    world_.note("node " + std::to_string(node) + " is to stay after all: too few are left");
    const auto done = timed("drain", slack, [&] { return world_.drive().care().drain(world_.spec(node).id, false, false, {}, {}); });
    if (happened(done, "keeping a node")) ++usable;
  }
}

void Workload::check_care() {
  const int most = world_.shape().redundancy.n - world_.shape().redundancy.k;
  const auto trouble = [&]() -> std::string {
    const CareStatus status = world_.drive().care().status();
    if (status.nodes.size() < world_.count()) return std::to_string(world_.count() - status.nodes.size()) + " nodes are not cared for";
    if (usable() < world_.shape().redundancy.n) return {};  // nothing has another place to go to
    for (const NodeCare& care : status.nodes) {
      const auto spec = [&] {
        for (std::size_t i = 0; i < world_.count(); ++i)
          if (world_.spec(i).id == care.node) return i;
        return world_.count();
      }();
      if (care.shards > 0 && (care.leaving || world_.node(spec).faults.gone)) return std::to_string(care.shards) + " shards still have their home on node " + std::to_string(spec);
    }
    for (const auto& [margin, segments] : status.margins)
      if (margin.second < most) return std::to_string(segments) + " segments have but " + std::to_string(margin.second) + " shards to spare";
    return {};
  };
  const MonotonicTime deadline = world_.scheduler.now() + world_.shape().drive.repair_grace + 30min;
  for (std::string left; !(left = trouble()).empty();) {
    if (world_.scheduler.now() >= deadline) throw Violation("care does not come to its end: " + left);
    world_.scheduler.sleep(10s);
  }
}

void Workload::check_counters() {
  if (auto done = world_.drive().commit(); !done) throw Violation("nothing can be made durable: " + done.error().what);
  const DriveStatus status = world_.drive().status();
  std::uint64_t bytes = 0;
  for (const auto& [path, content] : now()) bytes += content->size();
  if (status.logical_bytes != bytes)
    throw Violation("the drive says that it maps " + std::to_string(status.logical_bytes) + " bytes and not " + std::to_string(bytes));
}

}  // namespace atl::sim
