// Caretaker: a check of everything, when a person asks for it.
#include <algorithm>

#include "cache/care/caretaker.h"
#include "cache/care/history_check.h"
#include "cache/care/touched_files.h"
#include "cache/drive/paths.h"

namespace atl {
namespace {

/// Of a reading that is killed so much is done again.
constexpr Duration save_interval = std::chrono::seconds(10);

}  // namespace

Result<CheckReport> Caretaker::check(const CheckOptions& options, const std::function<void(const CheckProgress&)>& progress, std::stop_token asked) {
  if (core_.engine.load() == nullptr) return fail(Code::unavailable, "the drive is offline: there are no nodes to ask");
  if (options.repair) {
    std::lock_guard lock(core_.mutex);
    if (auto refused = core_.refusal()) return fail(*refused);
  }
  bool started = false;
  {
    std::lock_guard lock(flags_mutex_);
    if (std::exchange(checking_, true)) return fail(Code::busy, "the drive is being checked already");
    started = !stopped_;
  }
  if (!started) recall();
  std::stop_source either;
  const std::stop_callback when_asked(asked, [&] { either.request_stop(); });
  const std::stop_callback when_closed(tasks_.stop_token(), [&] { either.request_stop(); });
  Result<CheckReport> report = fail(Code::failed);
  try {
    report = run_check(options, progress, either.get_token());
  } catch (const IndexFailure& failure) {
    report = fail(failure.error());
  }
  // How far it came, and what it found.
  save();
  std::lock_guard lock(flags_mutex_);
  checking_ = false;
  return report;
}

Result<CheckReport> Caretaker::run_check(const CheckOptions& options, const std::function<void(const CheckProgress&)>& progress, const std::stop_token& stop) {
  const auto show = [&](CheckProgress::Step step, std::uint64_t done, std::uint64_t total) {
    if (progress) progress({step, done, total});
  };
  // What is in memory only belongs to it as well. A drive that takes no changes is checked as it is.
  if (auto r = committer_.commit(); !r && options.repair) return fail(r.error());
  CheckReport report;
  report.index_rebuilt = core_.index_rebuilt;
  HistoryCheck history(core_, committer_, stop, show);
  if (auto r = history.check_journal(report); !r) return fail(r.error());
  if (auto applied = committer_.apply(); !applied && applied.error().code != Code::corrupt) return fail(applied.error());
  if (report.journal_damage.empty())
    if (auto r = history.check_index(report); !r) return fail(r.error());

  std::vector<ShardCheck::Fault> faults;
  MonotonicTime saved = core_.seams.clock.now();
  ShardCheck shards(core_, stop,
                    {[&](const ShardCheck::Fault& fault) {
                       faults.push_back(fault);
                       std::lock_guard lock(mutex_);
                       state_.bad.insert({fault.attempt, fault.home});
                     },
                     [&](SegmentId upto) {
                       {
                         std::lock_guard lock(mutex_);
                         state_.checked_up_to = upto;
                       }
                       if (core_.seams.clock.now() - saved < save_interval) return;
                       saved = core_.seams.clock.now();
                       save();
                     },
                     [&](std::uint64_t done, std::uint64_t total) { show(CheckProgress::Step::reading, done, total); }});
  const std::vector<NodeStatus> nodes = core_.engine.load()->nodes();
  for (const NodeStatus& status : nodes) {
    CheckedNode node;
    node.node = status.spec.id;
    node.url = status.spec.url;
    if (!answers(status.state)) node.error = status.last_error.empty() ? "it is away" : status.last_error;
    if (auto r = shards.list(node); !r) return fail(r.error());
    report.nodes.push_back(std::move(node));
    show(CheckProgress::Step::listing, report.nodes.size(), nodes.size());
  }
  {
    BadShards bad;
    std::optional<SegmentId> after;
    {
      std::lock_guard lock(mutex_);
      bad = state_.bad;
      if (options.from_start) state_.checked_up_to.reset();
      after = state_.checked_up_to;
    }
    shards.recall(bad, report.nodes);
    if (options.read_percent > 0) {
      report.resumed_after = after;
      auto read = shards.read(options.read_percent, after, report.nodes);
      if (!read) return fail(read.error());
      report.read_bytes = *read;
      std::lock_guard lock(mutex_);
      state_.checked_up_to.reset();
    }
  }
  report.found = faults.size();
  report.left = report.found;
  if (options.repair) {
    if (auto r = mend_here(report, history); !r) return fail(r.error());
    auto left = await_mended(faults, progress, stop);
    if (!left) return fail(left.error());
    report.left = *left;
  }
  if (auto r = weigh(report); !r) return fail(r.error());
  return report;
}

Result<> Caretaker::mend_here(CheckReport& report, HistoryCheck& history) {
  if (!report.journal_damage.empty() || !report.checkpoint_damage.empty()) {
    // The index has been told everything that is damaged: a new checkpoint stands in for it.
    if (auto r = committer_.commit(); !r) return r;
    if (auto r = committer_.with_journal([](Journal& journal) { return journal.begin_new_file(); }); !r) return r;
    if (auto r = checkpointer_.run(); !r) return r;
    CheckReport again;
    if (auto r = history.check_journal(again); !r) return r;
    report.journal_mended = !report.journal_damage.empty() && again.journal_damage.empty();
    report.checkpoint_mended = !report.checkpoint_damage.empty() && again.journal_damage.empty();
  }
  if (!report.index_damage.empty()) {
    // What is in memory may rest on the rows that are wrong: it is made anew before anything is read from it.
    if (auto r = replace_file(core_.seams.disk, index_damaged_path(core_.directory), as_bytes("rebuild the index\n")); !r) return r;
    report.index_at_mount = true;
  }
  return {};
}

Result<std::uint64_t> Caretaker::await_mended(const std::vector<ShardCheck::Fault>& faults, const std::function<void(const CheckProgress&)>& progress,
                                              const std::stop_token& stop) {
  const auto count_left = [&] {
    std::scoped_lock lock(core_.mutex, mutex_);
    return static_cast<std::uint64_t>(std::count_if(faults.begin(), faults.end(), [&](const ShardCheck::Fault& fault) {
      if (!state_.bad.contains({fault.attempt, fault.home})) return false;
      const auto found = core_.tables->segments().find(fault.segment);
      return found != core_.tables->segments().end() && found->second.has_attempt && found->second.attempt == fault.attempt &&
             found->second.live_extents > 0;
    }));
  };
  std::uint64_t left = faults.size();
  for (std::uint64_t before = left + 1; left > 0 && left < before;) {
    before = left;
    hurry();
    const auto done = [&] {
      left = count_left();
      if (progress) progress({CheckProgress::Step::mending, faults.size() - left, faults.size()});
      std::lock_guard lock(flags_mutex_);
      return left == 0 || (!running_ && !hurried_ && !paying_ && !again_);
    };
    if (!core_.changed.wait(core_.seams.runtime, std::nullopt, stop, done))
      return fail(Code::cancelled, "waiting was interrupted; what was found is mended all the same while the drive is mounted");
  }
  return left;
}

Result<> Caretaker::weigh(CheckReport& report) {
  const NodeFates known = fates();
  BadShards bad;
  {
    std::lock_guard lock(mutex_);
    bad = state_.bad;
  }
  std::set<SegmentId> lost, weakened;
  {
    std::lock_guard lock(core_.mutex);
    for (const auto& [id, row] : core_.tables->segments()) {
      if (row.live_extents == 0) continue;
      ++report.segments;
      report.shards += row.placed.size();
      if (!row.finished) continue;  // still being written, here
      const auto file = core_.segments->find(id);
      const bool here = file && file->holds(0, row.bytes);
      if (row.has_attempt) report.unplaced += row.n - row.placed.size();
      const bool readable = here || (row.has_attempt && assess(row, known, bad).good >= row.k);
      const bool touched = std::any_of(row.placed.begin(), row.placed.end(), [&](const ShardHome& home) { return bad.contains({row.attempt, home}); });
      if (!readable) {
        lost.insert(id);
      } else if (touched) {
        weakened.insert(id);
      }
    }
  }
  report.lost_segments = lost.size();
  report.weakened_segments = weakened.size();
  if (lost.empty() && weakened.empty()) return {};
  if (auto r = committer_.apply(); !r) return r;
  auto index = core_.index->beside();
  if (!index) return fail(index.error());
  auto lost_files = files_in(**index, lost);
  if (!lost_files) return fail(lost_files.error());
  auto weakened_files = files_in(**index, weakened);
  if (!weakened_files) return fail(weakened_files.error());
  report.lost_files = std::move(*lost_files);
  if (weakened_files->count > 0) report.weakened_files = std::move(*weakened_files);
  return {};
}

}  // namespace atl
