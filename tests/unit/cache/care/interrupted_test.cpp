// The power goes at every single step of what care does: each change to the computer's disk, each object that a node has
// stored or removed. Nothing is lost, nothing is left on nodes that no record names, and the work comes to its end.
#include <functional>

#include "cache/drive/node_list.h"
#include "tests/support/effort.h"
#include "tests/unit/cache/care/cared.h"

using namespace atl;
using std::chrono::minutes;

namespace {

/// The computer's line to its nodes, which is cut when a node has just stored or removed its N-th object: nobody hears of it.
class Line final : public Engine {
 public:
  Line(FakeEngine& nodes, Runtime& runtime) : nodes_(nodes), runtime_(runtime) {}

  std::uint64_t changes = 0;
  std::uint64_t cut_at = 0;  // 0: never
  std::function<void()> on_cut;

  void close() override {}
  std::shared_ptr<Transfer> upload(UploadRequest request) override {
    if (cut_) return refuse([done = request.done] { done(gone()); });
    request.on_stored = [this, tell = request.on_stored](ShardHome home) {
      if (!changed()) tell(home);
    };
    request.done = [this, tell = request.done](Result<> result) { tell(cut_ ? gone() : result); };
    return nodes_.upload(std::move(request));
  }
  std::shared_ptr<Transfer> fetch(FetchRequest request) override {
    if (cut_) return refuse([done = request.done] { done(gone()); });
    return nodes_.fetch(std::move(request));
  }
  void put(NodeId node, std::string name, std::shared_ptr<const Bytes> body, std::function<void(Result<>)> done) override {
    if (cut_) return runtime_.post([done] { done(gone()); });
    nodes_.put(node, std::move(name), std::move(body), [this, done](Result<> result) { done(changed() ? gone() : result); });
  }
  void remove(NodeId node, std::vector<std::string> names, std::function<void(Result<std::size_t>)> done) override {
    if (cut_) return runtime_.post([done] { done(gone()); });
    nodes_.remove(node, std::move(names), [this, done](Result<std::size_t> result) {
      if (changed()) return done(gone());
      done(result);
    });
  }
  void list(NodeId node, std::string prefix, std::string after, std::size_t limit,
            std::function<void(Result<std::vector<std::string>>)> done) override {
    if (cut_) return runtime_.post([done] { done(gone()); });
    nodes_.list(node, std::move(prefix), std::move(after), limit, std::move(done));
  }
  void stat(NodeId node, std::string name, std::function<void(Result<ObjectStat>)> done) override {
    if (cut_) return runtime_.post([done] { done(gone()); });
    nodes_.stat(node, std::move(name), std::move(done));
  }
  Result<> set_nodes(std::vector<NodeSpec> specs) override { return nodes_.set_nodes(std::move(specs)); }
  std::vector<NodeStatus> nodes() const override { return nodes_.nodes(); }
  EngineCounters counters() const override { return nodes_.counters(); }
  void on_node_change(std::function<void()> callback) override { nodes_.on_node_change(std::move(callback)); }

 private:
  static tl::unexpected<Error> gone() { return fail(Code::unavailable, "the line is cut"); }
  struct Nothing final : Transfer {
    void cancel() override {}
  };
  std::shared_ptr<Transfer> refuse(std::function<void()> tell) {
    runtime_.post(std::move(tell));
    return std::make_shared<Nothing>();
  }
  /// True from the cut on.
  bool changed() {
    if (++changes == cut_at) {
      cut_ = true;
      on_cut();
    }
    return cut_;
  }

