// A GGUF file: its metadata by key, and its tensors' places in a read-only mapping of the file. Everything is
// checked against the file's size here, so that later code can trust a TensorPlace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ggml-cpp.h>

#include "runner/status.h"

namespace kvpage::runner {

struct TensorPlace {
    ggml_type type;
    int64_t ne[GGML_MAX_DIMS];
    const std::byte *data; // in the mapping
    size_t bytes;
};

class GgufFile {
  public:
    // KVPAGE_MODEL_NOT_FOUND, KVPAGE_MODEL_INVALID.
    Status open(const std::string &path);
    GgufFile() = default;
    ~GgufFile();
    GgufFile(const GgufFile &) = delete;
    GgufFile &operator=(const GgufFile &) = delete;

    // The value of a key; `fallback` where the key is absent (null: the key is required). A key of another
    // type or out of range is KVPAGE_MODEL_INVALID and names the key, the value and what was expected.
    Status get(const std::string &key, int64_t minimum, int64_t maximum, const int64_t *fallback,
               int64_t &out) const;
    Status get(const std::string &key, const float *fallback, float &out) const;
    Status get(const std::string &key, const std::string *fallback, std::string &out) const;
    bool has(const std::string &key) const;
    // Elements of an array, or -1 if the key is absent or no array.
    int64_t array_length(const std::string &key) const;

    // Null if there is no such tensor.
    const TensorPlace *find(const std::string &name) const;
    // The tensor with exactly this shape (missing dimensions are 1).
    Status require(const std::string &name, std::vector<int64_t> shape, const TensorPlace *&out) const;
    const std::vector<std::string> &tensor_names() const { return names_; }

    uint64_t parameters() const { return parameters_; }
    // The most frequent type of the matrices.
    std::string matrix_type() const;
    size_t bytes() const { return bytes_; }
    std::byte *mapping() const { return mapping_; }

  private:
    gguf_context_ptr gguf_;
    std::byte *mapping_ = nullptr;
    size_t bytes_ = 0;
    uint64_t parameters_ = 0;
    std::string path_;
    std::vector<std::string> names_;
    std::vector<TensorPlace> tensors_;
};

} // namespace kvpage::runner
