/*
 * A disk that fails on order, under a real process: loaded with LD_PRELOAD (Linux, glibc), it stands between the
 * program (Rust's standard library and SQLite alike) and the files under one folder.
 *
 * Every call that changes what is on the disk is a step: it has a number in the run and a name, `<verb> <file>`.
 * The model is the one POSIX gives: bytes are durable once their file is synced, names once their folder is. So
 * that power can be cut, the library keeps in memory what is durable: the bytes of every file at its last sync, and
 * the names in every folder at its last sync. The real files are what the page cache would hold.
 *
 *   FAULTS_ROOT   the folder; nothing outside it is touched
 *   FAULTS_LOG    a file outside it, for the names of the steps, a line each
 *   FAULTS_AT     the number of the step that fails, from 1, or `end` for the end of the process
 *   FAULTS_KIND   kill    the process is killed before the step
 *                 power   as kill, and what is not durable is lost
 *                 torn    as power, but names reached the disk by themselves and half of the last write did too
 *                 eio     this one call fails; a write leaves half of its bytes
 *                 enospc  from here on nothing can be written that needs room; this write leaves half of its bytes
 *   FAULTS_NOSYNC names of files and folders, each between commas, whose syncs say that they were done and do nothing
 *   FAULTS_RESIDUE a file outside the folder, for what a power cut leaves on the medium of files with no name
 *
 * SQLite's -shm files are memory by nature: they are no steps, and a power cut removes them. Real syncs are left
 * out, since power is cut by this library alone.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_FD = 4096, MAX_NODES = 4096, NAME = 256, NONE = -1, ROOT = 0 };

/* A file or folder, whatever its name is at the moment. */
struct node {
    bool folder;
    char *bytes; /* what is durable of a file */
    size_t length;
};

/* A name in a folder. */
struct entry {
    int folder, node;
    char name[NAME];
};

struct names {
    struct entry *list;
    size_t count, room;
};

static struct node nodes[MAX_NODES];
static int node_count;
static struct names present, durable;
static int fds[MAX_FD];
static char root[4096];
static size_t root_length;

static long at, steps;
static const char *nosync;
static bool at_end, full;
static enum { NOTHING, KILL, POWER, TORN, EIO_ONCE, ENOSPC_ON } kind;
static int log_fd = NONE;

/* The last write that no sync has followed. */
static struct {
    int node;
    off_t offset;
    char *bytes;
    size_t length;
} last = {.node = NONE};

static pthread_mutex_t gate = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_renameat)(int, const char *, int, const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_mkdirat)(int, const char *, mode_t);

static void give_up(const char *why) {
    dprintf(2, "faults: %s\n", why);
    _exit(99);
}

static void *must(void *pointer) {
    if (!pointer) give_up("out of memory");
    return pointer;
}

/* Names */

static void add_name(struct names *names, int folder, const char *name, int node) {
    if (names->count == names->room) {
        names->room = names->room ? names->room * 2 : 64;
        names->list = must(realloc(names->list, names->room * sizeof *names->list));
    }
    struct entry *entry = &names->list[names->count++];
    entry->folder = folder;
    entry->node = node;
    snprintf(entry->name, NAME, "%s", name);
}

static struct entry *find_name(struct names *names, int folder, const char *name) {
    for (size_t n = 0; n < names->count; n++)
        if (names->list[n].folder == folder && !strcmp(names->list[n].name, name)) return &names->list[n];
    return NULL;
}

static void drop_name(struct names *names, int folder, const char *name) {
    struct entry *entry = find_name(names, folder, name);
    if (entry) *entry = names->list[--names->count];
}

static int new_node(bool folder) {
    if (node_count == MAX_NODES) give_up("too many files");
    nodes[node_count] = (struct node){.folder = folder};
    return node_count++;
}

/* Finds the folder of a path and the name in it. False if the path is not under the root. */
static bool place(const char *path, int *folder, const char **name) {
    if (!path || strncmp(path, root, root_length) || path[root_length] != '/') return false;
    const char *rest = path + root_length + 1;
    *folder = ROOT;
    for (const char *slash; (slash = strchr(rest, '/')); rest = slash + 1) {
        char part[NAME];
        snprintf(part, sizeof part, "%.*s", (int)(slash - rest), rest);
        struct entry *entry = find_name(&present, *folder, part);
        if (!entry) return false;
        *folder = entry->node;
    }
    *name = rest;
    return *rest != 0;
}

