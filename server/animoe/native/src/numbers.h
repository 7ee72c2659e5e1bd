// Element-wise arithmetic, written so that compilers vectorise it. Sums and maxima are taken in 16 lanes in a fixed order,
// so that neither the compiler nor the place of a row in memory can change a result. Widths are multiples of 16.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace animoe {

constexpr int LANES = 16;
typedef float Lanes __attribute__((vector_size(64)));  // GCC and Clang make of it what the processor has

inline Lanes load(const float* from) {
  Lanes found;
  std::memcpy(&found, from, sizeof found);
  return found;
}

#if defined(__AVX512F__)
inline Lanes load(const int8_t* from) {
  const __m128i found = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return Lanes(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(found)));
}
#else
inline Lanes load(const int8_t* from) {
  typedef int8_t Narrow __attribute__((vector_size(LANES)));
  Narrow found;
  std::memcpy(&found, from, sizeof found);
  return __builtin_convertvector(found, Lanes);
}
#endif

// 16 numbers of at most 127 as bytes around 128, to the nearest. Written out: a loop over bytes, which may be anything's,
// is not vectorised.
inline void to_bytes(Lanes x, uint8_t* to) {
#if defined(__AVX512F__)
  const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(__m512(x)), _mm512_set1_epi32(128));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(whole));
#else
  for (int i = 0; i < LANES; ++i) to[i] = uint8_t(int32_t(std::nearbyint(x[i])) + 128);
#endif
}

// What takes numbers of at most `most` to bytes of at most 127, and back.
struct ByteScale {
  float sharp, unit;
  explicit ByteScale(float most) : sharp(most > 0.0f ? 127.0f / most : 0.0f), unit(most / 127.0f) {}
};

typedef int32_t Whole __attribute__((vector_size(64)));

inline Whole load(const int32_t* from) {
  Whole found;
  std::memcpy(&found, from, sizeof found);
  return found;
}
inline Lanes to_floats(Whole x) { return __builtin_convertvector(x, Lanes); }

inline void store(float* to, Lanes x) { std::memcpy(to, &x, sizeof x); }

// Eight numbers.
typedef float FewFloats __attribute__((vector_size(32)));
typedef int32_t FewWhole __attribute__((vector_size(32)));
typedef int8_t FewBytes __attribute__((vector_size(8)));

inline FewFloats load_few(const float* from) {
  FewFloats found;
  std::memcpy(&found, from, sizeof found);
  return found;
}

inline FewWhole load_few(const int32_t* from) {
  FewWhole found;
  std::memcpy(&found, from, sizeof found);
  return found;
}

// To the nearest whole numbers.
inline FewWhole nearest(FewFloats x) {
#if defined(__AVX512F__)
  return FewWhole(_mm256_cvtps_epi32(__m256(x)));
#else
  FewWhole found;
  for (int i = 0; i < 8; ++i) found[i] = int32_t(std::nearbyint(x[i]));
  return found;
#endif
}

// Folds 16 lanes into one number, half onto half.
template <class Both>
inline float fold(Lanes lanes, Both both) {
  typedef float Half __attribute__((vector_size(32)));
  typedef float Quarter __attribute__((vector_size(16)));
  Half halves[2];
  std::memcpy(halves, &lanes, sizeof halves);
  const Half half = both(halves[0], halves[1]);
  Quarter quarters[2];
  std::memcpy(quarters, &half, sizeof quarters);
  const Quarter q = both(quarters[0], quarters[1]);
  return both(both(q[0], q[2]), both(q[1], q[3]));
}

struct Plus {
  template <class T>
  T operator()(T a, T b) const { return a + b; }
};

struct Larger {
  template <class T>
  T operator()(T a, T b) const { return a > b ? a : b; }
};

// Sum and maximum of value(i), 16 numbers, for i = 0, 16, ... below `width`.
template <class Value>
inline float sum(int width, Value value) {
  Lanes lanes = {};
  for (int i = 0; i < width; i += LANES) lanes += value(i);
  return fold(lanes, Plus());
}

template <class Value>
inline float largest(int width, Value value) {
  Lanes lanes = value(0);
  for (int i = LANES; i < width; i += LANES) lanes = Larger()(lanes, value(i));
  return fold(lanes, Larger());
}

// One bit for each of 16 numbers that is no less than `least`.
inline uint32_t at_least(Lanes x, float least) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(__m512(x), _mm512_set1_ps(least), _CMP_GE_OQ);
#else
  uint32_t bits = 0;
  for (int i = 0; i < LANES; ++i) bits |= uint32_t(x[i] >= least) << i;
  return bits;
#endif
}

template <class T>
inline T magnitude(T x) {
  return x < 0.0f ? -x : x;
}

// e^x to 2e-7 relative: 2^n times a polynomial (Cephes, expf).
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float n = std::nearbyint(x * 1.44269504088896341f);
  const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = (int32_t(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

inline float silu(float x) { return x / (1.0f + exponential(-x)); }

// Softmax of the first `count` scores; the rest up to `padded` become 0.
inline void soften(float* scores, int count, int padded) {
  for (int i = count; i < padded; ++i) scores[i] = -1e9f;
  const float most = largest(padded, [=](int i) { return load(scores + i); });
  for (int i = 0; i < padded; ++i) scores[i] = exponential(scores[i] - most);
  for (int i = count; i < padded; ++i) scores[i] = 0.0f;
  const float share = 1.0f / sum(padded, [=](int i) { return load(scores + i); });
  for (int i = 0; i < padded; ++i) scores[i] *= share;
}

// Root mean square norm (Zhang & Sennrich 2019, arXiv 1910.07467).
inline void normalise(const float* x, const float* weight, float epsilon, int width, float* found) {
  const float share = 1.0f / std::sqrt(sum(width, [=](int i) { return load(x + i) * load(x + i); }) / float(width) + epsilon);
  for (int i = 0; i < width; ++i) found[i] = x[i] * share * weight[i];
}

}  // namespace animoe
