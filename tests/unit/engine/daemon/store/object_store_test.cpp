// What a node daemon's store promises: whole or not there, counted, verified, and so again after any crash or failure.
#include <map>
#include <thread>

#include "engine/daemon/store/catalogue_log.h"
#include "tests/unit/engine/daemon/store/stored.h"

using namespace atl;
using namespace atl::store_test;

TEST_CASE("A stored object comes back whole and in ranges, also after a restart", "[store]") {
  Daemon daemon;
  daemon.begin();
  for (const std::size_t size : {0u, 1u, 16384u, 16385u, 300000u}) {
    const std::string text = text_of(size, 1);
    const std::string name = "object-" + std::to_string(size);
    REQUIRE(daemon.put(ann, name, text));
    for (int round = 0; round < 2; ++round) {
      CHECK(daemon.get(ann, name) == text);
      CHECK(daemon.get(ann, name, size / 2, 20000) == text.substr(size / 2, 20000));
      CHECK(daemon.get(ann, name, size, 10) == "");
      CHECK(daemon.store->stat(ann, name)->size == size);
      REQUIRE(daemon.open());
    }
  }
  CHECK(daemon.error_of(ann, "none") == Code::not_found);
  CHECK(daemon.error_of(bob, "object-1") == Code::not_found);
  CHECK(daemon.store->stat(account_number(9), "object-1").error().code == Code::not_found);
}

TEST_CASE("A name never changes its content, and a body must be what its hash says", "[store]") {
  Daemon daemon;
  daemon.begin();
  REQUIRE(daemon.put(ann, "name", "content"));
  CHECK(daemon.put(ann, "name", "content"));
  CHECK(daemon.store->counters().puts_repeated == 1);
  CHECK(daemon.put(ann, "name", "contenT").error().code == Code::conflict);
  CHECK(daemon.put(bob, "name", "another's"));
  CHECK(daemon.put(ann, "../x", "content").error().code == Code::invalid);
  for (const std::string body : {"shorT", "shor", "shorts"}) {
    auto upload = daemon.store->put(ann, "other", 5, content_hash(as_bytes("short")));
    REQUIRE(upload);
    auto done = (*upload)->write(as_bytes(body));
    if (done) done = (*upload)->finish();
    CHECK(done.error().code == Code::invalid);
  }
  CHECK(daemon.error_of(ann, "other") == Code::not_found);
  CHECK(daemon.object_files() == 2);
  CHECK(daemon.usage(ann).reserved_bytes == 0);
}

TEST_CASE("Of uploads that race for a name the first to end wins", "[store]") {
  Daemon daemon;
  daemon.begin();
  const std::string texts[] = {"one", "two", "one"};
  std::unique_ptr<ObjectUpload> uploads[3];
  for (int i = 0; i < 3; ++i) {
    uploads[i] = daemon.store->put(ann, "name", 3, content_hash(as_bytes(texts[i]))).value();
    REQUIRE(uploads[i]->write(as_bytes(texts[i])));
  }
  CHECK(uploads[0]->finish());
  CHECK(uploads[1]->finish().error().code == Code::conflict);
  CHECK(uploads[2]->finish());
  for (auto& upload : uploads) upload.reset();
  CHECK(daemon.get(ann, "name") == "one");
  CHECK(daemon.object_files() == 1);
  CHECK(daemon.usage(ann).used_bytes == charged_bytes(3));
}

