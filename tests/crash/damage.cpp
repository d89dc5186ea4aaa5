// Damage to files of the state folder and to objects on nodes: healed where there is redundancy, else told, never wrong
// bytes.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

#include "tests/crash/crash_states.h"
#include "tests/crash/world.h"

namespace atl::crash {
namespace {

constexpr std::size_t header_bytes = 128;
constexpr std::size_t block_bytes = 512;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// Whether each name is there with the right bytes, or with an error; `whole` if without any.
std::string compare(const std::string& tree, const std::string& right, bool& whole) {
  whole = tree == right;
  if (whole) return "";
  std::map<std::string, std::string> expected;
  for (const std::string& line : lines_of(right)) expected[line.substr(0, line.find(' '))] = line;
  for (const std::string& line : lines_of(tree)) {
    const std::string name = line.substr(0, line.find(' '));
    const auto found = expected.find(name);
    if (found == expected.end() && line.find('!') == std::string::npos) return "a name that was never there: " + line;
    if (found == expected.end()) continue;
    if (line != found->second && line.find('!') == std::string::npos) return "wrong: " + line + "\n    right: " + found->second;
    expected.erase(found);
  }
  // Below a folder that cannot be read nothing is listed.
  if (!expected.empty() && tree.find('!') == std::string::npos) return "a name is gone without a word: " + expected.begin()->second;
  return "";
}

/// A change of a file's bytes, and what to call it.
using Change = std::pair<std::string, std::function<void(Bytes&)>>;

std::vector<Change> changes_of(const Bytes& content, std::uint64_t seed) {
  std::vector<Change> changes;
  // Files that were made longer than what is in them: of the empty rest, the first blocks.
  std::size_t used = content.size();
  while (used > 0 && content[used - 1] == 0) --used;
  used = std::min(content.size(), used + 4 * block_bytes);
  const auto flip = [](std::size_t at) { return [at](Bytes& bytes) { bytes[at] ^= 0x40; }; };
  for (std::size_t at = 0; at < std::min(content.size(), header_bytes); ++at) changes.emplace_back("flip of byte " + std::to_string(at), flip(at));
  for (std::size_t at = 0; at < used; at += block_bytes) {
    const std::size_t end = std::min(content.size(), at + block_bytes);
    changes.emplace_back("flip in block at " + std::to_string(at), flip(at + seed % (end - at)));
    changes.emplace_back("noise in block at " + std::to_string(at), [at, end, seed](Bytes& bytes) {
      const Bytes noise = SeededRandom(seed + at).bytes(end - at);
      std::ranges::copy(noise, bytes.begin() + static_cast<std::ptrdiff_t>(at));
    });
    changes.emplace_back("zeros in block at " + std::to_string(at), [at, end](Bytes& bytes) {
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(end), std::uint8_t{0});
    });
    changes.emplace_back("cut to " + std::to_string(at), [at](Bytes& bytes) { bytes.resize(at); });
  }
  if (!content.empty()) changes.emplace_back("cut by a byte", [](Bytes& bytes) { bytes.pop_back(); });
  return changes;
}

class Damager {
 public:
  Damager(unsigned part, unsigned parts, std::string program, CrashTally& tally)
      : part_(part), parts_(parts), program_(std::move(program)), tally_(tally) {
    // Some of it is on nodes, some of it only here.
    World world(World::base(true));
    if (!world.open()) throw std::runtime_error("the base does not open");
    for (const char* kind : {"overwrite", "setxattr", "commit"})
      if (world.perform(kind, 3) != World::Outcome::done) throw std::runtime_error("the base takes no changes");
    right_ = world.describe();
    if (!world.close()) throw std::runtime_error("the base does not close");
    base_ = world.remains_after(world.disk().clone());
  }

  void local_files() {
    const auto files = base_.disk->snapshot();
    for (const auto& [path, content] : files) {
      for (const auto& [what, change] : changes_of(content, 77)) {
        if (!mine()) continue;
        Bytes changed = content;
        change(changed);
        if (changed != content) try_local(path + ": " + what, {{path, changed}});
      }
      for (const auto& [other, bytes] : files) {
        if (other <= path || other.substr(0, other.rfind('/')) != path.substr(0, path.rfind('/'))) continue;
        if (mine()) try_local(path + " and " + other + " swapped", {{path, bytes}, {other, content}});
      }
    }
  }

