// `atoll node serve` and what is done beside it: invites, tenants, scrubbing.
//
// Beside a running daemon, `tenants` and `scrub` ask it through server/control.sock of its folder; without one they open
// the folder themselves. Invites are files that the daemon reads when somebody shows their key.
#include "fs/command/node_host.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/base/os_error.h"
#include "engine/base/posix_disk.h"
#include "engine/daemon/node_service.h"
#include "engine/daemon/server_folder.h"
#include "fs/command/service_manager.h"
#include "fs/command/stop_signals.h"
#include "fs/command/terminal.h"
#include "fs/config/quantities.h"
#include "fs/control/control_client.h"
#include "fs/control/control_server.h"

namespace atl {

namespace {

using nlohmann::json;

constexpr auto stop_patience = std::chrono::seconds(30);
constexpr std::uint64_t no_quota = std::numeric_limits<std::uint64_t>::max();

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }
std::string absolute(const std::string& path) { return std::filesystem::absolute(path).lexically_normal().string(); }
std::string socket_of(const std::string& folder) { return folder + "/server/control.sock"; }

/// Everything that is said goes to standard error, a line each; the service manager adds the time to what it keeps.
void start_log() {
  auto logger = std::make_shared<spdlog::logger>("node", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  if (std::getenv("JOURNAL_STREAM") != nullptr) logger->set_pattern("%l: %v");
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

/// Each connection and each open object is a descriptor.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

Result<NodeServiceOptions> read_options(const NodeServeArguments& arguments) {
  NodeServiceOptions options;
  options.folder = absolute(arguments.data);
  auto capacity = parse_bytes(arguments.capacity);
  if (!capacity) return fail(capacity.error());
  options.store.capacity_bytes = *capacity;
  if (!arguments.trash_for.empty()) {
    auto time = parse_seconds(arguments.trash_for);
    if (!time) return fail(time.error());
    options.store.trash_for = *time;
  }
  auto listen = parse_address(arguments.listen);
  if (!listen) return fail(listen.error());
  options.server.listen = *listen;
  if (!arguments.advertise.empty()) {
    auto advertise = parse_address(arguments.advertise);
    if (!advertise) return fail(advertise.error());
    if (advertise->port == 0) return fail(Code::invalid, "--advertise " + arguments.advertise + " names no port");
    options.advertise = *advertise;
  }
  if (!arguments.metrics.empty()) {
    auto metrics = parse_address(arguments.metrics);
    if (!metrics) return fail(metrics.error());
    options.server.metrics = *metrics;
  }
  auto labels = parse_labels(arguments.labels);
  if (!labels) return fail(labels.error());
  options.server.labels = *labels;
  return options;
}

Result<json> tenants_json(ObjectStore& store) {
  auto accounts = store.accounts();
  if (!accounts) return fail(accounts.error());
  json tenants = json::array();
  for (const AccountUsage& account : *accounts)
    tenants.push_back({{"account", account.id.hex()},
                       {"label", account.label},
                       {"quota_bytes", account.quota_bytes == no_quota ? json() : json(account.quota_bytes)},
                       {"used_bytes", account.used_bytes},
                       {"trash_bytes", account.trash_bytes},
                       {"objects", account.objects},
                       {"trash_objects", account.trash_objects}});
  const StoreUsage usage = store.usage();
  return json{{"schema", 1}, {"capacity_bytes", usage.capacity_bytes}, {"used_bytes", usage.used_bytes},
              {"free_bytes", usage.free_bytes}, {"trouble", store.trouble()}, {"tenants", std::move(tenants)}};
}

Result<json> scrub(ObjectStore& store, const ProgressSink& progress, const std::stop_token& stop) {
  auto accounts = store.accounts();
  if (!accounts) return fail(accounts.error());
  std::uint64_t total = 0;
  for (const AccountUsage& account : *accounts) total += account.objects;
  auto report = store.scrub_all([&](const ScrubReport& now) {
    progress({{"done", now.objects}, {"total", total}});
    return !stop.stop_requested();
  });
  if (!report) return fail(report.error());
  return json{{"schema", 1}, {"objects", report->objects}, {"bytes", report->bytes}, {"rotten", report->rotten}};
}

Result<json> answer(ObjectStore& store, const json& request, const ProgressSink& progress, const std::stop_token& stop) {
  const auto what = request.at("do").get<std::string>();
  if (what == "tenants") return tenants_json(store);
  if (what == "scrub") return scrub(store, progress, stop);
  return fail(Code::invalid, "unknown request " + what.substr(0, 40));
}

/// Root beside a daemon of another user writes as that user, or the daemon could not read it.
Result<> become_owner_of(const std::string& folder) {
  struct stat status {};
  if (::geteuid() != 0 || ::stat(folder.c_str(), &status) != 0 || status.st_uid == 0) return {};
  if (::setegid(status.st_gid) != 0 || ::seteuid(status.st_uid) != 0) return fail_errno("become the owner of", folder);
  return {};
}

/// Asks the daemon of a folder, or the folder itself where none runs.
Outcome<json> ask_node(const std::string& data, const json& request) {
  const std::string folder = absolute(data);
  ProgressBar bar;
  const auto show = [&](const json& progress) {
    bar.show(progress.value("done", std::uint64_t{0}), progress.value("total", std::uint64_t{0}));
    return true;
  };
  auto client = ControlClient::connect(socket_of(folder));
  if (client) {
    auto answered = (*client)->ask(request, std::chrono::hours(24), show);
    if (!answered) return give_up(answered.error());
    return *answered;
  }
  if (client.error().code != Code::not_found) return give_up(client.error());
  auto disk = std::make_shared<PosixDisk>();
  if (auto known = existing_node_key(*disk, folder); !known) return give_up(known.error(), Exit::no_drive);
  auto lock = lock_data_folder(folder);
  if (!lock) return give_up(lock.error());
  SystemClock clock;
  StoreOptions options;
  options.capacity_bytes = no_quota;  // what the daemon was given is not known here
  auto store = ObjectStore::open(disk, folder, options, clock);
  if (!store) return give_up(store.error());
  auto answered = answer(**store, request, show, std::stop_token());
  if (!answered) return give_up(answered.error());
  if (answered->contains("capacity_bytes")) answered->at("capacity_bytes") = nullptr;
  return *answered;
}

}  // namespace

Outcome<> run_node_serve(const NodeServeArguments& arguments) {
  auto options = read_options(arguments);
  if (!options) return give_up(options.error(), Exit::usage);
  StopSignals stop_signals;
  start_log();
  allow_many_descriptors();
  ::umask(077);
  SystemClock clock;
  SystemRandom random;
  auto started = NodeService::start(*options, clock, random);
  if (!started) return give_up(started.error());
  std::unique_ptr<NodeService> service = std::move(*started);
  ObjectStore& store = service->store();
  auto control = ControlServer::listen(socket_of(options->folder), [&store](const json& request, const ProgressSink& progress, std::stop_token stop) {
    return answer(store, request, progress, stop);
  });
  if (!control) return give_up(control.error());

  const std::string url = node_url(service->advertised()) + "/" + service->server().id().hex();
  spdlog::info("serving: node={} listen={} capacity=\"{}\" used=\"{}\"", url, service->server().address().text(),
               human_bytes(options->store.capacity_bytes), human_bytes(store.usage().used_bytes));
  if (const auto metrics = service->server().metrics_address()) spdlog::info("metrics: http://{}/metrics", metrics->text());
  tell_service_manager("READY=1\nSTATUS=serving " + url);
  const std::string reason = stop_signals.wait();
  tell_service_manager("STOPPING=1");
  spdlog::info("stopping: reason=\"{}\" requests={}", reason, service->server().counters().serving.load());
  control->reset();
  if (!service->stop(stop_patience)) {
    spdlog::error("the disk hangs: the process ends without waiting for it");
    ::_exit(static_cast<int>(Exit::failed));
  }
  spdlog::info("stopped");
  return {};
}

Outcome<> run_node_invite(const NodeInviteArguments& arguments) {
  std::uint64_t quota = no_quota;
  if (!arguments.quota.empty()) {
    auto bytes = parse_bytes(arguments.quota);
    if (!bytes) return give_up(bytes.error(), Exit::usage);
    quota = *bytes;
  }
  auto expires = parse_seconds(arguments.expires.empty() ? "7d" : arguments.expires);
  if (!expires) return give_up(expires.error(), Exit::usage);
  const std::string folder = absolute(arguments.data);
  if (auto become = become_owner_of(folder); !become) return give_up(become.error());
  PosixDisk disk;
  SystemRandom random;
  const std::int64_t until = SystemClock().wall_now().seconds + expires->count();
  auto invite = make_invite(disk, folder, random, quota, until, arguments.label);
  if (!invite) return give_up(invite.error());
  std::cout << invite->text() << "\n";
  wipe(invite->key);
  return {};
}

Outcome<> run_node_tenants(const NodeDataArguments& arguments) {
  auto known = ask_node(arguments.data, {{"do", "tenants"}});
  if (!known) return tl::unexpected<Failure>(known.error());
  if (arguments.json) {
    std::cout << dump(*known) << "\n";
    return {};
  }
  for (const json& tenant : known->at("tenants")) {
    const json& quota = tenant.at("quota_bytes");
    const auto label = tenant.at("label").get<std::string>();
    std::cout << tenant.at("account").get<std::string>().substr(0, 16) << "  " << human_bytes(tenant.at("used_bytes")) << " of "
              << (quota.is_null() ? "what there is" : human_bytes(quota)) << " in "
              << plural(tenant.at("objects").get<std::uint64_t>(), "object");
    if (const auto trash = tenant.at("trash_bytes").get<std::uint64_t>(); trash != 0) std::cout << ", trash " << human_bytes(trash);
    std::cout << (label.empty() ? "" : "  " + label) << "\n";
  }
  std::cout << plural(known->at("tenants").size(), "tenant") << ", " << human_bytes(known->at("used_bytes")) << " used, "
            << human_bytes(known->at("free_bytes")) << " free\n";
  if (const auto trouble = known->at("trouble").get<std::string>(); !trouble.empty()) std::cout << "trouble: " << trouble << "\n";
  return {};
}

Outcome<> run_node_scrub(const NodeDataArguments& arguments) {
  auto report = ask_node(arguments.data, {{"do", "scrub"}});
  if (!report) return tl::unexpected<Failure>(report.error());
  if (arguments.json) {
    std::cout << dump(*report) << "\n";
    return {};
  }
  const auto rotten = report->at("rotten").get<std::uint64_t>();
  std::cout << plural(report->at("objects").get<std::uint64_t>(), "object") << ", " << human_bytes(report->at("bytes")) << ": "
            << (rotten == 0 ? "all whole" : plural(rotten, "object") + " rotten, and no longer claimed: drives repair them elsewhere") << "\n";
  return {};
}

}  // namespace atl
