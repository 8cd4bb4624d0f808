#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include "vattention/available_memory.h"
#include "vattention/virtual_memory.h"

namespace kvpage::vattention {
namespace {

constexpr size_t kGuardBytes = size_t{1} << 20;
// Small enough that a profiler's signals, which undo an allocation half way, cannot starve it.
constexpr size_t kAllocationStep = size_t{16} << 20;
// Left to the rest of the machine: an arena that takes the last byte makes the kernel kill somebody else.
constexpr size_t kHeadroom = size_t{256} << 20;

Status system_error(const std::string &call, size_t bytes) {
    return Status::error("KVPAGE_OUT_OF_MEMORY",
                         call + " of " + std::to_string(bytes) + " bytes failed: " + std::strerror(errno));
}

Status check_available(size_t bytes) {
    const size_t available = available_memory();
    const size_t usable = available - std::min(available / 16, kHeadroom);
    if (bytes > usable)
        return Status::error("KVPAGE_OUT_OF_MEMORY", std::to_string(bytes) +
                                                         " bytes wanted; the machine has " +
                                                         std::to_string(usable) + " to spare");
    rlimit file_size{};
    // The kernel answers a file beyond this limit with SIGXFSZ, not with an error.
    if (::getrlimit(RLIMIT_FSIZE, &file_size) == 0 && file_size.rlim_cur < bytes)
        return Status::error("KVPAGE_OUT_OF_MEMORY",
                             std::to_string(bytes) +
                                 " bytes wanted; the limit of file sizes (ulimit -f) is " +
                                 std::to_string(file_size.rlim_cur));
    return Status::success();
}

class PosixMemory final : public VirtualMemory {
  public:
    ~PosixMemory() override {
        for (const Range &range : ranges_)
            ::munmap(range.address, range.bytes);
        if (fd_ >= 0)
            ::close(fd_);
    }

    Status create(size_t arena_bytes, size_t host_bytes) {
        if (Status status = check_available(arena_bytes + host_bytes); !status.ok())
            return status;
        fd_ = ::memfd_create("kvpage", MFD_CLOEXEC);
        if (fd_ < 0)
            return system_error("memfd_create", arena_bytes);
        // Not ftruncate: a hole would be filled, or refused with SIGBUS, at first touch.
        for (size_t done = 0; done < arena_bytes;) {
            const size_t step = std::min(arena_bytes - done, kAllocationStep);
            if (::fallocate(fd_, 0, static_cast<off_t>(done), static_cast<off_t>(step)) == 0)
                done += step;
            else if (errno != EINTR)
                return system_error("allocating physical memory", arena_bytes);
        }
        Status status = mmap(arena_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, arena_);
        if (status.ok())
            arena_bytes_ = arena_bytes;
        return status;
    }

    size_t granularity() const override { return posix_granularity(); }
    std::byte *arena() const override { return arena_; }
    size_t arena_bytes() const override { return arena_bytes_; }

    Status reserve(size_t bytes, std::byte *&address) override {
        std::byte *start = nullptr;
        Status status =
            mmap(bytes + 2 * kGuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, start);
        if (status.ok())
            address = start + kGuardBytes;
        return status;
    }

    Status map(std::byte *address, size_t offset, size_t bytes) override {
        // Populated now: 2 MiB take 130 us so, 470 in faults of 4 KiB each during the first attention.
        void *mapped = ::mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
                              fd_, static_cast<off_t>(offset));
        return mapped == MAP_FAILED ? system_error("mmap", bytes) : Status::success();
    }

    Status unmap(std::byte *address, size_t bytes) override {
        // Mapped over, never munmap'ed: a hole in the reservation could be taken by another mmap of the
        // process.
        void *mapped =
            ::mmap(address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        return mapped == MAP_FAILED ? system_error("mmap PROT_NONE", bytes) : Status::success();
    }

    Status allocate_host(size_t bytes, std::byte *&address) override {
        // Without MAP_NORESERVE: where the machine does not overcommit, the bytes are set aside here.
        return mmap(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, address);
    }

    void copy_to_host(std::byte *host, const std::byte *device, size_t bytes) const override {
        std::memcpy(host, device, bytes);
    }
    void copy_to_device(std::byte *device, const std::byte *host, size_t bytes) const override {
        std::memcpy(device, host, bytes);
    }
    void zero(std::byte *device, size_t bytes) const override { std::memset(device, 0, bytes); }

    size_t areas_limit() const override {
        size_t limit = 65530;
        if (std::FILE *file = std::fopen("/proc/sys/vm/max_map_count", "r")) {
            if (std::fscanf(file, "%zu", &limit) != 1)
                limit = 65530;
            std::fclose(file);
        }
        return limit;
    }

  private:
    struct Range {
        void *address;
        size_t bytes;
    };

    // A mapping at an address of the kernel's choice that lives as long as this object.
    Status mmap(size_t bytes, int protection, int flags, int fd, std::byte *&address) {
        void *mapped = ::mmap(nullptr, bytes, protection, flags, fd, 0);
        if (mapped == MAP_FAILED)
            return system_error("mapping", bytes);
        ranges_.push_back({mapped, bytes});
        address = static_cast<std::byte *>(mapped);
        return Status::success();
    }

    int fd_ = -1;
    std::byte *arena_ = nullptr;
    size_t arena_bytes_ = 0;
    std::vector<Range> ranges_;
};

} // namespace

Status create_posix_memory(size_t arena_bytes, size_t host_bytes, std::unique_ptr<VirtualMemory> &out) {
    auto memory = std::make_unique<PosixMemory>();
    Status status = memory->create(arena_bytes, host_bytes);
    if (status.ok())
        out = std::move(memory);
    return status;
}

size_t posix_granularity() {
    return static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace kvpage::vattention
