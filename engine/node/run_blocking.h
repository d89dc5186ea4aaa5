// A blocking call from a coroutine: the work runs on a pool, the coroutine goes on where it came from.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>
#include <type_traits>

#include "engine/base/blocking_pool.h"

namespace atl {

namespace detail {

template <typename Work, typename Handler>
struct BlockingJob {
  using Answer = std::invoke_result_t<Work&>;
  Work work;
  std::optional<Handler> handler;
  boost::asio::any_io_executor executor;
  std::optional<Answer> answer;

  BlockingJob(Work work_, Handler handler_, boost::asio::any_io_executor executor_)
      : work(std::move(work_)), handler(std::move(handler_)), executor(std::move(executor_)) {}

  void finish() {
    Handler taken = std::move(*handler);
    handler.reset();
    taken(std::move(*answer));
  }
};

}  // namespace detail

/// Cannot be interrupted: the work runs to its end, and a cancelled coroutine goes on only then. If the pool is closed
/// meanwhile, the coroutine never goes on and is destroyed. `pool` outlives it; `work` owns what it uses.
template <typename Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> run_blocking(BlockingPool& pool, Work work) {
  using Answer = std::invoke_result_t<Work&>;
  auto executor = co_await boost::asio::this_coro::executor;
  auto initiate = [&pool, &work, executor](auto handler) {
    using Job = detail::BlockingJob<Work, decltype(handler)>;
    auto job = std::make_shared<Job>(std::move(work), std::move(handler), executor);
    pool.post([job] {
      job->answer.emplace(job->work());
      boost::asio::post(job->executor, [job] { job->finish(); });
    });
  };
  auto token = boost::asio::use_awaitable;
  Answer answer = co_await boost::asio::async_initiate<decltype(token), void(Answer)>(std::move(initiate), token);
  co_return answer;
}

}  // namespace atl
