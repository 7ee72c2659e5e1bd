// One decode step of the motion LM for a batch of characters: new positions in, codes of their next tokens out.
//
// The same forward pass as `models.decode_step.DecodeStep` (Llama architecture with experts beside its linear layers).
// Rows never meet: a character's result is the same to the bit alone and in any crowd.
#include <cstdint>
#include <vector>

#include "attention.h"
#include "experts.h"
#include "nucleus.h"
#include "numbers.h"
#include "products.h"
#include "scratch.h"

namespace animoe {

struct Layer {
  const float* input_norm;
  const float* middle_norm;
  Linear family[FAMILIES];
};

struct Model {
  int32_t layers, width, hidden, groups, codebook, head_width, rank, emotions, prompt_slots, token_slot;
  float epsilon;
  Heads heads;
  const Layer* layer;
  const float* final_norm;
  const float* slot;            // (token_slot + 1, width)
  const float* left;            // (most tokens to go, width)
  const float* inferred;        // (width,)
  const float* code;            // (groups, codebook, width)
  const float* previous;        // (groups - 1, codebook, head_width)
  const Linear* start;          // one, (groups * head_width) wide
  const Linear* middle;         // (groups,)
  const Linear* out;            // (groups,)
  const float* cosine;          // (capacity, dim / 2)
  const float* sine;
};

// tokens: new positions of all characters, one character after the other. Expert -1 stands for none. What two experts add
// to a row is added in the order of the experts, which must be the same in every batch.
struct Batch {
  int32_t characters, tokens, slots_per_character;
  const Adapter* const* experts;  // (experts) each (layers, 4)
  const int32_t* begins;          // (characters + 1) first token of each
  const int32_t* past;            // (characters) positions that its cache holds
  uint8_t* const* caches;         // (characters)
  const int32_t* expert;          // (characters, slots_per_character)
  const float* share;             // like `expert`
  const float* const* basis;      // (characters) each (emotions, width): how its prompt expresses each emotion
  const float* const* content;    // (characters) each (prompt_slots, width): what stands in its prompt slots
  const float* emotion;           // (characters, emotions)
  const float* inferred;          // (characters) 1 where the text says the emotion, else 0
  const int32_t* slots;           // (tokens)
  const int32_t* lefts;           // (tokens)
  const int32_t* codes;           // (tokens, groups)
  const int32_t* draws;           // (characters) candidates of each
  const float* uniform;           // (sum of draws, groups)
  const float* temperature;       // (characters)
  const float* top_p;             // (characters)
  int64_t* found;                 // (sum of draws, groups)
};

namespace {

struct Scratch {
  ByteMemory memory;
  std::vector<float> x, felt, normed, wide, attended, scores, start, seen, hidden, logits;
  ExpertMemory experts;
  std::vector<const Adapter*> adapters;
  std::vector<Stretch> stretches;
  std::vector<int32_t> owner;
  std::vector<Candidate> kept;
};
thread_local Scratch scratch;

void add(float* x, const float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] += y[i];
}

// y (tokens, out) = the family's layers of x (tokens, in), with every character's experts.
void apply(const Model& m, const Batch& b, int layer, const Family& family, const float* x, float* y) {
  Scratch& s = scratch;
  const Linear& base = m.layer[layer].family[family.index];
  const Bytes bytes = as_bytes(s.memory, x, b.tokens, base.in);
  s.adapters.clear(), s.stretches.clear();
  for (const Group& group : s.experts.groups) {
    const Adapter& adapter = b.experts[group.expert][int64_t(layer) * FAMILIES + family.index];
    s.adapters.push_back(&adapter);
    s.stretches.push_back({adapter.down, adapter.bytes});
  }
  Lines ahead{s.stretches.data(), s.stretches.data() + s.stretches.size()};
  if (s.adapters.empty())
    linear(bytes, b.tokens, base, y, base.out);
  else
    linear(bytes, b.tokens, base, y, base.out, ahead);
  for (size_t group = 0; group < s.adapters.size(); ++group) {
    const Stretch* next = s.stretches.data() + group + 1;
    if (next >= ahead.next && next < ahead.end) fetch(next->begin, next->bytes);  // not asked for yet
    add_expert(s.experts, *s.adapters[group], s.experts.groups[group], bytes, m.rank, family, y, base.out);
  }
}

// What is felt, the prompt in its slots, slot, tokens to go and codes: `engine.conditions` and `DecodeStep._embed`.
void embed(const Model& m, const Batch& b, float* x) {
  float* felt = room(scratch.felt, m.width);
  for (int character = 0; character < b.characters; ++character) {
    const float* emotion = b.emotion + int64_t(character) * m.emotions;
    for (int i = 0; i < m.width; ++i) felt[i] = b.inferred[character] * m.inferred[i];
    for (int e = 0; e < m.emotions; ++e)
      for (int i = 0; i < m.width; ++i) felt[i] += emotion[e] * b.basis[character][int64_t(e) * m.width + i];
    for (int token = b.begins[character]; token < b.begins[character + 1]; ++token) {
      const int32_t place = b.slots[token];
      float* out = x + int64_t(token) * m.width;
      std::memcpy(out, felt, m.width * sizeof(float));
      add(out, m.slot + int64_t(place) * m.width, m.width);
      add(out, m.left + int64_t(b.lefts[token]) * m.width, m.width);
      if (place < m.prompt_slots) add(out, b.content[character] + int64_t(place) * m.width, m.width);
      for (int group = 0; place == m.token_slot && group < m.groups; ++group) {
        const int32_t code = b.codes[int64_t(token) * m.groups + group];
        add(out, m.code + (int64_t(group) * m.codebook + code) * m.width, m.width);
      }
    }
  }
}

void attend_all(const Model& m, const Batch& b, int layer, float* qkv, float* found) {
  const Heads& h = m.heads;
  const int q = h.heads * h.dim, kv = h.kv_heads * h.dim, wide = q + 2 * kv;
  float* scores = room(scratch.scores, h.capacity);
  for (int character = 0; character < b.characters; ++character) {
    const Cache cache(b.caches[character] + layer * h.layer_bytes(), h);
    if (character + 1 < b.characters) fetch(b.caches[character + 1] + layer * h.layer_bytes(), h.layer_bytes());
    for (int token = b.begins[character]; token < b.begins[character + 1]; ++token) {
      const int position = b.past[character] + token - b.begins[character];
      float* row = qkv + int64_t(token) * wide;
      const float *cosine = m.cosine + position * (h.dim / 2), *sine = m.sine + position * (h.dim / 2);
      rotate(row, h.heads + h.kv_heads, h.dim, cosine, sine);
      remember(h, cache, row + q, row + q + kv, position);
      attend(h, cache, row, position, scores, found + int64_t(token) * q);
    }
  }
}

// Leaves the hidden states (tokens, width) after the last layer, before the final norm, in scratch.x.
void backbone(const Model& m, const Batch& b) {
  Scratch& s = scratch;
  const Heads& h = m.heads;
  const int64_t tokens = b.tokens;
  const int qkv = (h.heads + 2 * h.kv_heads) * h.dim, most = std::max(qkv, 2 * m.hidden);
  float *x = room(s.x, tokens * m.width), *normed = room(s.normed, tokens * std::max(m.width, m.hidden));
  float *wide = room(s.wide, tokens * most), *attended = room(s.attended, tokens * std::max(m.width, h.heads * h.dim));
  const Family together[FAMILIES] = {{0, 3, {h.heads * h.dim, h.kv_heads * h.dim, h.kv_heads * h.dim}},
                                     {1, 1, {m.width}},
                                     {2, 2, {m.hidden, m.hidden}},
                                     {3, 1, {m.width}}};
  embed(m, b, x);
  for (int index = 0; index < m.layers; ++index) {
    const Layer& layer = m.layer[index];
    for (int64_t t = 0; t < tokens; ++t)
      normalise(x + t * m.width, layer.input_norm, m.epsilon, m.width, normed + t * m.width);
    apply(m, b, index, together[0], normed, wide);
    attend_all(m, b, index, wide, attended);
    apply(m, b, index, together[1], attended, wide);
    add(x, wide, tokens * m.width);
    for (int64_t t = 0; t < tokens; ++t)
      normalise(x + t * m.width, layer.middle_norm, m.epsilon, m.width, normed + t * m.width);
    apply(m, b, index, together[2], normed, wide);
    for (int64_t t = 0; t < tokens; ++t) {
      const float *gate = wide + t * 2 * m.hidden, *up = gate + m.hidden;
      float* out = normed + t * m.hidden;
      for (int i = 0; i < m.hidden; ++i) out[i] = silu(gate[i]) * up[i];
    }
    apply(m, b, index, together[3], normed, wide);
    add(x, wide, tokens * m.width);
  }
}

// Draws the codes of every candidate, one group after the other, each given those before it.
void draw_all(const Model& m, const Batch& b) {
  Scratch& s = scratch;
  const int wide = m.head_width, all = m.groups * wide;
  float* normed = room(s.normed, int64_t(b.characters) * m.width);
  for (int character = 0; character < b.characters; ++character)
    normalise(s.x.data() + int64_t(b.begins[character + 1] - 1) * m.width, m.final_norm, m.epsilon, m.width,
              normed + int64_t(character) * m.width);
  float* start = room(s.start, int64_t(b.characters) * all);
  const Bytes states = as_bytes(scratch.memory, normed, b.characters, m.width);
  linear(states, b.characters, *m.start, start, all);
  s.owner.clear();
  for (int character = 0; character < b.characters; ++character)
    s.owner.insert(s.owner.end(), b.draws[character], character);
  const int64_t draws = int64_t(s.owner.size());
  float *seen = room(s.seen, draws * wide), *hidden = room(s.hidden, draws * wide), *middle = room(s.wide, draws * wide);
  float *logits = room(s.logits, draws * m.codebook), *mass = room(s.attended, m.codebook);
  std::fill(seen, seen + draws * wide, 0.0f);
  for (int group = 0; group < m.groups; ++group) {
    for (int64_t d = 0; d < draws; ++d) {
      const float* from = start + int64_t(s.owner[d]) * all + group * wide;
      for (int i = 0; i < wide; ++i) hidden[d * wide + i] = silu(from[i] + seen[d * wide + i]);
    }
    linear(as_bytes(scratch.memory, hidden, int(draws), wide), int(draws), m.middle[group], middle, wide);
    for (int64_t i = 0; i < draws * wide; ++i) hidden[i] += silu(middle[i]);
    linear(as_bytes(scratch.memory, hidden, int(draws), wide), int(draws), m.out[group], logits, m.codebook);
    for (int64_t d = 0; d < draws; ++d) {
      const int32_t owner = s.owner[d];
      const int32_t code = draw(logits + d * m.codebook, m.codebook, b.uniform[d * m.groups + group],
                                b.temperature[owner], b.top_p[owner], mass, s.kept);
      b.found[d * m.groups + group] = code;
      if (group + 1 < m.groups) add(seen + d * wide, m.previous + (int64_t(group) * m.codebook + code) * wide, wide);
    }
  }
}

}  // namespace
}  // namespace animoe

extern "C" {

// 0 portable, 1 AVX-VNNI, 2 AVX-512 VNNI.
int animoe_kernel() { return ANIMOE_KERNEL; }

void animoe_step(const animoe::Model* model, const animoe::Batch* batch) {
  using animoe::scratch;
  scratch.owner.clear();
  for (int character = 0; character < batch->characters; ++character)
    scratch.owner.insert(scratch.owner.end(), batch->begins[character + 1] - batch->begins[character], character);
  animoe::group_by_expert(scratch.experts, batch->expert, batch->share, batch->slots_per_character, scratch.owner.data(),
                          batch->tokens);
  animoe::backbone(*model, *batch);
  animoe::draw_all(*model, *batch);
}
}
