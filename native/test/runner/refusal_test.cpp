// Bad files and bad steps are errors that name what is wrong; none of them ends the process.
#include <functional>

#include <doctest/doctest.h>
#include <ggml-cpp.h>

#include "support.h"

namespace kvpage::runner::test {
namespace {

RandomModel tiny() {
    RandomModel spec;
    spec.layers = 2;
    spec.embedding = 32;
    spec.heads = 4;
    spec.kv_heads = 2;
    spec.head_dim = 8;
    spec.feed_forward = 64;
    spec.vocabulary = 300;
    return spec;
}

std::string edited(const std::function<void(gguf_context *)> &edit) {
    return edited_model(tiny(), edit);
}

Status load(const std::string &path, KvType kv_type = KvType::f16, int threads = 1) {
    LoadOptions options;
    options.path = path;
    options.kv_type = kv_type;
    options.threads = threads;
    std::unique_ptr<Runner> runner;
    Status status = Runner::load(options, runner);
    CHECK(status.ok() == (runner != nullptr));
    return status;
}

void check_refused(const Status &status, const std::string &code, const std::string &part) {
    CAPTURE(status.message);
    CHECK(status.code == code);
    CHECK(status.message.find(part) != std::string::npos);
}

// A file that loads must also compute.
void check_survives(const std::string &content) {
    const std::string path = scratch_file(content);
    if (load(path).ok()) {
        Session session(path, {});
        session.forward({{0, 0, {1, 2, 3}}, {0, 3, {4}}});
    }
    std::remove(path.c_str());
}

size_t header_bytes(const std::string &path) {
    const gguf_context_ptr gguf(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = nullptr}));
    return gguf_get_data_offset(gguf.get());
}

} // namespace

TEST_CASE("a file that is not there or no model is refused") {
    check_refused(load("/nonexistent/model.gguf"), "KVPAGE_MODEL_NOT_FOUND", "/nonexistent/model.gguf");
    check_refused(load("/tmp"), "KVPAGE_MODEL_INVALID", "/tmp");
    check_refused(load(scratch_file("")), "KVPAGE_MODEL_INVALID", "at least 24 bytes");
    check_refused(load(scratch_file(std::string(1000, 'x'))), "KVPAGE_MODEL_INVALID", "GGUF");
    check_refused(load(model_file(tiny()), KvType::f16, 0), "KVPAGE_INVALID_ARGUMENT", "threads is 0");
    check_refused(load(model_file(tiny()), KvType::q8_0), "KVPAGE_INVALID_ARGUMENT", "multiple of 32");
}

TEST_CASE("metadata that we cannot follow are refused by name") {
    struct Case {
        const char *key;
        const char *code;
        std::function<void(gguf_context *, const char *)> edit;
    };
    auto u32 = [](uint32_t value) {
        return [value](gguf_context *gguf, const char *key) { gguf_set_val_u32(gguf, key, value); };
    };
    auto f32 = [](float value) {
        return [value](gguf_context *gguf, const char *key) { gguf_set_val_f32(gguf, key, value); };
    };
    auto text = [](const char *value) {
        return [value](gguf_context *gguf, const char *key) { gguf_set_val_str(gguf, key, value); };
    };
    auto none = [](gguf_context *gguf, const char *key) { gguf_remove_key(gguf, key); };
    auto array = [](gguf_context *gguf, const char *key) {
        const uint32_t values[] = {4, 4};
        gguf_set_arr_data(gguf, key, GGUF_TYPE_UINT32, values, 2);
    };
    const char *invalid = "KVPAGE_MODEL_INVALID";
    const char *unsupported = "KVPAGE_MODEL_UNSUPPORTED";
    for (const Case &c :
         std::initializer_list<Case>{{"general.architecture", unsupported, text("gpt2")},
                                     {"general.architecture", invalid, u32(3)},
                                     {"general.architecture", invalid, none},
                                     {"split.count", unsupported, u32(2)},
                                     {"llama.expert_count", unsupported, u32(8)},
                                     {"llama.rope.scaling.type", unsupported, text("yarn")},
                                     {"llama.rope.scaling.factor", invalid, f32(-2)},
                                     {"llama.attention.sliding_window", unsupported, u32(128)},
                                     {"llama.attention.temperature_scale", unsupported, f32(0.1F)},
                                     {"llama.attention.head_count", unsupported, array},
                                     {"llama.attention.head_count", invalid, u32(0)},
                                     {"llama.attention.head_count", invalid, u32(5)},
                                     {"llama.attention.head_count", invalid, text("4")},
                                     {"llama.attention.head_count", invalid, none},
                                     {"llama.attention.key_length", invalid, u32(1U << 31)},
                                     {"llama.attention.value_length", unsupported, u32(16)},
                                     {"llama.block_count", invalid, u32(0)},
                                     {"llama.block_count", invalid, u32(1U << 20)},
                                     {"llama.context_length", invalid, none},
                                     {"llama.rope.dimension_count", invalid, u32(7)},
                                     {"llama.rope.dimension_count", invalid, u32(10)},
                                     {"llama.rope.freq_base", invalid, f32(0)},
                                     {"llama.rope.freq_base", invalid, u32(10000)},
                                     {"llama.attention.layer_norm_rms_epsilon", invalid, f32(-1)},
                                     {"llama.attention.layer_norm_rms_epsilon", invalid, none}}) {
        CAPTURE(std::string(c.key));
        check_refused(load(edited([&](gguf_context *gguf) { c.edit(gguf, c.key); })), c.code, c.key);
    }
}

