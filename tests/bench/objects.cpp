// Fills the data folder of a node daemon that does not run with small objects of one account, through the store's own
// code, but without a flush for each, so that a million take minutes and not hours.
//
//   bench_objects DATA COUNT     prints how many are there
#include <cstdlib>
#include <iostream>

#include "engine/base/posix_disk.h"
#include "engine/base/random.h"
#include "engine/daemon/store/catalogue.h"
#include "engine/daemon/store/object_file.h"

namespace {

using namespace atl;

/// Forgets to flush: what it writes is there as long as the computer does not lose its power.
class Unflushed final : public File {
 public:
  explicit Unflushed(std::unique_ptr<File> file) : file_(std::move(file)) {}
  Result<std::size_t> read(std::uint64_t offset, MutableBytes out) override { return file_->read(offset, out); }
  Result<> write(std::uint64_t offset, ByteView in) override { return file_->write(offset, in); }
  Result<> write_gather(std::uint64_t offset, std::span<const ByteView> pieces) override { return file_->write_gather(offset, pieces); }
  Result<> sync() override { return {}; }
  Result<std::uint64_t> size() override { return file_->size(); }
  Result<> truncate(std::uint64_t size) override { return file_->truncate(size); }
  Result<> allocate(std::uint64_t size) override { return file_->allocate(size); }
  Result<> punch(std::uint64_t offset, std::uint64_t length) override { return file_->punch(offset, length); }
  Result<std::uint64_t> allocated() override { return file_->allocated(); }
  Result<std::shared_ptr<const std::uint8_t>> map(std::uint64_t offset, std::uint64_t length) override { return file_->map(offset, length); }

 private:
  std::unique_ptr<File> file_;
};

template <typename T>
T must(Result<T> result, const std::string& what) {
  if (!result) {
    std::cerr << "bench_objects: " << what << ": " << result.error().what << "\n";
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: bench_objects DATA COUNT\n";
    return 2;
  }
  const std::string folder = argv[1];
  const std::uint64_t count = std::strtoull(argv[2], nullptr, 10);
  PosixDisk disk;
  SystemRandom random;
  Account account;
  account.id = random.id<AccountId>();
  account.quota_bytes = std::uint64_t{1} << 40;
  account.label = "bench";
  must(write_account(disk, folder, account), "the account");

  std::map<ObjectKey, LiveObject> objects;
  BaseFacts facts;
  AccountTotals totals;
  const Bytes body(64, 'x');
  const ContentHash hash = content_hash(body);
  for (std::uint64_t id = 1; id <= count; ++id) {
    if (id == 1 || id % objects_per_directory == 0) must(disk.make_directory(object_directory(folder, id / objects_per_directory)), "a directory");
    std::array<std::uint8_t, 16> name;
    random.fill(name);
    ObjectHeader header;
    header.id = id;
    header.size = body.size();
    header.account = account.id;
    header.hash = hash;
    header.name = to_hex(name);
    auto file = must(disk.open(object_path(folder, id), OpenMode::create_new), "an object");
    ObjectFileWriter writer(std::make_unique<Unflushed>(std::move(file)), id);
    must(writer.write(body), "an object");
    must(writer.finish(header), "an object");
    objects.emplace(object_key(account.id, header.name), LiveObject{id, body.size()});
    totals.used_bytes += charged_bytes(body.size());
    ++totals.objects;
  }
  facts.next_id = facts.floor_id = count + 1;
  facts.totals.emplace_back(account.id, totals);
  must(Catalogue::rebuild(disk, folder + "/catalogue", objects, facts), "the catalogue");
  std::cout << objects.size() << "\n";
  return 0;
}
