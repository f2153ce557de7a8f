// Anti-aliased Snake with filters of 12 taps, as a walk.
//
// A thread walks along a run of samples of one channel, in steps of 8. The even and the odd samples of the upsampled
// signal are filtered apart: u[2 s] and u[2 s + 1] are each 6 taps over x, and y[t] is 6 taps over the even and 6 over
// the odd samples of v. A step that begins at sample b reads x[b .. b + 7], computes the even samples s = b - 5 ..
// b + 2 and the odd ones b - 6 .. b + 1 from x[b - 8 .. b + 7], and writes y[b - 8 .. b - 1]. So loads and stores are
// aligned. What it keeps of earlier steps are 8 samples of x, and 5 even and 5 odd ones of v. The backward pass is the
// same walk: the gradient of v comes from that of y as u from x, and that of x from that of u as y from v, with the
// filters exchanged.
#pragma once

#include "snake.cuh"

namespace fastgan::cuda {

constexpr int kGroup = 8;          // samples of a step
constexpr int kTaps = 12;          // of both filters of a walk
constexpr int kPhase = kTaps / 2;  // taps of even or of odd samples
constexpr int kKept = kPhase - 1;  // even, and odd, samples that a step keeps

// Taps 0, 2, .. and 1, 3, .. of a filter, times a gain.
template <class A>
struct Phases {
  A even[kPhase], odd[kPhase];

  __device__ Phases(const A* taps, A gain) {
#pragma unroll
    for (int i = 0; i < kPhase; ++i) {
      even[i] = gain * taps[2 * i];
      odd[i] = gain * taps[2 * i + 1];
    }
  }
  // The sum of the magnitudes of all taps.
  __device__ A magnitude() const {
    A sum = 0;
#pragma unroll
    for (int i = 0; i < kPhase; ++i) sum += absolute(even[i]) + absolute(odd[i]);
    return sum;
  }
};

// Even samples b - 10 .. b + 2 and odd ones b - 11 .. b + 1 of a signal at twice the rate. A step computes the last 8.
template <class A>
struct Window {
  A even[kKept + kGroup], odd[kKept + kGroup];

  __device__ void keep() {
#pragma unroll
    for (int i = 0; i < kKept; ++i) {
      even[i] = even[kGroup + i];
      odd[i] = odd[kGroup + i];
    }
  }
  // Those that the step computes, even samples b - 5 + p and odd ones b - 6 + p.
  __device__ A& even_at(int p) { return even[kKept + p]; }
  __device__ A& odd_at(int p) { return odd[kKept + p]; }

  // The sample b - 8 + p of the signal at half the rate.
  __device__ A downsampled(const Phases<A>& filter, int p) const {
    A sum = 0;
#pragma unroll
    for (int i = 0; i < kPhase; ++i) sum += filter.odd[i] * even[p + i];
#pragma unroll
    for (int i = 0; i < kPhase; ++i) sum += filter.even[i] * odd[p + i];
    return sum;
  }
};

// Samples b - 8 .. b - 1 and b .. b + 7 of a signal.
template <class A>
struct Samples {
  const A (&before)[kGroup];
  const A (&now)[kGroup];

  __device__ A at(int i) const { return i < kGroup ? before[i] : now[i - kGroup]; }
  // At twice the rate: with the odd taps the even sample b - 5 + p, with the even taps the odd sample b - 6 + p.
  __device__ A upsampled(const A (&taps)[kPhase], int p) const {
    A sum = 0;
#pragma unroll
    for (int i = 0; i < kPhase; ++i) sum += taps[i] * at(p + kPhase - 1 - i);
    return sum;
  }
};

// Eight samples as they are stored: loaded early, converted late. V: elements of a load, 1 or as many as 16 bytes have.
template <class T, int V>
struct Group {
  // Pairs of half types share a register; converting one takes an instruction.
  static constexpr int kWords = V == 1 ? kGroup : kGroup * static_cast<int>(sizeof(T)) / 4;
  using Word = std::conditional_t<V == 1, T, uint32_t>;
  Word words[kWords];

