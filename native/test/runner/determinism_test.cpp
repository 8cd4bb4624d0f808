// The same prefix gives the same bits in logits and in K and V, however it was computed. Every variant is
// compared with one reference: the prompt in chunks of 512 rows by one thread, then one token at a time,
// alone.
#include <array>
#include <cstring>

#include <doctest/doctest.h>

#include "support.h"

namespace kvpage::runner::test {
namespace {

constexpr int kPrompt = 700;
constexpr int kDecode = 20;
constexpr int kTotal = kPrompt + kDecode;
constexpr int kOthers = 15; // further sequences of a mixed step

class Subject {
  public:
    Subject(const RandomModel &spec, KvType kv_type, int threads)
        : session_(model_file(spec), options(kv_type, threads)),
          vocabulary_(session_.runner().info().vocabulary), tokens_(random_tokens(kTotal, vocabulary_, 11)) {
        for (int i = 0; i < kOthers; i++)
            other_tokens_.push_back(random_tokens(kTotal, vocabulary_, 100 + static_cast<uint64_t>(i)));
    }

    // Rows [past, past + count) of the subject's tokens in chunks, with nobody else. The logits after the
    // last.
    void prefill(int past, int count, int chunk) {
        for (int at = past; at < past + count; at += chunk) {
            const int n = std::min(chunk, past + count - at);
            logits_[static_cast<size_t>(at + n - 1)] = session_.forward({{0, at, slice(tokens_, at, n)}});
        }
    }
    void decode(int past, int count) { prefill(past, count, 1); }

    // One step of the subject among others, each of which is at its own place and takes as many tokens.
    void mixed(int past, int count, const std::vector<int> &other_counts) {
        std::vector<Session::Step> steps;
        size_t before = 0;
        for (size_t i = 0; i < other_counts.size(); i++) {
            // The subject stands in the middle.
            if (i == other_counts.size() / 2) {
                before = steps.size();
                steps.push_back({0, past, slice(tokens_, past, count)});
            }
            int &at = others_[i];
            const int n = other_counts[i];
            if (at + n > kTotal)
                at = 0;
            steps.push_back({static_cast<int>(i) + 1, at, slice(other_tokens_[i], at, n)});
            at += n;
        }
        const auto logits = session_.forward(steps);
        const auto first = logits.begin() + static_cast<ptrdiff_t>(before) * vocabulary_;
        logits_[static_cast<size_t>(past + count - 1)] = {first, first + vocabulary_};
    }

    // Compared with the reference wherever this one asked for logits at all.
    void check_against(const Subject &reference, int rows = kTotal) const {
        int compared = 0;
        for (size_t i = 0; i < static_cast<size_t>(rows); i++) {
            if (logits_[i].empty() || reference.logits_[i].empty())
                continue;
            CAPTURE(i);
            CHECK(same_bits(logits_[i], reference.logits_[i]));
            compared++;
        }
        CHECK(compared > 0);
        const bool same_kv = session_.kv(0, rows) == reference.session_.kv(0, rows);
        CHECK(same_kv);
    }

  private:
    static Session::Options options(KvType kv_type, int threads) {
        Session::Options options;
        options.kv_type = kv_type;
        options.threads = threads;
        options.sequences = kOthers + 1;
        options.capacity = kTotal;
        return options;
    }

