#include "tests/sim/world.h"

#include <algorithm>

#include "cache/heads/meta_object.h"
#include "cache/recovery/recovery.h"

namespace atl::sim {

using namespace std::chrono_literals;

Shape Shape::draw(std::uint64_t seed, std::size_t nodes) {
  SeededRandom random(seed * 0x9e3779b97f4a7c15ull + 7);
  Shape shape;
  shape.seed = seed;
  struct Choice {
    std::size_t nodes;
    Redundancy redundancy;
    std::uint8_t protect_min;
  };
  static const Choice choices[] = {{6, {3, 6}, 5}, {4, {2, 4}, 3}, {12, {4, 8}, 7}, {9, {3, 6}, 5}, {20, {6, 12}, 10}, {3, {1, 3}, 2}};
  const Choice& choice = choices[random.below(std::size(choices))];
  shape.nodes = nodes != 0 ? std::max(nodes, std::size_t{choice.redundancy.n}) : choice.nodes;
  shape.redundancy = choice.redundancy;
  shape.protect_min = choice.protect_min;
  shape.countries = 2 + random.below(4);
  shape.drive.gc_grace = random.below(2) == 0 ? Duration(0) : Duration(1h);
  shape.drive.staging_max = random.below(4) == 0 ? 24ull << 20 : 256ull << 20;
  shape.drive.cache_max = random.below(3) == 0 ? 1ull << 20 : 64ull << 20;
  shape.drive.dirty_max = 4ull << 20;
  shape.drive.disk_reserve = 1ull << 20;
  // Shards of a node that is away are rebuilt before it returns, or after, or hardly ever.
  static constexpr Duration graces[] = {2min, 10min, 1h, 168h};
  shape.drive.repair_grace = graces[random.below(std::size(graces))];
  shape.drive.repair_patience = random.below(2) == 0 ? Duration(10s) : Duration(60s);
  shape.drive.care_bandwidth = random.below(3) == 0 ? 256ull << 10 : 8ull << 20;
  shape.drive.ship_interval = random.below(3) == 0 ? Duration(0) : Duration(60s);
  // A thousand nodes are not asked every five seconds, since that is all that would be simulated.
  if (shape.nodes > 100) shape.engine.probe_interval = 60s;
  return shape;
}

World::World(Shape shape, bool print_trace)
    : scheduler(shape.seed * 2 + 1), trace(scheduler.clock(), print_trace), random(shape.seed * 31 + 5), shape_(shape),
      keyring_(Keyring::generate(random)), network_random_(shape.seed * 17 + 3) {
  for (std::size_t i = 0; i < shape_.nodes; ++i) {
    nodes_.push_back(std::make_unique<SimulatedNode>(network_random_, shape_.node_capacity));
    NodeSpec spec;
    spec.id = random.id<NodeId>();
    spec.url = "simulated:" + std::to_string(i);
    spec.labels = {{"country", "c" + std::to_string(i % shape_.countries)}, {"operator", "o" + std::to_string(i / 2)}};
    specs_.push_back(std::move(spec));
    Distance distance;
    distance.latency = std::chrono::milliseconds(2 + random.below(80));
    distance.jitter = std::chrono::milliseconds(1 + random.below(400));
    distance.bytes_per_second = (1 + random.below(40)) << 20;
    distances_.push_back(distance);
    if (random.below(8) == 0) nodes_.back()->faults.weak = true;
  }
  disk_ = std::make_unique<MemoryDisk>(shape_.disk_capacity);
  next_life();
}

World::~World() {
  // What a failed run left waiting never goes on: a drive that waits for it would wait for ever.
  (void)drive_.release();
  (void)engine_.release();
  (void)loop_.release();
}

void World::next_life() {
  if (life_random_) old_randoms_.push_back(std::move(life_random_));
  life_random_ = std::make_unique<SeededRandom>(shape_.seed * 1009 + ++lives_);
}

void World::make_directory() {
  if (!disk_->make_directory(directory()) || !disk_->sync_directory("/")) throw Violation("a fresh disk takes no folder");
}

void World::create() {
  make_directory();
  NewDrive made;
  made.nodes = specs_;
  made.redundancy = shape_.redundancy;
  made.protect_min = shape_.protect_min;
  if (auto created = Drive::create(seams(), directory(), keyring_, made); !created) throw Violation("no drive can be made: " + created.error().what);
}

void World::start_engine() {
  loop_ = std::make_unique<SimulatedLoop>(scheduler);
  std::vector<std::shared_ptr<Node>> as_nodes;
  links_.clear();
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    auto told = [this, i](std::string_view call, const std::string& name, const Result<>& how) {
      trace.note("node " + std::to_string(i) + " " + std::string(call) + " " + name + (how ? "" : " failed: " + how.error().what));
    };
    links_.push_back(std::make_shared<SimulatedLink>(*loop_, network_random_, *nodes_[i], distances_[i], std::move(told)));
    as_nodes.push_back(links_.back());
  }
  engine_ = std::make_unique<EngineCore>(*loop_, *life_random_, shape_.engine, specs_, std::move(as_nodes));
}

