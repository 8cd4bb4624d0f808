// The logits against libllama's, which is built from the same source: bit by bit where both run the same
// kernels on the same shapes, within a tolerance on teacher-forced tokens elsewhere.
#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>
#include <gguf.h>
#include <llama.h>

#include "support.h"

namespace kvpage::runner::test {
namespace {

struct Batch {
    int sequence;
    int past;
    std::vector<int32_t> tokens;
};

class Oracle {
  public:
    Oracle(const std::string &path, ggml_type kv_type, bool flash_attention, int sequences) {
        llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
        llama_model_params model_params = llama_model_default_params();
        model_.reset(llama_model_load_from_file(path.c_str(), model_params));
        REQUIRE(model_);
        llama_context_params params = llama_context_default_params();
        params.n_ctx = 2048U * static_cast<uint32_t>(sequences);
        params.n_batch = 2048;
        params.n_ubatch = 512;
        params.n_seq_max = static_cast<uint32_t>(sequences);
        params.n_threads = params.n_threads_batch = 1; // as ours: threads wait for one another in a loop
        params.flash_attn_type =
            flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        params.type_k = params.type_v = kv_type;
        context_.reset(llama_init_from_model(model_.get(), params));
        REQUIRE(context_);
    }

    // The logits after the last token of each.
    std::vector<float> forward(const std::vector<Batch> &steps) {
        int total = 0;
        for (const Batch &step : steps)
            total += static_cast<int>(step.tokens.size());
        llama_batch batch = llama_batch_init(total, 0, 1);
        std::vector<int32_t> wanted;
        for (const Batch &step : steps)
            for (size_t i = 0; i < step.tokens.size(); i++) {
                const int32_t at = batch.n_tokens++;
                const bool last = i + 1 == step.tokens.size();
                batch.token[at] = step.tokens[i];
                batch.pos[at] = step.past + static_cast<int32_t>(i);
                batch.n_seq_id[at] = 1;
                batch.seq_id[at][0] = step.sequence;
                batch.logits[at] = last ? 1 : 0;
                if (last)
                    wanted.push_back(at);
            }
        REQUIRE(llama_decode(context_.get(), batch) == 0);
        std::vector<float> logits;
        const int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model_.get()));
        for (int32_t at : wanted) {
            const float *row = llama_get_logits_ith(context_.get(), at);
            logits.insert(logits.end(), row, row + vocabulary);
        }
        llama_batch_free(batch);
        return logits;
    }

  private:
    struct Free {
        void operator()(llama_model *model) { llama_model_free(model); }
        void operator()(llama_context *context) { llama_free(context); }
    };
    std::unique_ptr<llama_model, Free> model_;
    std::unique_ptr<llama_context, Free> context_;
};

// The root mean square of the difference over that of the logits.
double relative_error(const std::vector<float> &ours, const std::vector<float> &theirs) {
    REQUIRE(ours.size() == theirs.size());
    double difference = 0;
    double size = 0;
    for (size_t i = 0; i < ours.size(); i++) {
        difference += std::pow(static_cast<double>(ours[i]) - theirs[i], 2);
        size += std::pow(static_cast<double>(theirs[i]), 2);
    }
    return std::sqrt(difference / size);
}

struct Comparison {
    int steps = 0;
    int equal = 0;
    double worst = 0;
    void add(const std::vector<float> &ours, const std::vector<float> &theirs) {
        steps++;
        equal += same_bits(ours, theirs) ? 1 : 0;
        worst = std::max(worst, relative_error(ours, theirs));
    }
};

// A prompt at once, then one token at a time, the same on both sides.
Comparison compare(const std::string &path, const Session::Options &options, bool flash_attention, int prompt,
                   int decode) {
    Session ours(path, options);
    const ggml_type type = options.kv_type == KvType::f32    ? GGML_TYPE_F32
                           : options.kv_type == KvType::q8_0 ? GGML_TYPE_Q8_0
                                                             : GGML_TYPE_F16;
    Oracle theirs(path, type, flash_attention, 1);
    const auto tokens = random_tokens(prompt + decode, ours.runner().info().vocabulary, 7);
    Comparison result;
    for (int at = 0; at < prompt + decode;) {
        const int count = at == 0 ? prompt : 1;
        const auto now = slice(tokens, at, count);
        result.add(ours.forward({{0, at, now}}), theirs.forward({{0, at, now}}));
        at += count;
    }
    return result;
}

RandomModel model(const std::string &architecture, const std::string &weights) {
    RandomModel spec;
    spec.architecture = architecture;
    spec.weights = weights;
    return spec;
}

// Quantised activations turn a last-bit difference of attention into one step of their scale; random weights
// do not forgive it. Measured: up to 0.024 where libllama repacks and we do not, 0.016 else, 0.001 for F16.
constexpr double kTolerance = 0.05;
constexpr int kPrompt = 100;
constexpr int kDecode = 40;

} // namespace

TEST_CASE("fast logits equal libllama's bit for bit") {
    // Below 512 keys attention has one path per number of queries, whatever padding the keys have.
    Session::Options options;
    options.fast = true;
    for (const char *architecture : {"llama", "qwen2", "qwen3"})
        for (const char *weights : {"Q8_0", "F16", "Q4_0", "Q4_K"}) {
            CAPTURE(architecture);
            CAPTURE(weights);
            const auto result =
                compare(model_file(model(architecture, weights)), options, true, kPrompt, kDecode);
            CHECK(result.equal == result.steps);
        }
}

