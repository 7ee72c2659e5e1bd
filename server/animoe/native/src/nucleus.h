// Nucleus sampling (Holtzman et al. 2019, arXiv 1904.09751) by inverse transform, likeliest first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "numbers.h"

namespace animoe {

// A code with its probability above it, so that larger numbers are likelier codes, and lower ones of equals.
typedef uint64_t Candidate;
inline Candidate candidate(float mass, int32_t code) {
  uint32_t bits;
  std::memcpy(&bits, &mass, sizeof bits);
  return uint64_t(bits) << 32 | uint32_t(~code);
}
inline int32_t code_of(Candidate c) { return int32_t(~uint32_t(c)); }
inline float mass_of(Candidate c) {
  const uint32_t bits = uint32_t(c >> 32);
  float mass;
  std::memcpy(&mass, &bits, sizeof mass);
  return mass;
}

constexpr float COLDEST = 1e-3f;  // below, the likeliest code is taken

inline float weight_above(const float* mass, int count, float threshold) {
  return sum(count, [=](int i) {
    const Lanes found = load(mass + i);
    return found >= threshold ? found : Lanes{};
  });
}

// The mass of about the `wanted`-th likeliest code, by halving the numbers that floats are made of.
inline float mass_of_rank(const float* mass, int count, int wanted) {
  uint32_t low = 0, high = 0x3f800000;  // 0 and 1, the largest mass
  for (int i = 0; i < 14; ++i) {
    const uint32_t middle = (low + high) / 2;
    float threshold;
    std::memcpy(&threshold, &middle, sizeof threshold);
    int found = 0;
    for (int i = 0; i < count; i += LANES) found += __builtin_popcount(at_least(load(mass + i), threshold));
    (found >= wanted ? low : high) = middle;
  }
  float threshold;
  std::memcpy(&threshold, &low, sizeof threshold);
  return threshold;
}

constexpr int MOST_CODES = 64;  // `models.decode_step.MOST_CODES`: what the judges of imports draw from as well

// As `models.decode_step.sample_nucleus`. `mass` (count,) and `kept` are scratch.
inline int32_t draw(const float* logits, int count, float uniform, float temperature, float top_p, float* mass,
                    std::vector<Candidate>& kept) {
  const float most = largest(count, [=](int i) { return load(logits + i); });
  if (temperature < COLDEST) return int32_t(std::find(logits, logits + count, most) - logits);
  const float sharp = 1.0f / temperature;
  for (int i = 0; i < count; ++i) mass[i] = exponential((logits[i] - most) * sharp);
  // The nucleus is found among those above a threshold that is lowered until they weigh enough: it is rarely deep.
  const float least = count > MOST_CODES ? mass_of_rank(mass, count, MOST_CODES) : 0.0f;
  const float wanted = top_p * weight_above(mass, count, least);
  float threshold = 0.5f;
  while (threshold > 1e-20f && weight_above(mass, count, threshold) < wanted) threshold *= 0.5f;
  threshold = threshold > least ? threshold : least;
  kept.clear();
  for (int from = 0; from < count; from += LANES) {
    for (uint32_t bits = at_least(load(mass + from), threshold); bits; bits &= bits - 1) {
      const int32_t code = from + __builtin_ctz(bits);
      kept.push_back(candidate(mass[code], code));
    }
  }
  if (kept.empty()) return 0;  // logits that are no numbers
  std::sort(kept.begin(), kept.end(), std::greater<Candidate>());
  float reached = 0.0f;
  size_t size = 0;
  while (size < kept.size() && (size == 0 || reached < wanted)) reached += mass_of(kept[size++]);
  const float drawn = uniform * reached;
  float passed = 0.0f;
  for (size_t i = 0; i < size; ++i) {
    passed += mass_of(kept[i]);
    if (passed > drawn) return code_of(kept[i]);
  }
  return code_of(kept[size - 1]);
}

}  // namespace animoe