/* The node at a path, or NONE. */
static int lookup(const char *path) {
    int folder;
    const char *name;
    if (path && !strcmp(path, root)) return ROOT;
    if (!place(path, &folder, &name)) return NONE;
    struct entry *entry = find_name(&present, folder, name);
    return entry ? entry->node : NONE;
}

/* The path of a node below the root; empty if it has lost its name. */
static void path_of(int node, char *path, size_t room) {
    path[0] = 0;
    while (node != ROOT) {
        struct entry *found = NULL;
        for (size_t n = 0; n < present.count; n++)
            if (present.list[n].node == node) found = &present.list[n];
        if (!found) {
            path[0] = 0;
            return;
        }
        char longer[4096];
        snprintf(longer, sizeof longer, "%s%s%s", found->name, path[0] ? "/" : "", path);
        snprintf(path, room, "%s", longer);
        node = found->folder;
    }
}

static bool is_shared(const char *path) {
    size_t length = path ? strlen(path) : 0;
    return length > 4 && !strcmp(path + length - 4, "-shm");
}

/* What is durable */

static void keep_bytes(int node, int fd) {
    char by_fd[64];
    snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
    int in = real_openat(AT_FDCWD, by_fd, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (in < 0 || fstat(in, &stat)) give_up("a file can't be read back");
    char *bytes = must(malloc(stat.st_size + 1));
    size_t length = 0;
    for (ssize_t got; (got = read(in, bytes + length, stat.st_size - length)) > 0;) length += got;
    real_close(in);
    free(nodes[node].bytes);
    nodes[node].bytes = bytes;
    nodes[node].length = length;
}

static void keep_names(int folder) {
    for (size_t n = durable.count; n-- > 0;)
        if (durable.list[n].folder == folder) durable.list[n] = durable.list[--durable.count];
    for (size_t n = 0; n < present.count; n++)
        if (present.list[n].folder == folder) add_name(&durable, folder, present.list[n].name, present.list[n].node);
}

static void forget_last(int node) {
    if (last.node != node) return;
    free(last.bytes);
    last.bytes = NULL;
    last.node = NONE;
}

static void remember_last(int node, off_t offset, const void *bytes, size_t length) {
    forget_last(last.node);
    last.bytes = must(malloc(length + 1));
    memcpy(last.bytes, bytes, length);
    last.node = node;
    last.offset = offset;
    last.length = length;
}

/* Half of a write reaches the disk. */
static void tear(int node, off_t offset, const char *bytes, size_t length) {
    struct node *file = &nodes[node];
    size_t half = length / 2, end = offset + half;
    if (end > file->length) {
        file->bytes = must(realloc(file->bytes, end + 1));
        memset(file->bytes + file->length, 0, end - file->length);
        file->length = end;
    }
    if (half) memcpy(file->bytes + offset, bytes, half);
}

static void clear_folder(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *found; (found = readdir(dir));) {
        if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, "..")) continue;
        char below[4096];
        snprintf(below, sizeof below, "%s/%s", path, found->d_name);
        if (!real_unlinkat(AT_FDCWD, below, 0)) continue;
        clear_folder(below);
        real_unlinkat(AT_FDCWD, below, AT_REMOVEDIR);
    }
    closedir(dir);
}