TEST_CASE("Threads that store, read, list and remove at once do not disturb each other", "[store]") {
  Daemon daemon(std::make_shared<MemoryDisk>(), 16);
  daemon.begin();
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 40; ++i) {
        const std::string name = "t" + std::to_string(t) + "-" + std::to_string(i);
        if (!daemon.put(ann, name, text_of(100, static_cast<unsigned>(i)))) ++failures;
        if (daemon.get(ann, name) != text_of(100, static_cast<unsigned>(i))) ++failures;
        if (!daemon.store->list(ann, "t", "", 50)) ++failures;
        if (i % 2 == 1 && !daemon.store->remove(ann, {name})) ++failures;
        if (t == 0 && !daemon.store->maintain()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(daemon.usage(ann).objects == 80);
  CHECK(daemon.usage(ann).reserved_bytes == 0);
  REQUIRE(daemon.open());
  CHECK(daemon.store->list(ann, "t", "", 1000)->size() == 80);
  CHECK(daemon.usage(ann).objects == 80);
}

TEST_CASE("Space is reserved before a body is read, and given back when the upload ends", "[store]") {
  Daemon daemon;
  daemon.begin(3 * charged_bytes(1000));
  const ContentHash hash = content_hash(as_bytes(text_of(1000, 1)));
  auto first = daemon.store->put(ann, "a", 1000, hash);
  auto second = daemon.store->put(ann, "b", 1000, hash);
  auto third = daemon.store->put(ann, "c", 1000, hash);
  REQUIRE(third);
  CHECK(daemon.store->put(ann, "d", 1000, hash).error().code == Code::no_space);
  CHECK(daemon.usage(ann).reserved_bytes == 3 * charged_bytes(1000));
  CHECK(daemon.put(bob, "d", "another's space"));
  third->reset();
  CHECK(daemon.put(ann, "d", text_of(1000, 1)));
  first->reset();
  second->reset();
  CHECK(daemon.usage(ann).reserved_bytes == 0);
  CHECK(daemon.usage(ann).used_bytes == charged_bytes(1000));
  daemon.options.capacity_bytes = 2 * charged_bytes(1000);
  REQUIRE(daemon.open());
  CHECK(daemon.put(ann, "e", "x").error().code == Code::no_space);
}

TEST_CASE("What is removed stays in the trash for its time, beside the quota, and can be brought back", "[store]") {
  Daemon daemon;
  daemon.begin(4 * charged_bytes(1000));
  daemon.pass(1000);  // whatever is old enough in a store that is not new
  REQUIRE(daemon.put(ann, "a", text_of(1000, 1)));
  REQUIRE(daemon.put(ann, "b", text_of(1000, 2)));
  REQUIRE(daemon.store->remove(ann, {"a", "b", "none"}));
  CHECK(daemon.error_of(ann, "a") == Code::not_found);
  CHECK(daemon.usage(ann).used_bytes == 0);
  CHECK(daemon.usage(ann).trash_bytes == 2 * charged_bytes(1000));
  REQUIRE(daemon.put(ann, "b", text_of(1000, 3)));
  REQUIRE(daemon.open());
  CHECK(daemon.store->restore(ann) == 1u);
  CHECK(daemon.get(ann, "a") == text_of(1000, 1));
  CHECK(daemon.get(ann, "b") == text_of(1000, 3));
  daemon.pass(99);
  CHECK(daemon.object_files() == 3);
  daemon.pass(1);
  CHECK(daemon.object_files() == 2);
  CHECK(daemon.usage(ann).trash_objects == 0);
  CHECK(daemon.store->usage().used_bytes == 2 * charged_bytes(1000));
  REQUIRE(daemon.open());
  CHECK(daemon.store->usage().used_bytes == 2 * charged_bytes(1000));
}

TEST_CASE("Listings page through a folded and a changing catalogue like through a plain map", "[store]") {
  Daemon daemon(std::make_shared<MemoryDisk>(), 60);
  daemon.begin();
  std::map<std::string, std::string> model;
  for (int i = 0; i < 700; ++i) {
    const std::string name = (i % 3 == 0 ? "p-" : "q-") + std::to_string(i * 7919 % 1000);
    REQUIRE(daemon.put(ann, name, name));
    model[name] = name;
    if (i % 5 == 4) {
      const std::string gone = std::next(model.begin(), i % static_cast<int>(model.size()))->first;
      REQUIRE(daemon.store->remove(ann, {gone}));
      model.erase(gone);
    }
    if (i % 50 == 0) REQUIRE(daemon.store->maintain());
    if (i % 230 == 0) REQUIRE(daemon.open());
  }
  CHECK(daemon.disk->list(folder + "/catalogue")->size() == 2);
  for (const std::string prefix : {"", "p-", "q-1", "r"}) {
    std::vector<std::string> expected;
    for (const auto& [name, text] : model) {
      if (name.starts_with(prefix)) expected.push_back(name);
    }
    std::vector<std::string> paged;
    for (std::string after;;) {
      const auto page = daemon.store->list(ann, prefix, after, 7);
      REQUIRE(page);
      if (page->empty()) break;
      paged.insert(paged.end(), page->begin(), page->end());
      after = paged.back();
    }
    CHECK(paged == expected);
  }
  CHECK(daemon.store->list(bob, "", "", 10)->empty());
  CHECK(daemon.usage(ann).objects == model.size());
}

TEST_CASE("Rot is never handed out; a scrub finds it, and the node ceases to claim the object", "[store]") {
  enum class Found { by_reading, by_and_by, by_asking };
  for (const Found found : {Found::by_reading, Found::by_and_by, Found::by_asking}) {
    Daemon daemon;
    daemon.begin();
    REQUIRE(daemon.put(ann, "good", text_of(40000, 1)));
    REQUIRE(daemon.put(ann, "rots", text_of(40000, 2)));
    const std::uint8_t flipped = static_cast<std::uint8_t>(text_of(40000, 2)[20000] ^ 1);
    daemon.disk->damage(object_path(folder, objects_per_directory + 1), object_header_bytes + 16400 + 16 + 20000 - 16384, ByteView(&flipped, 1));
    CHECK(daemon.get(ann, "rots", 0, 16384) == text_of(40000, 2).substr(0, 16384));
    if (found == Found::by_reading) {
      CHECK(daemon.error_of(ann, "rots") == Code::corrupt);
    } else if (found == Found::by_asking) {
      CHECK(daemon.store->scrub_all([](const ScrubReport&) { return false; }).error().code == Code::cancelled);
      const auto report = daemon.store->scrub_all([](const ScrubReport&) { return true; });
      REQUIRE(report);
      CHECK(report->rotten == 0);  // the first pass had given it up before it was stopped
      CHECK(report->objects == 1);
      CHECK(report->bytes == 40000);
    } else {
      daemon.pass(1);
      CHECK(daemon.store->counters().scrub_rounds == 1);
      CHECK(daemon.store->counters().scrubbed_objects == 2);
    }
    CHECK(daemon.store->counters().rotten == 1);
    CHECK(daemon.error_of(ann, "rots") == Code::not_found);
    CHECK(daemon.store->list(ann, "", "", 10) == std::vector<std::string>{"good"});
    CHECK(daemon.store->restore(ann) == 0u);
    CHECK(daemon.put(ann, "rots", text_of(40000, 2)));
    CHECK(daemon.get(ann, "rots") == text_of(40000, 2));
  }
}

TEST_CASE("After a crash at any step every acknowledged object is there, none is half, and no space is lost", "[store]") {
  for (std::uint64_t step = 1;; ++step) {
    bool ended = false;
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      Daemon daemon(std::make_shared<MemoryDisk>(), 3);
      daemon.begin();
      REQUIRE(daemon.put(ann, "kept", text_of(20000, 9)));
      std::map<std::string, bool> acknowledged;
      bool removed = false;
      bool all = true;
      daemon.disk->power_off_at(step);
      for (unsigned i = 0; i < 4; ++i) {
        const std::string name = "object-" + std::to_string(i);
        acknowledged[name] = daemon.put(ann, name, text_of(17000, i)).has_value();
        all = all && acknowledged[name];
        if (i == 1) removed = daemon.store->remove(ann, {"object-0"}).has_value();
        if (i == 2) all = daemon.store->maintain() && all;
      }
      all = all && removed;
      ended = ended || all;
      daemon.store.reset();
      Daemon after(std::shared_ptr<MemoryDisk>(daemon.disk->crash(seed)), 3);
      INFO("power off at step " << step << ", seed " << seed);
      REQUIRE(after.open());
      CHECK(after.store->counters().catalogue_failures == 0);
      REQUIRE(after.store->maintain());
      CHECK(after.get(ann, "kept") == text_of(20000, 9));
      std::uint64_t used = charged_bytes(20000);
      std::size_t files = 1 + after.usage(ann).trash_objects;
      for (unsigned i = 0; i < 4; ++i) {
        const std::string name = "object-" + std::to_string(i);
        const auto found = after.get(ann, name);
        if (found) {
          CHECK(*found == text_of(17000, i));
          CHECK_FALSE((i == 0 && removed));
          used += charged_bytes(17000);
          ++files;
        } else {
          CHECK(found.error().code == Code::not_found);
          CHECK((!acknowledged[name] || i == 0));
        }
      }
      CHECK(after.usage(ann).used_bytes == used);
      CHECK(after.object_files() == files);
      REQUIRE(after.put(ann, "object-3", text_of(17000, 3)));
    }
    if (ended) break;
    REQUIRE(step < 400);
  }
}

