#include "runner/weights.h"

#include <ggml-cpu.h>

namespace kvpage::runner {
namespace {

// Kernels of these types take another path for a single row.
bool one_row_differs(ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 ||
           type == GGML_TYPE_IQ4_NL;
}

// Repacked rows of these types come out the same wherever they stand; K-quants use gemm for groups of four
// rows and gemv for the rest, whose sums differ.
bool repack_keeps_bits(ggml_type type) {
    return type == GGML_TYPE_Q4_0;
}

std::vector<ggml_backend_buffer_type_t> repack_buffer_types(ggml_backend_dev_t device) {
    std::vector<ggml_backend_buffer_type_t> types;
    auto get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
    if (get == nullptr)
        return types;
    for (ggml_backend_buffer_type_t *type = get(device); type != nullptr && *type != nullptr; type++)
        types.push_back(*type);
    return types;
}

} // namespace

Status Weights::load(const GgufFile &file, const Hyperparameters &p, bool fast,
                     const std::function<void(float)> &on_progress) {
    struct Pending {
        ggml_tensor *tensor;
        const TensorPlace *place;
        bool matrix;
    };
    std::vector<Pending> pending;
    const size_t tensors = static_cast<size_t>(p.layers) * 16 + 16;
    context_.reset(ggml_init({tensors * ggml_tensor_overhead(), nullptr, true}));

    Status status = Status::success();
    auto add = [&](const TensorPlace *place, bool matrix) {
        ggml_tensor *tensor = ggml_new_tensor(context_.get(), place->type, GGML_MAX_DIMS, place->ne);
        pending.push_back({tensor, place, matrix});
        return tensor;
    };
    auto matrix = [&](const std::string &name, int64_t in, int64_t out) -> ggml_tensor * {
        const TensorPlace *place = nullptr;
        if (status.ok())
            status = file.require(name, {in, out}, place);
        return status.ok() ? add(place, true) : nullptr;
    };
    auto vector = [&](const std::string &name, int64_t length) -> ggml_tensor * {
        const TensorPlace *place = nullptr;
        if (status.ok())
            status = file.require(name, {length}, place);
        if (status.ok() && place->type != GGML_TYPE_F32)
            status =
                Status::error("KVPAGE_MODEL_INVALID", "tensor " + name + " has type " +
                                                          ggml_type_name(place->type) + "; expected f32");
        return status.ok() ? add(place, false) : nullptr;
    };

    const TensorPlace *embedding = nullptr;
    status = file.require("token_embd.weight", {p.embedding, p.vocabulary}, embedding);
    if (!status.ok())
        return status;
    token_embedding = add(embedding, false);
    output_norm = vector("output_norm.weight", p.embedding);
    // Tied embeddings get a tensor of their own, since the output may be repacked and the embedding may not.
    output = file.find("output.weight") != nullptr ? matrix("output.weight", p.embedding, p.vocabulary)
                                                   : add(embedding, true);
    if (file.find("rope_freqs.weight") != nullptr)
        rope_factors = vector("rope_freqs.weight", p.rope_dims / 2);

    const int64_t q_width = p.heads * p.head_dim;
    const int64_t kv_width = p.kv_heads * p.head_dim;
    for (int64_t i = 0; i < p.layers; i++) {
        const std::string prefix = "blk." + std::to_string(i) + ".";
        Layer layer{};
        layer.attention_norm = vector(prefix + "attn_norm.weight", p.embedding);
        layer.q = matrix(prefix + "attn_q.weight", p.embedding, q_width);
        layer.k = matrix(prefix + "attn_k.weight", p.embedding, kv_width);
        layer.v = matrix(prefix + "attn_v.weight", p.embedding, kv_width);
        layer.output = matrix(prefix + "attn_output.weight", q_width, p.embedding);
        if (p.qkv_bias || file.find(prefix + "attn_q.bias") != nullptr) {
            layer.q_bias = vector(prefix + "attn_q.bias", q_width);
            layer.k_bias = vector(prefix + "attn_k.bias", kv_width);
            layer.v_bias = vector(prefix + "attn_v.bias", kv_width);
        }
        if (p.head_norm) {
            layer.q_norm = vector(prefix + "attn_q_norm.weight", p.head_dim);
            layer.k_norm = vector(prefix + "attn_k_norm.weight", p.head_dim);
        }
        layer.feed_forward_norm = vector(prefix + "ffn_norm.weight", p.embedding);
        layer.gate = matrix(prefix + "ffn_gate.weight", p.embedding, p.feed_forward);
        layer.up = matrix(prefix + "ffn_up.weight", p.embedding, p.feed_forward);
        layer.down = matrix(prefix + "ffn_down.weight", p.feed_forward, p.embedding);
        if (!status.ok())
            return status;
        layers.push_back(layer);
    }

    ggml_backend_dev_t device = ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0);
    buffers_.emplace_back(ggml_backend_cpu_buffer_from_ptr(file.mapping(), file.bytes()));
    ggml_backend_buffer_t mapped = buffers_.back().get();
    const size_t alignment = ggml_backend_buft_get_alignment(ggml_backend_cpu_buffer_type());