TEST_CASE("tensors that are missing, too many or of another shape are refused by name") {
    // A layer more than there are tensors, a layer fewer.
    check_refused(load(edited([](auto *gguf) { gguf_set_val_u32(gguf, "llama.block_count", 3); })),
                  "KVPAGE_MODEL_INVALID", "blk.2.attn_norm.weight is missing");
    check_refused(load(edited([](auto *gguf) { gguf_set_val_u32(gguf, "llama.block_count", 1); })),
                  "KVPAGE_MODEL_UNSUPPORTED", "tensor blk.1.");
    check_refused(load(edited([](auto *gguf) { gguf_set_val_u32(gguf, "llama.feed_forward_length", 96); })),
                  "KVPAGE_MODEL_INVALID",
                  "tensor blk.0.ffn_gate.weight has shape [32, 64]; expected [32, 96]");
    check_refused(load(edited([](gguf_context *gguf) {
                      gguf_set_tensor_type(gguf, "blk.0.attn_norm.weight", GGML_TYPE_F16);
                  })),
                  "KVPAGE_MODEL_INVALID", "tensor blk.0.attn_norm.weight has type f16");
    check_refused(load(edited([](gguf_context *gguf) {
                      gguf_set_tensor_type(gguf, "blk.0.attn_q.weight", GGML_TYPE_I16);
                  })),
                  "KVPAGE_MODEL_UNSUPPORTED", "tensor blk.0.attn_q.weight has type i16");
    // Qwen2 wants biases, Qwen3 norms of the heads.
    for (const char *architecture : {"qwen2", "qwen3"}) {
        RandomModel spec = tiny();
        std::string bytes = read_file(model_file(spec));
        for (size_t at = bytes.find("llama"); at != std::string::npos && at < header_bytes(model_file(spec));
             at = bytes.find("llama", at + 1))
            bytes.replace(at, 5, architecture);
        check_refused(load(scratch_file(bytes)), "KVPAGE_MODEL_INVALID",
                      std::string(architecture) == "qwen2" ? "attn_q.bias" : "attn_q_norm.weight");
    }
}

TEST_CASE("linear scaling of positions is followed") {
    const auto logits = [](const std::string &path) {
        return Session(path, {}).forward({{0, 0, {1, 2, 3, 4}}});
    };
    const auto with = [](const char *type, const char *key, float factor) {
        return edited([=](gguf_context *gguf) {
            if (type != nullptr)
                gguf_set_val_str(gguf, "llama.rope.scaling.type", type);
            gguf_set_val_f32(gguf, key, factor);
        });
    };
    const auto plain = logits(model_file(tiny()));
    const auto scaled = logits(with("linear", "llama.rope.scaling.factor", 4));
    CHECK(!same_bits(plain, scaled));
    CHECK(same_bits(scaled, logits(with(nullptr, "llama.rope.scaling.factor", 4))));
    CHECK(same_bits(scaled, logits(with(nullptr, "llama.rope.scale_linear", 4))));
    CHECK(same_bits(plain, logits(with("none", "llama.rope.scaling.factor", 4))));
}

