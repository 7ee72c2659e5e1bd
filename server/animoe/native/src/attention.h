// Attention of one new position over a character's own cache, which it extends in place.
#pragma once

#include <cmath>
#include <cstdint>

#include "numbers.h"

namespace animoe {

struct Heads {
  int32_t heads, kv_heads, dim, capacity;  // capacity: positions of a cache, a multiple of 16
  int64_t layer_numbers() const { return 2ll * kv_heads * dim * capacity; }
};

// One layer of a cache: keys (kv_heads, dim, capacity), so that scores of neighbouring positions lie together, then
// values (kv_heads, capacity, dim).
struct Cache {
  Stored* keys;
  Stored* values;
  Cache(Stored* memory, const Heads& h) : keys(memory), values(memory + int64_t(h.kv_heads) * h.dim * h.capacity) {}
};

// Turns pairs (i, i + dim / 2) of each head (Su et al. 2021, arXiv 2104.09864, in Llama's order).
inline void rotate(float* x, int heads, int dim, const float* cosine, const float* sine) {
  const int half = dim / 2;
  for (int h = 0; h < heads; ++h, x += dim)
    for (int i = 0; i < half; ++i) {
      const float a = x[i], b = x[i + half];
      x[i] = a * cosine[i] - b * sine[i];
      x[i + half] = b * cosine[i] + a * sine[i];
    }
}

// Puts key and value (kv_heads, dim) at `position`.
inline void remember(const Heads& h, Cache cache, const float* key, const float* value, int position) {
  for (int head = 0; head < h.kv_heads; ++head)
    for (int from = 0; from < h.dim; from += LANES) {
      Stored* keys = cache.keys + (int64_t(head) * h.dim + from) * h.capacity + position;
      Stored own[LANES];
      narrow(key + head * h.dim + from, own);
      for (int i = 0; i < LANES; ++i) keys[int64_t(i) * h.capacity] = own[i];
      narrow(value + head * h.dim + from, cache.values + (int64_t(head) * h.capacity + position) * h.dim + from);
    }
}

constexpr int CHAINS = 4;  // sums that run side by side: one alone would wait for itself

// found (BLOCKS * 16,) += factors (count,) times rows of `rows`, which are `stride` apart.
template <int BLOCKS>
inline void mix(const float* factors, int count, const Stored* rows, int64_t stride, float* found) {
  Lanes sums[BLOCKS] = {};
  for (int i = 0; i < count; ++i, rows += stride)
    for (int b = 0; b < BLOCKS; ++b) sums[b] += factors[i] * load(rows + b * LANES);
  for (int b = 0; b < BLOCKS; ++b) store(found + b * LANES, sums[b]);
}

// found (width,) = factors (count,) times rows (count, width) that are `stride` apart; width a multiple of 16.
inline void mix_all(const float* factors, int count, const Stored* rows, int64_t stride, int width, float* found) {
  for (int at = 0; at < width; at += CHAINS * LANES) switch ((width - at) / LANES) {
      case 1: mix<1>(factors, count, rows + at, stride, found + at); break;
      case 2: mix<2>(factors, count, rows + at, stride, found + at); break;
      case 3: mix<3>(factors, count, rows + at, stride, found + at); break;
      default: mix<CHAINS>(factors, count, rows + at, stride, found + at);
    }
}

// found (heads, dim) of query (heads, dim) over positions 0 to `position`; `scores` (capacity,) is scratch.
inline void attend(const Heads& h, Cache cache, const float* query, int position, float* scores, float* found) {
  const int count = position + 1, padded = (count + LANES - 1) / LANES * LANES, shared = h.heads / h.kv_heads;
  const float scale = 1.0f / std::sqrt(float(h.dim));
  for (int head = 0; head < h.heads; ++head) {
    const int64_t own = int64_t(head / shared) * h.dim * h.capacity;
    mix_all(query + head * h.dim, h.dim, cache.keys + own, h.capacity, padded, scores);
    for (int p = 0; p < padded; ++p) scores[p] *= scale;
    soften(scores, count, padded);
    mix_all(scores, count, cache.values + own, h.dim, h.dim, found + head * h.dim);
  }
}

}  // namespace animoe
