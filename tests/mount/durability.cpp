// Writers for the test of what survives SIGKILL, and the judge of what did.
//
//   mount_durability run DIRECTORY LOG ROUND SEED WRITERS OPERATIONS PID   writes until the file system dies; PID (0: none)
//                                                                          is killed when so many operations are done
//   mount_durability verify DIRECTORY LOG ROUND SEED WRITERS LAG_MS        judges one round after the remount
//
// Each writer owns DIRECTORY/rROUND-wN and performs a numbered sequence of operations that follows from the seed alone:
// each is one request that changes the tree, or data written by open-write-close, which hands it to the file system
// before anything later. LOG (a folder outside) holds, in mapped files, when each operation began and was acknowledged,
// and the last one covered by an acknowledged fsync, fdatasync, syncfs, fsync of a directory or O_SYNC write.
//
// The judge replays the sequence in memory. For each writer the tree found must be the tree after some operation n, where
//   n >= the last operation covered by an acknowledged flush,
//   n >= every operation acknowledged LAG_MS before the kill (the periodic flush), and
//   no writer's surviving operation began after another's lost one was acknowledged (one history, one prefix).
// The operation after n may be there in part if it writes data: every byte old or new.
#include "tests/mount/durability_model.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace durability {
namespace {

constexpr std::uint64_t operations_max = 1 << 20;

/// One writer's log, mapped from a file outside the mount; it outlives every process.
struct Log {
  std::atomic<std::uint64_t> started;   // operations begun: 1..started
  std::atomic<std::uint64_t> done;      // operations acknowledged
  std::atomic<std::uint64_t> synced;    // all up to this one are covered by an acknowledged flush
  std::atomic<std::uint64_t> found;     // what an earlier judgement found, plus one; 0: not judged
  struct {
    std::atomic<std::int64_t> begin_ns, end_ns;
  } times[operations_max];
};

/// Shared by the writers of a round.
struct Shared {
  std::atomic<std::uint64_t> operations;
  std::atomic<std::int64_t> killed_ns;
};

std::int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

template <class T>
T* map_file(const std::string& path) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(T)) != 0) {
    std::perror(path.c_str());
    std::exit(2);
  }
  void* at = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) {
    std::perror("mmap");
    std::exit(2);
  }
  return static_cast<T*>(at);
}

struct Round {
  std::string directory, log;
  std::uint64_t round, seed;
  unsigned writers;

  std::string tree(unsigned writer) const { return directory + "/r" + std::to_string(round) + "-w" + std::to_string(writer); }
  std::string log_file(unsigned writer) const { return log + "/r" + std::to_string(round) + "-w" + std::to_string(writer); }
  std::uint64_t writer_seed(unsigned writer) const { return seed * 1'000'003 + round * 1009 + writer; }
};

int write_until_it_dies(const Round& r, unsigned writer, Shared* shared, std::uint64_t operations, pid_t victim) {
  Log* log = map_file<Log>(r.log_file(writer));
  Tree tree;
  const std::string folder = r.tree(writer);
  for (std::uint64_t n = 1; n < operations_max; ++n) {
    Operation op = next_operation(tree, r.writer_seed(writer), n);
    log->times[n].begin_ns = now_ns();
    log->started = n;
    int error = perform(folder, op);
    if (error != 0) {
      // The end, as planned, shows as a dead file system; anything else is a finding.
      if (error == ENOTCONN || error == ECONNABORTED || error == EIO || error == ENODEV) return 0;
      std::printf("writer %u, operation %llu: %s: %s\n", writer, static_cast<unsigned long long>(n), describe(op).c_str(), std::strerror(error));
      return 1;
    }
    log->times[n].end_ns = now_ns();
    log->done = n;
    if (op.flushes()) log->synced = n;
    apply(tree, op);
    std::uint64_t count = ++shared->operations;
    if (count == operations && victim > 0) {
      shared->killed_ns = now_ns();
      kill(victim, SIGKILL);
    }
    if (victim == 0 && count >= operations) return 0;
  }
  return 0;
}

int run(const Round& r, std::uint64_t operations, pid_t victim) {
  Shared* shared = map_file<Shared>(r.log + "/r" + std::to_string(r.round));
  for (unsigned w = 0; w < r.writers; ++w) {
    for (const std::string& folder : {r.tree(w), r.tree(w) + "/d0", r.tree(w) + "/d1"}) {
      if (mkdir(folder.c_str(), 0755) != 0) {
        std::perror(folder.c_str());
        return 2;
      }
    }
  }
  int fd = open(r.directory.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0 || fsync(fd) != 0) {
    std::perror("fsync");
    return 2;
  }
  close(fd);
  for (unsigned w = 0; w < r.writers; ++w) {
    if (fork() == 0) _exit((alarm(300), write_until_it_dies(r, w, shared, operations, victim)) + (std::fflush(stdout), 0));
  }
  int result = 0, status = 0;
  while (wait(&status) > 0) result = result != 0 || status != 0;
  if (result != 0) std::printf("a writer failed\n");
  return result;
}

