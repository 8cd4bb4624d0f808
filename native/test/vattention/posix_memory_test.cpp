#include "support.h"

using namespace kvpage::vattention;
using namespace kvpage::vattention::test;

TEST_CASE("an arena beyond what the machine has is an error, not a kill") {
    std::unique_ptr<VirtualMemory> memory;
    CHECK(create_posix_memory(size_t{1} << 45, 0, memory).code == "KVPAGE_OUT_OF_MEMORY");
    CHECK(create_posix_memory(kPage, size_t{1} << 45, memory).code == "KVPAGE_OUT_OF_MEMORY");
    CHECK(memory == nullptr);
}

TEST_CASE("a reservation beyond the address space is an error") {
    std::unique_ptr<VirtualMemory> memory;
    REQUIRE(create_posix_memory(kPage, 0, memory).ok());
    std::byte *address = nullptr;
    CHECK(memory->reserve(size_t{1} << 50, address).code == "KVPAGE_OUT_OF_MEMORY");
}

TEST_CASE("reserved addresses fault until they are mapped and after they are unmapped") {
    std::unique_ptr<VirtualMemory> memory;
    REQUIRE(create_posix_memory(4 * kPage, 0, memory).ok());
    std::byte *base = nullptr;
    REQUIRE(memory->reserve(4 * kPage, base).ok());
    CHECK(faults(base));
    REQUIRE(memory->map(base + kPage, 2 * kPage, kPage).ok());
    CHECK_FALSE(faults(base + kPage));
    CHECK_FALSE(faults(base + 2 * kPage - 1, true));
    CHECK(faults(base + kPage - 1));
    CHECK(faults(base + 2 * kPage));
    CHECK(faults(base + 2 * kPage, true));
    REQUIRE(memory->unmap(base + kPage, kPage).ok());
    CHECK(faults(base + kPage));
    // The guards.
    CHECK(faults(base - 1));
    CHECK(faults(base + 4 * kPage));
}

TEST_CASE("one range mapped twice, and the arena, show the same bytes") {
    std::unique_ptr<VirtualMemory> memory;
    REQUIRE(create_posix_memory(4 * kPage, 0, memory).ok());
    std::byte *base = nullptr;
    REQUIRE(memory->reserve(4 * kPage, base).ok());
    REQUIRE(memory->map(base, kPage, kPage).ok());
    REQUIRE(memory->map(base + 3 * kPage, kPage, kPage).ok());
    base[5] = std::byte{42};
    CHECK(base[3 * kPage + 5] == std::byte{42});
    CHECK(memory->arena()[kPage + 5] == std::byte{42});
}
