#include "runner/model_writer.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <new>
#include <vector>

#include <unistd.h>

#include <ggml-cpp.h>
#include <llama.h>

namespace kvpage::runner {
namespace {

Status invalid(const std::string &message) {
    return Status::error("KVPAGE_INVALID_ARGUMENT", message);
}

constexpr int64_t kMaxLayers = 1000;

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

// A GGUF file under construction. Tensor data is kept until it is written.
class Writer {
  public:
    Writer()
        : gguf_(gguf_init_empty()),
          context_(ggml_init({kMaxTensors * ggml_tensor_overhead(), nullptr, true})) {}

    gguf_context *metadata() { return gguf_.get(); }

    void add(const std::string &name, ggml_type type, std::vector<int64_t> shape,
             const std::vector<float> &values) {
        ggml_tensor *tensor =
            ggml_new_tensor(context_.get(), type, static_cast<int>(shape.size()), shape.data());
        ggml_set_name(tensor, name.c_str());
        data_.emplace_back(ggml_nbytes(tensor));
        const int64_t row = shape[0];
        const int64_t rows = static_cast<int64_t>(values.size()) / row;
        if (type == GGML_TYPE_F32)
            std::memcpy(data_.back().data(), values.data(), data_.back().size());
        else
            ggml_quantize_chunk(type, values.data(), data_.back().data(), 0, rows, row, nullptr);
        tensor->data = data_.back().data();
        gguf_add_tensor(gguf_.get(), tensor);
    }

    // Under a name of its own first, so that a reader never sees half a file, nor two writers one another's.
    Status write(const std::string &path) {
        static std::atomic<unsigned> writes{0};
        const std::string temporary =
            path + "." + std::to_string(getpid()) + "-" + std::to_string(writes++) + ".partial";
        errno = 0;
        if (!gguf_write_to_file(gguf_.get(), temporary.c_str(), false) ||
            std::rename(temporary.c_str(), path.c_str()) != 0) {
            const int why = errno;
            std::remove(temporary.c_str());
            return Status::error("KVPAGE_WRITE_FAILED", "path is " + path + ": " + std::strerror(why));
        }
        return Status::success();
    }

    static constexpr size_t kMaxTensors = 65536;

