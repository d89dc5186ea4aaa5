// What a delegate is for: an owner who is away for long, or whose computer is gone.
#include "cache/care/delegate_keeper.h"
#include "cache/delegate/delegate.h"
#include "cache/recovery/recovery.h"
#include "tests/unit/cache/care/cared.h"

using namespace atl;

namespace {

constexpr Duration day = std::chrono::hours(24);

/// A drive of 2/4 on ten nodes whose owner has made a delegate, with the options that a person would get.
struct Away : Cared {
  Away() : Cared({2, 4}, 6) {
    REQUIRE(elsewhere.make_directory("/delegate"));
    auto made = delegate_keeper(drive->care())->make_delegate("drive", {});
    REQUIRE(made);
    auto grant = decode_delegate_grant(made->file);
    REQUIRE(grant);
    DelegateOptions options;
    options.state_path = "/delegate/state";
    const auto reach = [this](const std::vector<DelegatedNode>&, const KeyPair&) -> Result<Engine*> { return &engine; };
    delegate.emplace(std::move(*grant), Delegate::Seams{elsewhere, runtime, random, reach}, options, std::stop_token());
  }
  /// Ninety days, in which seven of the ten nodes go for good, one every twelve days. Shards that the delegate rebuilt.
  std::uint64_t pass_the_time(bool with_delegate) {
    std::uint64_t rebuilt = 0;
    for (int days = 0; days < 90; ++days) {
      if (days % 12 == 6) engine.all()[static_cast<std::size_t>(days / 12)].absent = true;
      for (int quarter = 0; quarter < 4; ++quarter) {
        runtime.advance(day / 4);
        if (!with_delegate) continue;
        auto round = delegate->round();
        INFO((round ? std::string() : round.error().what));
        REQUIRE(round);
        CHECK(round->segments_lost == 0);
        rebuilt += round->shards_rebuilt;
      }
    }
    return rebuilt;
  }

  MemoryDisk elsewhere;
  std::optional<Delegate> delegate;
};

}  // namespace

TEST_CASE("An owner away for 90 days, in which seven of ten nodes go, finds everything where a delegate looked after it", "[delegate]") {
  Away f;
  f.close();
  const std::uint64_t rebuilt = f.pass_the_time(true);
  CHECK(rebuilt >= 4);  // each of the first homes at least
  f.open();
  f.step(std::chrono::minutes(10));
  const DelegateStatus status = delegate_keeper(f.drive->care())->delegates().at(0);
  CHECK(status.taken_over == 3);  // on the three nodes that are left
  CHECK(status.refused == 0);
  CHECK(f.whole());
  CHECK(f.drive->care().status().worst_margin == 1);
}

TEST_CASE("And nothing where nobody did", "[delegate]") {
  Away f;
  f.close();
  CHECK(f.pass_the_time(false) == 0);
  f.open();
  f.step(std::chrono::minutes(10));
  REQUIRE(f.drive->drop_cache());
  Bytes out(1000);
  CHECK_FALSE(f.drive->read(f.file, 0, out, false, {}));
}

TEST_CASE("Whoever recovers a drive finds what its delegate did, with nothing but the keys and the nodes", "[delegate]") {
  Away f;
  f.lose_computer();
  CHECK(f.pass_the_time(true) >= 4);
  const std::vector<NodeSpec> nodes = FakeEngine::specs(f.engine.all());
  const Duration patience = std::chrono::seconds(5);
  auto survey = survey_heads(f.seams(), f.engine, nodes, f.keyring, patience);
  REQUIRE(survey);
  REQUIRE(survey->head);
  REQUIRE(rebuild_state(f.seams(), f.directory(), f.engine, *survey->head, f.keyring, nodes, patience, {}));
  REQUIRE(claim_epoch(f.seams(), f.directory(), f.engine, nodes, f.keyring, survey->epoch_max + 1, HistoryPoint::of(*survey->head), patience));
  f.open();
  f.step(std::chrono::minutes(10));
  CHECK(delegate_keeper(f.drive->care())->delegates().at(0).taken_over == 3);
  CHECK(f.whole());
}
