// What the metadata of a GGUF file says of a model, checked, and which of the known architectures it is.
#pragma once

#include <cstdint>
#include <string>

#include "runner/gguf_file.h"
#include "runner/runner.h"

namespace kvpage::runner {

struct Hyperparameters {
    std::string architecture;
    int64_t layers = 0;
    int64_t embedding = 0;
    int64_t heads = 0;
    int64_t kv_heads = 0;
    int64_t head_dim = 0;
    int64_t feed_forward = 0;
    int64_t vocabulary = 0;
    int64_t context = 0;

    float norm_epsilon = 0;
    int64_t rope_dims = 0;
    int rope_mode = 0; // GGML_ROPE_TYPE_NORMAL or _NEOX
    float rope_base = 0;
    float rope_scale = 1;     // 1 / the linear scaling factor
    float rope_magnitude = 1; // of the rotated vectors

    bool qkv_bias = false;  // Qwen2
    bool head_norm = false; // Qwen3: RMS norm of each head of Q and K
};

// KVPAGE_MODEL_UNSUPPORTED where the file is sound but asks for what is not implemented.
Status read_hyperparameters(const GgufFile &file, Hyperparameters &out);

} // namespace kvpage::runner