  void objects() {
    const auto& held = base_.nodes.front().objects;
    for (const auto& [name, content] : held) {
      for (const auto& [what, change] : changes_of(content, 78)) {
        if (!mine()) continue;
        Bytes changed = content;
        change(changed);
        if (changed == content) continue;
        Nodes nodes = base_.nodes;
        nodes.front().objects[name] = changed;
        try_nodes("object " + name + " on one node: " + what, nodes, true);
      }
      for (const auto& [other, bytes] : held) {
        if (other <= name || !mine()) continue;
        Nodes nodes = base_.nodes;
        std::swap(nodes.front().objects[name], nodes.front().objects[other]);
        try_nodes("objects " + name + " and " + other + " of one node swapped", nodes, true);
      }
    }
    // The same damage on every node: nothing can heal that, and nothing may hide it.
    std::size_t most = 0;
    for (const auto& node : base_.nodes)
      for (const auto& [name, content] : node.objects) most = std::max(most, content.size());
    for (std::size_t at = 0; at < most; at += block_bytes) {
      if (!mine()) continue;
      Nodes nodes = base_.nodes;
      for (auto& node : nodes)
        for (auto& [name, content] : node.objects)
          if (at < content.size()) content[at + 5 % (content.size() - at)] ^= 1;
      try_nodes("every object on every node: flip in block at " + std::to_string(at), nodes, false);
    }
  }

 private:
  bool mine() { return number_++ % parts_ == part_; }

  void report(const std::string& what, const std::string& problem) {
    ++tally_.failures;
    if (tally_.failures <= 10)
      std::printf("FAIL damage: %s\n    %s\n    repeat: %s damage --case %llu\n", what.c_str(), problem.c_str(), program_.c_str(),
                  static_cast<unsigned long long>(number_ - 1));
    std::fflush(stdout);
  }

  void try_local(const std::string& what, const std::vector<std::pair<std::string, Bytes>>& files) {
    ++tally_.states;
    auto disk = base_.disk->clone();
    for (const auto& [path, bytes] : files) {
      disk->cut(path, 0);
      disk->damage(path, 0, bytes);
    }
    const bool index = files.front().first.find("/index.db") != std::string::npos;
    const bool copies = files.front().first.find("/cache/") != std::string::npos;
    World world({std::move(disk), base_.nodes});
    try {
      bool whole = false;
      // A damaged index is met at opening or at the first read, and mends itself at the next mount.
      for (int mounts = 0; mounts < 3 && !whole; ++mounts) {
        if (!world.open()) continue;
        if (auto problem = compare(world.describe(), right_, whole); !problem.empty()) return report(what, problem);
        if (!whole) (void)world.close();
      }
      if (!whole && (index || copies)) report(what, "it can be made again, and is not");
    } catch (const std::exception& error) {
      report(what, error.what());
    }
  }

  void try_nodes(const std::string& what, const Nodes& nodes, bool must_heal) {
    ++tally_.states;
    World world({base_.disk->clone(), nodes});
    try {
      if (auto opened = world.open(); !opened) return report(what, opened.error().what);
      if (auto dropped = world.drive().drop_cache(); !dropped) return report(what, dropped.error().what);
      bool whole = false;
      if (auto problem = compare(world.describe(), right_, whole); !problem.empty()) return report(what, problem);
      if (!whole && must_heal) report(what, "the other nodes have everything, and it is not read from them\n" + world.describe());
    } catch (const std::exception& error) {
      report(what, error.what());
    }
  }

  const unsigned part_, parts_;
  const std::string program_;
  CrashTally& tally_;
  Remains base_;
  std::string right_;
  std::uint64_t number_ = 0;
};

}  // namespace

CrashTally try_damage(unsigned part, unsigned parts, const std::string& program) {
  CrashTally tally;
  Damager damager(part, parts, program, tally);
  damager.local_files();
  damager.objects();
  return tally;
}

}  // namespace atl::crash
