// SPDX-License-Identifier: GPL-2.0
/*
 * Torture device-exclusive memory. CPU threads, with atomic operations, and
 * devices (lib/test_hmm.c), which read and then write while a page is exclusive
 * to them, add to the same counters, while disturbers do to that memory whatever
 * an mm can have done to it. In the end no addition may be lost, whatever else
 * the pages hold must be as it was, and the kernel's books must be right.
 *
 * A phase is a set of disturbers at work for a time. It is a process of its own,
 * which ends with its memory exclusive to the devices, watched by its parent: a
 * thread that does not get on for long is a failure, which names the thread.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>

#include "../kselftest.h"
#include "hmm_exclusive.h"

#define PROGRAM		"hmm-exclusive-torture"
#define MAX_WORKERS	64
#define MAX_PAGES	4096
#define NR_WORDS	3
#define SIDE_PAGES	16
#define NR_SETTINGS	4
#define MAX_REST	200000

/* Bits of /proc/kpageflags */
#define KPF_LOCKED	0x000000001ULL
#define KPF_ANON	0x000001000ULL
#define KPF_SWAPCACHE	0x000002000ULL
#define KPF_MLOCKED	0x200000000ULL

/* Leave alone what somebody may need, and what per-CPU lists hold on to. */
#define LEAK_TOLERANCE	128

struct worker;

struct setting {
	const char *path;
	const char *value;
};

/*
 * missing() says why there is no such disturber on this kernel. start() is
 * called in the phase before there are threads, once() again and again.
 */
struct disturber {
	const char *name;
	const char *(*missing)(void);
	void (*start)(void);
	void (*once)(struct worker *w);
	struct setting settings[NR_SETTINGS];
	bool unmaps;		/* accesses fail meanwhile, and are done again */
};

struct area {
	const char *name;
	unsigned long first;
	unsigned long npages;
	char *base;
	bool used;
};

struct worker {
	pthread_t thread;
	int nr;
	int fd;
	uint64_t random;
	uint64_t *added;
	const struct disturber *disturber;
};

/* What a phase tells its parent. */
struct report {
	char stage[32];
	char name[MAX_WORKERS][32];
	pid_t tid[MAX_WORKERS];
	uint64_t progress[MAX_WORKERS];
	bool running;
	bool stop;
	int failures;
	int nr_workers;
	uint64_t cpu_sum;
	uint64_t device_sum;
	uint64_t refused;
	unsigned long npfns;
	uint64_t pfn[MAX_PAGES];
};

static struct {
	long seconds;
	long starve;
	unsigned long seed;
	unsigned long pages;
	int threads;
	int device_threads;
	int mirrors;
	bool alone;
	bool together;
	bool control;
} opt = {
	.seconds = 60,
	.starve = 60,
	.pages = 64,
	.threads = 2,
	.device_threads = 2,
	.mirrors = 1,
	.alone = true,
	.together = true,
};

enum { ONE, MANY, THP, NR_AREAS };

static struct area areas[NR_AREAS] = {
	[ONE] = { .name = "one", .used = true },
	[MANY] = { .name = "many", .used = true },
	[THP] = { .name = "thp", .used = true },
};

static struct report *report;
static struct worker workers[MAX_WORKERS];
static unsigned long page_size;
static unsigned long total_pages;
static unsigned int word_offset[NR_WORDS];
static uint64_t exclusive_type;
static bool tolerate_faults;
static int nr_active;

/* The areas lie in one piece of address space, and can move to another one. */
static char *home, *away;
static unsigned long home_size;
static int mirror_fd[2] = { -1, -1 };
static pthread_rwlock_t at_home = PTHREAD_RWLOCK_INITIALIZER;

/* The disturbers' own */
static char *ksm_side, *unmap_side;
static uint64_t ksm_rounds;
static int uffd = -1;
static char cgroup[256];

static void __attribute__((__format__(printf, 1, 2))) fail(const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* In one piece: ksft_print_msg() would be mixed with what others say. */
	if (__atomic_fetch_add(&report->failures, 1, __ATOMIC_RELAXED) < 20)
		printf("# FAILURE: %s\n", text);
}

static bool stopped(void)
{
	return __atomic_load_n(&report->stop, __ATOMIC_RELAXED);
}

static long microseconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static long seconds_now(void)
{
	return microseconds_now() / 1000000;
}

/* Some areas may not be in use. */
static struct area *random_area(struct worker *w)
{
	struct area *area;

	do {
		area = &areas[hmm_rand(&w->random, NR_AREAS)];
	} while (!area->used);
	return area;
}

/* Pages in a row: their number in the arena, and how many, at most @max. */
static unsigned long random_pages(struct worker *w, unsigned long *npages,
				  unsigned long max)
{
	struct area *area = random_area(w);
	unsigned long first = hmm_rand(&w->random, area->npages);
	unsigned long rest = area->npages - first;

	*npages = 1 + hmm_rand(&w->random, rest < max ? rest : max);
	return area->first + first;
}

static char *page_addr(unsigned long page)
{
	struct area *area = areas;

	while (!area->used || page - area->first >= area->npages)
		area++;
	return area->base + (page - area->first) * page_size;
}

/* The address of random pages, for a disturber */
static char *random_range(struct worker *w, unsigned long *size,
			  unsigned long max)
{
	unsigned long npages, page = random_pages(w, &npages, max);

	*size = npages * page_size;
	return page_addr(page);
}

static bool is_counter(unsigned long offset)
{
	int i;

	for (i = 0; i < NR_WORDS; i++)
		if (offset == word_offset[i])
			return true;
	return false;
}

static uint64_t pattern(unsigned long page, unsigned long offset)
{
	return ((page + 1) << 32 | offset) * 0x9e3779b97f4a7c15ULL;
}

static void fill_page(unsigned long page)
{
	char *ptr = page_addr(page);
	unsigned long offset;

	for (offset = 0; offset < page_size; offset += 8)
		*(uint64_t *)(ptr + offset) =
			is_counter(offset) ? 0 : pattern(page, offset);
}

/* The offset of a word which is not what it was, or the page size */
static unsigned long check_page(unsigned long page)
{
	char *ptr = page_addr(page);
	unsigned long offset;

	for (offset = 0; offset < page_size; offset += 8)
		if (!is_counter(offset) &&
		    hmm_load(ptr + offset) != pattern(page, offset))
			break;
	return offset;
}

static uint64_t *added(struct worker *w, unsigned long page, int word)
{
	return &w->added[page * NR_WORDS + word];
}

