// Experts beside the layers: LoRA products in integers, expert by expert, for the rows of all who use one.
//
// With many experts hardly two rows share one, so that what counts is memory: nothing is filled up, an expert lies in one
// stretch, and the next one is asked for while one is at work.
#pragma once

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include "products.h"

namespace animoe {

constexpr int FAMILIES = 4;  // qkv, out, gate_up, mlp_out: layers that share their input
constexpr int MOST_KINDS = 3;
constexpr int MOST_RANK = 64;
constexpr int MOST_SHARING = 4;  // rows that go through an expert together

// One expert's part of one family; `bytes` from `down` on hold all of it. The rank is a multiple of 8.
struct Adapter {
  const int8_t* down;             // (kinds * rank / 8, in / 8, 8, 8): to rank values for each kind
  const uint8_t* up[MOST_KINDS];  // each (out / 16, rank / 4, 16, 4), around 128: from them to the kind's outputs
  const int32_t* offset;          // (kinds * rank,) takes the 128 of the inputs back out
  const float* worth;             // (kinds * rank,) of a unit of the integers
  int64_t bytes;
};

// New positions that one expert works on: a piece of ExpertMemory::members and of its shares.
struct Group {
  int32_t expert;
  int begin, end;
};

struct ExpertMemory {
  std::vector<float> shares;
  std::vector<int32_t> members;
  std::vector<Group> groups;
  std::vector<std::tuple<int32_t, int32_t, float>> users;  // expert, token, share
};

// The layers of one family: what they have in common, and how wide the outputs of each are.
struct Family {
  int index, kinds;
  int32_t widths[MOST_KINDS];
};

// Asks for memory that is needed next, while there is other work.
inline void fetch(const void* memory, int64_t bytes) {
  constexpr int64_t LINE = 64;
  for (int64_t at = 0; at < bytes; at += LINE) __builtin_prefetch(static_cast<const char*>(memory) + at, 0, 2);
}

// low (ROWS, EIGHT * count) = rows (in,) times the first `count` eights of `down`. A sum waits for itself: SPLIT stand side
// by side, `in` is a multiple of 8 SPLIT.
template <int ROWS, int SPLIT>
inline void sink(const uint8_t* const* rows, const int8_t* down, int in, int count, int32_t (*low)[MOST_KINDS * MOST_RANK]) {
  for (int eight = 0; eight < count; ++eight, down += in * EIGHT) {
    Sums sums[SPLIT][ROWS];
    for (int k = 0; k < in; k += SPLIT * EIGHT)
      for (int s = 0; s < SPLIT; ++s)
        for (int r = 0; r < ROWS; ++r)
          sums[s][r].add_eight(eight_at(rows[r] + k + s * EIGHT), down + (k + s * EIGHT) * EIGHT);
    for (int r = 0; r < ROWS; ++r) {
      for (int s = 1; s < SPLIT; ++s) sums[0][r].join(sums[s][r]);
      const FewWhole found = pairs(sums[0][r]);
      std::memcpy(low[r] + eight * EIGHT, &found, sizeof found);
    }
  }
}

// y (wide,) += values (rank,) times up, with the values as bytes: a rank is a handful of numbers, and eight bits of each
// are what all other activations have. RANK 0: any.
template <int RANK>
inline void lift(const FewFloats* values, const uint8_t* up, int any, int wide, float* y) {
  const int rank = RANK == 0 ? any : RANK;
  FewFloats largest = {};
  for (int r = 0; r < rank / EIGHT; ++r) largest = Larger()(magnitude(values[r]), largest);
  float most = 0.0f;
  for (int i = 0; i < EIGHT; ++i) most = std::max(most, largest[i]);
  if (most == 0.0f) return;
  const ByteScale scale(most);
  int32_t quads[MOST_RANK / QUAD];
  FewWhole all = {};
  for (int r = 0; r < rank / EIGHT; ++r) {
    const FewWhole whole = nearest(values[r] * scale.sharp);
    const FewBytes bytes = __builtin_convertvector(whole, FewBytes);
    std::memcpy(quads + 2 * r, &bytes, EIGHT);
    all += whole;
  }
  int32_t offset = 0;
  for (int i = 0; i < EIGHT; ++i) offset -= 128 * all[i];
  for (int j = 0; j < wide; j += BLOCK, up += rank * BLOCK) {
    Sums sums;
    for (int q = 0; q < rank / QUAD; ++q) sums.add_signed(quads[q], up + q * QUAD * BLOCK);
    store(y + j, load(y + j) + to_floats(whole(sums) + offset) * scale.unit);
  }
}

// Adds what one expert says to the rows of those who use it.
inline void add_expert(const ExpertMemory& s, const Adapter& adapter, const Group& group, const Bytes& x, int rank,
                       const Family& family, float* y, int stride) {
  const int eights = family.kinds * rank / EIGHT;
  int32_t low[MOST_SHARING][MOST_KINDS * MOST_RANK];
  const uint8_t* rows[MOST_SHARING];
  for (int at = group.begin; at < group.end;) {
    const int left = group.end - at, taken = left >= MOST_SHARING ? MOST_SHARING : left >= 2 ? 2 : 1;
    for (int row = 0; row < taken; ++row) rows[row] = x.rows[s.members[at + row]];
    switch (taken) {
      case MOST_SHARING: sink<MOST_SHARING, 1>(rows, adapter.down, x.width, eights, low); break;
      case 2: sink<2, 2>(rows, adapter.down, x.width, eights, low); break;
      default: (x.width % 32 ? sink<1, 2> : sink<1, 4>)(rows, adapter.down, x.width, eights, low);
    }
    for (int row = 0; row < taken; ++row, ++at) {
      float* out = y + int64_t(s.members[at]) * stride;
      const float unit = s.shares[at] * x.scales[s.members[at]];
      FewFloats values[MOST_KINDS * MOST_RANK / EIGHT];
      for (int e = 0; e < eights; ++e) {
        const FewWhole sums = load_few(low[row] + e * EIGHT) + load_few(adapter.offset + e * EIGHT);
        values[e] = __builtin_convertvector(sums, FewFloats) * load_few(adapter.worth + e * EIGHT) * unit;
      }
      for (int kind = 0; kind < family.kinds; out += family.widths[kind++]) {
        const FewFloats* own = values + kind * rank / EIGHT;
        if (rank == EIGHT)
          lift<EIGHT>(own, adapter.up[kind], rank, family.widths[kind], out);
        else
          lift<0>(own, adapter.up[kind], rank, family.widths[kind], out);
      }
    }
  }
}

// Who works with which expert, experts in their order: sums must not depend on the company.
// expert, share: (characters, places); owner: (tokens) the character of each.
inline void group_by_expert(ExpertMemory& s, const int32_t* expert, const float* share, int places, const int32_t* owner,
                            int tokens) {
  s.groups.clear(), s.members.clear(), s.shares.clear(), s.users.clear();
  for (int token = 0; token < tokens; ++token)
    for (int64_t place = int64_t(owner[token]) * places; place < int64_t(owner[token] + 1) * places; ++place)
      if (expert[place] >= 0) s.users.push_back({expert[place], token, share[place]});
  std::sort(s.users.begin(), s.users.end());
  for (const auto& [used, token, part] : s.users) {
    const int at = int(s.members.size());
    if (s.groups.empty() || s.groups.back().expert != used) s.groups.push_back({used, at, at});
    ++s.groups.back().end;
    s.members.push_back(token);
    s.shares.push_back(part);
  }
}

}  // namespace animoe
