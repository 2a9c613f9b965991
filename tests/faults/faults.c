/* Breaks the N-th file operation of a process: preloaded (LD_PRELOAD), it stands between everything that is loaded,
 * native libraries too, and the C library. Only what happens under one folder counts. `injector.py` builds and uses it.
 *
 * Writing to memory that is mapped from a file passes by unseen, so making such a map counts as a change.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name)                                                   \
    static __typeof__(name) *real;                                   \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* As in `injector.Kind`. */
enum kind { COUNT, ERROR, LOST, FULL, SHORT, KILL, POWER, UNREADABLE, GONE, VANISHED, CUT, KINDS };

/* What becomes of an operation. */
enum verdict { PASS, FAIL, HALF, HALF_THEN_FAIL };

/* What an operation does. FIND reads by a name, READ from an open file; GROW takes space, WRITE takes it by the byte. */
enum effect { FIND, READ, CHANGE, GROW, WRITE };

struct report {
    atomic_long operations;
    atomic_long struck; /* how many operations were broken */
    atomic_long met[KINDS]; /* where none is: how many each kind can meet */
    char what[PATH_MAX];
};

static struct report *report; /* shared with the parent, which reads it after a kill */
static char root[PATH_MAX];
static size_t root_length;
static enum kind kind;
static long at;
static int kills_readers; /* whether a job may be killed where it only reads */
static int log_fd = -1;
static atomic_int armed;

/* Files that were written to and not flushed since: what a power cut takes. */
static struct { dev_t device; ino_t inode; int fd; } unflushed[1024];
static int unflushed_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

EXPORT struct report *faults_report(void) {
    if (!report)
        report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return report;
}

/* Break operation number `number` (from 1) under `folder`, which must be an absolute path without links. */
EXPORT void faults_arm(const char *folder, int new_kind, long number, int reads, int log) {
    faults_report();
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    kind = new_kind;
    at = number;
    kills_readers = reads;
    log_fd = log;
    atomic_store(&armed, 1);
}

/* Leave alone what a job does before and after the work that is meant. */
EXPORT void faults_watch(int is_on) { atomic_store(&armed, is_on && root_length); }

/* End as by a power cut: what was not flushed is lost, and nothing runs any more. */
EXPORT void faults_cut(void) {
    for (int i = 0; i < unflushed_count; i++) syscall(SYS_ftruncate, unflushed[i].fd, 0);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int is_inside(const char *path) {
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || path[root_length] == 0);
}

/* Write the path of `fd` into `path`; returns whether it is under the folder. */
static int path_of_fd(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0 && is_inside(path);
}

/* The same of a path that is relative to the folder `at_fd`. */
static int path_at(int at_fd, const char *name, char *path) {
    if (!name) return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return is_inside(path);
    }
    char base[PATH_MAX];
    if (at_fd == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        path_of_fd(at_fd, base);
    }
    size_t length = strlen(base);
    if (length + strlen(name) + 2 > PATH_MAX) return 0;
    memcpy(path, base, length);
    path[length] = '/';
    strcpy(path + length + 1, name);
    return is_inside(path);
}

static void note(int fd) {
    struct stat found;
    if (kind != POWER || fstat(fd, &found)) return;
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < unflushed_count && (unflushed[i].inode != found.st_ino || unflushed[i].device != found.st_dev)) i++;
    if (i == unflushed_count && i < 1024) {
        unflushed[i].device = found.st_dev;
        unflushed[i].inode = found.st_ino;
        unflushed[i].fd = fcntl(fd, F_DUPFD_CLOEXEC, 500);
        unflushed_count++;
    }
    pthread_mutex_unlock(&lock);
}

static void forget(int fd) {
    struct stat found;
    if (kind != POWER || fstat(fd, &found)) return;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < unflushed_count; i++)
        if (unflushed[i].inode == found.st_ino && unflushed[i].device == found.st_dev) {
            syscall(SYS_close, unflushed[i].fd);
            unflushed[i] = unflushed[--unflushed_count];
            break;
        }
    pthread_mutex_unlock(&lock);
}

static int meets(enum kind which, enum effect effect) {
    int is_reading = effect == READ || effect == FIND;
    switch (which) {
    case UNREADABLE:
    case GONE: return is_reading;
    case VANISHED: return effect == FIND;
    case CUT: return effect == READ;
    case SHORT: return effect == WRITE;
    case KILL: return !is_reading || kills_readers;
    default: return !is_reading;
    }
}

