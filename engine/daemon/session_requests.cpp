// What a node does for each request. PROTOCOL.md, "Requests".
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <charconv>
#include <nlohmann/json.hpp>

#include "engine/base/mutant.h"
#include "engine/daemon/session.h"
#include "engine/node/node.h"

namespace atl {

namespace http = boost::beast::http;

namespace {

constexpr std::string_view objects_path = "/v1/objects/";
constexpr std::string_view revoked_path = "/v1/revoked/";

HttpReply refusal(unsigned status, std::string why) {
  HttpReply answer(status, std::move(why) + "\n");
  answer.field("Content-Type", "text/plain");
  return answer;
}

HttpReply owners_only() { return refusal(403, "only the account's own key may do this, not a device's"); }

KeyId tenant_of(const Peer& peer) {
  KeyId tenant;
  tenant.bytes = peer.account.bytes;
  return tenant;
}

struct Range {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};

/// "bytes=A-B" or "bytes=A-". Nothing: no range that this protocol has, which RFC 9110 lets a server ignore.
std::optional<Range> parse_range(std::string_view text) {
  constexpr std::string_view unit = "bytes=";
  if (!text.starts_with(unit)) return std::nullopt;
  const char* at = text.data() + unit.size();
  const char* const end = text.data() + text.size();
  Range range;
  const auto first = std::from_chars(at, end, range.first);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return std::nullopt;
  range.end = ~std::uint64_t{0};
  if (first.ptr + 1 == end) return range;
  const auto last = std::from_chars(first.ptr + 1, end, range.end);
  if (last.ec != std::errc() || last.ptr != end || range.end < range.first) return std::nullopt;
  if (range.end != ~std::uint64_t{0}) ++range.end;
  return range;
}

/// The value of a query's key; names need no escapes.
std::string_view query_value(std::string_view query, std::string_view key) {
  while (!query.empty()) {
    std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.starts_with(key) && pair.size() > key.size() && pair[key.size()] == '=') return pair.substr(key.size() + 1);
  }
  return {};
}

std::string short_id(const AccountId& id) { return id.hex().substr(0, 16); }

}  // namespace

bool ServerSession::delegated(http::verb verb, std::string_view path, std::string_view query) const {
  const auto begins_with = [](std::string_view name, const std::vector<std::string>& prefixes) {
    return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) { return name.starts_with(prefix); });
  };
  const DelegateRights& rights = peer_->rights;
  const auto readable = [&](std::string_view name) { return begins_with(name, rights.put) || begins_with(name, rights.get); };
  if (path == "/v1/usage") return verb == http::verb::get;
  if (path == "/v1/objects") return verb == http::verb::get && readable(query_value(query, "prefix"));
  if (!path.starts_with(objects_path)) return false;
  const std::string_view name = path.substr(objects_path.size());
  if (verb == http::verb::put) return begins_with(name, rights.put) || mutant("delegate-puts-anything");
  return (verb == http::verb::get || verb == http::verb::head) && readable(name);
}

