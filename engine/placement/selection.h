// The choice behind placement: how many nodes of each kind, so that no failure domain holds more shards than may be
// lost. A pure function; exact for one and two keys, which are a flow; for more keys, where the problem is as hard as
// three-dimensional matching, exact on small cases and a good effort on large ones.
//
// The cost that is minimised compares, in this order: for each key in turn, by how many shards its values exceed the
// limit, all values added up; then how unevenly all keys' values are loaded (the sum of squares); then the nodes' own
// cost. Sources: Tahoe-LAFS's "servers of happiness" for placement as matching; the flow is found by successive
// shortest paths (Ahuja, Magnanti, Orlin, "Network Flows", 9.7), with one unit of an edge for each step of a convex cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace atl {

struct Selection {
  /// Nodes that differ in nothing that matters. `costs`: of each, lowest first; the first ones are chosen first.
  struct Kind {
    std::vector<std::size_t> values;  // one for each key: an index into loads[key]
    std::vector<std::uint32_t> costs;  // each below 256
  };
  std::vector<std::vector<std::size_t>> loads;  // [key][value]: shards that lie there already; keys by importance
  std::vector<Kind> kinds;
  std::size_t count = 0;  // nodes to choose; at most as many as there are
  std::size_t limit = 0;  // shards that a value may hold
};

/// How many nodes of each kind. They add up to `count`.
std::vector<std::size_t> select_nodes(const Selection& selection);

}  // namespace atl
