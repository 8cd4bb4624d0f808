#include "runner/weights.h"

#include <unordered_set>

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

// What both the lookup of a row and the matrix product can read. Other types are for activations or integers.
bool is_weight_type(ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 ||
           (ggml_is_quantized(type) && type != GGML_TYPE_Q8_1 && type != GGML_TYPE_Q8_K &&
            ggml_get_type_traits_cpu(type)->vec_dot != nullptr);
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

// Whether a kernel of this buffer type multiplies by this matrix is asked of a throw-away operation.
bool can_multiply(ggml_backend_dev_t device, ggml_backend_buffer_type_t type, ggml_tensor *weight) {
    ggml_context_ptr scratch(ggml_init({4 * ggml_tensor_overhead(), nullptr, true}));
    ggml_tensor *input = ggml_new_tensor_2d(scratch.get(), GGML_TYPE_F32, weight->ne[0], 512);
    ggml_tensor *product = ggml_mul_mat(scratch.get(), weight, input);
    ggml_backend_buffer_ptr empty(ggml_backend_buft_alloc_buffer(type, 0));
    weight->buffer = empty.get();
    const bool supported = ggml_backend_dev_supports_op(device, product);
    weight->buffer = nullptr;
    return supported;
}

} // namespace

// Takes tensors out of a file one by one. After the first failure nothing more happens.
class WeightReader {
  public:
    WeightReader(const GgufFile &file, ggml_context *context) : file_(file), context_(context) {}

    struct Item {
        ggml_tensor *tensor;
        const TensorPlace *place;
        bool matrix;
    };

    ggml_tensor *matrix(const std::string &name, int64_t in, int64_t out) {
        const TensorPlace *place = take(name, {in, out});
        return place == nullptr ? nullptr : add(place, true);
    }
    ggml_tensor *vector(const std::string &name, int64_t length) {
        const TensorPlace *place = take(name, {length});
        if (place != nullptr && place->type != GGML_TYPE_F32) {
            status_ =
                Status::error("KVPAGE_MODEL_INVALID", "tensor " + name + " has type " +
                                                          ggml_type_name(place->type) + "; expected f32");
            return nullptr;
        }
        return place == nullptr ? nullptr : add(place, false);
    }
    // The rows of a matrix that are looked up and not multiplied by.
    ggml_tensor *rows(const std::string &name, int64_t width, int64_t count) {
        const TensorPlace *place = take(name, {width, count});
        return place == nullptr ? nullptr : add(place, false);
    }
    bool has(const std::string &name) const { return file_.find(name) != nullptr; }

    // The first failure; a tensor that nobody took is one, since the model then computes something else.
    Status finish() const {
        if (!status_.ok())
            return status_;
        for (const std::string &name : file_.tensor_names())
            if (taken_.count(name) == 0)
                return Status::error("KVPAGE_MODEL_UNSUPPORTED",
                                     "tensor " + name + " has no place in this architecture");
        return Status::success();
    }
    bool ok() const { return status_.ok(); }
    const std::vector<Item> &items() const { return items_; }

  private:
    const TensorPlace *take(const std::string &name, std::vector<int64_t> shape) {
        const TensorPlace *place = nullptr;
        if (status_.ok())
            status_ = file_.require(name, std::move(shape), place);
        if (!status_.ok())
            return nullptr;
        if (!is_weight_type(place->type)) {
            status_ = Status::error("KVPAGE_MODEL_UNSUPPORTED", "tensor " + name + " has type " +
                                                                    ggml_type_name(place->type) +
                                                                    "; expected a float or quantised type");
            return nullptr;
        }
        taken_.insert(name);
        return place;
    }
    ggml_tensor *add(const TensorPlace *place, bool matrix) {
        ggml_tensor *tensor = ggml_new_tensor(context_, place->type, GGML_MAX_DIMS, place->ne);
        items_.push_back({tensor, place, matrix});
        return tensor;
    }

    const GgufFile &file_;
    ggml_context *context_;
    Status status_;
    std::vector<Item> items_;
    std::unordered_set<std::string> taken_;
};

