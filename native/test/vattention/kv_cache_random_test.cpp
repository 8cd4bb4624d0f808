// Random operations against bytes that a naive model remembers: every page that somebody holds keeps its
// bytes through the growth, the sharing and the closing of everything around it.
#include <random>

#include "support.h"

using namespace kvpage::vattention;
using namespace kvpage::vattention::test;

namespace {

constexpr uint32_t kPages = 12;
constexpr uint32_t kWindows = 4;
constexpr uint32_t kWindowPages = 6;

struct Model {
    std::vector<int> bytes = std::vector<int>(kPages, -1); // -1: unknown
    std::vector<std::vector<uint32_t>> windows{kWindows};
    std::vector<bool> open = std::vector<bool>(kWindows, false);
};

void check(const KvCache &cache, const Model &model) {
    REQUIRE_MESSAGE(cache.check_integrity().ok(), cache.check_integrity().message);
    for (uint32_t window = 0; window < kWindows; window++) {
        if (!model.open[window])
            continue;
        REQUIRE(mapped(cache, window) == model.windows[window].size());
        for (uint32_t i = 0; i < model.windows[window].size(); i++) {
            const uint32_t page = model.windows[window][i];
            REQUIRE(page_at(cache, window, i) == page);
            for (size_t at : {size_t{0}, kPage / 2, kPage - 1})
                if (model.bytes[page] >= 0)
                    REQUIRE(*address(cache, window, i * kPage + at) ==
                            static_cast<std::byte>(model.bytes[page]));
        }
    }
}

} // namespace

TEST_CASE("bytes survive any sequence of operations") {
    for (uint32_t seed = 1; seed <= 20; seed++) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        auto next = [&](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
        auto cache = make_cache(kPages, kWindows, 0, kWindowPages);
        Model model;
        for (int step = 0; step < 300; step++) {
            const uint32_t window = next(kWindows);
            auto &pages = model.windows[window];
            if (!model.open[window]) {
                uint32_t opened = 0;
                REQUIRE(cache->open_window(opened).ok());
                REQUIRE_FALSE(model.open[opened]);
                model.open[opened] = true;
                continue;
            }
            switch (next(5)) {
            case 0: {
                const uint32_t length = next(kWindowPages + 1);
                const uint32_t free = cache->free_pages();
                const bool fits = length <= pages.size() || length - pages.size() <= free;
                REQUIRE(cache->grow(window, length).ok() == fits);
                if (!fits)
                    REQUIRE(cache->free_pages() == free);
                while (fits && pages.size() < length) {
                    pages.push_back(page_at(*cache, window, static_cast<uint32_t>(pages.size())));
                    model.bytes[pages.back()] = -1;
                }
                break;
            }
            case 1: {
                const auto &from = model.windows[next(kWindows)];
                if (from.empty() || pages.size() == kWindowPages)
                    break;
                const uint32_t page = from[next(static_cast<uint32_t>(from.size()))];
                REQUIRE(cache->map(window, std::vector<int32_t>{static_cast<int32_t>(page)}).ok());
                pages.push_back(page);
                break;
            }
            case 2: {
                const uint32_t length = next(kWindowPages + 1);
                REQUIRE(cache->truncate(window, length).ok());
                pages.resize(std::min<size_t>(pages.size(), length));
                break;
            }
            case 3:
                if (next(3) == 0) {
                    REQUIRE(cache->close_window(window).ok());
                    pages.clear();
                    model.open[window] = false;
                }
                break;
            default:
                if (!pages.empty()) {
                    const uint32_t index = next(static_cast<uint32_t>(pages.size()));
                    model.bytes[pages[index]] = static_cast<int>(next(256));
                    REQUIRE(
                        cache->write_window(window, index * kPage, filled(model.bytes[pages[index]])).ok());
                }
            }
            check(*cache, model);
        }
    }
}