asio::awaitable<void> ServerSession::answer_head(const Head& head) {
  const MonotonicTime began = core_.clock.now();
  const std::string target(head.target());
  const std::string path = target.substr(0, target.find('?'));
  const std::string query = path.size() < target.size() ? target.substr(path.size() + 1) : std::string();
  const http::verb verb = head.method();
  std::string_view kind = "other";
  HttpReply answer = refusal(404, "there is nothing at " + path.substr(0, 64));

  const bool small = body_left_ <= small_body_bytes_max;
  auto check = [this, peer = *peer_] { return core_.gatekeeper.still_welcome(peer); };
  const bool welcome = co_await core_.on_disk(tenant_of(*peer_), std::move(check));
  if (!welcome) {
    last_ = true;
    answer = refusal(403, "this key is not accepted any more");
  } else if (peer_->role == Role::invite) {
    answer = refusal(403, "an invite can only be redeemed");
    if (verb == http::verb::post && path == "/v1/redeem" && small) {
      kind = "redeem";
      answer = co_await redeem();
    }
  } else if (peer_->role == Role::delegate && !delegated(verb, path, query)) {
    kind = "refused";
    answer = refusal(403, "this delegate may not do that");
  } else if (path.starts_with(objects_path)) {
    std::string name = path.substr(objects_path.size());
    if (!is_object_name(name)) {
      answer = refusal(400, "this is no name of an object");
    } else if (verb == http::verb::put) {
      kind = "put";
      answer = co_await put(head, std::move(name));
    } else if (verb == http::verb::get || verb == http::verb::head) {
      kind = verb == http::verb::get ? "get" : "head";
      co_await discard_body();
      co_await get(head, std::move(name));
      core_.metrics.answered(kind, status_, core_.clock.now() - began);
      co_return;
    } else if (verb == http::verb::delete_) {
      kind = "delete";
      answer = co_await remove_one(std::move(name));
    } else {
      answer = refusal(405, "objects know PUT, GET, HEAD and DELETE");
    }
  } else if (path == "/v1/objects" && verb == http::verb::get) {
    kind = "list";
    answer = co_await list(query);
  } else if (path == "/v1/delete" && verb == http::verb::post) {
    kind = "delete";
    answer = refusal(413, "too many names at once");
    if (small) answer = co_await remove_many();
  } else if (path == "/v1/usage" && verb == http::verb::get) {
    kind = "usage";
    answer = co_await usage();
  } else if (path == "/v1/restore" && verb == http::verb::post) {
    kind = "account";
    answer = co_await restore();
  } else if (path == "/v1/revoked" && verb == http::verb::get) {
    kind = "account";
    answer = co_await list_revoked();
  } else if (path == "/v1/devices" && verb == http::verb::get) {
    kind = "account";
    answer = co_await list_devices();
  } else if (path.starts_with(revoked_path) && verb == http::verb::put) {
    kind = "account";
    answer = co_await revoke(path.substr(revoked_path.size()));
  }
  co_await discard_body();
  co_await send(answer, answer.body.size());
  core_.metrics.answered(kind, answer.status, core_.clock.now() - began);
  if (kind == "put" || kind == "delete" || kind == "redeem" || answer.status >= 400)
    spdlog::info("{} {} status={} account={} role={} address={} ms={}", kind, path.substr(0, 160), answer.status,
                 short_id(peer_->account), to_string(peer_->role), address_,
                 std::chrono::duration_cast<std::chrono::milliseconds>(core_.clock.now() - began).count());
}

asio::awaitable<HttpReply> ServerSession::put(const Head& head, std::string name) {
  if (head.find(http::field::content_length) == head.end()) co_return refusal(411, "a body needs its Content-Length");
  const auto hash = ContentHash::from_hex(head["Atoll-Hash"]);
  if (!hash) co_return refusal(400, "Atoll-Hash must be the BLAKE2b-256 of the body, in hexadecimal");
  const KeyId tenant = tenant_of(*peer_);
  auto begin = [this, account = peer_->account, name, size = body_left_, hash = *hash] {
    return core_.store.put(account, name, size, hash);
  };
  auto begun = co_await core_.on_disk(tenant, std::move(begin));
  if (!begun) co_return answer_of(begun.error());
  const std::shared_ptr<ObjectUpload> upload = std::move(*begun);
  if (upload->already_there()) {
    co_await discard_body();
    auto finish = [upload] { return upload->finish(); };
    const auto finished = co_await core_.on_disk(tenant, std::move(finish));
    co_return finished ? HttpReply(200) : answer_of(finished.error());
  }
  co_await continue_if_expected();
  Bytes chunk(static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, body_left_)));
  while (body_left_ > 0) {
    const std::size_t size = co_await read_body(chunk);
    auto write = [upload, &chunk, size] { return upload->write(ByteView(chunk).first(size)); };
    const auto written = co_await core_.on_disk(tenant, std::move(write));
    if (!written) co_return answer_of(written.error());
  }
  auto finish = [upload] { return upload->finish(); };
  const auto finished = co_await core_.on_disk(tenant, std::move(finish));
  if (!finished && finished.error().code == Code::invalid) co_return refusal(422, finished.error().what);
  co_return finished ? HttpReply(201) : answer_of(finished.error());
}

