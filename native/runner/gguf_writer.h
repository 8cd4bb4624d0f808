// A GGUF file under construction: metadata, vocabulary and tensors, then one write.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ggml-cpp.h>

#include "runner/status.h"

namespace kvpage::runner {

constexpr int64_t kMaxWrittenLayers = 1000;

struct ModelShape {
    std::string architecture;
    int64_t layers, embedding, heads, kv_heads, head_dim, feed_forward, vocabulary, context;
    float rope_base;
};

// A token of a vocabulary; `type` is libllama's.
struct Piece {
    std::string text;
    float score;
    int32_t type;
};

// "<0x41>" for 65.
std::string byte_piece(int byte);

class GgufWriter {
  public:
    GgufWriter();

    void set(const std::string &key, const std::string &value);
    void set_shape(const ModelShape &shape, const std::string &name);
    // A sentencepiece vocabulary ("llama") with BOS 1 and EOS 2; texts begin with BOS and a space.
    void set_vocabulary(const std::vector<Piece> &pieces);
    // Rows of shape[0] values, converted to `type`; the copy is kept until write().
    void add(const std::string &name, ggml_type type, const std::vector<int64_t> &shape,
             const std::vector<float> &values);

    // The file appears complete or not at all. KVPAGE_WRITE_FAILED.
    Status write(const std::string &path);

  private:
    gguf_context_ptr gguf_;
    ggml_context_ptr context_;
    std::vector<std::vector<std::byte>> data_;
};

// Runs what writes a model; no exception leaves. KVPAGE_OUT_OF_MEMORY, KVPAGE_WRITE_FAILED.
Status without_exceptions(const std::function<Status()> &write);

} // namespace kvpage::runner
