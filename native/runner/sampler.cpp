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
    const auto logit = [&](int32_t token) { return logits[static_cast<size_t>(token)]; };
    const auto more_probable = [&](int32_t a, int32_t b) {
        return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
    };
    const auto at = [&](size_t i) { return order_.begin() + static_cast<ptrdiff_t>(i); };
    order_.resize(logits.size());
    std::iota(order_.begin(), order_.end(), 0);

    // Both truncations keep a head of the order by probability; its least probable token tells who is in it.
    size_t kept = order_.size();
    if (sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < kept) {
        kept = static_cast<size_t>(sampling.top_k);
        if (kept <= 1024) // a heap of few, which most tokens never enter
            std::partial_sort(order_.begin(), at(kept), order_.end(), more_probable);
        else
            std::nth_element(order_.begin(), at(kept - 1), order_.end(), more_probable);
    }
    if (sampling.top_p < 1)
        kept = nucleus(logits, kept, sampling.top_p, greatest);
    const int32_t last =
        kept < order_.size() ? *std::max_element(order_.begin(), at(kept), more_probable) : -1;
    // Above 1, min_p would leave nothing; the most probable token always stays.
    const double least = sampling.min_p > 0
                             ? greatest + std::log(std::min(1.0, static_cast<double>(sampling.min_p)))
                             : -std::numeric_limits<double>::infinity();

    // In order of ids, so that the draw does not depend on how the library selects.
    size_t candidates = 0;
    double total = 0;
    masses_.resize(logits.size());
    for (int32_t token = 0; token < static_cast<int32_t>(logits.size()); token++) {
        if (logit(token) < least || (last >= 0 && more_probable(last, token)))
            continue;
        order_[candidates] = token;
        total += masses_[candidates++] =
            std::exp((static_cast<double>(logit(token)) - greatest) / sampling.temperature);
    }
    double rest = uniform(sampling.seed, position) * total;
    int32_t drawn = order_[0];
    for (size_t i = 0; i < candidates && rest >= 0; i++) {
        if (masses_[i] > 0) // rounding may leave a little over: it falls to the last that has a chance
            drawn = order_[i];
        rest -= masses_[i];
    }
    return drawn;
}

// Of the first `kept` of order_, moves the smallest set of most probable tokens that reaches `top_p` of their
// mass (at least one) to the front; its size. Halves the doubt each time, so that the work is linear.
size_t Sampler::nucleus(std::span<const float> logits, size_t kept, float top_p, float greatest) {
    const auto logit = [&](int32_t token) { return logits[static_cast<size_t>(token)]; };
    const auto more_probable = [&](int32_t a, int32_t b) {
        return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
    };
    const auto at = [&](size_t i) { return order_.begin() + static_cast<ptrdiff_t>(i); };
    masses_.resize(logits.size()); // by token
    double total = 0;
    for (size_t i = 0; i < kept; i++)
        total += masses_[static_cast<size_t>(order_[i])] =
            std::exp(static_cast<double>(logit(order_[i])) - greatest);
    const double target = static_cast<double>(top_p) * total;

    // The first `low` are in, with the mass `inside`; those from `high` on are out.
    size_t low = 0;
    size_t high = kept;
    double inside = 0;
    while (high - low > 32) {
        const size_t middle = low + (high - low) / 2;
        std::nth_element(at(low), at(middle), at(high), more_probable);
        double mass = 0;
        for (size_t i = low; i < middle; i++)
            mass += masses_[static_cast<size_t>(order_[i])];
        if (inside + mass >= target) {
            high = middle;
        } else {
            low = middle;
            inside += mass;
        }
    }
    std::sort(at(low), at(high), more_probable);
    while (low < high && (low == 0 || inside < target))
        inside += masses_[static_cast<size_t>(order_[low++])];
    return low;
}

} // namespace kvpage::runner
