#include "tests/sim/forks.h"

#include <algorithm>
#include <memory>

#include "tests/sim/computer.h"

namespace atl::sim {
namespace {

using namespace std::chrono_literals;

class Story {
 public:
  explicit Story(const RunOptions& options)
      : scheduler_(options.seed * 2 + 1), trace_(scheduler_.clock(), options.trace), random_(options.seed * 13 + 3), network_random_(options.seed * 17 + 5),
        keyring_(Keyring::generate(random_)), nodes_{scheduler_, trace_, network_random_, keyring_, {}, {}, {}, {}} {
    struct Choice {
      std::size_t nodes;
      Redundancy redundancy;
      std::uint8_t protect_min;
    };
    static const Choice choices[] = {{6, {3, 6}, 5}, {6, {2, 6}, 4}, {5, {2, 4}, 3}, {9, {3, 6}, 5}, {12, {4, 8}, 7}};
    const Choice& choice = choices[random_.below(std::size(choices))];
    redundancy_ = choice.redundancy;
    protect_min_ = choice.protect_min;
    for (std::size_t i = 0; i < choice.nodes; ++i) {
      nodes_.machines.push_back(std::make_unique<SimulatedNode>(network_random_, 4ull << 30));
      NodeSpec spec;
      spec.id = random_.id<NodeId>();
      spec.url = "simulated:" + std::to_string(i);
      nodes_.specs.push_back(std::move(spec));
      Distance distance;
      distance.latency = std::chrono::milliseconds(2 + random_.below(80));
      distance.jitter = std::chrono::milliseconds(1 + random_.below(400));
      distance.bytes_per_second = (1 + random_.below(40)) << 20;
      nodes_.distances.push_back(distance);
    }
    // Who is taken over may tell nodes of one more head between the other's survey and its claim, and remove what the other one
    // still rests on: only the grace keeps that apart. A day by default; more than a take-over takes, here.
    nodes_.options.gc_grace = 1min;
    for (const char* name : {"anna", "ben", "carl"}) computers_.push_back(std::make_unique<Computer>(nodes_, name, random_.u64()));
  }

  RunReport run(std::uint64_t kind) {
    RunReport report;
    try {
      scheduler_.run([&] { live(kind); });
      report.passed = true;
    } catch (const std::exception& problem) {
      report.why = problem.what();
    }
    report.hash = trace_.hash();
    report.events = trace_.events();
    report.simulated_seconds = static_cast<double>(scheduler_.now().time_since_epoch().count()) * 1e-9;
    report.nodes = nodes_.machines.size();
    report.operations = saves_;
    report.protections = ships_;
    return report;
  }

 private:
  Computer& anna() { return *computers_[0]; }
  Computer& ben() { return *computers_[1]; }
  Computer& carl() { return *computers_[2]; }