asio::awaitable<void> ServerSession::get(const Head& head, std::string name) {
  const KeyId tenant = tenant_of(*peer_);
  auto open = [this, account = peer_->account, name] { return core_.store.get(account, name); };
  auto opened = co_await core_.on_disk(tenant, std::move(open));
  if (!opened) {
    const HttpReply answer = answer_of(opened.error());
    if (head.method() != http::verb::head) {
      co_await send(answer, answer.body.size());
      co_return;
    }
    HttpReply bare = answer;
    bare.body.clear();
    co_await send(bare, answer.body.size());
    co_return;
  }
  const std::shared_ptr<ObjectReader> reader = std::move(*opened);
  const std::uint64_t size = reader->size();
  HttpReply answer;
  answer.field("Atoll-Hash", reader->hash().hex()).field("Accept-Ranges", "bytes");
  answer.field("Content-Type", "application/octet-stream");
  if (head.method() == http::verb::head) {
    co_await send(answer, size);
    co_return;
  }
  Range range{0, size};
  const auto field = head.find(http::field::range);
  if (const auto wanted = field == head.end() ? std::nullopt : parse_range(std::string_view(field->value()))) {
    if (wanted->first >= size) {
      HttpReply outside = refusal(416, "the object ends before");
      outside.field("Content-Range", "bytes */" + std::to_string(size));
      co_await send(outside, outside.body.size());
      co_return;
    }
    range = Range{wanted->first, std::min(wanted->end, size)};
    answer.status = 206;
    answer.field("Content-Range", "bytes " + std::to_string(range.first) + "-" + std::to_string(range.end - 1) + "/" + std::to_string(size));
  }
  // The head goes with the first bytes, once these are known to be sound.
  std::uint64_t at = range.first;
  Bytes chunk(static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, range.end - at)));
  bool headed = false;
  do {
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), range.end - at));
    auto read = [reader, &chunk, at, want] { return reader->read(at, MutableBytes(chunk).first(want)); };
    auto got = co_await core_.on_disk(tenant, std::move(read));
    if (got && *got != want) got = fail(Code::io, "the object is shorter than it was");
    if (!got) {
      spdlog::error("read {} account={} error=\"{}\"", name, short_id(peer_->account), got.error().what);
      last_ = true;
      if (headed) throw std::runtime_error("an object could not be read to its end");  // the client sees a cut body
      const HttpReply failed = answer_of(got.error());
      co_await send(failed, failed.body.size());
      co_return;
    }
    if (!headed) answer.body.assign(as_text(ByteView(chunk).first(want)));
    if (!headed) co_await send(answer, range.end - range.first);
    if (headed) {
      co_await send(as_text(ByteView(chunk).first(want)));
      core_.counters.sent_bytes += want;
    }
    headed = true;
    at += want;
  } while (at < range.end);
}

asio::awaitable<HttpReply> ServerSession::remove_one(std::string name) {
  if (!is_owner()) co_return owners_only();
  auto work = [this, account = peer_->account, name] { return core_.store.remove(account, std::vector<std::string>(1, name)); };
  const auto removed = co_await core_.on_disk(tenant_of(*peer_), std::move(work));
  co_return removed ? HttpReply(204) : answer_of(removed.error());
}

asio::awaitable<HttpReply> ServerSession::remove_many() {
  if (!is_owner()) co_return owners_only();
  const std::string body = co_await read_small_body();
  std::vector<std::string> names;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t end = std::min(body.find('\n', at), body.size());
    names.push_back(body.substr(at, end - at));
    at = end + 1;
    if (!is_object_name(names.back())) co_return refusal(400, "a line is no name of an object");
  }
  if (names.size() > ObjectStore::remove_max) co_return refusal(413, "more than 1000 names at once");
  if (names.empty()) co_return HttpReply(204);
  auto work = [this, account = peer_->account, names = std::move(names)] { return core_.store.remove(account, names); };
  const auto removed = co_await core_.on_disk(tenant_of(*peer_), std::move(work));
  co_return removed ? HttpReply(204) : answer_of(removed.error());
}

asio::awaitable<HttpReply> ServerSession::list(std::string query) {
  const std::string prefix(query_value(query, "prefix"));
  const std::string after(query_value(query, "after"));
  std::size_t limit = ObjectStore::list_max;
  if (const auto text = query_value(query, "limit"); !text.empty()) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
    if (error != std::errc() || end != text.data() + text.size()) co_return refusal(400, "limit must be a number");
  }
  if ((!prefix.empty() && !is_object_name(prefix)) || (!after.empty() && !is_object_name(after)))
    co_return refusal(400, "prefix and after must be the beginning of a name, and a name");
  limit = std::min(limit, ObjectStore::list_max);
  auto work = [this, account = peer_->account, prefix, after, limit] { return core_.store.list(account, prefix, after, limit); };
  const auto names = co_await core_.on_disk(tenant_of(*peer_), std::move(work));
  if (!names) co_return answer_of(names.error());
  HttpReply answer;
  answer.field("Content-Type", "text/plain").field("Atoll-More", names->size() >= limit ? "yes" : "no");
  for (const std::string& name : *names) answer.body += name + "\n";
  co_return answer;
}

