// Splits several tensors into chunks for threads.
#pragma once

#include <algorithm>

#include "kernels.h"
#include "parallel.h"
#include "room.h"

namespace fastgan {

// A chunk: `size` elements of tensor `which`, from `start` on.
struct Chunk {
  int which;
  int64_t start, size;
};

// Calls visit(index, chunk) for every chunk of `count` tensors; indices run on from one tensor to the next. A backward
// pass goes from the last chunk to the first: what the forward pass read last may still be in the cache.
template <class SizeOf, class Visit>
void for_each_chunk_of(int count, const SizeOf& size_of, Where threads, const Visit& visit, bool from_the_end = false) {
  int64_t chunks = 0, elements = 0;
  std::array<int64_t, kFew> few;  // index of each tensor's first chunk
  std::vector<int64_t> many;
  int64_t* first = room_for(count, few, many);
  for (int i = 0; i < count; ++i) {
    first[i] = chunks;
    chunks += chunks_of(size_of(i));
    elements += size_of(i);
  }
  for_each_piece(chunks, elements, threads, [&](int64_t piece) {
    const int64_t index = from_the_end ? chunks - 1 - piece : piece;
    const int which = static_cast<int>(std::upper_bound(first, first + count, index) - first) - 1;
    const int64_t start = (index - first[which]) * kChunk;
    visit(index, Chunk{which, start, std::min(size_of(which) - start, kChunk)});
  });
}

}  // namespace fastgan
