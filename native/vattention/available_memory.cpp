#include "vattention/available_memory.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace kvpage::vattention {
namespace {

constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

// The number behind `key` in a file of "key number" lines; the first number where `key` is empty.
size_t read_number(const std::string &file, const std::string &key, size_t otherwise) {
    std::ifstream in(file);
    std::string word;
    uint64_t number = 0;
    while (key.empty() || in >> word) {
        if (key.empty() || word == key)
            return in >> number ? number : otherwise;
        in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    }
    return otherwise;
}

struct GroupFiles {
    const char *mount;
    const char *limit;
    const char *usage;
    const char *cache; // key in memory.stat
};

constexpr GroupFiles kVersion1{"/sys/fs/cgroup/memory", "/memory.limit_in_bytes", "/memory.usage_in_bytes",
                               "total_inactive_file"};
constexpr GroupFiles kVersion2{"/sys/fs/cgroup", "/memory.max", "/memory.current", "inactive_file"};

// The least that a group or one of those above it still allows; "max" or an absent file allows everything.
size_t group_allows(const std::string &root, const GroupFiles &files, std::string path) {
    size_t least = kUnlimited;
    while (true) {
        const std::string group = root + files.mount + path;
        const size_t limit = read_number(group + files.limit, "", kUnlimited);
        if (limit != kUnlimited) {
            const size_t usage = read_number(group + files.usage, "", 0);
            const size_t cache = std::min(usage, read_number(group + "/memory.stat", files.cache, 0));
            least = std::min(least, limit - std::min(limit, usage - cache));
        }
        const size_t parent = path.find_last_of('/');
        if (parent == std::string::npos)
            return least;
        path.resize(parent);
    }
}

bool has_item(const std::string &list, const std::string &item) {
    std::istringstream in(list);
    for (std::string word; std::getline(in, word, ',');)
        if (word == item)
            return true;
    return false;
}

} // namespace

size_t available_memory(const std::string &root) {
    size_t least = read_number(root + "/proc/meminfo", "MemAvailable:", kUnlimited / 1024) * 1024;
    // Lines are "number:controllers:path"; version 2 names no controllers.
    std::ifstream groups(root + "/proc/self/cgroup");
    std::string number, controllers, path;
    while (std::getline(groups, number, ':') && std::getline(groups, controllers, ':') &&
           std::getline(groups, path)) {
        if (path == "/")
            path.clear();
        if (controllers.empty())
            least = std::min(least, group_allows(root, kVersion2, path));
        else if (has_item(controllers, "memory"))
            least = std::min(least, group_allows(root, kVersion1, path));
    }
    return least;
}

} // namespace kvpage::vattention