  private:
    gguf_context_ptr gguf_;
    ggml_context_ptr context_;
    std::vector<std::vector<std::byte>> data_;
};

struct Piece {
    std::string text;
    float score;
    int32_t type;
};

void write_vocabulary(gguf_context *gguf, const std::vector<Piece> &pieces, int32_t bos, int32_t eos,
                      bool add_space_prefix) {
    std::vector<const char *> texts;
    std::vector<float> scores;
    std::vector<int32_t> types;
    for (const Piece &piece : pieces) {
        texts.push_back(piece.text.c_str());
        scores.push_back(piece.score);
        types.push_back(piece.type);
    }
    gguf_set_val_str(gguf, "tokenizer.ggml.model", "llama");
    gguf_set_val_str(gguf, "tokenizer.ggml.pre", "default");
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", texts.data(), texts.size());
    gguf_set_arr_data(gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
    gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
    gguf_set_val_u32(gguf, "tokenizer.ggml.bos_token_id", static_cast<uint32_t>(bos));
    gguf_set_val_u32(gguf, "tokenizer.ggml.eos_token_id", static_cast<uint32_t>(eos));
    gguf_set_val_u32(gguf, "tokenizer.ggml.unknown_token_id", 0);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_bos_token", true);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_eos_token", false);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_space_prefix", add_space_prefix);
}

std::string byte_piece(int byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    return text;
}

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
    Status checks[] = {at_least("layers", spec.layers, 1, kMaxLayers),
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

struct Shape {
    std::string architecture;
    int64_t layers, embedding, heads, kv_heads, head_dim, feed_forward, vocabulary, context;
    float rope_base;
};

void write_shape(gguf_context *gguf, const Shape &shape, const std::string &name) {
    const std::string prefix = shape.architecture + ".";
    auto set = [&](const char *key, int64_t value) {
        gguf_set_val_u32(gguf, (prefix + key).c_str(), static_cast<uint32_t>(value));
    };
    gguf_set_val_str(gguf, "general.architecture", shape.architecture.c_str());
    gguf_set_val_str(gguf, "general.name", name.c_str());
    set("block_count", shape.layers);
    set("context_length", shape.context);
    set("embedding_length", shape.embedding);
    set("feed_forward_length", shape.feed_forward);
    set("attention.head_count", shape.heads);
    set("attention.head_count_kv", shape.kv_heads);
    set("attention.key_length", shape.head_dim);
    set("attention.value_length", shape.head_dim);
    set("rope.dimension_count", shape.head_dim);
    set("vocab_size", shape.vocabulary);
    gguf_set_val_f32(gguf, (prefix + "attention.layer_norm_rms_epsilon").c_str(), 1e-5F);
    gguf_set_val_f32(gguf, (prefix + "rope.freq_base").c_str(), shape.rope_base);
}

Status write_random(const RandomModel &spec, const std::string &path) {
    ggml_type type = GGML_TYPE_F16;
    Status status = matrix_type(spec, type);
    if (status.ok())
        status = check(spec, type);
    if (!status.ok())
        return status;

    Writer writer;
    write_shape(writer.metadata(),
                {spec.architecture, spec.layers, spec.embedding, spec.heads, spec.kv_heads, spec.head_dim,
                 spec.feed_forward, spec.vocabulary, spec.context, 10000.0F},
                spec.name);
    write_vocabulary(writer.metadata(), random_vocabulary(spec.vocabulary), 1, 2, true);
    gguf_set_val_str(writer.metadata(), "tokenizer.chat_template", kRandomChatTemplate);

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

Status read_file(const std::string &path, std::vector<char> &bytes) {
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
    return file.is_open() && !file.bad()
               ? Status::success()
               : Status::error("KVPAGE_MODEL_NOT_FOUND", "path is " + path + ": " + std::strerror(errno));
}

// llama2.c writes "\n<s>\n" and "\n</s>\n" for the control tokens and a plain space where GGUF has "▁".
Status read_llama2c_vocabulary(const std::string &path, int64_t size, std::vector<Piece> &pieces) {
    std::vector<char> bytes;
    Status status = read_file(path, bytes);
    if (!status.ok())
        return status;
    size_t at = 4; // max_token_length
    for (int64_t i = 0; i < size; i++) {
        float score = 0;
        int32_t length = 0;
        if (at + 8 > bytes.size())
            return invalid("tokenizer " + path + " ends before token " + std::to_string(i));
        std::memcpy(&score, &bytes[at], 4);
        std::memcpy(&length, &bytes[at + 4], 4);
        at += 8;
        if (length < 1 || static_cast<size_t>(length) > bytes.size() - at)
            return invalid("tokenizer " + path + ": token " + std::to_string(i) + " has length " +
                           std::to_string(length) + "; expected 1 to what is left of the file");
        std::string text;
        for (char c : std::string(&bytes[at], static_cast<size_t>(length)))
            text += c == ' ' ? "\xe2\x96\x81" : std::string(1, c);
        at += static_cast<size_t>(length);
        const int32_t type = i == 0    ? LLAMA_TOKEN_TYPE_UNKNOWN
                             : i < 3   ? LLAMA_TOKEN_TYPE_CONTROL
                             : i < 259 ? LLAMA_TOKEN_TYPE_BYTE
                                       : LLAMA_TOKEN_TYPE_NORMAL;
        const char *control[] = {"<unk>", "<s>", "</s>"};
        if (i < 3)
            text = control[i];
        else if (i < 259 && text != byte_piece(static_cast<int>(i) - 3))
            return invalid("tokenizer " + path + ": token " + std::to_string(i) + " is \"" + text +
                           "\"; expected " + byte_piece(static_cast<int>(i) - 3));
        pieces.push_back({text, score, type});
    }
    return Status::success();
}

Status convert(const std::string &checkpoint, const std::string &tokenizer, const std::string &path) {
    std::vector<char> bytes;
    Status status = read_file(checkpoint, bytes);
    if (!status.ok())
        return status;
    int32_t header[7];
    if (bytes.size() < sizeof header)
        return invalid("checkpoint " + checkpoint + " has " + std::to_string(bytes.size()) +
                       " bytes; expected more");
    std::memcpy(header, bytes.data(), sizeof header);
    const int64_t dim = header[0], hidden = header[1], layers = header[2], heads = header[3],
                  kv_heads = header[4];
    const int64_t vocabulary = std::abs(int64_t{header[5]}), context = header[6];
    const char *names[] = {"dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
    for (int i = 0; i < 7; i++) {
        const int64_t value = i == 5 ? vocabulary : header[i];
        const int64_t most = i == 2 ? kMaxLayers : 1 << 20;
        if (value < 1 || value > most)
            return invalid("checkpoint " + checkpoint + ": " + names[i] + " is " + std::to_string(header[i]) +
                           "; expected 1.." + std::to_string(most));
    }
    if (dim % heads != 0 || dim / heads % 2 != 0 || heads % kv_heads != 0 || vocabulary < 259)
        return invalid("checkpoint " + checkpoint + " has dim " + std::to_string(dim) + ", n_heads " +
                       std::to_string(heads) + ", n_kv_heads " + std::to_string(kv_heads) + ", vocab_size " +
                       std::to_string(vocabulary) + ", which do not fit together");
    const int64_t head_dim = dim / heads;
    const int64_t kv_dim = kv_heads * head_dim;

    size_t at = sizeof header;
    auto take = [&](int64_t count, std::vector<float> &values) {
        const size_t length = static_cast<size_t>(count) * sizeof(float);
        if (length > bytes.size() - at)
            return false;
        values.resize(static_cast<size_t>(count));
        std::memcpy(values.data(), &bytes[at], length);
        at += length;
        return true;
    };
    Writer writer;
    write_shape(writer.metadata(),
                {"llama", layers, dim, heads, kv_heads, head_dim, hidden, vocabulary, context, 10000.0F},
                "llama2.c");
    std::vector<Piece> pieces;
    status = read_llama2c_vocabulary(tokenizer, vocabulary, pieces);
    if (!status.ok())
        return status;
    write_vocabulary(writer.metadata(), pieces, 1, 2, true);

    // All layers of one tensor stand together, in this order.
    struct Group {
        const char *name;
        std::vector<int64_t> shape;
        bool per_layer;
    };
    std::vector<Group> groups = {{"token_embd.weight", {dim, vocabulary}, false},
                                 {"attn_norm.weight", {dim}, true},
                                 {"attn_q.weight", {dim, dim}, true},
                                 {"attn_k.weight", {dim, kv_dim}, true},
                                 {"attn_v.weight", {dim, kv_dim}, true},
                                 {"attn_output.weight", {dim, dim}, true},
                                 {"ffn_norm.weight", {dim}, true},
                                 {"ffn_gate.weight", {dim, hidden}, true},
                                 {"ffn_down.weight", {hidden, dim}, true},
                                 {"ffn_up.weight", {dim, hidden}, true},
                                 {"output_norm.weight", {dim}, false}};
    std::vector<float> values;
    auto add = [&](const std::string &name, const std::vector<int64_t> &shape) {
        const int64_t count = shape[0] * (shape.size() > 1 ? shape[1] : 1);
        if (!take(count, values))
            return invalid("checkpoint " + checkpoint + " ends before " + name);
        writer.add(name, GGML_TYPE_F32, shape, values);
        return Status::success();
    };
    for (const Group &group : groups)
        for (int64_t i = 0; i < (group.per_layer ? layers : 1) && status.ok(); i++)
            status = add((group.per_layer ? "blk." + std::to_string(i) + "." : "") + group.name, group.shape);
    if (status.ok() && header[5] < 0) {
        // An output of its own stands behind the two unused rotation tables.
        if (!take(context * head_dim / 2, values) || !take(context * head_dim / 2, values))
            return invalid("checkpoint " + checkpoint + " ends inside its rotation tables");
        status = add("output.weight", {dim, vocabulary});
    }
    return status.ok() ? writer.write(path) : status;
}

template <class Function> Status without_exceptions(Function function) {
    try {
        return function();
    } catch (const std::bad_alloc &) {
        return Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for the model");
    } catch (const std::exception &error) {
        return Status::error("KVPAGE_WRITE_FAILED", error.what());
    }
}

} // namespace

Status write_random_model(const RandomModel &spec, const std::string &path) {
    return without_exceptions([&] { return write_random(spec, path); });
}

Status convert_llama2c(const std::string &checkpoint, const std::string &tokenizer, const std::string &path) {
    return without_exceptions([&] { return convert(checkpoint, tokenizer, path); });
}

} // namespace kvpage::runner
