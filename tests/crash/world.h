// A drive on a disk in memory, operations on it by name, and what its tree holds in one text: what the suites of this
// folder try crashes, faults and damage on. One thread, virtual time, everything drawn from seeds.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/drive/drive.h"
#include "tests/support/fake_engine.h"
#include "tests/support/memory_disk.h"
#include "tests/support/seeded_random.h"
#include "tests/support/step_runtime.h"

namespace atl::crash {

using Nodes = std::vector<FakeEngine::FakeNode>;

/// What survives a crash: the disk, and what the nodes hold.
struct Remains {
  std::unique_ptr<MemoryDisk> disk;
  Nodes nodes;
};

/// The kinds of operations, in the order of their numbers.
const std::vector<std::string>& kinds();

class World {
 public:
  /// Over what is left of an earlier one. Opens nothing yet.
  explicit World(Remains remains);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// A drive with a few files of every kind, committed; `shipped`: on all nodes as well.
  static Remains base(bool shipped);

  Result<> open();
  Result<> close();
  /// The process is gone: nothing more reaches the disk.
  void kill();

  enum class Outcome { done, refused, failed };  // refused: POSIX says no; failed: the drive cannot
  /// One operation of a workload; `step` makes its names and bytes its own.
  Outcome perform(std::string_view kind, std::uint64_t step);
  /// Whether the last operation, being done, made everything before it durable.
  bool acknowledged() const { return acknowledged_; }

  /// One line for each name: type, attributes, content. What cannot be read shows its error after a '!'.
  std::string describe();

  MemoryDisk& disk() { return *disk_; }
  Nodes& nodes() { return engine_.all(); }
  Drive& drive() { return *drive_; }
  bool is_open() const { return drive_ != nullptr; }
  Remains remains_after(std::unique_ptr<MemoryDisk> disk) { return {std::move(disk), engine_.all()}; }

  static constexpr const char* directory = "/state";
  static constexpr Redundancy redundancy{2, 3};
  static constexpr std::uint64_t journal_bytes = 128 * 1024;

 private:
  Result<Attributes> find(std::string_view path);
  Result<> run(std::string_view kind, std::uint64_t step);
  void describe_below(InodeNumber folder, const std::string& path, std::string& out);
  std::string describe_one(const Attributes& file);
  void put_base_files();
  void shorten_journal();

  StepRuntime runtime_;
  SeededRandom random_{7};
  std::unique_ptr<MemoryDisk> disk_;
  FakeEngine engine_;
  std::unique_ptr<Drive> drive_;
  bool acknowledged_ = false;
};

/// The kinds of a workload as one word, "create,write", and back; empty if a kind is unknown.
std::string to_text(const std::vector<std::size_t>& workload);
std::vector<std::size_t> from_text(const std::string& text);

}  // namespace atl::crash
