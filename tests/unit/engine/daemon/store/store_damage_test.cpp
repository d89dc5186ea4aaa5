// What a node daemon's store makes of a disk that rots, and of one that fails while it starts.
#include <map>

#include "tests/unit/engine/daemon/store/stored.h"

using namespace atl;
using namespace atl::store_test;

namespace {

const std::map<std::string, std::size_t> objects{{"small", 10}, {"block", 16384}, {"large", 40000}};

/// Two accounts, three objects each, some of them folded into a base and some in the log; one in the trash.
void fill(Daemon& daemon) {
  daemon.begin();
  for (const auto& [name, size] : objects) REQUIRE(daemon.put(ann, name, text_of(size, 1)));
  REQUIRE(daemon.put(ann, "gone", "gone"));
  daemon.pass(1);
  REQUIRE(daemon.store->remove(ann, {"gone"}));
  for (const auto& [name, size] : objects) REQUIRE(daemon.put(bob, name, text_of(size, 2)));
  daemon.store.reset();
}

/// Objects that read back; what does not must say why, and nothing may read back otherwise.
std::size_t whole_objects(Daemon& daemon) {
  std::size_t whole = 0;
  for (const AccountId& owner : {ann, bob}) {
    for (const auto& [name, size] : objects) {
      const auto found = daemon.get(owner, name);
      if (found) {
        REQUIRE(*found == text_of(size, owner == ann ? 1 : 2));
        ++whole;
      } else {
        const Code code = found.error().code;
        CHECK((code == Code::not_found || code == Code::corrupt));
      }
    }
  }
  return whole;
}

using Files = std::map<std::string, Bytes>;

/// The store with these files in place of its own; nothing, if it says that it cannot be opened.
std::optional<std::size_t> tried(const Daemon& base, const Files& files) {
  Daemon daemon(std::shared_ptr<MemoryDisk>(base.disk->clone()), 3);
  for (const auto& [path, content] : files) {
    daemon.disk->cut(path, 0);
    daemon.disk->damage(path, 0, content);
  }
  if (auto opened = daemon.open(); !opened) {
    CHECK((opened.error().code == Code::corrupt || opened.error().code == Code::newer_format));
    return std::nullopt;
  }
  (void)daemon.store->maintain();
  const std::size_t whole = whole_objects(daemon);
  // It goes on working for whoever has an account still.
  for (const AccountId& owner : {ann, bob})
    if (daemon.store->account(owner)) {
      CHECK(daemon.put(owner, "new", "new"));
      CHECK(daemon.get(owner, "new") == "new");
    }
  REQUIRE(daemon.open());
  REQUIRE(daemon.store->scrub_all([](const ScrubReport&) { return true; }));
  CHECK(whole_objects(daemon) <= whole);
  return whole;
}

}  // namespace

TEST_CASE("No damage to a file of the store shows wrong bytes or stops the others, and a damaged catalogue costs nothing", "[store]") {
  Daemon base(std::make_shared<MemoryDisk>(), 3);
  fill(base);
  REQUIRE(tried(base, {}) == 6u);
  const auto snapshot = base.disk->snapshot();
  const Files files(snapshot.begin(), snapshot.end());
  REQUIRE(files.size() >= 12);
  for (const auto& [path, content] : files) {
    const bool catalogue = path.find("/catalogue/") != std::string::npos;
    const bool marker = path.ends_with("/atoll-daemon");
    const auto changed = [&](std::size_t at, const char* how, const Bytes& bytes) {
      INFO(path << ": " << how << " at " << at);
      const auto whole = tried(base, {{path, bytes}});
      if (marker) return;
      REQUIRE(whole);
      if (path.find("/objects/") != std::string::npos) CHECK(*whole >= 5);
      if (path.find("/accounts/") != std::string::npos) CHECK((*whole == 3 || *whole == 6));
      if (catalogue) CHECK(*whole == 6);
    };
    for (std::size_t at = 0; at < content.size(); at += at < 128 ? 1 : 512) {
      Bytes bytes = content;
      bytes[at] ^= 0x10;
      changed(at, "flipped", bytes);
    }
    for (std::size_t at = 0; at < content.size(); at += 512) {
      Bytes bytes = content;
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(std::min(content.size(), at + 512)), std::uint8_t{0});
      if (bytes != content && !catalogue) changed(at, "zeroed", bytes);
      changed(at, "cut", Bytes(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(at)));
    }
    if (!content.empty()) changed(content.size() - 1, "cut", Bytes(content.begin(), content.end() - 1));
    // A log at every byte, of which some are the ends of batches.
    if (path.find("/log-") != std::string::npos)
      for (std::size_t at = 0; at < std::min<std::size_t>(content.size(), 1500); ++at)
        changed(at, "cut", Bytes(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(at)));
    for (const auto& [other, bytes] : files) {
      if (other <= path || marker || other.ends_with("/atoll-daemon")) continue;
      INFO(path << " and " << other << " swapped");
      CHECK(tried(base, {{path, bytes}, {other, content}}));
    }
  }
}

TEST_CASE("Any call to the disk may fail once while a store opens: the next opening finds everything", "[store]") {
  Daemon base(std::make_shared<MemoryDisk>(), 3);
  fill(base);
  for (const bool damaged : {false, true}) {
    for (const Code code : {Code::io, Code::no_space}) {
      for (const bool wholly : {false, true}) {
        bool fired = true;
        for (std::uint64_t call = 1; fired; ++call) {
          REQUIRE(call < 400);
          Daemon daemon(std::shared_ptr<MemoryDisk>(base.disk->clone()), 3);
          // A catalogue that has to be made again first.
          if (damaged) {
            const auto names = daemon.disk->list(folder + "/catalogue").value();
            for (const std::string& name : names)
              if (name.starts_with("base-")) daemon.disk->damage(folder + "/catalogue/" + name, 3, as_bytes("rot"));
          }
          fired = false;
          const std::uint64_t from = daemon.disk->calls();
          daemon.disk->set_fault_rule([&](const MemoryDisk::Call& now) -> std::optional<MemoryDisk::Fault> {
            if (now.number != from + call) return std::nullopt;
            fired = true;
            return MemoryDisk::Fault{code, !wholly, wholly};
          });
          const bool opened = daemon.open().has_value() && daemon.store->maintain().has_value();
          daemon.disk->clear_faults();
          INFO("call " << call << " fails");
          if (opened) CHECK(whole_objects(daemon) == 6);
          Daemon after(std::shared_ptr<MemoryDisk>(daemon.disk->crash(call)), 3);
          REQUIRE(after.open());
          REQUIRE(after.store->maintain());
          CHECK(whole_objects(after) == 6);
          CHECK(after.usage(ann).reserved_bytes == 0);
          // A catalogue that was lost no longer knows what was in the trash.
          const std::uint64_t resurrected = damaged ? charged_bytes(4) : 0;
          CHECK(after.usage(ann).used_bytes == charged_bytes(10) + charged_bytes(16384) + charged_bytes(40000) + resurrected);
        }
      }
    }
  }
}