void World::stop_engine() {
  engine_->close();
  engine_.reset();
  loop_.reset();
  links_.clear();
  for (const auto& node : nodes_) {
    if (node->running != 0) throw Violation("a call of a node outlived its engine");
  }
}

void World::wait_probed(Duration patience) {
  const auto event = scheduler.make_event();
  engine_->when_probed(patience, [&event] { event->set(); });
  event->wait_until(std::nullopt);
}

void World::open() {
  Bytes wrapped = keyring_.wrap(wrapping_, *life_random_);
  auto copy = Keyring::unwrap(wrapped, wrapping_);
  auto opened = Drive::open(seams(), directory(), std::move(*copy), shape_.drive);
  if (!opened) throw Violation("the drive does not open: " + opened.error().what);
  drive_ = std::move(*opened);
  start_engine();
  drive_->start(*engine_);
}

Result<> World::close() {
  const MonotonicTime began = scheduler.now();
  auto closed = drive_->close(10s);
  if (scheduler.now() - began > 15s) throw Violation("unmounting took longer than its bound");
  drive_.reset();
  stop_engine();
  next_life();
  return closed;
}

void World::power_off() {
  for (const auto& link : links_) link->cut();
  disk_after_ = disk_->crash(random.u64());
  disk_->power_off_at(1);
}

void World::crash() {
  drive_.reset();
  stop_engine();
  disk_ = std::move(disk_after_);
  if (random.below(3) == 0) {
    for (const char* suffix : {"", "-wal"}) (void)disk_->remove(directory() + "/index.db" + suffix);  // it may not be there
  }
  next_life();
}

Result<> World::recover() {
  drive_.reset();
  if (engine_) stop_engine();
  next_life();
  disk_ = std::make_unique<MemoryDisk>(shape_.disk_capacity);
  make_directory();
  // Nobody has another computer at hand within seconds; until then weak stores list what they had taken.
  scheduler.jump(std::chrono::minutes(1));
  start_engine();
  wait_probed(15s);
  const Duration patience = 30s;
  const auto work = [&]() -> Result<> {
    auto survey = survey_heads(seams(), *engine_, specs_, keyring_, patience);
    if (!survey) return fail(survey.error());
    if (!survey->head) return fail(Code::too_few_nodes, "no node has a head");
    if (auto rebuilt = rebuild_state(seams(), directory(), *engine_, *survey->head, keyring_, specs_, patience, {}); !rebuilt) return rebuilt;
    auto claim = claim_epoch(seams(), directory(), *engine_, specs_, keyring_, survey->epoch_max + 1, HistoryPoint::of(*survey->head), patience);
    if (!claim) return fail(claim.error());
    return {};
  };
  auto recovered = work();
  stop_engine();
  if (!recovered) return recovered;
  open();
  return {};
}

std::uint64_t World::shard_bytes(std::size_t node) const {
  const MetaSealer sealer = *MetaSealer::make(keyring_);
  const NodeId& id = specs_[node].id;
  const std::string prefixes[] = {sealer.head_prefix(id), sealer.claim_prefix(id), sealer.part_prefix(id)};
  std::uint64_t bytes = 0;
  for (const auto& [name, object] : nodes_[node]->objects())
    if (std::none_of(std::begin(prefixes), std::end(prefixes), [&](const std::string& prefix) { return name.starts_with(prefix); })) bytes += object->size();
  return bytes;
}

std::uint64_t World::shard_bytes() const {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < nodes_.size(); ++i) bytes += shard_bytes(i);
  return bytes;
}

}  // namespace atl::sim
