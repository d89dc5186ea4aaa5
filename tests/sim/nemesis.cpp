#include "tests/sim/nemesis.h"

namespace atl::sim {

using namespace std::chrono_literals;

Nemesis::Nemesis(World& world) : world_(world), random_(world.shape().seed * 77 + 13) {
  const std::size_t may_fail = world.shape().protect_min - world.shape().redundancy.k;
  // Not all nodes that may fail do in every run, since then little else would be seen.
  const std::size_t wanted = may_fail == 0 ? 0 : random_.below(may_fail + 1);
  draw_untrusted(wanted);
}

void Nemesis::draw_untrusted(std::size_t wanted) {
  wanted = std::min(wanted, world_.count() - written_off_.size());
  while (untrusted_.size() < wanted) {
    const auto node = static_cast<std::size_t>(random_.below(world_.count()));
    // Who owns one owns its neighbour as well: they go together.
    const bool both = random_.below(2) == 0;
    for (std::size_t i = both ? node / 2 * 2 : node; i <= (both ? node / 2 * 2 + 1 : node); ++i)
      if (i < world_.count() && untrusted_.size() < wanted && !written_off_.contains(i)) untrusted_.insert(i);
  }
}

void Nemesis::write_off(const std::function<bool(std::size_t node)>& empty) {
  const std::size_t wanted = untrusted_.size();
  for (auto it = untrusted_.begin(); it != untrusted_.end();) {
    if (!gone(*it) || !empty(*it)) {
      ++it;
      continue;
    }
    world_.note("node " + std::to_string(*it) + " is written off");
    written_off_.insert(*it);
    it = untrusted_.erase(it);
  }
  draw_untrusted(wanted);
}

void Nemesis::cut_off(const std::vector<std::size_t>& nodes) {
  for (const std::size_t node : nodes) world_.node(node).faults.partitioned = true;
}

std::size_t Nemesis::honest() {
  for (;;) {
    const auto node = static_cast<std::size_t>(random_.below(world_.count()));
    if (!untrusted_.contains(node) && !written_off_.contains(node)) return node;
  }
}

void Nemesis::rage(const bool& stop) {
  while (!stop) {
    world_.scheduler.sleep(Duration(static_cast<Duration::rep>(random_.below(static_cast<std::uint64_t>(2 * pause_between.count())))));
    if (stop) return;
    if (paused_) continue;
    if (random_.below(4) == 0) {
      heal();
    } else {
      strike();
    }
  }
}

bool Nemesis::may_leave() const {
  std::size_t gone = 1;
  for (std::size_t i = 0; i < world_.count(); ++i) gone += world_.node(i).faults.gone ? 1 : 0;
  return world_.count() - gone >= world_.shape().redundancy.n;
}

void Nemesis::betray() {
  for (const std::size_t victim : untrusted_) {
    SimulatedNode& node = world_.node(victim);
    switch (random_.below(4)) {
      case 0: node.faults.garbage = true; break;
      case 1: node.faults.forgets = true; break;
      case 2: node.faults.swaps = true; break;
      default: node.faults.gone = true;
    }
    world_.note("node " + std::to_string(victim) + " cannot be relied on at all");
  }
}

void Nemesis::strike() {
  ++strikes;
  const std::size_t victim = honest();
  SimulatedNode& node = world_.node(victim);
  const std::string name = std::to_string(victim);
  switch (random_.below(14)) {
    case 0:
      world_.note("node " + name + " is down");
      node.faults.down = true;
      break;
    case 1:
      world_.note("node " + name + " is cut off");
      node.faults.partitioned = true;
      break;
    case 2:
      world_.note("node " + name + " freezes");
      node.faults.frozen = true;
      break;
    case 3:
      world_.note("node " + name + " is slow");
      node.faults.slowness = 10 + static_cast<double>(random_.below(90));
      break;
    case 4:
      world_.note("the way to node " + name + " loses messages");
      node.faults.loss = 0.3;
      break;
    case 5:
      world_.note("node " + name + " is full");
      node.set_capacity(node.used() + random_.below(100'000));
      break;
    case 6:
    case 7:
      world_.note("node " + name + " crashes and is back");
      node.crash();
      break;
    case 8:
      world_.note("the disk of node " + name + " fails now and then");
      node.faults.unreliable_disk = true;
      break;
    case 9:
      strike_country();
      break;
    case 10:
      strike_computer();
      break;
    default:
      strike_untrusted();
  }
}

void Nemesis::strike_country() {
  const std::string country = "c" + std::to_string(random_.below(world_.shape().countries));
  const bool cut = random_.below(2) == 0;
  world_.note("all of country " + country + (cut ? " is cut off" : " loses its power"));
  for (std::size_t i = 0; i < world_.count(); ++i) {
    if (world_.spec(i).labels.at("country") != country) continue;
    SimulatedNode& node = world_.node(i);
    if (!cut) node.crash();
    (cut ? node.faults.partitioned : node.faults.down) = true;
  }
}

void Nemesis::strike_untrusted() {
  if (untrusted_.empty()) return;
  const std::size_t victim = *std::next(untrusted_.begin(), static_cast<std::ptrdiff_t>(random_.below(untrusted_.size())));
  SimulatedNode& node = world_.node(victim);
  const std::string name = std::to_string(victim);
  switch (random_.below(8)) {
    case 0:
      world_.note("node " + name + " answers with other bytes");
      node.faults.garbage = true;
      break;
    case 1:
      world_.note("node " + name + " swaps objects");
      node.faults.swaps = true;
      break;
    case 2:
      world_.note("node " + name + " answers with half");
      node.faults.truncates = true;
      break;
    case 3:
      world_.note("node " + name + " says that it holds nothing");
      node.faults.forgets = true;
      break;
    case 4:
      world_.note("node " + name + " is backed up");
      node.remember();
      break;
    case 5:
      world_.note("the disk of node " + name + " is restored from its backup");
      node.roll_back();
      break;
    case 6:
      if (!may_leave()) break;
      // With all that its owner has, where that may be.
      for (const std::size_t one : {victim, victim ^ 1}) {
        if ((one != victim && random_.below(2) == 0) || !untrusted_.contains(one) || gone(one) || !may_leave()) continue;
        world_.note("node " + std::to_string(one) + " leaves for ever");
        world_.node(one).faults.gone = true;
      }
      break;
    default:
      world_.note("an object on node " + name + " rots");
      for (int i = 0; i < 5; ++i) node.rot();
  }
}

void Nemesis::strike_computer() {
  // Five years back or ten ahead, or an hour of suspend.
  switch (random_.below(3)) {
    case 0:
      world_.note("the wall clock jumps ten years ahead");
      world_.scheduler.step_wall(std::int64_t{10} * 365 * 86'400);
      break;
    case 1:
      world_.note("the wall clock jumps five years back");
      world_.scheduler.step_wall(std::int64_t{-5} * 365 * 86'400);
      break;
    default:
      world_.note("the computer is suspended for an hour");
      world_.scheduler.jump(1h);
  }
}

void Nemesis::heal() {
  world_.note("the network heals");
  for (std::size_t i = 0; i < world_.count(); ++i) {
    SimulatedNode& node = world_.node(i);
    const SimulatedNode::Faults before = node.faults;
    node.faults = {};
    node.faults.weak = before.weak;
    node.faults.gone = before.gone;
    node.faults.garbage = before.garbage;
    node.faults.swaps = before.swaps;
    node.faults.truncates = before.truncates;
    node.faults.forgets = before.forgets;
    node.set_capacity(world_.shape().node_capacity);
  }
}

void Nemesis::redeem() {
  heal();
  for (std::size_t i = 0; i < world_.count(); ++i) {
    SimulatedNode& node = world_.node(i);
    const SimulatedNode::Faults before = node.faults;
    node.faults = {};
    node.faults.weak = before.weak;
    node.faults.gone = before.gone;
  }
}

}  // namespace atl::sim
