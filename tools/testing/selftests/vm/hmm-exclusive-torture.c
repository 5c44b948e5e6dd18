// SPDX-License-Identifier: GPL-2.0
/*
 * Torture device-exclusive memory. CPU threads, with atomic operations, and
 * devices (lib/test_hmm.c), which read and then write while a page is exclusive
 * to them, add to the same counters, while disturbers do to that memory whatever
 * an mm can have done to it. In the end no addition may be lost, whatever else
 * the pages hold must be as it was, and the kernel's books must be right.
 *
 * With --shared the memory belongs to several processes. Each has CPU threads,
 * devices that mirror it, and disturbers of its own, and the sum is over all of
 * them. What one process does must take the memory from the devices of all.
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
#include <sys/time.h>
#include <sys/wait.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>

#include "../kselftest.h"
#include "hmm_exclusive.h"

#define PROGRAM		"hmm-exclusive-torture"
#define MAX_PROCESSES	8
#define MAX_WORKERS	512
#define MAX_PAGES	4096
#define NR_WORDS	3
#define SIDE_PAGES	16
#define NR_SETTINGS	4
#define MAX_REST	200000

/* Bits of /proc/kpageflags */
#define KPF_LOCKED	0x000000001ULL
#define KPF_ANON	0x000001000ULL
#define KPF_SWAPCACHE	0x000002000ULL
#define KPF_SWAPBACKED	0x000004000ULL
#define KPF_THP		0x000400000ULL
#define KPF_MLOCKED	0x200000000ULL

/* Leave alone what somebody may need, and what per-CPU lists hold on to. */
#define LEAK_TOLERANCE	128

#define THP_DIR		"/sys/kernel/mm/transparent_hugepage/"

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
	bool anonymous;		/* only for memory that is not shared */
	bool shared;		/* only for memory that is */
};

struct area {
	const char *name;
	unsigned long first;
	unsigned long npages;
	char *base;
	int fd;			/* the file, if it has one */
	bool used;
};

struct worker {
	pthread_t thread;
	int nr;
	int process;
	int fd;
	uint64_t random;
	uint64_t *added;	/* which all processes can read */
	bool cpu;
	const struct disturber *disturber;
};

/* What a phase tells its parent. */
struct report {
	char stage[32];
	char name[MAX_WORKERS][32];
	pid_t tid[MAX_WORKERS];
	uint64_t progress[MAX_WORKERS];
	unsigned long busy_page[MAX_WORKERS];
	bool running;
	bool stop;
	bool punching;
	int met;
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
	int processes;
	bool shared;
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
	.processes = 1,
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

/* Which one of those that share the memory this is; the first one has the others. */
static int process;
static pid_t sharer[MAX_PROCESSES];

/* The areas lie in one piece of address space, and can move to another one. */
static char *home, *away;
static unsigned long home_size;
static int mirror_fd[2] = { -1, -1 };
static pthread_rwlock_t at_home = PTHREAD_RWLOCK_INITIALIZER;

/* The disturbers' own */
static char *ksm_side, *unmap_side, *punch_side;
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
	if (__atomic_fetch_add(&report->failures, 1, __ATOMIC_RELAXED) >= 20)
		return;
	if (process)
		printf("# FAILURE: process %d: %s\n", process, text);
	else
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

static struct area *area_of(unsigned long page)
{
	struct area *area = areas;

