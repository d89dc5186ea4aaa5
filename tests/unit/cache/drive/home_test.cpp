// The state folder's keys and lock: what opens a drive, what does not, and what a crash or a stranger cannot do to it.
#include "cache/drive/home.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "engine/base/posix_disk.h"
#include "tests/support/memory_disk.h"
#include "tests/support/temporary_folder.h"

namespace atl {
namespace {

using namespace std::chrono_literals;

/// A drive in /home of a disk in memory.
struct Sample {
  explicit Sample(std::optional<std::string_view> passphrase = std::nullopt) {
    REQUIRE(disk.make_directory("/home").has_value());
    REQUIRE(disk.sync_directory("/").has_value());
    REQUIRE(create_home(disk, "/home", keyring, recovery, passphrase, random).has_value());
  }

  std::string text() { return std::string(as_text(disk.content("/home/volume"))); }
  void set_text(const std::string& text) { REQUIRE(replace_file(disk, "/home/volume", as_bytes(text)).has_value()); }
  /// Replaces what stands between quotes after `name`.
  void change(const std::string& from, const std::string& to) {
    std::string content = text();
    const std::size_t at = content.find(from);
    REQUIRE(at != std::string::npos);
    set_text(content.replace(at, from.size(), to));
  }

  SystemRandom random;
  MemoryDisk disk;
  Keyring keyring = Keyring::generate(random).rotated(random);
  SecretKey recovery = SecretKey::random(random);
};

Result<std::string> never_asked() {
  FAIL("no passphrase is needed here");
  return std::string();
}

bool same(const Result<Keyring>& found, const Keyring& expected) {
  if (!found || found->volume() != expected.volume() || found->current() != expected.current()) return false;
  return found->derive(found->current(), KeyPurpose::content)
      ->equals(*expected.derive(expected.current(), KeyPurpose::content));
}

}  // namespace

TEST_CASE("a drive without a passphrase opens by its local key, and nobody is asked") {
  Sample sample;
  CHECK(same(unlock_home(sample.disk, "/home", never_asked), sample.keyring));
  const auto info = read_home(sample.disk, "/home");
  REQUIRE(info.has_value());
  CHECK(info->format == 1);
  CHECK(info->volume == sample.keyring.volume());
  CHECK_FALSE(info->passphrase);
}

TEST_CASE(
    "a drive with a passphrase opens by it alone; a wrong one is told, and an unwillingness to give one passed on") {
  Sample sample("correct horse");
  CHECK(read_home(sample.disk, "/home")->passphrase);
  CHECK_FALSE(*sample.disk.exists("/home/local.key"));
  int asked = 0;
  const auto answer = [&](const char* text) {
    return unlock_home(sample.disk, "/home", [&, text]() -> Result<std::string> {
      ++asked;
      return std::string(text);
    });
  };
  CHECK(same(answer("correct horse"), sample.keyring));
  CHECK(asked == 1);
  CHECK(answer("wrong horse").error().code == Code::key);
  CHECK(asked == 2);
  const auto refused =
      unlock_home(sample.disk, "/home", []() -> Result<std::string> { return fail(Code::cancelled, "no"); });
  CHECK(refused.error().code == Code::cancelled);
  CHECK(same(unlock_home_with_recovery_key(sample.disk, "/home", sample.recovery), sample.keyring));
}

TEST_CASE("passphrase parameters that somebody weakened are refused before the passphrase is used") {
  Sample sample("correct horse");
  sample.change("\"operations\": 3", "\"operations\": 1");
  const auto result =
      unlock_home(sample.disk, "/home", []() -> Result<std::string> { return std::string("correct horse"); });
  REQUIRE(result.error().code == Code::key);
  CHECK(result.error().what.find("weaker") != std::string::npos);
}

TEST_CASE("the recovery key opens the folder when the local key is gone; another drive's does not") {
  Sample sample;
  REQUIRE(sample.disk.remove("/home/local.key").has_value());
  const auto locked = unlock_home(sample.disk, "/home", never_asked);
  REQUIRE(locked.error().code == Code::key);
  CHECK(locked.error().what.find("local.key") != std::string::npos);
  CHECK(same(unlock_home_with_recovery_key(sample.disk, "/home", sample.recovery), sample.keyring));
  CHECK(unlock_home_with_recovery_key(sample.disk, "/home", SecretKey::random(sample.random)).error().code ==
        Code::key);
}

TEST_CASE("a local key that is not the drive's, or is cut, does not open it") {
  Sample sample;
  sample.disk.cut("/home/local.key", 31);
  CHECK(unlock_home(sample.disk, "/home", never_asked).error().code == Code::key);
  sample.disk.cut("/home/local.key", 33);
  CHECK(unlock_home(sample.disk, "/home", never_asked).error().code == Code::key);
  sample.disk.cut("/home/local.key", 32);
  CHECK(unlock_home(sample.disk, "/home", never_asked).error().code == Code::key);
}

TEST_CASE("a folder without a drive, a newer one and a damaged one are told apart") {
  Sample sample;
  REQUIRE(sample.disk.make_directory("/empty").has_value());
  CHECK(read_home(sample.disk, "/empty").error().code == Code::not_found);
  CHECK(unlock_home(sample.disk, "/empty", never_asked).error().code == Code::not_found);

  const std::string good = sample.text();
  sample.change("\"format\": 1", "\"format\": 2");
  const auto newer = read_home(sample.disk, "/home");
  REQUIRE(newer.error().code == Code::newer_format);
  CHECK(newer.error().what.find("format 2") != std::string::npos);
  sample.set_text("{\"format\": 2}");
  CHECK(read_home(sample.disk, "/home").error().code == Code::newer_format);

  for (const char* text :
       {"", "{", "[]", "{}", "{\"format\": 0}", "{\"format\": \"1\"}", "{\"format\": 1}", "{\"format\": -1}",
        "{\"format\": 1, \"volume\": \"00\"}", "{\"format\": 1, \"volume\": \"00112233445566778899aabbccddeeff\"}",
        "{\"format\": 1, \"volume\": \"00112233445566778899aabbccddeeff\", \"keyring\": 7}",
        "{\"format\": 1, \"volume\": \"00112233445566778899aabbccddeeff\", \"keyring\": {\"recovery_key\": \"AA==\"}}",
        "{\"format\": 1, \"volume\": \"00112233445566778899aabbccddeeff\", \"keyring\": {\"recovery_key\": \"AA==\", "
        "\"passphrase\": 1}}"}) {
    INFO(text);
    sample.set_text(text);
    CHECK(read_home(sample.disk, "/home").error().code == Code::corrupt);
    CHECK(unlock_home(sample.disk, "/home", never_asked).error().code == Code::corrupt);
  }
  for (std::size_t length = 0; length + 3 < good.size(); ++length) {
    sample.set_text(good.substr(0, length));
    REQUIRE(read_home(sample.disk, "/home").error().code == Code::corrupt);
  }
  sample.set_text(good);
  CHECK(same(unlock_home(sample.disk, "/home", never_asked), sample.keyring));
}

TEST_CASE("a volume id that does not belong to the keyring is refused") {
  Sample sample;
  const std::string id = sample.keyring.volume().hex();
  sample.change(id, sample.random.id<VolumeId>().hex());
  CHECK(unlock_home(sample.disk, "/home", never_asked).error().code == Code::corrupt);
}

TEST_CASE("keys with any byte changed, cut off or swapped are refused, or are the same keys") {
  Sample sample;
  const std::string good = sample.text();
  const Bytes local = sample.disk.content("/home/local.key");
  const auto judge = [&] {
    const auto opened = unlock_home(sample.disk, "/home", never_asked);
    if (opened) CHECK(same(opened, sample.keyring));
    if (!opened) CHECK((opened.error().code == Code::corrupt || opened.error().code == Code::key || opened.error().code == Code::newer_format));
    const auto by_kit = unlock_home_with_recovery_key(sample.disk, "/home", sample.recovery);
    if (by_kit) CHECK(same(by_kit, sample.keyring));
    return opened.has_value() || by_kit.has_value();
  };
  for (std::size_t at = 0; at < good.size(); ++at) {
    CAPTURE(at);
    for (const int bits : {0x01, 0x20, 0x80}) {
      std::string changed = good;
      changed[at] = static_cast<char>(changed[at] ^ bits);
      sample.set_text(changed);
      judge();
    }
  }
  sample.set_text(good);
  for (std::size_t at = 0; at < local.size(); ++at) {
    CAPTURE(at);
    sample.disk.damage("/home/local.key", at, Bytes{static_cast<std::uint8_t>(local[at] ^ 0x08)});
    CHECK(unlock_home(sample.disk, "/home", never_asked).error().code == Code::key);
    sample.disk.damage("/home/local.key", 0, local);
  }
  CHECK(judge());
  // The one file in the other's place.
  sample.set_text(std::string(as_text(local)));
  CHECK_FALSE(judge());
  sample.set_text(good);
  REQUIRE(replace_file(sample.disk, "/home/local.key", as_bytes(good)));
  CHECK(unlock_home(sample.disk, "/home", never_asked).error().code == Code::key);
}

TEST_CASE("a second drive is never written over the first") {
  Sample sample;
  const auto before = sample.disk.snapshot();
  const auto again = create_home(sample.disk, "/home", Keyring::generate(sample.random),
                                 SecretKey::random(sample.random), std::nullopt, sample.random);
  CHECK(again.error().code == Code::exists);
  CHECK(sample.disk.snapshot() == before);
}

TEST_CASE(
    "a disk that fails anywhere while a drive is made leaves no drive behind, and a power cut a whole one or none") {
  SystemRandom random;
  const Keyring keyring = Keyring::generate(random);
  const SecretKey recovery = SecretKey::random(random);
  bool finished = false;
  for (std::uint64_t nth = 1; !finished; ++nth) {
    MemoryDisk disk;
    REQUIRE(disk.make_directory("/home").has_value());
    disk.fail_call(nth, {Code::no_space, true});
    finished = create_home(disk, "/home", keyring, recovery, std::nullopt, random).has_value();
    disk.clear_faults();
    if (finished) break;
    CHECK(read_home(disk, "/home").error().code == Code::not_found);
    CHECK_FALSE(*disk.exists("/home/local.key"));
    REQUIRE(nth < 100);
  }
  for (std::uint64_t nth = 1; nth < 20; ++nth)
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      MemoryDisk disk;
      REQUIRE(disk.make_directory("/home").has_value());
      REQUIRE(disk.sync_directory("/").has_value());
      disk.power_off_at(nth);
      const bool made = create_home(disk, "/home", keyring, recovery, std::nullopt, random).has_value();
      disk.clear_faults();
      const auto after = disk.crash(seed);
      INFO("power cut at change " << nth << ", seed " << seed);
      const auto opened = unlock_home(*after, "/home", never_asked);
      if (made) REQUIRE(opened.has_value());
      if (opened)
        REQUIRE(same(opened, keyring));
      else
        REQUIRE(opened.error().code == Code::not_found);
    }
}

