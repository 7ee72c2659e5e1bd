// One token of the streaming decoder for a batch: codes and state in, four frames of features and the next state out.
//
// The same as `models.tokenizer.Decoder` for one token. The blocks' products are in integers; the control points, which
// joints follow, are in float: there, coarse steps would show as trembling.
#include <cstdint>
#include <cstring>
#include <vector>

#include "numbers.h"
#include "products.h"
#include "scratch.h"

namespace animoe {

constexpr int FRAMES = 4;  // per token
constexpr int POINTS = 2;  // new control points per token
constexpr int KEPT = 3;    // control points that later tokens need
constexpr int ROOT = 3;    // root codes, and the features that they carry
constexpr int FLAG = 3;    // in the last row of a state: a stream has begun

struct Block {
  const float *norm_weight, *norm_bias;
  Linear convolution;  // (3 * width -> width)
  Linear project;
  int32_t dilation;
};

struct Decoder {
  int32_t width, blocks, poses, groups, codebook, levels;  // poses: features after the root's
  const Block* block;
  const float* lift;       // (groups, codebook, width), what each code adds
  const float* lift_bias;  // (width,)
  const float *norm_weight, *norm_bias;
  const float* out;           // (width, points), points a multiple of 16: POINTS * poses and padding
  const float* out_bias;      // (points,)
  const float* opening;       // (width, opened)
  const float* opening_bias;  // (opened,)
  int32_t points, opened;
  const float* spline;      // (FRAMES, KEPT + POINTS)
  const float* mean;        // (ROOT + poses,)
  const float* deviation;   // (ROOT + poses,)
  const float* velocities;  // (ROOT, levels)
};

// state (rows, width) before and after: history of the blocks, KEPT control points, the root.
struct Tokens {
  int32_t count;
  const int64_t* codes;         // (count, ROOT + groups)
  const float* const* before;   // (count)
  float* const* after;          // (count)
  float* features;              // (count, FRAMES, ROOT + poses)
};

namespace {

struct Scratch {
  ByteMemory memory;
  std::vector<float> x, taps, hidden, points;
};
thread_local Scratch scratch;

void standardise(const float* x, const float* weight, const float* bias, int width, float* found) {
  const float mean = sum(width, [=](int i) { return load(x + i); }) / float(width);
  const float variance = sum(width, [=](int i) { return (load(x + i) - mean) * (load(x + i) - mean); }) / float(width);
  const float share = 1.0f / std::sqrt(variance + 1e-5f);
  for (int i = 0; i < width; ++i) found[i] = (x[i] - mean) * share * weight[i] + bias[i];
}

// found (outputs,) = bias + x (inputs,) times weights (inputs, outputs).
void multiply_float(const float* x, const float* weights, const float* bias, int inputs, int outputs, float* found) {
  std::memcpy(found, bias, outputs * sizeof(float));
  for (int i = 0; i < inputs; ++i)
    for (int j = 0; j < outputs; ++j) found[j] += x[i] * weights[int64_t(i) * outputs + j];
}

void lift(const Decoder& m, const Tokens& t, float* x) {
  for (int row = 0; row < t.count; ++row) {
    float* out = x + int64_t(row) * m.width;
    std::memcpy(out, m.lift_bias, m.width * sizeof(float));
    for (int group = 0; group < m.groups; ++group) {
      const int64_t code = t.codes[int64_t(row) * (ROOT + m.groups) + ROOT + group];
      const int64_t known = code < m.codebook ? code : m.codebook - 1;
      const float* table = m.lift + (group * m.codebook + known) * m.width;
      for (int i = 0; i < m.width; ++i) out[i] += table[i];
    }
  }
}

// x (count, width) through one block; its history lies from row `first` of each state on.
void pass(const Decoder& m, const Tokens& t, const Block& block, int first, float* x) {
  Scratch& s = scratch;
  const int w = m.width, history = 2 * block.dilation;
  float *taps = room(s.taps, int64_t(t.count) * 3 * w), *hidden = room(s.hidden, int64_t(t.count) * w);
  for (int row = 0; row < t.count; ++row) {
    const float* before = t.before[row] + int64_t(first) * w;
    float* after = t.after[row] + int64_t(first) * w;
    float* tap = taps + int64_t(row) * 3 * w;
    std::memcpy(tap, before, w * sizeof(float));
    std::memcpy(tap + w, before + int64_t(block.dilation) * w, w * sizeof(float));
    standardise(x + int64_t(row) * w, block.norm_weight, block.norm_bias, w, tap + 2 * w);
    std::memcpy(after, before + w, int64_t(history - 1) * w * sizeof(float));
    std::memcpy(after + int64_t(history - 1) * w, tap + 2 * w, w * sizeof(float));
  }
  linear(as_bytes(scratch.memory, taps, t.count, 3 * w), t.count, block.convolution, hidden, w);
  for (int64_t i = 0; i < int64_t(t.count) * w; ++i) hidden[i] = silu(hidden[i]);
  linear(as_bytes(scratch.memory, hidden, t.count, w), t.count, block.project, taps, w);
  for (int64_t i = 0; i < int64_t(t.count) * w; ++i) x[i] += taps[i];
}

// The frames' poses from what a row of x says of the next control points, and the rows of the state that keep them.
void draw_poses(const Decoder& m, const float* before, const float* x, float* after, float* features) {
  Scratch& s = scratch;
  const int w = m.width, all = ROOT + m.poses;
  float* hidden = room(s.hidden, w);
  standardise(x, m.norm_weight, m.norm_bias, w, hidden);
  const int most = m.points > m.opened ? m.points : m.opened;
  float* memory = room(s.points, int64_t(most) + KEPT * m.poses + m.points);
  float *opened = memory, *points = memory + most;  // points (KEPT + POINTS, poses) and padding
  if (before[KEPT * w + FLAG] > 0.0f) {
    for (int k = 0; k < KEPT; ++k) std::memcpy(points + k * m.poses, before + k * w, m.poses * sizeof(float));
  } else {
    multiply_float(hidden, m.opening, m.opening_bias, w, m.opened, opened);
    std::memcpy(points, opened, KEPT * m.poses * sizeof(float));
  }
  multiply_float(hidden, m.out, m.out_bias, w, m.points, points + KEPT * m.poses);
  for (int frame = 0; frame < FRAMES; ++frame) {
    float* out = features + frame * all + ROOT;
    for (int i = 0; i < m.poses; ++i) {
      float value = 0.0f;
      for (int k = 0; k < KEPT + POINTS; ++k) value += m.spline[frame * (KEPT + POINTS) + k] * points[k * m.poses + i];
      out[i] = value * m.deviation[ROOT + i] + m.mean[ROOT + i];
    }
  }
  for (int k = 0; k < KEPT; ++k) {
    std::memset(after + k * w, 0, w * sizeof(float));
    std::memcpy(after + k * w, points + (k + POINTS) * m.poses, m.poses * sizeof(float));
  }
}

void draw_root(const Decoder& m, const int64_t* codes, const float* before, float* after, float* features) {
  std::memset(after, 0, m.width * sizeof(float));
  after[FLAG] = 1.0f;
  for (int group = 0; group < ROOT; ++group) {
    const int64_t level = codes[group] < m.levels ? codes[group] : m.levels - 1;
    const float end = m.velocities[group * m.levels + level];
    const float start = before[FLAG] > 0.0f ? before[group] : end;
    for (int frame = 0; frame < FRAMES; ++frame)
      features[frame * (ROOT + m.poses) + group] = start + (end - start) * (float(frame + 1) / FRAMES);
    after[group] = end;
  }
}

}  // namespace
}  // namespace animoe

extern "C" void animoe_decode(const animoe::Decoder* model, const animoe::Tokens* tokens) {
  const animoe::Decoder& m = *model;
  const animoe::Tokens& t = *tokens;
  float* x = animoe::room(animoe::scratch.x, int64_t(t.count) * m.width);
  animoe::lift(m, t, x);
  int first = 0;
  for (int index = 0; index < m.blocks; ++index) {
    animoe::pass(m, t, m.block[index], first, x);
    first += 2 * m.block[index].dilation;
  }
  for (int row = 0; row < t.count; ++row) {
    const float* before = t.before[row] + int64_t(first) * m.width;
    float* after = t.after[row] + int64_t(first) * m.width;
    float* features = t.features + int64_t(row) * animoe::FRAMES * (animoe::ROOT + m.poses);
    animoe::draw_poses(m, before, x + int64_t(row) * m.width, after, features);
    const int64_t last = int64_t(animoe::KEPT) * m.width;
    animoe::draw_root(m, t.codes + int64_t(row) * (animoe::ROOT + m.groups), before + last, after + last, features);
  }
}
