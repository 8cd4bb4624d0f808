// The model's tensors where the kernels want them: in the mapping of the file, or repacked into a layout that
// a CPU's matrix kernels read faster (a private copy).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runner/gguf_file.h"
#include "runner/hyperparameters.h"

namespace kvpage::runner {

struct Layer {
    ggml_tensor *attention_norm, *q, *k, *v, *output;
    ggml_tensor *q_bias, *k_bias, *v_bias; // null without
    ggml_tensor *q_norm, *k_norm;          // null without
    ggml_tensor *feed_forward_norm, *gate, *up, *down;
};

class WeightReader;

struct Weights {
    ggml_tensor *token_embedding = nullptr;
    ggml_tensor *output_norm = nullptr;
    ggml_tensor *output = nullptr;
    ggml_tensor *rope_factors = nullptr; // null without
    std::vector<Layer> layers;

    // A matrix whose kernel treats one row unlike the same row among others (runner determinism, mul_mat
    // rule).
    bool needs_two_rows = false;

    // Fast: repack whatever has a kernel for it. Otherwise only types whose repacked rows do not depend on
    // their place among others.
    Status load(const GgufFile &file, const Hyperparameters &parameters, bool fast,
                const std::function<void(float)> &on_progress);

  private:
    static Layer read_layer(WeightReader &reader, const Hyperparameters &parameters,
                            const std::string &prefix);
    Status place(const WeightReader &reader, const GgufFile &file, bool fast,
                 const std::function<void(float)> &on_progress);

    ggml_context_ptr context_;
    std::vector<ggml_backend_buffer_ptr> buffers_;
};

} // namespace kvpage::runner
