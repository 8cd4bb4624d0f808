#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include <llama.h>

#include "runner/gguf_writer.h"
#include "runner/model_writer.h"

namespace kvpage::runner {
namespace {

Status invalid(const std::string &message) {
    return Status::error("KVPAGE_INVALID_ARGUMENT", message);
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
        const int64_t most = i == 2 ? kMaxWrittenLayers : 1 << 20;
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
    GgufWriter writer;
    writer.set_shape({"llama", layers, dim, heads, kv_heads, head_dim, hidden, vocabulary, context, 10000.0F},
                     "llama2.c");
    std::vector<Piece> pieces;
    status = read_llama2c_vocabulary(tokenizer, vocabulary, pieces);
    if (!status.ok())
        return status;
    writer.set_vocabulary(pieces);

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

} // namespace

Status convert_llama2c(const std::string &checkpoint, const std::string &tokenizer, const std::string &path) {
    return without_exceptions([&] { return convert(checkpoint, tokenizer, path); });
}

} // namespace kvpage::runner
