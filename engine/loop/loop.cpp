#include "engine/loop/loop.h"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>

namespace atl {

namespace {

/// The one handler of a sleep, called once: by the timer, or by whoever cancels.
template <typename Handler>
struct Sleep {
  std::optional<Handler> handler;
  Loop::TimerId timer = 0;

  explicit Sleep(Handler handler_) : handler(std::move(handler_)) {}

  void finish(boost::system::error_code error) {
    if (!handler) return;
    Handler taken = std::move(*handler);
    handler.reset();
    taken(error);
  }
};

}  // namespace

asio::awaitable<void> pause_for(Loop& loop, Duration delay) {
  auto initiate = [&loop, delay](auto handler) {
    using Handler = decltype(handler);
    auto slot = asio::get_associated_cancellation_slot(handler);
    auto sleep = std::make_shared<Sleep<Handler>>(std::move(handler));
    sleep->timer = loop.after(delay, [sleep] { sleep->finish({}); });
    if (!slot.is_connected()) return;
    slot.assign([&loop, weak = std::weak_ptr(sleep)](asio::cancellation_type) {
      const auto strong = weak.lock();
      if (!strong) return;
      // The coroutine must not go on inside the call that cancels it.
      asio::post(loop.executor(), [strong] { strong->finish(asio::error::operation_aborted); });
      loop.cancel(strong->timer);
    });
  };
  auto token = asio::use_awaitable;
  co_await asio::async_initiate<decltype(token), void(boost::system::error_code)>(std::move(initiate), token);
}

}  // namespace atl
