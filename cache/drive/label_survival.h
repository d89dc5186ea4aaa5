// Which countries, operators, networks, ... may vanish, from the shards as they lie. Pure.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "cache/drive/types.h"
#include "cache/index/rows.h"

namespace atl {

/// One entry for each key of the nodes' labels, the most important first. A value survives if every segment in which
/// something lives keeps k shards on nodes that are neither lost nor of that value. Nodes without a label that others
/// have count as one value of it, "".
std::vector<LabelSurvival> survive_labels(const std::map<SegmentId, SegmentRow>& segments, const std::vector<NodeStatus>& nodes,
                                          const std::set<NodeId>& lost);

/// "all of any one country, ...", to be said behind what else is survived; empty if nothing is to be said of labels.
std::string labels_text(const std::vector<LabelSurvival>& labels);

}  // namespace atl
