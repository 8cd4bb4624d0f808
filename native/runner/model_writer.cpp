#include "runner/model_writer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <llama.h>

#include "runner/gguf_writer.h"

namespace kvpage::runner {
namespace {

Status invalid(const std::string &message) {
    return Status::error("KVPAGE_INVALID_ARGUMENT", message);
}

// splitmix64: the values are the same on every machine.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    // Roughly normal: the sum of four uniforms, scaled to variance 1.
    float normal() {
        float sum = 0;
        const uint64_t bits = next();
        for (int i = 0; i < 4; i++)
            sum += static_cast<float>((bits >> (16 * i)) & 0xffff) / 65536.0F - 0.5F;
        return sum * 1.7320508F;
    }

  private:
    uint64_t state_;
};

// Control tokens, the bytes, single printable characters, then pronounceable syllables up to the size.
std::vector<Piece> random_vocabulary(int32_t size) {
    std::vector<Piece> pieces = {
        {"<unk>", 0, LLAMA_TOKEN_TYPE_UNKNOWN},         {"<s>", 0, LLAMA_TOKEN_TYPE_CONTROL},
        {"</s>", 0, LLAMA_TOKEN_TYPE_CONTROL},          {"<|user|>", 0, LLAMA_TOKEN_TYPE_CONTROL},
        {"<|assistant|>", 0, LLAMA_TOKEN_TYPE_CONTROL}, {"<|system|>", 0, LLAMA_TOKEN_TYPE_CONTROL}};
    for (int byte = 0; byte < 256; byte++)
        pieces.push_back({byte_piece(byte), 0, LLAMA_TOKEN_TYPE_BYTE});
    const std::string space = "\xe2\x96\x81"; // "▁", which stands for a space
    const auto full = [&] { return static_cast<int32_t>(pieces.size()) >= size; };
    pieces.push_back({space, -1e6F, LLAMA_TOKEN_TYPE_NORMAL});
    for (char c = '!'; c <= '~' && !full(); c++)
        pieces.push_back({std::string(1, c), -1e6F, LLAMA_TOKEN_TYPE_NORMAL});
    const std::string consonants = "bdfgklmnprstvz";
    const std::string vowels = "aeiou";
    for (size_t i = 0; !full(); i++) {
        // Each number gives another spelling.
        std::string text = i % 2 == 0 ? space : "";
        for (size_t n = i / 2 + 1; n > 0; n /= consonants.size() * vowels.size()) {
            text += consonants[n % consonants.size()];
            text += vowels[n / consonants.size() % vowels.size()];
        }
        pieces.push_back({text, -static_cast<float>(i), LLAMA_TOKEN_TYPE_NORMAL});
    }
    return pieces;
}

constexpr const char *kRandomChatTemplate =
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

Status matrix_type(const RandomModel &spec, ggml_type &out) {
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const auto type = static_cast<ggml_type>(i);
        const char *name = ggml_type_name(type);
        if (name == nullptr || ggml_blck_size(type) == 0)
            continue;
        std::string upper = name;
        std::transform(upper.begin(), upper.end(), upper.begin(),
                       [](unsigned char c) { return std::toupper(c); });
        if (upper != spec.weights)
            continue;
        if ((type != GGML_TYPE_F32 && type != GGML_TYPE_F16 && type != GGML_TYPE_BF16 &&
             !ggml_is_quantized(type)) ||
            ggml_quantize_requires_imatrix(type))
            break;
        out = type;
        return Status::success();
    }
    return invalid("weights is \"" + spec.weights +
                   "\"; expected F32, F16, BF16, Q8_0, Q4_0, Q4_K or the like");
}

