// Attention of one new position over a character's own cache, which it extends in place.
#pragma once

#include <cmath>
#include <cstdint>

#include "numbers.h"

namespace animoe {

struct Heads {
  int32_t heads, kv_heads, dim, capacity;  // capacity: positions of a cache, a multiple of 16
  int64_t layer_bytes() const { return 2ll * kv_heads * capacity * (dim + int64_t(sizeof(float))); }
};

// One layer of a cache: keys (kv_heads, capacity / 16, dim, 16), so that scores of neighbouring positions lie together,
// then values (kv_heads, capacity, dim), both as bytes with one scale per head and position; then the scales of the keys
// and of the values (kv_heads, capacity). It is read once per token, and a crowd's caches are larger than any other memory.
struct Cache {
  int8_t *keys, *values;
  float *key_scales, *value_scales;
  Cache(uint8_t* memory, const Heads& h) {
    const int64_t positions = int64_t(h.kv_heads) * h.capacity;
    keys = reinterpret_cast<int8_t*>(memory);
    values = keys + positions * h.dim;
    key_scales = reinterpret_cast<float*>(values + positions * h.dim);
    value_scales = key_scales + positions;
  }
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

// x (dim,) as bytes `stride` apart from each run of 16 to the next; returns their scale.
inline float keep(const float* x, int dim, int8_t* to, int stride) {
  const ByteScale scale(largest(dim, [=](int i) { return magnitude(load(x + i)); }));
  for (int from = 0; from < dim; from += LANES) {
    uint8_t bytes[LANES];
    to_bytes(load(x + from) * scale.sharp, bytes);
    for (int i = 0; i < LANES; ++i) to[int64_t(from + i) * stride] = int8_t(int(bytes[i]) - 128);
  }
  return scale.unit;
}

// Puts key and value (kv_heads, dim) at `position`.
inline void remember(const Heads& h, Cache cache, const float* key, const float* value, int position) {
  for (int head = 0; head < h.kv_heads; ++head) {
    const int64_t own = int64_t(head) * h.capacity, run = position / LANES * LANES;
    int8_t* keys = cache.keys + (own + run) * h.dim + position % LANES;
    cache.key_scales[own + position] = keep(key + head * h.dim, h.dim, keys, LANES);
    cache.value_scales[own + position] =
        keep(value + head * h.dim, h.dim, cache.values + (own + position) * h.dim, 1);
  }
}

constexpr int CHAINS = 4;  // sums that run side by side: one alone would wait for itself

// found (BLOCKS * 16,) = factors (count,) times rows of 16 bytes per block; rows `stride` apart, blocks `apart`.
template <int BLOCKS>
inline void mix(const float* factors, int count, const int8_t* rows, int64_t stride, int64_t apart, float* found) {
  Lanes sums[BLOCKS] = {};
  for (int i = 0; i < count; ++i, rows += stride)
    for (int b = 0; b < BLOCKS; ++b) sums[b] += factors[i] * load(rows + b * apart);
  for (int b = 0; b < BLOCKS; ++b) store(found + b * LANES, sums[b]);
}

// The same for a width that is a multiple of 16.
inline void mix_all(const float* factors, int count, const int8_t* rows, int64_t stride, int64_t apart, int width,
                    float* found) {
  for (int at = 0; at < width; at += CHAINS * LANES, rows += CHAINS * apart, found += CHAINS * LANES)
    switch ((width - at) / LANES) {
      case 1: mix<1>(factors, count, rows, stride, apart, found); break;
      case 2: mix<2>(factors, count, rows, stride, apart, found); break;
      case 3: mix<3>(factors, count, rows, stride, apart, found); break;
      default: mix<CHAINS>(factors, count, rows, stride, apart, found);
    }
}

// found (heads, dim) of query (heads, dim) over positions 0 to `position`; `scores` (capacity,) is scratch.
inline void attend(const Heads& h, Cache cache, const float* query, int position, float* scores, float* found) {
  const int count = position + 1, padded = (count + LANES - 1) / LANES * LANES, shared = h.heads / h.kv_heads;
  const float scale = 1.0f / std::sqrt(float(h.dim));
  for (int head = 0; head < h.heads; ++head) {
    const int64_t own = int64_t(head / shared) * h.capacity;
    mix_all(query + head * h.dim, h.dim, cache.keys + own * h.dim, LANES, int64_t(h.dim) * LANES, padded, scores);
    for (int p = 0; p < padded; p += LANES) store(scores + p, load(scores + p) * load(cache.key_scales + own + p) * scale);
    soften(scores, count, padded);
    for (int p = 0; p < padded; p += LANES) store(scores + p, load(scores + p) * load(cache.value_scales + own + p));
    mix_all(scores, count, cache.values + own * h.dim, h.dim, LANES, h.dim, found + head * h.dim);
  }
}

}  // namespace animoe
