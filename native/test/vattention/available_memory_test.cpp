#include "vattention/available_memory.h"

#include <filesystem>
#include <fstream>
#include <unistd.h>

#include "doctest/doctest.h"

using kvpage::vattention::available_memory;

namespace {

// A made-up machine under a folder of its own.
class Machine {
  public:
    Machine()
        : root_(std::filesystem::temp_directory_path() / ("kvpage-machine-" + std::to_string(::getpid()))) {
        write("/proc/meminfo", "MemTotal:       2000 kB\nMemFree:         100 kB\nMemAvailable:   1000 kB\n");
    }
    ~Machine() { std::filesystem::remove_all(root_); }

    void write(const std::string &file, const std::string &text) {
        const std::filesystem::path path = root_.string() + file;
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path) << text;
    }
    size_t available() const { return available_memory(root_.string()); }

  private:
    std::filesystem::path root_;
};

} // namespace

TEST_CASE("without control groups the machine decides") {
    CHECK(Machine().available() == 1000 * 1024);
}

TEST_CASE("the tightest control group of version 2 decides; its file cache counts as free") {
    Machine machine;
    machine.write("/proc/self/cgroup", "0::/outer/inner\n");
    const std::string groups = "/sys/fs/cgroup";
    machine.write(groups + "/outer/inner/memory.max", "max\n");
    CHECK(machine.available() == 1000 * 1024);
    machine.write(groups + "/outer/memory.max", "500000\n");
    machine.write(groups + "/outer/memory.current", "400000\n");
    machine.write(groups + "/outer/memory.stat", "anon 1\ninactive_file 50000\nactive_file 7\n");
    CHECK(machine.available() == 150000);
    machine.write(groups + "/outer/inner/memory.max", "90000\n");
    CHECK(machine.available() == 90000);
    machine.write(groups + "/outer/inner/memory.current", "95000\n");
    CHECK(machine.available() == 0);
}

TEST_CASE("a control group of version 1 decides") {
    Machine machine;
    machine.write("/proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n");
    machine.write("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "300000\n");
    machine.write("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "100000\n");
    machine.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK(machine.available() == 200000);
}

TEST_CASE("a machine that says nothing limits nothing, the real one says something") {
    CHECK(available_memory("/nowhere") > (size_t{1} << 62));
    CHECK(available_memory() > 0);
    CHECK(available_memory() < (size_t{1} << 50));
}
