#include "fs/fuse/session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

#include "engine/base/os_error.h"
#include "fs/fuse/operations.h"
#include "fs/fuse/raw_request.h"
#include "fs/fuse/workers.h"
#include "fs/mount/mount_point.h"

namespace atl {

namespace {

using Deadline = std::chrono::steady_clock::time_point;

/// Calls syncfs on the mount from a child: a thread of this process that waits for the kernel, which waits for this
/// process, would keep it from ever ending.
Result<> sync_from_child(const std::string& mount_point, Deadline deadline) {
  const char* path = mount_point.c_str();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("start a process that writes back", mount_point);
  if (child == 0) {
    ::close_range(0, ~0u, 0);  // not /dev/fuse: the child must not keep the connection alive
    const int fd = ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _exit(fd >= 0 && ::syncfs(fd) == 0 ? 0 : 1);
  }
  for (auto pause = std::chrono::microseconds(200);; pause = std::min(pause * 2, std::chrono::microseconds(20000))) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) {
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
      return fail(Code::io, "the kernel could not write back everything it holds of " + mount_point);
    }
    if (ended < 0) return fail_errno("wait for the process that writes back", mount_point);
    if (std::chrono::steady_clock::now() >= deadline) {
      ::kill(child, SIGKILL);  // it goes once its request is answered, or with the connection
      return fail(Code::timed_out, "the kernel still holds unwritten data of " + mount_point);
    }
    std::this_thread::sleep_for(pause);
  }
}

/// As libfuse itself reads and answers, but for the answer to INIT.
constexpr fuse_custom_io device_io = {
    .writev =
        [](int device, iovec* pieces, int count, void*) {
          raw_request::complete_init_answer(pieces, count);
          return ::writev(device, pieces, count);
        },
    .read = [](int device, void* buffer, std::size_t size, void*) { return ::read(device, buffer, size); },
    .splice_receive = nullptr,
    .splice_send = nullptr,
};

class FuseSession final : public Session {
 public:
  FuseSession(Drive& drive, Clock& clock, SessionOptions options)
      : options_(std::move(options)), served_(drive, clock, options_.update_atime, options_.waiting_max) {}

  ~FuseSession() override {
    stop();
    if (attached_) static_cast<void>(detach(true));
    served_.attendant.close();
    if (session_ != nullptr) fuse_session_destroy(session_);
  }

  Result<> mount() {
    std::vector<std::string> texts{"atoll"};
    for (const std::string& option : options_.fuse_options) texts.push_back("-o" + option);
    std::vector<char*> pointers;
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    fuse_args arguments = FUSE_ARGS_INIT(static_cast<int>(texts.size()), pointers.data());
    session_ = fuse_session_new(&arguments, &drive_operations(), sizeof(fuse_lowlevel_ops), &served_);
    fuse_opt_free_args(&arguments);
    if (session_ == nullptr)
      return fail(Code::invalid, "a mount option was refused", "atoll mount --help lists what is understood");
    served_.session = session_;
    if (fuse_session_mount(session_, options_.mount_point.c_str()) != 0)
      return fail(Code::access_denied, "cannot mount on " + options_.mount_point,
                  "as an ordinary user this needs fusermount3 (package fuse3) and write access to the directory");
    attached_ = true;
    if (fuse_session_custom_io(session_, &device_io, fuse_session_fd(session_)) != 0) throw std::bad_alloc();
    return {};
  }

  void start(std::function<void()> ended) override {
    ended_ = std::move(ended);
    workers_ = std::make_unique<Workers>(session_, options_.workers_kept,
                                         options_.waiting_max + options_.workers_kept + 64, [this] {
                                           attached_ = false;
                                           ended_();
                                         });
    workers_->start();
  }

  Result<> write_back(std::chrono::milliseconds bound) override {
    const Deadline deadline = std::chrono::steady_clock::now() + bound;
    if (auto synced = sync_from_child(options_.mount_point, deadline); !synced) return synced;
    // syncfs has handed everything out, but newer kernels do not wait for a FUSE server's answers. Wait until none is
    // being worked on and none has come for a while.
    constexpr auto quiet = std::chrono::milliseconds(20);
    std::uint64_t seen = served_.writes_seen.load();
    for (auto since = std::chrono::steady_clock::now();;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      const auto now = std::chrono::steady_clock::now();
      const std::uint64_t seen_now = served_.writes_seen.load();
      if (served_.writes_running.load() != 0 || seen_now != seen) {
        seen = seen_now;
        since = now;
      } else if (now - since >= quiet) {
        return {};
      }
      if (now >= deadline) return fail(Code::timed_out, "writes to " + options_.mount_point + " do not come to rest");
    }
  }

  Result<> drop_pages(std::chrono::milliseconds bound) override {
    const Result<> written = write_back(bound);
    for (const InodeNumber inode : served_.pages.all()) {
      fuse_lowlevel_notify_inval_inode(session_, inode.value, 0, 0);
      served_.pages.erase(inode);
    }
    return written;
  }

  Result<> detach(bool lazy) override {
    auto done = unmount(options_.mount_point, lazy);
    if (done) attached_ = false;
    return done;
  }

  void stop() override {
    if (workers_) workers_->stop();
  }

  const std::string& mount_point() const override { return options_.mount_point; }

 private:
  SessionOptions options_;
  Served served_;
  fuse_session* session_ = nullptr;
  std::atomic<bool> attached_{false};
  std::function<void()> ended_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace

Result<std::unique_ptr<Session>> Session::mount(Drive& drive, Clock& clock, SessionOptions options) {
  auto session = std::make_unique<FuseSession>(drive, clock, std::move(options));
  if (auto mounted = session->mount(); !mounted) return fail(mounted.error());
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace atl