/* The CPU's side */
static void cpu_add(struct worker *w, char *ptr, unsigned long page, int word,
		    unsigned long count)
{
	uint64_t *counter = (uint64_t *)(ptr + word_offset[word]);
	unsigned long i;
	uint64_t old;

	for (i = 0; i < count; i++) {
		if (i & 1) {
			__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
			continue;
		}
		old = __atomic_load_n(counter, __ATOMIC_RELAXED);
		while (!__atomic_compare_exchange_n(counter, &old, old + 1,
						    false, __ATOMIC_RELAXED,
						    __ATOMIC_RELAXED))
			;
	}
	*added(w, page, word) += count;
	__atomic_fetch_add(&report->cpu_sum, count, __ATOMIC_RELAXED);
}

static void cpu_once(struct worker *w)
{
	unsigned long npages, page = random_pages(w, &npages, 8);
	int word = hmm_rand(&w->random, NR_WORDS);

	for (; npages--; page++) {
		unsigned long offset = hmm_rand(&w->random, page_size / 8) * 8;
		char *ptr = page_addr(page);

		cpu_add(w, ptr, page, word, 1 + hmm_rand(&w->random, 64));
		if (!is_counter(offset) &&
		    hmm_load(ptr + offset) != pattern(page, offset))
			fail("page %lu offset %lu is not what it was", page,
			     offset);
	}
}

/* The device's side. Returns how many additions it made. */
static uint64_t device_add(struct worker *w, char *ptr, unsigned long page,
			   unsigned long npages, int word, unsigned long count)
{
	struct hmm_dmirror_atomic_add add = {
		.value = DEVICE_ONE,
		.count = count,
		.offset = word_offset[word],
		.delay = hmm_rand(&w->random, 4) ? 0 :
			 hmm_rand(&w->random, 100),
	};
	struct hmm_dmirror_cmd cmd;
	unsigned long i;
	uint64_t rest;
	int ret;

	ret = hmm_range_cmd(w->fd, HMM_DMIRROR_ATOMIC_ADD, ptr, npages, &add,
			    &cmd);
	for (i = 0; i < cmd.cpages; i++)
		*added(w, page + i, word) += count * DEVICE_ONE;
	rest = add.done - cmd.cpages * count;
	if (rest)
		*added(w, page + i, word) += rest * DEVICE_ONE;
	__atomic_fetch_add(&report->device_sum, add.done, __ATOMIC_RELAXED);
	if (ret == -EFAULT && tolerate_faults)
		__atomic_fetch_add(&report->refused, 1, __ATOMIC_RELAXED);
	else if (ret)
		fail("device adds to page %lu: %s", page + i, strerror(-ret));
	return add.done;
}

/* How one must not do it: nobody keeps the CPU away. */
static void device_add_anyhow(struct worker *w, unsigned long page, int word)
{
	uint64_t buffer[page_size / 8];
	struct hmm_dmirror_cmd cmd;
	int ret;

	ret = hmm_range_cmd(w->fd, HMM_DMIRROR_READ, page_addr(page), 1, buffer,
			    &cmd);
	buffer[word_offset[word] / 8] += DEVICE_ONE;
	if (!ret)
		ret = hmm_range_cmd(w->fd, HMM_DMIRROR_WRITE, page_addr(page),
				    1, buffer, &cmd);
	if (ret)
		fail("device writes page %lu: %s", page, strerror(-ret));
	*added(w, page, word) += DEVICE_ONE;
	__atomic_fetch_add(&report->device_sum, 1, __ATOMIC_RELAXED);
}

static void device_once(struct worker *w)
{
	unsigned long npages, page = random_pages(w, &npages, 16);
	int word = hmm_rand(&w->random, NR_WORDS);

	if (opt.control) {
		device_add_anyhow(w, page, word);
		return;
	}

	/* For the disturber which unmaps there: this may succeed or not. */
	if (unmap_side && !hmm_rand(&w->random, 8)) {
		struct hmm_dmirror_atomic_add add = {
			.value = DEVICE_ONE,
			.count = 1,
			.offset = word_offset[1],
		};
		struct hmm_dmirror_cmd cmd;

		hmm_range_cmd(w->fd, HMM_DMIRROR_ATOMIC_ADD, unmap_side,
			      SIDE_PAGES, &add, &cmd);
	}

	/* Where only a fault handler can help, another page will do. */
	while (!device_add(w, page_addr(page), page, npages, word,
			   1 + hmm_rand(&w->random, 8)) && !stopped())
		page = random_pages(w, &npages, 16);
}

static void nap(struct worker *w, unsigned long us)
{
	usleep(hmm_rand(&w->random, us));
}

/* An access while a disturber has unmapped or protected the page: go back. */
static void segv(int signal, siginfo_t *info, void *context)
{
	char *addr = info->si_addr;

	if (tolerate_faults && addr >= home && addr < home + home_size) {
		usleep(50);
		return;
	}
	fail("signal %d at %p", signal, addr);
	_exit(KSFT_FAIL);
}

/* Disturber: fork */

static void read_counters(uint64_t *value)
{
	unsigned long page;
	int word;

	for (page = 0; page < total_pages; page++)
		for (word = 0; word < NR_WORDS; word++)
			*value++ = hmm_load(page_addr(page) + word_offset[word]);
}

/* Both halves only ever grow. */
static bool went_back(uint64_t before, uint64_t after)
{
	uint64_t diff = after - before;

	return CPU_SUM(diff) >> 31 || DEVICE_SUM(diff) >> 31;
}

/*
 * The child has what was there when it was made, and nothing changes it but the
 * child itself, whose own device may do so too.
 */
static int fork_child(uint64_t *before, uint64_t random)
{
	unsigned long page = hmm_rand(&random, total_pages);
	uint64_t *now = before + total_pages * NR_WORDS;
	char *ptr = page_addr(page);
	uint64_t *counter = (uint64_t *)ptr;
	unsigned long i;
	int fd, ret = 0;

	/* A disturber may have been in the middle of something. */
	for (i = 0; i < NR_AREAS; i++)
		if (areas[i].used)
			mprotect(areas[i].base, areas[i].npages * page_size,
				 PROT_READ | PROT_WRITE);
	read_counters(now);
	for (i = 0; i < total_pages * NR_WORDS; i++)
		if (went_back(before[i], now[i]))
			return 1;
	usleep(hmm_rand(&random, 2000));
	read_counters(before);
	if (memcmp(before, now, total_pages * NR_WORDS * 8))
		return 2;
	if (check_page(page) != page_size)
		return 3;

	fd = open("/dev/hmm_dmirror0", O_RDWR);
	if (fd < 0)
		return 4;
	*counter = 1;
	if (hmm_atomic_add(fd, ptr, 1, 2))
		ret = 5;
	else if (__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED) !=
		 2 + 2 * DEVICE_ONE)
		ret = 6;
	else if (hmm_rand(&random, 2))
		close(fd);
	return ret;
}