TEST_CASE("key files are for their owner alone") {
  const TemporaryFolder folder;
  PosixDisk disk;
  SystemRandom random;
  const mode_t before = ::umask(0);
  const auto made =
      create_home(disk, folder.path(), Keyring::generate(random), SecretKey::random(random), std::nullopt, random);
  const auto lock = HomeLock::acquire(folder.path(), 0ms);
  ::umask(before);
  REQUIRE(made.has_value());
  REQUIRE(lock.has_value());
  for (const char* name : {"volume", "local.key", "lock"}) {
    struct stat info {};
    REQUIRE(::stat((folder / name).c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
  }
}

TEST_CASE("a drive has one owner; the next is told who it is, and takes over when the lock is given back") {
  const TemporaryFolder folder;
  auto first = HomeLock::acquire(folder.path(), 0ms);
  REQUIRE(first.has_value());
  const auto second = HomeLock::acquire(folder.path(), 0ms);
  REQUIRE(second.error().code == Code::busy);
  CHECK(second.error().what.find("process " + std::to_string(::getpid())) != std::string::npos);
  const auto began = std::chrono::steady_clock::now();
  CHECK(HomeLock::acquire(folder.path(), 60ms).error().code == Code::busy);
  CHECK(std::chrono::steady_clock::now() - began >= 60ms);
  first->reset();
  CHECK(HomeLock::acquire(folder.path(), 0ms).has_value());
  CHECK(HomeLock::acquire(folder.path() + "/absent", 0ms).error().code == Code::not_found);
}

TEST_CASE("the lock of a process that was killed is free again, for one that waits") {
  const TemporaryFolder folder;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    const auto lock = HomeLock::acquire(folder.path(), 0ms);
    const char sign = lock ? 'y' : 'n';
    (void)!::write(ready[1], &sign, 1);
    while (true) ::pause();
  }
  char sign = 0;
  REQUIRE(::read(ready[0], &sign, 1) == 1);
  CHECK(sign == 'y');
  const auto refused = HomeLock::acquire(folder.path(), 0ms);
  REQUIRE(::kill(holder, SIGKILL) == 0);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().what.find("process " + std::to_string(holder)) != std::string::npos);
  CHECK(HomeLock::acquire(folder.path(), 10s).has_value());
  REQUIRE(::waitpid(holder, nullptr, 0) == holder);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("the recovery key lies in the folder for whoever opens its keyring, and for nobody else") {
  Sample sample;
  const auto kept = read_recovery_key(sample.disk, "/home", sample.keyring);
  REQUIRE(kept.has_value());
  CHECK(kept->equals(sample.recovery));
  const Keyring other = Keyring::generate(sample.random).rotated(sample.random);
  CHECK_FALSE(read_recovery_key(sample.disk, "/home", other).has_value());
  sample.change("\"kept_recovery_key\"", "\"older_versions_had_none\"");
  CHECK(read_recovery_key(sample.disk, "/home", sample.keyring).error().code == Code::not_found);
}

TEST_CASE("keys that are rotated open what they opened, and the recovery key goes with them") {
  Sample sample;
  const Keyring next = sample.keyring.rotated(sample.random);
  const SecretKey fresh = SecretKey::random(sample.random);
  REQUIRE(rewrap_home(sample.disk, "/home", next, &fresh, std::nullopt, sample.random));
  CHECK(same(unlock_home(sample.disk, "/home", never_asked), next));
  CHECK(same(unlock_home_with_recovery_key(sample.disk, "/home", fresh), next));
  CHECK(unlock_home_with_recovery_key(sample.disk, "/home", sample.recovery).error().code == Code::key);
  CHECK(read_recovery_key(sample.disk, "/home", next)->equals(fresh));
  CHECK_FALSE(read_recovery_key(sample.disk, "/home", sample.keyring));  // the old epochs do not open the new key
  CHECK(next.derive(KeyEpoch{1}, KeyPurpose::content)->equals(*sample.keyring.derive(KeyEpoch{1}, KeyPurpose::content)));
}

TEST_CASE("a passphrase is set or removed, or keys are rotated: a crash amid that leaves the old way in or the new one") {
  struct Step {
    std::optional<std::string_view> before, after;
    bool rotate;
  };
  for (const Step& step : {Step{std::nullopt, std::nullopt, true}, Step{std::nullopt, "first", false}, Step{"first", std::nullopt, false}}) {
    Sample sample(step.before);
    const Keyring next = step.rotate ? sample.keyring.rotated(sample.random) : sample.keyring;
    const Bytes before = sample.disk.content("/home/volume");
    for (std::uint64_t nth = 1;; ++nth) {
      const auto disk = sample.disk.clone();
      disk->power_off_at(nth);
      const auto done = rewrap_home(*disk, "/home", next, step.rotate ? &sample.recovery : nullptr, step.after, sample.random);
      INFO("the power goes at change " << nth);
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        const auto after = disk->crash(seed + nth);
        const bool old_way = after->content("/home/volume") == before;
        CHECK_FALSE((done && old_way));
        const auto home = read_home(*after, "/home");
        REQUIRE(home);
        const std::optional<std::string_view> opens = old_way ? step.before : step.after;
        CHECK(home->passphrase == opens.has_value());
        if (!opens) CHECK(same(unlock_home(*after, "/home", never_asked), old_way ? sample.keyring : next));
        CHECK(same(unlock_home_with_recovery_key(*after, "/home", sample.recovery), old_way ? sample.keyring : next));
        if (done && step.after) CHECK_FALSE(*after->exists("/home/local.key"));
      }
      if (!done) continue;
      CHECK(nth > 4);
      if (step.after) CHECK(same(unlock_home(*disk, "/home", [&]() -> Result<std::string> { return std::string(*step.after); }), next));
      break;
    }
  }
}

}  // namespace atl
