// Integer matrix products: activations as bytes with one scale per row, weights as bytes with one per output.
//
// Sums of integers are exact, so a row's result does not depend on how many rows share the call.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "numbers.h"

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#define ANIMOE_KERNEL 2
#elif defined(__AVXVNNI__)
#include <immintrin.h>
#define ANIMOE_KERNEL 1
#else
#define ANIMOE_KERNEL 0
#endif

namespace animoe {

constexpr int BLOCK = 16;  // outputs that lie together
constexpr int QUAD = 4;    // inputs that lie together
constexpr int EIGHT = 8;   // outputs, and inputs, that lie together where there are few outputs

// A layer: packed (in / 4, W, 16, 4) int8 for W = 4 blocks of outputs after the other, what is left as W = 2 and 1: a tile
// reads one stretch of memory. scale, offset and bias (out,), bias may be null. `offset` takes the
// 128 back out of the sum that activations carry as unsigned bytes. `in` and `out` multiples of 16.
struct Linear {
  const int8_t* packed;
  const float* scale;
  const int32_t* offset;
  const float* bias;
  int32_t in, out;
};

// 16 sums of one row: `sum[j] += x[0..3] . w[j][0..3]` for each quad of inputs, x unsigned and w signed.
// `add_signed`: the other way round, w unsigned and x signed. `add_eight`: 8 sums in two halves each, of 8 inputs,
// `sum[j][h] += x[4h..4h+3] . w[j][h][0..3]`; `pairs` are the halves together.
#if ANIMOE_KERNEL == 2
struct Sums {
  __m512i value = _mm512_setzero_si512();
  void add(int32_t quad, const int8_t* weights) {
    value = _mm512_dpbusd_epi32(value, _mm512_set1_epi32(quad), _mm512_loadu_si512(weights));
  }
  void add_signed(int32_t quad, const uint8_t* weights) {
    value = _mm512_dpbusd_epi32(value, _mm512_loadu_si512(weights), _mm512_set1_epi32(quad));
  }
  void add_eight(int64_t eight, const int8_t* weights) {
    value = _mm512_dpbusd_epi32(value, _mm512_set1_epi64(eight), _mm512_loadu_si512(weights));
  }
  void join(const Sums& other) { value = _mm512_add_epi32(value, other.value); }
  void store(int32_t* found) const { _mm512_storeu_si512(found, value); }
};
#elif ANIMOE_KERNEL == 1
struct Sums {
  __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
  void add(int32_t quad, const int8_t* weights) {
    const __m256i x = _mm256_set1_epi32(quad);
    low = _mm256_dpbusd_avx_epi32(low, x, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights)));
    high = _mm256_dpbusd_avx_epi32(high, x, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + 32)));
  }
  void add_signed(int32_t quad, const uint8_t* weights) {
    const __m256i x = _mm256_set1_epi32(quad);
    low = _mm256_dpbusd_avx_epi32(low, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights)), x);
    high = _mm256_dpbusd_avx_epi32(high, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + 32)), x);
  }
  void add_eight(int64_t eight, const int8_t* weights) {
    const __m256i x = _mm256_set1_epi64x(eight);
    low = _mm256_dpbusd_avx_epi32(low, x, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights)));
    high = _mm256_dpbusd_avx_epi32(high, x, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + 32)));
  }
  void join(const Sums& other) {
    low = _mm256_add_epi32(low, other.low);
    high = _mm256_add_epi32(high, other.high);
  }
  void store(int32_t* found) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(found), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(found + 8), high);
  }
};
#else
struct Sums {
  int32_t value[BLOCK] = {};
  void add(int32_t quad, const int8_t* weights) {
    uint8_t x[QUAD];
    std::memcpy(x, &quad, QUAD);
    for (int j = 0; j < BLOCK; ++j)
      for (int i = 0; i < QUAD; ++i) value[j] += int32_t(x[i]) * weights[j * QUAD + i];
  }
  void add_signed(int32_t quad, const uint8_t* weights) {
    int8_t x[QUAD];
    std::memcpy(x, &quad, QUAD);
    for (int j = 0; j < BLOCK; ++j)
      for (int i = 0; i < QUAD; ++i) value[j] += int32_t(x[i]) * weights[j * QUAD + i];
  }
  void add_eight(int64_t eight, const int8_t* weights) {
    uint8_t x[EIGHT];
    std::memcpy(x, &eight, EIGHT);
    for (int j = 0; j < BLOCK; ++j)
      for (int i = 0; i < QUAD; ++i) value[j] += int32_t(x[j % 2 * QUAD + i]) * weights[j * QUAD + i];
  }
  void join(const Sums& other) {
    for (int j = 0; j < BLOCK; ++j) value[j] += other.value[j];
  }
  void store(int32_t* found) const { std::memcpy(found, value, sizeof value); }
};
#endif

inline Whole whole(const Sums& sums) {
  int32_t found[BLOCK];
  sums.store(found);
  return load(found);
}

inline FewWhole pairs(const Sums& sums) {
#if ANIMOE_KERNEL == 2
  return FewWhole(_mm512_cvtepi64_epi32(_mm512_add_epi32(sums.value, _mm512_srli_epi64(sums.value, 32))));
#else
  int32_t halves[BLOCK];
  sums.store(halves);
  FewWhole found;
  for (int j = 0; j < EIGHT; ++j) found[j] = halves[2 * j] + halves[2 * j + 1];
  return found;
#endif
}