  // Of elements `stride` apart; V > 1: adjacent and aligned.
  __device__ static Group of(const T* from, int64_t stride) {
    Group result;
    if constexpr (V == 1) {
#pragma unroll
      for (int i = 0; i < kGroup; ++i) result.words[i] = from[i * stride];
    } else {
#pragma unroll
      for (int i = 0; i < kWords; i += 4) {
        const auto four = reinterpret_cast<const Vector<uint32_t, 4>*>(from)[i / 4];
#pragma unroll
        for (int each = 0; each < 4; ++each) result.words[i + each] = four.at[each];
      }
    }
    return result;
  }
  __device__ compute_t<T> at(int i) const {
    if constexpr (V == 1) {
      return load(words[i]);
    } else if constexpr (std::is_same_v<T, BFloat16>) {
      return float_of(static_cast<int32_t>(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000u));
    } else if constexpr (sizeof(T) == 2) {
      return load(T{static_cast<uint16_t>(words[i / 2] >> i % 2 * 16)});
    } else {
      return float_of(static_cast<int32_t>(words[i]));
    }
  }
  __device__ void convert(compute_t<T> (&values)[kGroup]) const {
#pragma unroll
    for (int i = 0; i < kGroup; ++i) values[i] = at(i);
  }
  // The largest magnitude of two groups, as if without nan.
  __device__ compute_t<T> largest(const Group& other) const {
#if defined(__CUDA_ARCH__)
    if constexpr (V > 1 && sizeof(T) == 2) {  // two in an instruction
      using Pair = std::conditional_t<std::is_same_v<T, BFloat16>, __nv_bfloat162, __half2>;
      Pair most{};
#pragma unroll
      for (int i = 0; i < 2 * kWords; ++i) {
        Pair pair;
        memcpy(&pair, i < kWords ? &words[i] : &other.words[i - kWords], sizeof pair);
        most = i == 0 ? __habs2(pair) : __hmax2(most, __habs2(pair));
      }
      if constexpr (std::is_same_v<T, BFloat16>)
        return fmaxf(__bfloat162float(most.x), __bfloat162float(most.y));
      else
        return fmaxf(__half2float(most.x), __half2float(most.y));
    }
#endif
    compute_t<T> most = 0;
#pragma unroll
    for (int i = 0; i < kGroup; ++i) most = fmaxf(most, fmaxf(fabsf(at(i)), fabsf(other.at(i))));
    return most;
  }
};

// Stores a whole group.
template <class T, int V>
__device__ void store_group(T* to, int64_t stride, const compute_t<T> (&values)[kGroup]) {
#pragma unroll
  for (int i = 0; i < kGroup / V; ++i) {
    Vector<T, V> part;
#pragma unroll
    for (int each = 0; each < V; ++each) store(&part.at[each], values[i * V + each]);
    store_vector<T, V>(to + i * (V == 1 ? stride : int64_t{V}), part, true);
  }
}

// Loads the group from `first` on of a line of samples that are `stride` apart. It may lie past an end, where the
// signal is repeated, or zero. With V > 1 the stride is 1, lines are aligned and groups whole.
template <class T, int V, bool kZero>
__device__ void load_any(const T* line, int64_t first, int64_t stride, int64_t length, compute_t<T> (&values)[kGroup]) {
  if (V > 1 && first >= 0 && first < length) return Group<T, V>::of(line + first, 1).convert(values);
#pragma unroll
  for (int i = 0; i < kGroup; ++i) {
    const int64_t at = first + i, inside = at < 0 ? 0 : at < length ? at : length - 1;
    values[i] = kZero && at != inside ? compute_t<T>(0) : load(line[inside * stride]);
  }
}

// Stores those of its samples that are not past the end.
template <class T, int V>
__device__ void store_any(T* line, int64_t first, int64_t stride, int64_t length,
                          const compute_t<T> (&values)[kGroup]) {
  if constexpr (V > 1) {
    store_group<T, V>(line + first, 1, values);
  } else {
#pragma unroll
    for (int i = 0; i < kGroup; ++i)
      if (first + i < length) store(line + (first + i) * stride, values[i]);
  }
}

template <class A>
__device__ A largest(const A (&x)[kGroup]) {
  A most = 0;
#pragma unroll
  for (int i = 0; i < kGroup; ++i) most = fmaxf(most, fabsf(x[i]));
  return most;
}

// Assigns threads to runs of groups.
struct Runs {
  int groups;     // of a run
  int64_t count;  // runs of a row
};

// Long runs have less to compute twice; short ones are for signals with few samples.
inline Runs runs_of(const SnakeCall& s) {
  constexpr int64_t kEnough = int64_t{kMaxRanges} * 64;  // threads to keep all multiprocessors busy
  const int64_t all = ceil_div(s.length, kGroup);
  int groups = 32;
  while (groups > 2 && s.samples * s.channels * ceil_div(all, groups) < kEnough) groups /= 2;
  return {groups, ceil_div(all, groups)};
}

// A thread's run: of which row it is, and its groups. Neighbouring threads have neighbouring runs, or channels.
struct Run {
  int64_t sample, channel, first;  // the first group
  int groups;
  bool is_any;  // else the thread has none