TEST_CASE("a truncated file is an error at every length") {
    const std::string bytes = read_file(model_file(tiny()));
    const size_t header = header_bytes(model_file(tiny()));
    for (size_t length = 0; length < bytes.size(); length += length < header ? 37 : 2999) {
        CAPTURE(length);
        const std::string path = scratch_file(bytes.substr(0, length));
        CHECK(load(path).code == "KVPAGE_MODEL_INVALID");
        std::remove(path.c_str());
    }
    check_refused(load(scratch_file(bytes.substr(0, bytes.size() - 64))), "KVPAGE_MODEL_INVALID",
                  "truncated?");
}

TEST_CASE("a file with a damaged header is an error or computes") {
    const std::string bytes = read_file(model_file(tiny()));
    const size_t header = header_bytes(model_file(tiny()));
    // The vocabulary fills most of the header; the shapes and tensors are what we want to hit.
    const size_t first_tensor = bytes.find("token_embd.weight");
    REQUIRE(first_tensor < header);
    for (int seed = 0; seed < 600; seed++) {
        CAPTURE(seed);
        const auto draws = random_tokens(12, 1 << 30, static_cast<uint64_t>(seed));
        std::string damaged = bytes;
        for (int i = 0; i < 1 + draws[0] % 4; i++) {
            const auto draw = static_cast<size_t>(draws[static_cast<size_t>(2 * i + 1)]);
            const size_t at = seed % 3 == 0   ? draw % header
                              : seed % 3 == 1 ? draw % 700
                                              : first_tensor + draw % (header - first_tensor);
            damaged[at] = static_cast<char>(draws[static_cast<size_t>(2 * i + 2)]);
        }
        check_survives(damaged);
    }
}

TEST_CASE("a step that cannot be is refused and leaves the runner usable") {
    Session::Options options;
    options.sequences = 2;
    options.capacity = 16;
    Session session(model_file(tiny()), options);
    const auto before = session.forward({{0, 0, {5, 6, 7}}});
    const std::vector<int32_t> tokens = {1, 2, 3};
    const std::vector<int32_t> unknown = {1, 300};
    const std::vector<int32_t> many(17, 1);
    const uint64_t address = session.address(1);
    std::vector<float> logits(300);
    auto refused = [&](const SequenceStep &step, const std::string &part, float *out) {
        const Status status = session.runner().forward({&step, 1}, out);
        check_refused(status, "KVPAGE_INVALID_ARGUMENT", part);
    };
    refused({address, 0, {}, false}, "at least 1", logits.data());
    refused({address, -1, tokens, false}, "past is -1", logits.data());
    refused({address, 0, unknown, false}, "token is 300; expected 0..299", logits.data());
    refused({address, 0, many, false}, "beyond the region", logits.data());
    refused({address, INT32_MAX, tokens, false}, "beyond the region", logits.data());
    refused({address + 1, 0, tokens, false}, "address is", logits.data());
    refused({session.memory().base() - 64, 0, tokens, false}, "address is", logits.data());
    refused({address, 0, tokens, true}, "no buffer", nullptr);
    CHECK(same_bits(before, session.forward({{0, 0, {5, 6, 7}}})));
    CHECK(session.runner().forward({}, nullptr).ok());

    LoadOptions load;
    load.path = model_file(tiny());
    std::unique_ptr<Runner> fresh;
    REQUIRE(Runner::load(load, fresh).ok());
    check_refused(fresh->forward({}, nullptr), "KVPAGE_INVALID_ARGUMENT", "set_kv_region");
    check_refused(fresh->set_kv_region(1, 4096), "KVPAGE_INVALID_ARGUMENT", "base is 1");
    check_refused(fresh->set_kv_region(64, 1), "KVPAGE_INVALID_ARGUMENT", "bytes is 1");
}

} // namespace kvpage::runner::test