/* Count an operation and say what becomes of it; errno is set for a failure. */
static enum verdict judge(const char *name, const char *path, enum effect effect) {
    if (kind == COUNT)
        for (int which = ERROR; which < KINDS; which++)
            if (meets(which, effect)) atomic_fetch_add(&report->met[which], 1);
    if (!meets(kind, effect)) return PASS;
    long number = atomic_fetch_add(&report->operations, 1) + 1;
    if (log_fd >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s %s\n", number, name, path);
        syscall(SYS_write, log_fd, line, length);
    }
    int is_struck = number == at;
    if (kind == LOST || kind == GONE || kind == VANISHED || kind == CUT) is_struck = number >= at;
    if (kind == FULL) is_struck = number >= at && (effect == GROW || effect == WRITE);
    if (kind == COUNT || !is_struck) return PASS;
    if (atomic_fetch_add(&report->struck, 1) == 0)
        snprintf(report->what, sizeof report->what, "%s %s", name, path + root_length);
    switch (kind) {
    case FULL: errno = ENOSPC; return effect == WRITE && number == at ? HALF_THEN_FAIL : FAIL;
    case SHORT: return HALF;
    case KILL:
    case POWER:
        if (effect != WRITE) faults_cut();
        return HALF_THEN_FAIL; /* torn: `finish` ends the process */
    case VANISHED: errno = ENOENT; return FAIL;
    default: errno = EIO; return FAIL;
    }
}

static enum verdict judge_fd(const char *name, int fd, enum effect effect) {
    char path[PATH_MAX];
    if (!atomic_load(&armed)) return PASS;
    if (!path_of_fd(fd, path)) return PASS;
    return judge(name, path, effect);
}

static enum verdict judge_at(const char *name, int at_fd, const char *file, enum effect effect) {
    char path[PATH_MAX];
    if (!atomic_load(&armed)) return PASS;
    if (!path_at(at_fd, file, path)) return PASS;
    return judge(name, path, effect);
}

/* Answer a write of which `done` bytes, half of it, have been written. */
static ssize_t finish(enum verdict verdict, ssize_t done) {
    if (verdict == HALF) return done;
    if (kind == KILL || kind == POWER) faults_cut();
    if (done > 0) return done; /* what the kernel does on a full disk: short first, then the error */
    errno = ENOSPC;
    return -1;
}

/* ---- opening and closing ---- */

static enum effect effect_of(int flags) {
    if (flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE) return GROW;
    return (flags & O_ACCMODE) == O_RDONLY ? FIND : CHANGE;
}

#define MODE(flags)                                                    \
    mode_t mode = 0;                                                   \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {     \
        va_list list;                                                  \
        va_start(list, flags);                                         \
        mode = va_arg(list, mode_t);                                   \
        va_end(list);                                                  \
    }

static int open_at(int at_fd, const char *path, int flags, mode_t mode) {
    if (judge_at("open", at_fd, path, effect_of(flags)) != PASS) return -1;
    int fd = syscall(SYS_openat, at_fd, path, flags, mode);
    return fd;
}

