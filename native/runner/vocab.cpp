#include "runner/vocab.h"

#include <algorithm>
#include <exception>
#include <limits>

#include <llama.h>

#include "runner/llama_guard.h"

namespace kvpage::runner {
namespace {

Status invalid(const std::string &path, const std::string &why) {
    return Status::error("KVPAGE_MODEL_INVALID", "the vocabulary of " + path + " cannot be used: " + why);
}

} // namespace

Status Vocab::load(const std::string &path, std::unique_ptr<Vocab> &out) {
    const LlamaGuard guard;
    try {
        std::unique_ptr<Vocab> vocab(new Vocab);
        llama_model_params params = llama_model_default_params();
        params.vocab_only = true;
        vocab->model_ = llama_model_load_from_file(path.c_str(), params);
        if (vocab->model_ == nullptr)
            return invalid(path, guard.first_error());
        vocab->vocab_ = llama_model_get_vocab(vocab->model_);
        if (llama_vocab_type(vocab->vocab_) == LLAMA_VOCAB_TYPE_NONE || vocab->size() < 1)
            return invalid(path, "tokenizer.ggml.model names none");
        if (llama_vocab_get_add_bos(vocab->vocab_) && vocab->bos() < 0)
            return invalid(path, "a text begins with BOS, but there is no such token");
        if (const char *chat = llama_model_chat_template(vocab->model_, nullptr))
            vocab->chat_template_ = chat;
        char value[16] = {};
        if (llama_vocab_type(vocab->vocab_) == LLAMA_VOCAB_TYPE_SPM)
            vocab->adds_space_prefix_ =
                llama_model_meta_val_str(vocab->model_, "tokenizer.ggml.add_space_prefix", value,
                                         sizeof value) < 0 ||
                std::string(value) == "true";
        out = std::move(vocab);
        return Status::success();
    } catch (const std::exception &error) {
        return invalid(path, error.what());
    }
}

Vocab::~Vocab() {
    if (model_ != nullptr)
        llama_model_free(model_);
}

int32_t Vocab::size() const {
    return llama_vocab_n_tokens(vocab_);
}

Status Vocab::tokenize(std::string_view text, bool add_special, bool parse_special,
                       std::vector<int32_t> &out) const {
    if (text.size() > std::numeric_limits<int32_t>::max() / 2)
        return Status::error("KVPAGE_INVALID_ARGUMENT",
                             "text has " + std::to_string(text.size()) + " bytes; expected at most 1 GiB");
    const auto length = static_cast<int32_t>(text.size());
    const auto attempt = [&] {
        return llama_tokenize(vocab_, text.data(), length, out.data(), static_cast<int32_t>(out.size()),
                              add_special, parse_special);
    };
    const LlamaGuard guard;
    try {
        // Hardly a tokenizer gives more tokens than bytes, plus what it adds around the text.
        out.resize(text.size() + 8);
        int32_t count = attempt();
        if (count < 0 && count != std::numeric_limits<int32_t>::min()) {
            out.resize(static_cast<size_t>(-count));
            count = attempt();
        }
        out.resize(static_cast<size_t>(std::max(count, 0)));
        if (count >= 0)
            return Status::success();
        return Status::error("KVPAGE_INVALID_ARGUMENT", "text has more tokens than can be counted");
    } catch (const std::exception &error) {
        return Status::error("KVPAGE_INVALID_ARGUMENT",
                             std::string("text cannot be tokenized: ") + error.what());
    }
}

std::string Vocab::piece(int32_t token, bool special) const {
    if (!known(token))
        return {};
    std::string bytes(64, '\0');
    int32_t count =
        llama_token_to_piece(vocab_, token, bytes.data(), static_cast<int32_t>(bytes.size()), 0, special);
    if (count < 0) {
        bytes.resize(static_cast<size_t>(-count));
        count =
            llama_token_to_piece(vocab_, token, bytes.data(), static_cast<int32_t>(bytes.size()), 0, special);
    }
    bytes.resize(static_cast<size_t>(count < 0 ? 0 : count));
    return bytes;
}

std::string Vocab::bytes(int32_t token) const {
    return is_control(token) ? std::string() : piece(token, false);
}
std::string Vocab::text(int32_t token) const {
    return piece(token, true);
}
bool Vocab::known(int32_t token) const {
    return token >= 0 && token < size();
}
bool Vocab::is_control(int32_t token) const {
    return known(token) && llama_vocab_is_control(vocab_, token);
}
bool Vocab::is_end_of_generation(int32_t token) const {
    return known(token) && llama_vocab_is_eog(vocab_, token);
}
bool Vocab::adds_bos() const {
    return bos() >= 0 && llama_vocab_get_add_bos(vocab_);
}
int32_t Vocab::bos() const {
    return llama_vocab_bos(vocab_);
}
int32_t Vocab::eos() const {
    return llama_vocab_eos(vocab_);
}

} // namespace kvpage::runner