asio::awaitable<HttpReply> ServerSession::usage() {
  auto work = [this, account = peer_->account] { return core_.store.account_usage(account); };
  const auto account = co_await core_.on_disk(tenant_of(*peer_), std::move(work));
  if (!account) co_return answer_of(account.error());
  const StoreUsage store = core_.store.usage();
  const std::uint64_t taken = account->used_bytes + account->reserved_bytes;
  const std::uint64_t quota_left = account->quota_bytes > taken ? account->quota_bytes - taken : 0;
  const nlohmann::json json{{"node", core_.node.hex()},
                            {"account", account->id.hex()},
                            {"role", to_string(peer_->role)},
                            {"used_bytes", account->used_bytes},
                            {"reserved_bytes", account->reserved_bytes},
                            {"trash_bytes", account->trash_bytes},
                            {"quota_bytes", account->quota_bytes},
                            {"free_bytes", std::min(quota_left, store.free_bytes)},
                            {"objects", account->objects},
                            {"labels", core_.options.labels}};
  HttpReply answer(200, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  answer.field("Content-Type", "application/json");
  co_return answer;
}

asio::awaitable<HttpReply> ServerSession::redeem() {
  const std::string body = co_await read_small_body();
  const auto json = nlohmann::json::parse(body, nullptr, false);
  const auto text = [&](const char* key) {
    const auto found = json.is_object() ? json.find(key) : json.end();
    return json.is_object() && found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto key = PublicKey::from_hex(text("key"));
  const auto signature = Signature::from_hex(text("signature"));
  if (!key || !signature) co_return refusal(400, "an account is opened with its key and signature, in hexadecimal");
  auto work = [this, peer = *peer_, key = *key, signature = *signature] { return core_.gatekeeper.redeem(peer, key, signature); };
  const auto account = co_await core_.on_disk(tenant_of(*peer_), std::move(work));
  if (!account) co_return answer_of(account.error());
  HttpReply answer(200, nlohmann::json{{"account", account->hex()}}.dump() + "\n");
  answer.field("Content-Type", "application/json");
  co_return answer;
}

asio::awaitable<HttpReply> ServerSession::revoke(std::string device) {
  if (!is_owner()) co_return owners_only();
  const auto id = KeyId::from_hex(device);
  if (!id) co_return refusal(400, "this is no id of a device's key");
  auto work = [this, account = peer_->account, id = *id] { return core_.gatekeeper.revoke(account, id); };
  const auto revoked = co_await core_.on_disk(tenant_of(*peer_), std::move(work));
  co_return revoked ? HttpReply(204) : answer_of(revoked.error());
}

namespace {

HttpReply ids_of(const Result<std::vector<KeyId>>& devices) {
  if (!devices) return answer_of(devices.error());
  HttpReply answer;
  answer.field("Content-Type", "text/plain");
  for (const KeyId& device : *devices) answer.body += device.hex() + "\n";
  return answer;
}

}  // namespace

asio::awaitable<HttpReply> ServerSession::list_revoked() {
  auto work = [this, account = peer_->account] { return core_.gatekeeper.revoked(account); };
  co_return ids_of(co_await core_.on_disk(tenant_of(*peer_), std::move(work)));
}

asio::awaitable<HttpReply> ServerSession::list_devices() {
  auto work = [this, account = peer_->account] { return core_.gatekeeper.devices(account); };
  co_return ids_of(co_await core_.on_disk(tenant_of(*peer_), std::move(work)));
}

asio::awaitable<HttpReply> ServerSession::restore() {
  if (!is_owner()) co_return owners_only();
  auto work = [this, account = peer_->account] { return core_.store.restore(account); };
  const auto count = co_await core_.on_disk(tenant_of(*peer_), std::move(work));
  if (!count) co_return answer_of(count.error());
  HttpReply answer(200, nlohmann::json{{"restored", *count}}.dump() + "\n");
  answer.field("Content-Type", "application/json");
  co_return answer;
}

}  // namespace atl
