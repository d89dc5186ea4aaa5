// Whether one drive holds what another one holds: names, attributes and content, told path by path.
//
// The drive that is looked at may change meanwhile: what differs is only a suspicion until its journal has said what
// changed since the other one's state (cache/drive/changes.h). Blocking; one caller; the drives outlive it.
#pragma once

#include <stop_token>
#include <string>
#include <unordered_set>
#include <vector>

#include "cache/drive/changes.h"
#include "cache/drive/drive.h"

namespace atl {

class Comparison {
 public:
  struct Options {
    bool all = false;                            // every byte; else a sample
    std::size_t sample_files = 200;
    std::uint64_t sample_file_bytes = 1u << 20;  // of one file
  };
  /// What it looked at.
  struct Seen {
    std::uint64_t names = 0;
    std::uint64_t files = 0;          // of which content was read
    std::uint64_t bytes = 0;
    std::uint64_t unreadable_here = 0;  // files that `live` itself does not give
  };
  struct Difference {
    std::string path;
    std::string what;
  };

  Comparison(Drive& live, Drive& copy, Random& random, Options options, std::stop_token stop)
      : live_(live), copy_(copy), random_(random), options_(options), stop_(std::move(stop)) {}

  /// Walks both trees. `known`: what is known to have changed, which is passed over. Code::cancelled, and what the copy
  /// answers for its own directories.
  Result<> run(const Changes& known, const std::function<void(const Seen&)>& progress);
  const Seen& seen() const { return seen_; }
  /// Files whose content was read, for whoever asks what they rest on.
  const std::vector<InodeNumber>& sampled() const { return sampled_; }
  /// What differs though nothing in `changes` says why. Complete, except that of more than `differences_max` the rest is
  /// counted in `more`.
  std::vector<Difference> unexplained(const Changes& changes, std::uint64_t& more) const;

  static constexpr std::size_t differences_max = 1000;

 private:
  struct Suspicion {
    Difference difference;
    InodeNumber inode;
    InodeNumber parent;
    bool name = false;  // about a name in `parent`, else about the inode itself
    bool atime = false;
  };
  struct File {
    InodeNumber inode;
    InodeNumber parent;
    std::string path;
    std::uint64_t size = 0;
  };
  struct Name {
    InodeNumber inode;
    std::uint32_t mode = 0;
    friend bool operator==(const Name&, const Name&) = default;
  };

  Result<std::map<std::string, Name>> list(Drive& drive, InodeNumber directory);
  Result<> compare_directory(const File& directory, const Changes& known, std::vector<File>& below);
  /// Absent if they could not be compared, or differ.
  std::optional<Attributes> compare_attributes(const File& file, const Changes& known);
  Result<> compare_content(const File& file);
  /// False once the file is known to differ, or cannot be read.
  bool compare_range(const File& file, std::uint64_t offset, std::uint64_t length);
  void suspect(const File& file, std::string what, bool name = false, bool atime = false);

  Drive& live_;
  Drive& copy_;
  Random& random_;
  const Options options_;
  const std::stop_token stop_;
  Seen seen_;
  std::vector<Suspicion> suspicions_;
  std::vector<File> sample_;
  std::uint64_t candidates_ = 0;
  std::vector<InodeNumber> sampled_;
  std::unordered_set<InodeNumber> linked_;  // files of several names that were compared
};

}  // namespace atl
