#include "runner/gguf_writer.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include <unistd.h>

#include "runner/llama_guard.h"

namespace kvpage::runner {

std::string byte_piece(int byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    return text;
}

GgufWriter::GgufWriter() : gguf_(gguf_init_empty()) {
    constexpr size_t tensors = (kMaxWrittenLayers + 1) * 16;
    context_.reset(ggml_init({tensors * ggml_tensor_overhead(), nullptr, true}));
}

void GgufWriter::set(const std::string &key, const std::string &value) {
    gguf_set_val_str(gguf_.get(), key.c_str(), value.c_str());
}

void GgufWriter::set_shape(const ModelShape &shape, const std::string &name) {
    gguf_context *gguf = gguf_.get();
    const std::string prefix = shape.architecture + ".";
    auto integer = [&](const char *key, int64_t value) {
        gguf_set_val_u32(gguf, (prefix + key).c_str(), static_cast<uint32_t>(value));
    };
    gguf_set_val_str(gguf, "general.architecture", shape.architecture.c_str());
    gguf_set_val_str(gguf, "general.name", name.c_str());
    integer("block_count", shape.layers);
    integer("context_length", shape.context);
    integer("embedding_length", shape.embedding);
    integer("feed_forward_length", shape.feed_forward);
    integer("attention.head_count", shape.heads);
    integer("attention.head_count_kv", shape.kv_heads);
    integer("attention.key_length", shape.head_dim);
    integer("attention.value_length", shape.head_dim);
    integer("rope.dimension_count", shape.head_dim);
    integer("vocab_size", shape.vocabulary);
    gguf_set_val_f32(gguf, (prefix + "attention.layer_norm_rms_epsilon").c_str(), 1e-5F);
    gguf_set_val_f32(gguf, (prefix + "rope.freq_base").c_str(), shape.rope_base);
}

void GgufWriter::set_vocabulary(const std::vector<Piece> &pieces) {
    gguf_context *gguf = gguf_.get();
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
    gguf_set_val_u32(gguf, "tokenizer.ggml.bos_token_id", 1);
    gguf_set_val_u32(gguf, "tokenizer.ggml.eos_token_id", 2);
    gguf_set_val_u32(gguf, "tokenizer.ggml.unknown_token_id", 0);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_bos_token", true);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_eos_token", false);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_space_prefix", true);
}

void GgufWriter::add(const std::string &name, ggml_type type, const std::vector<int64_t> &shape,
                     const std::vector<float> &values) {
    ggml_tensor *tensor = ggml_new_tensor(context_.get(), type, static_cast<int>(shape.size()), shape.data());
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
Status GgufWriter::write(const std::string &path) {
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

Status without_exceptions(const std::function<Status()> &write) {
    const LlamaGuard guard;
    try {
        return write();
    } catch (const std::bad_alloc &) {
        return Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for the model");
    } catch (const std::exception &error) {
        return Status::error("KVPAGE_WRITE_FAILED", error.what());
    }
}

} // namespace kvpage::runner
