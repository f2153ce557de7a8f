// Splits arrays of random numbers among threads. A number depends only on seed, step, kind and index, so results do not
// depend on the split.
#include "draw.h"

#include "chunks.h"

namespace fastgan {

void draw(const DrawCall& a) {
  const KernelTable& loops = kernels();
  const auto step = static_cast<uint64_t>(*a.step);
  for_each_chunk_of(3, [&](int kind) { return a.sizes[kind]; }, a.where, [&](int64_t, const Chunk& chunk) {
    const int64_t first = a.begins[chunk.which] + chunk.start;
    switch (chunk.which) {
      case 0: return loops.draw_integers(a.integers + chunk.start, first, chunk.size, a.high, a.seed, step);
      case 1: return loops.draw_normal(a.normal + chunk.start, first, chunk.size, a.seed, step);
      default: return loops.draw_uniform(a.uniform + chunk.start, first, chunk.size, a.seed, step);
    }
  });
}

}  // namespace fastgan
