// The sampler against brute force in float64: which tokens survive truncation, how often each is drawn, and
// what probability is reported for it.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include <doctest/doctest.h>

#include "runner/sampler.h"

namespace kvpage::runner {
namespace {

using Probabilities = std::vector<double>; // by token; 0 where it cannot be drawn

std::vector<int32_t> by_probability(const std::vector<float> &logits) {
    std::vector<int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    return order;
}

double log_sum(const std::vector<float> &logits) {
    const double greatest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (float logit : logits)
        sum += std::exp(logit - greatest);
    return greatest + std::log(sum);
}

Probabilities brute_force(const std::vector<float> &logits, const Sampling &sampling) {
    std::vector<int32_t> order = by_probability(logits);
    const auto logit = [&](int32_t token) { return static_cast<double>(logits[static_cast<size_t>(token)]); };
    const double greatest = logit(order[0]);
    if (sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < order.size())
        order.resize(static_cast<size_t>(sampling.top_k));
    if (sampling.top_p < 1) {
        double total = 0, cumulative = 0;
        for (int32_t token : order)
            total += std::exp(logit(token) - greatest);
        size_t kept = 0;
        while (kept < order.size() && (kept == 0 || cumulative < double{sampling.top_p} * total))
            cumulative += std::exp(logit(order[kept++]) - greatest);
        order.resize(kept);
    }
    const double least = sampling.min_p * std::exp(0.0);
    while (order.size() > 1 && std::exp(logit(order.back()) - greatest) < least * (1 - 1e-12))
        order.pop_back();
    Probabilities out(logits.size(), 0.0);
    double total = 0;
    for (int32_t token : order)
        total += out[static_cast<size_t>(token)] = std::exp((logit(token) - greatest) / sampling.temperature);
    for (double &p : out)
        p /= total;
    return out;
}

std::vector<float> random_logits(size_t count, float spread, std::mt19937 &random) {
    std::normal_distribution<float> normal(0, spread);
    std::vector<float> logits(count);
    for (float &logit : logits)
        logit = normal(random);
    return logits;
}

Sampled sample(Sampler &sampler, const std::vector<float> &logits, const Sampling &sampling,
               uint64_t position = 0) {
    Sampled out{};
    std::vector<int32_t> top_tokens(64);
    std::vector<float> top_logprobs(64);
    const Status status =
        sampler.sample(logits, sampling, position, out, top_tokens.data(), top_logprobs.data());
    REQUIRE_MESSAGE(status.ok(), status.message);
    return out;
}

TEST_CASE("greedy takes the greatest logit, the lowest id of equals") {
    Sampler sampler;
    CHECK(sample(sampler, {1, 3, 2, 3}, {}).token == 1);
    CHECK(sample(sampler, {-5}, {}).token == 0);
    CHECK(sample(sampler, {-2, -1, -1e30F}, {}).token == 1);
}

TEST_CASE("the distribution drawn from is the brute-force one") {
    std::mt19937 random(7);
    Sampler sampler;
    const std::vector<Sampling> samplings = {
        {.temperature = 1},
        {.temperature = 0.5F, .top_k = 5},
        {.temperature = 1.5F, .top_p = 0.8F},
        {.temperature = 1, .min_p = 0.1F},
        {.temperature = 0.8F, .top_k = 12, .top_p = 0.9F, .min_p = 0.05F},
        {.temperature = 2, .top_k = 1000, .top_p = 0.999F},
        {.temperature = 1, .top_p = 0},
        {.temperature = 1, .min_p = 1},
    };
    constexpr int draws = 20000;
    for (const Sampling &base : samplings) {
        CAPTURE(base.temperature);
        CAPTURE(base.top_k);
        CAPTURE(base.top_p);
        CAPTURE(base.min_p);
        const std::vector<float> logits = random_logits(40, 2, random);
        const Probabilities expected = brute_force(logits, base);
        std::vector<int> seen(logits.size());
        Sampling sampling = base;
        sampling.seed = random();
        for (uint64_t position = 0; position < draws; position++)
            seen[static_cast<size_t>(sample(sampler, logits, sampling, position).token)]++;
        for (size_t i = 0; i < logits.size(); i++) {
            CAPTURE(i);
            const double mean = draws * expected[i];
            if (expected[i] == 0)
                CHECK(seen[i] == 0);
            else // five standard deviations, and one for small counts
                CHECK(std::abs(seen[i] - mean) < 5 * std::sqrt(mean * (1 - expected[i])) + 1);
        }
    }
}

TEST_CASE("over a large vocabulary no token is drawn that truncation removes") {
    std::mt19937 random(11);
    Sampler sampler;
    for (int i = 0; i < 60; i++) {
        const std::vector<float> logits = random_logits(5000, i % 3 == 0 ? 0.1F : 3.0F, random);
        const Sampling sampling{.temperature = 0.2F + static_cast<float>(random() % 20) / 10,
                                .top_k = static_cast<int32_t>(random() % 3 == 0 ? 0 : random() % 6000),
                                .top_p = random() % 2 == 0 ? 1 : static_cast<float>(random() % 1000) / 1000,
                                .min_p = random() % 2 == 0 ? 0 : static_cast<float>(random() % 1000) / 1000,
                                .seed = random()};
        const Probabilities expected = brute_force(logits, sampling);
        for (uint64_t position = 0; position < 20; position++)
            CHECK(expected[static_cast<size_t>(sample(sampler, logits, sampling, position).token)] > 0);
    }
}

TEST_CASE("a draw is a function of seed and position, whatever was sampled before") {
    std::mt19937 random(13);
    const std::vector<float> logits = random_logits(300, 1, random);
    const Sampling sampling{.temperature = 1, .top_k = 200, .seed = 99};
    std::vector<int32_t> forwards, backwards;
    Sampler a, b;
    for (uint64_t position = 0; position < 100; position++)
        forwards.push_back(sample(a, logits, sampling, position).token);
    sample(b, random_logits(1000, 1, random), {.temperature = 3, .top_p = 0.5F, .seed = 4}, 17);
    for (uint64_t position = 100; position-- > 0;)
        backwards.push_back(sample(b, logits, sampling, position).token);
    std::reverse(backwards.begin(), backwards.end());
    CHECK(forwards == backwards);
    CHECK(std::set<int32_t>(forwards.begin(), forwards.end()).size() > 20);

    Sampling other = sampling;
    other.seed = 100;
    std::vector<int32_t> otherwise;
    for (uint64_t position = 0; position < 100; position++)
        otherwise.push_back(sample(a, logits, other, position).token);
    CHECK(forwards != otherwise);
}

TEST_CASE("log-probabilities are those of the unmodified logits") {
    std::mt19937 random(17);
    Sampler sampler;
    for (int i = 0; i < 50; i++) {
        const std::vector<float> logits = random_logits(1 + random() % 700, 4, random);
        const auto wanted = static_cast<int32_t>(random() % 21);
        const Sampling sampling{.temperature = i % 2 == 0 ? 0 : 0.7F,
                                .top_k = 40,
                                .seed = static_cast<uint64_t>(i),
                                .top_logprobs = wanted};
        Sampled out{};
        std::vector<int32_t> top_tokens(20, -7);
        std::vector<float> top_logprobs(20, 1);
        REQUIRE(sampler.sample(logits, sampling, 3, out, top_tokens.data(), top_logprobs.data()).ok());
        const double normaliser = log_sum(logits);
        CHECK(out.logprob ==
              doctest::Approx(logits[static_cast<size_t>(out.token)] - normaliser).epsilon(1e-5));
        const std::vector<int32_t> order = by_probability(logits);
        for (size_t k = 0; k < 20; k++) {
            if (k >= static_cast<size_t>(wanted) || k >= order.size()) {
                CHECK(top_tokens[k] == -7); // untouched
                continue;
            }
            CHECK(top_tokens[k] == order[k]);
            CHECK(top_logprobs[k] ==
                  doctest::Approx(logits[static_cast<size_t>(order[k])] - normaliser).epsilon(1e-5));
        }
    }
    CHECK(std::isnan(sample(sampler, {1, 2}, {.top_logprobs = -1}).logprob));
}

TEST_CASE("extreme settings still draw a token of the vocabulary") {
    Sampler sampler;
    const std::vector<float> logits = {1e30F, -1e30F, 0, 1e30F};
    CHECK(sample(sampler, {0, 5, 1}, {.temperature = 1e-40F}).token == 1);
    CHECK(sample(sampler, {0, 5, 1}, {.temperature = 1, .min_p = 7}).token == 1);
    for (uint64_t position = 0; position < 100; position++) {
        CHECK(sample(sampler, logits, {.temperature = 1e30F}, position).token < 4);
        const int32_t token = sample(sampler, logits, {.temperature = 1}, position).token;
        CHECK((token == 0 || token == 3));
    }
}

TEST_CASE("logits that are not finite are refused") {
    Sampler sampler;
    const float infinity = std::numeric_limits<float>::infinity();
    for (float bad : {infinity, -infinity, std::nanf("")})
        for (size_t at : {size_t{0}, size_t{50}, size_t{99}}) {
            std::vector<float> logits(100, 0.5F);
            logits[at] = bad;
            Sampled out{};
            CHECK(sampler.sample(logits, {.temperature = 1}, 0, out, nullptr, nullptr).code ==
                  "KVPAGE_STEP_FAILED");
        }
    Sampled out{};
    CHECK(sampler.sample({}, {}, 0, out, nullptr, nullptr).code == "KVPAGE_STEP_FAILED");
}

} // namespace
} // namespace kvpage::runner
