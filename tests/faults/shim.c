/* Counts the file operations of a process below a directory, and lets one of them go wrong.

   Preloaded (LD_PRELOAD), it stands before the C library. `faults_arm` names the directory, the operation by its
   number, and what shall happen there; until then nothing is counted. The process is killed as by `kill -9`: what it
   has in memory is lost, and what it has given to the kernel is not. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTHING, KILL_BEFORE, KILL_AFTER, KILL_TORN, FAIL_ONCE, FAIL_FROM, SHORT };

static atomic_long count;
static atomic_int armed;
static long target;
static int mode, code, reads_too;
static char prefix[4096];
static size_t prefix_size;

void faults_arm(const char *directory, long point, int what, int error, int reads) {
    snprintf(prefix, sizeof prefix, "%s", directory);
    prefix_size = strlen(prefix);
    target = point, mode = what, code = error, reads_too = reads;
    atomic_store(&count, 0);
    atomic_store(&armed, 1);
}

long faults_disarm(void) {
    atomic_store(&armed, 0);
    return atomic_load(&count);
}

static int below(int directory, const char *path) {
    char place[4096], link[64];
    if (path && path[0] == '/') return !strncmp(path, prefix, prefix_size);
    if (directory == AT_FDCWD) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t size = readlink(link, place, sizeof place - 1);
    return size >= (ssize_t)prefix_size && !memcmp(place, prefix, prefix_size);
}

/* What shall happen to this operation: NOTHING, or `mode` where it is the one. */
static int now(int directory, const char *path, int changes) {
    if (!atomic_load(&armed) || !(changes || reads_too) || !below(directory, path)) return NOTHING;
    long here = atomic_fetch_add(&count, 1) + 1;
    if (here != target && !(mode == FAIL_FROM && here > target && target > 0)) return NOTHING;
    if (mode == KILL_BEFORE) kill(getpid(), SIGKILL);
    return mode;
}

static int fails(int what) {
    if (what != FAIL_ONCE && what != FAIL_FROM) return 0;
    errno = code;
    return 1;
}

static void after(int what) {
    if (what == KILL_AFTER || what == KILL_TORN) kill(getpid(), SIGKILL);
}

#define REAL(type, name, ...)                                  \
    static type (*real)(__VA_ARGS__);                          \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define CALL(type, directory, path, changes, ...)              \
    do {                                                       \
        int what = now(directory, path, changes);              \
        if (fails(what)) return -1;                            \
        type result = real(__VA_ARGS__);                       \
        after(what);                                           \
        return result;                                         \
    } while (0)

#define OPEN(name)                                                                          \
    int name(const char *path, int flags, ...) {                                            \
        va_list rest;                                                                       \
        va_start(rest, flags);                                                              \
        mode_t bits = va_arg(rest, mode_t);                                                 \
        va_end(rest);                                                                       \
        REAL(int, #name, const char *, int, ...);                                           \
        CALL(int, AT_FDCWD, path, flags & (O_CREAT | O_TRUNC), path, flags, bits);          \
    }
#define OPENAT(name)                                                                        \
    int name(int directory, const char *path, int flags, ...) {                             \
        va_list rest;                                                                       \
        va_start(rest, flags);                                                              \
        mode_t bits = va_arg(rest, mode_t);                                                 \
        va_end(rest);                                                                       \
        REAL(int, #name, int, const char *, int, ...);                                      \
        CALL(int, directory, path, flags & (O_CREAT | O_TRUNC), directory, path, flags, bits); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    int what = now(file, NULL, 1);
    if (fails(what)) return -1;
    ssize_t result = real(file, data, (what == KILL_TORN || what == SHORT) && size > 1 ? size / 2 : size);
    after(what);
    return result;
}

ssize_t read(int file, void *data, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    CALL(ssize_t, file, NULL, 0, file, data, size);
}

ssize_t readv(int file, const struct iovec *parts, int number) {
    REAL(ssize_t, "readv", int, const struct iovec *, int);
    CALL(ssize_t, file, NULL, 0, file, parts, number);
}

#define PREADV(name)                                                              \
    ssize_t name(int file, const struct iovec *parts, int number, off_t at) {     \
        REAL(ssize_t, #name, int, const struct iovec *, int, off_t);              \
        CALL(ssize_t, file, NULL, 0, file, parts, number, at);                    \
    }
PREADV(preadv)
PREADV(preadv64)

int rename(const char *old, const char *new) {
    REAL(int, "rename", const char *, const char *);
    CALL(int, AT_FDCWD, new, 1, old, new);
}

int renameat(int from, const char *old, int to, const char *new) {
    REAL(int, "renameat", int, const char *, int, const char *);
    CALL(int, to, new, 1, from, old, to, new);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned);
    CALL(int, to, new, 1, from, old, to, new, flags);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int);
    CALL(int, to, new, 1, from, old, to, new, flags);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    CALL(int, AT_FDCWD, path, 1, path);
}

int unlinkat(int directory, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    CALL(int, directory, path, 1, directory, path, flags);
}

int rmdir(const char *path) {
    REAL(int, "rmdir", const char *);
    CALL(int, AT_FDCWD, path, 1, path);
}

int mkdir(const char *path, mode_t bits) {
    REAL(int, "mkdir", const char *, mode_t);
    CALL(int, AT_FDCWD, path, 1, path, bits);
}

int mkdirat(int directory, const char *path, mode_t bits) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    CALL(int, directory, path, 1, directory, path, bits);
}

int fchmodat(int directory, const char *path, mode_t bits, int flags) {
    REAL(int, "fchmodat", int, const char *, mode_t, int);
    CALL(int, directory, path, 1, directory, path, bits, flags);
}

#define TRUNCATE(name)                                                  \
    int name(int file, off_t size) {                                    \
        REAL(int, #name, int, off_t);                                   \
        CALL(int, file, NULL, 1, file, size);                           \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(name)                                                      \
    int name(int file) {                                                \
        REAL(int, #name, int);                                          \
        CALL(int, file, NULL, 1, file);                                 \
    }
SYNC(fsync)
SYNC(fdatasync)
SYNC(syncfs)

/* Some file systems report a failed write only here; what was opened for reading does not fail. */
int close(int file) {
    REAL(int, "close", int);
    int flags = atomic_load(&armed) ? fcntl(file, F_GETFL) : -1;
    int writes = flags != -1 && !(flags & O_PATH) && (flags & O_ACCMODE) == O_WRONLY;
    int what = writes ? now(file, NULL, 1) : NOTHING;
    int result = real(file);
    after(what);
    return fails(what) ? -1 : result;
}
