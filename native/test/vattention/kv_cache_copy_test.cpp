#include <thread>

#include "support.h"

using namespace kvpage::vattention;
using namespace kvpage::vattention::test;
using Direction = KvCache::Direction;
using Pages = std::vector<int32_t>;

namespace {

Status copy(KvCache &cache, Direction direction, const Pages &pages, const Pages &host_pages) {
    Status status = cache.begin_copy(direction, pages, host_pages);
    if (!status.ok())
        return status;
    cache.run_copy(direction, pages, host_pages);
    cache.end_copy(pages, host_pages);
    return status;
}

std::unique_ptr<KvCache> make_held(uint32_t pages, uint32_t host_pages) {
    auto cache = make_cache(pages, 2, host_pages);
    uint32_t page = 0;
    for (uint32_t i = 0; i < pages; i++)
        REQUIRE(cache->allocate(page).ok());
    for (uint32_t i = 0; i < host_pages; i++)
        REQUIRE(cache->allocate_host(page).ok());
    return cache;
}

} // namespace

TEST_CASE("bytes survive out and in, to other pages in another order") {
    auto cache = make_held(6, 3);
    for (int i = 0; i < 3; i++)
        REQUIRE(cache->write_page(static_cast<uint32_t>(i), filled(10 + i)).ok());
    REQUIRE(copy(*cache, Direction::out, {0, 1, 2}, {2, 0, 1}).ok());
    for (uint32_t i = 0; i < 6; i++)
        REQUIRE(cache->zero_page(i).ok());
    REQUIRE(copy(*cache, Direction::in, {5, 3, 4}, {2, 0, 1}).ok());
    std::vector<std::byte> bytes(kPage);
    const int expected[] = {11, 12, 10};
    for (uint32_t i = 0; i < 3; i++) {
        REQUIRE(cache->read_page(3 + i, bytes).ok());
        CHECK(bytes == filled(expected[i]));
    }
    REQUIRE(cache->read_host_page(2, bytes).ok());
    CHECK(bytes == filled(10));
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("a copy is refused as a whole, and marks nothing then") {
    auto cache = make_held(4, 4);
    REQUIRE(cache->release(3).ok());
    CHECK(copy(*cache, Direction::out, {0, 1}, {0}).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(copy(*cache, Direction::out, {0, 3}, {0, 1}).code == "KVPAGE_PAGE_FREE");
    CHECK(copy(*cache, Direction::out, {0, 4}, {0, 1}).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(copy(*cache, Direction::out, {0, 1}, {0, -1}).code == "KVPAGE_INVALID_ARGUMENT");
    CHECK(copy(*cache, Direction::out, {0, 1}, {2, 2}).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(copy(*cache, Direction::in, {1, 1}, {0, 2}).code == "KVPAGE_PAGE_IN_FLIGHT");
    for (uint32_t page = 0; page < 3; page++)
        CHECK(cache->release(page).ok());
    for (uint32_t page = 0; page < 4; page++)
        CHECK(cache->release_host(page).ok());
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("what a copy reads may be read, what it writes may not be touched, neither may be freed") {
    auto cache = make_held(4, 4);
    std::vector<std::byte> bytes(kPage);
    const Pages pages{0};
    const Pages host{1};
    REQUIRE(cache->begin_copy(Direction::out, pages, host).ok());
    CHECK(cache->release(0).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(cache->release_host(1).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(cache->read_page(0, bytes).ok());
    CHECK(cache->write_page(0, bytes).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(cache->zero_page(0).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(cache->read_host_page(1, bytes).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(copy(*cache, Direction::out, {0}, {2}).ok());
    CHECK(copy(*cache, Direction::in, {0}, {2}).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(copy(*cache, Direction::in, {2}, {1}).code == "KVPAGE_PAGE_IN_FLIGHT");
    cache->end_copy(pages, host);

    REQUIRE(cache->begin_copy(Direction::in, pages, host).ok());
    CHECK(cache->read_page(0, bytes).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(cache->read_host_page(1, bytes).ok());
    CHECK(copy(*cache, Direction::out, {0}, {2}).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(copy(*cache, Direction::in, {3}, {1}).ok());
    CHECK(cache->release_host(1).code == "KVPAGE_PAGE_IN_FLIGHT");
    cache->end_copy(pages, host);
    CHECK(cache->release(0).ok());
    CHECK(cache->release_host(1).ok());
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("a window may let go of a page in flight unless that frees it, however often it maps it") {
    auto cache = make_cache(4, 2, 1);
    uint32_t host_page = 0;
    REQUIRE(cache->allocate_host(host_page).ok());
    const uint32_t a = open_window(*cache);
    const uint32_t b = open_window(*cache);
    const auto page = static_cast<int32_t>(allocate(*cache));
    const Pages pages{page};
    const Pages host{0};
    REQUIRE(cache->map(a, Pages{page, page}).ok());
    REQUIRE(cache->map(b, pages).ok());
    REQUIRE(cache->release(static_cast<uint32_t>(page)).ok());
    REQUIRE(cache->begin_copy(Direction::out, pages, host).ok());
    CHECK(cache->write_window(a, kPage, filled(1)).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(cache->close_window(b).ok());
    CHECK(cache->close_window(a).code == "KVPAGE_PAGE_IN_FLIGHT");
    CHECK(mapped(*cache, a) == 2);
    CHECK(cache->truncate(a, 1).ok());
    CHECK(cache->truncate(a, 0).code == "KVPAGE_PAGE_IN_FLIGHT");
    cache->end_copy(pages, host);
    CHECK(cache->close_window(a).ok());
    CHECK(cache->free_pages() == 4);
    CHECK(cache->check_integrity().ok());
}

TEST_CASE("copies on other threads beside a growing and closing window") {
    auto cache = make_cache(16, 4, 8);
    uint32_t ignored = 0;
    Pages pages;
    Pages host;
    for (int32_t i = 0; i < 8; i++) {
        pages.push_back(static_cast<int32_t>(allocate(*cache)));
        REQUIRE(cache->write_page(static_cast<uint32_t>(pages.back()), filled(i + 1)).ok());
        REQUIRE(cache->allocate_host(ignored).ok());
        host.push_back(i);
    }
    const auto first = std::span(pages).first(4), second = std::span(pages).subspan(4);
    const auto first_host = std::span(host).first(4), second_host = std::span(host).subspan(4);
    for (int round = 0; round < 50; round++) {
        const Direction direction = round % 2 == 0 ? Direction::out : Direction::in;
        REQUIRE(cache->begin_copy(direction, first, first_host).ok());
        REQUIRE(cache->begin_copy(direction, second, second_host).ok());
        std::thread one([&] { cache->run_copy(direction, first, first_host); });
        std::thread two([&] { cache->run_copy(direction, second, second_host); });
        const uint32_t window = open_window(*cache);
        CHECK(cache->grow(window, 8).ok());
        CHECK(cache->write_window(window, 0, filled(99)).ok());
        CHECK(cache->map(window, {}).ok());
        CHECK(cache->close_window(window).ok());
        one.join();
        two.join();
        cache->end_copy(first, first_host);
        cache->end_copy(second, second_host);
    }
    std::vector<std::byte> bytes(kPage);
    for (int i = 0; i < 8; i++) {
        REQUIRE(cache->read_page(static_cast<uint32_t>(pages[static_cast<size_t>(i)]), bytes).ok());
        CHECK(bytes == filled(i + 1));
    }
    CHECK(cache->check_integrity().ok());
}
