// One call of one node: waits for a slot, runs under a time limit, and tells the node's health how it went.
//
// `done` runs once, on the loop's thread, unless the operation was cancelled before; then never. A call that ran out of
// time is reported as Code::timed_out at once, though it may still run; its slot at the node stays taken until it ends.
// Writes wait for a slot as long as it takes, reads at most their time limit; both no longer when the node goes absent.
#pragma once

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <functional>
#include <memory>

#include "engine/transfer/parts.h"

namespace atl {

template <typename T>
struct OperationPlan {
  std::size_t node = 0;
  CallKind kind = CallKind::read;
  Duration timeout{};
  std::uint64_t bytes = 0;  // that go there or come: they wait for their turn of the line, before the time limit runs
  std::function<asio::awaitable<Result<T>>(Node&)> call;  // called when the slot is there
  std::function<void(Result<T>)> done;
  std::function<void()> settled;  // may be empty; the call has ended, whatever became of `done`
};

template <typename T>
class NodeOperation final : public Operation, public std::enable_shared_from_this<NodeOperation<T>> {
 public:
  NodeOperation(EngineParts& parts, OperationPlan<T> plan) : parts_(parts), plan_(std::move(plan)) {}

  void start() {
    const auto self = this->shared_from_this();
    parts_.operations[plan_.node].insert(self);
    ticket_ = parts_.slots.acquire(plan_.node, plan_.kind, [self](bool granted) { self->run(granted); });
    if (plan_.kind == CallKind::read) timer_ = parts_.loop.after(plan_.timeout, [self] { self->run_out(); });
  }

  void cancel() override {
    if (ended_) return;
    end();
    if (running_) {
      abandon();
    } else {
      parts_.slots.withdraw(ticket_);
    }
  }

  void expel() override {
    if (ended_) return;
    auto done = std::move(plan_.done);
    const std::string url = parts_.health.status(plan_.node).spec.url;
    cancel();
    done(fail(Code::unavailable, url + " is no node of this drive any more"));
  }

 private:
  void run(bool granted) {
    if (ended_ && granted) parts_.slots.finish(plan_.node, plan_.kind, false);
    if (ended_) return;
    parts_.loop.cancel(timer_);
    if (!granted) {
      auto done = std::move(plan_.done);
      end();
      const NodeStatus& status = parts_.health.status(plan_.node);
      done(fail(Code::unavailable, status.spec.url + " is absent: " + status.last_error));
      return;
    }
    running_ = true;
    const auto self = this->shared_from_this();
    const bool paced = plan_.bytes != 0 && line().limit() != 0;
    if (!paced) begin_time();
    auto finished = [self](std::exception_ptr thrown, Result<T> answer) { self->finish(thrown, std::move(answer)); };
    asio::co_spawn(parts_.loop.executor(), call(self, paced),
                   asio::bind_cancellation_slot(signal_.slot(), std::move(finished)));
  }

  static asio::awaitable<Result<T>> call(std::shared_ptr<NodeOperation> self, bool paced) {
    const auto node = self->parts_.nodes[self->plan_.node];
    const auto inner = std::move(self->plan_.call);
    if (paced) {
      co_await self->line().take(self->plan_.bytes);
      if (!self->ended_) self->begin_time();
    }
    co_return co_await inner(*node);
  }

  Pacer& line() { return plan_.kind == CallKind::read ? *parts_.download : *parts_.upload; }

  void begin_time() {
    started_ = parts_.loop.now();
    timer_ = parts_.loop.after(plan_.timeout, [self = this->shared_from_this()] { self->run_out(); });
  }

  void finish(std::exception_ptr thrown, Result<T> answer) {
    running_ = false;
    parts_.slots.finish(plan_.node, plan_.kind, abandoned_);
    if (thrown) answer = error_of(thrown);
    if (answer) {
      parts_.health.answered(plan_.node);
      // A late answer counts as well: it is what shows a node to be slow.
      const Duration took = started_ ? parts_.loop.now() - *started_ : Duration::zero();
      if (started_ && plan_.kind == CallKind::write)
        parts_.health.write_took(plan_.node, took);
      else if (started_)
        parts_.health.read_took(plan_.node, took);
    }
    if (plan_.settled) plan_.settled();
    if (ended_) return;
    if (!answer) note_failure(answer.error());
    auto done = std::move(plan_.done);
    end();
    done(std::move(answer));
  }

  void run_out() {
    if (ended_) return;
    auto done = std::move(plan_.done);
    end();
    const Error error(Code::timed_out, parts_.health.status(plan_.node).spec.url + " did not answer in time");
    if (running_) {
      abandon();
      note_failure(error);
    } else {
      parts_.slots.withdraw(ticket_);  // busy with others' reads, which is no fault
    }
    done(fail(error));
  }

  void end() {
    ended_ = true;
    plan_.done = nullptr;
    parts_.operations[plan_.node].erase(this->shared_from_this());
    parts_.loop.cancel(timer_);
  }

  void abandon() {
    abandoned_ = true;
    // What was cut short took at least so long; only where that alone shows the node to be slow is it worth knowing.
    const Duration elapsed = started_ ? parts_.loop.now() - *started_ : Duration::zero();
    if (plan_.kind != CallKind::write && elapsed > HealthTable::slow_after) parts_.health.read_took(plan_.node, elapsed);
    parts_.slots.abandon(plan_.kind);
    signal_.emit(asio::cancellation_type::terminal);
  }

  void note_failure(const Error& error) {
    if (error.code == Code::cancelled) return;
    ++parts_.counters.node_errors;
    parts_.health.failed(plan_.node, error);
  }

  static tl::unexpected<Error> error_of(const std::exception_ptr& thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const boost::system::system_error& error) {
      if (error.code() == asio::error::operation_aborted) return fail(Code::cancelled, "the call was given up");
      return fail(Code::unavailable, error.what());
    } catch (const std::exception& error) {
      return fail(Code::failed, error.what());
    }
  }

  EngineParts& parts_;
  OperationPlan<T> plan_;
  asio::cancellation_signal signal_;
  Slots::Ticket ticket_ = 0;
  Loop::TimerId timer_ = 0;
  std::optional<MonotonicTime> started_;  // when the node was asked
  bool running_ = false;
  bool ended_ = false;      // `done` has run or never will
  bool abandoned_ = false;  // still running, unwanted
};

template <typename T>
std::shared_ptr<Operation> start_operation(EngineParts& parts, OperationPlan<T> plan) {
  auto operation = std::make_shared<NodeOperation<T>>(parts, std::move(plan));
  operation->start();
  return operation;
}

}  // namespace atl
