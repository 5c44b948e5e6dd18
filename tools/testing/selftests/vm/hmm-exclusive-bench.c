// SPDX-License-Identifier: GPL-2.0
/*
 * What device-exclusive memory costs, and what the operations on memory cost that
 * it must not slow down.
 *
 * Each operation is done several times on each size. A line of the output,
 *	# bench,NAME,PAGES,REPETITIONS,MINIMUM,MEDIAN,MAXIMUM,COUNT
 * has clock cycles for the whole range: take the minimum, as now and then an
 * interrupt falls into an operation. COUNT is the largest number there was of page
 * faults or, where something is made exclusive, of calls that took. Of
 * notifier-ranges and tlb-flushes all numbers are just that.
 * In a virtual machine that counts a cycle for each instruction (QEMU with -icount
 * shift=0) these are instructions, the same on every machine.
 *
 * Results in TAP say whether the operations have done what they were to do: this
 * is no test of speed. Without the module test_device_exclusive_bench only the
 * operations are measured that every kernel has.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <linux/mempolicy.h>
#include <linux/perf_event.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#if __has_include("x86intrin.h")
#include <x86intrin.h>
#endif

#include "../../../../lib/test_device_exclusive_uapi.h"
#include "../kselftest.h"
#include "hmm_exclusive.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

#define MAX_SIZES	16
#define MAX_REPS	64
#define MAX_SERIES	16
#define MAX_THREADS	8
#define NR_SHARERS	7

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define MiB(n)		((n) << 8)	/* in pages of 4 KiB */

/* What one operation cost on one size, each time it was done. */
struct series {
	const char *name;
	int reps;
	uint64_t cycles[MAX_REPS];
	uint64_t count;
};

static const char device[] = "/dev/device_exclusive_bench";
static const char tlb_event[] =
	"/sys/kernel/debug/tracing/events/tlb/tlb_flush/id";
static const char fault_around[] = "/sys/kernel/debug/fault_around_bytes";

static unsigned long sizes[MAX_SIZES] = {
	1, 4, 16, 64, 256, MiB(2), MiB(8), MiB(64), MiB(256), MiB(1024)
};

static int nr_sizes = 10;
static int max_reps = 5;
static unsigned long chunk = DEVICE_EXCLUSIVE_BENCH_MAX_CHUNK;
static unsigned long page_size;
static bool good;

static struct series all_series[MAX_SERIES];
static int nr_series;
/* What the names begin with, for operations that are done on different memory */
static const char *prefix;

/* Other processes that have the same memory mapped, at the same address */
static pid_t sharers[NR_SHARERS];
static int nr_sharers;

static uint64_t now(void)
{
#if __has_include("x86intrin.h")
	return __rdtsc();
#else
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
#endif
}

