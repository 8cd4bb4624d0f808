#include "support.h"

using namespace kvpage::vattention;
using namespace kvpage::vattention::test;

TEST_CASE("creation refuses what cannot be") {
    std::unique_ptr<KvCache> cache;
    auto code = [&](KvCacheOptions options) { return KvCache::create(options, cache).code; };
    CHECK(code({.page_bytes = 4097, .pages = 1, .windows = 1, .window_pages = 1}) ==
          "KVPAGE_INVALID_ARGUMENT");
    CHECK(code({.page_bytes = 0, .pages = 1, .windows = 1, .window_pages = 1}) == "KVPAGE_INVALID_ARGUMENT");
    CHECK(code({.page_bytes = kPage, .pages = 0, .windows = 1, .window_pages = 1}) ==
          "KVPAGE_INVALID_ARGUMENT");
    CHECK(code({.page_bytes = kPage, .pages = 1, .windows = 0, .window_pages = 1}) ==
          "KVPAGE_INVALID_ARGUMENT");
    CHECK(code({.page_bytes = kPage, .pages = 1, .windows = 1, .window_pages = 0}) ==
          "KVPAGE_INVALID_ARGUMENT");
    CHECK(code({.page_bytes = size_t{1} << 62, .pages = 9, .windows = 1, .window_pages = 1}) ==
          "KVPAGE_INVALID_ARGUMENT");
    CHECK(code({.page_bytes = size_t{1} << 20, .pages = 1, .windows = 1u << 20, .window_pages = 1u << 20}) ==
          "KVPAGE_OUT_OF_MEMORY");
    CHECK(code({.page_bytes = kPage, .pages = 1u << 30, .windows = 1, .window_pages = 1}) ==
          "KVPAGE_OUT_OF_MEMORY");
    CHECK(cache == nullptr);
}

