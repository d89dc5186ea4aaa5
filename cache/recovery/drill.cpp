#include "cache/recovery/drill.h"

#include <algorithm>
#include <set>

namespace atl {
namespace {

/// Asks for a leaf of each shard of the segments that hold these files; the least good shards above k.
Result<std::optional<std::uint64_t>> ask_shards(Drive& drive, const std::vector<InodeNumber>& files, std::uint8_t k, const DrillOptions& options,
                                                DrillReport& report, const std::stop_token& stop) {
  std::set<SegmentId> asked;
  std::optional<std::uint64_t> margin;
  for (const InodeNumber inode : files) {
    if (stop.stop_requested()) return fail(Code::cancelled, "the drill was interrupted");
    if (!options.compare.all && asked.size() >= options.segments_asked) break;
    const auto lies_in = drive.inspect(inode, false);
    if (!lies_in) return fail(lies_in.error());
    const bool fresh = std::any_of(lies_in->segments.begin(), lies_in->segments.end(), [&](const SegmentReport& segment) { return !asked.contains(segment.segment); });
    if (!fresh) continue;
    const auto verified = drive.inspect(inode, true);
    if (!verified) return fail(verified.error());
    for (const SegmentReport& segment : verified->segments) {
      if (!asked.insert(segment.segment).second) continue;
      std::uint64_t good = 0;
      for (const ShardReport& shard : segment.shards) {
        good += shard.mac_state == "valid";
        report.bad_shards += shard.mac_state == "bad" || shard.mac_state == "missing";
      }
      const std::uint64_t here = good > k ? good - k : 0;
      margin = std::min(margin.value_or(here), here);
    }
  }
  report.segments_asked = asked.size();
  return margin;
}

}  // namespace

Result<DrillReport> run_drill(DriveSeams seams, const std::string& directory, Drive& live, const Keyring& keyring, Engine& engine,
                              const std::vector<NodeSpec>& nodes, const DrillOptions& options,
                              const std::function<void(const DrillReport&)>& progress, std::stop_token stop) {
  DrillReport report;
  report.at = seams.clock.wall_now();
  report.all = options.compare.all;
  const MonotonicTime begun = seams.clock.now();
  const auto stopped = [&] { return stop.stop_requested(); };
  auto survey = survey_heads(seams, engine, nodes, keyring, options.patience);
  if (!survey) return fail(survey.error());
  report.answers = survey->answers;
  if (!survey->head) {
    std::string why;
    for (const HeadAnswer& answer : survey->answers) why += "\n  " + answer.node.url + ": " + std::string(to_string(answer.standing)) + (answer.why.empty() ? "" : ", " + answer.why);
    return fail(Code::too_few_nodes, "none of the " + std::to_string(nodes.size()) + " nodes gives the drive's state; it would not come back now:" + why,
                "bring nodes back; if the drive is new, `atoll sync` first");
  }
  const Head& head = *survey->head;
  report.epoch = head.epoch;
  report.generation = head.generation;
  if (stopped()) return fail(Code::cancelled, "the drill was interrupted");
  if (auto rebuilt = rebuild_state(seams, directory, engine, head, keyring, nodes, options.patience, {}); !rebuilt) return fail(rebuilt.error());
  DriveOptions read_only;
  read_only.read_only = true;
  auto opened = Drive::open(seams, directory, keyring, read_only);
  if (!opened) return fail(opened.error());
  const std::unique_ptr<Drive> copy = std::move(*opened);
  copy->start(engine);
  if (auto listed = copy->list_directory(root_inode, 2, false, [](const DirectoryEntry&) { return false; }); !listed) return fail(listed.error());
  report.until_list = seams.clock.now() - begun;
  const DriveStatus status = copy->status();
  report.files = status.files;

  const HistoryPoint point = HistoryPoint::of(head);
  auto known = changes_since(live, point);
  if (!known) return fail(known.error());
  Comparison comparison(live, *copy, seams.random, options.compare, stop);
  auto walked = comparison.run(*known, [&](const Comparison::Seen& seen) {
    report.compared = seen;
    if (progress) progress(report);
  });
  if (!walked) return fail(walked.error());
  report.compared = comparison.seen();
  // Whatever changed here while the trees were walked is told by the journal now.
  auto lost = changes_since(live, point);
  if (!lost) return fail(lost.error());
  report.differences = comparison.unexplained(*lost, report.more_differences);
  if (!lost->untold.complete)
    report.differences.insert(report.differences.begin(), Comparison::Difference{"/", "the newest state on the nodes that answer (epoch " + std::to_string(head.epoch) + ", generation " +
                                                                                     std::to_string(head.generation) + ") is not one that this computer's journal goes back to"});
  report.lost = std::move(*lost);
  if (report.lost.oldest) {
    const std::int64_t age = seams.clock.wall_now().seconds - report.lost.oldest->seconds;
    report.lost_seconds = age > 0 ? static_cast<std::uint64_t>(age) : 0;
  }

  auto margin = ask_shards(*copy, comparison.sampled(), status.redundancy.k, options, report, stop);
  if (!margin) return fail(margin.error());
  // The drive comes back as long as one node has its metadata and every segment k shards.
  const std::size_t holders = survey->count(HeadAnswer::Standing::newest);
  std::uint64_t survives = holders - 1;
  if (status.stored_bytes > 0) survives = std::min<std::uint64_t>(survives, status.survives.any);
  if (*margin) survives = std::min(survives, **margin);
  report.survives = static_cast<std::uint32_t>(survives);
  report.took = seams.clock.now() - begun;
  if (auto closed = copy->close(std::chrono::seconds(10)); !closed) return fail(closed.error());
  return report;
}

}  // namespace atl