	while (!area->used || page - area->first >= area->npages)
		area++;
	return area;
}

static char *page_addr(unsigned long page)
{
	struct area *area = area_of(page);

	return area->base + (page - area->first) * page_size;
}

/* The same where a device is at work, most likely one of another process */
static unsigned long busy_pages(struct worker *w, unsigned long *npages,
				unsigned long max)
{
	unsigned long nr, page, rest;
	struct area *area;

	do {
		nr = hmm_rand(&w->random, report->nr_workers);
	} while (workers[nr].cpu || workers[nr].disturber);
	page = report->busy_page[nr];
	area = area_of(page);
	rest = area->first + area->npages - page;
	*npages = rest < max ? rest : max;
	return page;
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

static char *side_page(struct worker *w, char *side)
{
	return side + hmm_rand(&w->random, SIDE_PAGES) * page_size;
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

static void cpu_add_all(struct worker *w, char *ptr, unsigned long page,
			unsigned long npages, unsigned long count)
{
	int word;

	for (; npages--; page++, ptr += page_size)
		for (word = 0; word < NR_WORDS; word++)
			cpu_add(w, ptr, page, word, count);
}

static void cpu_once(struct worker *w)
{
	unsigned long npages, page = random_pages(w, &npages, 8);
	int word = hmm_rand(&w->random, NR_WORDS);

	/* For the disturber which punches holes there */
	if (punch_side && !hmm_rand(&w->random, 8))
		__atomic_fetch_add((uint64_t *)(side_page(w, punch_side) +
						word_offset[2]), 1,
				   __ATOMIC_RELAXED);

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
			 hmm_rand(&w->random, opt.shared ? 400 : 100),
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

/* For a disturber which unmaps there: this may succeed or not. */
static void device_add_side(struct worker *w, char *side)
{
	struct hmm_dmirror_atomic_add add = {
		.value = DEVICE_ONE,
		.count = 1,
		.offset = word_offset[1],
	};
	struct hmm_dmirror_cmd cmd;

	hmm_range_cmd(w->fd, HMM_DMIRROR_ATOMIC_ADD, side, SIDE_PAGES, &add,
		      &cmd);
}

static void device_once(struct worker *w)
{
	unsigned long npages, page = random_pages(w, &npages, 16);
	int word = hmm_rand(&w->random, NR_WORDS);

	if (opt.control) {
		device_add_anyhow(w, page, word);
		return;
	}
	if (unmap_side && !hmm_rand(&w->random, 8))
		device_add_side(w, unmap_side);
	if (punch_side && !hmm_rand(&w->random, 8))
		device_add_side(w, punch_side);

	/* Where only a fault handler can help, another page will do. */
	for (;;) {
		report->busy_page[w->nr] = page;
		if (device_add(w, page_addr(page), page, npages, word,
			       1 + hmm_rand(&w->random, opt.shared ? 16 : 8)) ||
		    stopped())
			return;
		page = random_pages(w, &npages, 16);
	}
}

static void nap(struct worker *w, unsigned long us)
{
	usleep(hmm_rand(&w->random, us));
}

static bool is_within(const char *addr, const char *start, unsigned long size)
{
	return addr >= start && addr < start + size;
}

/* An access while a disturber has unmapped or protected the page: go back. */
static void segv(int signal, siginfo_t *info, void *context)
{
	char *addr = info->si_addr;

	if ((tolerate_faults && is_within(addr, home, home_size)) ||
	    (punch_side && is_within(addr, punch_side, SIDE_PAGES * page_size))) {
		usleep(50);
		return;
	}
	fail("signal %d at %p", signal, addr);
	_exit(KSFT_FAIL);
}

/*
 * In a new process, which shares the memory: add to it, by the CPU and by a device
 * of its own.
 */
static int take_part(struct worker *w, char *ptr, unsigned long page,
		     unsigned long npages)
{
	bool device_first = hmm_rand(&w->random, 2);
	int word = hmm_rand(&w->random, NR_WORDS);

	w->fd = open("/dev/hmm_dmirror0", O_RDWR);
	if (w->fd < 0)
		return 4;
	if (device_first)
		device_add(w, ptr, page, npages, word, 2);
	cpu_add_all(w, ptr, page, npages, 1 + hmm_rand(&w->random, 256));
	if (check_page(page) != page_size)
		return 3;
	if (!device_first)
		device_add(w, ptr, page, npages, word, 2);
	return 0;
}

/* Disturber: fork */

static void read_counters(uint64_t *value, unsigned long page,
			  unsigned long npages)
{
	int word;

	for (; npages--; page++)
		for (word = 0; word < NR_WORDS; word++)
			*value++ = hmm_load(page_addr(page) + word_offset[word]);
}

/* Both halves only ever grow. */
static bool went_back(uint64_t before, uint64_t after)
{
	uint64_t diff = after - before;

	return CPU_SUM(diff) >> 31 || DEVICE_SUM(diff) >> 31;
}

/* In a child: a disturber may have been in the middle of something. */
static void unprotect_all(void)
{
	int i;

	for (i = 0; i < NR_AREAS; i++)
		if (areas[i].used)
			mprotect(areas[i].base, areas[i].npages * page_size,
				 PROT_READ | PROT_WRITE);
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

	unprotect_all();
	read_counters(now, 0, total_pages);
	for (i = 0; i < total_pages * NR_WORDS; i++)
		if (went_back(before[i], now[i]))
			return 1;
	usleep(hmm_rand(&random, 2000));
	read_counters(before, 0, total_pages);
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

/* What is shared goes on growing, and the child has its part in that. */
static int fork_child_shared(struct worker *w, uint64_t *before,
			     unsigned long page, unsigned long npages)
{
	uint64_t *now = before + npages * NR_WORDS;
	unsigned long i;

	unprotect_all();
	read_counters(now, page, npages);
	for (i = 0; i < npages * NR_WORDS; i++)
		if (went_back(before[i], now[i]))
			return 1;
	return take_part(w, page_addr(page), page, npages);
}

static pid_t fork_at_home(void)
{
	pid_t pid;

	/* Nothing is away from home. */
	pthread_rwlock_rdlock(&at_home);
	pid = fork();
	if (pid)
		pthread_rwlock_unlock(&at_home);
	else
		pthread_rwlock_init(&at_home, NULL);
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	return pid;
}

static void fork_once(struct worker *w)
{
	/* Threads do not share it, so it need not be on the heap. */
	static uint64_t counters[2 * MAX_PAGES * NR_WORDS];
	unsigned long npages = total_pages, page = 0;
	int status;
	pid_t pid;

	if (opt.shared)
		page = random_pages(w, &npages, 16);
	read_counters(counters, page, npages);
	pid = fork_at_home();
	if (!pid)
		_exit(opt.shared ?
		      fork_child_shared(w, counters, page, npages) :
		      fork_child(counters, w->random));
	if (pid < 0)
		return;
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

/* Of what several processes map this takes nothing: "memory" does. */
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
		    opt.shared ? MPOL_MF_MOVE_ALL : MPOL_MF_MOVE) < 0 &&
	    errno == EINVAL)
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
	unsigned long max = opt.shared ? 64 : MAX_PAGES;
	unsigned long npages, page = random_pages(w, &npages, max);
	char *from = page_addr(page), *to = away + (from - home);
	unsigned long whole = npages * page_size, size = whole;
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
unlock:
	/* Also what has been unmapped there in vain */
	mmap(to, whole, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
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

static const char *no_khugepaged(void)
{
	if (!areas[THP].used)
		return "no area that a huge page fits into";
	return access(THP_DIR "khugepaged", F_OK) ? "no khugepaged" : NULL;
}

static void khugepaged_once(struct worker *w)
{
	unsigned long page;

	/* What a file has is huge for as long as nothing splits it. */
	if (opt.shared && !hmm_rand(&w->random, 4))
		hmm_write_file("/sys/kernel/debug/split_huge_pages", "1");
	for (page = 0; page < areas[THP].npages; page++)
		hmm_load(areas[THP].base + page * page_size);
	madvise(areas[THP].base, areas[THP].npages * page_size, MADV_HUGEPAGE);
	nap(w, 20000);
}

/* Disturber: munmap and mmap, in memory that nobody else relies on */

static void *map_fixed(char *ptr, unsigned long size, int prot)
{
	return mmap(ptr, size, prot, MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED |
		    (opt.shared ? MAP_SHARED : MAP_PRIVATE), -1, 0);
}

static char *unmap_memory;

static void unmap_start(void)
{
	unmap_side = unmap_memory;
}

/*
 * Fresh memory has nothing in it but what devices have added to word 1, and CPUs,
 * where they do so, to word 2.
 */
static void check_fresh(const char *side, uint64_t first)
{
	unsigned long offset;
	uint64_t word;
	int i;

	for (i = 0; i < SIDE_PAGES; i++)
		for (offset = 0; offset < page_size; offset += 8) {
			word = hmm_load(side + i * page_size + offset);
			if (offset == word_offset[1])
				word = CPU_SUM(word);
			if (offset == word_offset[2] && side == punch_side)
				word = DEVICE_SUM(word);
			if (word != (offset ? 0 : first))
				fail("mapped anew, page %d has %#llx at %#lx",
				     i, (unsigned long long)word, offset);
		}
}

/* Device and CPU add to what is fresh. */
static void use_fresh(struct worker *w, char *side)
{
	int i, ret;

	check_fresh(side, 0);
	ret = hmm_atomic_add(w->fd, side, SIDE_PAGES, 1);
	if (ret)
		fail("device adds to new memory: %s", strerror(-ret));
	for (i = 0; i < SIDE_PAGES; i++)
		__atomic_fetch_add((uint64_t *)(side + i * page_size), 1,
				   __ATOMIC_RELAXED);
	check_fresh(side, 1 + DEVICE_ONE);
	hmm_make_exclusive(w->fd, side, 1 + hmm_rand(&w->random, SIDE_PAGES));
}

static void unmap_once(struct worker *w)
{
	unsigned long size = SIDE_PAGES * page_size;
	int i, ret;

	if (map_fixed(unmap_side, size, PROT_READ | PROT_WRITE) == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	use_fresh(w, unmap_side);

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

/* Disturber: page tables lose what the file keeps, and it is mapped anew */

static void map_anew(struct worker *w, unsigned long page, unsigned long npages)
{
	struct area *area = area_of(page);
	unsigned long size = npages * page_size;
	char *ptr = page_addr(page);

	pthread_rwlock_rdlock(&at_home);
	if (area->fd < 0 || hmm_rand(&w->random, 2)) {
		madvise(ptr, size, MADV_DONTNEED);
	} else if (mmap(ptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			area->fd, ptr - area->base) != ptr) {
		fail("mapping it again: %s", strerror(errno));
	} else if (area == &areas[THP]) {
		madvise(ptr, size, MADV_HUGEPAGE);
	}
	pthread_rwlock_unlock(&at_home);
}

static void dontneed_once(struct worker *w)
{
	unsigned long npages, page = random_pages(w, &npages, 64);
	int i;

	map_anew(w, page, npages);
	/* And while another process' device has the page, which may be brief */
	for (i = 0; i < 4 && !stopped(); i++) {
		page = busy_pages(w, &npages, 16);
		map_anew(w, page, npages);
		cpu_add_all(w, page_addr(page), page, npages,
			    1 + hmm_rand(&w->random, 256));
	}
}

/* Disturber: another mapping of the same memory, in the same process */

/* What has no file cannot be mapped otherwise than it is: NULL. */
static char *map_again(unsigned long page, unsigned long npages, int prot,
		       int flags)
{
	struct area *area = area_of(page);
	unsigned long size = npages * page_size;
	char *from = page_addr(page), *ptr = NULL;

	pthread_rwlock_rdlock(&at_home);
	if (area->fd >= 0)
		ptr = mmap(NULL, size, prot, flags, area->fd, from - area->base);
	else if (flags == MAP_SHARED)
		ptr = mremap(from, 0, size, MREMAP_MAYMOVE);
	pthread_rwlock_unlock(&at_home);

	if (ptr == MAP_FAILED) {
		fail("another mapping: %s", strerror(errno));
		return NULL;
	}
	if (ptr)
		mprotect(ptr, size, prot);
	return ptr;
}

static void remap_write(struct worker *w, char *ptr, unsigned long page,
			unsigned long npages)
{
	int word = hmm_rand(&w->random, NR_WORDS);
	unsigned long i;

	for (i = 0; i < npages; i++)
		cpu_add(w, ptr + i * page_size, page + i, word,
			1 + hmm_rand(&w->random, 16));
	device_add(w, ptr, page, npages, word, 1);
	/* At both places at the same time, for the same device */
	device_add(w, page_addr(page), page, npages, word, 1);
	cpu_add(w, ptr, page, word, 1);
}

static void remap_read(struct worker *w, char *ptr, unsigned long page,
		       unsigned long npages)
{
	uint64_t before[NR_WORDS];
	unsigned long i;
	int word, ret;

	for (i = 0; i < npages; i++, page++, ptr += page_size) {
		for (word = 0; word < NR_WORDS; word++)
			before[word] = hmm_load(ptr + word_offset[word]);
		word = hmm_rand(&w->random, NR_WORDS);
		cpu_add(w, page_addr(page), page, word, 1);
		if (hmm_load(ptr + word_offset[word]) == before[word])
			fail("page %lu does not change where it is mapped again",
			     page);
		for (word = 0; word < NR_WORDS; word++)
			if (went_back(before[word],
				      hmm_load(ptr + word_offset[word])))
				fail("page %lu word %d goes back where it is mapped again",
				     page, word);
	}
	ret = hmm_atomic_add(w->fd, ptr - page_size, 1, 1);
	if (ret != -EFAULT)
		fail("device adds where it must not: %s", strerror(-ret));
}

/* It shows the file until it is written. */
static void remap_private(struct worker *w, char *ptr, unsigned long page,
			  unsigned long npages)
{
	uint64_t *counter = (uint64_t *)ptr;
	int ret;

	remap_read(w, ptr, page, npages);
	mprotect(ptr, npages * page_size, PROT_READ | PROT_WRITE);
	*counter = 1;
	ret = hmm_atomic_add(w->fd, ptr, npages, 2);
	if (ret)
		fail("device adds to a private mapping: %s", strerror(-ret));
	else if (__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED) !=
		 2 + 2 * DEVICE_ONE)
		fail("page %lu, private: %#llx", page,
		     (unsigned long long)*counter);
}

static void remap_once(struct worker *w)
{
	unsigned long npages, page = random_pages(w, &npages, 64);
	unsigned long kind = hmm_rand(&w->random, 3);
	char *ptr;

	ptr = map_again(page, npages,
			kind ? PROT_READ : PROT_READ | PROT_WRITE,
			kind == 2 ? MAP_PRIVATE : MAP_SHARED);
	if (!ptr)
		return;
	if (!kind)
		remap_write(w, ptr, page, npages);
	else if (kind == 1)
		remap_read(w, ptr, page, npages);
	else
		remap_private(w, ptr, page, npages);
	munmap(ptr, npages * page_size);
}

/* Disturber: a process that comes, adds, and goes or is killed while it has pages */

static int newcomer(struct worker *w, unsigned long page, unsigned long npages)
{
	struct itimerval timer = {
		.it_value.tv_usec = 1 + hmm_rand(&w->random, 20000),
	};
	char *ptr;
	int ret;

	unprotect_all();
	ptr = map_again(page, npages, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (!ptr)
		return 5;
	ret = take_part(w, ptr, page, npages);
	if (ret || hmm_rand(&w->random, 2))
		return ret;
	setitimer(ITIMER_REAL, &timer, NULL);
	for (;;)
		hmm_make_exclusive(w->fd, ptr, npages);
}

static void newcomer_once(struct worker *w)
{
	unsigned long npages, page = busy_pages(w, &npages, 16);
	pid_t pid = fork_at_home();
	int status;

	if (!pid)
		_exit(newcomer(w, page, npages));
	if (pid < 0)
		return;
	waitpid(pid, &status, 0);
	if (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM))
		fail("a newcomer says %#x (see newcomer())", status);
}

/* Disturber: holes in memory that all have, and that nobody relies on */

static char *punch_memory;
static int punch_fd;

static void punch_start(void)
{
	punch_side = punch_memory;
}

static int punch_hole(struct worker *w)
{
	unsigned long size = SIDE_PAGES * page_size;

	switch (hmm_rand(&w->random, 3)) {
	case 0:
		return fallocate(punch_fd, FALLOC_FL_PUNCH_HOLE |
				 FALLOC_FL_KEEP_SIZE, 0, size);
	case 1:
		return madvise(punch_side, size, MADV_REMOVE);
	default:
		return ftruncate(punch_fd, 0) || ftruncate(punch_fd, size);
	}
}

/* Others go on there meanwhile, but for their own holes. */
static void punch_once(struct worker *w)
{
	while (__atomic_exchange_n(&report->punching, true, __ATOMIC_ACQUIRE))
		usleep(1000);
	if (punch_hole(w))
		fail("punching a hole: %s", strerror(errno));
	use_fresh(w, punch_side);
	__atomic_store_n(&report->punching, false, __ATOMIC_RELEASE);
	nap(w, 2000);
}

static struct disturber disturbers[] = {
	{ "fork", NULL, NULL, fork_once },
	{ "mprotect", NULL, NULL, mprotect_once, .unmaps = true },
	{ "pageout", no_swap, NULL, pageout_once },
	{ "cold", NULL, NULL, cold_once },
	{ "ksm", no_ksm, ksm_start, ksm_once, {
		{ "/sys/kernel/mm/ksm/sleep_millisecs", "0" },
		{ "/sys/kernel/mm/ksm/pages_to_scan", "1000" },
		{ "/sys/kernel/mm/ksm/run", "1" } }, .anonymous = true },
	{ "compact", no_compaction, NULL, compact_once },
	{ "numa", no_node, NULL, numa_once },
	{ "soft-dirty", no_soft_dirty, NULL, soft_dirty_once },
	{ "idle", no_idle, NULL, idle_once },
	{ "uffd-wp", no_uffd_wp, uffd_wp_start, uffd_wp_once, .unmaps = true,
	  .anonymous = true },
	{ "mremap", NULL, NULL, mremap_once, .unmaps = true },
	{ "mlock", NULL, NULL, mlock_once },
	{ "khugepaged", no_khugepaged, NULL, khugepaged_once, {
		{ THP_DIR "khugepaged/scan_sleep_millisecs", "0" },
		{ THP_DIR "khugepaged/alloc_sleep_millisecs", "0" },
		{ THP_DIR "khugepaged/pages_to_scan", "4096" } } },
	{ "munmap", NULL, unmap_start, unmap_once },
	{ "memory", no_memcg, memory_start, memory_once },
	{ "migrate", NULL, NULL, migrate_once },
	{ "dontneed", NULL, NULL, dontneed_once, .shared = true },
	{ "remap", NULL, NULL, remap_once, .shared = true },
	{ "newcomer", NULL, NULL, newcomer_once, .shared = true },
	{ "punch", NULL, punch_start, punch_once, .shared = true },
};

#define NR_DISTURBERS	ARRAY_SIZE(disturbers)

static bool chosen[NR_DISTURBERS];
static bool choose_all = true;

/* A phase: the memory */

static void *get_memory(unsigned long size, int prot, int flags)
{
	void *ptr = mmap(NULL, size, prot,
			 MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	if (ptr == MAP_FAILED) {
		fail("mmap: %s", strerror(errno));
		_exit(KSFT_FAIL);
	}
	return ptr;
}

/* Memory that is shared, of a file with that name or without. Returns the file. */
static int share_memory(char *ptr, unsigned long size, const char *name)
{
	int flags = MAP_SHARED | MAP_FIXED;
	int fd = -1;

	if (name)
		fd = memfd_create(name, MFD_CLOEXEC);
	else
		flags |= MAP_ANONYMOUS;
	if ((name && ftruncate(fd, size)) ||
	    mmap(ptr, size, PROT_READ | PROT_WRITE, flags, fd, 0) != ptr) {
		fail("shared memory: %s", strerror(errno));
		_exit(KSFT_FAIL);
	}
	return fd;
}

static void setup_area(int i)
{
	struct area *area = &areas[i];
	unsigned long size = area->npages * page_size, page;

	if (opt.shared)
		area->fd = share_memory(area->base, size,
					i == ONE ? NULL : area->name);
	else
		mprotect(area->base, size, PROT_READ | PROT_WRITE);
	madvise(area->base, size, i == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (page = 0; page < area->npages; page++)
		fill_page(area->first + page);
}

static void setup_memory(void)
{
	unsigned long huge = page_size < TWOMEG ? TWOMEG : page_size;
	unsigned long size = 4 * huge + (opt.pages + 5 * SIDE_PAGES) * page_size;
	char *ptr;
	int i;

	home_size = ALIGN(size, huge);
	ptr = get_memory(2 * home_size + huge, PROT_NONE, MAP_PRIVATE);
	home = (char *)ALIGN((uintptr_t)ptr, huge);
	away = home + home_size;

	/* With gaps between them, so that no VMA is in two areas. */
	areas[THP].base = home + huge;
	areas[ONE].base = home + 3 * huge;
	areas[MANY].base = areas[ONE].base + 2 * page_size;
	ksm_side = areas[MANY].base + (areas[MANY].npages + 1) * page_size;
	unmap_memory = ksm_side + (SIDE_PAGES + 1) * page_size;
	punch_memory = unmap_memory + (SIDE_PAGES + 1) * page_size;

	for (i = 0; i < NR_AREAS; i++)
		if (areas[i].used)
			setup_area(i);
	if (opt.shared)
		punch_fd = share_memory(punch_memory, SIDE_PAGES * page_size,
					"punch");
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
	long max = opt.processes * opt.processes * MAX_REST;
	long start = microseconds_now(), us;

	w->disturber->once(w);
	us = 1000 + nr_active * (microseconds_now() - start);
	nap(w, us < max ? us : max);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	report->tid[w->nr] = syscall(SYS_gettid);
	while (!stopped()) {
		if (w->disturber)
			disturb(w);
		else if (w->cpu)
			cpu_once(w);
		else
			device_once(w);
		/* Enough of them: leave the devices some time with their pages. */
		if (opt.shared && w->cpu)
			nap(w, 2000);
		__atomic_fetch_add(&report->progress[w->nr], 1,
				   __ATOMIC_RELAXED);
	}
	return NULL;
}

/* One more worker, of this process or of another one */
static struct worker *add_worker(int of, const char *name)
{
	int nr = report->nr_workers++;
	struct worker *w = &workers[nr];

	w->nr = nr;
	w->process = of;
	w->random = hmm_rand_seed(opt.seed, nr);
	w->added = get_memory(total_pages * NR_WORDS * sizeof(*w->added),
			      PROT_READ | PROT_WRITE, MAP_SHARED);
	if (opt.shared)
		snprintf(report->name[nr], sizeof(report->name[nr]),
			 "%s of process %d", name, of);
	else
		snprintf(report->name[nr], sizeof(report->name[nr]), "%s", name);
	return w;
}

/* Those of all processes, before there are processes */
static void add_workers(const bool *active, int of)
{
	char name[32];
	size_t i;
	int nr;

	for (nr = 0; nr < opt.threads; nr++) {
		snprintf(name, sizeof(name), "CPU thread %d", nr);
		add_worker(of, name)->cpu = true;
	}
	for (nr = 0; nr < opt.device_threads; nr++) {
		snprintf(name, sizeof(name), "device thread %d", nr);
		add_worker(of, name);
	}
	for (i = 0; i < NR_DISTURBERS; i++)
		if (active[i])
			add_worker(of, disturbers[i].name)->disturber =
				&disturbers[i];
}

static void start_workers(void)
{
	int nr;

	for (nr = 0; nr < report->nr_workers; nr++) {
		struct worker *w = &workers[nr];

		if (w->process != process)
			continue;
		w->fd = mirror_fd[nr % opt.mirrors];
		if (pthread_create(&w->thread, NULL, work, w)) {
			fail("no thread for %s", report->name[nr]);
			_exit(KSFT_FAIL);
		}
	}
}

static void join_workers(void)
{
	int nr;

	for (nr = 0; nr < report->nr_workers; nr++)
		if (workers[nr].process == process)
			pthread_join(workers[nr].thread, NULL);
}

/* Has some thread that adds not had its turn yet? */
static bool side_waits(void)
{
	int nr;

	for (nr = 0; nr < report->nr_workers; nr++)
		if (!workers[nr].disturber && !report->progress[nr])
			return true;
	return false;
}

/* A phase: the processes */

static void open_mirrors(void)
{
	int i;

	for (i = 0; i < opt.mirrors; i++) {
		char path[] = "/dev/hmm_dmirror0";

		/* A sharer is not to keep the first one's. */
		if (mirror_fd[i] >= 0)
			close(mirror_fd[i]);
		path[sizeof(path) - 2] += i;
		mirror_fd[i] = open(path, O_RDWR | O_CLOEXEC);
		if (mirror_fd[i] < 0) {
			fail("%s: %s", path, strerror(errno));
			_exit(KSFT_FAIL);
		}
	}
}

static void start_sharers(void)
{
	int i;

	for (i = 1; i < opt.processes; i++) {
		sharer[i] = fork();
		if (sharer[i] < 0) {
			fail("fork: %s", strerror(errno));
			_exit(KSFT_FAIL);
		}
		if (!sharer[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			process = i;
			open_mirrors();
			return;
		}
	}
}

/* In the first process: has another one gone that is not through? */
static bool sharer_gone(void)
{
	static bool gone;
	int i;

	for (i = 1; !process && i < opt.processes; i++)
		if (waitpid(sharer[i], NULL, WNOHANG) == sharer[i])
			gone = true;
	return gone;
}

/* Wait until all processes have come here. */
static void meet(void)
{
	static int meetings;
	bool gone;

	__atomic_add_fetch(&report->met, 1, __ATOMIC_SEQ_CST);
	meetings++;
	for (;;) {
		gone = sharer_gone();
		if (__atomic_load_n(&report->met, __ATOMIC_SEQ_CST) >=
		    meetings * opt.processes)
			return;
		if (gone) {
			fail("a process has gone while %s", report->stage);
			_exit(KSFT_FAIL);
		}
		usleep(1000);
	}
}

/* A phase: the checks */

/* What several processes see is told by the first one. */
static void check_sums(void)
{
	bool told = process && report->failures;
	unsigned long page, offset;
	int word, nr;

	for (page = 0; page < total_pages; page++) {
		for (word = 0; word < NR_WORDS; word++) {
			uint64_t is = hmm_load(page_addr(page) +
					       word_offset[word]);
			uint64_t ought = 0;

			for (nr = 0; nr < report->nr_workers; nr++)
				ought += *added(&workers[nr], page, word);
			if (is != ought && !told)
				fail("page %lu word %d: lost %lld of the CPU, %lld of the device",
				     page, word,
				     (long long)(CPU_SUM(ought) - CPU_SUM(is)),
				     (long long)(DEVICE_SUM(ought) - DEVICE_SUM(is)));
		}
		offset = check_page(page);
		if (offset != page_size && !opt.control && !told)
			fail("page %lu: offset %lu is not what it was", page,
			     offset);
	}
}

/* A thread counts what it maps on its own until it has had some 64 faults. */
static void sync_rss(void)
{
	unsigned long size = 128 * page_size, offset;
	char *ptr = get_memory(size, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	madvise(ptr, size, MADV_NOHUGEPAGE);
	for (offset = 0; offset < size; offset += page_size)
		ptr[offset] = 1;
	munmap(ptr, size);
}

/*
 * Everything is mapped here and, unless it is shared, nowhere else, whoever has it
 * at the moment. How many share a page check_pages() sees.
 */
static void check_rss(const char *when)
{
	long ought = total_pages * page_size / 1024;
	long rss = smaps_sum("Rss:"), pss = smaps_sum("Pss:");
	long locked = smaps_sum("Locked:");
	long all, status;

	if (rss != ought || (pss != ought && !opt.shared) || locked)
		fail("%s: Rss %ld kB, Pss %ld kB, of %ld kB; locked %ld kB",
		     when, rss, pss, ought, locked);

	sync_rss();
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
	uint64_t kind = opt.shared ? 0 : KPF_ANON;
	uint64_t pfn, flags, count;
	unsigned long page;
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
		if (count != opt.processes ||
		    (flags & (KPF_MLOCKED | KPF_ANON)) != kind)
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
	struct area *area;
	int ret;

	for (area = areas; area < areas + NR_AREAS; area++) {
		if (!area->used)
			continue;
		ret = hmm_make_exclusive(mirror_fd[0], area->base, area->npages);
		if (ret)
			fail("making %s exclusive: %s", area->name,
			     strerror(-ret));
	}
}

/* How many pages of the area can a CPU use here? */
static unsigned long count_present(const struct area *area)
{
	off_t where = (uintptr_t)area->base / page_size * 8;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	static uint64_t entry[MAX_PAGES];
	unsigned long i, present = 0;
	ssize_t size = area->npages * 8;

	if (pread(fd, entry, size, where) != size)
		fail("cannot read pagemap");
	close(fd);
	for (i = 0; i < area->npages; i++)
		present += !!(entry[i] & HMM_PAGEMAP_PRESENT);
	return present;
}

/* Whose device has the memory? No CPU, and nobody else. */
static void check_owner(int owner)
{
	unsigned long present = 0;
	long have = 0;
	int i;

	for (i = 0; i < NR_AREAS; i++) {
		if (!areas[i].used)
			continue;
		present += count_present(&areas[i]);
		have += hmm_count_exclusive(mirror_fd[0], areas[i].base,
					    areas[i].npages);
	}
	if (present)
		fail("%lu pages are mapped while process %d has them", present,
		     owner);
	if (have != (owner == process ? (long)total_pages : 0))
		fail("the device has %ld pages while process %d has them", have,
		     owner);
}

/* One takes over from the other. */
static void take_turns(void)
{
	int i, owner;

	for (i = 0; i < opt.processes; i++) {
		owner = (opt.seed + i) % opt.processes;
		if (owner == process)
			make_all_exclusive();
		meet();
		if (opt.shared)
			check_owner(owner);
		meet();
	}
}

static void stage(const char *name)
{
	if (process)
		return;
	snprintf(report->stage, sizeof(report->stage), "%s", name);
	report->progress[0]++;
}

/* Undo what disturbers may have left behind. */
static void calm_down(void)
{
	int i;

	if (uffd >= 0)
		close(uffd);
	/* Or it could go on and unmap pages of the file: wait for its end. */
	if (opt.shared && !process)
		hmm_write_file(THP_DIR "enabled", "never");
	for (i = 0; i < NR_AREAS; i++)
		if (areas[i].used)
			munlock(areas[i].base, areas[i].npages * page_size);
}

/* All processes are here at the same time. */
static void check_phase(void)
{
	stage("coming to rest");
	calm_down();
	meet();
	stage("checking");
	if (!process)
		check_sums();
	meet();
	if (opt.control)
		return;
	/* The others, to see if they have the same pages, and to map them */
	if (process)
		check_sums();
	meet();
	stage("counting");
	check_rss("at rest");
	/* Nobody has to say that it has mapped them all, the count does. */
	if (!process)
		check_pages();
	meet();
	stage("making all exclusive");
	take_turns();
	stage("counting exclusive pages");
	check_rss("exclusive");
	if (!process)
		record_frames();
	meet();
}

static void start_disturbers(const bool *active)
{
	size_t i;

	for (i = 0; i < NR_DISTURBERS; i++)
		if (active[i] && disturbers[i].start &&
		    disturbers[i].start != memory_start)
			disturbers[i].start();
}

static void setup_phase(const bool *active)
{
	int i;

	open_mirrors();
	for (i = 0; i < (int)NR_DISTURBERS; i++) {
		/* To have its memory charged there */
		if (active[i] && disturbers[i].start == memory_start)
			memory_start();
		if (active[i] && disturbers[i].unmaps)
			tolerate_faults = true;
		nr_active += active[i] * opt.processes;
	}
	setup_memory();
	learn_exclusive_type();
	for (i = 0; i < opt.processes; i++)
		add_workers(active, i);
}

/* The first process says when it is over. */
static void work_until(long end)
{
	stage("at work");
	report->running = true;
	/* On a slow machine, until everybody has done something at least. */
	while ((seconds_now() < end || side_waits()) && !report->failures) {
		if (sharer_gone())
			fail("a process has gone while at work");
		usleep(50000);
	}
	__atomic_store_n(&report->stop, true, __ATOMIC_RELAXED);
}

static void __attribute__((noreturn)) run_phase(const bool *active, long seconds)
{
	struct sigaction action = {
		.sa_sigaction = segv,
		.sa_flags = SA_SIGINFO,
	};
	long end = seconds_now() + seconds;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* No new mapping may come to lie where something is away from. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);

	stage("setting up");
	setup_phase(active);
	start_sharers();
	start_disturbers(active);
	start_workers();
	if (!process)
		work_until(end);
	while (!stopped())
		usleep(50000);
	join_workers();
	if (!process)
		report->running = false;
	check_phase();
	if (!process)
		while (wait(NULL) > 0)
			;
	_exit(report->failures ? KSFT_FAIL : KSFT_PASS);
}

/* The parent: settings of the whole system */

/* For memory that is shared; calm_down() changes one of them. */
static const struct setting shared_settings[NR_SETTINGS] = {
	{ THP_DIR "shmem_enabled", "advise" },
	{ THP_DIR "enabled", "madvise" },
};

static char saved[NR_DISTURBERS + 1][NR_SETTINGS][64];

static void apply(const struct setting *s, char (*old)[64])
{
	size_t j;

	for (j = 0; j < NR_SETTINGS && s[j].path; j++) {
		hmm_save_setting(s[j].path, old[j], sizeof(old[j]));
		hmm_write_file(s[j].path, s[j].value);
	}
}

static void restore(const struct setting *s, char (*old)[64])
{
	size_t j;

	for (j = 0; j < NR_SETTINGS && s[j].path; j++)
		hmm_write_file(s[j].path, old[j]);
}

static void apply_settings(const bool *active)
{
	size_t i;

	if (opt.shared)
		apply(shared_settings, saved[NR_DISTURBERS]);
	for (i = 0; i < NR_DISTURBERS; i++)
		if (active[i])
			apply(disturbers[i].settings, saved[i]);
}

static void restore_settings(const bool *active)
{
	size_t i;

	for (i = 0; i < NR_DISTURBERS; i++)
		if (active[i])
			restore(disturbers[i].settings, saved[i]);
	if (opt.shared)
		restore(shared_settings, saved[NR_DISTURBERS]);
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
	bool used;

	for (i = 0; i < report->npfns; i++) {
		flags = read_entry("/proc/kpageflags", report->pfn[i]);
		if (opt.shared)
			used = flags & (KPF_SWAPBACKED | KPF_THP) &&
				!(flags & KPF_ANON);
		else
			used = flags & KPF_ANON;
		if (used && !(flags & KPF_SWAPCACHE))
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
static void show_stacks(void)
{
	int nr, n = report->nr_workers;
	char path[64], line[256];
	FILE *file;

	for (nr = 0; nr < n; nr++) {
		snprintf(path, sizeof(path), "/proc/%d/stack", report->tid[nr]);
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
		show_stacks();
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
	      "  --shared            memory that processes share, each with threads, devices and\n"
	      "                      disturbers of its own\n"
	      "  --processes N       how many share it (3)\n"
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
		printf(" %s%s", disturbers[i].name,
		       disturbers[i].shared ? "*" : "");
	printf("\n*: with --shared only\n");
}

static void choose_disturbers(char *list)
{
	char *name;
	size_t i;

	choose_all = false;
	for (name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		bool all = !strcmp(name, "all");
		bool found = all || !strcmp(name, "none");

		choose_all |= all;
		for (i = 0; i < NR_DISTURBERS; i++) {
			if (strcmp(name, disturbers[i].name))
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
		{ "shared", no_argument, NULL, 'S' },
		{ "processes", required_argument, NULL, 'P' },
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
		case 'S':
			opt.shared = true;
			break;
		case 'P':
			opt.processes = hmm_number(PROGRAM, "processes", optarg, 2, MAX_PROCESSES);
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
	if (!opt.shared && opt.processes > 1)
		hmm_bad_argument(PROGRAM, "--processes wants", "--shared");
	if (opt.shared && opt.processes == 1)
		opt.processes = 3;
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

/* Why a disturber cannot be had here, or NULL */
static const char *why_missing(const struct disturber *d)
{
	if (opt.shared && d->anonymous)
		return "for memory that is not shared";
	if (!opt.shared && d->shared)
		return "for shared memory";
	return d->missing ? d->missing() : NULL;
}

static void run(void)
{
	const char *missing[NR_DISTURBERS] = { NULL };
	bool active[NR_DISTURBERS] = { false };
	long seconds, alone, together;
	int wanted = 0, there = 0;
	size_t i;

	for (i = 0; i < NR_DISTURBERS; i++) {
		chosen[i] |= choose_all && (opt.shared || !disturbers[i].shared);
		if (!chosen[i])
			continue;
		missing[i] = why_missing(&disturbers[i]);
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
