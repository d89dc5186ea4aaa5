#include "fs/command/daemon.h"

#include <malloc.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "cache/drive/drive.h"
#include "cache/drive/home.h"
#include "cache/keys/node_credentials.h"
#include "engine/base/posix_disk.h"
#include "engine/base/thread_runtime.h"
#include "engine/daemons.h"
#include "engine/flow.h"
#include "fs/command/daemon_requests.h"
#include "fs/command/stop_signals.h"
#include "fs/command/terminal.h"
#include "fs/control/control_server.h"
#include "fs/control/unix_socket.h"
#include "fs/fuse/session.h"
#include "fs/mount/mount_point.h"

namespace atl {

namespace {

constexpr auto lock_wait = std::chrono::seconds(15);
constexpr auto stop_bound = std::chrono::seconds(10);
constexpr auto give_up_after = std::chrono::seconds(20);  // a stop that hangs ends the process: the journal is whole
constexpr unsigned readahead_kibibytes = 4096;
constexpr int malloc_arenas = 4;
constexpr int malloc_mapped_bytes = 256 << 10;

/// Wall-clock time with the grain that the kernel gives the times it sets itself (mtime under its write-back cache), so
/// that a file made later never looks older.
class FileClock final : public Clock {
 public:
  Timestamp wall_now() const override {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return {now.tv_sec, static_cast<std::uint32_t>(now.tv_nsec)};
  }
  MonotonicTime now() const override { return system_.now(); }

 private:
  SystemClock system_;
};

Result<> start_log(const DaemonPlan& plan) {
  try {
    std::shared_ptr<spdlog::logger> logger;
    if (plan.foreground) {
      logger = std::make_shared<spdlog::logger>("atoll", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    } else {
      // Two files, each of half the bound.
      logger = std::make_shared<spdlog::logger>("atoll", std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
                                                             plan.places.log_file, plan.config.log_max / 2, 1));
    }
    logger->set_level(spdlog::level::from_str(plan.config.log_level));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
    return {};
  } catch (const spdlog::spdlog_ex& error) {
    return fail(Code::io, "cannot write the log " + plan.places.log_file + ": " + error.what());
  }
}

/// Ends the process if putting it down takes too long; what was acknowledged is in the journal.
void watch_the_end() {
  std::thread([] {
    std::this_thread::sleep_for(give_up_after);
    spdlog::error("stopping took longer than {} s; the process ends without waiting for the rest",
                  std::chrono::seconds(give_up_after).count());
    ::_exit(1);
  }).detach();
}

}  // namespace

Outcome<> run_daemon(const DaemonPlan& plan, const std::function<void()>& ready) {
  // Each of glibc's arenas keeps some megabytes of what passed through it, and it would make eight a core.
  ::mallopt(M_ARENA_MAX, malloc_arenas);
  // glibc raises the bound above which memory is mapped, and so given back, to the largest block that was ever freed.
  ::mallopt(M_MMAP_THRESHOLD, malloc_mapped_bytes);
  PosixDisk disk;
  FileClock clock;
  SystemRandom random;

  auto home = read_home(disk, plan.places.state);
  if (!home && home.error().code == Code::not_found)
    return give_up(Error(Code::not_found, "there is no drive " + plan.places.name + " in " + plan.places.home,
                         "make one: atoll init" + (plan.places.name == "default" ? std::string() : " " + plan.places.name)),
                   Exit::no_drive);
  if (!home) return give_up(home.error());
  if (auto prepared = prepare_mount_point(plan.mount_point, {plan.places.state, plan.places.nodes}); !prepared) {
    const bool nonsense = prepared.error().code == Code::not_directory;
    return nonsense ? give_up(prepared.error(), Exit::usage) : give_up(prepared.error());
  }
  if (auto access = check_fuse_access(); !access) return give_up(access.error());
  auto keyring = unlock_home(disk, plan.places.state, [&] { return find_passphrase(plan.passphrase_file, plan.places.name); });
  if (!keyring) return give_up(keyring.error());

  StopSignals stop_signals;
  auto lock = HomeLock::acquire(plan.places.state, lock_wait);
  if (!lock) return give_up(lock.error());
  if (auto logged = start_log(plan); !logged) return give_up(logged.error());
  spdlog::info("atoll {} mounts {} on {}", ATOLL_VERSION, plan.places.name, plan.mount_point);

  auto credentials = node_credentials(disk, plan.places.state, *keyring, random);
  if (!credentials) return give_up(credentials.error());

  const Keyring keys = *keyring;
  ThreadRuntime runtime(4, clock);
  auto opened = Drive::open(DriveSeams{disk, clock, random, runtime}, plan.places.state, std::move(*keyring), plan.config.drive);
  if (!opened) {
    spdlog::error("{}", opened.error().what);
    return give_up(opened.error());
  }
  const std::unique_ptr<Drive> drive = std::move(*opened);
  auto made = make_engine(drive->nodes(), *credentials, EngineOptions{}, clock, random);
  if (!made) return give_up(made.error());
  const std::unique_ptr<Engine> engine = std::move(*made);
  FlowControl* const flow = flow_control(engine.get());
  if (flow == nullptr) return give_up(Error(Code::failed, "this engine has no limits"));
  flow->set_flow(plan.config.flow);
  drive->start(*engine);

  SessionOptions session_options;
  session_options.mount_point = plan.mount_point;
  session_options.fuse_options = plan.options.fuse;
  session_options.update_atime = plan.options.update_atime;
  session_options.workers_kept = plan.config.workers;
  auto mounted = Session::mount(*drive, clock, session_options);
  if (!mounted) {
    static_cast<void>(drive->close(stop_bound));
    engine->close();
    return give_up(mounted.error());
  }
  std::unique_ptr<Session> session = std::move(*mounted);
  std::atomic<bool> attached{true};
  std::atomic<bool> stopping{false};
  const auto ended = [&] {
    attached = false;
    stopping = true;
    stop_signals.set();
  };

  // Commands are answered before the mount is: who sees the drive's files may ask about it, or unmount it, at once.
  Running running{*drive, *session, clock, plan.places, keys, ended, [&] { return stopping.load(); }, **credentials, random, *flow,
                  dynamic_cast<const StatisticsKeeper*>(engine.get()), dynamic_cast<NodeChecks*>(engine.get())};
  auto control = ControlServer::listen(plan.places.socket, make_control_handler(std::move(running)));
  if (!control) {
    session.reset();
    static_cast<void>(drive->close(stop_bound));
    engine->close();
    return give_up(control.error());
  }
  session->start(ended);
  set_readahead(plan.mount_point, readahead_kibibytes);

  ready();
  const std::string reason = stop_signals.wait();
  stopping = true;
  watch_the_end();
  spdlog::info("stopping: {}", reason);
  const auto began = std::chrono::steady_clock::now();
  if (attached) {
    if (auto written = session->write_back(std::chrono::seconds(6)); !written) spdlog::warn("{}", written.error().what);
  }
  const auto left = std::max<Duration>(stop_bound - (std::chrono::steady_clock::now() - began), std::chrono::seconds(2));
  auto closed = drive->close(left);
  if (!closed) spdlog::error("closing the drive: {}", closed.error().what);
  if (attached) {
    if (!session->detach(false)) static_cast<void>(session->detach(true));
  }
  session->stop();
  control->reset();
  session.reset();
  engine->close();
  spdlog::info("stopped");
  spdlog::default_logger()->flush();
  if (!closed) return give_up(closed.error());
  return {};
}

}  // namespace atl
