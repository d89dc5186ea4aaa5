#include "cache/care/plan.h"

#include <algorithm>
#include <tuple>

#include "engine/base/mutant.h"

namespace atl {

SegmentHealth assess(const SegmentRow& row, const NodeFates& fates, const BadShards& bad) {
  SegmentHealth health;
  for (const ShardHome& home : row.placed) {
    const auto known = fates.find(home.node);
    const NodeFate fate = known == fates.end() ? NodeFate::lost : known->second;
    if (fate == NodeFate::lost || bad.contains({row.attempt, home})) {
      health.gone.push_back(home);
      continue;
    }
    switch (fate) {
      case NodeFate::leaving: health.leaving.push_back(home); [[fallthrough]];
      case NodeFate::present: ++health.good; break;
      case NodeFate::blinked: health.blinked.push_back(home); break;
      case NodeFate::away: health.away.push_back(home); break;
      case NodeFate::overdue: health.overdue.push_back(home); break;
      case NodeFate::lost: break;
    }
  }
  health.margin = static_cast<int>(health.good) - static_cast<int>(row.k);
  return health;
}

unsigned repair_below(std::uint8_t k, std::uint8_t protect_min, std::uint8_t n) {
  return n <= 12 ? n : std::max<unsigned>(protect_min, k + 2u);
}

CareJob plan_segment(SegmentId segment, const SegmentRow& row, const SegmentHealth& health, std::uint8_t protect_min) {
  CareJob job;
  job.segment = segment;
  job.attempt = row.attempt;
  job.margin = health.margin;
  job.move = health.leaving;
  if (health.margin < 0) return job;  // a leaving node still gives what it has; nothing can be rebuilt
  const int expected = health.margin + static_cast<int>(health.blinked.size());
  const auto take = [&job](const std::vector<ShardHome>& homes) { job.rebuild.insert(job.rebuild.end(), homes.begin(), homes.end()); };
  take(health.gone);
  const bool urgent = expected <= 1;
  if (urgent || health.good < repair_below(row.k, std::min(protect_min, row.n), row.n))
    if (!mutant("lost-shards-left")) take(health.overdue);
  if (urgent || mutant("grace-ignored")) take(health.away);
  std::sort(job.rebuild.begin(), job.rebuild.end());
  return job;
}

bool more_pressing(const CareJob& a, const CareJob& b) {
  return std::tuple(a.rebuild.empty(), a.margin, a.segment) < std::tuple(b.rebuild.empty(), b.margin, b.segment);
}

std::vector<CareJob> plan_repairs(const std::map<SegmentId, SegmentRow>& segments, const NodeFates& fates, const BadShards& bad,
                                  std::uint8_t protect_min) {
  std::vector<CareJob> jobs;
  for (const auto& [id, row] : segments) {
    if (!row.has_attempt || row.live_extents == 0 || row.placed.empty()) continue;
    CareJob job = plan_segment(id, row, assess(row, fates, bad), protect_min);
    if (!job.empty()) jobs.push_back(std::move(job));
  }
  std::sort(jobs.begin(), jobs.end(), more_pressing);
  return jobs;
}

}  // namespace atl
