#include "runner/graph.h"

#include <algorithm>
#include <cmath>

namespace kvpage::runner {
namespace {

ggml_tensor *input(ggml_context *context, ggml_type type, int64_t ne0, int64_t ne1 = 1) {
    ggml_tensor *tensor = ggml_new_tensor_2d(context, type, ne0, ne1);
    ggml_set_input(tensor);
    return tensor;
}

} // namespace

StepGraph::StepGraph(const Hyperparameters &parameters, const Weights &weights, const KvOffsets &kv)
    : p_(parameters), w_(weights), kv_(kv) {}

ggml_cgraph *StepGraph::build(const std::vector<Piece> &pieces, const StepShape &shape,
                              ggml_backend_buffer_t region) {
    const size_t nodes = static_cast<size_t>(p_.layers) * (48 + 8 * pieces.size()) + 64;
    const size_t bytes = nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(nodes, false);
    context_.reset();
    if (arena_.size() < bytes)
        arena_.resize(bytes);
    context_.reset(ggml_init({arena_.size(), arena_.data(), true}));
    ggml_context *c = context_.get();
    graph_ = ggml_new_graph_custom(c, nodes, false);
    region_ = region;
    shape_ = shape;
    attended_kv_.clear();

    tokens_ = input(c, GGML_TYPE_I32, shape.rows);
    positions_ = input(c, GGML_TYPE_I32, shape.rows);
    kv_rows_ = input(c, GGML_TYPE_I64, shape.tokens);
    output_rows_ = shape.outputs > 0 ? input(c, GGML_TYPE_I32, shape.output_rows) : nullptr;
    masks_.assign(pieces.size(), nullptr);
    for (size_t i = 0; i < pieces.size(); i++)
        if (pieces[i].count > 1) // a single query sees all of its keys: no mask
            masks_[i] = input(c, GGML_TYPE_F16, pieces[i].past + pieces[i].count, pieces[i].count);
    attended_ = nullptr;
    if (pieces.size() > 1 || shape.rows > shape.tokens) {
        attended_ = input(c, GGML_TYPE_F32, p_.heads * p_.head_dim, shape.rows);
        ggml_set_output(attended_); // written layer after layer: its memory is nobody else's
    }
    logits_ = nullptr;

    ggml_tensor *x = ggml_get_rows(c, w_.token_embedding, tokens_);
    for (int64_t i = 0; i < p_.layers; i++) {
        const Layer &layer = w_.layers[static_cast<size_t>(i)];
        const bool last = i == p_.layers - 1;
        ggml_tensor *y = normalise(x, layer.attention_norm);
        if (last && output_rows_ == nullptr) {
            // Nobody wants logits: the last layer's K and V are all that is needed of it.
            store_kv(i, y, shape);
            return graph_;
        }
        y = attention(i, y, pieces, shape);
        if (last) {
            y = ggml_get_rows(c, y, output_rows_);
            x = ggml_get_rows(c, x, output_rows_);
        }
        y = ggml_mul_mat(c, layer.output, y);
        x = ggml_add(c, y, x);
        y = normalise(x, layer.feed_forward_norm);
        ggml_tensor *up = ggml_mul_mat(c, layer.up, y);
        ggml_tensor *gate = ggml_mul_mat(c, layer.gate, y);
        y = ggml_mul_mat(c, layer.down, ggml_swiglu_split(c, gate, up));
        x = ggml_add(c, y, x);
    }
    logits_ = ggml_mul_mat(c, w_.output, normalise(x, w_.output_norm));
    ggml_set_output(logits_);
    ggml_build_forward_expand(graph_, logits_);
    return graph_;
}

ggml_cgraph *StepGraph::reuse(const std::vector<Piece> &pieces, const StepShape &shape,
                              ggml_backend_buffer_t region) {
    const size_t count = pieces.size();
    const bool decodes = static_cast<size_t>(shape.tokens) == count;
    if (graph_ == nullptr || !decodes || !(shape == shape_) || masks_.size() != count || region != region_)
        return nullptr;
    for (size_t i = 0; i < attended_kv_.size(); i++) {
        const auto layer = static_cast<int64_t>(i / count);
        const Piece &at = pieces[i % count];
        point(attended_kv_[i].k, at.address + kv_.k(layer), at.past + 1);
        point(attended_kv_[i].v, at.address + kv_.v(layer), at.past + 1);
    }
    return graph_;
}

ggml_tensor *StepGraph::normalise(ggml_tensor *x, ggml_tensor *weight) {
    return ggml_mul(context_.get(), ggml_rms_norm(context_.get(), x, p_.norm_epsilon), weight);
}

ggml_tensor *StepGraph::rotate(ggml_tensor *x) {
    return ggml_rope_ext(context_.get(), x, positions_, w_.rope_factors, static_cast<int>(p_.rope_dims),
                         p_.rope_mode, static_cast<int>(p_.context), p_.rope_base, p_.rope_scale, 0.0F,
                         p_.rope_magnitude, 32.0F, 1.0F);
}

ggml_tensor *StepGraph::project(ggml_tensor *x, ggml_tensor *weight, ggml_tensor *bias, int64_t heads) {
    ggml_tensor *y = ggml_mul_mat(context_.get(), weight, x);
    if (bias != nullptr)
        y = ggml_add(context_.get(), y, bias);
    return ggml_reshape_3d(context_.get(), y, p_.head_dim, heads, x->ne[1]);
}

// The sequences' new rows, all in one operation for K and one for V. Rows that only pad the step are not
// stored.
void StepGraph::store_kv(int64_t index, ggml_tensor *x, const StepShape &shape) {
    ggml_context *c = context_.get();
    const Layer &layer = w_.layers[static_cast<size_t>(index)];
    ggml_tensor *k = project(x, layer.k, layer.k_bias, p_.kv_heads);
    ggml_tensor *v = project(x, layer.v, layer.v_bias, p_.kv_heads);
    if (layer.k_norm != nullptr)
        k = normalise(k, layer.k_norm);
    k = rotate(k);
    // Nearby in the order of execution, as their inputs are.
    ggml_build_forward_expand(graph_, v);
    ggml_build_forward_expand(graph_, k);

    const int64_t kv_width = p_.kv_heads * p_.head_dim;
    const auto base = reinterpret_cast<uint64_t>(ggml_backend_buffer_get_base(region_));
    const int64_t region_rows = static_cast<int64_t>(ggml_backend_buffer_get_size(region_) / kv_.row_bytes);
    auto store = [&](ggml_tensor *values, size_t offset) {
        ggml_tensor *rows = kv_tensor(base + offset, region_rows);
        rows->ne[0] = kv_width;
        rows->ne[2] = 1;
        rows->nb[2] = rows->nb[3];
        ggml_tensor *flat = ggml_view_2d(c, values, kv_width, shape.tokens, values->nb[2], 0);
        ggml_build_forward_expand(graph_, ggml_set_rows(c, rows, flat, kv_rows_));
    };
    store(k, kv_.k(index));
    store(v, kv_.v(index));
}

ggml_tensor *StepGraph::attention(int64_t index, ggml_tensor *x, const std::vector<Piece> &pieces,
                                  const StepShape &shape) {
    ggml_context *c = context_.get();
    const Layer &layer = w_.layers[static_cast<size_t>(index)];
    ggml_tensor *q = project(x, layer.q, layer.q_bias, p_.heads);
    if (layer.q_norm != nullptr)
        q = normalise(q, layer.q_norm);
    q = rotate(q);
    ggml_build_forward_expand(graph_, q);
    // Attention reads these rows by address: nothing but the order in the graph makes it wait for them.
    store_kv(index, x, shape);

    if (attended_ == nullptr)
        return ggml_reshape_2d(c, attend(index, q, 0, pieces[0], 0), p_.heads * p_.head_dim, shape.rows);
    int32_t row = 0;
    for (size_t i = 0; i < pieces.size(); i++) {
        ggml_tensor *out = attend(index, q, i, pieces[i], row);
        out->view_src = attended_;
        out->view_offs = static_cast<size_t>(row) * attended_->nb[1];
        ggml_build_forward_expand(graph_, out);
        row += pieces[i].count;
    }
    return attended_;
}

ggml_tensor *StepGraph::attend(int64_t layer, ggml_tensor *q, size_t piece, const Piece &at,
                               int32_t first_row) {
    ggml_context *c = context_.get();
    const int64_t keys = at.past + at.count;
    ggml_tensor *own = ggml_view_3d(c, q, p_.head_dim, p_.heads, at.count, q->nb[1], q->nb[2],
                                    static_cast<size_t>(first_row) * q->nb[2]);
    ggml_tensor *k = kv_tensor(at.address + kv_.k(layer), keys);
    ggml_tensor *v = kv_tensor(at.address + kv_.v(layer), keys);
    attended_kv_.push_back({k, v});
    ggml_tensor *out = ggml_flash_attn_ext(c, ggml_permute(c, own, 0, 2, 1, 3), k, v, masks_[piece],
                                           1.0F / std::sqrt(static_cast<float>(p_.head_dim)), 0.0F, 0.0F);
    ggml_prec_set_acc(out, GGML_PREC_F32);
    return out;
}

// [head_dim, rows, kv_heads] at an address of the region, rows row_bytes apart.
ggml_tensor *StepGraph::kv_tensor(uint64_t address, int64_t rows) {
    ggml_tensor *tensor = ggml_new_tensor_3d(context_.get(), kv_.type, p_.head_dim, 1, p_.kv_heads);
    tensor->nb[1] = kv_.row_bytes;
    tensor->nb[2] = ggml_row_size(kv_.type, p_.head_dim);
    tensor->buffer = region_;
    point(tensor, address, rows);
    return tensor;
}

void StepGraph::point(ggml_tensor *tensor, uint64_t address, int64_t rows) const {
    tensor->ne[1] = rows;
    tensor->nb[3] = kv_.row_bytes * static_cast<size_t>(rows);
    tensor->data = reinterpret_cast<void *>(address);
}

void StepGraph::fill(const std::vector<Piece> &pieces, const StepShape &shape) {
    auto *tokens = static_cast<int32_t *>(tokens_->data);
    auto *positions = static_cast<int32_t *>(positions_->data);
    auto *kv_rows = static_cast<int64_t *>(kv_rows_->data);
    auto *outputs = output_rows_ == nullptr ? nullptr : static_cast<int32_t *>(output_rows_->data);
    const auto base = reinterpret_cast<uint64_t>(ggml_backend_buffer_get_base(region_));
    int32_t row = 0;
    int32_t output = 0;
    for (const Piece &piece : pieces) {
        const auto first = static_cast<int64_t>((piece.address - base) / kv_.row_bytes) + piece.past;
        for (int32_t i = 0; i < piece.count; i++, row++) {
            tokens[row] = piece.tokens[i];
            positions[row] = piece.past + i;
            kv_rows[row] = first + i;
        }
        if (piece.output >= 0)
            outputs[output++] = row - 1;
    }
    for (; row < shape.rows; row++) {
        tokens[row] = tokens[row - 1];
        positions[row] = positions[row - 1];
    }
    for (; output < shape.output_rows && outputs != nullptr; output++)
        outputs[output] = outputs[output - 1];
    if (attended_ != nullptr && attended_->data != nullptr) {
        // Padding rows are computed on: they must hold numbers.
        const size_t used = static_cast<size_t>(shape.tokens) * attended_->nb[1];
        std::fill_n(static_cast<std::byte *>(attended_->data) + used, ggml_nbytes(attended_) - used,
                    std::byte{0});
    }

    const ggml_fp16_t zero = ggml_fp32_to_fp16(0.0F);
    const ggml_fp16_t minus_infinity = ggml_fp32_to_fp16(-INFINITY);
    for (size_t i = 0; i < pieces.size(); i++) {
        if (masks_[i] == nullptr || masks_[i]->data == nullptr)
            continue; // one query, or no layer whose attention is needed
        auto *mask = static_cast<ggml_fp16_t *>(masks_[i]->data);
        const int64_t keys = masks_[i]->ne[0];
        for (int32_t query = 0; query < pieces[i].count; query++, mask += keys) {
            const int64_t visible = pieces[i].past + query + 1;
            std::fill(mask, mask + visible, zero);
            std::fill(mask + visible, mask + keys, minus_infinity);
        }
    }
}

} // namespace kvpage::runner
