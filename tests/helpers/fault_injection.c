// Library for LD_PRELOAD that lets one chosen call of a process on files below a folder fail.
//
// fault_arm(FOLDER, N, ERROR): the Nth call from now on fails with ERROR; 0 lets none fail, and counts. ERROR -1 lets
// write() write only a half. fault_count(): calls since then. fault_last(): name and file of the call that failed.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char folder[4096];
static char last[4200];
static long count, fail_at;
static int fail_with;

#define SHORT -1

void fault_arm(const char* below, long n, int error) {
  pthread_mutex_lock(&mutex);
  snprintf(folder, sizeof folder, "%s", below);
  count = 0;
  fail_at = n;
  fail_with = error;
  last[0] = 0;
  pthread_mutex_unlock(&mutex);
}

long fault_count(void) { return count; }

const char* fault_last(void) { return last; }

static int fails(const char* call, const char* path) {
  if (!folder[0] || strncmp(path, folder, strlen(folder)) != 0) return 0;
  pthread_mutex_lock(&mutex);
  int now = ++count == fail_at;
  if (now) snprintf(last, sizeof last, "%s %s", call, path);
  pthread_mutex_unlock(&mutex);
  if (now && fail_with == SHORT) return 0;
  if (now) errno = fail_with;
  return now;
}

// Only files that can be written; folders, too, for fsync.
static int fails_on(const char* call, int fd, int needs_write) {
  char name[64], path[4096];
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (needs_write && (flags & O_ACCMODE) == O_RDONLY)) return 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                     \
  int name(const char* path, int flags, ...) {                                         \
    va_list rest;                                                                      \
    va_start(rest, flags);                                                             \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                          \
    va_end(rest);                                                                      \
    if (fails("open", path)) return -1;                                                \
    return ((int (*)(const char*, int, ...))dlsym(RTLD_NEXT, #name))(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define FOPEN(name)                                                \
  FILE* name(const char* path, const char* mode) {                 \
    if (fails("fopen", path)) return NULL;                         \
    return REAL(name)(path, mode);                                 \
  }
FOPEN(fopen)
FOPEN(fopen64)

// Sets `size` to what is to be written.
static int fails_to_write(const char* call, int fd, size_t* size) {
  long before = count;
  int fail = fails_on(call, fd, 1);
  if (fail_with == SHORT && count > before && count == fail_at) *size = (*size + 1) / 2;
  return fail;
}

ssize_t write(int fd, const void* data, size_t size) {
  return fails_to_write("write", fd, &size) ? -1 : REAL(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  return fails_to_write("pwrite", fd, &size) ? -1 : REAL(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  return fails_to_write("pwrite", fd, &size) ? -1 : REAL(pwrite64)(fd, data, size, at);
}

size_t fwrite(const void* data, size_t size, size_t number, FILE* file) {
  return fails_on("fwrite", fileno(file), 1) ? 0 : REAL(fwrite)(data, size, number, file);
}

int fflush(FILE* file) { return file && fails_on("fflush", fileno(file), 1) ? EOF : REAL(fflush)(file); }

int fsync(int fd) { return fails_on("fsync", fd, 0) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return fails_on("fdatasync", fd, 0) ? -1 : REAL(fdatasync)(fd); }

int mkdir(const char* path, mode_t mode) { return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }

int rename(const char* from, const char* to) { return fails("rename", from) ? -1 : REAL(rename)(from, to); }

int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) {
  return fails("renameat2", from) ? -1 : REAL(renameat2)(from_fd, from, to_fd, to, flags);
}

// A failed close has closed.
int close(int fd) {
  int fail = fails_on("close", fd, 1);
  int result = REAL(close)(fd);
  if (!fail) return result;
  errno = fail_with;
  return -1;
}

int fclose(FILE* file) {
  int fail = fails_on("fclose", fileno(file), 1);
  int result = REAL(fclose)(file);
  if (!fail) return result;
  errno = fail_with;
  return EOF;
}
