// Failures are values: a stable code for programs and a message for people. No exception leaves the
// allocator.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace kvpage::vattention {

struct [[nodiscard]] Status {
    std::string code;    // empty: success. Otherwise a stable KVPAGE_... code.
    std::string message; // names the field, the value and what was expected

    bool ok() const { return code.empty(); }
    static Status success() { return {}; }
    static Status error(std::string code, std::string message) {
        return {std::move(code), std::move(message)};
    }
    static Status invalid(const std::string &field, int64_t value, const std::string &expected) {
        return error("KVPAGE_INVALID_ARGUMENT",
                     field + " is " + std::to_string(value) + "; expected " + expected);
    }
};

} // namespace kvpage::vattention
