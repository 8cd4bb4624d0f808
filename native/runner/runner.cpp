#include "runner/runner.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <vector>

#include <ggml-cpu.h>

#include "runner/gguf_file.h"
#include "runner/graph.h"
#include "runner/hyperparameters.h"
#include "runner/llama_guard.h"
#include "runner/weights.h"

namespace kvpage::runner {
namespace {

// Rows of activations at once: longer steps are cut, since activations beyond the caches cost speed.
constexpr int32_t kMaxRows = 512;

struct threadpool_deleter {
    void operator()(ggml_threadpool *pool) { ggml_threadpool_free(pool); }
};

Status invalid(const std::string &message) {
    return Status::error("KVPAGE_INVALID_ARGUMENT", message);
}

ggml_type ggml_type_of(KvType type) {
    switch (type) {
    case KvType::f32:
        return GGML_TYPE_F32;
    case KvType::q8_0:
        return GGML_TYPE_Q8_0;
    case KvType::f16:
        break;
    }
    return GGML_TYPE_F16;
}

class GgmlRunner final : public Runner {
  public:
    Status load(const LoadOptions &options) {
        if (options.threads < 1 || options.threads > 512)
            return invalid("threads is " + std::to_string(options.threads) + "; expected 1..512");
        Status status = file_.open(options.path);
        if (status.ok())
            status = read_hyperparameters(file_, parameters_);
        if (status.ok())
            status = lay_out_kv(options.kv_type);
        if (status.ok())
            status = weights_.load(file_, parameters_, options.fast, options.on_progress);
        if (status.ok())
            status = describe();
        if (!status.ok())
            return status;

        pad_rows_ = !options.fast && weights_.needs_two_rows;
        backend_.reset(ggml_backend_cpu_init());
        ggml_threadpool_params params = ggml_threadpool_params_default(options.threads);
        params.poll = 2; // after a step, threads look out for the next one some 5 ms, then sleep
        pool_.reset(ggml_threadpool_new(&params));
        if (!backend_ || !pool_)
            return Status::error("KVPAGE_OUT_OF_MEMORY", "the thread pool cannot be created");
        ggml_backend_cpu_set_n_threads(backend_.get(), options.threads);
        ggml_backend_cpu_set_threadpool(backend_.get(), pool_.get());
        // The reference path of attention takes keys one by one, in order: its sums depend neither on how
        // many queries come along nor on the threads.
        ggml_backend_cpu_set_use_ref(backend_.get(), !options.fast);
        allocator_.reset(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
        graph_ = std::make_unique<StepGraph>(parameters_, weights_, kv_);
        return Status::success();
    }

    const ModelInfo &info() const override { return info_; }
    const KvLayout &layout() const override { return layout_; }

    Status set_kv_region(uint64_t base, size_t bytes) override {
        if (base == 0 || base % 64 != 0)
            return invalid("base is " + std::to_string(base) + "; expected a multiple of 64");
        if (bytes < layout_.row_bytes || bytes > UINT64_MAX - base)
            return invalid("bytes is " + std::to_string(bytes) + "; expected at least " +
                           std::to_string(layout_.row_bytes) + ", within the address space");
        region_.reset(ggml_backend_cpu_buffer_from_ptr(reinterpret_cast<void *>(base), bytes));
        graph_->forget();
        base_ = base;
        region_rows_ = bytes / layout_.row_bytes;
        return Status::success();
    }

    Status forward(std::span<const SequenceStep> sequences, float *logits) override {
        try {
            Status status = check(sequences, logits);
            return status.ok() ? run(sequences, logits) : status;
        } catch (const std::bad_alloc &) {
            return Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for the step's activations");
        } catch (const std::exception &error) {
            return Status::error("KVPAGE_STEP_FAILED", error.what());
        }
    }

  private:
    Status lay_out_kv(KvType type) {
        const Hyperparameters &p = parameters_;
        kv_.type = ggml_type_of(type);
        if (p.head_dim % ggml_blck_size(kv_.type) != 0)
            return invalid("kvType is q8_0, which needs heads of a multiple of " +
                           std::to_string(ggml_blck_size(kv_.type)) + " elements; this model's have " +
                           std::to_string(p.head_dim) + " (use f16 or f32)");
        kv_.vector_bytes = ggml_row_size(kv_.type, p.head_dim) * static_cast<size_t>(p.kv_heads);
        layout_.token_bytes = static_cast<size_t>(p.layers) * 2 * kv_.vector_bytes;
        layout_.row_bytes = (layout_.token_bytes + 63) / 64 * 64;
        kv_.row_bytes = layout_.row_bytes;
        return Status::success();
    }

    Status describe() {
        const Hyperparameters &p = parameters_;
        const std::string unnamed;
        Status status = file_.get("general.name", &unnamed, info_.name);
        if (!status.ok())
            return status;
        info_.architecture = p.architecture;
        info_.weights = file_.matrix_type();
        info_.layers = static_cast<int>(p.layers);
        info_.embedding = static_cast<int>(p.embedding);
        info_.heads = static_cast<int>(p.heads);
        info_.kv_heads = static_cast<int>(p.kv_heads);
        info_.head_dim = static_cast<int>(p.head_dim);
        info_.vocabulary = static_cast<int>(p.vocabulary);
        info_.context = static_cast<int>(p.context);
        info_.parameters = file_.parameters();
        info_.file_bytes = file_.bytes();
        return Status::success();
    }

    Status check(std::span<const SequenceStep> sequences, const float *logits) const {
        if (!region_)
            return invalid("set_kv_region() was not called");
        for (size_t i = 0; i < sequences.size(); i++) {
            const SequenceStep &s = sequences[i];
            const std::string name = "sequence " + std::to_string(i) + ": ";
            if (s.address < base_ || (s.address - base_) % layout_.row_bytes != 0)
                return invalid(name + "address is " + std::to_string(s.address) +
                               "; expected the region's base plus a multiple of " +
                               std::to_string(layout_.row_bytes));
            if (s.past < 0)
                return invalid(name + "past is " + std::to_string(s.past) + "; expected at least 0");
            if (s.tokens.empty())
                return invalid(name + "count is 0; expected at least 1");
            const uint64_t first = (s.address - base_) / layout_.row_bytes;
            const uint64_t rows = static_cast<uint64_t>(s.past) + s.tokens.size();
            if (first >= region_rows_ || rows > region_rows_ - first || rows > INT32_MAX)
                return invalid(name + "its " + std::to_string(rows) + " rows end beyond the region");
            for (int32_t token : s.tokens)
                if (token < 0 || token >= parameters_.vocabulary)
                    return invalid(name + "token is " + std::to_string(token) + "; expected 0.." +
                                   std::to_string(parameters_.vocabulary - 1));
            if (s.logits && logits == nullptr)
                return invalid(name + "logits are wanted but there is no buffer for them");
        }
        return Status::success();
    }

    // Cuts the step into graphs of at most kMaxRows rows; decodes and chunks keep their order.
    Status run(std::span<const SequenceStep> sequences, float *logits) {
        int32_t output = 0;
        int32_t first_output = 0;
        StepShape shape;
        pieces_.clear();
        auto flush = [&]() {
            Status status =
                compute(shape, logits + static_cast<ptrdiff_t>(first_output) * parameters_.vocabulary);
            first_output = output;
            shape = {};
            pieces_.clear();
            return status;
        };
        for (const SequenceStep &s : sequences) {
            const auto count = static_cast<int32_t>(s.tokens.size());
            for (int32_t done = 0; done < count;) {
                const int32_t n = std::min(count - done, kMaxRows - shape.tokens);
                const bool wants = s.logits && done + n == count;
                pieces_.push_back(
                    {s.address, s.past + done, n, s.tokens.data() + done, wants ? output++ : -1});
                shape.tokens += n;
                shape.outputs += wants ? 1 : 0;
                done += n;
                if (shape.tokens == kMaxRows)
                    if (Status status = flush(); !status.ok())
                        return status;
            }
        }
        return shape.tokens > 0 ? flush() : Status::success();
    }

    Status compute(StepShape &shape, float *logits) {
        const int32_t least = pad_rows_ ? 2 : 1;
        shape.rows = std::max(shape.tokens, least);
        shape.output_rows = shape.outputs > 0 ? std::max(shape.outputs, least) : 0;
        ggml_cgraph *graph = graph_->reuse(pieces_, shape, region_.get());
        if (graph == nullptr) {
            graph = graph_->build(pieces_, shape, region_.get());
            if (!ggml_gallocr_alloc_graph(allocator_.get(), graph)) {
                graph_->forget();
                return Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for the step's activations");
            }
        }
        graph_->fill(pieces_, shape);
        const ggml_status status = ggml_backend_graph_compute(backend_.get(), graph);
        if (status != GGML_STATUS_SUCCESS)
            return Status::error("KVPAGE_STEP_FAILED", std::string("ggml: ") + ggml_status_to_string(status));
        if (shape.outputs > 0)
            std::memcpy(logits, graph_->logits()->data,
                        static_cast<size_t>(shape.outputs) * static_cast<size_t>(parameters_.vocabulary) *
                            sizeof(float));
        return Status::success();
    }

    GgufFile file_;
    Hyperparameters parameters_;
    Weights weights_;
    KvOffsets kv_{};
    KvLayout layout_;
    ModelInfo info_;
    bool pad_rows_ = false;

    // The pool outlives the backend that uses it.
    std::unique_ptr<ggml_threadpool, threadpool_deleter> pool_;
    ggml_backend_ptr backend_;
    ggml_gallocr_ptr allocator_;
    std::unique_ptr<StepGraph> graph_;
    ggml_backend_buffer_ptr region_;
    uint64_t base_ = 0;
    uint64_t region_rows_ = 0;
    std::vector<Piece> pieces_;
};

} // namespace

Status Runner::load(const LoadOptions &options, std::unique_ptr<Runner> &out) {
    try {
        // What the checks of our own should overlook of a malformed file is then an error too.
        const LlamaGuard guard;
        auto runner = std::make_unique<GgmlRunner>();
        Status status = runner->load(options);
        if (status.ok())
            out = std::move(runner);
        return status;
    } catch (const std::bad_alloc &) {
        return Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for the model");
    } catch (const std::exception &error) {
        return Status::error("KVPAGE_MODEL_INVALID", error.what());
    }
}

} // namespace kvpage::runner
