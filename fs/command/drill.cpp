#include "fs/command/drill.h"

#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cache/drive/home.h"
#include "cache/keys/node_credentials.h"
#include "engine/base/posix_disk.h"
#include "engine/base/thread_runtime.h"
#include "engine/daemons.h"
#include "fs/command/papers.h"
#include "fs/command/running_drive.h"
#include "fs/command/terminal.h"

namespace atl {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::size_t differences_told = 20;
constexpr std::size_t path_bytes_told = 1000;
constexpr auto lock_wait = std::chrono::seconds(2);

double seconds_of(Duration duration) { return std::chrono::duration<double>(duration).count(); }

/// Where a drill puts what comes back; gone with all that is in it when the drill is over.
class DrillPlace {
 public:
  static Result<std::unique_ptr<DrillPlace>> make(Disk& disk, const Places& places) {
    const std::string path = places.home + "/." + places.name + ".drill";
    if (auto made = disk.make_directory(path); !made) return fail(made.error());
    auto lock = HomeLock::acquire(path, std::chrono::milliseconds(0));
    if (!lock && lock.error().code == Code::busy) return fail(Code::busy, "a drill of the drive " + places.name + " is running already", "wait for its end");
    if (!lock) return fail(lock.error());
    // What a drill left that was killed.
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(path, error))
      if (entry.path().filename() != "lock") fs::remove_all(entry.path(), error);
    const std::string inside = path + "/state";
    if (auto made = disk.make_directory(inside); !made) return fail(made.error());
    return std::unique_ptr<DrillPlace>(new DrillPlace(path, std::move(*lock)));
  }
  ~DrillPlace() {
    std::error_code ignored;  // the next drill tries again
    fs::remove_all(path_, ignored);
  }
  DrillPlace(const DrillPlace&) = delete;
  DrillPlace& operator=(const DrillPlace&) = delete;
  std::string inside() const { return path_ + "/state"; }

 private:
  DrillPlace(std::string path, std::unique_ptr<HomeLock> lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  const std::string path_;
  const std::unique_ptr<HomeLock> lock_;
};

Outcome<json> drill_here(const Places& places, const DrillArguments& arguments) {
  PosixDisk disk;
  SystemClock clock;
  SystemRandom random;
  auto keyring = unlock_home(disk, places.state, [&] { return find_passphrase(arguments.passphrase_file, places.name); });
  if (!keyring) return give_up(keyring.error());
  auto lock = HomeLock::acquire(places.state, lock_wait);
  if (!lock) return give_up(lock.error());
  auto credentials = passing_node_credentials(*keyring, random);
  if (!credentials) return give_up(credentials.error());
  ThreadRuntime runtime(2, clock);
  DriveOptions read_only;
  read_only.read_only = true;
  auto opened = Drive::open(DriveSeams{disk, clock, random, runtime}, places.state, *keyring, read_only);
  if (!opened) return give_up(opened.error());
  const std::unique_ptr<Drive> drive = std::move(*opened);
  auto engine = make_engine(drive->nodes(), *credentials, {}, clock, random);
  if (!engine) return give_up(engine.error());
  drive->start(**engine);
  auto report = hold_drill(places, *drive, *keyring, arguments.all, {}, {});
  auto closed = drive->close(std::chrono::seconds(10));
  (*engine)->close();
  if (!report) return give_up(report.error());
  if (!closed) return give_up(closed.error());
  return *report;
}

}  // namespace

Result<json> hold_drill(const Places& places, Drive& live, const Keyring& keyring, bool all, const std::function<void(const json&)>& progress,
                        std::stop_token stop) {
  PosixDisk disk;
  SystemClock clock;
  SystemRandom random;
  auto place = DrillPlace::make(disk, places);
  if (!place) return fail(place.error());
  ThreadRuntime runtime(2, clock);
  const std::vector<NodeSpec> nodes = live.nodes();
  auto credentials = passing_node_credentials(keyring, random);
  if (!credentials) return fail(credentials.error());
  auto engine = make_engine(nodes, *credentials, {}, clock, random);
  if (!engine) return fail(engine.error());
  DrillOptions options;
  options.compare.all = all;
  std::uint64_t told = 0;
  auto report = run_drill(DriveSeams{disk, clock, random, runtime}, (*place)->inside(), live, keyring, **engine, nodes, options,
                          [&](const DrillReport& now) {
                            if (progress && now.compared.bytes + now.compared.names >= told) progress({{"files", now.compared.files}, {"bytes", now.compared.bytes}});
                            told = now.compared.bytes + now.compared.names + (1u << 20);
                          },
                          stop);
  (*engine)->close();
  if (!report) return fail(report.error());
  json answer = drill_json(*report, places.name);
  if (auto noted = note_drill(disk, places.state, answer); !noted) return fail(noted.error());
  if (report->passed())
    if (auto noted = note_kit_checked(disk, places.state, report->at); !noted) return fail(noted.error());
  return answer;
}

