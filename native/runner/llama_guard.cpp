#include "runner/llama_guard.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>

#include <llama.h>

namespace kvpage::runner {
namespace {

thread_local int guards = 0;
thread_local std::string logged;

void log(ggml_log_level level, const char *text, void *loud) {
    if (level == GGML_LOG_LEVEL_ERROR && guards > 0 && logged.empty())
        logged = text;
    if (loud != nullptr)
        std::fputs(text, stderr);
}

void failed_assertion(const char *message) {
    if (guards > 0)
        throw std::runtime_error(message);
    std::fprintf(stderr, "%s\n", message);
}

} // namespace

void quiet_llama_log() {
    static std::once_flag once;
    std::call_once(once, [] { llama_log_set(log, std::getenv("KVPAGE_LOG_LLAMA")); });
}

LlamaGuard::LlamaGuard() {
    static std::once_flag once;
    std::call_once(once, [] { ggml_set_abort_callback(failed_assertion); });
    quiet_llama_log();
    guards++;
    logged.clear();
}

LlamaGuard::~LlamaGuard() {
    guards--;
}

std::string LlamaGuard::first_error() const {
    return logged.substr(0, logged.find('\n'));
}

} // namespace kvpage::runner