static void fork_once(struct worker *w)
{
	/* Threads do not share it, so it need not be on the heap. */
	static uint64_t counters[2 * MAX_PAGES * NR_WORDS];
	int status;
	pid_t pid;

	read_counters(counters);
	/* Nothing is away from home. */
	pthread_rwlock_rdlock(&at_home);
	pid = fork();
	pthread_rwlock_unlock(&at_home);
	if (!pid)
		_exit(fork_child(counters, w->random));
	if (pid < 0) {
		fail("fork: %s", strerror(errno));
		return;
	}
	waitpid(pid, &status, 0);
	if (status)
		fail("a child says %#x (see fork_child())", status);
}

/* Disturber: mprotect */

static void mprotect_once(struct worker *w)
{
	unsigned long size;
	char *ptr = random_range(w, &size, MAX_PAGES);

	mprotect(ptr, size, hmm_rand(&w->random, 2) ? PROT_READ : PROT_NONE);
	nap(w, 500);
	/* It stops short of what is away from home for the moment. */
	while (mprotect(ptr, size, PROT_READ | PROT_WRITE))
		usleep(50);
}

/* Disturbers that call madvise() */

static const char *no_swap(void)
{
	char line[256];
	FILE *file = fopen("/proc/swaps", "r");
	int lines = 0;

	while (file && fgets(line, sizeof(line), file))
		lines++;
	if (file)
		fclose(file);
	return lines > 1 ? NULL : "no swap";
}

static void advise(struct worker *w, int advice)
{
	unsigned long size;
	char *ptr = random_range(w, &size, 64);

	if (madvise(ptr, size, advice) && errno == EINVAL && !tolerate_faults)
		fail("madvise %d: %s", advice, strerror(errno));
}

static void pageout_once(struct worker *w)
{
	advise(w, MADV_PAGEOUT);
}

static void cold_once(struct worker *w)
{
	advise(w, MADV_COLD);
}

/* Disturber: KSM, in the areas, and in pages which are alike every so often */

static const char *no_ksm(void)
{
	return access("/sys/kernel/mm/ksm/run", W_OK) ? "no KSM" : NULL;
}

static void ksm_start(void)
{
	unsigned long size = SIDE_PAGES * page_size;
	int i;

	mprotect(ksm_side, size, PROT_READ | PROT_WRITE);
	madvise(ksm_side, size, MADV_MERGEABLE);
	for (i = 0; i < NR_AREAS; i++)
		if (areas[i].used)
			madvise(areas[i].base, areas[i].npages * page_size,
				MADV_MERGEABLE);
	ksm_rounds = 0;
}

static void ksm_once(struct worker *w)
{
	uint64_t *counter;
	int i, ret;

	ret = hmm_atomic_add(w->fd, ksm_side, SIDE_PAGES, 1);
	if (ret)
		fail("device adds to mergeable pages: %s", strerror(-ret));
	ksm_rounds++;
	for (i = 0; i < SIDE_PAGES; i++) {
		counter = (uint64_t *)(ksm_side + i * page_size);
		if (__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED) !=
		    ksm_rounds * (1 + DEVICE_ONE))
			fail("mergeable page %d: %#llx after %llu rounds", i,
			     (unsigned long long)*counter,
			     (unsigned long long)ksm_rounds);
	}
	nap(w, 50000);
}

/* Disturber: compaction */

static const char *no_compaction(void)
{
	return access("/proc/sys/vm/compact_memory", W_OK) ? "no compaction" :
							     NULL;
}

static void compact_once(struct worker *w)
{
	hmm_write_file("/proc/sys/vm/compact_memory", "1");
	nap(w, 20000);
}

/* Disturber: migration between nodes */

static const char *no_node(void)
{
	return access("/sys/devices/system/node/node1", F_OK) ?
		"no second node (numa=fake=2)" : NULL;
}

static void numa_once(struct worker *w)
{
	unsigned long size, i, node = hmm_rand(&w->random, 2);
	char *ptr = random_range(w, &size, 64);
	int nodes[64], status[64];
	void *pages[64];

	for (i = 0; i < size / page_size; i++) {
		pages[i] = ptr + i * page_size;
		nodes[i] = node;
	}
	if (syscall(SYS_move_pages, 0, i, pages, nodes, status,
		    MPOL_MF_MOVE) < 0 && errno == EINVAL)
		fail("move_pages: %s", strerror(errno));
}

/* Disturber: soft-dirty tracking */

static const char *no_soft_dirty(void)
{
	/* The stack has been written, for certain. */
	int on_stack = 0;

	return hmm_pagemap(&on_stack) & HMM_PAGEMAP_SOFT_DIRTY ?
		NULL : "no soft-dirty tracking";
}

static void soft_dirty_once(struct worker *w)
{
	hmm_write_file("/proc/self/clear_refs", "4");
}

/* Disturber: idle page tracking */

#define IDLE_BITMAP	"/sys/kernel/mm/page_idle/bitmap"

static const char *no_idle(void)
{
	return access(IDLE_BITMAP, W_OK) ? "no idle page tracking" : NULL;
}

/* The page frame of a mapping or of an exclusive entry; 0 if there is none */
static uint64_t pfn_of(const void *ptr)
{
	uint64_t entry = hmm_pagemap(ptr);

	if (entry & HMM_PAGEMAP_PRESENT)
		return entry & HMM_PAGEMAP_PFN;
	if (entry & HMM_PAGEMAP_SWAP && (entry & 31) == exclusive_type)
		return (entry & HMM_PAGEMAP_PFN) >> 5;
	return 0;
}

static void idle_once(struct worker *w)
{
	unsigned long size;
	uint64_t pfn = pfn_of(random_range(w, &size, 1));
	uint64_t bits = ~0ULL;
	int fd;

	fd = open(IDLE_BITMAP, O_RDWR | O_CLOEXEC);
	if (pwrite(fd, &bits, 8, pfn / 64 * 8) != 8 ||
	    pread(fd, &bits, 8, pfn / 64 * 8) != 8)
		fail("idle bitmap at %llu: %s", (unsigned long long)pfn,
		     strerror(errno));
	close(fd);
}

/* Disturber: write protection by userfaultfd */

static const char *no_uffd_wp(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	const char *why = NULL;

	if (fd < 0)
		return "no userfaultfd";
	if (ioctl(fd, UFFDIO_API, &api))
		why = "no write protection by userfaultfd";
	close(fd);
	return why;
}

static bool uffd_protect(unsigned long addr, unsigned long size, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = addr, .len = size },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	while (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
		if (errno != EAGAIN)
			return false;
	return true;
}

/* Lets everybody go on who waits for a page. Never touches one itself. */
static void *uffd_handler(void *arg)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	for (;;) {
		poll(&pfd, 1, -1);
		if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		uffd_protect(msg.arg.pagefault.address & ~(page_size - 1),
			     page_size, false);
	}
	return NULL;
}

static void uffd_wp_start(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	pthread_t thread;

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	ioctl(uffd, UFFDIO_API, &api);
	pthread_create(&thread, NULL, uffd_handler, NULL);
}