  __device__ static Run of(const SnakeCall& s, const Runs& runs) {
    int64_t rest = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    Run run;
    if (s.channels_last) {
      run.channel = rest % s.channels;
      rest /= s.channels;
      run.first = rest % runs.count * runs.groups;
      run.sample = rest / runs.count;
    } else {
      run.first = rest % runs.count * runs.groups;
      rest /= runs.count;
      run.channel = rest % s.channels;
      run.sample = rest / s.channels;
    }
    const int64_t rest_of_row = (s.length + kGroup - 1) / kGroup - run.first;
    run.groups = rest_of_row < runs.groups ? static_cast<int>(rest_of_row) : runs.groups;
    run.is_any = run.sample < s.samples;
    return run;
  }
  __device__ int64_t offset(const SnakeCall& s) const {
    return s.channels_last ? sample * s.length * s.channels + channel : (sample * s.channels + channel) * s.length;
  }
};

// What both walks have. For half types they compute with a u instead of u, and a v instead of v: that saves a product
// for each; float would lose digits to it. Not if a is so large or small that they could overflow: no step is tame.
template <class T, int V>
struct Walk {
  using A = compute_t<T>;
  static constexpr bool kIsScaled = sizeof(T) == 2;
  int64_t stride, length;
  int64_t offset;  // of the run's line, in all arrays: one number for all addresses, as registers are few
  const T* x;
  A factor;    // of u
  A frequency;
  Phases<A> up, down;
  A tame;  // the magnitude of x up to which all angles are

  __device__ bool is_tame(const A (&values)[kGroup]) const { return largest(values) <= tame; }
  template <bool kTame>
  __device__ A frequency_of_step() const {
    return kTame && kIsScaled ? A(1) : frequency;
  }

 protected:
  __device__ Walk(const SnakeCall& call, const Taps<T>& taps, const Run& run, A a)
      : stride(V == 1 && call.channels_last ? call.channels : 1),
        length(call.length),
        offset(run.offset(call)),
        x(static_cast<const T*>(call.input)),
        factor(kIsScaled && fits(a) ? a : A(1)),
        frequency(kIsScaled && fits(a) ? A(1) : a),
        up(taps.up, factor),
        down(taps.down, A(1) / factor),
        tame(kIsScaled && !fits(a) ? A(-1) : kTameAngle<T> / (absolute(frequency) * up.magnitude())) {}

  __device__ static bool fits(A a) { return absolute(a) > A(1e-6) && absolute(a) < A(1e6); }
};

template <class T, int V>
struct ForwardWalk : Walk<T, V> {
  using A = compute_t<T>;
  static constexpr int64_t kFirstTame = kGroup;  // the first b at which a step need not care for the left end
  struct Values {
    A x[kGroup];
  };
  A inverse;
  T* y;
  Window<A> v;
  A last = 0;  // v's last sample, once it is known

  __device__ ForwardWalk(const SnakeCall& call, const Taps<T>& taps, const Run& run, const Curve<A>& curve, T* output)
      : Walk<T, V>(call, taps, run, curve.frequency), inverse(this->factor * curve.inverse), y(output) {}

  __device__ void load_any(int64_t b, Values& values) const {
    cuda::load_any<T, V, false>(this->x + this->offset, b, this->stride, this->length, values.x);
  }
  __device__ void load_whole(const Group<T, V>& x, int64_t, Values& values) const { x.convert(values.x); }

