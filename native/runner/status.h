// Failures are values: a stable code for programs and a message for people. No exception leaves the runner.
#pragma once

#include <string>
#include <utility>

namespace kvpage::runner {

struct [[nodiscard]] Status {
    std::string code;    // empty: success. Otherwise a stable KVPAGE_... code.
    std::string message; // names the field, the value and what was expected

    bool ok() const { return code.empty(); }
    static Status success() { return {}; }
    static Status error(std::string code, std::string message) {
        return {std::move(code), std::move(message)};
    }
};

} // namespace kvpage::runner