static void uffd_wp_once(struct worker *w)
{
	unsigned long size;
	char *ptr = random_range(w, &size, 64);
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)ptr, .len = size },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	/* Again each time, because a mapping that moves loses it. */
	ioctl(uffd, UFFDIO_REGISTER, &reg);
	/* It has to be one VMA, which one page is. */
	if (!uffd_protect((uintptr_t)ptr, size, true)) {
		size = page_size;
		uffd_protect((uintptr_t)ptr, size, true);
	}
	nap(w, 2000);
	uffd_protect((uintptr_t)ptr, size, false);
}

/* Disturber: mremap, away and back; where a page is away it gets additions too */

static void mremap_once(struct worker *w)
{
	unsigned long npages, page = random_pages(w, &npages, MAX_PAGES);
	char *from = page_addr(page), *to = away + (from - home);
	unsigned long size = npages * page_size;
	int word = hmm_rand(&w->random, NR_WORDS);

	pthread_rwlock_wrlock(&at_home);
	/* More than one VMA cannot be moved, one page can. */
	if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) {
		npages = 1;
		size = page_size;
		if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
			   to) != to) {
			fail("mremap: %s", strerror(errno));
			goto unlock;
		}
	}
	/* Nobody else can take back there what has been protected at home. */
	mprotect(to, size, PROT_READ | PROT_WRITE);
	device_add(w, to, page, npages, word, 1);
	cpu_add(w, to, page, word, 10);
	device_add(w, to, page, npages, word, 1);
	if (mremap(to, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, from) != from)
		fail("mremap back: %s", strerror(errno));
	mmap(to, size, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
unlock:
	pthread_rwlock_unlock(&at_home);
	nap(w, 5000);
}

/* Disturber: mlock */

static void mlock_once(struct worker *w)
{
	unsigned long size;
	char *ptr = random_range(w, &size, 64);

	if (hmm_rand(&w->random, 2))
		mlock(ptr, size);
	else
		mlock2(ptr, size, MLOCK_ONFAULT);
	nap(w, 1000);
	munlock(ptr, size);
}

/* Disturber: khugepaged; with an exclusive page in it nothing is collapsed */

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage/"

static const char *no_khugepaged(void)
{
	if (!areas[THP].used)
		return "no area that a huge page fits into";
	return access(THP_DIR "khugepaged", F_OK) ? "no khugepaged" : NULL;
}

static void khugepaged_once(struct worker *w)
{
	unsigned long page;

	for (page = 0; page < areas[THP].npages; page++)
		hmm_load(areas[THP].base + page * page_size);
	madvise(areas[THP].base, areas[THP].npages * page_size, MADV_HUGEPAGE);
	nap(w, 20000);
}

/* Disturber: munmap and mmap, in memory that nobody else relies on */

static void *map_fixed(char *ptr, unsigned long size, int prot)
{
	return mmap(ptr, size, prot,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static char *unmap_memory;

static void unmap_start(void)
{
	unmap_side = unmap_memory;
}

/* Fresh memory has nothing in it but what devices have added to word 1. */
static void unmap_check(uint64_t first)
{
	unsigned long offset;
	uint64_t word;
	int i;

	for (i = 0; i < SIDE_PAGES; i++)
		for (offset = 0; offset < page_size; offset += 8) {
			word = hmm_load(unmap_side + i * page_size + offset);
			if (offset == word_offset[1])
				word = CPU_SUM(word);
			if (word != (offset ? 0 : first))
				fail("mapped anew, page %d has %#llx at %#lx",
				     i, (unsigned long long)word, offset);
		}
}

static void unmap_once(struct worker *w)
{
	unsigned long size = SIDE_PAGES * page_size;
	int i, ret;

	if (map_fixed(unmap_side, size, PROT_READ | PROT_WRITE) == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	unmap_check(0);
	ret = hmm_atomic_add(w->fd, unmap_side, SIDE_PAGES, 1);
	if (ret)
		fail("device adds to new memory: %s", strerror(-ret));
	for (i = 0; i < SIDE_PAGES; i++)
		__atomic_fetch_add((uint64_t *)(unmap_side + i * page_size), 1,
				   __ATOMIC_RELAXED);
	unmap_check(1 + DEVICE_ONE);
	hmm_make_exclusive(w->fd, unmap_side,
			   1 + hmm_rand(&w->random, SIDE_PAGES));

	map_fixed(unmap_side, size, PROT_NONE);
	for (i = 0; i < opt.mirrors; i++)
		if (hmm_count_exclusive(mirror_fd[i], unmap_side, SIDE_PAGES))
			fail("device %d has memory that is not there", i);
	ret = hmm_atomic_add(w->fd, unmap_side, SIDE_PAGES, 1);
	if (ret != -EFAULT)
		fail("device adds to no memory: %s", strerror(-ret));
	nap(w, 2000);
}

/* Disturber: memory pressure, by a limit that the phase is over suddenly */

/* Where cgroup v2 is mounted, with a memory controller to give away */
static bool find_cgroup(char *path, size_t size)
{
	char line[512], type[64], where[200];
	FILE *file = fopen("/proc/mounts", "r");
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%*s %199s %63s", where, type) == 2 &&
			!strcmp(type, "cgroup2");
	if (file)
		fclose(file);
	if (found)
		snprintf(path, size, "%s", where);
	return found;
}

static int cgroup_write(const char *name, const char *text)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	return hmm_write_file(path, text);
}

/* Makes the group on the way; it is removed when all is over. */
static const char *no_memcg(void)
{
	static const char none[] = "no memory controller of cgroup v2";
	char root[200];

	if (no_swap())
		return no_swap();
	if (*cgroup)
		return NULL;
	if (!find_cgroup(root, sizeof(root)))
		return none;
	snprintf(cgroup, sizeof(cgroup), "%s", root);
	cgroup_write("cgroup.subtree_control", "+memory");
	snprintf(cgroup, sizeof(cgroup), "%s/hmm-torture-%d", root, getpid());
	if (mkdir(cgroup, 0755) || cgroup_write("memory.high", "max")) {
		rmdir(cgroup);
		*cgroup = '\0';
		return none;
	}
	return NULL;
}

static void memory_start(void)
{
	if (cgroup_write("cgroup.procs", "0"))
		fail("cannot join %s", cgroup);
}

static void memory_once(struct worker *w)
{
	char path[300], text[32];
	unsigned long now = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.current", cgroup);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%lu", &now) != 1)
		fail("cannot read %s", path);
	if (file)
		fclose(file);
	snprintf(text, sizeof(text), "%lu",
		 now / 2 + hmm_rand(&w->random, now / 2 + 1));
	/* Reclaims, on the spot, what is above; and everybody has to sleep. */
	cgroup_write("memory.high", text);
	cgroup_write("memory.high", "max");
	nap(w, 500000);
}

/* Disturber: migration to device memory, from where CPU and device fetch it */