    Session session_;
    int vocabulary_;
    std::vector<int32_t> tokens_;
    std::vector<std::vector<int32_t>> other_tokens_;
    std::array<int, kOthers> others_{};
    std::array<std::vector<float>, kTotal> logits_;
};

void check_variants(const RandomModel &spec, KvType kv_type) {
    const auto fresh = [&](int threads = 1) { return std::make_unique<Subject>(spec, kv_type, threads); };
    const auto reference = fresh();
    reference->prefill(0, kPrompt, 512);
    reference->decode(kPrompt, kDecode);

    for (int chunk : {7, 33, 64, 100, 128, 192, 300}) {
        CAPTURE(chunk);
        const auto subject = fresh();
        subject->prefill(0, kPrompt, chunk);
        subject->check_against(*reference, kPrompt);
    }
    for (int resumed : {320, 333, 699}) {
        CAPTURE(resumed);
        const auto subject = fresh();
        subject->prefill(0, resumed, 512);
        subject->prefill(resumed, kPrompt - resumed, 512);
        subject->decode(kPrompt, 2);
        subject->check_against(*reference, kPrompt + 2);
    }
    {
        INFO("prefill among others' prefill and decode, decode in batches of 2 to 16");
        const auto subject = fresh();
        subject->mixed(0, 150, {1, 40, 7});
        subject->mixed(150, 300, {64, 1, 1, 100});
        subject->mixed(450, 1, {200, 1});
        subject->mixed(451, 249, {1, 1, 1, 1, 1, 1, 1});
        for (int i = 0; i < kDecode; i++)
            subject->mixed(kPrompt + i, 1, std::vector<int>(static_cast<size_t>(1 + i % kOthers), 1));
        subject->check_against(*reference);
    }
    {
        INFO("200 tokens of the prompt one by one");
        const auto subject = fresh();
        subject->decode(0, 200);
        subject->prefill(200, kPrompt - 200, 512);
        subject->check_against(*reference, kPrompt);
    }
    {
        INFO("decoded tokens prefilled");
        const auto subject = fresh();
        subject->prefill(0, kTotal, 512);
        subject->check_against(*reference);
    }
    {
        INFO("a step longer than a graph");
        const auto subject = fresh();
        subject->prefill(0, kTotal, kTotal);
        subject->check_against(*reference);
    }
    for (int threads : {2, 3}) {
        CAPTURE(threads);
        const auto subject = fresh(threads);
        subject->prefill(0, kPrompt, 512);
        subject->decode(kPrompt, kDecode);
        subject->check_against(*reference);
    }
}

RandomModel small_model(const std::string &weights, int head_dim) {
    RandomModel spec;
    spec.weights = weights;
    spec.layers = 2;
    spec.heads = head_dim == 64 ? 4 : 6;
    spec.kv_heads = 2;
    spec.head_dim = head_dim;
    spec.vocabulary = 320;
    return spec;
}

} // namespace

TEST_CASE("bits do not depend on how a prefix was computed: F32 weights") {
    check_variants(small_model("F32", 64), KvType::f16);
}

TEST_CASE("bits do not depend on how a prefix was computed: F16 weights") {
    check_variants(small_model("F16", 64), KvType::f16);
}

TEST_CASE("bits do not depend on how a prefix was computed: BF16 weights") {
    check_variants(small_model("BF16", 64), KvType::f16);
}

TEST_CASE("bits do not depend on how a prefix was computed: Q8_0 weights") {
    check_variants(small_model("Q8_0", 64), KvType::f16);
}

TEST_CASE("bits do not depend on how a prefix was computed: Q4_0 weights") {
    check_variants(small_model("Q4_0", 64), KvType::f16);
}

TEST_CASE("bits do not depend on how a prefix was computed: Q4_K weights") {
    check_variants(small_model("Q4_K", 64), KvType::f16);
}

TEST_CASE("bits do not depend on how a prefix was computed: the other quantised weights") {
    for (const char *weights : {"Q5_0", "Q2_K", "Q6_K", "IQ4_NL", "IQ4_XS"}) {
        CAPTURE(weights);
        check_variants(small_model(weights, 64), KvType::f16);
    }
}

TEST_CASE("bits do not depend on how a prefix was computed: heads of 128, three queries per key") {
    check_variants(small_model("F16", 128), KvType::f16);
}

TEST_CASE("bits do not depend on how a prefix was computed: float32 K and V") {
    check_variants(small_model("F32", 64), KvType::f32);
}

TEST_CASE("bits do not depend on how a prefix was computed: q8_0 K and V") {
    check_variants(small_model("F16", 64), KvType::q8_0);
}

TEST_CASE("bits do not depend on how a prefix was computed: Qwen2, tied embeddings") {
    RandomModel spec = small_model("Q8_0", 64);
    spec.architecture = "qwen2";
    spec.tied_embeddings = true;
    check_variants(spec, KvType::f16);
}

TEST_CASE("bits do not depend on how a prefix was computed: Qwen3") {
    RandomModel spec = small_model("F16", 128);
    spec.architecture = "qwen3";
    check_variants(spec, KvType::f16);
}

} // namespace kvpage::runner::test