static void lay_out(struct names *names, int folder, const char *path) {
    for (size_t n = 0; n < names->count; n++) {
        struct entry *entry = &names->list[n];
        if (entry->folder != folder) continue;
        char below[4096];
        snprintf(below, sizeof below, "%s/%s", path, entry->name);
        struct node *node = &nodes[entry->node];
        if (node->folder) {
            real_mkdirat(AT_FDCWD, below, 0700);
            lay_out(names, entry->node, below);
            continue;
        }
        int out = real_openat(AT_FDCWD, below, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        for (size_t done = 0; out >= 0 && done < node->length;) {
            ssize_t wrote = real_write(out, node->bytes + done, node->length - done);
            if (wrote <= 0) give_up("the durable state can't be written");
            done += wrote;
        }
        if (out < 0 || real_close(out)) give_up("the durable state can't be written");
    }
}

/* Whether anything of these names leads to the node. */
static bool is_named(struct names *names, int node) {
    for (size_t n = 0; n < names->count; n++)
        if (names->list[n].node == node) return true;
    return false;
}

/* A removed file's bytes stay on the medium unless they were overwritten first. */
static void keep_residue(struct names *names) {
    const char *path = getenv("FAULTS_RESIDUE");
    int out = path ? real_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : NONE;
    if (out < 0) return;
    for (int node = ROOT + 1; node < node_count; node++) {
        ssize_t length = nodes[node].length;
        if (length && !is_named(names, node) && real_write(out, nodes[node].bytes, length) != length)
            give_up("the residue can't be written");
    }
    real_close(out);
}

/* The folder becomes what the disk would hold after the power went. */
static void cut_power(bool torn) {
    keep_residue(torn ? &present : &durable);
    clear_folder(root);
    lay_out(torn ? &present : &durable, ROOT, root);
}

/* Steps */

/* A random name says nothing: its run of hexadecimal digits and dashes becomes a star, and so does a folder of two. */
static void plain_name(const char *path, char *name, size_t room) {
    if (!strncmp(path, "vault/", 6)) path += 6;
    size_t out = 0;
    while (*path && out + 1 < room) {
        size_t run = strspn(path, "0123456789abcdef-"), digits = 0;
        for (size_t n = 0; n < run; n++) digits += path[n] != '-';
        bool folder = run == 2 && out && name[out - 1] == '/' && (path[2] == '/' || !path[2]);
        if (digits >= 16 || folder) {
            name[out++] = '*';
            path += run;
        } else {
            size_t take = run ? run : 1;
            while (take-- && out + 1 < room) name[out++] = *path++;
        }
    }
    name[out] = 0;
}

/* What is about to be written, for a step that is cut in the middle. */
struct write {
    int node;
    off_t offset;
    const char *bytes;
    size_t length;
};

enum { GO, FAIL, HALF, PRETEND };

static int step(const char *verb, const char *path, bool needs_room, const struct write *write) {
    bool is_sync = !strcmp(verb, "sync");
    char name[512], line[600];
    steps++;
    plain_name(path[0] ? path : ".", name, sizeof name);
    if (log_fd != NONE) {
        int length = snprintf(line, sizeof line, "%s %s\n", verb, name);
        if (real_write(log_fd, line, length) != length) give_up("the log can't be written");
    }
    if (is_sync && nosync) {
        snprintf(line, sizeof line, ",%s,", name);
        if (strstr(nosync, line)) return PRETEND;
    }
    if (steps == at) {
        switch (kind) {
        case KILL:
            kill(getpid(), SIGKILL);
            break;
        case POWER:
            cut_power(false);
            kill(getpid(), SIGKILL);
            break;
        case TORN:
            if (write)
                tear(write->node, write->offset, write->bytes, write->length);
            else if (last.node != NONE)
                tear(last.node, last.offset, last.bytes, last.length);
            cut_power(true);
            kill(getpid(), SIGKILL);
            break;
        case EIO_ONCE:
            errno = EIO;
            return write ? HALF : FAIL;
        case ENOSPC_ON:
            full = true;
            if (needs_room) {
                errno = ENOSPC;
                return write && write->length > 1 ? HALF : FAIL;
            }
            break;
        case NOTHING:
            break;
        }
    } else if (full && needs_room) {
        errno = ENOSPC;
        return FAIL;
    }
    return GO;
}

static int node_of(int fd) {
    return fd >= 0 && fd < MAX_FD && root_length ? fds[fd] : NONE;
}

static void set_node(int fd, int node) {
    if (fd >= MAX_FD) give_up("too many open files");
    if (fd >= 0) fds[fd] = node;
}

static void scan(int folder, const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *found; (found = readdir(dir));) {
        if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, "..") || is_shared(found->d_name)) continue;
        char below[4096];
        snprintf(below, sizeof below, "%s/%s", path, found->d_name);
        struct stat stat;
        if (lstat(below, &stat)) continue;
        int node = new_node(S_ISDIR(stat.st_mode));
        add_name(&present, folder, found->d_name, node);
        if (nodes[node].folder) {
            scan(node, below);
        } else {
            int fd = real_openat(AT_FDCWD, below, O_RDONLY | O_CLOEXEC);
            keep_bytes(node, fd);
            real_close(fd);
        }
    }
    closedir(dir);
    keep_names(folder);
}