Status check(const RandomModel &spec, ggml_type type) {
    auto at_least = [](const char *field, int64_t value, int64_t minimum, int64_t maximum) {
        return value >= minimum && value <= maximum
                   ? Status::success()
                   : invalid(std::string(field) + " is " + std::to_string(value) + "; expected " +
                             std::to_string(minimum) + ".." + std::to_string(maximum));
    };
    const int64_t block = ggml_blck_size(type);
    auto row = [&](const char *field, int64_t value) {
        return value % block == 0
                   ? Status::success()
                   : invalid(std::string(field) + " is " + std::to_string(value) +
                             "; expected a multiple of " + std::to_string(block) + " for " + spec.weights);
    };
    Status checks[] = {at_least("layers", spec.layers, 1, kMaxWrittenLayers),
                       at_least("embedding", spec.embedding, 1, 65536),
                       at_least("heads", spec.heads, 1, 1024),
                       at_least("kvHeads", spec.kv_heads, 1, spec.heads),
                       at_least("headDim", spec.head_dim, 2, 1024),
                       at_least("feedForward", spec.feed_forward, 1, 262144),
                       at_least("vocabulary", spec.vocabulary, 300, 1 << 20),
                       at_least("context", spec.context, 1, 1 << 24),
                       row("embedding", spec.embedding),
                       row("feedForward", spec.feed_forward),
                       row("heads * headDim", int64_t{spec.heads} * spec.head_dim)};
    for (Status &status : checks)
        if (!status.ok())
            return status;
    if (spec.heads % spec.kv_heads != 0)
        return invalid("kvHeads is " + std::to_string(spec.kv_heads) + "; expected a divisor of heads (" +
                       std::to_string(spec.heads) + ")");
    if (spec.head_dim % 2 != 0)
        return invalid("headDim is " + std::to_string(spec.head_dim) + "; expected an even number");
    if (spec.architecture != "llama" && spec.architecture != "qwen2" && spec.architecture != "qwen3")
        return invalid("architecture is \"" + spec.architecture + "\"; expected llama, qwen2 or qwen3");
    return Status::success();
}

Status write_random(const RandomModel &spec, const std::string &path) {
    ggml_type type = GGML_TYPE_F16;
    Status status = matrix_type(spec, type);
    if (status.ok())
        status = check(spec, type);
    if (!status.ok())
        return status;

    GgufWriter writer;
    writer.set_shape({spec.architecture, spec.layers, spec.embedding, spec.heads, spec.kv_heads,
                      spec.head_dim, spec.feed_forward, spec.vocabulary, spec.context, 10000.0F},
                     spec.name);
    writer.set_vocabulary(random_vocabulary(spec.vocabulary));
    writer.set("tokenizer.chat_template", kRandomChatTemplate);

    Random random(spec.seed);
    std::vector<float> values;
    auto fill = [&](int64_t count, float mean, float deviation) -> const std::vector<float> & {
        values.resize(static_cast<size_t>(count));
        for (float &value : values)
            value = mean + deviation * random.normal();
        return values;
    };
    auto matrix = [&](const std::string &name, int64_t in, int64_t out) {
        writer.add(name, type, {in, out}, fill(in * out, 0, 1 / std::sqrt(static_cast<float>(in))));
    };
    auto vector = [&](const std::string &name, int64_t length, float mean) {
        writer.add(name, GGML_TYPE_F32, {length}, fill(length, mean, 0.1F));
    };
    const int64_t q_width = int64_t{spec.heads} * spec.head_dim;
    const int64_t kv_width = int64_t{spec.kv_heads} * spec.head_dim;
    writer.add("token_embd.weight", type, {spec.embedding, spec.vocabulary},
               fill(int64_t{spec.embedding} * spec.vocabulary, 0, 1));
    for (int32_t i = 0; i < spec.layers; i++) {
        const std::string prefix = "blk." + std::to_string(i) + ".";
        vector(prefix + "attn_norm.weight", spec.embedding, 1);
        matrix(prefix + "attn_q.weight", spec.embedding, q_width);
        matrix(prefix + "attn_k.weight", spec.embedding, kv_width);
        matrix(prefix + "attn_v.weight", spec.embedding, kv_width);
        if (spec.architecture == "qwen2") {
            vector(prefix + "attn_q.bias", q_width, 0);
            vector(prefix + "attn_k.bias", kv_width, 0);
            vector(prefix + "attn_v.bias", kv_width, 0);
        }
        if (spec.architecture == "qwen3") {
            vector(prefix + "attn_q_norm.weight", spec.head_dim, 1);
            vector(prefix + "attn_k_norm.weight", spec.head_dim, 1);
        }
        matrix(prefix + "attn_output.weight", q_width, spec.embedding);
        vector(prefix + "ffn_norm.weight", spec.embedding, 1);
        matrix(prefix + "ffn_gate.weight", spec.embedding, spec.feed_forward);
        matrix(prefix + "ffn_up.weight", spec.embedding, spec.feed_forward);
        matrix(prefix + "ffn_down.weight", spec.feed_forward, spec.embedding);
    }
    vector("output_norm.weight", spec.embedding, 1);
    if (!spec.tied_embeddings)
        matrix("output.weight", spec.embedding, spec.vocabulary);
    return writer.write(path);
}

} // namespace

Status write_random_model(const RandomModel &spec, const std::string &path) {
    return without_exceptions([&] { return write_random(spec, path); });
}

} // namespace kvpage::runner
