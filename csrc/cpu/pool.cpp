#include "pool.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace fastgan {
namespace {

constexpr int kSpins = 2000;  // about 50 us: as long as Python takes between two jobs

class Pool {
 public:
  explicit Pool(pid_t owner) : owner_(owner) {}
  pid_t owner() const { return owner_; }

  void call(const std::shared_ptr<const std::function<void()>>& job, int helpers) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (; threads_ < helpers; ++threads_) std::thread([this, index = threads_] { work(index); }).detach();
      job_ = job;
      wanted_ = helpers;
      number_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
  }

 private:
  void work(int index) {
    uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && number_.load(std::memory_order_acquire) == seen; ++spin) pause();
      std::shared_ptr<const std::function<void()>> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return number_.load(std::memory_order_relaxed) != seen; });
        seen = number_.load(std::memory_order_relaxed);
        if (index < wanted_) job = job_;
      }
      if (job != nullptr) (*job)();
    }
  }

  const pid_t owner_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<const std::function<void()>> job_;
  std::atomic<uint64_t> number_{0};  // of the latest job
  int threads_ = 0, wanted_ = 0;
};

// Never destroyed: threads wait in it until the process ends. A forked process has none of them, so it needs another.
Pool& pool() {
  static std::mutex mutex;
  static Pool* current = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (current == nullptr || current->owner() != getpid()) current = new Pool(getpid());
  return *current;
}

}  // namespace

void call_helpers(const std::shared_ptr<const std::function<void()>>& job, int helpers) {
  if (helpers > 0) pool().call(job, helpers);
}

}  // namespace fastgan
