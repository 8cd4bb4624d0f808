// What the writers write loads again; what they cannot write is refused and leaves no file.
#include <cstring>
#include <filesystem>

#include <doctest/doctest.h>

#include "runner/vocab.h"
#include "support.h"

namespace kvpage::runner::test {
namespace {

RandomModel small() {
    RandomModel spec;
    spec.layers = 2;
    spec.embedding = 64;
    spec.heads = 4;
    spec.kv_heads = 2;
    spec.head_dim = 32;
    spec.feed_forward = 96;
    spec.vocabulary = 400;
    spec.context = 128;
    return spec;
}

TEST_CASE("models of every architecture and type load as specified") {
    for (const char *architecture : {"llama", "qwen2", "qwen3"})
        for (const char *weights : {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K"}) {
            RandomModel spec = small();
            spec.architecture = architecture;
            spec.weights = weights;
            if (spec.weights == "Q4_K") {
                spec.embedding = spec.feed_forward = 256;
                spec.head_dim = 64;
            }
            spec.tied_embeddings = spec.architecture == "qwen3";
            CAPTURE(architecture);
            CAPTURE(weights);
            std::unique_ptr<Runner> runner;
            LoadOptions options;
            options.path = model_file(spec);
            const Status status = Runner::load(options, runner);
            REQUIRE_MESSAGE(status.ok(), status.message);
            const ModelInfo &info = runner->info();
            CHECK(info.architecture == architecture);
            CHECK(info.weights == weights);
            CHECK(info.layers == 2);
            CHECK(info.embedding == spec.embedding);
            CHECK(info.heads == 4);
            CHECK(info.kv_heads == 2);
            CHECK(info.head_dim == spec.head_dim);
            CHECK(info.vocabulary == 400);
            CHECK(info.context == 128);
            std::unique_ptr<Vocab> vocab;
            CHECK(Vocab::load(options.path, vocab).ok());
        }
}

TEST_CASE("the same specification gives the same bytes, another seed others") {
    RandomModel spec = small();
    const std::string a = scratch_file(""), b = scratch_file(""), c = scratch_file("");
    REQUIRE(write_random_model(spec, a).ok());
    REQUIRE(write_random_model(spec, b).ok());
    spec.seed = 2;
    REQUIRE(write_random_model(spec, c).ok());
    CHECK(read_file(a) == read_file(b));
    CHECK(read_file(a) != read_file(c));
    CHECK(read_file(a).size() == read_file(c).size());
}

TEST_CASE("specifications that cannot be written name the field") {
    const auto refused = [](const char *field, void (*change)(RandomModel &)) {
        RandomModel spec = small();
        change(spec);
        const std::string path = scratch_file("old");
        const Status status = write_random_model(spec, path);
        CHECK(status.code == "KVPAGE_INVALID_ARGUMENT");
        CHECK_MESSAGE(status.message.find(field) != std::string::npos, status.message);
        CHECK(read_file(path) == "old");
    };
    refused("architecture", [](RandomModel &spec) { spec.architecture = "gpt2"; });
    refused("weights", [](RandomModel &spec) { spec.weights = "Q9"; });
    refused("weights", [](RandomModel &spec) { spec.weights = "I32"; });
    refused("weights", [](RandomModel &spec) { spec.weights = "IQ2_XXS"; });
    refused("embedding", [](RandomModel &spec) { spec.weights = "Q4_K"; });
    refused("layers", [](RandomModel &spec) { spec.layers = 0; });
    refused("heads", [](RandomModel &spec) { spec.heads = -1; });
    refused("kvHeads", [](RandomModel &spec) { spec.kv_heads = 3; });
    refused("headDim", [](RandomModel &spec) { spec.head_dim = 3; });
    refused("vocabulary", [](RandomModel &spec) { spec.vocabulary = 299; });
    refused("context", [](RandomModel &spec) { spec.context = 0; });
}

TEST_CASE("a place that cannot be written is an error and leaves nothing") {
    const std::string folder = scratch_file("") + "-folder";
    std::filesystem::create_directory(folder);
    std::filesystem::create_directory(folder + "/taken");
    CHECK(write_random_model(small(), folder + "/no/such/folder.gguf").code == "KVPAGE_WRITE_FAILED");
    CHECK(write_random_model(small(), folder + "/taken").code == "KVPAGE_WRITE_FAILED");
    CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
}

// A checkpoint with dim 4, hidden_dim 8, 1 layer, 2 heads of 2, 1 KV head, 260 tokens and a context of 16.
struct Llama2c {
    std::string checkpoint, tokenizer;
};

template <class T> void put(std::string &out, T value) {
    out.append(reinterpret_cast<const char *>(&value), sizeof value);
}

Llama2c llama2c(bool own_output) {
    Llama2c made;
    for (int32_t field : {4, 8, 1, 2, 1, own_output ? -260 : 260, 16})
        put(made.checkpoint, field);
    // Embedding, norm, q, k, v, o, norm, gate, down, up, norm, two tables, output.
    int floats = 260 * 4 + 4 + 16 + 8 + 8 + 16 + 4 + 32 + 32 + 32 + 4 + 16 + 16;
    if (own_output)
        floats += 260 * 4;
    for (int i = 0; i < floats; i++)
        put(made.checkpoint, static_cast<float>(i % 17) / 16);
    put(made.tokenizer, int32_t{7});
    for (int i = 0; i < 260; i++) {
        char piece[16];
        std::snprintf(piece, sizeof piece, "<0x%02X>", static_cast<unsigned>(i - 3));
        const std::string text = i == 0     ? "<unk>"
                                 : i == 1   ? "\n<s>\n"
                                 : i == 2   ? "\n</s>\n"
                                 : i == 259 ? " a"
                                            : piece;
        put(made.tokenizer, 0.0F);
        put(made.tokenizer, static_cast<int32_t>(text.size()));
        made.tokenizer += text;
    }
    return made;
}

Status convert(const Llama2c &from, const std::string &out) {
    return convert_llama2c(scratch_file(from.checkpoint), scratch_file(from.tokenizer), out);
}

TEST_CASE("llama2.c checkpoints convert, with and without an output of their own") {
    for (bool own_output : {false, true}) {
        const std::string out = scratch_file("");
        const Status status = convert(llama2c(own_output), out);
        REQUIRE_MESSAGE(status.ok(), status.message);
        std::unique_ptr<Runner> runner;
        LoadOptions options;
        options.path = out;
        REQUIRE(Runner::load(options, runner).ok());
        CHECK(runner->info().vocabulary == 260);
        CHECK(runner->info().weights == "F32");
        CHECK((read_file(out).find("output.weight") != std::string::npos) == true); // attn_output at least
        std::unique_ptr<Vocab> vocab;
        REQUIRE(Vocab::load(out, vocab).ok());
        CHECK(vocab->bytes(259) == " a");
        CHECK(vocab->is_control(1));
        CHECK(vocab->bytes(3 + 'A') == "A");
    }
}

TEST_CASE("malformed checkpoints and tokenizers are refused") {
    const Llama2c good = llama2c(false);
    const auto refused = [](Llama2c bad) {
        const std::string out = scratch_file("old");
        const Status status = convert(bad, out);
        CHECK(status.code == "KVPAGE_INVALID_ARGUMENT");
        CHECK(status.message.find("expected") + status.message.find("ends") + status.message.find("fit") > 0);
        CHECK(read_file(out) == "old");
    };
    for (size_t length : {size_t{0}, size_t{27}, size_t{28}, size_t{2000}})
        refused({good.checkpoint.substr(0, length), good.tokenizer});
    for (size_t length : {size_t{0}, size_t{3}, size_t{20}, size_t{1000}})
        refused({good.checkpoint, good.tokenizer.substr(0, length)});
    for (int field = 0; field < 7; field++)
        for (int32_t value : {0, -1, INT32_MIN, INT32_MAX, 3}) {
            Llama2c bad = good;
            if ((field == 2 || field == 6 || field == 1) && value == 3)
                continue; // a sound value, if not for this file
            std::memcpy(&bad.checkpoint[static_cast<size_t>(field) * 4], &value, 4);
            refused(bad);
        }
    Llama2c other = good;
    other.tokenizer.replace(other.tokenizer.find("<0x41>"), 6, "abcdef");
    refused(other);
    CHECK(convert_llama2c("/nowhere", scratch_file(good.tokenizer), scratch_file("")).code ==
          "KVPAGE_MODEL_NOT_FOUND");
}

} // namespace
} // namespace kvpage::runner::test
