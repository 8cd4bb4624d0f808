// ggml and libllama end the process where an assertion fails, also over a malformed model file, and print
// their log. Under this guard a failed assertion is an exception, and the log is kept quiet.
#pragma once

#include <string>

namespace kvpage::runner {

// ggml and libllama say nothing from here on, unless KVPAGE_LOG_LLAMA is set.
void quiet_llama_log();

// While one lives, an assertion that fails on this thread throws std::runtime_error. Only for code that
// computes on this thread alone: the library's thread pools are not made for exceptions.
class LlamaGuard {
  public:
    LlamaGuard();
    ~LlamaGuard();
    LlamaGuard(const LlamaGuard &) = delete;
    LlamaGuard &operator=(const LlamaGuard &) = delete;

    // The first error that the library logged on this thread since the guard stands; one line, maybe empty.
    std::string first_error() const;
};

} // namespace kvpage::runner
