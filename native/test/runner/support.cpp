#include "support.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <ggml-cpp.h>

namespace kvpage::runner::test {
namespace {

class ScratchFolder {
  public:
    ScratchFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "kvpage-runner-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~ScratchFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    std::string next() { return path_ + "/" + std::to_string(count_++) + ".gguf"; }

  private:
    std::string path_;
    int count_ = 0;
};

ScratchFolder &scratch() {
    static ScratchFolder folder;
    return folder;
}

} // namespace

const std::string &model_file(const RandomModel &spec) {
    static std::map<std::string, std::string> paths;
    std::string key = spec.architecture + " " + spec.weights;
    for (int64_t value :
         {int64_t{spec.layers}, int64_t{spec.embedding}, int64_t{spec.heads}, int64_t{spec.kv_heads},
          int64_t{spec.head_dim}, int64_t{spec.feed_forward}, int64_t{spec.vocabulary}, int64_t{spec.context},
          int64_t{spec.tied_embeddings}, static_cast<int64_t>(spec.seed)})
        key.append(" ").append(std::to_string(value));
    std::string &path = paths[key];
    if (path.empty()) {
        path = scratch().next();
        const Status status = write_random_model(spec, path);
        REQUIRE_MESSAGE(status.ok(), status.message);
    }
    return path;
}

std::string edited_model(const RandomModel &spec, const std::function<void(gguf_context *)> &edit) {
    ggml_context *tensors = nullptr;
    const gguf_context_ptr original(
        gguf_init_from_file(model_file(spec).c_str(), {.no_alloc = false, .ctx = &tensors}));
    REQUIRE(original);
    const ggml_context_ptr owner(tensors);
    const gguf_context_ptr copy(gguf_init_empty());
    gguf_set_kv(copy.get(), original.get());
    for (int64_t i = 0; i < gguf_get_n_tensors(original.get()); i++)
        gguf_add_tensor(copy.get(), ggml_get_tensor(tensors, gguf_get_tensor_name(original.get(), i)));
    edit(copy.get());
    const std::string path = scratch_file("");
    REQUIRE(gguf_write_to_file(copy.get(), path.c_str(), false));
    return path;
}

std::string scratch_file(const std::string &content) {
    const std::string path = scratch().next();
    std::ofstream(path, std::ios::binary) << content;
    return path;
}

std::string read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

KvMemory::KvMemory(size_t bytes) : bytes_(bytes) {
    void *base = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(base != MAP_FAILED);
    base_ = static_cast<std::byte *>(base);
}

KvMemory::~KvMemory() {
    ::munmap(base_, bytes_);
}

void KvMemory::allow(uint64_t address, size_t bytes) {
    const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    const uint64_t first = address / page * page;
    const uint64_t end = (address + bytes + page - 1) / page * page;
    REQUIRE(::mprotect(reinterpret_cast<void *>(first), end - first, PROT_READ | PROT_WRITE) == 0);
}

Session::Session(const std::string &path, const Options &options) : options_(options) {
    LoadOptions load;
    load.path = path;
    load.kv_type = options.kv_type;
    load.threads = options.threads;
    load.fast = options.fast;
    const Status status = Runner::load(load, runner_);
    REQUIRE_MESSAGE(status.ok(), status.message);
    const size_t rows = static_cast<size_t>(options.sequences) * static_cast<size_t>(options.capacity);
    memory_ = std::make_unique<KvMemory>(rows * runner_->layout().row_bytes);
    if (options.allow_all)
        memory_->allow_all();
    REQUIRE(runner_->set_kv_region(memory_->base(), memory_->bytes()).ok());
}

uint64_t Session::address(int sequence) const {
    return memory_->base() + static_cast<uint64_t>(sequence) * static_cast<uint64_t>(options_.capacity) *
                                 runner_->layout().row_bytes;
}

std::string Session::kv(int sequence, int rows) const {
    return {reinterpret_cast<const char *>(address(sequence)),
            static_cast<size_t>(rows) * runner_->layout().row_bytes};
}

std::vector<float> Session::forward(const std::vector<Step> &steps) {
    std::vector<SequenceStep> sequences;
    size_t wanting = 0;
    for (const Step &step : steps) {
        sequences.push_back({address(step.sequence), step.past, step.tokens, step.logits});
        wanting += step.logits ? 1 : 0;
    }
    std::vector<float> logits(wanting * static_cast<size_t>(runner_->info().vocabulary));
    const Status status = runner_->forward(sequences, logits.data());
    REQUIRE_MESSAGE(status.ok(), status.message);
    return logits;
}

std::vector<int32_t> random_tokens(int count, int vocabulary, uint64_t seed) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < count; i++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        tokens.push_back(static_cast<int32_t>((seed >> 33) % static_cast<uint64_t>(vocabulary)));
    }
    return tokens;
}

std::vector<int32_t> slice(const std::vector<int32_t> &tokens, int first, int count) {
    return {tokens.begin() + first, tokens.begin() + first + count};
}

bool same_bits(const std::vector<float> &a, const std::vector<float> &b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

} // namespace kvpage::runner::test
