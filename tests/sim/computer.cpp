#include "tests/sim/computer.h"

#include <sys/stat.h>

#include <algorithm>

namespace atl::sim {

using namespace std::chrono_literals;

namespace {

constexpr Duration patience = 30s;
const Caller caller;

}  // namespace

Computer::Computer(Nodes& nodes, std::string name, std::uint64_t seed)
    : nodes_(nodes), name_(std::move(name)), random_(seed), disk_(std::make_unique<MemoryDisk>()) {}

Computer::~Computer() {
  // What a failed run left waiting never goes on: a drive that waits for it would wait for ever.
  (void)drive_.release();
  (void)engine_.release();
  (void)loop_.release();
}

void Computer::start_engine() {
  loop_ = std::make_unique<SimulatedLoop>(nodes_.scheduler);
  std::vector<std::shared_ptr<Node>> as_nodes;
  links_.clear();
  for (std::size_t i = 0; i < nodes_.machines.size(); ++i) {
    auto told = [this, i](std::string_view call, const std::string& object, const Result<>& how) {
      nodes_.trace.note(name_ + ": node " + std::to_string(i) + " " + std::string(call) + " " + object + (how ? "" : " failed: " + how.error().what));
    };
    links_.push_back(std::make_shared<SimulatedLink>(*loop_, nodes_.random, *nodes_.machines[i], nodes_.distances[i], std::move(told)));
    links_.back()->away(away_.contains(i));
    as_nodes.push_back(links_.back());
  }
  engine_ = std::make_unique<EngineCore>(*loop_, random_, EngineOptions{}, nodes_.specs, std::move(as_nodes));
  const auto event = nodes_.scheduler.make_event();
  engine_->when_probed(15s, [&event] { event->set(); });
  event->wait_until(std::nullopt);
}

void Computer::stop_engine() {
  engine_->close();
  engine_.reset();
  loop_.reset();
  links_.clear();
}

void Computer::reach(std::set<std::size_t> nodes) {
  away_.clear();
  for (std::size_t i = 0; i < nodes_.machines.size(); ++i) {
    if (!nodes.contains(i)) away_.insert(i);
    if (!links_.empty()) links_[i]->away(away_.contains(i));
  }
}

void Computer::reach_all() {
  std::set<std::size_t> all;
  for (std::size_t i = 0; i < nodes_.machines.size(); ++i) all.insert(i);
  reach(std::move(all));
}

void Computer::create(Redundancy redundancy, std::uint8_t protect_min) {
  if (!disk_->make_directory(home_) || !disk_->sync_directory("/")) throw Violation("a fresh disk takes no folder");
  NewDrive made;
  made.nodes = nodes_.specs;
  made.redundancy = redundancy;
  made.protect_min = protect_min;
  if (auto created = Drive::create(seams(), home_, nodes_.keyring, made); !created) throw Violation("no drive can be made: " + created.error().what);
}

std::unique_ptr<Drive> Computer::opened(DriveOptions options) {
  auto drive = Drive::open(seams(), home_, nodes_.keyring, options);
  if (!drive) throw Violation(name_ + "'s drive does not open: " + drive.error().what);
  return std::move(*drive);
}

void Computer::open() {
  drive_ = opened(nodes_.options);
  start_engine();
  drive_->start(*engine_);
}

void Computer::close() {
  if (auto closed = drive_->close(30s); !closed) throw Violation(name_ + " cannot unmount: " + closed.error().what);
  drive_.reset();
  stop_engine();
}

void Computer::lose_power() {
  nodes_.trace.note(name_ + " loses its power");
  for (const auto& link : links_) link->cut();
  auto after = disk_->crash(random_.u64());
  disk_->power_off_at(1);
  drive_.reset();
  stop_engine();
  disk_ = std::move(after);
  if (random_.below(2) == 0) remove_index();
}

void Computer::remove_index() {
  for (const char* suffix : {"", "-wal"}) (void)disk_->remove(home_ + "/index.db" + suffix);  // it may not be there
}

Result<EpochClaim> Computer::recover() {
  nodes_.trace.note(name_ + " recovers");
  home_ = "/recovered-" + std::to_string(++homes_);
  if (!disk_->make_directory(home_) || !disk_->sync_directory("/")) throw Violation("a disk takes no folder");
  start_engine();
  const auto work = [&]() -> Result<EpochClaim> {
    auto survey = survey_heads(seams(), *engine_, nodes_.specs, nodes_.keyring, patience);
    if (!survey) return fail(survey.error());
    if (!survey->head) return fail(Code::too_few_nodes, "no node has a head");
    if (auto rebuilt = rebuild_state(seams(), home_, *engine_, *survey->head, nodes_.keyring, nodes_.specs, patience, {}); !rebuilt) return fail(rebuilt.error());
    return claim_epoch(seams(), home_, *engine_, nodes_.specs, nodes_.keyring, survey->epoch_max + 1, HistoryPoint::of(*survey->head), patience);
  };
  auto claimed = work();
  stop_engine();
  saved.clear();
  shipped.clear();
  return claimed;
}

Result<TakenOver> Computer::take_over() {
  nodes_.trace.note(name_ + " takes over");
  const std::string fresh = "/fresh-" + std::to_string(++homes_);
  if (!disk_->make_directory(fresh) || !disk_->sync_directory("/")) throw Violation("a disk takes no folder");
  start_engine();
  const auto work = [&]() -> Result<TakenOver> {
    auto survey = survey_heads(seams(), *engine_, nodes_.specs, nodes_.keyring, patience);
    if (!survey) return fail(survey.error());
    return atl::take_over(seams(), home_, fresh, nodes_.keyring, *engine_, nodes_.specs, *survey, name_, patience, {});
  };
  auto taken = work();
  stop_engine();
  if (taken && !taken->in_place) home_ = fresh;
  return taken;
}

Result<BroughtFork> Computer::bring_fork() {
  nodes_.trace.note(name_ + " brings a fork");
  const std::string scratch = "/fork-" + std::to_string(++homes_);
  if (!disk_->make_directory(scratch)) throw Violation("a disk takes no folder");
  start_engine();
  const auto work = [&]() -> Result<BroughtFork> {
    auto survey = survey_heads(seams(), *engine_, nodes_.specs, nodes_.keyring, patience);
    if (!survey) return fail(survey.error());
    auto forks = survey_forks(seams(), *engine_, nodes_.specs, nodes_.keyring, patience);
    if (!forks) return fail(forks.error());
    if (forks->empty()) return fail(Code::not_found, "no fork is seen");
    const auto own = opened(nodes_.options);
    auto brought = atl::bring_fork(seams(), *own, forks->back(), scratch, nodes_.keyring, *engine_, nodes_.specs, "Recovered from a fork", patience);
    if (!brought) return fail(brought.error());
    if (auto closed = own->close(30s); !closed) return fail(closed.error());
    auto resolved = take_over_in_place(seams(), home_, nodes_.keyring, *engine_, nodes_.specs, *survey, patience);
    if (!resolved) return fail(resolved.error());
    if (!*resolved) return fail(Code::fenced, "its owner does not own the drive");
    return brought;
  };
  auto brought = work();
  stop_engine();
  return brought;
}

bool Computer::save() {
  const bool fresh = saved.empty() || random_.below(3) != 0;
  std::string name = "by " + name_ + " " + std::to_string(++count_);
  if (!fresh) name = std::next(saved.begin(), static_cast<std::ptrdiff_t>(random_.below(saved.size())))->first;
  const Bytes content = random_.bytes(1 + random_.below(random_.below(4) == 0 ? 400'000 : 5'000));
  const auto work = [&]() -> Result<> {
    auto found = drive_->lookup(root_inode, name);
    if (!found) found = drive_->make_node(root_inode, name, S_IFREG | 0644, 0, caller);
    if (!found) return fail(found.error());
    if (auto written = drive_->write(found->inode, 0, content, {}); !written) return written;
    AttributeChange size;
    size.size = content.size();
    if (auto cut = drive_->change_attributes(found->inode, size); !cut) return fail(cut.error());
    return drive_->commit();
  };
  const auto done = work();
  nodes_.trace.note(name_ + " saves \"" + name + "\"" + (done ? "" : ": " + done.error().what));
  if (!done && done.error().code != Code::fenced) throw Violation(name_ + " cannot save: " + done.error().what);
  // What a fence came in the middle of may be there or not; nobody was told that it is.
  if (!done) saved.erase(name);
  if (done) saved[name] = content;
  return done.has_value();
}

bool Computer::ship(Duration within) {
  Files then = saved;
  const auto synced = drive_->sync(SyncLevel::protected_, nodes_.scheduler.now() + within, {}, {});
  nodes_.trace.note(name_ + (synced ? " is protected" : " is not protected: " + synced.error().what));
  if (synced) shipped = std::move(then);
  return synced.has_value();
}

void Computer::read_below(InodeNumber folder, const std::string& path, MonotonicTime deadline, Files& files) {
  struct Entry {
    std::string name;
    InodeNumber inode;
  };
  std::vector<Entry> entries;
  auto listed = drive_->list_directory(folder, 2, false, [&](const DirectoryEntry& entry) {
    entries.push_back({std::string(entry.name), entry.inode});
    return true;
  });
  if (!listed) throw Violation("a folder cannot be listed: " + listed.error().what);
  for (const Entry& entry : entries) {
    const auto attributes = drive_->attributes(entry.inode);
    if (!attributes) throw Violation("a file has no attributes: " + attributes.error().what);
    if (S_ISDIR(attributes->mode)) {
      read_below(entry.inode, path + entry.name + "/", deadline, files);
      continue;
    }
    Bytes content(attributes->size);
    for (;;) {
      const auto got = drive_->read(entry.inode, 0, content, false, {});
      if (got && *got == content.size()) break;
      if (got) throw Violation(path + entry.name + " ends early");
      if (nodes_.scheduler.now() >= deadline) throw Violation(path + entry.name + " cannot be read: " + got.error().what);
      nodes_.scheduler.sleep(5s);
    }
    files[path + entry.name] = std::move(content);
  }
}

Computer::Files Computer::everything(Duration within) {
  Files files;
  read_below(root_inode, "", nodes_.scheduler.now() + within, files);
  return files;
}

void Computer::check_digest() {
  const auto digest = [&] {
    const auto drive = opened(nodes_.options);
    const auto made = drive->digest();
    if (!made) throw Violation("no digest can be made: " + made.error().what);
    if (auto closed = drive->close(30s); !closed) throw Violation("the drive does not close: " + closed.error().what);
    return *made;
  };
  const Bytes live = digest();
  remove_index();
  if (digest() != live) throw Violation("the replayed index is not the one that " + name_ + " had");
}

}  // namespace atl::sim
