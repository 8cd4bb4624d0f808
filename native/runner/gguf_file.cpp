#include "runner/gguf_file.h"

#include "runner/llama_guard.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace kvpage::runner {
namespace {

Status invalid(const std::string &message) {
    return Status::error("KVPAGE_MODEL_INVALID", message);
}

// A key that is not there: its fallback, or an error where it is required.
template <class T> Status absent(const std::string &key, const T *fallback, T &out) {
    if (fallback == nullptr)
        return invalid("metadata key " + key + " is missing");
    out = *fallback;
    return Status::success();
}

Status wrong_type(const std::string &key, gguf_type type, const std::string &expected) {
    return invalid("metadata key " + key + " has type " + gguf_type_name(type) + "; expected " + expected);
}

std::string shape_text(const int64_t *ne) {
    int dimensions = GGML_MAX_DIMS;
    while (dimensions > 1 && ne[dimensions - 1] == 1)
        dimensions--;
    std::string text = "[";
    for (int i = 0; i < dimensions; i++)
        text += (i > 0 ? ", " : "") + std::to_string(ne[i]);
    return text + "]";
}

// Bounds-checked reads: the library's parser is given these bytes and no others.
struct Reader {
    const std::byte *bytes;
    size_t size;
};

size_t read_at(void *userdata, void *output, uint64_t offset, size_t length) {
    const auto *reader = static_cast<const Reader *>(userdata);
    if (offset >= reader->size)
        return 0;
    const size_t count = std::min<size_t>(length, reader->size - offset);
    std::memcpy(output, reader->bytes + offset, count);
    return count;
}

} // namespace

GgufFile::~GgufFile() {
    if (mapping_ != nullptr)
        ::munmap(mapping_, bytes_);
}

Status GgufFile::open(const std::string &path) {
    path_ = path;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return Status::error("KVPAGE_MODEL_NOT_FOUND", "path is " + path + ": " + std::strerror(errno));
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size < 24) {
        ::close(fd);
        return invalid("path is " + path + "; expected a GGUF file of at least 24 bytes");
    }
    bytes_ = static_cast<size_t>(info.st_size);
    void *mapping = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd, 0);
    ::close(fd);
    if (mapping == MAP_FAILED)
        return Status::error("KVPAGE_OUT_OF_MEMORY", "mapping " + path + " failed: " + std::strerror(errno));
    mapping_ = static_cast<std::byte *>(mapping);
    if (std::memcmp(mapping_, "GGUF", 4) != 0)
        return invalid("path is " + path + "; expected a GGUF file (it does not begin with \"GGUF\")");

    Reader reader{mapping_, bytes_};
    const LlamaGuard guard;
    gguf_.reset(gguf_init_from_callback(read_at, &reader, 0, bytes_, {.no_alloc = true, .ctx = nullptr}));
    if (!gguf_)
        return invalid(path + " is not a valid GGUF file: " + guard.first_error());

    const size_t data_offset = gguf_get_data_offset(gguf_.get());
    const int64_t count = gguf_get_n_tensors(gguf_.get());
    for (int64_t i = 0; i < count; i++) {
        TensorPlace place{};
        const std::string name = gguf_get_tensor_name(gguf_.get(), i);
        place.type = gguf_get_tensor_type(gguf_.get(), i);
        std::copy_n(gguf_get_tensor_ne(gguf_.get(), i), GGML_MAX_DIMS, place.ne);
        place.bytes = gguf_get_tensor_size(gguf_.get(), i);
        const size_t offset = gguf_get_tensor_offset(gguf_.get(), i);
        if (data_offset > bytes_ || offset > bytes_ - data_offset ||
            place.bytes > bytes_ - data_offset - offset)
            return invalid("tensor " + name + " needs bytes " + std::to_string(data_offset + offset) +
                           " to " + std::to_string(data_offset + offset + place.bytes) + "; the file has " +
                           std::to_string(bytes_) + " (truncated?)");
        place.data = mapping_ + data_offset + offset;
        uint64_t elements = 1;
        for (int64_t extent : place.ne)
            elements *= static_cast<uint64_t>(extent);
        parameters_ += elements;
        names_.push_back(name);
        tensors_.push_back(place);
    }
    return Status::success();
}