TEST_CASE("Any call to the disk may fail once: nothing is acknowledged, half or lost, and work goes on", "[store]") {
  for (const Code code : {Code::io, Code::no_space}) {
    for (const bool wholly : {false, true}) {
      for (std::uint64_t call = 1;; ++call) {
        Daemon daemon(std::make_shared<MemoryDisk>(), 3);
        daemon.begin();
        REQUIRE(daemon.put(ann, "kept", text_of(20000, 9)));
        REQUIRE(daemon.put(ann, "gone", text_of(500, 8)));
        bool fired = false;
        const std::uint64_t from = daemon.disk->calls();
        daemon.disk->set_fault_rule([&](const MemoryDisk::Call& now) -> std::optional<MemoryDisk::Fault> {
          if (now.number != from + call) return std::nullopt;
          fired = true;
          return MemoryDisk::Fault{code, !wholly, wholly};
        });
        const bool stored = daemon.put(ann, "object", text_of(17000, 1)).has_value();
        (void)daemon.store->remove(ann, {"gone"});
        (void)daemon.store->maintain();
        daemon.disk->clear_faults();
        INFO("call " << call << " fails");
        CHECK(daemon.usage(ann).reserved_bytes == 0);
        if (stored) CHECK(daemon.get(ann, "object") == text_of(17000, 1));
        if (!stored) CHECK(daemon.error_of(ann, "object") == Code::not_found);
        Daemon after(std::shared_ptr<MemoryDisk>(daemon.disk->crash(call)), 3);
        REQUIRE(after.open());
        CHECK(after.get(ann, "kept") == text_of(20000, 9));
        const auto found = after.get(ann, "object");
        if (found) CHECK(*found == text_of(17000, 1));
        if (!found) CHECK_FALSE(stored);
        REQUIRE(daemon.put(ann, "object", text_of(17000, 1)));
        REQUIRE(daemon.store->remove(ann, {"gone"}));
        REQUIRE(daemon.store->maintain());
        CHECK(daemon.store->trouble().empty());
        CHECK(daemon.usage(ann).used_bytes == charged_bytes(20000) + charged_bytes(17000));
        REQUIRE(daemon.open());
        REQUIRE(daemon.store->maintain());
        CHECK(daemon.get(ann, "object") == text_of(17000, 1));
        CHECK(daemon.object_files() == 3);
        if (!fired) break;
        REQUIRE(call < 400);
      }
    }
  }
}

