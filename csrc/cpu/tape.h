// A training step as a flat list of calls with fixed addresses, and its replay.
//
// A call works on a range of rows, on one thread. A unit is a number of rows and the calls made for each range of them,
// so that what a call writes is still in the cache when the next one reads it. A stage is a set of units that do not
// depend on each other; the next stage begins when all of them are done.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

namespace fastgan {

class Tape {
 public:
  using Call = std::function<void(int64_t first, int64_t last)>;

  // Begins a stage: what follows waits for everything before.
  void stage();
  // Begins a unit of `rows` rows, which threads take `step` at a time.
  void unit(int64_t rows, int64_t step);
  // Adds a call to the unit.
  void add(Call call) { units_.back()->calls.push_back(std::move(call)); }

 private:
  friend class Replay;
  struct Unit {
    std::vector<Call> calls;
  };
  struct Piece {
    const Unit* unit;
    int64_t first, last;
  };
  std::vector<std::unique_ptr<Unit>> units_;
  std::vector<Piece> pieces_;
  std::vector<size_t> ends_;  // of each stage, as an index of pieces_
};

using Tapes = std::vector<std::shared_ptr<const Tape>>;

// Runs tapes one after another: tapes[order[0]], tapes[order[1]], ... The calling thread and threads - 1 helpers take
// the pieces of a stage as they come, and none of them waits for another that has taken nothing: a thread that the
// system does not run delays nobody.
// must_stop is called by the calling thread between its pieces, and ends the run after the current tape, but not before
// `least` tapes are done.
// Returns the number of tapes run.
int64_t replay(const Tapes& tapes, const std::vector<int>& order, size_t least, int threads,
               const std::function<bool()>& must_stop);

}  // namespace fastgan
