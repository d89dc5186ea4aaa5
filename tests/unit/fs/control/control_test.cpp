#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "fs/control/control_client.h"
#include "fs/control/control_server.h"
#include "fs/control/error_json.h"
#include "fs/control/unix_socket.h"
#include "tests/support/eventually.h"
#include "tests/support/temporary_folder.h"

using namespace atl;
using nlohmann::json;

namespace {

constexpr auto patience = std::chrono::seconds(20);

Result<json> echo(const json& request, const ProgressSink& progress, std::stop_token) {
  const auto what = request.at("do").get<std::string>();
  if (what == "echo") return request;
  if (what == "count") {
    for (int i = 1; i <= 3; ++i) progress({{"done", i}});
    return json::object();
  }
  if (what == "throw") throw std::runtime_error("thrown");
  return fail(Code::busy, "no", "try later");
}

std::string raw_answer(const std::string& path, std::string_view bytes) {
  auto socket = connect_to(path);
  REQUIRE(socket);
  static_cast<void>(send_all(socket->get(), bytes));
  ::shutdown(socket->get(), SHUT_WR);
  LineReader lines(socket->get(), 1 << 20);
  auto line = lines.next(patience);
  return line ? *line : "";
}

}  // namespace

TEST_CASE("A request is answered, with progress before the answer") {
  TemporaryFolder folder;
  auto server = ControlServer::listen(folder / "socket", echo);
  REQUIRE(server);
  auto client = ControlClient::connect(folder / "socket");
  REQUIRE(client);
  auto answer = (*client)->ask({{"do", "echo"}, {"x", 5}}, patience);
  REQUIRE(answer);
  CHECK(answer->at("x") == 5);
  int seen = 0;
  REQUIRE((*client)->ask({{"do", "count"}}, patience, [&](const json& progress) { seen = progress.at("done"); }));
  CHECK(seen == 3);
  CHECK((*client)->process() == ::getpid());
}

TEST_CASE("An error arrives with its code, text and hint, also one that was thrown") {
  TemporaryFolder folder;
  auto server = ControlServer::listen(folder / "socket", echo);
  auto client = ControlClient::connect(folder / "socket");
  REQUIRE(client);
  auto answer = (*client)->ask({{"do", "other"}}, patience);
  REQUIRE(!answer);
  CHECK(answer.error().code == Code::busy);
  CHECK(answer.error().what == "no");
  CHECK(answer.error().hint == "try later");
  answer = (*client)->ask({{"do", "throw"}}, patience);
  REQUIRE(!answer);
  CHECK(answer.error().what == "thrown");
}

TEST_CASE("What is no request is refused, and the server goes on") {
  TemporaryFolder folder;
  auto server = ControlServer::listen(folder / "socket", echo);
  for (const std::string line : {"", "hello", "[]", "{}", "{\"do\": 5}", "null", "{\"do\":\"echo\"", "\xff\xfe\x01", "12e999999"}) {
    INFO(line);
    const json answer = json::parse(raw_answer(folder / "socket", line + "\n"), nullptr, false);
    REQUIRE(answer.is_object());
    CHECK(answer.contains("error"));
  }
  CHECK(raw_answer(folder / "socket", "{\"do\":\"echo\"}").empty());  // no line end: no request
  const json too_long = json::parse(raw_answer(folder / "socket", std::string(control_line_bytes_max + 4096, '[')), nullptr, false);
  REQUIRE(too_long.is_object());
  CHECK(too_long["error"]["code"] == "too_large");
  const std::string deep = std::string(control_line_bytes_max / 2, '[') + "\n";
  CHECK(json::parse(raw_answer(folder / "socket", deep)).contains("error"));
  CHECK((*ControlClient::connect(folder / "socket"))->ask({{"do", "echo"}}, patience));
}

TEST_CASE("Only the drive's user reaches the socket, at a path of any length") {
  TemporaryFolder folder;
  const std::string deep = folder / std::string(200, 'd');
  REQUIRE(::mkdir(deep.c_str(), 0700) == 0);
  const std::string path = deep + "/socket";
  {
    auto server = ControlServer::listen(path, echo);
    REQUIRE(server);
    struct stat stat {};
    REQUIRE(::stat(path.c_str(), &stat) == 0);
    CHECK((stat.st_mode & 0777) == 0600);
    CHECK((*ControlClient::connect(path))->ask({{"do", "echo"}}, patience));
  }
  auto gone = ControlClient::connect(path);
  REQUIRE(!gone);
  CHECK(gone.error().code == Code::not_found);
}

TEST_CASE("A socket left over from a crash is replaced") {
  TemporaryFolder folder;
  { auto left = listen_at(folder / "socket"); }
  CHECK(ControlClient::connect(folder / "socket").error().code == Code::not_found);
  auto server = ControlServer::listen(folder / "socket", echo);
  CHECK((*ControlClient::connect(folder / "socket"))->ask({{"do", "echo"}}, patience));
}

TEST_CASE("A client that goes away stops what it asked for, and a server that ends stops all") {
  TemporaryFolder folder;
  std::atomic<int> running{0};
  auto wait = [&](const json&, const ProgressSink&, std::stop_token stop) -> Result<json> {
    ++running;
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any().wait(lock, stop, [] { return false; });
    --running;
    return fail(Code::cancelled, "stopped");
  };
  auto server = ControlServer::listen(folder / "socket", wait);
  REQUIRE(server);
  {
    auto socket = connect_to(folder / "socket");
    REQUIRE(send_line(socket->get(), R"({"do":"wait"})", patience));
    REQUIRE(eventually([&] { return running == 1; }));
  }
  CHECK(eventually([&] { return running == 0; }));
  auto socket = connect_to(folder / "socket");
  REQUIRE(send_line(socket->get(), R"({"do":"wait"})", patience));
  REQUIRE(eventually([&] { return running == 1; }));
  server->reset();
  CHECK(running == 0);
}

TEST_CASE("Every error code has a name of its own") {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Code::key); ++code) {
    const auto name = code_name(static_cast<Code>(code));
    CHECK(names.insert(name).second);
    CHECK(code_from_name(name) == static_cast<Code>(code));
  }
  CHECK(code_from_name("nonsense") == Code::failed);
  CHECK(error_from_json(json::parse(R"({"code": 5, "what": []})")).what.empty());
}