int verify(const Round& r, std::int64_t lag_ms) {
  Shared* shared = map_file<Shared>(r.log + "/r" + std::to_string(r.round));
  bool good = true;
  std::int64_t first_lost_ns = INT64_MAX, last_kept_ns = 0;
  unsigned lost_writer = 0, kept_writer = 0;
  for (unsigned w = 0; w < r.writers; ++w) {
    Log* log = map_file<Log>(r.log_file(w));
    std::string problem;
    Tree found = read_tree(r.tree(w), problem);
    std::uint64_t overdue = 0;
    for (std::uint64_t n = log->done; n > 0 && overdue == 0 && shared->killed_ns != 0; --n) {
      if (log->times[n].end_ns < shared->killed_ns - lag_ms * 1'000'000) overdue = n;
    }
    const std::uint64_t least = std::max<std::uint64_t>(log->synced, overdue);
    // Where several operations leave the same tree, the first and the last such n bound the truth.
    std::uint64_t first = 0, last = 0;
    bool any = false, partly = false;
    std::uint64_t before_least = 0;
    bool any_before = false;
    Tree tree;
    for (std::uint64_t n = 0; n <= log->started && problem.empty(); ++n) {
      if (n > 0) apply(tree, next_operation(tree, r.writer_seed(w), n));
      bool same = equal(tree, found), part = false;
      if (!same && n < log->started && n + 1 > least) {
        part = partly_applied(tree, next_operation(tree, r.writer_seed(w), n + 1), found);
      }
      if (!same && !part) continue;
      if (n < least) {
        any_before = true;
        before_least = n;
        continue;
      }
      if (!any) first = n;
      any = true;
      last = n;
      partly = part;
    }
    std::printf("round %llu writer %u: begun %llu, acknowledged %llu, flushed %llu, overdue %llu, found ", static_cast<unsigned long long>(r.round), w,
                static_cast<unsigned long long>(log->started), static_cast<unsigned long long>(log->done),
                static_cast<unsigned long long>(log->synced), static_cast<unsigned long long>(overdue));
    if (!any) {
      good = false;
      if (!problem.empty()) std::printf("an unreadable tree: %s\n", problem.c_str());
      else if (any_before) std::printf("%llu: what was acknowledged is lost\n", static_cast<unsigned long long>(before_least));
      else std::printf("no state of the history\n%s", difference(r.writer_seed(w), least, log->started, found).c_str());
      continue;
    }
    std::printf("%llu%s\n", static_cast<unsigned long long>(last), partly ? " and part of the next" : "");
    if (log->found != 0 && !(log->found - 1 >= first && log->found - 1 <= last)) {
      good = false;
      std::printf("  an earlier mount found %llu: a recovered state has changed\n", static_cast<unsigned long long>(log->found - 1));
    }
    if (log->found == 0) log->found = last + 1;
    if (last < log->done && log->times[last + 1].end_ns < first_lost_ns) {
      first_lost_ns = log->times[last + 1].end_ns;
      lost_writer = w;
    }
    if (first > 0 && log->times[first].begin_ns > last_kept_ns) {
      last_kept_ns = log->times[first].begin_ns;
      kept_writer = w;
    }
  }
  if (last_kept_ns > first_lost_ns) {
    good = false;
    std::printf("no prefix: writer %u's operation survived that began %.3f ms after writer %u's lost one was acknowledged\n", kept_writer,
                static_cast<double>(last_kept_ns - first_lost_ns) / 1e6, lost_writer);
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace durability

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::string command = argc > 1 ? argv[1] : "";
  auto number = [&](int at) { return std::strtoull(argv[at], nullptr, 10); };
  if ((command == "run" && argc == 9) || (command == "verify" && argc == 8)) {
    durability::Round round{argv[2], argv[3], number(4), number(5), static_cast<unsigned>(number(6))};
    if (command == "run") return durability::run(round, number(7), static_cast<pid_t>(number(8)));
    return durability::verify(round, static_cast<std::int64_t>(number(7)));
  }
  std::fprintf(stderr, "usage: %s run DIRECTORY LOG ROUND SEED WRITERS OPERATIONS PID\n       %s verify DIRECTORY LOG ROUND SEED WRITERS LAG_MS\n",
               argv[0], argv[0]);
  return 2;
}