static void migrate_once(struct worker *w)
{
	unsigned long size;
	char *ptr = random_range(w, &size, 64);
	static char buffer[64 * 65536];
	struct hmm_dmirror_cmd cmd;

	/* Pages that cannot be had are no error but not read back: ENOENT. */
	hmm_range_cmd(w->fd, HMM_DMIRROR_MIGRATE, ptr, size / page_size, buffer,
		      &cmd);
}

static struct disturber disturbers[] = {
	{ "fork", NULL, NULL, fork_once },
	{ "mprotect", NULL, NULL, mprotect_once, .unmaps = true },
	{ "pageout", no_swap, NULL, pageout_once },
	{ "cold", NULL, NULL, cold_once },
	{ "ksm", no_ksm, ksm_start, ksm_once, {
		{ "/sys/kernel/mm/ksm/sleep_millisecs", "0" },
		{ "/sys/kernel/mm/ksm/pages_to_scan", "1000" },
		{ "/sys/kernel/mm/ksm/run", "1" } } },
	{ "compact", no_compaction, NULL, compact_once },
	{ "numa", no_node, NULL, numa_once },
	{ "soft-dirty", no_soft_dirty, NULL, soft_dirty_once },
	{ "idle", no_idle, NULL, idle_once },
	{ "uffd-wp", no_uffd_wp, uffd_wp_start, uffd_wp_once, .unmaps = true },
	{ "mremap", NULL, NULL, mremap_once, .unmaps = true },
	{ "mlock", NULL, NULL, mlock_once },
	{ "khugepaged", no_khugepaged, NULL, khugepaged_once, {
		{ THP_DIR "khugepaged/scan_sleep_millisecs", "0" },
		{ THP_DIR "khugepaged/alloc_sleep_millisecs", "0" },
		{ THP_DIR "khugepaged/pages_to_scan", "4096" } } },
	{ "munmap", NULL, unmap_start, unmap_once },
	{ "memory", no_memcg, memory_start, memory_once },
	{ "migrate", NULL, NULL, migrate_once },
};

#define NR_DISTURBERS	ARRAY_SIZE(disturbers)

static bool chosen[NR_DISTURBERS];

/* A phase: the memory */

static void setup_memory(void)
{
	unsigned long huge = page_size < TWOMEG ? TWOMEG : page_size;
	unsigned long size = 4 * huge + (opt.pages + 4 * SIDE_PAGES) * page_size;
	char *ptr;
	int i;

	home_size = ALIGN(size, huge);
	ptr = mmap(NULL, 2 * home_size + huge, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ptr == MAP_FAILED) {
		fail("mmap: %s", strerror(errno));
		_exit(KSFT_FAIL);
	}
	home = (char *)ALIGN((uintptr_t)ptr, huge);
	away = home + home_size;

	/* With gaps between them, so that no VMA is in two areas. */
	areas[THP].base = home + huge;
	areas[ONE].base = home + 3 * huge;
	areas[MANY].base = areas[ONE].base + 2 * page_size;
	ksm_side = areas[MANY].base + (areas[MANY].npages + 1) * page_size;
	unmap_memory = ksm_side + (SIDE_PAGES + 1) * page_size;

	for (i = 0; i < NR_AREAS; i++) {
		struct area *area = &areas[i];
		unsigned long page;

		if (!area->used)
			continue;
		mprotect(area->base, area->npages * page_size,
			 PROT_READ | PROT_WRITE);
		madvise(area->base, area->npages * page_size,
			i == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		for (page = 0; page < area->npages; page++)
			fill_page(area->first + page);
	}
}

/* The sum of a line of smaps over the areas and what is between them, in kB */
static long smaps_sum(const char *name)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool inside = false;
	char line[512];
	long sum = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start >= (uintptr_t)home &&
				 end <= (uintptr_t)ksm_side;
		else if (inside && !strncmp(line, name, strlen(name)))
			sum += atol(line + strlen(name));
	}
	if (file)
		fclose(file);
	return sum;
}

/* Which type of swap entry do exclusive pages have? */
static void learn_exclusive_type(void)
{
	uint64_t entry;

	hmm_make_exclusive(mirror_fd[0], page_addr(0), 1);
	entry = hmm_pagemap(page_addr(0));
	if (!(entry & HMM_PAGEMAP_SWAP))
		fail("pagemap of an exclusive page: %#llx",
		     (unsigned long long)entry);
	exclusive_type = entry & 31;
}

/* A phase: the threads */

/*
 * The more disturbers there are the longer each one rests, so that there is
 * somebody to disturb, however slow the machine is.
 */
static void disturb(struct worker *w)
{
	long start = microseconds_now(), us;

	w->disturber->once(w);
	us = 1000 + nr_active * (microseconds_now() - start);
	nap(w, us < MAX_REST ? us : MAX_REST);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	report->tid[w->nr] = syscall(SYS_gettid);
	while (!stopped()) {
		if (w->disturber)
			disturb(w);
		else if (w->nr < opt.threads)
			cpu_once(w);
		else
			device_once(w);
		__atomic_fetch_add(&report->progress[w->nr], 1,
				   __ATOMIC_RELAXED);
	}
	return NULL;
}

static void start_worker(const struct disturber *disturber, const char *name)
{
	int nr = report->nr_workers;
	struct worker *w = &workers[nr];

	w->nr = nr;
	w->disturber = disturber;
	w->fd = mirror_fd[nr % opt.mirrors];
	w->random = hmm_rand_seed(opt.seed, nr);
	w->added = calloc(total_pages * NR_WORDS, sizeof(*w->added));
	snprintf(report->name[nr], sizeof(report->name[nr]), "%s", name);
	report->nr_workers++;
	if (!w->added || pthread_create(&w->thread, NULL, work, w)) {
		fail("no thread for %s", name);
		_exit(KSFT_FAIL);
	}
}

static void start_workers(const bool *active)
{
	char name[32];
	size_t i;
	int nr;

	for (nr = 0; nr < opt.threads; nr++) {
		snprintf(name, sizeof(name), "CPU thread %d", nr);
		start_worker(NULL, name);
	}
	for (nr = 0; nr < opt.device_threads; nr++) {
		snprintf(name, sizeof(name), "device thread %d", nr);
		start_worker(NULL, name);
	}
	for (i = 0; i < NR_DISTURBERS; i++)
		if (active[i])
			start_worker(&disturbers[i], disturbers[i].name);
}

/* A phase: the checks */

static void check_sums(void)
{
	unsigned long page, offset;
	int word, nr;

	for (page = 0; page < total_pages; page++) {
		for (word = 0; word < NR_WORDS; word++) {
			uint64_t is = hmm_load(page_addr(page) +
					       word_offset[word]);
			uint64_t ought = 0;

			for (nr = 0; nr < report->nr_workers; nr++)
				ought += *added(&workers[nr], page, word);
			if (is != ought)
				fail("page %lu word %d: lost %lld of the CPU, %lld of the device",
				     page, word,
				     (long long)(CPU_SUM(ought) - CPU_SUM(is)),
				     (long long)(DEVICE_SUM(ought) - DEVICE_SUM(is)));
		}
		offset = check_page(page);
		if (offset != page_size && !opt.control)
			fail("page %lu: offset %lu is not what it was", page,
			     offset);
	}
}