static void record(const char *name, uint64_t cycles, uint64_t count)
{
	struct series *s = all_series;

	while (s < all_series + nr_series && strcmp(s->name, name))
		s++;
	if (s == all_series + MAX_SERIES)
		ksft_exit_fail_msg("too many operations\n");
	if (s == all_series + nr_series) {
		memset(s, 0, sizeof(*s));
		s->name = name;
		nr_series++;
	}
	s->cycles[s->reps++] = cycles;
	if (s->count < count)
		s->count = count;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Then wait, for whoever reads this not to do so while the next thing is measured. */
static void report(unsigned long npages)
{
	struct series *s;

	for (s = all_series; s < all_series + nr_series; s++) {
		qsort(s->cycles, s->reps, sizeof(s->cycles[0]), compare);
		ksft_print_msg("bench,%s%s,%lu,%d,%llu,%llu,%llu,%llu\n",
			       prefix, s->name, npages, s->reps,
			       (unsigned long long)s->cycles[0],
			       (unsigned long long)s->cycles[s->reps / 2],
			       (unsigned long long)s->cycles[s->reps - 1],
			       (unsigned long long)s->count);
	}
	nr_series = 0;
	fflush(stdout);
	usleep(50 * 1000);
}

/* Something an operation was to do, and may not have done. */
static void expect(bool ok, const char *what, unsigned long npages)
{
	if (!ok)
		ksft_print_msg("%s%s, %lu pages: not as expected (%s)\n",
			       prefix, what, npages, strerror(errno));
	good &= ok;
}

static uint64_t faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* The range starts at a multiple of 2 MiB, as large buffers do. */
static char *map(unsigned long npages)
{
	unsigned long size = npages * page_size;
	char *map, *ptr;

	map = mmap(NULL, size + TWOMEG, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		ksft_exit_fail_msg("no memory for %lu pages\n", npages);
	ptr = (char *)ALIGN((uintptr_t)map, TWOMEG);
	if (ptr > map)
		munmap(map, ptr - map);
	munmap(ptr + size, TWOMEG - (ptr - map));
	madvise(ptr, size, MADV_NOHUGEPAGE);
	return ptr;
}

/* An empty file of tmpfs */
static int open_tmpfs(unsigned long npages)
{
	int fd = syscall(SYS_memfd_create, "bench", 0);

	if (fd < 0 || ftruncate(fd, npages * page_size))
		ksft_exit_fail_msg("no memfd of %lu pages\n", npages);
	return fd;
}

/* As map(), of a file. */
static char *map_file(int fd, unsigned long npages, int flags)
{
	char *ptr = map(npages);

	if (mmap(ptr, npages * page_size, PROT_READ | PROT_WRITE,
		 flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		ksft_exit_fail_msg("cannot map %lu pages\n", npages);
	return ptr;
}

/* Shared memory, whose file nobody else has */
static char *map_shared(unsigned long npages)
{
	int fd = open_tmpfs(npages);
	char *ptr = map_file(fd, npages, MAP_SHARED);

	close(fd);
	return ptr;
}

static void put_word(char *ptr, unsigned long page, uint64_t value)
{
	__atomic_store_n((uint64_t *)(ptr + page * page_size), value,
			 __ATOMIC_RELAXED);
}

static uint64_t get_word(char *ptr, unsigned long page)
{
	return __atomic_load_n((uint64_t *)(ptr + page * page_size),
			       __ATOMIC_RELAXED);
}

static void touch(char *ptr, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		put_word(ptr, i, i + 1);
}

static uint64_t look(char *ptr, unsigned long npages)
{
	uint64_t sum = 0;
	unsigned long i;

	for (i = 0; i < npages; i++)
		sum += get_word(ptr, i);
	return sum;
}

static uint64_t look_backward(char *ptr, unsigned long npages)
{
	uint64_t sum = 0;

	while (npages--)
		sum += get_word(ptr, npages);
	return sum;
}

/* A power of two, and the next page far away: never one that follows. */
static uint64_t look_random(char *ptr, unsigned long npages)
{
	unsigned long i, page = 0;
	uint64_t sum = 0;

	for (i = 0; i < npages; i++) {
		sum += get_word(ptr, page);
		page = (page * 5 + npages / 2 - 1) & (npages - 1);
	}
	return sum;
}

static bool is_sum(uint64_t sum, unsigned long npages)
{
	return sum == (uint64_t)npages * (npages + 1) / 2;
}

static void time_touch(const char *name, char *ptr, unsigned long npages)
{
	uint64_t before = faults(), begin = now(), cycles;

	touch(ptr, npages);
	cycles = now() - begin;
	record(name, cycles, faults() - before);
}

static void time_look(const char *name, char *ptr, unsigned long npages,
		      uint64_t (*how)(char *ptr, unsigned long npages))
{
	uint64_t before = faults(), begin = now(), cycles, sum;

	sum = how(ptr, npages);
	cycles = now() - begin;
	record(name, cycles, faults() - before);
	expect(is_sum(sum, npages), name, npages);
}

static void time_munmap(const char *name, char *ptr, unsigned long npages)
{
	uint64_t begin = now();

	munmap(ptr, npages * page_size);
	record(name, now() - begin, 0);
}

static void time_mprotect(const char *name, char *ptr, unsigned long npages,
			  int prot)
{
	uint64_t begin = now();

	mprotect(ptr, npages * page_size, prot);
	record(name, now() - begin, 0);
}

static void bench_base(unsigned long npages)
{
	char *ptr = map(npages);

	time_touch("touch", ptr, npages);
	time_mprotect("mprotect-none", ptr, npages, PROT_NONE);
	time_mprotect("mprotect-back", ptr, npages, PROT_READ | PROT_WRITE);
	expect(is_sum(look(ptr, npages), npages), "mprotect", npages);
	time_munmap("munmap", ptr, npages);
}

static void bench_faults(unsigned long npages)
{
	char *ptr = map(npages);
	uint64_t begin = now();

	expect(!look(ptr, npages), "zero page", npages);
	record("read-fault", now() - begin, 0);
	time_touch("write-fault", ptr, npages);
	munmap(ptr, npages * page_size);
}

/*
 * Faults on a mapping of a file of the page cache: on what is not there yet; on
 * what is, reading with the pages around, and reading one page; and on a private
 * mapping, writing.
 */
static void time_file(int fd, unsigned long npages)
{
	unsigned long size = npages * page_size;
	char *ptr = map_file(fd, npages, MAP_SHARED);

	time_touch("touch", ptr, npages);
	munmap(ptr, size);

	ptr = map_file(fd, npages, MAP_SHARED);
	time_look("read-around", ptr, npages, look);
	time_munmap("munmap", ptr, npages);

	ptr = map_file(fd, npages, MAP_SHARED);
	if (!hmm_write_file(fault_around, "4096")) {
		time_look("read", ptr, npages, look);
		hmm_write_file(fault_around, "65536");
	}
	munmap(ptr, size);

	ptr = map_file(fd, npages, MAP_PRIVATE);
	time_touch("copy-on-write", ptr, npages);
	munmap(ptr, size);
}

static void bench_tmpfs(unsigned long npages)
{
	int fd = open_tmpfs(npages);
	char *ptr;

	time_file(fd, npages);
	ptr = map_file(fd, npages, MAP_SHARED);
	time_touch("write", ptr, npages);
	munmap(ptr, npages * page_size);
	close(fd);
}

/* Or -1. A ramfs has a page cache and nothing else. */
static int open_ramfs(unsigned long npages)
{
	char where[] = "/tmp/bench-XXXXXX", path[64];
	int fd = -1;

	if (!mkdtemp(where))
		return -1;
	if (!mount("none", where, "ramfs", 0, NULL)) {
		snprintf(path, sizeof(path), "%s/file", where);
		fd = open(path, O_RDWR | O_CREAT, 0600);
		umount2(where, MNT_DETACH);
	}
	rmdir(where);
	if (fd >= 0 && ftruncate(fd, npages * page_size))
		ksft_exit_fail_msg("no file of %lu pages\n", npages);
	return fd;
}

/* Who writes to one may be throttled, which is not the same each time. */
static void bench_ramfs(unsigned long npages)
{
	int fd = open_ramfs(npages);

	time_file(fd, npages);
	close(fd);
}

/* A child that does nothing until it is told to end. */
static pid_t idle_child(int *tell, uint64_t *cycles)
{
	uint64_t begin;
	int fds[2];
	pid_t pid;
	char c;

	if (pipe(fds))
		ksft_exit_fail_msg("no pipe\n");
	begin = now();
	pid = fork();
	*cycles = now() - begin;
	if (!pid) {
		close(fds[1]);
		_exit(read(fds[0], &c, 1) != 0);
	}
	if (pid < 0)
		ksft_exit_fail_msg("no child\n");
	close(fds[0]);
	*tell = fds[1];
	return pid;
}

static void end_child(pid_t pid, int tell)
{
	close(tell);
	waitpid(pid, NULL, 0);
}

static void bench_fork(unsigned long npages)
{
	char *ptr = map(npages);
	uint64_t cycles;
	pid_t pid;
	int tell;

	touch(ptr, npages);
	pid = idle_child(&tell, &cycles);
	record("fork", cycles, 0);
	time_touch("copy-on-write", ptr, npages);
	end_child(pid, tell);

	pid = idle_child(&tell, &cycles);
	end_child(pid, tell);
	time_touch("write-reuse", ptr, npages);
	munmap(ptr, npages * page_size);
}

static void bench_swap(unsigned long npages)
{
	char *ptr = map(npages);
	uint64_t begin;
	long kb;

	touch(ptr, npages);
	begin = now();
	madvise(ptr, npages * page_size, MADV_PAGEOUT);
	record("swap-out", now() - begin, 0);
	kb = hmm_smaps_kb(ptr, "Swap:");
	expect(kb * 1024 == npages * page_size, "swap-out", npages);
	time_look("swap-in", ptr, npages, look);
	munmap(ptr, npages * page_size);
}

static void time_move(char *ptr, unsigned long npages, int node)
{
	unsigned long mask = 1UL << node;
	uint64_t begin = now();
	int where = -1;
	long ret;

	ret = syscall(SYS_mbind, ptr, npages * page_size, MPOL_BIND, &mask,
		      sizeof(mask) * 8, MPOL_MF_MOVE);
	record("migrate", now() - begin, 0);
	expect(!ret, "mbind", npages);
	syscall(SYS_get_mempolicy, &where, NULL, 0, ptr,
		MPOL_F_NODE | MPOL_F_ADDR);
	expect(where == node, "migrate", npages);
}

static void bench_migrate(unsigned long npages)
{
	char *ptr = map(npages);

	touch(ptr, npages);
	time_move(ptr, npages, 1);
	time_move(ptr, npages, 0);
	munmap(ptr, npages * page_size);
}

static int open_device(void)
{
	int fd = open(device, O_RDWR);

	if (fd < 0)
		ksft_exit_fail_msg("cannot open %s\n", device);
	return fd;
}

/* How many pages of the range are exclusive in a process? None of them is in swap. */
static unsigned long count_entries(pid_t pid, char *ptr, unsigned long npages)
{
	unsigned long first = (uintptr_t)ptr / page_size, i, n = 0;
	uint64_t entry;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	f = fopen(path, "r");
	if (!f || fseek(f, first * sizeof(entry), SEEK_SET))
		ksft_exit_fail_msg("cannot read %s\n", path);
	for (i = 0; i < npages && fread(&entry, sizeof(entry), 1, f) == 1; i++)
		n += !!(entry & HMM_PAGEMAP_SWAP);
	fclose(f);
	return n;
}

/* Do all who share the range have just as many entries there? */
static void expect_entries(char *ptr, unsigned long npages, unsigned long nr)
{
	int i;

	for (i = 0; i < nr_sharers; i++)
		expect(count_entries(sharers[i], ptr, npages) == nr,
		       "exclusive where it is shared", npages);
}

/* Make all of the range exclusive, and release it. */
static void make(int fd, char *ptr, unsigned long npages,
		 struct device_exclusive_bench *cmd)
{
	int ret;

	cmd->addr = (uintptr_t)ptr;
	cmd->npages = npages;
	cmd->chunk = chunk;
	ret = ioctl(fd, DEVICE_EXCLUSIVE_BENCH_RUN, cmd);
	expect(!ret && cmd->made == npages, "made exclusive", cmd->made);
	expect_entries(ptr, npages, npages);
}

/* The count is that of the calls it took. */
static void time_make(const char *name, int fd, char *ptr, unsigned long npages)
{
	struct device_exclusive_bench cmd = { 0 };

	make(fd, ptr, npages, &cmd);
	record(name, cmd.make + cmd.release, cmd.calls);
}

static void time_exclusive(char *ptr, unsigned long npages)
{
	struct device_exclusive_bench cmd = { 0 };
	int fd = open_device(), other = open_device();

	touch(ptr, npages);
	make(fd, ptr, npages, &cmd);
	record("make", cmd.make, cmd.calls);
	record("release", cmd.release, 0);
	record("make+release", cmd.make + cmd.release, cmd.calls);
	time_make("make-still", fd, ptr, npages);
	time_make("make-takeover", other, ptr, npages);
	time_look("read-back", ptr, npages, look);
	expect_entries(ptr, npages, 0);
	time_make("make-again", fd, ptr, npages);
	time_touch("write-back", ptr, npages);
	time_make("make-again", fd, ptr, npages);
	time_munmap("munmap-exclusive", ptr, npages);
	close(other);
	close(fd);
}

static void time_readback(char *ptr, unsigned long npages)
{
	struct device_exclusive_bench cmd = { 0 };
	int fd = open_device();

	touch(ptr, npages);
	make(fd, ptr, npages, &cmd);
	time_look("read-back-backward", ptr, npages, look_backward);
	make(fd, ptr, npages, &cmd);
	time_look("read-back-random", ptr, npages, look_random);
	munmap(ptr, npages * page_size);
	close(fd);
}

static void bench_exclusive(unsigned long npages)
{
	time_exclusive(map(npages), npages);
}

static void bench_readback(unsigned long npages)
{
	time_readback(map(npages), npages);
}

/* Shared memory that nobody else has mapped */
static void bench_shared(unsigned long npages)
{
	time_exclusive(map_shared(npages), npages);
	time_readback(map_shared(npages), npages);
}

/* Have others touch all pages, and then do nothing. */
static void start_sharers(char *ptr, unsigned long npages)
{
	int status;
	pid_t pid;

	while (nr_sharers < NR_SHARERS) {
		pid = fork();
		if (!pid) {
			touch(ptr, npages);
			raise(SIGSTOP);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, WUNTRACED) != pid ||
		    !WIFSTOPPED(status))
			ksft_exit_fail_msg("no child\n");
		sharers[nr_sharers++] = pid;
	}
}

static void end_sharers(void)
{
	while (nr_sharers) {
		kill(sharers[--nr_sharers], SIGKILL);
		waitpid(sharers[nr_sharers], NULL, 0);
	}
}

/* Shared memory that others have mapped, too */
static void bench_shared8(unsigned long npages)
{
	char *ptr = map_shared(npages);

	start_sharers(ptr, npages);
	time_exclusive(ptr, npages);
	end_sharers();

	ptr = map_shared(npages);
	start_sharers(ptr, npages);
	time_readback(ptr, npages);
	end_sharers();
}

static void bench_thp(unsigned long npages)
{
	struct device_exclusive_bench cmd = { 0 };
	unsigned long size = npages * page_size;
	char *ptr = hmm_mmap_thp(size);
	int fd = open_device();

	expect(ptr, "huge pages", npages);
	if (ptr) {
		touch(ptr, npages);
		make(fd, ptr, npages, &cmd);
		record("thp-make+release", cmd.make + cmd.release, cmd.calls);
		time_look("thp-read-back", ptr, npages, look);
		munmap(ptr, size);
	}
	close(fd);
}

/* Counts the flushes of this CPU's TLB which this process asks for, or is -1. */
static int open_tlb_event(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.disabled = 1,
	};
	FILE *f = fopen(tlb_event, "r");
	int id, fd;

	if (!f)
		return -1;
	if (fscanf(f, "%d", &id) != 1)
		id = -1;
	fclose(f);
	attr.config = id;
	fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	/* TLB_LOCAL_SHOOTDOWN and TLB_LOCAL_MM_SHOOTDOWN, not a task switch */
	if (fd >= 0 && ioctl(fd, PERF_EVENT_IOC_SET_FILTER,
			     "reason == 2 || reason == 3"))
		ksft_exit_fail_msg("cannot filter TLB flushes\n");
	return fd;
}

/*
 * With a notifier, as a driver has one. This is for the end: the mm remembers
 * that there was one.
 */
static void bench_notifier(unsigned long npages)
{
	struct device_exclusive_bench cmd = { .notifier = true };
	int fd = open_device(), tlb = open_tlb_event();
	char *ptr = map(npages);
	uint64_t flushes;

	touch(ptr, npages);
	make(fd, ptr, npages, &cmd);
	record("notifier-make+release", cmd.make + cmd.release, cmd.calls);
	record("notifier-ranges", cmd.events, cmd.events);
	expect(is_sum(look(ptr, npages), npages), "notifier", npages);

	if (tlb >= 0) {
		touch(ptr, npages);
		cmd.notifier = false;
		ioctl(tlb, PERF_EVENT_IOC_ENABLE, 0);
		make(fd, ptr, npages, &cmd);
		ioctl(tlb, PERF_EVENT_IOC_DISABLE, 0);
		expect(read(tlb, &flushes, sizeof(flushes)) == sizeof(flushes),
		       "TLB flushes", npages);
		record("tlb-flushes", flushes, flushes);
		close(tlb);
	}
	munmap(ptr, npages * page_size);
	close(fd);
}

/* What threads of one process do at the same time, each with its own pages. */
struct worker {
	pthread_t thread;
	void (*work)(struct worker *worker);
	unsigned long npages;
	unsigned long spun;
	char *ptr;
	int fd;
	bool good;
};

static pthread_barrier_t barrier;

static void work_make(struct worker *worker)
{
	struct device_exclusive_bench cmd = {
		.addr = (uintptr_t)worker->ptr,
		.npages = worker->npages,
		.chunk = chunk,
	};

	worker->good = !ioctl(worker->fd, DEVICE_EXCLUSIVE_BENCH_RUN, &cmd) &&
		       cmd.made == worker->npages;
}

static void work_look(struct worker *worker)
{
	worker->good = is_sum(look(worker->ptr, worker->npages),
			      worker->npages);
}

static void work_touch(struct worker *worker)
{
	touch(worker->ptr, worker->npages);
}

/* Nothing shared but the processors. */
static void work_spin(struct worker *worker)
{
	unsigned long i;

	for (i = 0; i < worker->npages * 300; i++)
		__atomic_fetch_add(&worker->spun, 1, __ATOMIC_RELAXED);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	pthread_barrier_wait(&barrier);
	worker->work(worker);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void time_threads(const char *name, struct worker *workers, int nr,
			 void (*work)(struct worker *worker))
{
	uint64_t begin;
	int i;

	pthread_barrier_init(&barrier, NULL, nr + 1);
	for (i = 0; i < nr; i++) {
		workers[i].work = work;
		workers[i].good = true;
		if (pthread_create(&workers[i].thread, NULL, worker_main,
				   &workers[i]))
			ksft_exit_fail_msg("no thread\n");
	}
	begin = now();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	record(name, now() - begin, nr);
	for (i = 0; i < nr; i++) {
		pthread_join(workers[i].thread, NULL);
		expect(workers[i].good, name, workers[i].npages);
	}
	pthread_barrier_destroy(&barrier);
}

static void bench_threads(unsigned long npages)
{
	struct worker workers[MAX_THREADS];
	int nr = npages / MiB(8), i;

	for (i = 0; i < nr; i++) {
		workers[i].npages = npages / nr;
		workers[i].ptr = map(workers[i].npages);
		workers[i].fd = open_device();
	}
	time_threads("threads-spin", workers, nr, work_spin);
	time_threads("threads-touch", workers, nr, work_touch);
	time_threads("threads-make", workers, nr, work_make);
	time_threads("threads-read-back", workers, nr, work_look);
	for (i = 0; i < nr; i++) {
		munmap(workers[i].ptr, workers[i].npages * page_size);
		close(workers[i].fd);
	}
}

static bool always(void)
{
	return true;
}

static bool has_device(void)
{
	return !access(device, R_OK | W_OK);
}

/* Other kernels, and earlier ones, may refuse memory that is shared. */
static bool has_shared(void)
{
	struct device_exclusive_bench cmd = { .npages = 1, .chunk = 1 };
	bool possible;
	int fd, err;

	if (!has_device())
		return false;
	fd = open_device();
	cmd.addr = (uintptr_t)map_shared(1);
	err = ioctl(fd, DEVICE_EXCLUSIVE_BENCH_RUN, &cmd);
	possible = err ? errno != EOPNOTSUPP : cmd.made;
	munmap((void *)cmd.addr, page_size);
	close(fd);
	return possible;
}

static bool has_ramfs(void)
{
	int fd = open_ramfs(1);

	close(fd);
	return fd >= 0;
}

static bool has_nodes(void)
{
	return !access("/sys/devices/system/node/node1", F_OK);
}

static bool has_huge_pages(void)
{
	void *ptr = hmm_mmap_thp(TWOMEG);

	if (ptr)
		munmap(ptr, TWOMEG);
	return ptr && has_device();
}

static bool has_swap(void)
{
	return hmm_read_kb("/proc/meminfo", NULL, "SwapTotal:") > 0;
}

static const struct benchmark {
	const char *name;
	void (*run)(unsigned long npages);
	bool (*possible)(void);
	unsigned long smallest;
	unsigned long largest;
	const char *prefix;
} benchmarks[] = {
	{ "base",	bench_base,	 always,	 1,	  MiB(1024), "" },
	{ "faults",	bench_faults,	 always,	 1,	  MiB(64), "" },
	{ "fork",	bench_fork,	 always,	 1,	  MiB(64), "" },
	{ "swap",	bench_swap,	 has_swap,	 1,	  MiB(8), "" },
	{ "migrate",	bench_migrate,	 has_nodes,	 1,	  MiB(64), "" },
	{ "exclusive",	bench_exclusive, has_device,	 1,	  MiB(1024), "" },
	{ "readback",	bench_readback,	 has_device,	 1,	  MiB(64), "" },
	{ "thp",	bench_thp,	 has_huge_pages, MiB(2),  MiB(64), "" },
	{ "tmpfs",	bench_tmpfs,	 always,	 1,	  MiB(64), "tmpfs-" },
	{ "ramfs",	bench_ramfs,	 has_ramfs,	 1,	  MiB(64), "ramfs-" },
	{ "shared",	bench_shared,	 has_shared,	 1,	  MiB(64), "shared-" },
	{ "shared8",	bench_shared8,	 has_shared,	 1,	  MiB(8), "shared8-" },
	{ "threads",	bench_threads,	 has_device,	 MiB(8),  MiB(64), "" },
	{ "notifier",	bench_notifier,	 has_device,	 1,	  MiB(64), "" },
};

static void run(const struct benchmark *b)
{
	int i, rep, done = 0;

	good = true;
	prefix = b->prefix;
	for (i = 0; i < nr_sizes; i++) {
		if (sizes[i] < b->smallest || sizes[i] > b->largest)
			continue;
		done++;
		for (rep = 0; rep < max_reps; rep++)
			b->run(sizes[i]);
		report(sizes[i]);
	}
	if (!done)
		ksft_test_result_skip("%s\n", b->name);
	else if (good)
		ksft_test_result_pass("%s\n", b->name);
	else
		ksft_test_result_fail("%s\n", b->name);
}

/* Is @name in @list, whose elements are separated by commas? */
static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);
	const char *at;

	for (at = list; (at = strstr(at, name)); at += len)
		if ((at == list || at[-1] == ',') &&
		    (!at[len] || at[len] == ','))
			return true;
	return false;
}

static void parse_sizes(char *list)
{
	char *size;

	nr_sizes = 0;
	for (size = strtok(list, ","); size; size = strtok(NULL, ",")) {
		unsigned long n = strtoul(size, NULL, 0);

		if (!n || n & (n - 1) || nr_sizes == MAX_SIZES)
			ksft_exit_fail_msg("sizes are powers of two\n");
		sizes[nr_sizes++] = n;
	}
}

static void bad_arguments(const char *name)
{
	fprintf(stderr,
		"usage: %s [-b BENCHMARK,...] [-c CHUNK] [-r REPETITIONS] [-s PAGES,...]\n",
		name);
	exit(KSFT_FAIL);
}

int main(int argc, char *argv[])
{
	const char *wanted = NULL;
	unsigned int i, nr = 0;
	int opt;

	while ((opt = getopt(argc, argv, "b:c:r:s:")) != -1) {
		if (opt == 'b')
			wanted = optarg;
		else if (opt == 'c')
			chunk = strtoul(optarg, NULL, 0);
		else if (opt == 'r')
			max_reps = atoi(optarg);
		else if (opt == 's')
			parse_sizes(optarg);
		else
			bad_arguments(argv[0]);
	}
	/* Some operations are done twice in one go. */
	if (max_reps < 1 || max_reps > MAX_REPS / 2 || optind < argc)
		bad_arguments(argv[0]);

	page_size = sysconf(_SC_PAGESIZE);
	for (i = 0; i < ARRAY_SIZE(benchmarks); i++)
		nr += !wanted || listed(wanted, benchmarks[i].name);
	ksft_print_header();
	ksft_set_plan(nr);
	for (i = 0; i < ARRAY_SIZE(benchmarks); i++) {
		const struct benchmark *b = &benchmarks[i];

		if (wanted && !listed(wanted, b->name))
			continue;
		if (b->possible())
			run(b);
		else
			ksft_test_result_skip("%s\n", b->name);
	}
	return ksft_get_fail_cnt() ? ksft_exit_fail() : ksft_exit_pass();
}