  // Computes the step's part of v. kTame: all angles are, and no sample lies past an end.
  template <bool kTame>
  __device__ void fill(int64_t b, const Values& before, const Values& now) {
    const Samples<A> x{before.x, now.x};
    const Curve<A> curve{this->template frequency_of_step<kTame>(), inverse};
    v.keep();
#pragma unroll
    for (int p = 0; p < kGroup; ++p) {
      v.even_at(p) = curve.template activated<T, kTame>(x.upsampled(this->up.odd, p));
      v.odd_at(p) = curve.template activated<T, kTame>(x.upsampled(this->up.even, p));
    }
    if (!kTame) repeat_ends(b);
  }
  // Replaces samples past the ends.
  __device__ void repeat_ends(int64_t b) {
    const A first = v.even_at(5);  // sample 0, if b is 0
#pragma unroll
    for (int p = 0; p < kGroup; ++p) {
      const int64_t odd = b - 6 + p;
      if (odd == this->length - 1) last = v.odd_at(p);
      if (odd < 0) v.odd_at(p) = first;
      if (odd >= this->length) v.odd_at(p) = last;
    }
#pragma unroll
    for (int p = 0; p < kGroup; ++p) {
      const int64_t even = b - 5 + p;
      if (even < 0) v.even_at(p) = first;
      if (even >= this->length) v.even_at(p) = last;
    }
  }
  __device__ void begin_counting() {}
  // at: where the step's x is in memory
  template <bool kTame>
  __device__ void write(int64_t b, int64_t at) const {
    A result[kGroup];
#pragma unroll
    for (int p = 0; p < kGroup; ++p) result[p] = v.downsampled(this->down, p);
    if (kTame)
      store_group<T, V>(y + (at - kGroup * this->stride), this->stride, result);
    else
      store_any<T, V>(y + this->offset, b - kGroup, this->stride, this->length, result);
  }
};

template <class T, int V>
struct BackwardWalk : Walk<T, V> {
  using A = compute_t<T>;
  static constexpr int64_t kFirstTame = 2 * kGroup;
  struct Values {
    A x[kGroup], dy[kGroup];
  };
  A bend;
  const T* dy;
  T* dx;  // or null
  Window<A> du;
  SnakeSums<A> sums{};

  __device__ BackwardWalk(const SnakeCall& call, const Taps<T>& taps, const Run& run, const Curve<A>& curve,
                          const T* incoming, T* output)
      : Walk<T, V>(call, taps, run, curve.frequency),
        bend(curve.bend()),
        dy(incoming),
        dx(output) {}

  __device__ void load_any(int64_t b, Values& values) const {
    cuda::load_any<T, V, false>(this->x + this->offset, b, this->stride, this->length, values.x);
    cuda::load_any<T, V, true>(dy + this->offset, b, this->stride, this->length, values.dy);
  }
  __device__ void load_whole(const Group<T, V>& x, int64_t at, Values& values) const {
    x.convert(values.x);
    Group<T, V>::of(dy + at, this->stride).convert(values.dy);
  }

  // Computes the step's part of du, and adds to the sums.
  template <bool kTame>
  __device__ void fill(int64_t b, const Values& before, const Values& now) {
    const Samples<A> x{before.x, now.x}, g{before.dy, now.dy};
    const A frequency = this->template frequency_of_step<kTame>();
    du.keep();
#pragma unroll
    for (int p = 0; p < kGroup; ++p) {
      const A even = g.upsampled(this->down.odd, p), odd = g.upsampled(this->down.even, p);
      const A even_u = x.upsampled(this->up.odd, p), odd_u = x.upsampled(this->up.even, p);
      du.even_at(p) = du.odd_at(p) = 0;
      if (kTame || is_inside(b - 5 + p))
        du.even_at(p) = sums.template add<T, kTame>(
            frequency, bend, kTame ? even : even + before_first(b - 5 + p, g), even_u);
      if (kTame || is_inside(b - 6 + p))
        du.odd_at(p) = sums.template add<T, kTame>(
            frequency, bend, kTame ? odd : odd + after_last(b - 6 + p, g, p), odd_u);
    }
  }
  __device__ bool is_inside(int64_t s) const { return s >= 0 && s < this->length; }
  // What the even sample s = 0, which is repeated, gets from its copies on the left. These are sums of samples: sums of
  // taps would be computed before all steps, and stay in registers.
  __device__ A before_first(int64_t s, const Samples<A>& g) const {
    const Phases<A>& f = this->down;
    if (s != 0) return 0;
    const A one = g.at(8), two = one + g.at(9), three = two + g.at(10);
    return f.even[2] * one + f.odd[1] * one + f.even[1] * two + f.odd[0] * two + f.even[0] * three;
  }
  // What the odd sample s = length - 1 gets from its copies on the right.
  __device__ A after_last(int64_t s, const Samples<A>& g, int p) const {
    const Phases<A>& f = this->down;
    if (s != this->length - 1) return 0;
    const A one = g.at(p + 2), two = one + g.at(p + 1), three = two + g.at(p);
    return f.odd[3] * one + f.even[4] * one + f.odd[4] * two + f.even[5] * two + f.odd[5] * three;
  }
  // What a run computes before its first step, the run before it has counted.
  __device__ void begin_counting() { sums = {}; }

