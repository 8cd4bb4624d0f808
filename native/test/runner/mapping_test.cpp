// Nothing beyond rows [0, past + count) of each sequence is touched: the sequences stand in address space of
// which exactly the pages that hold these rows are readable. One byte beyond ends the process.
#include <unistd.h>

#include <doctest/doctest.h>

#include "support.h"

namespace kvpage::runner::test {
namespace {

// Sequences far enough apart that no page belongs to two, of lengths such that a tile of 64 keys, and a block
// of 256, crosses the last readable page.
class Fenced {
  public:
    Fenced(const RandomModel &spec, KvType kv_type, bool fast)
        : session_(model_file(spec), options(kv_type, fast)) {}

    void step(const std::vector<Session::Step> &steps) {
        for (const Session::Step &s : steps) {
            const size_t rows = static_cast<size_t>(s.past) + s.tokens.size();
            session_.memory().allow(session_.address(s.sequence), rows * row_bytes());
        }
        session_.forward(steps);
    }
    size_t row_bytes() { return session_.runner().layout().row_bytes; }

  private:
    static Session::Options options(KvType kv_type, bool fast) {
        Session::Options options;
        options.kv_type = kv_type;
        options.fast = fast;
        options.threads = 2;
        options.sequences = 4;
        options.capacity = 4096;
        options.allow_all = false;
        return options;
    }
    Session session_;
};

RandomModel spec_of(int layers, int head_dim) {
    RandomModel spec;
    spec.layers = layers;
    spec.head_dim = head_dim;
    spec.weights = "F16"; // one row is computed as two
    spec.vocabulary = 320;
    return spec;
}

} // namespace

TEST_CASE("nothing beyond the sequences' rows is touched") {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    for (KvType kv_type : {KvType::f16, KvType::f32, KvType::q8_0})
        for (bool fast : {false, true})
            for (int layers : {1, 3}) {
                CAPTURE(static_cast<int>(kv_type));
                CAPTURE(fast);
                CAPTURE(layers);
                const RandomModel spec = spec_of(layers, 64);
                Fenced fenced(spec, kv_type, fast);
                const size_t row = fenced.row_bytes();
                const auto tokens = random_tokens(4096, spec.vocabulary, 3);

                // The longest prompt that leaves less than a row of its last page, while its last tile goes
                // beyond.
                int prompt = 900;
                auto pages = [&](int rows) { return (static_cast<size_t>(rows) * row + page - 1) / page; };
                while (pages(prompt + 1) == pages(prompt) || pages((prompt + 63) / 64 * 64) == pages(prompt))
                    prompt--;
                REQUIRE(prompt > 512);

                fenced.step({{0, 0, slice(tokens, 0, prompt)}});
                for (int i = 0; i < 70; i++)
                    fenced.step({{0, prompt + i, slice(tokens, prompt + i, 1)}});
                fenced.step({{0, prompt + 70, slice(tokens, 0, 65)}});
                // Short and long, prefill and decode in one step.
                fenced.step({{1, 0, slice(tokens, 0, 1)},
                             {2, 0, slice(tokens, 0, 65)},
                             {3, 0, slice(tokens, 0, 511)}});
                fenced.step({{1, 1, slice(tokens, 1, 3), false},
                             {2, 65, slice(tokens, 65, 1)},
                             {3, 511, slice(tokens, 511, 600)},
                             {0, prompt + 135, slice(tokens, 0, 1)}});
            }
}

} // namespace kvpage::runner::test
