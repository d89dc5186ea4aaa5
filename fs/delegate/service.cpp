#include "fs/delegate/service.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cache/care/reputation.h"
#include "cache/delegate/delegate.h"
#include "engine/base/posix_disk.h"
#include "engine/base/thread_runtime.h"
#include "engine/base/waiters.h"
#include "engine/daemons.h"
#include "fs/command/exit_code.h"
#include "fs/command/service_manager.h"
#include "fs/command/stop_signals.h"
#include "fs/command/terminal.h"
#include "fs/config/quantities.h"

namespace atl {

using nlohmann::json;

namespace {

constexpr std::uint64_t grant_bytes_max = 16u << 20;
constexpr unsigned audits_once = 20;  // of each node, where nobody comes back for more
constexpr Duration round_interval = Duration(std::chrono::hours(24)) / audits_per_day;

struct Arguments {
  std::string file;
  std::string state;
  std::string stand_in_after;
  std::string grace;
  std::string bandwidth;
  bool once = false;
  bool json = false;
};

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

int tell_error(const Error& error, bool as_json) {
  print_error(error, as_json);
  return static_cast<int>(error.code == Code::not_permitted ? Exit::key : exit_for(error.code));
}

json round_json(const DelegateRound& round) {
  return {{"schema", 1},
          {"view_age_seconds", round.view_age_seconds},
          {"owner_away", round.owner_away},
          {"absent", round.absent},
          {"failing", round.failing},
          {"segments", round.segments},
          {"audits", round.audits},
          {"audits_wrong", round.audits_wrong},
          {"shards_rebuilt", round.shards_rebuilt},
          {"segments_waiting", round.segments_waiting},
          {"segments_lost", round.segments_lost},
          {"worst_margin", round.worst_margin ? json(*round.worst_margin) : json()},
          {"no_place", round.no_place},
          {"read_bytes", round.read_bytes},
          {"written_bytes", round.written_bytes}};
}

std::string list_of(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "" : ", ") + word;
  return list;
}

std::string round_text(const DelegateRound& round) {
  std::string text = std::to_string(round.segments) + " segments";
  if (round.worst_margin) text += ", the worst has " + std::to_string(*round.worst_margin) + " shards more than it needs";
  text += "; " + std::to_string(round.audits) + " leaves asked for, " + std::to_string(round.audits_wrong) + " wrong; ";
  text += round.owner_away ? std::to_string(round.shards_rebuilt) + " shards rebuilt" : "nothing repaired: the owner was here " + std::to_string(round.view_age_seconds / 60) + " min ago";
  if (round.segments_waiting > 0) text += ", " + std::to_string(round.segments_waiting) + " segments wait for repair";
  if (round.no_place) text += ", for want of a node that could take a shard";
  if (round.segments_lost > 0) text += "; of " + std::to_string(round.segments_lost) + " segments too few shards can be had";
  if (!round.absent.empty()) text += "; does not answer: " + list_of(round.absent);
  if (!round.failing.empty()) text += "; fails its audits: " + list_of(round.failing);
  return text;
}

/// Whatever a person would want to know of at once.
bool worth_telling(const DelegateRound& round, const DelegateRound& before) {
  return round.shards_rebuilt > 0 || round.audits_wrong > 0 || round.absent != before.absent || round.failing != before.failing ||
         round.segments_lost != before.segments_lost || round.owner_away != before.owner_away || round.segments_waiting != before.segments_waiting;
}

Result<DelegateOptions> options_of(const Arguments& arguments) {
  DelegateOptions options;
  options.state_path = arguments.state.empty() ? arguments.file + ".state" : arguments.state;
  if (!arguments.stand_in_after.empty()) {
    auto seconds = parse_seconds(arguments.stand_in_after);
    if (!seconds) return fail(seconds.error());
    options.stand_in_after = *seconds;
  }
  if (!arguments.grace.empty()) {
    auto seconds = parse_seconds(arguments.grace);
    if (!seconds) return fail(seconds.error());
    options.repair_grace = *seconds;
  }
  if (!arguments.bandwidth.empty()) {
    auto rate = parse_rate(arguments.bandwidth);
    if (!rate) return fail(rate.error());
    options.bandwidth = *rate == 0 ? ~std::uint64_t{0} : *rate;
  }
  if (arguments.once) {
    options.audits = audits_once;
    options.patience = {};  // who asks once has waited
  }
  return options;
}

/// Asks to stop when the process is told to end. Before any other thread.
struct Listener {
  StopSignals signals;
  std::stop_source stop;
  std::thread thread{[this] {
    (void)signals.wait();
    stop.request_stop();
  }};
  ~Listener() {
    signals.set();
    thread.join();
  }
};

int serve(const Arguments& arguments) {
  PosixDisk disk;
  SystemClock clock;
  SystemRandom random;
  auto options = options_of(arguments);
  if (!options) {
    (void)tell_error(options.error(), arguments.json);
    return static_cast<int>(Exit::usage);
  }
  auto text = read_file(disk, arguments.file, grant_bytes_max);
  if (!text) return tell_error(text.error(), arguments.json);
  auto grant = decode_delegate_grant(as_text(*text));
  if (!grant) return tell_error(grant.error(), arguments.json);
  Listener listener;
  const std::stop_source& stop = listener.stop;
  int status = static_cast<int>(Exit::done);
  {
    std::unique_ptr<Engine> engine;
    ThreadRuntime runtime(2, clock);
    const auto make = [&](const std::vector<DelegatedNode>& nodes, const KeyPair& key) -> Result<Engine*> {
      std::vector<NodeSpec> specs;
      auto credentials = std::make_shared<DelegateCredentials>(DelegateCredentials{key, {}});
      for (const DelegatedNode& node : nodes) {
        specs.push_back(node.spec);
        if (!node.certificate.empty()) credentials->certificates.emplace(node.spec.id, node.certificate);
      }
      auto made = make_engine(std::move(specs), std::shared_ptr<const DelegateCredentials>(std::move(credentials)), EngineOptions{}, clock, random);
      if (!made) return fail(made.error());
      engine = std::move(*made);
      return engine.get();
    };
    Delegate delegate(std::move(*grant), {disk, runtime, random, make}, *options, stop.get_token());
    tell_service_manager("READY=1");
    DelegateRound before;
    Waiters nobody;
    for (bool first = true; !stop.stop_requested(); first = false) {
      auto round = delegate.round();
      if (round) {
        if (arguments.json && (arguments.once || first || worth_telling(*round, before))) std::cout << dump(round_json(*round)) << std::endl;
        if (!arguments.json && (arguments.once || first || worth_telling(*round, before))) std::cout << round_text(*round) << std::endl;
        tell_service_manager("STATUS=" + round_text(*round));
        before = *round;
        status = static_cast<int>(round->segments_lost > 0 ? Exit::too_few_nodes : Exit::done);
      } else if (round.error().code != Code::cancelled) {
        status = tell_error(round.error(), arguments.json);
        if (round.error().code == Code::not_permitted || round.error().code == Code::newer_format) break;
      }
      if (arguments.once) break;
      (void)nobody.wait(runtime, clock.now() + round_interval, stop.get_token(), [] { return false; });
    }
    if (!arguments.once && stop.stop_requested()) status = static_cast<int>(Exit::done);
    tell_service_manager("STOPPING=1");
    if (engine) engine->close();
    runtime.close();
  }
  return status;
}

}  // namespace