/* Everything is mapped here and nowhere else, whoever has it at the moment. */
static void check_rss(const char *when)
{
	long ought = total_pages * page_size / 1024;
	long rss = smaps_sum("Rss:"), pss = smaps_sum("Pss:");
	long locked = smaps_sum("Locked:");
	long all, status;

	if (rss != ought || pss != ought || locked)
		fail("%s: Rss %ld kB, Pss %ld kB, of %ld kB; locked %ld kB",
		     when, rss, pss, ought, locked);

	/* What threads have counted is added up every now and then only. */
	status = hmm_read_kb("/proc/self/status", NULL, "VmRSS:");
	all = hmm_read_kb("/proc/self/smaps_rollup", NULL, "Rss:");
	if (labs(status - all) * 1024 > 128 * (long)page_size)
		fail("%s: VmRSS is %ld kB, but %ld kB are mapped", when, status,
		     all);
}

static uint64_t read_entry(const char *path, uint64_t nr)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (pread(fd, &entry, sizeof(entry), nr * 8) != 8)
		entry = 0;
	close(fd);
	return entry;
}

/* Others, kswapd for one, may have a page locked, but not for long. */
static bool page_released(uint64_t pfn)
{
	int i;

	for (i = 0; i < 500; i++) {
		if (!(read_entry("/proc/kpageflags", pfn) & KPF_LOCKED))
			return true;
		usleep(10000);
	}
	return false;
}

static void check_pages(void)
{
	unsigned long page;
	uint64_t pfn, flags, count;
	bool locked;

	for (page = 0; page < total_pages; page++) {
		/* khugepaged may put another one in its place. */
		do {
			pfn = pfn_of(page_addr(page));
			locked = !page_released(pfn);
			flags = read_entry("/proc/kpageflags", pfn);
			count = read_entry("/proc/kpagecount", pfn);
		} while (pfn != pfn_of(page_addr(page)));
		if (!pfn) {
			fail("page %lu has no page frame", page);
			continue;
		}
		if (locked)
			fail("page %lu is locked", page);
		if (count != 1 || flags & KPF_MLOCKED || !(flags & KPF_ANON))
			fail("page %lu: %llu mappings, flags %#llx", page,
			     (unsigned long long)count,
			     (unsigned long long)flags);
	}
}

/* For the parent, to see if they are free when this has ended */
static void record_frames(void)
{
	unsigned long page;

	for (page = 0; page < total_pages; page++)
		report->pfn[page] = pfn_of(page_addr(page));
	report->npfns = total_pages;
}

static void make_all_exclusive(void)
{
	int i, ret;

	for (i = 0; i < NR_AREAS; i++) {
		if (!areas[i].used)
			continue;
		ret = hmm_make_exclusive(mirror_fd[0], areas[i].base,
					 areas[i].npages);
		if (ret)
			fail("making %s exclusive: %s", areas[i].name,
			     strerror(-ret));
	}
}

static void stage(const char *name)
{
	snprintf(report->stage, sizeof(report->stage), "%s", name);
	report->progress[0]++;
}

/* Undo what disturbers may have left behind. */
static void calm_down(void)
{
	int i;

	if (uffd >= 0)
		close(uffd);
	for (i = 0; i < NR_AREAS; i++)
		if (areas[i].used)
			munlock(areas[i].base, areas[i].npages * page_size);
}

static void __attribute__((noreturn)) run_phase(const bool *active, long seconds)
{
	struct sigaction action = {
		.sa_sigaction = segv,
		.sa_flags = SA_SIGINFO,
	};
	long end = seconds_now() + seconds;
	int nr, i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* No new mapping may come to lie where something is away from. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);

	stage("setting up");
	for (i = 0; i < opt.mirrors; i++) {
		char path[] = "/dev/hmm_dmirror0";

		path[sizeof(path) - 2] += i;
		mirror_fd[i] = open(path, O_RDWR | O_CLOEXEC);
		if (mirror_fd[i] < 0) {
			fail("%s: %s", path, strerror(errno));
			_exit(KSFT_FAIL);
		}
	}
	for (i = 0; i < (int)NR_DISTURBERS; i++) {
		/* To have its memory charged there */
		if (active[i] && disturbers[i].start == memory_start)
			memory_start();
		if (active[i] && disturbers[i].unmaps)
			tolerate_faults = true;
		nr_active += active[i];
	}
	setup_memory();
	learn_exclusive_type();
	for (i = 0; i < (int)NR_DISTURBERS; i++)
		if (active[i] && disturbers[i].start &&
		    disturbers[i].start != memory_start)
			disturbers[i].start();
	start_workers(active);
	stage("at work");
	report->running = true;
	/* On a slow machine, until both sides have done something at least. */
	while ((seconds_now() < end || !report->cpu_sum ||
		!report->device_sum) && !report->failures)
		usleep(50000);

	__atomic_store_n(&report->stop, true, __ATOMIC_RELAXED);
	for (nr = 0; nr < report->nr_workers; nr++)
		pthread_join(workers[nr].thread, NULL);
	report->running = false;
	stage("checking");
	calm_down();
	check_sums();
	if (!opt.control) {
		check_rss("at rest");
		check_pages();
		make_all_exclusive();
		check_rss("exclusive");
		record_frames();
	}
	_exit(report->failures ? KSFT_FAIL : KSFT_PASS);
}

/* The parent: settings of the whole system */

static char saved[NR_DISTURBERS][NR_SETTINGS][32];

static void save_setting(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, value, size - 1);

	value[n > 0 ? n : 0] = '\0';
	close(fd);
}

static void apply_settings(const bool *active)
{
	size_t i, j;

	for (i = 0; i < NR_DISTURBERS; i++) {
		struct setting *s = disturbers[i].settings;

		for (j = 0; active[i] && j < NR_SETTINGS && s[j].path; j++) {
			save_setting(s[j].path, saved[i][j], sizeof(saved[i][j]));
			hmm_write_file(s[j].path, s[j].value);
		}
	}
}

static void restore_settings(const bool *active)
{
	size_t i, j;

	for (i = 0; i < NR_DISTURBERS; i++) {
		struct setting *s = disturbers[i].settings;

		for (j = 0; active[i] && j < NR_SETTINGS && s[j].path; j++)
			hmm_write_file(s[j].path, saved[i][j]);
	}
}

/* The parent: what the kernel says */

static int kmsg = -1;

static void open_kmsg(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
}