TEST_CASE("A damaged catalogue is built again from the objects' own files", "[store]") {
  for (const std::string kind : {"base-", "log-"}) {
    Daemon daemon(std::make_shared<MemoryDisk>(), 3);
    daemon.begin();
    for (unsigned i = 0; i < 5; ++i) REQUIRE(daemon.put(ann, "object-" + std::to_string(i), text_of(100, i)));
    REQUIRE(daemon.store->maintain());
    for (unsigned i = 5; i < 7; ++i) REQUIRE(daemon.put(bob, "object-" + std::to_string(i), text_of(100, i)));
    daemon.store.reset();
    const auto names = daemon.disk->list(folder + "/catalogue").value();
    for (const std::string& name : names) {
      if (name.starts_with(kind)) daemon.disk->damage(folder + "/catalogue/" + name, 3, as_bytes("rot"));
    }
    REQUIRE(daemon.open());
    CHECK(daemon.store->counters().catalogue_failures == 1);
    REQUIRE(daemon.store->maintain());
    for (unsigned i = 0; i < 7; ++i)
      CHECK(daemon.get(i < 5 ? ann : bob, "object-" + std::to_string(i)) == text_of(100, i));
    CHECK(daemon.usage(ann).used_bytes == 5 * charged_bytes(100));
    CHECK(daemon.usage(bob).objects == 2);
  }
}

TEST_CASE("A folder of a newer version or of something else is refused and left alone", "[store]") {
  Daemon daemon;
  daemon.begin();
  daemon.store.reset();
  REQUIRE(replace_file(*daemon.disk, folder + "/atoll-daemon", as_bytes("atoll-daemon 2\n")));
  const auto before = daemon.disk->snapshot();
  CHECK(daemon.open().error().code == Code::newer_format);
  CHECK(daemon.disk->snapshot() == before);
  Daemon other;
  REQUIRE(other.disk->make_directory(folder));
  REQUIRE(replace_file(*other.disk, folder + "/atoll-node", as_bytes("atoll-node 1\n")));
  CHECK(other.open().error().code == Code::not_empty);
}

TEST_CASE("An account's objects go with it, and its file can be written beside a running store", "[store]") {
  Daemon daemon;
  daemon.begin();
  REQUIRE(daemon.put(ann, "a", "x"));
  Account more;
  more.id = account_number(3);
  more.quota_bytes = 1 << 20;
  more.label = "a friend";
  more.blob = Bytes{1, 2, 3};
  REQUIRE(write_account(*daemon.disk, folder, more));
  CHECK(daemon.store->account(more.id) == more);
  CHECK(daemon.put(more.id, "a", "y"));
  CHECK(daemon.store->accounts()->size() == 3);
  REQUIRE(daemon.store->remove_account(ann));
  CHECK(daemon.error_of(ann, "a") == Code::not_found);
  CHECK(daemon.store->accounts()->size() == 2);
  daemon.pass(100);
  CHECK(daemon.object_files() == 1);
}