  void work(Computer& who) {
    for (std::uint64_t i = 0, n = 1 + random_.below(5); i < n; ++i) {
      saves_ += who.save() ? 1 : 0;
      scheduler_.sleep(Duration(static_cast<Duration::rep>(random_.below(3'000'000'000))));
    }
  }
  bool ship(Computer& who) {
    const bool done = who.ship(5min);
    ships_ += done ? 1 : 0;
    return done;
  }
  void must_ship(Computer& who, const char* what) {
    for (int tries = 0; !ship(who); ++tries) {
      if (tries == 6) throw Violation(std::string(what) + ": it does not become protected");
      scheduler_.sleep(10s);
    }
  }
  void await(const char* what, const std::function<bool()>& ready) {
    const MonotonicTime deadline = scheduler_.now() + 20min;
    while (!ready()) {
      if (scheduler_.now() >= deadline) throw Violation(std::string("it never happens that ") + what);
      scheduler_.sleep(1s);
    }
  }
  /// `count` of the nodes.
  std::set<std::size_t> some(std::size_t count) {
    std::set<std::size_t> chosen;
    while (chosen.size() < count) chosen.insert(random_.below(nodes_.machines.size()));
    return chosen;
  }
  std::set<std::size_t> others(const std::set<std::size_t>& nodes) {
    std::set<std::size_t> rest;
    for (std::size_t i = 0; i < nodes_.machines.size(); ++i)
      if (!nodes.contains(i)) rest.insert(i);
    return rest;
  }

  /// Each file is in the drive as it was saved: at its place or in a folder of what was recovered.
  void check_kept(const Computer::Files& drive, const Computer::Files& files, const char* whose) {
    for (const auto& [name, content] : files) {
      const bool kept = std::any_of(drive.begin(), drive.end(), [&, &wanted = name, &bytes = content](const auto& file) {
        return file.second == bytes && (file.first == wanted || (file.first.starts_with("Recovered from ") && file.first.ends_with("/" + wanted)));
      });
      if (!kept) throw Violation(std::string(whose) + " saved \"" + name + "\", and the drive does not have it");
    }
  }
  void must_be_fenced(Computer& who) {
    await("who was replaced finds out", [&] { return who.state() == DriveState::fenced; });
    if (who.save()) throw Violation("a fenced drive takes changes");
  }
  void take_over(Computer& who, Computer& from) {
    const auto taken = who.take_over();
    if (!taken) throw Violation("a take-over fails: " + taken.error().what);
    if (!taken->brought.partly.empty()) throw Violation("a take-over does not bring all");
    who.open();
    must_ship(who, "after a take-over");
    must_be_fenced(from);
  }

  /// The one whose drive it is, and what must be in it.
  void end(Computer& owner, const std::vector<std::pair<const char*, Computer::Files>>& kept) {
    must_ship(owner, "at the end");
    for (int tries = 0;; ++tries) {
      const auto collected = owner.drive().collect_garbage(true, {});
      // Who was taken over from told nodes of one more head between the survey and the claim: that is a fork as well.
      const bool late_head = collected ? owner.counter("forks_seen") != 0 : collected.error().code == Code::fenced;
      if (collected && !late_head) break;
      if (late_head && tries < 3) {
        owner.close();
        if (const auto brought = owner.bring_fork(); !brought) throw Violation("a late head cannot be brought: " + brought.error().what);
        owner.open();
        must_ship(owner, "after a late head");
        continue;
      }
      if (collected) break;
      if (tries == 30) throw Violation("garbage stays though all nodes are there: " + collected.error().what);
      scheduler_.sleep(10s);
    }
    if (owner.counter("forks_seen") != 0) throw Violation("a fork that was resolved is still told of");
    (void)owner.drive().drop_cache();
    const auto here = owner.everything(10min);
    for (const auto& [whose, files] : kept) check_kept(here, files, whose);
    owner.close();
    owner.check_digest();
    // And the same once more, from the nodes alone.
    Computer last(nodes_, "last", random_.u64());
    if (auto recovered = last.recover(); !recovered) throw Violation("the drive does not come back from its nodes: " + recovered.error().what);
    last.open();
    const auto there = last.everything(10min);
    for (const auto& [whose, files] : kept) check_kept(there, files, whose);
    last.close();
    last.check_digest();
  }

  void live(std::uint64_t kind) {
    anna().create(redundancy_, protect_min_);
    anna().open();
    work(anna());
    must_ship(anna(), "a fresh drive");
    scheduler_.sleep(2min);  // all nodes have it
    base_ = anna().saved;
    anna().saved.clear();
    anna().shipped.clear();
    switch (kind) {
      case 0: return same_moment();
      case 1: return two_halves();
      case 2: return wakes_up();
      default: return fork();
    }
  }

  /// The computer is lost, and two others recover the drive at one moment: one goes on, the other is told, and takes it over.
  void same_moment() {
    anna().lose_power();
    std::optional<Result<EpochClaim>> claims[2];
    for (std::size_t i = 0; i < 2; ++i) {
      const Duration delay(static_cast<Duration::rep>(random_.below(2) == 0 ? 0 : random_.below(300'000'000)));
      scheduler_.post([this, i, delay, &claims] {
        scheduler_.sleep(delay);
        claims[i] = computers_[i + 1]->recover();
      });
    }
    await("both have an answer", [&] { return claims[0] && claims[1]; });
    for (const auto& claim : claims)
      if (!*claim && claim->error().code != Code::fenced) throw Violation("a recovery fails: " + claim->error().what);
    // Who came later may have seen the claim of the first one, and taken the drive over from there.
    std::vector<Computer*> both;
    for (std::size_t i = 0; i < 2; ++i)
      if (*claims[i]) both.push_back(computers_[i + 1].get());
    if (both.empty()) throw Violation("two recover at one moment, and none may go on");
    if (both.size() == 2 && (*claims[0])->epoch == (*claims[1])->epoch) throw Violation("two computers own one epoch");
    if (both.size() == 2 && (*claims[0])->epoch > (*claims[1])->epoch) std::swap(both[0], both[1]);
    Computer& winner = *both.back();
    winner.open();
    if (both.size() == 2) {
      both.front()->open();
      must_be_fenced(*both.front());
    }
    work(winner);
    must_ship(winner, "of two recoveries");
    end(winner, {{"all", base_}, {"the winner", winner.saved}});
  }

  /// Both recover, each on its part of the nodes, and go on; when they meet one is fenced, and takes over what it saved.
  void two_halves() {
    anna().lose_power();
    const std::size_t count = nodes_.machines.size();
    const auto first = some(count / 2 + (count % 2 == 1 && random_.below(2) == 0 ? 1 : 0));
    ben().reach(first);
    carl().reach(others(first));
    for (Computer* who : {&ben(), &carl()}) {
      auto claim = who->recover();
      if (!claim) throw Violation("a recovery on a part of the nodes fails: " + claim.error().what);
      who->open();
      work(*who);
      (void)who->ship(1min);  // where it is a majority
    }
    for (Computer* who : {&ben(), &carl()}) {
      if (random_.below(3) == 0) {
        who->lose_power();
        who->open();
      }
      who->reach_all();
    }
    await("one of two is fenced", [&] { return ben().state() == DriveState::fenced || carl().state() == DriveState::fenced; });
    Computer& owner = ben().state() == DriveState::fenced ? carl() : ben();
    Computer& loser = &owner == &ben() ? carl() : ben();
    must_ship(owner, "who goes on of two");
    if (owner.state() != DriveState::ready) throw Violation("both are fenced");
    must_be_fenced(loser);
    work(owner);
    must_ship(owner, "who goes on of two");
    const auto theirs = owner.saved;
    loser.close();
    take_over(loser, owner);
    owner.close();
    work(loser);
    end(loser, {{"all", base_}, {"who went on", theirs}, {"who was fenced", loser.saved}});
  }

  /// The old computer was away, and saved; another one took over meanwhile. It wakes up, is fenced, and takes over.
  void wakes_up() {
    anna().reach({});
    work(anna());
    auto claim = ben().recover();
    if (!claim) throw Violation("a recovery fails: " + claim.error().what);
    ben().open();
    work(ben());
    must_ship(ben(), "the new owner");
    anna().reach_all();
    must_be_fenced(anna());
    if (!anna().drive().status().untold || anna().drive().status().untold->files == 0) throw Violation("what was not told is not offered");
    const auto hers = anna().saved;
    if (random_.below(2) == 0) {
      anna().lose_power();
    } else {
      anna().close();
    }
    take_over(anna(), ben());
    const auto his = ben().saved;
    ben().close();
    end(anna(), {{"all", base_}, {"the old computer", hers}, {"the new owner", his}});
  }

  /// The old computer told most nodes of more; another one takes over from what the others knew. The fork is seen and kept, and
  /// the old computer, or the new owner where that one is lost, brings both together.
  void fork() {
    const std::size_t count = nodes_.machines.size();
    const std::size_t needed = std::max<std::size_t>(count / 2 + 1, protect_min_);
    const auto few = some(1 + random_.below(count - needed));
    anna().reach(others(few));
    scheduler_.sleep(30s);
    work(anna());
    must_ship(anna(), "on most nodes");
    const auto hers = anna().shipped;
    const bool lost = random_.below(2) == 0;
    if (lost || random_.below(2) == 0) {
      anna().lose_power();
    } else {
      anna().close();
    }
    ben().reach(few);
    auto claim = ben().recover();
    if (!claim) throw Violation("a recovery on a few nodes fails: " + claim.error().what);
    ben().open();
    work(ben());
    ben().reach_all();
    await("the fork is seen", [&] { return ben().counter("forks_seen") != 0; });
    if (random_.below(2) == 0) {  // it is not forgotten
      ben().lose_power();
      ben().open();
    }
    for (int i = 0; i < 4; ++i) {
      work(ben());
      must_ship(ben(), "beside a fork");
      scheduler_.sleep(1min);
    }
    if (ben().counter("forks_seen") == 0) throw Violation("a fork is forgotten");
    if (ben().counter("objects_removed") != 0) throw Violation("something is removed though a fork stands");
    const auto his = ben().saved;
    if (lost) {
      ben().close();
      const auto brought = ben().bring_fork();
      if (!brought) throw Violation("a fork cannot be brought: " + brought.error().what);
      if (!brought->brought.partly.empty()) throw Violation("a fork cannot be read whole");
      ben().open();
      end(ben(), {{"all", base_}, {"the lost computer", hers}, {"the owner", his}});
    } else {
      anna().reach_all();
      anna().open();
      must_be_fenced(anna());
      anna().close();
      take_over(anna(), ben());
      ben().close();
      end(anna(), {{"all", base_}, {"the old computer", hers}, {"the new owner", his}});
    }
  }

  Scheduler scheduler_;
  Trace trace_;
  SeededRandom random_;
  SeededRandom network_random_;
  Keyring keyring_;
  Nodes nodes_;
  Redundancy redundancy_;
  std::uint8_t protect_min_ = 0;
  std::vector<std::unique_ptr<Computer>> computers_;
  Computer::Files base_;
  std::uint64_t saves_ = 0;
  std::uint64_t ships_ = 0;
};

}  // namespace

RunReport simulate_forks(const RunOptions& options) {
  // Not destroyed after a failure: what waits in it never goes on.
  auto story = std::make_unique<Story>(options);
  RunReport report = story->run(options.seed % 4);
  if (!report.passed) (void)story.release();
  return report;
}

}  // namespace atl::sim
