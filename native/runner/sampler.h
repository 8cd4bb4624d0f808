// The next token from one row of logits.
//
// Truncation in the order of llama.cpp's default chain: top-k, top-p, min-p, then temperature; top-p and
// min-p look at the distribution at temperature 1. The draw is a function of (seed, position): a sequence
// that is preempted, restored or batched otherwise draws the same token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runner/status.h"

namespace kvpage::runner {

struct Sampling {
    float temperature = 0; // 0: the most probable token, lowest id first
    int32_t top_k = 0;     // 0: off
    float top_p = 1;       // 1: off
    float min_p = 0;       // 0: off
    uint64_t seed = 0;
    int32_t top_logprobs = -1; // most probable tokens to report; -1: no log-probabilities at all
};

struct Sampled {
    int32_t token;
    float logprob; // natural, under softmax of the unmodified logits; NaN if not asked for
};

class Sampler {
  public:
    // `top_tokens` and `top_logprobs` hold at least sampling.top_logprobs entries (fewer than the
    // vocabulary). KVPAGE_STEP_FAILED if a logit is not a number.
    Status sample(std::span<const float> logits, const Sampling &sampling, uint64_t position, Sampled &out,
                  int32_t *top_tokens, float *top_logprobs);

  private:
    int32_t draw(std::span<const float> logits, const Sampling &sampling, uint64_t position, float greatest);

    size_t nucleus(std::span<const float> logits, size_t kept, float top_p, float greatest);

    std::vector<int32_t> order_; // scratch
    std::vector<double> masses_;
};

} // namespace kvpage::runner