json drill_json(const DrillReport& report, const std::string& name) {
  json differences = json::array();
  for (const Comparison::Difference& difference : report.differences) {
    if (differences.size() == differences_told) break;
    differences.push_back({{"path", difference.path.substr(0, path_bytes_told)}, {"what", difference.what}});
  }
  json nodes = json::array();
  for (const HeadAnswer& answer : report.answers)
    nodes.push_back({{"id", answer.node.id.hex()}, {"url", answer.node.url}, {"head", to_string(answer.standing)}, {"why", answer.why}});
  return {{"schema", 1},
          {"name", name},
          {"at", report.at.seconds},
          {"passed", report.passed()},
          {"all", report.all},
          {"seconds", seconds_of(report.took)},
          {"seconds_until_list", seconds_of(report.until_list)},
          {"epoch", report.epoch},
          {"generation", report.generation},
          {"nodes", std::move(nodes)},
          {"files", report.files},
          {"compared", {{"names", report.compared.names}, {"files", report.compared.files}, {"bytes", report.compared.bytes}, {"unreadable_here", report.compared.unreadable_here}}},
          {"differences", std::move(differences)},
          {"difference_count", report.differences.size() + report.more_differences},
          {"segments_asked", report.segments_asked},
          {"bad_shards", report.bad_shards},
          {"lost_now", {{"changes", report.lost.untold.changes}, {"files", report.lost.untold.files}, {"bytes", report.lost.untold.bytes}, {"seconds", report.lost_seconds}}},
          {"survives", report.survives}};
}

std::string drill_text(const json& report) {
  std::ostringstream out;
  const auto seconds = [](double value) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(1) << value << " s";
    return text.str();
  };
  std::size_t newest = 0;
  for (const json& node : report.at("nodes")) newest += node.at("head") == "newest";
  const json& compared = report.at("compared");
  const json& lost = report.at("lost_now");
  const auto count = report.at("difference_count").get<std::uint64_t>();
  out << "The drill of the drive \"" << report.at("name").get<std::string>() << "\": " << (report.at("passed").get<bool>() ? "everything came back" : "NOT everything came back") << ".\n"
      << "  Rebuilt:    " << plural(report.at("files").get<std::uint64_t>(), "file") << " from " << newest << " of " << report.at("nodes").size() << " nodes; listed after "
      << seconds(report.at("seconds_until_list")) << ", all of it took " << seconds(report.at("seconds")) << "\n";
  for (const json& node : report.at("nodes"))
    if (node.at("head") != "newest")
      out << "              " << node.at("url").get<std::string>() << ": " << node.at("head").get<std::string>()
          << (node.at("why").get<std::string>().empty() ? "" : ", " + node.at("why").get<std::string>()) << "\n";
  out << "  Compared:   " << plural(compared.at("names").get<std::uint64_t>(), "name") << " with attributes, and " << (report.at("all").get<bool>() ? "all content: " : "a sample of the content: ")
      << human_bytes(compared.at("bytes")) << " of " << plural(compared.at("files").get<std::uint64_t>(), "file") << "\n";
  if (const auto unreadable = compared.at("unreadable_here").get<std::uint64_t>(); unreadable != 0)
    out << "              " << plural(unreadable, "file") << " cannot be read on this computer, and came back\n";
  out << "  Different:  " << (count == 0 ? std::string("nothing") : plural(count, "thing")) << "\n";
  for (const json& difference : report.at("differences"))
    out << "              " << difference.at("path").get<std::string>() << ": " << difference.at("what").get<std::string>() << "\n";
  if (const auto bad = report.at("bad_shards").get<std::uint64_t>(); bad != 0)
    out << "  Shards:     " << bad << " of those asked for are damaged or missing; the mounted drive replaces them\n";
  out << "  Lost now:   ";
  if (lost.at("changes").get<std::uint64_t>() == 0)
    out << "nothing: the nodes know of every change\n";
  else
    out << plural(lost.at("changes").get<std::uint64_t>(), "change") << " to " << plural(lost.at("files").get<std::uint64_t>(), "file") << ", with " << human_bytes(lost.at("bytes"))
        << " of data, the oldest " << lost.at("seconds") << " s ago, would be lost if this computer went now\n";
  const auto survives = report.at("survives").get<std::uint64_t>();
  out << "  Survives:   " << (survives == 0 ? std::string("every node that answered was needed") : "any " + std::to_string(survives) + " of the nodes that answered could have been gone as well") << "\n";
  return out.str();
}

Outcome<> run_recover_drill(const DrillArguments& arguments) {
  auto places = find_drive(arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  json report;
  auto client = ControlClient::connect(places->socket);
  if (!client && client.error().code != Code::not_found) return give_up(client.error());
  if (client) {
    auto answer = (*client)->ask({{"do", "drill"}, {"all", arguments.all}}, answer_patience, {});
    if (!answer) return give_up(answer.error());
    report = std::move(*answer);
  } else {
    auto answer = drill_here(*places, arguments);
    if (!answer) return tl::unexpected<Failure>(answer.error());
    report = std::move(*answer);
  }
  std::cout << (arguments.json ? report.dump(-1, ' ', false, json::error_handler_t::replace) + "\n" : drill_text(report));
  if (report.at("passed").get<bool>()) return {};
  return give_up(Error(Code::corrupt, "the drill found " + plural(report.at("difference_count").get<std::uint64_t>(), "difference") + " and " +
                                          plural(report.at("bad_shards").get<std::uint64_t>(), "bad shard"),
                       "see `atoll status` for the nodes; mounted, the drive repairs shards by itself"));
}

}  // namespace atl
