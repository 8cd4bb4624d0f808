#include "runner/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

namespace kvpage::runner {
namespace {

// Uniform in [0, 1) from (seed, position): two rounds of splitmix64's finaliser.
double uniform(uint64_t seed, uint64_t position) {
    auto mix = [](uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    };
    const uint64_t bits = mix(mix(seed + 0x9e3779b97f4a7c15) + position * 0x9e3779b97f4a7c15);
    return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

} // namespace

Status Sampler::sample(std::span<const float> logits, const Sampling &sampling, uint64_t position,
                       Sampled &out, int32_t *top_tokens, float *top_logprobs) {
    // One pass finds the greatest logit; NaN fails every comparison, so it is looked for by its sum.
    float greatest = -std::numeric_limits<float>::infinity();
    int32_t first = -1;
    float nan_probe = 0;
    for (size_t i = 0; i < logits.size(); i++) {
        nan_probe += logits[i] * 0.0F;
        if (logits[i] > greatest) {
            greatest = logits[i];
            first = static_cast<int32_t>(i);
        }
    }
    if (std::isnan(nan_probe) || first < 0)
        return Status::error("KVPAGE_STEP_FAILED", "the model's logits are not all finite numbers");

    out.token = sampling.temperature > 0 ? draw(logits, sampling, position, greatest) : first;
    out.logprob = std::numeric_limits<float>::quiet_NaN();
    if (sampling.top_logprobs < 0)
        return Status::success();

    double sum = 0;
    for (float logit : logits)
        sum += std::exp(static_cast<double>(logit) - greatest);
    const double log_sum = greatest + std::log(sum);
    out.logprob = static_cast<float>(logits[static_cast<size_t>(out.token)] - log_sum);

    const auto count = static_cast<size_t>(sampling.top_logprobs);
    if (count == 0)
        return Status::success();
    order_.resize(logits.size());
    std::iota(order_.begin(), order_.end(), 0);
    const auto more_probable = [&](int32_t a, int32_t b) {
        const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
        return x != y ? x > y : a < b;
    };
    const size_t kept = std::min(count, logits.size());
    std::partial_sort(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(kept), order_.end(),
                      more_probable);
    for (size_t i = 0; i < kept; i++) {
        top_tokens[i] = order_[i];
        top_logprobs[i] = static_cast<float>(logits[static_cast<size_t>(order_[i])] - log_sum);
    }
    return Status::success();
}

int32_t Sampler::draw(std::span<const float> logits, const Sampling &sampling, uint64_t position,
                      float greatest) {
    const size_t vocabulary = logits.size();
    const auto logit = [&](int32_t token) { return logits[static_cast<size_t>(token)]; };
    const auto more_probable = [&](int32_t a, int32_t b) {
        return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
    };
    order_.resize(vocabulary);
    std::iota(order_.begin(), order_.end(), 0);
    size_t kept = vocabulary;
    size_t sorted = 0; // leading candidates that are in order
    if (sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < kept) {
        kept = static_cast<size_t>(sampling.top_k);
        std::partial_sort(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(kept), order_.end(),
                          more_probable);
        sorted = kept;
    }
    if (sampling.top_p < 1) {
        double total = 0;
        for (size_t i = 0; i < kept; i++)
            total += std::exp(static_cast<double>(logit(order_[i])) - greatest);
        // The smallest set of most probable tokens that reaches top_p (at least one), found by sorting a
        // growing head.
        double cumulative = 0;
        size_t i = 0;
        for (; i < kept; i++) {
            if (i == sorted) {
                sorted = std::min(kept, std::max<size_t>(64, 4 * sorted));
                std::partial_sort(order_.begin() + static_cast<ptrdiff_t>(i),
                                  order_.begin() + static_cast<ptrdiff_t>(sorted),
                                  order_.begin() + static_cast<ptrdiff_t>(kept), more_probable);
            }
            cumulative += std::exp(static_cast<double>(logit(order_[i])) - greatest);
            if (cumulative >= static_cast<double>(sampling.top_p) * total) {
                i++;
                break;
            }
        }
        kept = i;
    }
    if (sampling.min_p > 0) {
        // Above 1 it would leave nothing; the most probable token always stays.
        const double least = greatest + std::log(std::min(1.0, static_cast<double>(sampling.min_p)));
        const auto end = order_.begin() + static_cast<ptrdiff_t>(kept);
        kept = static_cast<size_t>(
            std::remove_if(order_.begin(), end, [&](int32_t token) { return logit(token) < least; }) -
            order_.begin());
    }
    weights_.resize(kept);
    double total = 0;
    for (size_t i = 0; i < kept; i++)
        total += weights_[i] =
            std::exp((static_cast<double>(logit(order_[i])) - greatest) / sampling.temperature);
    double rest = uniform(sampling.seed, position) * total;
    int32_t drawn = order_[0];
    for (size_t i = 0; i < kept && rest >= 0; i++) {
        if (weights_[i] > 0) // rounding may leave a little over: it falls to the last that has a chance
            drawn = order_[i];
        rest -= weights_[i];
    }
    return drawn;
}

} // namespace kvpage::runner
