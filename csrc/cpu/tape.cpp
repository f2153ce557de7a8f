#include "tape.h"

#include <algorithm>
#include <chrono>
#include <thread>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "pool.h"

namespace fastgan {
namespace {

// A thread spins before it sleeps: waking takes longer than most waits, if no other program runs. If others do, waits
// take as long as their slices of time, and spinning would take that time from them and from ourselves.
constexpr int kLeastSpins = 64, kMostSpins = 4096;  // about 1 and 80 us
constexpr std::chrono::microseconds kShortSleep{100};

// Sleeps until *word is not `seen`; may return early.
void sleep_while(std::atomic<uint32_t>& word, uint32_t seen) {
#if defined(__linux__)
  static_assert(sizeof word == 4);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
#else
  if (word.load() == seen) std::this_thread::yield();
#endif
}

void wake_all(std::atomic<uint32_t>& word) {
#if defined(__linux__)
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
#else
  (void)word;
#endif
}

}  // namespace

void Tape::stage() { ends_.push_back(pieces_.size()); }

void Tape::unit(int64_t rows, int64_t step) {
  units_.push_back(std::make_unique<Unit>());
  for (int64_t first = 0; first < rows; first += step)
    pieces_.push_back({units_.back().get(), first, std::min(first + step, rows)});
  ends_.back() = pieces_.size();
}

// Pieces of all tapes of a run have numbers in the order in which they may begin, modulo 2^32.
class Replay {
 public:
  Replay(Tapes tapes, std::vector<int> order, size_t least, int threads)
      : tapes_(std::move(tapes)), order_(std::move(order)), least_(least), threads_(threads), end_(order_.size()) {
    for (const auto& tape : tapes_) taken_.emplace_back(tape->pieces_.size());
  }

  // Takes pieces until all are done. between() is called after each piece.
  template <class Between>
  void work(const Between& between) {
    const auto thread = static_cast<size_t>(joined_.fetch_add(1)) % static_cast<size_t>(threads_);
    uint32_t base = 0;  // number of the stage's first piece
    for (size_t at = 0;; ++at) {
      wait_for(base);  // before the check: until then another thread may still end the run
      if (at >= end_.load(std::memory_order_acquire)) return;
      const auto which = static_cast<size_t>(order_[at]);
      const Tape& tape = *tapes_[which];
      size_t begin = 0;
      for (const size_t end : tape.ends_) {
        const size_t count = end - begin, own = count * thread / static_cast<size_t>(threads_);
        const bool is_last = end == tape.pieces_.size();
        wait_for(base);
        // its own part first, the same in each step: what it wrote there before may still be in its cache
        for (size_t i = 0; i < count; ++i) {
          const size_t index = begin + (own + i) % count;
          if (!take(taken_[which][index], base + 1)) continue;
          const Tape::Piece& piece = tape.pieces_[index];
          for (const Tape::Call& call : piece.unit->calls) call(piece.first, piece.last);
          finish(base + static_cast<uint32_t>(count), is_last ? at + 1 : 0);
          between();
        }
        base += static_cast<uint32_t>(count);
        begin = end;
      }
    }
  }

  void stop() { stopping_.store(true, std::memory_order_relaxed); }
  int64_t done() const { return static_cast<int64_t>(end_.load()); }

 private:
  // Whether this thread is the first to take a piece in the stage with this number; a late thread never is.
  static bool take(std::atomic<uint32_t>& taken, uint32_t stage) {
    uint32_t before = taken.load(std::memory_order_relaxed);
    return static_cast<int32_t>(before - stage) < 0 &&
           taken.compare_exchange_strong(before, stage, std::memory_order_acq_rel);
  }

  // tape: how many tapes are done after this stage if it is the last of one, else 0.
  void finish(uint32_t end_of_stage, size_t tape) {
    // the last stage of a tape is one piece, so its thread alone decides whether another tape begins
    if (tape != 0 && tape >= least_ && stopping_.load(std::memory_order_relaxed))
      end_.store(tape, std::memory_order_release);
    if (done_.fetch_add(1) + 1 == end_of_stage && sleeping_.load() != 0) wake_all(done_);
  }

  // Waits until all pieces before number `base` are done: spins as long as that was worth it lately, then sleeps.
  void wait_for(uint32_t base) {
    const auto is_done = [&](uint32_t done) { return static_cast<int32_t>(done - base) >= 0; };
    thread_local int spins = kMostSpins;
    for (int spin = 0; spin < spins; ++spin) {
      if (is_done(done_.load(std::memory_order_acquire))) return;
      pause();
    }
    const auto start = std::chrono::steady_clock::now();
    sleeping_.fetch_add(1);
    for (uint32_t done = done_.load(); !is_done(done); done = done_.load()) sleep_while(done_, done);
    sleeping_.fetch_sub(1);
    const bool was_short = std::chrono::steady_clock::now() - start < kShortSleep;
    spins = was_short ? std::min(2 * spins, kMostSpins) : std::max(spins / 2, kLeastSpins);
  }

  const Tapes tapes_;
  const std::vector<int> order_;
  const size_t least_;
  const int threads_;
  std::vector<std::vector<std::atomic<uint32_t>>> taken_;  // of each tape's pieces: the last stage that took them
  std::atomic<size_t> end_;  // tapes to run
  std::atomic<bool> stopping_{false};
  std::atomic<int> joined_{0};
  alignas(64) std::atomic<uint32_t> done_{0};
  std::atomic<int> sleeping_{0};
};

int64_t replay(const Tapes& tapes, const std::vector<int>& order, size_t least, int threads,
               const std::function<bool()>& must_stop) {
  const auto run = std::make_shared<Replay>(tapes, order, least, threads);
  call_helpers(std::make_shared<const std::function<void()>>([run] { run->work([] {}); }), threads - 1);
  run->work([&] {
    if (must_stop()) run->stop();
  });
  return run->done();
}

}  // namespace fastgan