TEST_CASE("a window is readable up to its mapped length and not one byte further") {
    auto cache = make_cache(8, 2);
    const uint32_t window = open_window(*cache);
    CHECK(faults(address(*cache, window)));
    for (uint32_t pages = 1; pages <= 8; pages++) {
        REQUIRE(cache->grow(window, pages).ok());
        CHECK_FALSE(faults(address(*cache, window, pages * kPage - 1), true));
        CHECK(faults(address(*cache, window, pages * kPage)));
    }
    REQUIRE(cache->truncate(window, 3).ok());
    CHECK_FALSE(faults(address(*cache, window, 3 * kPage - 1)));
    CHECK(faults(address(*cache, window, 3 * kPage)));
    REQUIRE(cache->close_window(window).ok());
    CHECK(faults(address(*cache, window)));
    CHECK(cache->free_pages() == 8);
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("grow: nothing to do is no call to the kernel; nothing left changes nothing") {
    auto [cache, memory] = make_failing(6, 3, 8);
    const uint32_t a = open_window(*cache);
    const uint32_t b = open_window(*cache);
    REQUIRE(cache->grow(a, 4).ok());
    CHECK(memory->calls == 1);
    CHECK(cache->grow(a, 4).ok());
    CHECK(cache->grow(a, 0).ok());
    CHECK(memory->calls == 1);
    CHECK(cache->grow(b, 3).code == "KVPAGE_OUT_OF_PAGES");
    CHECK(cache->grow(b, 9).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(mapped(*cache, b) == 0);
    CHECK(cache->free_pages() == 2);
    CHECK(memory->calls == 1);
    REQUIRE(cache->truncate(a, 3).ok());
    CHECK(cache->grow(b, 3).ok());
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("a mapping that fails half way is undone, and succeeds when tried again") {
    for (int failure = 0; failure < 3; failure++) {
        auto [cache, memory] = make_failing(8, 2, 8);
        const uint32_t window = open_window(*cache);
        REQUIRE(cache->grow(window, 1).ok());
        // 7, 5, 3: three runs, three calls.
        std::vector<int32_t> pages;
        for (uint32_t i = 1; i < 8; i++)
            if (const uint32_t page = allocate(*cache); page % 2 == 1)
                pages.insert(pages.begin(), static_cast<int32_t>(page));
        pages.pop_back();
        REQUIRE(pages.size() == 3);
        const KvCacheStats before = cache->stats();
        memory->maps_until_failure = failure;
        CHECK(cache->map(window, pages).code == "KVPAGE_OUT_OF_MEMORY");
        CHECK(mapped(*cache, window) == 1);
        CHECK(faults(address(*cache, window, kPage)));
        CHECK(faults(address(*cache, window, 2 * kPage)));
        CHECK(cache->stats().areas == before.areas);
        CHECK(cache->stats().mapped_bytes == before.mapped_bytes);
        CHECK(references(*cache, 3) == 1);
        CHECK(cache->check_integrity().ok());
        memory->maps_until_failure = -1;
        CHECK(cache->map(window, pages).ok());
        CHECK(mapped(*cache, window) == 4);
        CHECK(cache->check_integrity().ok());
    }
}

TEST_CASE("grow that fails in the kernel gives its pages back in the order they had") {
    auto [cache, memory] = make_failing(8, 2, 8);
    const uint32_t window = open_window(*cache);
    memory->maps_until_failure = 0;
    CHECK(cache->grow(window, 4).code == "KVPAGE_OUT_OF_MEMORY");
    CHECK(cache->free_pages() == 8);
    CHECK(cache->check_integrity().ok());
    REQUIRE(cache->grow(window, 4).ok());
    CHECK(page_at(*cache, window, 0) == 0);
    CHECK(page_at(*cache, window, 3) == 3);
}

TEST_CASE("a shared page is one page: written through one window, read through another") {
    auto cache = make_cache(8, 2);
    const uint32_t a = open_window(*cache);
    const uint32_t b = open_window(*cache);
    REQUIRE(cache->grow(a, 2).ok());
    const auto page = static_cast<int32_t>(page_at(*cache, a, 1));
    REQUIRE(cache->map(b, std::vector<int32_t>{page, page}).ok());
    CHECK(references(*cache, static_cast<uint32_t>(page)) == 3);
    CHECK(cache->stats().shared_bytes == kPage);
    CHECK(cache->stats().mapped_bytes == 4 * kPage);
    *address(*cache, a, kPage + 9) = std::byte{7};
    CHECK(*address(*cache, b, 9) == std::byte{7});
    CHECK(*address(*cache, b, kPage + 9) == std::byte{7});
    REQUIRE(cache->close_window(a).ok());
    CHECK(*address(*cache, b, 9) == std::byte{7});
    CHECK(cache->free_pages() == 7);
    REQUIRE(cache->close_window(b).ok());
    CHECK(cache->free_pages() == 8);
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("a retained page outlives its window and moves to another with its bytes") {
    auto cache = make_cache(8, 2);
    const uint32_t a = open_window(*cache);
    REQUIRE(cache->grow(a, 1).ok());
    const uint32_t page = page_at(*cache, a, 0);
    REQUIRE(cache->retain(page).ok());
    REQUIRE(cache->write_window(a, 0, filled(33)).ok());
    REQUIRE(cache->close_window(a).ok());
    CHECK(references(*cache, page) == 1);
    const uint32_t b = open_window(*cache);
    REQUIRE(cache->grow(b, 1).ok());
    REQUIRE(cache->map(b, std::vector<int32_t>{static_cast<int32_t>(page)}).ok());
    REQUIRE(cache->release(page).ok());
    std::vector<std::byte> bytes(kPage);
    REQUIRE(cache->read_window(b, kPage, bytes).ok());
    CHECK(bytes == filled(33));
    CHECK(cache->release(page).code == "KVPAGE_PAGE_MAPPED");
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("misuse is refused by code and changes nothing") {
    auto cache = make_cache(4, 2, 1, 3);
    const uint32_t window = open_window(*cache);
    const uint32_t page = allocate(*cache);
    REQUIRE(cache->release(page).ok());
    CHECK(cache->release(page).code == "KVPAGE_PAGE_FREE");
    CHECK(cache->retain(page).code == "KVPAGE_PAGE_FREE");
    CHECK(cache->release(4).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(cache->map(window, std::vector<int32_t>{-1}).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(cache->map(window, std::vector<int32_t>{0}).code == "KVPAGE_PAGE_FREE");
    CHECK(cache->map(window, std::vector<int32_t>{0, 0, 0, 0}).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(cache->grow(2, 1).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(cache->grow(1 - window, 1).code == "KVPAGE_WINDOW_CLOSED");
    CHECK(cache->close_window(1 - window).code == "KVPAGE_WINDOW_CLOSED");
    uint32_t value = 0;
    CHECK(cache->page_at(window, 0, value).code == "KVPAGE_NOT_MAPPED");
    REQUIRE(cache->allocate_host(value).ok());
    CHECK(cache->allocate_host(value).code == "KVPAGE_OUT_OF_HOST_PAGES");
    REQUIRE(cache->release_host(0).ok());
    CHECK(cache->release_host(0).code == "KVPAGE_PAGE_FREE");
    open_window(*cache);
    CHECK(cache->open_window(value).code == "KVPAGE_OUT_OF_WINDOWS");
    CHECK(cache->free_pages() == 4);
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("synchronous access stays inside the mapped length and a page's size") {
    auto cache = make_cache(4, 1);
    const uint32_t window = open_window(*cache);
    REQUIRE(cache->grow(window, 2).ok());
    auto bytes = filled(5);
    CHECK(cache->write_window(window, kPage / 2, bytes).ok());
    CHECK(cache->write_window(window, kPage + 1, bytes).code == "KVPAGE_NOT_MAPPED");
    CHECK(cache->read_window(window, 2 * kPage, bytes).code == "KVPAGE_NOT_MAPPED");
    CHECK(cache->read_window(window, ~size_t{0}, bytes).code == "KVPAGE_NOT_MAPPED");
    CHECK(cache->read_window(window, 2 * kPage, {}).ok());
    CHECK(cache->read_window(window, 2 * kPage + 1, {}).code == "KVPAGE_NOT_MAPPED");
    CHECK(*address(*cache, window, kPage) == std::byte{5});
    const uint32_t page = page_at(*cache, window, 0);
    CHECK(cache->read_page(page, std::span(bytes).first(kPage - 1)).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(cache->zero_page(page).ok());
    CHECK(cache->read_page(page, bytes).ok());
    CHECK(bytes == filled(0));
    CHECK(cache->read_page(3, bytes).code == "KVPAGE_PAGE_FREE");
}
