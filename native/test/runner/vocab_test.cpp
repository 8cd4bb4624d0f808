// Text to tokens and back, and what becomes of malformed vocabularies: errors, never the end of the process.
#include <random>
#include <string>

#include <doctest/doctest.h>

#include "runner/vocab.h"
#include "support.h"

namespace kvpage::runner::test {
namespace {

std::unique_ptr<Vocab> random_vocab(int32_t size = 600) {
    RandomModel spec;
    spec.layers = 1;
    spec.vocabulary = size;
    std::unique_ptr<Vocab> vocab;
    const Status status = Vocab::load(model_file(spec), vocab);
    REQUIRE_MESSAGE(status.ok(), status.message);
    return vocab;
}

std::string detokenize(const Vocab &vocab, const std::vector<int32_t> &tokens) {
    std::string text;
    for (int32_t token : tokens)
        text += vocab.bytes(token);
    return text;
}

std::vector<int32_t> tokenize(const Vocab &vocab, const std::string &text, bool special = false,
                              bool parse = false) {
    std::vector<int32_t> tokens;
    const Status status = vocab.tokenize(text, special, parse, tokens);
    REQUIRE_MESSAGE(status.ok(), status.message);
    return tokens;
}

TEST_CASE("any text comes back, after the space that the vocabulary puts before it") {
    for (int32_t size : {300, 357, 600, 5000}) {
        const auto vocab = random_vocab(size);
        REQUIRE(vocab->size() == size);
        REQUIRE(vocab->adds_space_prefix());
        for (const std::string &text :
             {std::string("Once upon a time"), std::string("  two  spaces\n\tand a tab "),
              std::string("bada boka"), std::string("na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x99\x82"),
              std::string("<s>[INST]"), std::string(3000, 'x')})
            CHECK(detokenize(*vocab, tokenize(*vocab, text)) == " " + text);
        CHECK(tokenize(*vocab, "").empty());
    }
}

TEST_CASE("bytes that are no UTF-8 give tokens too") {
    const auto vocab = random_vocab();
    std::mt19937 random(3);
    for (int i = 0; i < 300; i++) {
        std::string text(random() % 40, '\0');
        for (char &c : text)
            c = static_cast<char>(random());
        for (int32_t token : tokenize(*vocab, text, true, i % 2 == 0))
            CHECK((token >= 0 && token < vocab->size()));
    }
}

TEST_CASE("special tokens: added when asked, read from the text when asked") {
    const auto vocab = random_vocab();
    CHECK(vocab->bos() == 1);
    CHECK(vocab->eos() == 2);
    CHECK(vocab->adds_bos());
    CHECK(tokenize(*vocab, "", true) == std::vector<int32_t>{1});
    CHECK(tokenize(*vocab, "a", true).front() == 1);
    CHECK(tokenize(*vocab, "<s><|user|></s>", false, true) == std::vector<int32_t>{1, 3, 2});
    CHECK(tokenize(*vocab, "<s>", false, false).size() > 1);
    CHECK(vocab->is_control(1));
    CHECK_FALSE(vocab->is_end_of_generation(1));
    CHECK(vocab->is_end_of_generation(2));
    CHECK(vocab->bytes(1).empty());
    CHECK(vocab->text(1) == "<s>");
    CHECK_FALSE(vocab->chat_template().empty());
}

TEST_CASE("tokens that the vocabulary does not name have no bytes and no flags") {
    const auto vocab = random_vocab();
    for (int32_t token : {-1, 600, 1 << 30}) {
        CHECK(vocab->bytes(token).empty());
        CHECK(vocab->text(token).empty());
        CHECK_FALSE(vocab->is_control(token));
        CHECK_FALSE(vocab->is_end_of_generation(token));
    }
}

// The same length, so that all offsets of the file stay.
std::string replaced(std::string content, const std::string &from, const std::string &to) {
    REQUIRE(from.size() == to.size());
    const size_t at = content.find(from);
    REQUIRE(at != std::string::npos);
    return content.replace(at, from.size(), to);
}

TEST_CASE("a malformed vocabulary is an error with a reason") {
    RandomModel spec;
    spec.layers = 1;
    spec.vocabulary = 600;
    const std::string good = read_file(model_file(spec));
    const struct {
        std::string content, reason;
    } bad[] = {
        {"", ""},
        {"not a model at all", ""},
        {good.substr(0, 100), ""},
        {good.substr(0, 4000), ""},
        {replaced(good, "<0x41>", "<0x42>"), "id_to_token"}, // twice the same piece
        {replaced(good, "tokenizer.ggml.model", "tokenizer.ggml.mOdel"), "tokenizer.ggml.model"},
        {replaced(good, "tokenizer.ggml.tokens", "tokenizer.ggml.tOkens"), "vocab"},
    };
    for (const auto &[content, reason] : bad) {
        std::unique_ptr<Vocab> vocab;
        const Status status = Vocab::load(scratch_file(content), vocab);
        CHECK(status.code == "KVPAGE_MODEL_INVALID");
        CHECK_MESSAGE(status.message.find(reason) != std::string::npos, status.message);
        CHECK(vocab == nullptr);
    }
    std::unique_ptr<Vocab> vocab;
    CHECK(Vocab::load("/nowhere/at/all.gguf", vocab).code == "KVPAGE_MODEL_INVALID");
}

TEST_CASE("random damage to the metadata never ends the process") {
    RandomModel spec;
    spec.layers = 1;
    spec.embedding = 32;
    spec.heads = spec.kv_heads = 1;
    spec.head_dim = 32;
    spec.feed_forward = 32;
    spec.vocabulary = 300;
    const std::string good = read_file(model_file(spec));
    const size_t metadata = good.find("token_embd.weight");
    REQUIRE(metadata != std::string::npos);
    std::mt19937 random(5);
    int loaded = 0;
    for (int i = 0; i < 400; i++) {
        std::string content = good;
        for (uint32_t changes = 1 + random() % 4; changes > 0; changes--)
            content[random() % metadata] = static_cast<char>(random());
        std::unique_ptr<Vocab> vocab;
        const Status status = Vocab::load(scratch_file(content), vocab);
        CHECK(status.ok() == (vocab != nullptr));
        if (!status.ok())
            continue;
        loaded++;
        std::vector<int32_t> tokens;
        (void)vocab->tokenize("Hello <s> w\xc3\xb6rld", true, true, tokens);
        for (int32_t token : tokens)
            (void)vocab->text(token);
    }
    CHECK(loaded > 0); // most damage hits the text of a token
}

} // namespace
} // namespace kvpage::runner::test