  FakeEngine& nodes_;
  Runtime& runtime_;
  bool cut_ = false;
};

struct Work {
  const char* name;
  Redundancy redundancy;
  std::function<void(Cared&)> prepare;
  std::function<void(Cared&)> begin;   // may be cut short
  std::function<void(Cared&)> finish;  // after the next mount; checks what came of it
};

DriveOptions impatient() {
  DriveOptions with = prompt_options();
  with.repair_grace = minutes(10);
  return with;
}

NodeId id_of(Cared& f, std::size_t node) { return f.engine.all()[node].spec.id; }

Work repair() {
  return {"a repair", {3, 6},
          [](Cared& f) {
            auto& node = f.engine.all()[f.a_home()];
            node.absent = true;
            node.objects.clear();
            f.engine.changed();
            f.step(minutes(9));
          },
          [](Cared& f) { f.step(minutes(3)); },
          [](Cared& f) {
            f.step(minutes(15));
            CHECK(f.drive->care().status().worst_margin == 3);
            for (std::size_t i = 0; i < f.engine.all().size(); ++i)
              if (f.engine.all()[i].absent) CHECK(f.shards_on(i) == 0);
            for (auto& node : f.engine.all()) node.absent = false;
            f.engine.changed();
            f.step(minutes(5));
          }};
}

Work repair_in_place() {
  return {"a repair of damaged shards", {3, 6},
          [](Cared& f) {
            for (std::size_t i = 0; i < 2; ++i)
              for (auto& [name, object] : f.engine.all()[i].objects)
                if (Cared::is_shard(object))
                  for (std::size_t at = 64; at < object.size(); at += 1000) object[at] ^= 1;
          },
          [](Cared& f) { f.step(minutes(8)); },
          [](Cared& f) {
            f.step(minutes(60));
            const CareStatus status = f.drive->care().status();
            CHECK(status.worst_margin == 3);
            for (const NodeCare& node : status.nodes) CHECK(node.bad_shards == 0);
          }};
}

Work drain() {
  return {"the emptying of a node", {3, 6}, [](Cared&) {},
          [](Cared& f) { (void)f.drive->care().drain(id_of(f, f.a_home()), true, true, {}, {}); },
          [](Cared& f) {
            // The record that says so may not have become durable.
            std::size_t leaving = 0;
            for (const NodeCare& node : f.drive->care().status().nodes) leaving += node.leaving ? 1 : 0;
            const std::size_t node = f.a_home();
            if (leaving == 0) REQUIRE(f.drive->care().drain(id_of(f, node), true, true, {}, {}));
            f.step(minutes(10));
            for (const NodeCare& care : f.drive->care().status().nodes)
              if (care.leaving) CHECK(care.shards == 0);
            CHECK(f.drive->care().status().worst_margin == 3);
          }};
}

Work encode_anew() {
  return {"encoding anew", {2, 4}, [](Cared&) {},
          [](Cared& f) {
            (void)f.drive->care().set_redundancy({3, 6}, 5);
            f.step(minutes(2));
          },
          [](Cared& f) {
            REQUIRE(f.drive->care().set_redundancy({3, 6}, 5));
            f.step(minutes(5));
            for (const auto& [key, count] : f.drive->care().status().margins) {
              CHECK(key.first == Redundancy{3, 6});
              CHECK(key.second == 3);
            }
          }};
}

Work rebalance() {
  return {"a move for balance", {2, 4},
          [](Cared& f) {
            // Three of the file's homes are said to be in one country, in which nobody else is.
            std::size_t homes = 0;
            for (std::size_t i = 0; i < 6; ++i) {
              NodeSpec spec = f.engine.all()[i].spec;
              spec.labels["country"] = f.shards_on(i) > 0 && homes++ < 3 ? "de" : "c" + std::to_string(i);
              REQUIRE(put_node(*f.drive, spec));
            }
          },
          [](Cared& f) { f.step(minutes(3)); },
          [](Cared& f) {
            f.step(minutes(75));  // where what was left of it is in the way, it is looked at again after an hour
            for (auto& node : f.engine.all()) node.absent = node.spec.labels.at("country") == "de";
            CHECK(f.whole());
            for (auto& node : f.engine.all()) node.absent = false;
            CHECK(f.drive->care().status().worst_margin == 2);
          }};
}

/// One life: the work begins, at a step of either kind the power goes, the drive opens again and the work ends. Steps are
/// counted from 1; 0: none. Says how many of each the work took.
std::pair<std::uint64_t, std::uint64_t> live(const Work& work, std::uint64_t disk_step, std::uint64_t node_step) {
  const std::uint64_t step = disk_step + node_step;
  Cared f(work.redundancy, 2, 1, impatient());
  Line line(f.engine, f.runtime);
  line.on_cut = [&] { f.disk->power_off_at(1, false); };
  f.close();
  f.open(false);
  f.drive->start(line);
  f.step(minutes(1));
  work.prepare(f);
  const std::uint64_t disk_before = f.disk->changes();
  const std::uint64_t nodes_before = line.changes;
  if (node_step != 0) line.cut_at = nodes_before + node_step;
  if (disk_step != 0) f.disk->power_off_at(disk_step);
  work.begin(f);
  const std::pair counts(f.disk->changes() - disk_before, line.changes - nodes_before);
  if (step != 0) {
    f.crash(step, step % 3 == 0);
    f.open();
  }
  REQUIRE(f.whole());
  work.finish(f);
  REQUIRE(f.drive->collect_garbage(true, {}));
  const auto [objects, homes] = f.objects_and_homes();
  CHECK(objects == homes);
  CHECK(f.whole());
  if (step == 0) f.close();
  return counts;
}

}  // namespace

TEST_CASE("The power may go at any step of a repair, a move or encoding anew: nothing is lost or left, and the work ends", "[care][interrupted][crash]") {
  const Work work = GENERATE(repair, repair_in_place, drain, encode_anew, rebalance)();
  const auto [disk_steps, node_steps] = live(work, 0, 0);
  CAPTURE(work.name, disk_steps, node_steps);
  CHECK(disk_steps >= 4);
  CHECK(node_steps >= 1);
  for (std::uint64_t step = 1; step <= disk_steps; step += effort(1, 5)) {
    CAPTURE(step);
    live(work, step, 0);
  }
  for (std::uint64_t node_step = 1; node_step <= node_steps; node_step += effort(1, 3)) {
    CAPTURE(node_step);
    live(work, 0, node_step);
  }
}
