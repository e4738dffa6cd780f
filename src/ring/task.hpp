// SPDX-License-Identifier: Apache-2.0
#pragma once
// The two coroutine types. A Task is one stage of a story: started when it is awaited, its frame
// freed when it has returned. A Detached coroutine is a whole story: it starts at once and ends by
// itself. Neither knows the ring; Loop::dispatch() resumes them, and between stages symmetric
// transfer does.

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace mc::ring {

namespace detail {

// The data plane throws nothing; an exception that reaches it (memory exhausted) ends the process.
struct PromiseBase {
  [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
};

struct TaskPromiseBase : PromiseBase {
  std::coroutine_handle<> continuation;

  std::suspend_always initial_suspend() const noexcept { return {}; }

  struct ResumeContinuation {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> finished) const noexcept {
      return finished.promise().continuation;
    }
    void await_resume() const noexcept {}
  };
  ResumeContinuation final_suspend() const noexcept { return {}; }
};

}  // namespace detail

/// One stage: `const T answer = co_await stage(...)`. Owns its frame; must be awaited to run, and
/// must have finished, or never started, when it is destroyed. References given to the coroutine
/// must outlive it.
template <class T>
class [[nodiscard]] Task {
 public:
  struct promise_type : detail::TaskPromiseBase {
    std::optional<T> value;

    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    template <class U>
    void return_value(U&& answer) {
      value.emplace(std::forward<U>(answer));
    }
  };

  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) const noexcept {
    frame_.promise().continuation = awaiting;
    return frame_;
  }
  T await_resume() const { return std::move(*frame_.promise().value); }

 private:
  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}

  std::coroutine_handle<promise_type> frame_;
};

/// A story that runs on its own, from its call to its end; the frame frees itself.
struct Detached {
  struct promise_type : detail::PromiseBase {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
  };
};

}  // namespace mc::ring
