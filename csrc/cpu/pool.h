// Threads that help with a job. They are started once, and sleep between jobs.
#pragma once

#include <functional>
#include <memory>

namespace fastgan {

// Lets up to `helpers` threads call job() while the caller works on the same job. Does not wait for them: the caller
// knows when the job is done, a helper may come late and find nothing to do, and may find another caller's job instead.
// What job() uses must live as long as the function object.
void call_helpers(const std::shared_ptr<const std::function<void()>>& job, int helpers);

// Waits a moment in a loop that spins.
inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace fastgan