    // Whether a kernel of this buffer type multiplies by this matrix is asked of a throw-away operation.
    auto supports = [&](ggml_backend_buffer_type_t type, ggml_tensor *weight) {
        ggml_context_ptr scratch(ggml_init({4 * ggml_tensor_overhead(), nullptr, true}));
        ggml_tensor *input = ggml_new_tensor_2d(scratch.get(), GGML_TYPE_F32, weight->ne[0], 512);
        ggml_tensor *product = ggml_mul_mat(scratch.get(), weight, input);
        ggml_backend_buffer_ptr empty(ggml_backend_buft_alloc_buffer(type, 0));
        weight->buffer = empty.get();
        const bool supported = ggml_backend_dev_supports_op(device, product);
        weight->buffer = nullptr;
        return supported;
    };
    const auto repack_types = repack_buffer_types(device);
    size_t done = 0;
    for (const Pending &item : pending) {
        ggml_backend_buffer_type_t type = nullptr;
        if (item.matrix && (fast || repack_keeps_bits(item.tensor->type)))
            for (ggml_backend_buffer_type_t candidate : repack_types)
                if (type == nullptr && supports(candidate, item.tensor))
                    type = candidate;
        if (type == nullptr && reinterpret_cast<uintptr_t>(item.place->data) % alignment != 0)
            type = ggml_backend_cpu_buffer_type(); // a file with small alignment: copied
        if (type == nullptr) {
            if (ggml_backend_tensor_alloc(mapped, item.tensor, const_cast<std::byte *>(item.place->data)) !=
                GGML_STATUS_SUCCESS)
                return Status::error("KVPAGE_MODEL_INVALID", "a tensor lies outside the file");
        } else {
            buffers_.emplace_back(
                ggml_backend_buft_alloc_buffer(type, ggml_backend_buft_get_alloc_size(type, item.tensor)));
            ggml_backend_buffer_t buffer = buffers_.back().get();
            if (buffer == nullptr ||
                ggml_backend_tensor_alloc(buffer, item.tensor, ggml_backend_buffer_get_base(buffer)) !=
                    GGML_STATUS_SUCCESS)
                return Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for a weight of " +
                                                                 std::to_string(item.place->bytes) +
                                                                 " bytes");
            ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
            ggml_backend_tensor_set(item.tensor, item.place->data, 0, item.place->bytes);
        }
        if (item.matrix && one_row_differs(item.tensor->type))
            needs_two_rows = true;
        if (on_progress)
            on_progress(static_cast<float>(++done) / static_cast<float>(pending.size()));
    }
    return Status::success();
}

} // namespace kvpage::runner