bool GgufFile::has(const std::string &key) const {
    return gguf_find_key(gguf_.get(), key.c_str()) >= 0;
}

Status GgufFile::get(const std::string &key, int64_t minimum, int64_t maximum, const int64_t *fallback,
                     int64_t &out) const {
    const int64_t id = gguf_find_key(gguf_.get(), key.c_str());
    if (id < 0)
        return absent(key, fallback, out);
    switch (gguf_get_kv_type(gguf_.get(), id)) {
    case GGUF_TYPE_UINT32:
        out = gguf_get_val_u32(gguf_.get(), id);
        break;
    case GGUF_TYPE_INT32:
        out = gguf_get_val_i32(gguf_.get(), id);
        break;
    case GGUF_TYPE_UINT16:
        out = gguf_get_val_u16(gguf_.get(), id);
        break;
    case GGUF_TYPE_UINT64:
        out = static_cast<int64_t>(std::min<uint64_t>(gguf_get_val_u64(gguf_.get(), id), INT64_MAX));
        break;
    default:
        return wrong_type(key, gguf_get_kv_type(gguf_.get(), id), "an integer");
    }
    if (out < minimum || out > maximum)
        return invalid("metadata key " + key + " is " + std::to_string(out) + "; expected " +
                       std::to_string(minimum) + ".." + std::to_string(maximum));
    return Status::success();
}

Status GgufFile::get(const std::string &key, const float *fallback, float &out) const {
    const int64_t id = gguf_find_key(gguf_.get(), key.c_str());
    if (id < 0)
        return absent(key, fallback, out);
    if (gguf_get_kv_type(gguf_.get(), id) != GGUF_TYPE_FLOAT32)
        return wrong_type(key, gguf_get_kv_type(gguf_.get(), id), "a float32");
    out = gguf_get_val_f32(gguf_.get(), id);
    if (!std::isfinite(out) || out < 0)
        return invalid("metadata key " + key + " is " + std::to_string(out) +
                       "; expected a finite number >= 0");
    return Status::success();
}

Status GgufFile::get(const std::string &key, const std::string *fallback, std::string &out) const {
    const int64_t id = gguf_find_key(gguf_.get(), key.c_str());
    if (id < 0)
        return absent(key, fallback, out);
    if (gguf_get_kv_type(gguf_.get(), id) != GGUF_TYPE_STRING)
        return wrong_type(key, gguf_get_kv_type(gguf_.get(), id), "a string");
    out = gguf_get_val_str(gguf_.get(), id);
    return Status::success();
}

int64_t GgufFile::array_length(const std::string &key) const {
    const int64_t id = gguf_find_key(gguf_.get(), key.c_str());
    if (id < 0 || gguf_get_kv_type(gguf_.get(), id) != GGUF_TYPE_ARRAY)
        return -1;
    return static_cast<int64_t>(gguf_get_arr_n(gguf_.get(), id));
}

const TensorPlace *GgufFile::find(const std::string &name) const {
    const auto found = std::find(names_.begin(), names_.end(), name);
    return found == names_.end() ? nullptr : &tensors_[static_cast<size_t>(found - names_.begin())];
}

Status GgufFile::require(const std::string &name, std::vector<int64_t> shape, const TensorPlace *&out) const {
    out = find(name);
    if (out == nullptr)
        return invalid("tensor " + name + " is missing");
    shape.resize(GGML_MAX_DIMS, 1);
    if (!std::equal(shape.begin(), shape.end(), out->ne))
        return invalid("tensor " + name + " has shape " + shape_text(out->ne) + "; expected " +
                       shape_text(shape.data()));
    return Status::success();
}

std::string GgufFile::matrix_type() const {
    std::map<ggml_type, int> counts;
    for (const TensorPlace &tensor : tensors_)
        if (tensor.ne[1] > 1)
            counts[tensor.type]++;
    const auto most = std::max_element(counts.begin(), counts.end(),
                                       [](const auto &a, const auto &b) { return a.second < b.second; });
    if (most == counts.end())
        return "F32";
    std::string name = ggml_type_name(most->first);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    return name;
}

} // namespace kvpage::runner