EXPORT int open(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
EXPORT int open64(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
EXPORT int openat(int fd, const char *path, int flags, ...) { MODE(flags) return open_at(fd, path, flags, mode); }
EXPORT int openat64(int fd, const char *path, int flags, ...) { MODE(flags) return open_at(fd, path, flags, mode); }
EXPORT int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
EXPORT int __open64_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
EXPORT int __openat_2(int fd, const char *path, int flags) { return open_at(fd, path, flags, 0); }
EXPORT int __openat64_2(int fd, const char *path, int flags) { return open_at(fd, path, flags, 0); }
EXPORT int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
EXPORT int creat64(const char *path, mode_t mode) { return creat(path, mode); }

static enum effect effect_of_mode(const char *mode) { return mode[0] == 'r' && !strchr(mode, '+') ? FIND : GROW; }

EXPORT FILE *fopen(const char *path, const char *mode) {
    REAL(fopen);
    return judge_at("open", AT_FDCWD, path, effect_of_mode(mode)) == PASS ? real(path, mode) : NULL;
}

EXPORT FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }

static int is_writable(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

EXPORT int close(int fd) {
    enum verdict verdict = atomic_load(&armed) && is_writable(fd) ? judge_fd("close", fd, CHANGE) : PASS;
    int error = errno;
    int result = syscall(SYS_close, fd);
    if (verdict == PASS) return result;
    errno = error; /* the descriptor is gone all the same */
    return -1;
}

EXPORT int fclose(FILE *file) {
    REAL(fclose);
    int fd = fileno(file);
    enum verdict verdict = atomic_load(&armed) && is_writable(fd) ? judge_fd("close", fd, CHANGE) : PASS;
    int error = errno;
    int result = real(file);
    if (verdict == PASS) return result;
    errno = error;
    return EOF;
}

/* ---- writing ---- */

/* A file that takes bytes now; those of one byte cannot be written in part. */
static enum verdict judge_write(int fd, size_t size) {
    char path[PATH_MAX];
    if (!atomic_load(&armed) || !path_of_fd(fd, path) || (kind == SHORT && size < 2)) return PASS;
    enum verdict verdict = judge("write", path, WRITE);
    if (verdict != FAIL) note(fd);
    return verdict;
}

EXPORT ssize_t write(int fd, const void *data, size_t size) {
    enum verdict verdict = judge_write(fd, size);
    if (verdict == FAIL) return -1;
    if (verdict == PASS) return syscall(SYS_write, fd, data, size);
    return finish(verdict, size / 2 ? syscall(SYS_write, fd, data, size / 2) : 0);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    enum verdict verdict = judge_write(fd, size);
    if (verdict == FAIL) return -1;
    if (verdict == PASS) return syscall(SYS_pwrite64, fd, data, size, offset);
    return finish(verdict, size / 2 ? syscall(SYS_pwrite64, fd, data, size / 2, offset) : 0);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!atomic_load(&armed)) return syscall(SYS_writev, fd, parts, count);
    char path[PATH_MAX];
    if (!path_of_fd(fd, path)) return syscall(SYS_writev, fd, parts, count);
    ssize_t done = 0; /* as that many single writes */
    for (int i = 0; i < count; i++) {
        if (!parts[i].iov_len) continue;
        ssize_t wrote = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (wrote < 0) return done ? done : -1;
        done += wrote;
        if ((size_t)wrote < parts[i].iov_len) break;
    }
    return done;
}

/* Buffered: half of it reaches the file, and then comes the end. */
EXPORT size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    REAL(fwrite);
    int fd = fileno(file);
    enum verdict verdict = judge_write(fd, size * count);
    if (verdict == FAIL) return 0;
    if (verdict == PASS || verdict == HALF) return real(data, size, count, file); /* stdio asks again for the rest */
    size_t done = real(data, size, count / 2, file);
    fflush(file);
    if (kind == KILL || kind == POWER) faults_cut();
    errno = ENOSPC;
    return done;
}

EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    REAL(sendfile64);
    enum verdict verdict = judge_write(out, size);
    if (verdict == FAIL) return -1;
    if (verdict == PASS) return real(out, in, offset, size);
    return finish(verdict, size / 2 ? real(out, in, offset, 1) : 0);
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t size) { return sendfile64(out, in, offset, size); }

EXPORT ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    if (judge_fd("write", out, GROW) != PASS) return -1;
    return real(in, from, out, to, size, flags);
}

EXPORT int ftruncate64(int fd, off64_t length) {
    if (judge_fd("truncate", fd, GROW) != PASS) return -1;
    return syscall(SYS_ftruncate, fd, length);
}

EXPORT int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

EXPORT int truncate64(const char *path, off64_t length) {
    if (judge_at("truncate", AT_FDCWD, path, GROW) != PASS) return -1;
    return syscall(SYS_truncate, path, length);
}

EXPORT int truncate(const char *path, off_t length) { return truncate64(path, length); }

EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    REAL(posix_fallocate64);
    return judge_fd("allocate", fd, GROW) == PASS ? real(fd, offset, length) : errno;
}

EXPORT int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

static int flush(int fd, int call) {
    if (judge_fd("fsync", fd, GROW) != PASS) return -1; /* of a disk that allocates late, it may say that it is full */
    int result = syscall(call, fd);
    if (!result && atomic_load(&armed)) forget(fd);
    return result;
}

EXPORT int fsync(int fd) { return flush(fd, SYS_fsync); }
EXPORT int fdatasync(int fd) { return flush(fd, SYS_fdatasync); }

EXPORT void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset) {
    int is_writing = fd >= 0 && (protection & PROT_WRITE) && (flags & MAP_SHARED);
    char path[PATH_MAX];
    if (is_writing && judge_fd("map", fd, GROW) != PASS) return MAP_FAILED;
    if (is_writing && atomic_load(&armed) && path_of_fd(fd, path)) note(fd);
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}