  template <bool kTame>
  __device__ void write(int64_t b, int64_t at) const {
    if (dx == nullptr) return;
    A result[kGroup];
#pragma unroll
    for (int p = 0; p < kGroup; ++p) {
      result[p] = du.downsampled(this->up, p);
      if (!kTame && b - kGroup + p == 0) result[p] += of_copies_of_first();
      if (!kTame && b - kGroup + p == this->length - 1) result[p] += of_copies_of_last(p);
    }
    if (kTame)
      store_group<T, V>(dx + (at - kGroup * this->stride), this->stride, result);
    else
      store_any<T, V>(dx + this->offset, b - kGroup, this->stride, this->length, result);
  }
  // What the copies of x[0] on the left, and of the last x on the right, get.
  __device__ A of_copies_of_first() const {
    const Phases<A>& f = this->up;
    const A two = du.even[2] + du.even[3];
    return f.odd[3] * du.even[2] + f.odd[4] * two + f.odd[5] * (two + du.even[4]) + f.even[4] * du.odd[3] +
           f.even[5] * (du.odd[3] + du.odd[4]);
  }
  __device__ A of_copies_of_last(int p) const {
    const Phases<A>& f = this->up;
    const A two = du.odd[p + 3] + du.odd[p + 2];
    return f.odd[0] * (du.even[p + 2] + du.even[p + 1]) + f.odd[1] * du.even[p + 2] +
           f.even[0] * (two + du.odd[p + 1]) + f.even[1] * two + f.even[2] * du.odd[p + 3];
  }
};

// Walks along a run.
template <class T, int V, class Walk>
__device__ void follow(Walk& walk, const Run& run) {
  using Raw = Group<T, V>;
  constexpr bool kLoadsEarly = V > 1 && sizeof(T) == 2;  // else registers are too few
  const int64_t apart = kGroup * walk.stride;
  typename Walk::Values before, now;
  int64_t b = run.first * kGroup;
  walk.load_any(b - kGroup, before);
  int left = run.groups + 1;  // steps
  bool is_first = true;       // which writes nothing
#pragma unroll 1
  while (left > 0) {
    walk.load_any(b, now);
    if (is_first && b >= kGroup && b + kGroup <= walk.length && walk.is_tame(before.x) && walk.is_tame(now.x)) {
      walk.template fill<true>(b, before, now);
    } else {
      walk.template fill<false>(b, before, now);
      if (!is_first) walk.template write<false>(b, 0);
    }
    if (is_first && b > 0) walk.begin_counting();
    is_first = false;
    before = now;
    b += kGroup;
    --left;
    // Pairs of steps over whole groups: `before` and `now` change roles, so that no sample changes its register.
    const int64_t whole = (walk.length - b) / kGroup;
    int pairs = static_cast<int>(whole < left ? whole : left) / 2;
    if (b < Walk::kFirstTame || pairs <= 0 || !walk.is_tame(before.x)) continue;
    int64_t at = walk.offset + b * walk.stride;
    Raw one = Raw::of(walk.x + at, walk.stride), two = Raw::of(walk.x + at + apart, walk.stride);
    b += int64_t{2 * kGroup} * pairs;
    left -= 2 * pairs;
#pragma unroll 1
    for (; pairs > 0 && one.largest(two) <= walk.tame; --pairs) {
      const int64_t next = pairs > 1 ? at + 2 * apart : at;
      const auto load_next = [&] {
        one = Raw::of(walk.x + next, walk.stride);
        two = Raw::of(walk.x + next + apart, walk.stride);
      };
      walk.load_whole(one, at, now);
      walk.template fill<true>(0, before, now);
      walk.template write<true>(0, at);
      if (!kLoadsEarly) two = Raw::of(walk.x + at + apart, walk.stride);
      walk.load_whole(two, at + apart, before);
      if (kLoadsEarly) load_next();  // as it takes long; in vain after the last pair
      walk.template fill<true>(0, now, before);
      walk.template write<true>(0, at + apart);
      if (!kLoadsEarly) load_next();
      at = next;
    }
    b -= int64_t{2 * kGroup} * pairs;
    left += 2 * pairs;
  }
}

}  // namespace fastgan::cuda
