#include "runner/hyperparameters.h"

namespace kvpage::runner {
namespace {

Status unsupported(const std::string &message) {
    return Status::error("KVPAGE_MODEL_UNSUPPORTED", message);
}

// Bounds no real model reaches; they keep products of sizes far from overflow.
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxVocabulary = 1 << 24;

Status read_rope_scaling(const GgufFile &file, const std::string &prefix, Hyperparameters &p) {
    const std::string linear = "linear"; // what a factor without a type means
    std::string type;
    Status status = file.get(prefix + "rope.scaling.type", &linear, type);
    if (!status.ok())
        return status;
    if (type != "none" && type != "linear")
        return unsupported("metadata key " + prefix + "rope.scaling.type is \"" + type +
                           "\"; expected none or linear");
    const float unscaled = 0;
    float factor = 0;
    // Older files have the second name.
    status = file.get(
        prefix + (file.has(prefix + "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear"),
        &unscaled, factor);
    if (!status.ok())
        return status;
    if (type == "linear" && factor > 0)
        p.rope_scale = 1 / factor;
    const float one = 1;
    return file.get(prefix + "rope.scaling.attn_factor", &one, p.rope_magnitude);
}

} // namespace

Status read_hyperparameters(const GgufFile &file, Hyperparameters &p) {
    // The first failure ends the reading.
    Status status = file.get("general.architecture", nullptr, p.architecture);
    if (!status.ok())
        return status;
    const std::string &arch = p.architecture;
    if (arch == "llama" || arch == "mistral3") {
        p.rope_mode = GGML_ROPE_TYPE_NORMAL;
    } else if (arch == "qwen2" || arch == "qwen3") {
        p.rope_mode = GGML_ROPE_TYPE_NEOX;
        p.qkv_bias = arch == "qwen2";
        p.head_norm = arch == "qwen3";
    } else {
        return unsupported("metadata key general.architecture is \"" + arch +
                           "\"; expected llama, mistral3, qwen2 or qwen3");
    }

    const int64_t whole = 1;
    int64_t parts = 1;
    status = file.get("split.count", 0, INT32_MAX, &whole, parts);
    if (!status.ok())
        return status;
    if (parts > 1)
        return unsupported("metadata key split.count is " + std::to_string(parts) +
                           "; expected a model in one file (llama-gguf-split --merge joins them)");

    const std::string prefix = arch + ".";
    // Values of one layer each, and what changes the graph in ways that are not implemented.
    for (const char *key : {"feed_forward_length", "attention.head_count", "attention.head_count_kv"})
        if (file.array_length(prefix + key) >= 0)
            return unsupported("metadata key " + prefix + key +
                               " is an array; expected one value for all layers");
    for (const char *key : {"attention.temperature_scale", "attention.scale", "attention.clamp_kqv",
                            "attention.causal", "logit_scale", "residual_scale", "embedding_scale"})
        if (file.has(prefix + key))
            return unsupported("metadata key " + prefix + key + " is present; it is not supported");
    auto integer = [&](const char *key, int64_t maximum, const int64_t *fallback, int64_t &out) {
        if (status.ok())
            status = file.get(prefix + key, 1, maximum, fallback, out);
    };
    auto real = [&](const char *key, const float *fallback, float &out) {
        if (status.ok())
            status = file.get(prefix + key, fallback, out);
    };
    integer("block_count", kMaxLayers, nullptr, p.layers);
    integer("embedding_length", kMaxWidth, nullptr, p.embedding);
    integer("feed_forward_length", kMaxWidth, nullptr, p.feed_forward);
    integer("attention.head_count", kMaxWidth, nullptr, p.heads);
    integer("attention.head_count_kv", kMaxWidth, &p.heads, p.kv_heads);
    integer("context_length", INT32_MAX, nullptr, p.context);
    real("attention.layer_norm_rms_epsilon", nullptr, p.norm_epsilon);
    const float default_base = 10000.0F;
    real("rope.freq_base", &default_base, p.rope_base);
    if (!status.ok())
        return status;

    if (p.heads % p.kv_heads != 0)
        return Status::error("KVPAGE_MODEL_INVALID", "metadata key " + prefix + "attention.head_count is " +
                                                         std::to_string(p.heads) +
                                                         "; expected a multiple of " +
                                                         std::to_string(p.kv_heads) + " (head_count_kv)");
    const int64_t default_head_dim = p.embedding / p.heads;
    integer("attention.key_length", kMaxWidth, &default_head_dim, p.head_dim);
    int64_t value_length = 0;
    integer("attention.value_length", kMaxWidth, &p.head_dim, value_length);
    integer("rope.dimension_count", kMaxWidth, &p.head_dim, p.rope_dims);
    const int64_t none = 0;
    int64_t experts = 0;
    if (status.ok())
        status = file.get(prefix + "expert_count", 0, INT32_MAX, &none, experts);
    if (!status.ok())
        return status;
    if (value_length != p.head_dim)
        return unsupported("metadata key " + prefix + "attention.value_length is " +
                           std::to_string(value_length) + "; expected the key length, " +
                           std::to_string(p.head_dim));
    if (experts > 0)
        return unsupported("metadata key " + prefix + "expert_count is " + std::to_string(experts) +
                           "; mixtures of experts are not supported");
    if (p.rope_dims > p.head_dim || p.rope_dims % 2 != 0)
        return Status::error("KVPAGE_MODEL_INVALID", "metadata key " + prefix + "rope.dimension_count is " +
                                                         std::to_string(p.rope_dims) +
                                                         "; expected an even number of at most " +
                                                         std::to_string(p.head_dim));
    if (!(p.rope_base > 0))
        return Status::error("KVPAGE_MODEL_INVALID", "metadata key " + prefix + "rope.freq_base is " +
                                                         std::to_string(p.rope_base) +
                                                         "; expected a positive number");
    int64_t window = 0;
    status = file.get(prefix + "attention.sliding_window", 0, INT32_MAX, &none, window);
    if (status.ok() && window > 0 && window < p.context)
        return unsupported("metadata key " + prefix + "attention.sliding_window is " +
                           std::to_string(window) + "; expected none, or at least the context length " +
                           std::to_string(p.context));
    if (status.ok())
        status = read_rope_scaling(file, prefix, p);
    if (!status.ok())
        return status;

    // The embedding says how many tokens there are; the vocabulary may name fewer (padding) but not more.
    const TensorPlace *embedding = file.find("token_embd.weight");
    if (embedding == nullptr)
        return Status::error("KVPAGE_MODEL_INVALID", "tensor token_embd.weight is missing");
    p.vocabulary = embedding->ne[1];
    if (p.vocabulary < 1 || p.vocabulary > kMaxVocabulary)
        return Status::error("KVPAGE_MODEL_INVALID",
                             "tensor token_embd.weight has " + std::to_string(p.vocabulary) +
                                 " rows; expected 1.." + std::to_string(kMaxVocabulary));
    return Status::success();
}

} // namespace kvpage::runner
