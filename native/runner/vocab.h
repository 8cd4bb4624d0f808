// Text to tokens and back, by libllama's vocabulary: it knows every tokenizer that a GGUF file names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runner/status.h"

struct llama_model;
struct llama_vocab;

namespace kvpage::runner {

// Immutable: any number of threads may ask it at once.
class Vocab {
  public:
    // Reads the vocabulary alone; the weights are not touched. KVPAGE_MODEL_INVALID with libllama's reason.
    static Status load(const std::string &path, std::unique_ptr<Vocab> &out);
    ~Vocab();
    Vocab(const Vocab &) = delete;
    Vocab &operator=(const Vocab &) = delete;

    int32_t size() const;
    // add_special: BOS (and what else the vocabulary wants around a text). parse_special: "<s>" and the like
    // in the text are control tokens.
    Status tokenize(std::string_view text, bool add_special, bool parse_special,
                    std::vector<int32_t> &out) const;
    // The token's bytes: maybe part of a character. Empty for control tokens. A model may have more tokens
    // than names for them (its embedding is padded): those have no bytes and no flags.
    std::string bytes(int32_t token) const;
    // As bytes(), but the text of control tokens too.
    std::string text(int32_t token) const;
    bool is_control(int32_t token) const;
    bool is_end_of_generation(int32_t token) const;
    int32_t bos() const; // -1: none
    int32_t eos() const;
    bool adds_bos() const; // tokenize(add_special) begins with BOS
    // A text's first word gets a space before it, which is not part of the text.
    bool adds_space_prefix() const { return adds_space_prefix_; }
    // Empty: none.
    const std::string &chat_template() const { return chat_template_; }

  private:
    Vocab() = default;
    bool known(int32_t token) const;
    std::string piece(int32_t token, bool special) const;
    llama_model *model_ = nullptr;
    const llama_vocab *vocab_ = nullptr;
    bool adds_space_prefix_ = false;
    std::string chat_template_;
};

} // namespace kvpage::runner
