// Experts beside the layers: LoRA products in integers, expert by expert, for the rows of all who use one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "products.h"
#include "scratch.h"

namespace animoe {

constexpr int FAMILIES = 4;  // qkv, out, gate_up, mlp_out: layers that share their input
constexpr int MOST_KINDS = 3;

// One expert's part of one family: `down` gives rank values per kind (padded to 16), `up[kind]` takes them to the kind's
// outputs: bytes around 128, (out / 16, rank / 4, 16, 4). `worth` (kinds * rank,) is what a unit of the integers stands
// for. The rank is a multiple of 4.
struct Adapter {
  Linear down;
  const uint8_t* up[MOST_KINDS];
  const float* worth;
};

// New positions that one expert works on: a piece of ExpertMemory::members and of its shares.
struct Group {
  int32_t expert;
  int begin, end;
};

struct ExpertMemory {
  std::vector<float> low, shares;
  std::vector<const uint8_t*> chosen;
  std::vector<int32_t> members;
  std::vector<Group> groups;
  std::vector<std::pair<int32_t, int32_t>> users;  // expert, token
};

constexpr int MOST_RANK = 64;

// y (wide,) += values (rank,) times up, with the values as bytes: a rank is a handful of numbers, and eight bits of each
// are what all other activations have.
inline void lift(const float* values, const uint8_t* up, int rank, int wide, float* y) {
  int8_t bytes[MOST_RANK];
  float most = 0.0f;
  for (int r = 0; r < rank; ++r) most = std::max(most, std::fabs(values[r]));
  if (most == 0.0f) return;
  const float sharp = 127.0f / most, unit = most / 127.0f;
  int32_t all = 0;
  for (int r = 0; r < rank; ++r) all += bytes[r] = int8_t(std::nearbyint(values[r] * sharp));
  const int32_t offset = -128 * all;
  for (int j = 0; j < wide; j += BLOCK, up += rank * BLOCK) {
    Sums sums;
    for (int r = 0; r < rank; r += QUAD) sums.add_signed(quad_at(bytes + r), up + r * BLOCK);
    int32_t found[BLOCK];
    sums.store(found);
    store(y + j, load(y + j) + to_floats(load(found) + offset) * unit);
  }
}

// Asks for memory that is needed next, while there is other work.
inline void fetch(const void* memory, int64_t bytes) {
  constexpr int64_t LINE = 64;
  for (int64_t at = 0; at < bytes; at += LINE) __builtin_prefetch(static_cast<const char*>(memory) + at, 0, 2);
}

// The layers of one family: what they have in common, and how wide the outputs of each are.
struct Family {
  int index, kinds;
  int32_t widths[MOST_KINDS];
};

inline void fetch(const Adapter& adapter, const Family& family, int rank) {
  fetch(adapter.down.packed, int64_t(adapter.down.in) * adapter.down.out);
  for (int kind = 0; kind < family.kinds; ++kind) fetch(adapter.up[kind], int64_t(rank) * family.widths[kind]);
}

// Adds what one expert says to the rows of those who use it.
inline void add_expert(ExpertMemory& s, const Adapter& adapter, const Group& group, const Bytes& x, int rank,
                       const Family& family, float* y, int stride) {
  const int padded = adapter.down.out, count = group.end - group.begin;
  const int32_t* members = s.members.data() + group.begin;
  float* low = room(s.low, int64_t(count) * padded);
  const uint8_t** rows = room(s.chosen, count);
  for (int row = 0; row < count; ++row) rows[row] = x.rows[members[row]];
  multiply(rows, count, adapter.down, [&](int row, int first, const int32_t* sums, int wide) {
    for (int j = 0; j < wide; j += LANES)
      store(low + row * padded + first + j, to_floats(load(sums + j) + load(adapter.down.offset + first + j)));
  });
  for (int row = 0; row < count; ++row) {
    float *values = low + row * padded, *out = y + int64_t(members[row]) * stride;
    const float unit = s.shares[group.begin + row] * x.scales[members[row]];
    for (int r = 0; r < family.kinds * rank; ++r) values[r] *= adapter.worth[r] * unit;
    for (int kind = 0; kind < family.kinds; out += family.widths[kind++])
      lift(values + kind * rank, adapter.up[kind], rank, family.widths[kind], out);
  }
}

// Who works with which expert, in the order of each character's own list first: sums must not depend on the company.
// expert, share: (characters, places); owner: (tokens) the character of each.
inline void group_by_expert(ExpertMemory& s, const int32_t* expert, const float* share, int places, const int32_t* owner,
                            int tokens) {
  s.groups.clear(), s.members.clear(), s.shares.clear();
  for (int place = 0; place < places; ++place) {
    s.users.clear();
    for (int token = 0; token < tokens; ++token) {
      const int32_t used = expert[int64_t(owner[token]) * places + place];
      if (used >= 0) s.users.push_back({used, token});
    }
    std::sort(s.users.begin(), s.users.end());
    for (size_t i = 0; i < s.users.size(); ++i) {
      const auto [used, token] = s.users[i];
      const int at = int(s.members.size());
      if (i == 0 || s.users[i - 1].first != used) s.groups.push_back({used, at, at});
      ++s.groups.back().end;
      s.members.push_back(token);
      s.shares.push_back(share[int64_t(owner[token]) * places + place]);
    }
  }
}

}  // namespace animoe