__attribute__((constructor)) static void begin(void) {
    real_openat = dlsym(RTLD_NEXT, "openat");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_renameat = dlsym(RTLD_NEXT, "renameat");
    real_unlinkat = dlsym(RTLD_NEXT, "unlinkat");
    real_mkdirat = dlsym(RTLD_NEXT, "mkdirat");
    for (int fd = 0; fd < MAX_FD; fd++) fds[fd] = NONE;
    const char *folder = getenv("FAULTS_ROOT"), *log = getenv("FAULTS_LOG");
    const char *step = getenv("FAULTS_AT"), *fault = getenv("FAULTS_KIND"), *skip = getenv("FAULTS_NOSYNC");
    if (!folder) return;
    if (log) log_fd = real_openat(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    at_end = step && !strcmp(step, "end");
    at = step && !at_end ? atol(step) : 0;
    nosync = skip;
    const char *kinds[] = {"", "kill", "power", "torn", "eio", "enospc"};
    for (int n = 1; fault && n < 6; n++)
        if (!strcmp(fault, kinds[n])) kind = n;
    if (fault && !kind) give_up("no such fault");
    new_node(true);
    scan(ROOT, folder);
    root_length = (size_t)snprintf(root, sizeof root, "%s", folder);
}

__attribute__((destructor)) static void end(void) {
    if (!at_end || !root_length) return;
    pthread_mutex_lock(&gate);
    if (kind == TORN && last.node != NONE) tear(last.node, last.offset, last.bytes, last.length);
    cut_power(kind == TORN);
    pthread_mutex_unlock(&gate);
}

/* The calls */

static const char *named(int node, char *path, size_t room) {
    path_of(node, path, room);
    return path;
}

static int open_at(int dir, const char *path, int flags, mode_t mode) {
    int folder;
    const char *name;
    if (!root_length || !path || (dir != AT_FDCWD && path[0] != '/'))
        return real_openat(dir, path, flags, mode);
    pthread_mutex_lock(&gate);
    int fd = NONE, node = lookup(path);
    if (is_shared(path)) {
        fd = real_openat(dir, path, flags, mode);
        set_node(fd, NONE);
    } else if (node == NONE && (flags & O_CREAT) && place(path, &folder, &name)) {
        if (step("create", path + root_length + 1, true, NULL) == GO) {
            fd = real_openat(dir, path, flags, mode);
            if (fd >= 0) {
                node = new_node(false);
                add_name(&present, folder, name, node);
            }
            set_node(fd, node);
        }
    } else {
        bool empties = node != NONE && (flags & O_TRUNC);
        if (!empties || step("empty", path + root_length + 1, false, NULL) == GO) {
            fd = real_openat(dir, path, flags, mode);
            set_node(fd, node);
            if (empties && fd >= 0) forget_last(node);
        }
    }
    pthread_mutex_unlock(&gate);
    return fd;
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name)                                  \
    int name(const char *path, int flags, ...) {    \
        va_list rest;                               \
        va_start(rest, flags);                      \
        mode_t mode = mode_of(flags, rest);         \
        va_end(rest);                               \
        return open_at(AT_FDCWD, path, flags, mode); \
    }
#define OPENAT(name)                                      \
    int name(int dir, const char *path, int flags, ...) { \
        va_list rest;                                     \
        va_start(rest, flags);                            \
        mode_t mode = mode_of(flags, rest);               \
        va_end(rest);                                     \
        return open_at(dir, path, flags, mode);           \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) {
    return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode) {
    return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int fd) {
    pthread_mutex_lock(&gate);
    set_node(fd, NONE);
    int result = real_close(fd);
    pthread_mutex_unlock(&gate);
    return result;
}

/* Writes at `offset`, or where the file stands. */
static ssize_t write_at(int fd, const void *bytes, size_t length, const off_t *offset) {
    int node = node_of(fd);
    if (node == NONE) return offset ? real_pwrite(fd, bytes, length, *offset) : real_write(fd, bytes, length);
    pthread_mutex_lock(&gate);
    struct stat stat;
    off_t start = offset ? *offset : (fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &stat)
                                         ? stat.st_size
                                         : lseek(fd, 0, SEEK_CUR);
    struct write write = {node, start, bytes, length};
    char path[4096];
    int go = step("write", named(node, path, sizeof path), true, &write), error = errno;
    ssize_t result = NONE;
    if (go != FAIL) {
        size_t part = go == HALF ? length / 2 : length;
        result = offset ? real_pwrite(fd, bytes, part, start) : real_write(fd, bytes, part);
        if (result > 0) remember_last(node, start, bytes, result);
        if (go == HALF && kind == EIO_ONCE) {
            if (!offset) lseek(fd, start, SEEK_SET);
            errno = error;
            result = NONE;
        }
    }
    pthread_mutex_unlock(&gate);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return write_at(fd, bytes, length, NULL);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return write_at(fd, bytes, length, &offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return write_at(fd, bytes, length, &offset);
}

/* Pieces are written one by one; a short write of a piece ends it, as POSIX allows. */
static ssize_t write_pieces(int fd, const struct iovec *pieces, int count, off_t *offset) {
    ssize_t total = 0;
    for (int n = 0; n < count; n++) {
        ssize_t wrote = write_at(fd, pieces[n].iov_base, pieces[n].iov_len, offset);
        if (wrote < 0) return total ? total : wrote;
        total += wrote;
        if (offset) *offset += wrote;
        if ((size_t)wrote < pieces[n].iov_len) break;
    }
    return total;
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    return write_pieces(fd, pieces, count, NULL);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset) {
    return write_pieces(fd, pieces, count, &offset);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t offset) {
    return write_pieces(fd, pieces, count, &offset);
}

static int cut_to(int fd, off_t length) {
    int node = node_of(fd);
    if (node == NONE) return real_ftruncate(fd, length);
    pthread_mutex_lock(&gate);
    char path[4096];
    int result = NONE;
    if (step("cut", named(node, path, sizeof path), false, NULL) == GO) {
        result = real_ftruncate(fd, length);
        if (!result) forget_last(node);
    }
    pthread_mutex_unlock(&gate);
    return result;
}

int ftruncate(int fd, off_t length) {
    return cut_to(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    return cut_to(fd, length);
}

static int sync_fd(int fd, int (*real)(int)) {
    int node = node_of(fd);
    if (node == NONE) return real(fd);
    pthread_mutex_lock(&gate);
    char path[4096];
    int go = step("sync", named(node, path, sizeof path), false, NULL);
    if (go == GO) {
        if (nodes[node].folder) {
            keep_names(node);
        } else {
            keep_bytes(node, fd);
            forget_last(node);
        }
    }
    pthread_mutex_unlock(&gate);
    return go == FAIL ? NONE : 0;
}

int fsync(int fd) {
    return sync_fd(fd, real_fsync);
}

int fdatasync(int fd) {
    return sync_fd(fd, real_fdatasync);
}

static int rename_at(int from_dir, const char *from, int to_dir, const char *to) {
    int from_folder, to_folder;
    const char *from_name, *to_name;
    if (!root_length) return real_renameat(from_dir, from, to_dir, to);
    pthread_mutex_lock(&gate);
    int result = NONE;
    if (!place(from, &from_folder, &from_name) || !place(to, &to_folder, &to_name)) {
        result = real_renameat(from_dir, from, to_dir, to);
    } else if (step("rename", from + root_length + 1, false, NULL) == GO) {
        int node = lookup(from);
        result = real_renameat(from_dir, from, to_dir, to);
        if (!result) {
            drop_name(&present, from_folder, from_name);
            drop_name(&present, to_folder, to_name);
            add_name(&present, to_folder, to_name, node);
        }
    }
    pthread_mutex_unlock(&gate);
    return result;
}

int rename(const char *from, const char *to) {
    return rename_at(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return rename_at(from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    if (flags) {
        errno = EINVAL;
        return NONE;
    }
    return rename_at(from_dir, from, to_dir, to);
}

static int unlink_at(int dir, const char *path, int flags) {
    int folder;
    const char *name;
    if (!root_length) return real_unlinkat(dir, path, flags);
    pthread_mutex_lock(&gate);
    int result = NONE;
    if (is_shared(path) || !place(path, &folder, &name) || lookup(path) == NONE) {
        result = real_unlinkat(dir, path, flags);
    } else if (step("unlink", path + root_length + 1, false, NULL) == GO) {
        result = real_unlinkat(dir, path, flags);
        if (!result) drop_name(&present, folder, name);
    }
    pthread_mutex_unlock(&gate);
    return result;
}

int unlink(const char *path) {
    return unlink_at(AT_FDCWD, path, 0);
}

int unlinkat(int dir, const char *path, int flags) {
    return unlink_at(dir, path, flags);
}

int rmdir(const char *path) {
    return unlink_at(AT_FDCWD, path, AT_REMOVEDIR);
}

static int mkdir_at(int dir, const char *path, mode_t mode) {
    int folder;
    const char *name;
    if (!root_length) return real_mkdirat(dir, path, mode);
    pthread_mutex_lock(&gate);
    int result = NONE;
    if (!place(path, &folder, &name) || lookup(path) != NONE) {
        result = real_mkdirat(dir, path, mode);
    } else if (step("mkdir", path + root_length + 1, true, NULL) == GO) {
        result = real_mkdirat(dir, path, mode);
        if (!result) add_name(&present, folder, name, new_node(true));
    }
    pthread_mutex_unlock(&gate);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    return mkdir_at(AT_FDCWD, path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode) {
    return mkdir_at(dir, path, mode);
}
