// Memory that grows to the largest batch and then stays: nothing is allocated once that was seen.
#pragma once

#include <cstdint>
#include <vector>

#include "products.h"

namespace animoe {

template <class T>
T* room(std::vector<T>& memory, int64_t count) {
  if (int64_t(memory.size()) < count) memory.resize(count);
  return memory.data();
}

struct ByteMemory {
  std::vector<uint8_t> bytes;
  std::vector<float> scales;
  std::vector<const uint8_t*> rows;
};

// Rows (count, width) as bytes, valid until the next call with the same memory.
inline Bytes as_bytes(ByteMemory& memory, const float* x, int count, int width) {
  Bytes found{room(memory.bytes, int64_t(count) * width), room(memory.scales, count), room(memory.rows, count), width};
  for (int row = 0; row < count; ++row) found.set(row, x + int64_t(row) * width);
  return found;
}

}  // namespace animoe