static void check_kmsg(void)
{
	static const char * const bad[] = {
		"Bad rss-counter", "Bad page", "BUG", "WARNING:", "blocked for more",
		"page dumped", "Oops", "general protection", "INFO: rcu",
	};
	char record[2048], *text;
	size_t i;
	ssize_t n;

	for (;;) {
		n = read(kmsg, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			return;
		record[n] = '\0';
		/* Facility 0 is the kernel itself. */
		text = strchr(record, ';');
		if (!text || atoi(record) >> 3)
			continue;
		text[strcspn(text, "\n")] = '\0';
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			if (strstr(text, bad[i]))
				fail("the kernel says: %s", text + 1);
	}
}

/* The parent: leaked pages */

/*
 * The page frames of a phase that has ended. Somebody else may have been given a
 * few of them, but not many: nobody here needs memory. Swap cache may stay.
 */
static void check_frames(void)
{
	unsigned long i, left = 0;
	uint64_t flags;

	for (i = 0; i < report->npfns; i++) {
		flags = read_entry("/proc/kpageflags", report->pfn[i]);
		if ((flags & (KPF_ANON | KPF_SWAPCACHE)) == KPF_ANON)
			left++;
	}
	if (left > LEAK_TOLERANCE)
		fail("%lu of %lu page frames are still in use", left,
		     report->npfns);
}

/*
 * Pages on the anonymous LRU lists which nobody maps and which are neither shmem
 * nor swap cache: somebody has forgotten to give back a reference. Per-CPU lists
 * hold a few.
 */
static long forgotten_pages(void)
{
	static const char * const lru[] = {
		"Active(anon):", "Inactive(anon):", "Unevictable:",
	};
	static const char * const used[] = {
		"AnonPages:", "Shmem:", "SwapCached:",
	};
	long kb = 0;
	size_t i;

	hmm_write_file("/proc/sys/vm/stat_refresh", "1");
	for (i = 0; i < ARRAY_SIZE(lru); i++)
		kb += hmm_read_kb("/proc/meminfo", NULL, lru[i]);
	for (i = 0; i < ARRAY_SIZE(used); i++)
		kb -= hmm_read_kb("/proc/meminfo", NULL, used[i]);
	return kb * 1024 / (long)page_size;
}

/* The last child may still be about to end, which need not take long. */
static void check_forgotten(long before)
{
	long growth;
	int i;

	for (i = 0; i < 50; i++) {
		growth = forgotten_pages() - before;
		if (growth <= LEAK_TOLERANCE)
			return;
		usleep(100000);
	}
	fail("%ld pages are left that nobody maps", growth);
}

/* The parent: watching a phase */

static void show_progress(const char *name, long seconds)
{
	ksft_print_msg("%s, %ld s: CPU %llu, device %llu, refused %llu\n", name,
		       seconds, (unsigned long long)report->cpu_sum,
		       (unsigned long long)report->device_sum,
		       (unsigned long long)report->refused);
}

/* Where is everybody, when somebody does not get on? */
static void show_stacks(pid_t pid)
{
	int nr, n = report->nr_workers;
	char path[64], line[256];
	FILE *file;

	for (nr = 0; nr < n; nr++) {
		snprintf(path, sizeof(path), "/proc/%d/task/%d/stack", pid,
			 report->tid[nr]);
		ksft_print_msg("%s: %llu rounds\n", report->name[nr],
			       (unsigned long long)report->progress[nr]);
		file = fopen(path, "r");
		while (file && fgets(line, sizeof(line), file))
			ksft_print_msg("  %s", line);
		if (file)
			fclose(file);
	}
}

static bool kill_phase(pid_t pid)
{
	int i;

	kill(pid, SIGKILL);
	for (i = 0; i < 300; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(100000);
	}
	return false;
}

/* What disturbs may wait for long, as for a child that has to be paged in. */
static bool is_side(const char *name)
{
	return !strncmp(name, "CPU", 3) || !strncmp(name, "device", 6);
}

/* The name of a side that has not got on for too long, or NULL */
static const char *starved(uint64_t *seen, long *since, long now)
{
	int nr, last = report->running ? report->nr_workers : 1;

	for (nr = 0; nr < last; nr++) {
		if (report->progress[nr] != seen[nr] ||
		    (report->running && !is_side(report->name[nr]))) {
			seen[nr] = report->progress[nr];
			since[nr] = now;
		} else if (now - since[nr] > opt.starve) {
			return report->running ? report->name[nr] : report->stage;
		}
	}
	return NULL;
}

static void watch_phase(const char *name, pid_t pid)
{
	long since[MAX_WORKERS], start = seconds_now(), shown = start, now;
	uint64_t seen[MAX_WORKERS] = { 0 };
	const char *who;
	int status, i;

	for (i = 0; i < MAX_WORKERS; i++)
		since[i] = start;
	while (waitpid(pid, &status, WNOHANG) != pid) {
		usleep(50000);
		now = seconds_now();
		if (now - shown >= 5) {
			show_progress(name, now - start);
			shown = now;
		}
		who = starved(seen, since, now);
		if (!who)
			continue;
		fail("no progress for %ld s: %s", opt.starve, who);
		show_stacks(pid);
		if (!kill_phase(pid))
			ksft_exit_fail_msg("%s: a thread cannot be killed\n",
					   name);
		return;
	}
	if (status && !report->failures)
		fail("ended with status %#x while %s", status, report->stage);
}

static void phase(const char *name, const bool *active, long seconds)
{
	long forgotten = forgotten_pages();
	bool lost;
	pid_t pid;

	memset(report, 0, sizeof(*report));
	apply_settings(active);
	pid = fork();
	if (!pid)
		run_phase(active, seconds);
	watch_phase(name, pid);
	restore_settings(active);
	check_frames();
	/* That rss was wrong is said when the last CPU lets go of the mm. */
	usleep(200000);
	check_kmsg();
	check_forgotten(forgotten);

	lost = report->failures;
	if (!opt.control && (!report->cpu_sum || !report->device_sum))
		fail("one side has not added anything");
	/* Without exclusivity, additions get lost, or this shows nothing. */
	ksft_test_result(opt.control ? lost : !report->failures,
			 "%s: CPU %llu, device %llu additions, %s%d failures\n",
			 name, (unsigned long long)report->cpu_sum,
			 (unsigned long long)report->device_sum,
			 opt.control ? "no exclusivity, " : "",
			 report->failures);
}

/* The command line */

static void show_usage(void)
{
	size_t i;

	fputs("usage: " PROGRAM " [OPTION...]\n"
	      "Have CPU and device add to the same memory while it is being disturbed.\n"
	      "  --seconds N         how long in all (60)\n"
	      "  --seed N            for all that is random (the time)\n"
	      "  --threads N         CPU threads (2)\n"
	      "  --device-threads N  threads that have a device add (2)\n"
	      "  --mirrors N         devices, 1 or 2 (1)\n"
	      "  --disturb LIST      all, none, or names with commas between them (all)\n"
	      "  --mode MODE         alone: the disturbers one after the other; together: all\n"
	      "                      at once; both: half of the time for each (both)\n"
	      "  --layout LIST       which memory: one, many, thp (one,many,thp)\n"
	      "  --pages N           how many pages \"many\" are (64)\n"
	      "  --starve N          seconds without progress that are a failure (60)\n"
	      "  --control           the device adds without exclusivity: must lose additions\n"
	      "Disturbers:", stdout);
	for (i = 0; i < NR_DISTURBERS; i++)
		printf(" %s", disturbers[i].name);
	printf("\n");
}

static void choose_disturbers(char *list)
{
	char *name;
	size_t i;

	memset(chosen, 0, sizeof(chosen));
	for (name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		bool found = !strcmp(name, "none");

		for (i = 0; i < NR_DISTURBERS; i++) {
			if (strcmp(name, "all") &&
			    strcmp(name, disturbers[i].name))
				continue;
			chosen[i] = true;
			found = true;
		}
		if (!found)
			hmm_bad_argument(PROGRAM, "no such disturber:", name);
	}
}

static void choose_layout(char *list)
{
	bool found = false;
	char *name;
	int i;

	for (i = 0; i < NR_AREAS; i++)
		areas[i].used = false;
	for (name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		found = false;
		for (i = 0; i < NR_AREAS; i++) {
			if (strcmp(name, areas[i].name))
				continue;
			areas[i].used = true;
			found = true;
		}
		if (!found)
			hmm_bad_argument(PROGRAM, "no such layout:", name);
	}
	if (!found)
		hmm_bad_argument(PROGRAM, "--layout takes one, many, thp, not",
				 "nothing");
}

static void choose_mode(const char *mode)
{
	opt.alone = !strcmp(mode, "alone") || !strcmp(mode, "both");
	opt.together = !strcmp(mode, "together") || !strcmp(mode, "both");
	if (!opt.alone && !opt.together)
		hmm_bad_argument(PROGRAM, "--mode takes alone, together or both, not", mode);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "threads", required_argument, NULL, 't' },
		{ "device-threads", required_argument, NULL, 'D' },
		{ "mirrors", required_argument, NULL, 'm' },
		{ "disturb", required_argument, NULL, 'd' },
		{ "mode", required_argument, NULL, 'o' },
		{ "layout", required_argument, NULL, 'l' },
		{ "pages", required_argument, NULL, 'p' },
		{ "starve", required_argument, NULL, 'v' },
		{ "control", no_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL }
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			opt.seconds = hmm_number(PROGRAM, "seconds", optarg, 1, 1000000000);
			break;
		case 'r':
			opt.seed = hmm_number(PROGRAM, "seed", optarg, 0, ~0UL);
			break;
		case 't':
			opt.threads = hmm_number(PROGRAM, "threads", optarg, 1, 16);
			break;
		case 'D':
			opt.device_threads = hmm_number(PROGRAM, "device-threads", optarg, 1, 16);
			break;
		case 'm':
			opt.mirrors = hmm_number(PROGRAM, "mirrors", optarg, 1, 2);
			break;
		case 'd':
			choose_disturbers(optarg);
			break;
		case 'o':
			choose_mode(optarg);
			break;
		case 'l':
			choose_layout(optarg);
			break;
		case 'p':
			opt.pages = hmm_number(PROGRAM, "pages", optarg, 1, MAX_PAGES / 2);
			break;
		case 'v':
			opt.starve = hmm_number(PROGRAM, "starve", optarg, 1, 1000000);
			break;
		case 'c':
			opt.control = true;
			break;
		case 'h':
			show_usage();
			exit(0);
		default:
			hmm_bad_argument(PROGRAM, "bad option:", argv[optind - 1]);
		}
	}
	if (optind < argc)
		hmm_bad_argument(PROGRAM, "what is", argv[optind]);
}