int run_delegate(int count, char** words) {
  CLI::App app("Audits and repairs the shards of somebody's Atoll drive, without the keys to read it.", "atoll delegate run");
  Arguments arguments;
  app.add_option("FILE", arguments.file, "what the drive's owner wrote with `atoll delegate export`")->required();
  app.add_flag("--once", arguments.once, "one round, now; without: a service, until it is told to end");
  app.add_option("--after", arguments.stand_in_after, "repair when the owner was not heard of for so long: seconds, or 12h, 7d (default: 24h)");
  app.add_option("--grace", arguments.grace, "rebuild what a node held that was absent for so long (default: as the drive has it, 7d)");
  app.add_option("--bandwidth", arguments.bandwidth, "for repairs, such as 2MiB/s, or none for no limit (default: 8MiB/s)");
  app.add_option("--state", arguments.state, "the file in which it remembers how nodes behaved (default: FILE.state)");
  app.add_flag("--json", arguments.json, "a round, or an error, as a line of JSON");
  app.set_version_flag("--version", "atoll-delegate " ATOLL_VERSION);
  try {
    app.parse(count, words);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);  // --help, --version
  } catch (const CLI::ParseError& error) {
    (void)tell_error(Error(Code::invalid, error.what(), "atoll delegate run --help"), false);
    return static_cast<int>(Exit::usage);
  }
  try {
    return serve(arguments);
  } catch (const std::exception& error) {
    return tell_error(Error(Code::failed, error.what()), arguments.json);
  }
}

}  // namespace atl
