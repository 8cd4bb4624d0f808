#include <cstdio>

#include "support.h"

using namespace kvpage::vattention;
using namespace kvpage::vattention::test;

namespace {

// The kernel's areas between two addresses.
size_t areas_between(uint64_t from, uint64_t to) {
    std::FILE *file = std::fopen("/proc/self/maps", "r");
    REQUIRE(file != nullptr);
    size_t areas = 0;
    char line[512];
    while (std::fgets(line, sizeof line, file) != nullptr) {
        unsigned long start = 0;
        unsigned long end = 0;
        if (std::sscanf(line, "%lx-%lx", &start, &end) == 2 && end > from && start < to)
            areas++;
    }
    std::fclose(file);
    return areas;
}

size_t kernel_areas(const KvCache &cache) {
    return areas_between(cache.base_address(), cache.base_address() + cache.reserved_bytes());
}

} // namespace

TEST_CASE("consecutive pages cost one area, however many calls mapped them") {
    auto cache = make_cache(64, 2, 0, 64);
    const uint32_t window = open_window(*cache);
    REQUIRE(cache->grow(window, 1).ok());
    CHECK(cache->stats().areas == 2);
    for (uint32_t pages = 2; pages <= 64; pages++)
        REQUIRE(cache->grow(window, pages).ok());
    CHECK(cache->stats().areas == 2);
    CHECK(kernel_areas(*cache) == 2);
}

TEST_CASE("the count is never below the kernel's, and 0 when nothing is mapped") {
    auto cache = make_cache(64, 4, 0, 16);
    for (uint32_t i = 0; i < 64; i++)
        allocate(*cache);
    uint32_t seed = 7;
    auto next = [&](uint32_t bound) { return (seed = seed * 1664525 + 1013904223) / 65536 % bound; };
    for (int i = 0; i < 4; i++)
        open_window(*cache);
    for (int i = 0; i < 400; i++) {
        const uint32_t window = next(4);
        const uint32_t length = mapped(*cache, window);
        if (next(3) == 0) {
            REQUIRE(cache->truncate(window, next(length + 1)).ok());
        } else if (length < 16) {
            const auto page = static_cast<int32_t>(next(63));
            const std::vector<int32_t> pages{page, page + 1};
            REQUIRE(cache->map(window, std::span(pages).first(std::min<size_t>(2, 16 - length))).ok());
        }
        REQUIRE(cache->check_integrity().ok());
        // One more: the reservation itself.
        REQUIRE(kernel_areas(*cache) <= cache->stats().areas + 1);
    }
    for (uint32_t window = 0; window < 4; window++)
        REQUIRE(cache->close_window(window).ok());
    CHECK(cache->stats().areas == 0);
    CHECK(kernel_areas(*cache) == 1);
}

TEST_CASE("areas are refused before the kernel refuses them, for all caches together") {
    // A limit of 8 leaves 4 to the windows: 2 for each scattered page's window.
    auto [first, first_memory] = make_failing(8, 4, 8, 8);
    auto [second, second_memory] = make_failing(8, 4, 8, 8);
    const uint32_t a = open_window(*first);
    const uint32_t b = open_window(*second);
    REQUIRE(first->grow(a, 8).ok());
    REQUIRE(second->grow(b, 1).ok());
    const uint32_t c = open_window(*second);
    const int calls = second_memory->calls;
    CHECK(second->grow(c, 1).code == "KVPAGE_OUT_OF_AREAS");
    CHECK(second_memory->calls == calls);
    CHECK(second->free_pages() == 7);
    CHECK(second->check_integrity().ok());
    // The other cache's areas come back with it.
    first.reset();
    CHECK(second->grow(c, 1).ok());
}