static void lay_out(void)
{
	int i;

	areas[ONE].npages = 1;
	areas[MANY].npages = opt.pages;
	areas[THP].npages = TWOMEG / page_size;
	for (i = 0; i < NR_AREAS; i++) {
		areas[i].first = total_pages;
		if (areas[i].used)
			total_pages += areas[i].npages;
	}
	word_offset[1] = page_size / 2;
	word_offset[2] = page_size - 8;
}

/* Runs one disturber alone, or says why there is none. */
static void phase_alone(size_t i, const char *missing, long seconds)
{
	bool active[NR_DISTURBERS] = { false };

	if (missing) {
		ksft_test_result_skip("%s: %s\n", disturbers[i].name, missing);
		return;
	}
	active[i] = true;
	phase(disturbers[i].name, active, seconds);
}

static void run(void)
{
	const char *missing[NR_DISTURBERS] = { NULL };
	bool active[NR_DISTURBERS] = { false };
	long seconds, alone, together;
	int wanted = 0, there = 0;
	size_t i;

	for (i = 0; i < NR_DISTURBERS; i++) {
		if (!chosen[i])
			continue;
		if (disturbers[i].missing)
			missing[i] = disturbers[i].missing();
		active[i] = !missing[i];
		wanted++;
		there += active[i];
	}
	if (opt.control || !there) {
		memset(active, 0, sizeof(active));
		opt.alone = false;
		opt.together = true;
	}
	ksft_set_plan((opt.alone ? wanted : 0) + opt.together);

	seconds = opt.alone && opt.together ? opt.seconds / 2 : opt.seconds;
	alone = opt.alone && there ? (seconds + there - 1) / there : 0;
	together = seconds;
	for (i = 0; opt.alone && i < NR_DISTURBERS; i++)
		if (chosen[i])
			phase_alone(i, missing[i], alone);
	if (!opt.together)
		return;
	for (i = 0; !opt.alone && i < NR_DISTURBERS; i++)
		if (missing[i])
			ksft_print_msg("left out: %s, %s\n", disturbers[i].name,
				       missing[i]);
	phase(opt.control ? "control" : there ? "together" : "undisturbed",
	      active, together);
}

int main(int argc, char **argv)
{
	page_size = sysconf(_SC_PAGESIZE);
	memset(chosen, true, sizeof(chosen));
	opt.seed = time(NULL);
	parse(argc, argv);
	lay_out();
	setvbuf(stdout, NULL, _IOLBF, 0);

	ksft_print_header();
	if (access("/dev/hmm_dmirror0", R_OK | W_OK))
		ksft_exit_skip("no /dev/hmm_dmirror0: load test_hmm, make its nodes\n");
	if (geteuid())
		ksft_exit_skip("needs to be root\n");
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	ksft_print_msg("--seed %lu\n", opt.seed);
	open_kmsg();
	run();
	if (*cgroup)
		rmdir(cgroup);
	ksft_exit(!ksft_get_fail_cnt());
}