inline int32_t quad_at(const void* bytes) {
  int32_t quad;
  std::memcpy(&quad, bytes, QUAD);
  return quad;
}

inline int64_t eight_at(const void* bytes) {
  int64_t eight;
  std::memcpy(&eight, bytes, EIGHT);
  return eight;
}

// A stretch of memory that is needed soon.
struct Stretch {
  const void* begin;
  int64_t bytes;
};

// Asks for the lines of stretches one after the other, a few at each step of a product: it computes while memory comes.
struct Lines {
  const Stretch* next;
  const Stretch* end;
  const char* at = nullptr;
  const char* until = nullptr;

  void ask() {
    constexpr int LINE = 64;
    if (at >= until) {
      if (next == end) return;
      at = static_cast<const char*>(next->begin), until = at + next->bytes, ++next;
    }
    __builtin_prefetch(at, 0, 2);
    at += LINE;
  }
};

struct NoLines {
  void ask() {}
};

// ROWS rows times WIDE blocks of 16 outputs; all sums stay in registers. `rows`: where each row's bytes begin. A sum waits
// for itself: small tiles have several of each, side by side.
template <int ROWS, int WIDE, class Ahead>
inline void tile(const uint8_t* const* rows, const int8_t* packed, int in, int32_t (*found)[WIDE * BLOCK], Ahead& ahead) {
  constexpr int SPLIT = ROWS * WIDE <= 2 ? 4 : ROWS * WIDE <= 4 ? 2 : 1;
  Sums sums[SPLIT][ROWS][WIDE];
  for (int k = 0; k < in; k += SPLIT * QUAD)
    for (int s = 0; s < SPLIT; ++s) {
      for (int r = 0; r < ROWS; ++r) {
        const int32_t quad = quad_at(rows[r] + k + s * QUAD);
        for (int w = 0; w < WIDE; ++w) sums[s][r][w].add(quad, packed + ((k + s * QUAD) * WIDE + w * QUAD) * BLOCK);
      }
      ahead.ask(), ahead.ask();
    }
  for (int r = 0; r < ROWS; ++r)
    for (int w = 0; w < WIDE; ++w) {
      for (int s = 1; s < SPLIT; ++s) sums[0][r][w].join(sums[s][r][w]);
      sums[0][r][w].store(found[r] + w * BLOCK);
    }
}

// Hands `sums (WIDE * 16,)` of each of `count` rows, from output `first` on, to `take(row, first, sums, WIDE * 16)`.
template <int WIDE, class Take, class Ahead>
inline void columns(const uint8_t* const* rows, int count, const Linear& layer, int first, Take take, Ahead& ahead) {
  constexpr int MOST = 6;
  int32_t found[MOST][WIDE * BLOCK];
  const int8_t* packed = layer.packed + int64_t(first) * layer.in;
  for (int row = 0; row < count;) {
    const int left = count - row;
    const int taken = left >= MOST ? MOST : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    switch (taken) {
      case MOST: tile<MOST, WIDE>(rows + row, packed, layer.in, found, ahead); break;
      case 4: tile<4, WIDE>(rows + row, packed, layer.in, found, ahead); break;
      case 2: tile<2, WIDE>(rows + row, packed, layer.in, found, ahead); break;
      default: tile<1, WIDE>(rows + row, packed, layer.in, found, ahead);
    }
    for (int r = 0; r < taken; ++r) take(row + r, first, found[r], WIDE * BLOCK);
    row += taken;
  }
}

template <class Take, class Ahead>
inline void multiply(const uint8_t* const* rows, int count, const Linear& layer, Take take, Ahead& ahead) {
  int first = 0;
  for (; first + 4 * BLOCK <= layer.out; first += 4 * BLOCK) columns<4>(rows, count, layer, first, take, ahead);
  for (; first + 2 * BLOCK <= layer.out; first += 2 * BLOCK) columns<2>(rows, count, layer, first, take, ahead);
  for (; first < layer.out; first += BLOCK) columns<1>(rows, count, layer, first, take, ahead);
}

// Rows of activations as bytes around 128: x = (byte - 128) * scale.
struct Bytes {
  uint8_t* values;
  float* scales;
  const uint8_t** rows;  // where each begins
  int width;

  void set(int index, const float* x) {
    const ByteScale scale(largest(width, [=](int i) { return magnitude(load(x + i)); }));
    uint8_t* out = values + int64_t(index) * width;
    rows[index] = out;
    for (int i = 0; i < width; i += LANES) to_bytes(load(x + i) * scale.sharp, out + i);
    scales[index] = scale.unit;
  }
};

// y (count, out) = x W^T + b, rows of y `stride` apart.
template <class Ahead>
inline void linear(const Bytes& x, int count, const Linear& layer, float* y, int stride, Ahead& ahead) {
  const auto take = [&](int row, int first, const int32_t* sums, int wide) {
    float* out = y + int64_t(row) * stride + first;
    const float* scale = layer.scale + first;
    const int32_t* offset = layer.offset + first;
    const float unit = x.scales[row];
    for (int j = 0; j < wide; j += LANES) {
      const Lanes found = to_floats(load(sums + j) + load(offset + j)) * (load(scale + j) * unit);
      store(out + j, layer.bias == nullptr ? found : found + load(layer.bias + first + j));
    }
  };
  multiply(x.rows, count, layer, take, ahead);
}

inline void linear(const Bytes& x, int count, const Linear& layer, float* y, int stride) {
  NoLines none;
  linear(x, count, layer, y, stride, none);
}

}  // namespace animoe