Status Weights::load(const GgufFile &file, const Hyperparameters &p, bool fast,
                     const std::function<void(float)> &on_progress) {
    const size_t tensors = static_cast<size_t>(p.layers) * 16 + 16;
    context_.reset(ggml_init({tensors * ggml_tensor_overhead(), nullptr, true}));
    WeightReader reader(file, context_.get());
    token_embedding = reader.rows("token_embd.weight", p.embedding, p.vocabulary);
    output_norm = reader.vector("output_norm.weight", p.embedding);
    // Tied embeddings get a second tensor, since the output may be repacked and the embedding may not.
    output = reader.matrix(reader.has("output.weight") ? "output.weight" : "token_embd.weight", p.embedding,
                           p.vocabulary);
    if (reader.has("rope_freqs.weight"))
        rope_factors = reader.vector("rope_freqs.weight", p.rope_dims / 2);
    for (int64_t i = 0; i < p.layers && reader.ok(); i++)
        layers.push_back(read_layer(reader, p, "blk." + std::to_string(i) + "."));
    Status status = reader.finish();
    return status.ok() ? place(reader, file, fast, on_progress) : status;
}

Layer Weights::read_layer(WeightReader &reader, const Hyperparameters &p, const std::string &prefix) {
    const int64_t q_width = p.heads * p.head_dim;
    const int64_t kv_width = p.kv_heads * p.head_dim;
    Layer layer{};
    layer.attention_norm = reader.vector(prefix + "attn_norm.weight", p.embedding);
    layer.q = reader.matrix(prefix + "attn_q.weight", p.embedding, q_width);
    layer.k = reader.matrix(prefix + "attn_k.weight", p.embedding, kv_width);
    layer.v = reader.matrix(prefix + "attn_v.weight", p.embedding, kv_width);
    layer.output = reader.matrix(prefix + "attn_output.weight", q_width, p.embedding);
    if (p.qkv_bias || reader.has(prefix + "attn_q.bias")) {
        layer.q_bias = reader.vector(prefix + "attn_q.bias", q_width);
        layer.k_bias = reader.vector(prefix + "attn_k.bias", kv_width);
        layer.v_bias = reader.vector(prefix + "attn_v.bias", kv_width);
    }
    if (p.head_norm) {
        layer.q_norm = reader.vector(prefix + "attn_q_norm.weight", p.head_dim);
        layer.k_norm = reader.vector(prefix + "attn_k_norm.weight", p.head_dim);
    }
    layer.feed_forward_norm = reader.vector(prefix + "ffn_norm.weight", p.embedding);
    layer.gate = reader.matrix(prefix + "ffn_gate.weight", p.embedding, p.feed_forward);
    layer.up = reader.matrix(prefix + "ffn_up.weight", p.embedding, p.feed_forward);
    layer.down = reader.matrix(prefix + "ffn_down.weight", p.feed_forward, p.embedding);
    return layer;
}

Status Weights::place(const WeightReader &reader, const GgufFile &file, bool fast,
                      const std::function<void(float)> &on_progress) {
    ggml_backend_dev_t device = ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0);
    buffers_.emplace_back(ggml_backend_cpu_buffer_from_ptr(file.mapping(), file.bytes()));
    ggml_backend_buffer_t mapped = buffers_.back().get();
    const size_t alignment = ggml_backend_buft_get_alignment(ggml_backend_cpu_buffer_type());
    const auto repack_types = repack_buffer_types(device);
    size_t done = 0;
    for (const WeightReader::Item &item : reader.items()) {
        ggml_backend_buffer_type_t type = nullptr;
        if (item.matrix && (fast || repack_keeps_bits(item.tensor->type)))
            for (ggml_backend_buffer_type_t candidate : repack_types)
                if (type == nullptr && can_multiply(device, candidate, item.tensor))
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
            on_progress(static_cast<float>(++done) / static_cast<float>(reader.items().size()));
    }
    return Status::success();
}

} // namespace kvpage::runner
