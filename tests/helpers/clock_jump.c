// Library for LD_PRELOAD that moves the wall clock of a process; clocks that only go forward stay as they are.
//
// The file that CLOCK_JUMP names holds the seconds to add as an int64, and may be changed at any time.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t* offset;

__attribute__((constructor)) static void map_offset(void) {
  const char* file = getenv("CLOCK_JUMP");
  int fd = file ? open(file, O_RDONLY) : -1;
  void* at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
  if (fd >= 0) close(fd);
  if (at != MAP_FAILED) offset = at;
}

static int64_t jump(void) { return offset ? *offset : 0; }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t clock, struct timespec* now) {
  static int (*real)(clockid_t, struct timespec*);
  if (!real) real = REAL(clock_gettime);
  int result = real(clock, now);
  if (result == 0 && is_wall(clock)) now->tv_sec += jump();
  return result;
}

int gettimeofday(struct timeval* now, void* zone) {
  struct timespec precise;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

// Waits until a time of the wall clock, which the kernel knows without the jump. A time of another clock is small.
static struct timespec without_jump(const struct timespec* until) {
  struct timespec moved = *until;
  struct timespec now;
  REAL(clock_gettime)(CLOCK_MONOTONIC, &now);
  if (jump() && llabs(moved.tv_sec - now.tv_sec) > 100000000) moved.tv_sec -= jump();
  if (moved.tv_sec < 0) moved.tv_sec = 0;
  return moved;
}

int pthread_cond_timedwait(pthread_cond_t* cond, pthread_mutex_t* mutex, const struct timespec* until) {
  struct timespec moved = without_jump(until);
  // The version that condition variables of today have; dlsym may return one of 2002.
  void* real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  return ((__typeof__(&pthread_cond_timedwait))real)(cond, mutex, &moved);
}

int sem_timedwait(sem_t* semaphore, const struct timespec* until) {
  struct timespec moved = without_jump(until);
  return REAL(sem_timedwait)(semaphore, &moved);
}

// Futexes of libraries that make the system call themselves.
long syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
  va_end(rest);
  struct timespec moved;
  if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) && a[3]) {
    moved = *(const struct timespec*)a[3];
    moved.tv_sec -= jump();
    a[3] = (long)&moved;
  }
  return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