TEST_CASE("wide heads, tied embeddings and grouped queries equal libllama's bit for bit") {
    RandomModel spec = model("qwen3", "Q8_0");
    spec.heads = 8;
    spec.kv_heads = 2;
    spec.head_dim = 128;
    spec.tied_embeddings = true;
    Session::Options options;
    options.fast = true;
    const auto result = compare(model_file(spec), options, true, kPrompt, kDecode);
    CHECK(result.equal == result.steps);
}

TEST_CASE("heads of 8 with float32 weights equal libllama's bit for bit") {
    RandomModel spec = model("llama", "F32");
    spec.embedding = 64;
    spec.heads = 8;
    spec.kv_heads = 4;
    spec.head_dim = 8;
    spec.feed_forward = 172;
    Session::Options options;
    options.fast = true;
    const auto result = compare(model_file(spec), options, true, 1, 200);
    CHECK(result.equal == result.steps);
}

TEST_CASE("Mistral's logits equal libllama's bit for bit") {
    // Newer files have an architecture of their own; heads are not the embedding cut in pieces.
    RandomModel spec = model("llama", "Q8_0");
    spec.heads = 8;
    spec.head_dim = 128;
    Session::Options options;
    options.fast = true;
    const std::string mistral3 = edited_model(spec, [&](gguf_context *gguf) {
        gguf_set_val_str(gguf, "general.architecture", "mistral3");
        for (const char *key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                                "attention.head_count", "attention.head_count_kv", "attention.key_length",
                                "attention.value_length", "rope.dimension_count", "vocab_size"})
            gguf_set_val_u32(
                gguf, (std::string("mistral3.") + key).c_str(),
                gguf_get_val_u32(gguf, gguf_find_key(gguf, (std::string("llama.") + key).c_str())));
        gguf_set_val_f32(gguf, "mistral3.attention.layer_norm_rms_epsilon", 1e-5F);
        gguf_set_val_f32(gguf, "mistral3.rope.freq_base", 1e6F);
    });
    for (const std::string &path : {model_file(spec), mistral3}) {
        const auto result = compare(path, options, true, kPrompt, kDecode);
        CHECK(result.equal == result.steps);
    }
}

TEST_CASE("linearly scaled positions equal libllama's bit for bit") {
    const std::string scaled = edited_model(model("llama", "Q8_0"), [](gguf_context *gguf) {
        gguf_set_val_str(gguf, "llama.rope.scaling.type", "linear");
        gguf_set_val_f32(gguf, "llama.rope.scaling.factor", 4);
    });
    Session::Options options;
    options.fast = true;
    const auto result = compare(scaled, options, true, kPrompt, kDecode);
    CHECK(result.equal == result.steps);
}

TEST_CASE("deterministic logits are close to libllama's") {
    for (const char *architecture : {"llama", "qwen2", "qwen3"})
        for (const char *weights : {"Q8_0", "F16", "F32", "Q4_0", "Q4_K"}) {
            CAPTURE(architecture);
            CAPTURE(weights);
            const auto result = compare(model_file(model(architecture, weights)), {}, true, kPrompt, 10);
            CHECK(result.worst < kTolerance);
        }
}

TEST_CASE("long sequences are close to libllama's, whose keys are padded") {
    Session::Options options;
    for (bool fast : {true, false}) {
        options.fast = fast;
        const auto result = compare(model_file(model("llama", "Q8_0")), options, true, 1000, 10);
        CHECK(result.worst < kTolerance);
    }
}

TEST_CASE("float32 K and V are close to libllama's without flash attention") {
    // With it, libllama's float32 logits equal its float16 ones.
    Session::Options options;
    options.kv_type = KvType::f32;
    for (bool fast : {true, false}) {
        options.fast = fast;
        const auto result = compare(model_file(model("llama", "F32")), options, false, kPrompt, kDecode);
        CHECK(result.worst < 1e-4);
    }
}

TEST_CASE("q8_0 K and V are close to libllama's") {
    Session::Options options;
    options.kv_type = KvType::q8_0;
    for (bool fast : {true, false}) {
        options.fast = fast;
        const auto result = compare(model_file(model("llama", "Q8_0")), options, true, kPrompt, kDecode);
        CHECK(result.worst < kTolerance);
    }
}

TEST_CASE("sequences of different lengths in one step are close to libllama's") {
    Session::Options options;
    options.fast = true;
    options.sequences = 4;
    const std::string &path = model_file(model("llama", "Q8_0"));
    Session ours(path, options);
    Oracle theirs(path, GGML_TYPE_F16, true, 4);
    const int lengths[] = {100, 37, 5, 250};
    std::vector<std::vector<int32_t>> tokens;
    for (int i = 0; i < 4; i++)
        tokens.push_back(
            random_tokens(lengths[i] + 20, ours.runner().info().vocabulary, 50 + static_cast<uint64_t>(i)));
    for (int i = 0; i < 4; i++)
        CHECK(same_bits(ours.forward({{i, 0, slice(tokens[static_cast<size_t>(i)], 0, lengths[i])}}),
                        theirs.forward({{i, 0, slice(tokens[static_cast<size_t>(i)], 0, lengths[i])}})));
    Comparison result;
    for (int n = 0; n < 20; n++) {
        std::vector<Session::Step> steps;
        std::vector<Batch> batches;
        for (int i = 0; i < 4; i++) {
            const auto token = slice(tokens[static_cast<size_t>(i)], lengths[i] + n, 1);
            steps.push_back({i, lengths[i] + n, token});
            batches.push_back({i, lengths[i] + n, token});
        }
        result.add(ours.forward(steps), theirs.forward(batches));
    }
    CHECK(result.worst < kTolerance);
}

} // namespace kvpage::runner::test