EXPORT void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    return mmap64(address, size, protection, flags, fd, offset);
}

/* ---- names ---- */

EXPORT int rename(const char *from, const char *to) {
    if (judge_at("rename", AT_FDCWD, to, CHANGE) != PASS) return -1;
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    if (judge_at("rename", to_fd, to, CHANGE) != PASS) return -1;
    return syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

EXPORT int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    if (judge_at("rename", to_fd, to, CHANGE) != PASS) return -1;
    return syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

EXPORT int link(const char *from, const char *to) {
    if (judge_at("link", AT_FDCWD, to, GROW) != PASS) return -1;
    return syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    if (judge_at("link", to_fd, to, GROW) != PASS) return -1;
    return syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

EXPORT int symlink(const char *to, const char *path) {
    if (judge_at("symlink", AT_FDCWD, path, GROW) != PASS) return -1;
    return syscall(SYS_symlinkat, to, AT_FDCWD, path);
}

EXPORT int symlinkat(const char *to, int fd, const char *path) {
    if (judge_at("symlink", fd, path, GROW) != PASS) return -1;
    return syscall(SYS_symlinkat, to, fd, path);
}

EXPORT int mkdir(const char *path, mode_t mode) {
    if (judge_at("mkdir", AT_FDCWD, path, GROW) != PASS) return -1;
    return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

EXPORT int mkdirat(int fd, const char *path, mode_t mode) {
    if (judge_at("mkdir", fd, path, GROW) != PASS) return -1;
    return syscall(SYS_mkdirat, fd, path, mode);
}

EXPORT int rmdir(const char *path) {
    if (judge_at("rmdir", AT_FDCWD, path, CHANGE) != PASS) return -1;
    return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

EXPORT int unlink(const char *path) {
    if (judge_at("unlink", AT_FDCWD, path, CHANGE) != PASS) return -1;
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

EXPORT int unlinkat(int fd, const char *path, int flags) {
    if (judge_at(flags & AT_REMOVEDIR ? "rmdir" : "unlink", fd, path, CHANGE) != PASS) return -1;
    return syscall(SYS_unlinkat, fd, path, flags);
}

EXPORT int remove(const char *path) {
    REAL(remove);
    return judge_at("unlink", AT_FDCWD, path, CHANGE) == PASS ? real(path) : -1;
}

EXPORT int chmod(const char *path, mode_t mode) {
    if (judge_at("chmod", AT_FDCWD, path, CHANGE) != PASS) return -1;
    return syscall(SYS_fchmodat, AT_FDCWD, path, mode);
}

/* ---- reading ---- */

EXPORT ssize_t read(int fd, void *data, size_t size) {
    if (judge_fd("read", fd, READ) != PASS) return kind == CUT ? 0 : -1;
    return syscall(SYS_read, fd, data, size);
}

EXPORT ssize_t __read_chk(int fd, void *data, size_t size, size_t room) { return read(fd, data, size < room ? size : room); }

EXPORT ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    if (judge_fd("read", fd, READ) != PASS) return kind == CUT ? 0 : -1;
    return syscall(SYS_pread64, fd, data, size, offset);
}

EXPORT ssize_t pread(int fd, void *data, size_t size, off_t offset) { return pread64(fd, data, size, offset); }

EXPORT DIR *opendir(const char *path) {
    REAL(opendir);
    return judge_at("list", AT_FDCWD, path, FIND) == PASS ? real(path) : NULL;
}

EXPORT DIR *fdopendir(int fd) {
    REAL(fdopendir);
    return judge_fd("list", fd, FIND) == PASS ? real(fd) : NULL;
}

#define STAT(name, type)                                                                 \
    EXPORT int name(const char *path, struct type *found) {                              \
        REAL(name);                                                                      \
        return judge_at("stat", AT_FDCWD, path, FIND) == PASS ? real(path, found) : -1;  \
    }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

EXPORT int fstatat64(int fd, const char *path, struct stat64 *found, int flags) {
    REAL(fstatat64);
    return judge_at("stat", fd, path, FIND) == PASS ? real(fd, path, found, flags) : -1;
}

EXPORT int fstatat(int fd, const char *path, struct stat *found, int flags) {
    REAL(fstatat);
    return judge_at("stat", fd, path, FIND) == PASS ? real(fd, path, found, flags) : -1;
}
