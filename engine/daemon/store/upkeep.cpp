// Opening a data folder, and what a store does beside its requests: leftovers, trash, scrubbing, folding.
#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "engine/base/codec.h"
#include "engine/base/mutant.h"
#include "engine/daemon/store/store_impl.h"
#include "engine/daemon/store/sums.h"
#include "engine/node/node.h"

namespace atl {

namespace {

constexpr std::string_view marker_line = "atoll-daemon 1\n";
constexpr std::uint64_t fold_at = 32768;
constexpr std::size_t sweep_max = 500;
constexpr std::uint64_t scrub_seconds_max = 5;  // of a scrub's rate, made up at once
constexpr std::uint64_t save_cursor_every_s = 60;
constexpr std::uint64_t save_clock_every_s = 3600;

std::optional<std::uint64_t> number_in(const std::string& name, std::size_t digits) {
  std::uint64_t number = 0;
  const char* end = name.data() + name.size();
  if (name.size() != digits || std::from_chars(name.data(), end, number, 16).ptr != end) return std::nullopt;
  return number;
}

/// The numbers that the hexadecimal names of `digits` digits in a folder say, ascending.
Result<std::vector<std::uint64_t>> numbers_in(Disk& disk, const std::string& path, std::size_t digits) {
  auto names = disk.list(path);
  if (!names) return fail(names.error());
  std::vector<std::uint64_t> numbers;
  for (const std::string& name : *names) {
    if (auto number = number_in(name, digits)) numbers.push_back(*number);
  }
  return numbers;
}

/// Success if the folder is, or now is, a daemon's.
Result<> adopt(Disk& disk, const std::string& folder) {
  if (auto done = disk.make_directory(folder); !done) return done;
  const std::string marker = folder + "/atoll-daemon";
  auto text = read_file(disk, marker, 4096);
  if (text) {
    if (as_text(*text).starts_with(marker_line)) return {};
    if (as_text(*text).starts_with("atoll-daemon "))
      return fail(Code::newer_format, marker + " was written by a newer version of Atoll", "use that version or a later one");
    return fail(Code::corrupt, marker + " is damaged");
  }
  if (text.error().code != Code::not_found) return fail(text.error());
  for (const char* foreign : {"/atoll-node", "/objects"}) {
    auto there = disk.exists(folder + foreign);
    if (!there) return fail(there.error());
    auto ours = disk.exists(folder + "/catalogue");
    if (!ours) return fail(ours.error());
    if (*there && !*ours) return fail(Code::not_empty, folder + " holds something else than a daemon's data", "name an empty folder");
  }
  for (const char* name : {"/catalogue", "/objects", "/accounts"}) {
    if (auto done = disk.make_directory(folder + name); !done) return done;
  }
  return replace_file(disk, marker, as_bytes(marker_line));
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> ObjectStore::open(std::shared_ptr<Disk> disk, std::string folder,
                                                       StoreOptions options, const Clock& clock) {
  if (auto done = adopt(*disk, folder); !done) return fail(done.error());
  auto store = std::make_unique<ObjectStoreImpl>(std::move(disk), std::move(folder), options, clock);
  if (auto done = store->start(); !done) return fail(done.error());
  return store;
}

Result<> ObjectStoreImpl::start() {
  const std::string path = folder_ + "/catalogue";
  const std::uint64_t fold = options_.fold_at == 0 ? fold_at : options_.fold_at;
  auto opened = Catalogue::open(*disk_, path, fold, counters_);
  if (!opened && opened.error().code == Code::corrupt) {
    if (auto done = rebuild_catalogue(); !done) return done;
    opened = Catalogue::open(*disk_, path, fold, counters_);
  }
  if (!opened) return fail(opened.error());
  catalogue_ = std::move(*opened);
  auto directories = numbers_in(*disk_, folder_ + "/objects", 8);
  if (!directories) return fail(directories.error());
  old_directories_end_ = directories->empty() ? 0 : directories->back() + 1;
  catalogue_->begin_numbers_at(old_directories_end_ * objects_per_directory);
  clock_saved_s_ = cursor_saved_s_ = catalogue_->clock_s();
  return load_cursor();
}

Result<> ObjectStoreImpl::rebuild_catalogue() {
  ++counters_.catalogue_failures;
  std::map<ObjectKey, LiveObject> objects;
  BaseFacts facts;
  auto directories = numbers_in(*disk_, folder_ + "/objects", 8);
  if (!directories) return fail(directories.error());
  for (const std::uint64_t directory : *directories) {
    auto ids = numbers_in(*disk_, object_directory(folder_, directory), 16);
    if (!ids) return fail(ids.error());
    for (const std::uint64_t id : *ids) {
      facts.next_id = std::max(facts.next_id, id + 1);
      auto reader = ObjectFileReader::open(*disk_, folder_, id);
      if (!reader && (reader.error().code == Code::corrupt || reader.error().code == Code::not_found)) continue;
      if (!reader) return fail(reader.error());
      const ObjectHeader& header = (*reader)->header();
      if (!is_object_name(header.name)) continue;
      // Numbers grow: of two under one name the later one replaced the other, which was in the trash and goes there.
      LiveObject& slot = objects[object_key(header.account, header.name)];
      if (slot.id != 0) facts.trash.push_back({0, slot.id, header.account, slot.size, TrashReason::removed});
      slot = {id, header.size};
    }
  }
  return Catalogue::rebuild(*disk_, folder_ + "/catalogue", objects, std::move(facts));
}

Result<> ObjectStoreImpl::remove_leftovers() {
  if (leftovers_gone_) return {};
  std::unordered_set<std::uint64_t> trashed;
  for (const auto& entry : catalogue_->trash_before(UINT64_MAX, SIZE_MAX)) trashed.insert(entry.id);
  const std::uint64_t floor = catalogue_->floor_id();
  auto directories = numbers_in(*disk_, folder_ + "/objects", 8);
  if (!directories) return fail(directories.error());
  for (const std::uint64_t directory : *directories) {
    if (directory < floor / objects_per_directory || directory >= old_directories_end_) continue;
    auto ids = numbers_in(*disk_, object_directory(folder_, directory), 16);
    if (!ids) return fail(ids.error());
    for (const std::uint64_t id : *ids) {
      if (id < floor || trashed.contains(id)) continue;
      auto reader = ObjectFileReader::open(*disk_, folder_, id);
      if (reader) {
        auto found = catalogue_->find(object_key((*reader)->header().account, (*reader)->header().name));
        if (!found) return fail(found.error());
        if (*found && (*found)->id == id) continue;
        // Removed since the list of the trash was taken: the trash has it, and nothing new bears its number.
        const auto since = catalogue_->trash_of((*reader)->header().account);
        if (std::any_of(since.begin(), since.end(), [&](const auto& entry) { return entry.id == id; })) continue;
      } else if (reader.error().code == Code::corrupt) {
        // A claimed object whose header is rotten has no name to look up; a scrub finds it. Its blocks tell the two
        // apart: a file that never got its header starts with zeros.
        auto file = disk_->open(object_path(folder_, id), OpenMode::read);
        if (!file) return fail(file.error());
        Bytes head(object_header_bytes);
        auto count = (*file)->read(0, head);
        if (!count) return fail(count.error());
        head.resize(*count);
        if (std::any_of(head.begin(), head.end(), [](std::uint8_t byte) { return byte != 0; })) continue;
      } else {
        return fail(reader.error());
      }
      if (auto done = disk_->remove(object_path(folder_, id)); !done) return done;
      ++counters_.leftovers_removed;
    }
    if (auto done = disk_->sync_directory(object_directory(folder_, directory)); !done) return done;
  }
  catalogue_->leftovers_gone();
  leftovers_gone_ = true;
  return {};
}

Result<> ObjectStoreImpl::empty_trash() {
  const auto held_s = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(options_.trash_for).count());
  const std::uint64_t now = catalogue_->clock_s();
  if (now < held_s) return {};
  const auto entries = catalogue_->trash_before(mutant("trash-emptied-early") ? now + 1 : now - held_s + 1, sweep_max);
  if (entries.empty()) return {};
  std::unordered_set<std::uint64_t> touched;
  for (const auto& entry : entries) {
    auto done = disk_->remove(object_path(folder_, entry.id));
    if (!done && done.error().code != Code::not_found) return done;
    if (done) touched.insert(entry.id / objects_per_directory);
  }
  // The files go first and for good, so that no crash leaves one that nothing names.
  for (const std::uint64_t directory : touched) {
    if (auto done = disk_->sync_directory(object_directory(folder_, directory)); !done) return done;
  }
  if (auto done = catalogue_->forget(entries); !done) return done;
  counters_.swept += entries.size();
  return {};
}

Result<bool> ObjectStoreImpl::scrub_object(const Catalogue::Listed& listed) {
  Result<> whole;
  // A disk that fails once may be asked twice; a sector that stays unreadable is as lost as a rotten one.
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto reader = ObjectFileReader::open(*disk_, folder_, listed.object.id);
    whole = reader ? read_whole(**reader) : Result<>(fail(reader.error()));
    if (reader && whole) {
      const ObjectHeader& header = (*reader)->header();
      if (header.size != listed.object.size || object_key(header.account, header.name) != listed.key)
        whole = fail(Code::corrupt, "another object's file");
    }
    if (whole || whole.error().code != Code::io) break;
  }
  ++counters_.scrubbed_objects;
  counters_.scrubbed_bytes += listed.object.size;
  if (whole) return true;
  const Code code = whole.error().code;
  if (code != Code::corrupt && code != Code::not_found && code != Code::io) return fail(whole.error());
  // Nothing is given up because the whole disk is away.
  if (!read_file(*disk_, folder_ + "/atoll-daemon", 4096)) return fail(whole.error());
  auto still = catalogue_->find(listed.key);
  if (!still) return fail(still.error());
  if (!*still || (*still)->id != listed.object.id) return true;  // removed, or replaced, meanwhile
  if (auto done = give_up(listed.key, listed.object.id); !done) return fail(done.error());
  return false;
}

Result<ScrubReport> ObjectStoreImpl::scrub_all(const std::function<bool(const ScrubReport&)>& go_on) {
  ScrubReport report;
  ObjectKey after;
  for (;;) {
    auto page = catalogue_->page({}, after, 64);
    if (!page) return fail(page.error());
    if (page->empty()) return report;
    for (const auto& listed : *page) {
      auto whole = scrub_object(listed);
      if (!whole) return fail(whole.error());
      ++report.objects;
      report.bytes += listed.object.size;
      if (!*whole) ++report.rotten;
      after = listed.key;
    }
    if (!go_on(report)) return fail(Code::cancelled, "the scrub was stopped");
  }
}

Result<> ObjectStoreImpl::scrub(std::uint64_t seconds) {
  std::uint64_t budget = options_.scrub_bytes_per_second * std::min(seconds, scrub_seconds_max);
  while (budget > 0) {
    auto page = catalogue_->page({}, scrubbed_to_, 64);
    if (!page) return fail(page.error());
    for (const auto& listed : *page) {
      if (budget == 0) break;
      if (auto done = scrub_object(listed); !done) return fail(done.error());
      scrubbed_to_ = listed.key;
      budget -= std::min(budget, charged_bytes(listed.object.size));
    }
    if (page->empty()) {
      ++counters_.scrub_rounds;
      scrubbed_to_.clear();
      return save_cursor();
    }
  }
  if (catalogue_->clock_s() - cursor_saved_s_ >= save_cursor_every_s) return save_cursor();
  return {};
}

Result<> ObjectStoreImpl::save_cursor() {
  cursor_saved_s_ = catalogue_->clock_s();
  Bytes bytes(scrubbed_to_.begin(), scrubbed_to_.end());
  const Sum8 sum = sum8({bytes});
  bytes.insert(bytes.end(), sum.begin(), sum.end());
  return replace_file(*disk_, folder_ + "/scrub", bytes);
}

Result<> ObjectStoreImpl::load_cursor() {
  auto bytes = read_file(*disk_, folder_ + "/scrub", 4096);
  // A damaged cursor costs no more than a round from the start.
  if (!bytes && (bytes.error().code == Code::not_found || bytes.error().code == Code::too_large)) return {};
  if (!bytes) return fail(bytes.error());
  if (bytes->size() < 8) return {};
  const ByteView key = ByteView(*bytes).first(bytes->size() - 8);
  const Sum8 sum = sum8({key});
  if (std::equal(sum.begin(), sum.end(), bytes->end() - 8)) scrubbed_to_ = as_text(key);
  return {};
}

Result<> ObjectStoreImpl::maintain() {
  const Duration passed = clock_.now() - maintained_;
  const auto seconds = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(passed).count());
  maintained_ += std::chrono::seconds(seconds);
  catalogue_->advance_clock(seconds);
  if (catalogue_->clock_s() - clock_saved_s_ >= save_clock_every_s) {
    if (auto done = catalogue_->save_clock(); !done) return done;
    clock_saved_s_ = catalogue_->clock_s();
  }
  if (auto done = remove_leftovers(); !done) return done;
  if (auto done = catalogue_->fold_if_due(); !done) return done;
  if (auto done = empty_trash(); !done) return done;
  return seconds > 0 ? scrub(seconds) : Result<>();
}

}  // namespace atl
