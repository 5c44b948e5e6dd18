// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on memory by the CPU, by mm calls, and by a device that has
 * some of it exclusively (lib/test_hmm.c), compared with a model, which knows
 * what each page holds and what the device may still touch.
 *
 * What an operation is depends on the seed alone, not on what came of those
 * before it, so a seed that fails does the same operations again. With several
 * threads each has pages of its own, and only the order among them is chance.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <linux/userfaultfd.h>

#include "../kselftest.h"
#include "hmm_exclusive.h"

#define PROGRAM		"hmm-exclusive-fuzz"
#define NR_WORDS	4
#define SMALL_PAGES	16
#define HOT_PAGES	64
#define MAX_RANGE	64
#define MAX_THREADS	8
#define HISTORY		16
#define COMPARE_EVERY	256

enum access { UNMAPPED, NONE, READ, WRITE };

/* Does the device have the page for atomic operations? */
enum exclusive { NO, MAYBE, YES };

/*
 * A page holds @word at some places, and zeros. After MADV_FREE, and until it is
 * seen which, it may as well hold @fresh, what has been written since then; while
 * @freed, nothing has been written, and the kernel may still drop it.
 */
struct page {
	enum access access;
	enum exclusive exclusive;
	uint64_t word[NR_WORDS];
	uint64_t fresh[NR_WORDS];
	bool unsure;
	bool freed;
	bool locked;
	bool mergeable;
	bool migrated;		/* has been: 5.10 loses track of writes then */
	bool soft_dirty;	/* must be, that is; others may be */
};

struct op;

/* The part of the memory that a thread has, and its model */
struct fuzzer {
	pthread_t thread;
	int fd;
	int mem;
	int nr;
	char *base;
	unsigned long npages;
	unsigned long huge;	/* where a huge page fits */
	struct page *page;
	char *buffer;
	uint64_t random;
	unsigned long last;
	uint64_t nr_ops;
	char history[HISTORY][96];
	bool failed;
};

/* All that is random about an operation */
struct op {
	const struct op_type *type;
	unsigned long first;
	unsigned long npages;
	unsigned long to;
	uint64_t value;
	unsigned int word;
};

struct op_type {
	const char *name;
	unsigned int weight;
	void (*run)(struct fuzzer *f, const struct op *op);
	bool shakes;		/* pages beside those it is about, as well */
};

static struct {
	unsigned long ops;
	long seconds;
	unsigned long seed;
	int threads;
	bool verbose;
} opt = {
	.ops = 10000,
	.threads = 1,
};

static unsigned long page_size;
static unsigned int word_offset[NR_WORDS];
static bool has_node;
static bool scans;		/* a fault may give back pages ahead */
static bool stop;
static __thread sigjmp_buf fault;
static __thread bool may_fault;

static void __attribute__((__format__(printf, 2, 3)))
differs(struct fuzzer *f, const char *fmt, ...)
{
	uint64_t nr = f->nr_ops < HISTORY ? 0 : f->nr_ops - HISTORY + 1;
	char text[256];
	va_list args;

	if (f->failed)
		return;
	f->failed = true;
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ksft_print_msg("--seed %lu, thread %d, operation %llu: %s\n", opt.seed,
		       f->nr, (unsigned long long)f->nr_ops, text);
	for (; nr <= f->nr_ops; nr++)
		ksft_print_msg("%llu: %s\n", (unsigned long long)nr,
			       f->history[nr % HISTORY]);
}

static char *addr_of(struct fuzzer *f, unsigned long page)
{
	return f->base + page * page_size;
}

/* How many leading pages of the range allow this access? */
static unsigned long leading(struct fuzzer *f, const struct op *op,
			     enum access access)
{
	unsigned long i;

	for (i = 0; i < op->npages; i++)
		if (f->page[op->first + i].access < access)
			break;
	return i;
}

/* The device may have lost the page. */
static void shake(struct page *page)
{
	if (page->exclusive == YES)
		page->exclusive = MAYBE;
}

/*
 * How many pages a fault that goes on with a scan gives back at most. When it is
 * one, the model knows what the device keeps.
 */
static int fault_window(void)
{
	FILE *file = fopen("/sys/kernel/debug/device_exclusive_window", "r");
	int npages = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%d", &npages) != 1)
		npages = 0;
	fclose(file);
	return npages;
}

/*
 * What is done to one page of a huge page, or splits a VMA that one may be in,
 * can take all of it away; and mremap() has brought its pages to anywhere.
 */
static void shake_all(struct fuzzer *f)
{
	unsigned long i;

	for (i = 0; i < f->npages; i++)
		shake(&f->page[i]);
}

static void forget(struct page *page, enum access access)
{
	memset(page, 0, sizeof(*page));
	page->access = access;
}

/* Somebody writes a word. */
static void model_write(struct page *page, int word, uint64_t value)
{
	page->word[word] = value;
	page->fresh[word] = value;
	page->freed = false;
	page->soft_dirty = true;
}

static void model_add(struct page *page, int word, uint64_t value)
{
	page->word[word] += value;
	page->fresh[word] += value;
	page->freed = false;
	page->soft_dirty = true;
}

static bool holds(const char *data, const uint64_t *word)
{
	unsigned long offset;
	uint64_t ought;
	int i;

	for (offset = 0; offset < page_size; offset += 8) {
		ought = 0;
		for (i = 0; i < NR_WORDS; i++)
			if (offset == word_offset[i])
				ought = word[i];
		if (hmm_load(data + offset) != ought)
			return false;
	}
	return true;
}

/* Compare what somebody has read, which settles what had been unsure. */
static void compare(struct fuzzer *f, unsigned long nr, const char *data,
		    const char *who)
{
	struct page *page = &f->page[nr];
	const uint64_t *seen = (const uint64_t *)data;
	bool fresh;

	/* First the newer state: the kernel may drop the page at any time. */
	if (holds(data, page->word)) {
		if (page->unsure && !page->freed &&
		    memcmp(page->word, page->fresh, sizeof(page->word)))
			page->unsure = false;
		return;
	}
	fresh = page->unsure && holds(data, page->fresh);
	if (!fresh) {
		differs(f, "%s sees %llx %llx %llx %llx in page %lu, not %llx %llx %llx %llx%s",
			who, (unsigned long long)seen[0],
			(unsigned long long)seen[word_offset[1] / 8],
			(unsigned long long)seen[word_offset[2] / 8],
			(unsigned long long)seen[word_offset[3] / 8], nr,
			(unsigned long long)page->word[0],
			(unsigned long long)page->word[1],
			(unsigned long long)page->word[2],
			(unsigned long long)page->word[3],
			page->unsure ? " or zeros" : "");
		return;
	}
	memcpy(page->word, page->fresh, sizeof(page->word));
	page->unsure = false;
	page->freed = false;
	page->soft_dirty = false;
}

static void expect(struct fuzzer *f, const char *what, long got, long ought)
{
	if (got != ought)
		differs(f, "%s: %ld, ought to be %ld", what, got, ought);
}

static void segv(int signal)
{
	if (!may_fault)
		_exit(128 + signal);
	siglongjmp(fault, 1);
}

/* The CPU */

static void set_may_fault(bool may)
{
	__atomic_store_n(&may_fault, may, __ATOMIC_SEQ_CST);
}

/* Returns whether the page could be read. */
static bool cpu_copy(char *to, const char *from)
{
	bool done = !sigsetjmp(fault, 1);

	if (done) {
		set_may_fault(true);
		memcpy(to, from, page_size);
	}
	set_may_fault(false);
	return done;
}

static bool cpu_store(char *ptr, uint64_t value, bool add)
{
	bool done = !sigsetjmp(fault, 1);

	if (done) {
		set_may_fault(true);
		if (add)
			__atomic_fetch_add((uint64_t *)ptr, value,
					   __ATOMIC_RELAXED);
		else
			__atomic_store_n((uint64_t *)ptr, value,
					 __ATOMIC_RELAXED);
	}
	set_may_fault(false);
	return done;
}

static void cpu_read_page(struct fuzzer *f, unsigned long nr)
{
	struct page *page = &f->page[nr];
	bool done = cpu_copy(f->buffer, addr_of(f, nr));
	bool may = page->access >= READ;

	if (done != may)
		differs(f, "the CPU %s read page %lu", done ? "could" : "could not",
			nr);
	if (!done)
		return;
	page->exclusive = NO;
	compare(f, nr, f->buffer, "the CPU");
}

static void cpu_read(struct fuzzer *f, const struct op *op)
{
	unsigned long i;

	for (i = 0; i < op->npages; i++)
		cpu_read_page(f, op->first + i);
}

static void cpu_change(struct fuzzer *f, const struct op *op, bool add)
{
	unsigned long i;

	for (i = 0; i < op->npages; i++) {
		struct page *page = &f->page[op->first + i];
		char *ptr = addr_of(f, op->first + i) + word_offset[op->word];
		bool done = cpu_store(ptr, op->value, add);
		bool may = page->access == WRITE;

		if (done != may)
			differs(f, "the CPU %s write page %lu",
				done ? "could" : "could not", op->first + i);
		if (!done)
			continue;
		page->exclusive = NO;
		if (add)
			model_add(page, op->word, op->value);
		else
			model_write(page, op->word, op->value);
	}
}

static void cpu_write(struct fuzzer *f, const struct op *op)
{
	cpu_change(f, op, false);
}

static void cpu_add(struct fuzzer *f, const struct op *op)
{
	cpu_change(f, op, true);
}

/* The device */

static void dev_exclusive(struct fuzzer *f, const struct op *op)
{
	unsigned long i, good = leading(f, op, WRITE);
	struct hmm_dmirror_cmd cmd;
	int ret;

	ret = hmm_range_cmd(f->fd, HMM_DMIRROR_EXCLUSIVE,
			    addr_of(f, op->first), op->npages, NULL, &cmd);
	expect(f, "make exclusive", ret, good == op->npages ? 0 : -EFAULT);
	expect(f, "pages made exclusive", cmd.cpages, good);
	for (i = 0; i < good; i++) {
		struct page *page = &f->page[op->first + i];

		page->exclusive = YES;
		page->freed = false;
		page->soft_dirty = true;
	}
}

static void dev_add(struct fuzzer *f, const struct op *op)
{
	unsigned long i, good = leading(f, op, WRITE);
	struct hmm_dmirror_atomic_add add = {
		.value = op->value,
		.count = 1 + op->value % 3,
		.offset = word_offset[op->word],
	};
	struct hmm_dmirror_cmd cmd;
	int ret;

	ret = hmm_range_cmd(f->fd, HMM_DMIRROR_ATOMIC_ADD,
			    addr_of(f, op->first), op->npages, &add, &cmd);
	expect(f, "atomic add", ret, good == op->npages ? 0 : -EFAULT);
	expect(f, "additions", add.done, good * add.count);
	for (i = 0; i < good; i++) {
		struct page *page = &f->page[op->first + i];

		page->exclusive = YES;
		model_add(page, op->word, op->value * add.count);
	}
}

/* For the pages it does not have, plain access means a fault, as for the CPU. */
static void dev_read(struct fuzzer *f, const struct op *op)
{
	unsigned long i, good = leading(f, op, READ);
	bool may = good == op->npages;
	struct hmm_dmirror_cmd cmd;
	int ret;

	ret = hmm_range_cmd(f->fd, HMM_DMIRROR_READ, addr_of(f, op->first),
			    op->npages, f->buffer, &cmd);
	if (!ret != may)
		differs(f, "device read: %d, %lu of %lu pages are readable", ret,
			good, op->npages);
	for (i = 0; i < op->npages; i++) {
		shake(&f->page[op->first + i]);
		if (!ret)
			compare(f, op->first + i, f->buffer + i * page_size,
				"the device");
	}
}

static void dev_write(struct fuzzer *f, const struct op *op)
{
	unsigned long i, good = leading(f, op, WRITE);
	bool may = good == op->npages;
	struct hmm_dmirror_cmd cmd;
	int ret, word;

	memset(f->buffer, 0, op->npages * page_size);
	for (i = 0; i < op->npages; i++)
		for (word = 0; word < NR_WORDS; word++)
			*(uint64_t *)(f->buffer + i * page_size +
				      word_offset[word]) = op->value + word;
	ret = hmm_range_cmd(f->fd, HMM_DMIRROR_WRITE, addr_of(f, op->first),
			    op->npages, f->buffer, &cmd);
	if (!ret != may || cmd.cpages > good)
		differs(f, "device write: %d after %llu pages, %lu of %lu pages are writable",
			ret, (unsigned long long)cmd.cpages, good, op->npages);
	for (i = 0; i < op->npages; i++)
		shake(&f->page[op->first + i]);
	for (i = 0; i < cmd.cpages && i < good; i++) {
		struct page *page = &f->page[op->first + i];

		page->unsure = false;
		for (word = 0; word < NR_WORDS; word++)
			model_write(page, word, op->value + word);
		/* Through a mapping it has had for long, maybe. */
		page->soft_dirty = false;
	}
}

static void dev_migrate(struct fuzzer *f, const struct op *op)
{
	unsigned long i, good = leading(f, op, READ);
	struct hmm_dmirror_cmd cmd;
	int ret;

	ret = hmm_range_cmd(f->fd, HMM_DMIRROR_MIGRATE, addr_of(f, op->first),
			    op->npages, f->buffer, &cmd);
	/* A page that cannot be moved at the moment is not read back. */
	if (ret != -ENOENT)
		expect(f, "migrate", ret, good == op->npages ? 0 : -EINVAL);
	for (i = 0; i < op->npages; i++) {
		f->page[op->first + i].migrated = true;
		if (!ret)
			compare(f, op->first + i, f->buffer + i * page_size,
				"the device after migration");
	}
}

/* Address space */

static void do_mprotect(struct fuzzer *f, const struct op *op)
{
	static const int prot[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
		PROT_READ | PROT_WRITE,
	};
	static const enum access becomes[] = { NONE, READ, WRITE, WRITE };
	unsigned long i, good = leading(f, op, NONE);
	int ret;

	ret = mprotect(addr_of(f, op->first), op->npages * page_size,
		       prot[op->value % 4]) ? -errno : 0;
	expect(f, "mprotect", ret, good == op->npages ? 0 : -ENOMEM);
	for (i = 0; i < good; i++) {
		struct page *page = &f->page[op->first + i];

		/* Nothing happens where nothing changes. */
		if (page->access == becomes[op->value % 4])
			continue;
		page->access = becomes[op->value % 4];
		page->exclusive = NO;
	}
}

static void do_munmap(struct fuzzer *f, const struct op *op)
{
	unsigned long i;

	expect(f, "munmap",
	       munmap(addr_of(f, op->first), op->npages * page_size), 0);
	for (i = 0; i < op->npages; i++)
		forget(&f->page[op->first + i], UNMAPPED);
}

static void map_fresh(struct fuzzer *f, unsigned long first,
		      unsigned long npages)
{
	char *ptr = addr_of(f, first);
	unsigned long i;

	if (mmap(ptr, npages * page_size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != ptr)
		differs(f, "mmap: %s", strerror(errno));
	for (i = 0; i < npages; i++)
		forget(&f->page[first + i], WRITE);
}

static void do_mmap(struct fuzzer *f, const struct op *op)
{
	map_fresh(f, op->first, op->npages);
}

/* A new huge page, where one fits and only if the kernel has one */
static void map_huge(struct fuzzer *f, const struct op *op)
{
	unsigned long npages = TWOMEG / page_size;

	if (f->npages - f->huge < npages)
		return;
	map_fresh(f, f->huge, npages);
	madvise(addr_of(f, f->huge), TWOMEG, MADV_HUGEPAGE);
	cpu_store(addr_of(f, f->huge) + word_offset[op->word], op->value, false);
	model_write(&f->page[f->huge], op->word, op->value);
}

static void do_mremap(struct fuzzer *f, const struct op *op)
{
	char *from = addr_of(f, op->first), *to;
	unsigned long i, good = leading(f, op, NONE);
	unsigned long dest = op->to;
	void *ret;

	/* The two must not overlap. */
	if (dest + op->npages > f->npages)
		dest = f->npages - op->npages;
	if (dest < op->first + op->npages && op->first < dest + op->npages)
		return;
	to = addr_of(f, dest);
	ret = mremap(from, op->npages * page_size, op->npages * page_size,
		     MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (ret != MAP_FAILED && (ret != to || good != op->npages))
		differs(f, "mremap of %lu pages: %p", good, ret);
	/* More than one mapping cannot be moved; one page is one mapping. */
	if (ret == MAP_FAILED && good == 1 && op->npages == 1)
		differs(f, "mremap: %s", strerror(errno));
	for (i = 0; i < op->npages; i++) {
		/* Room is made there first, whatever comes of it. */
		forget(&f->page[dest + i], UNMAPPED);
		if (ret == MAP_FAILED)
			continue;
		f->page[dest + i] = f->page[op->first + i];
		f->page[dest + i].exclusive = NO;
		forget(&f->page[op->first + i], UNMAPPED);
	}
}

/* Advice */

/*
 * Returns how far it has an effect: it ends where memory is locked. Holes are
 * passed over, but told of in the end.
 */
static unsigned long advise(struct fuzzer *f, const struct op *op, int advice)
{
	long ret, ought = 0;
	unsigned long i;

	for (i = 0; i < op->npages && ought != -EINVAL; i++) {
		struct page *page = &f->page[op->first + i];

		if (page->access == UNMAPPED)
			ought = -ENOMEM;
		else if (page->locked)
			ought = -EINVAL;
	}
	if (ought == -EINVAL)
		i--;
	ret = madvise(addr_of(f, op->first), op->npages * page_size, advice) ?
	      -errno : 0;
	expect(f, "madvise", ret, ought);
	return i;
}

static void do_dontneed(struct fuzzer *f, const struct op *op)
{
	unsigned long i, end = advise(f, op, MADV_DONTNEED);

	for (i = 0; i < end; i++) {
		struct page *page = &f->page[op->first + i];
		bool mergeable = page->mergeable;

		forget(page, page->access);
		page->mergeable = mergeable;
	}
}

static void do_free(struct fuzzer *f, const struct op *op)
{
	unsigned long i, end;

	/* A page with two histories already is not given a third one. */
	for (i = 0; i < op->npages; i++)
		if (f->page[op->first + i].unsure)
			return;
	end = advise(f, op, MADV_FREE);
	for (i = 0; i < end; i++) {
		struct page *page = &f->page[op->first + i];

		if (page->access == UNMAPPED)
			continue;
		page->unsure = true;
		page->freed = true;
		page->exclusive = NO;
		page->soft_dirty = false;
		memset(page->fresh, 0, sizeof(page->fresh));
	}
}

static void do_pageout(struct fuzzer *f, const struct op *op)
{
	advise(f, op, MADV_PAGEOUT);
}

static void do_cold(struct fuzzer *f, const struct op *op)
{
	advise(f, op, MADV_COLD);
}

/* These say something about the mapping, and nothing happens to the pages. */
static void do_hugepage(struct fuzzer *f, const struct op *op)
{
	madvise(addr_of(f, op->first), op->npages * page_size,
		op->value % 2 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static void do_mergeable(struct fuzzer *f, const struct op *op)
{
	bool merge = op->value % 4;
	unsigned long i;

	madvise(addr_of(f, op->first), op->npages * page_size,
		merge ? MADV_MERGEABLE : MADV_UNMERGEABLE);
	for (i = 0; merge && i < op->npages; i++)
		f->page[op->first + i].mergeable = true;
}

static void do_mlock(struct fuzzer *f, const struct op *op)
{
	unsigned long i, good = leading(f, op, NONE);
	bool readable = leading(f, op, READ) == op->npages;
	int ret;

	ret = mlock2(addr_of(f, op->first), op->npages * page_size,
		     op->value % 2 ? MLOCK_ONFAULT : 0) ? -errno : 0;
	/* What cannot be read cannot be faulted in, which is an error. */
	if (good < op->npages)
		expect(f, "mlock", ret, -ENOMEM);
	else if (readable)
		expect(f, "mlock", ret, 0);
	for (i = 0; i < good; i++)
		f->page[op->first + i].locked = true;
}

static void do_munlock(struct fuzzer *f, const struct op *op)
{
	unsigned long i, good = leading(f, op, NONE);
	int ret;

	ret = munlock(addr_of(f, op->first), op->npages * page_size) ? -errno : 0;
	expect(f, "munlock", ret, good == op->npages ? 0 : -ENOMEM);
	for (i = 0; i < good; i++)
		f->page[op->first + i].locked = false;
}

static void do_move_pages(struct fuzzer *f, const struct op *op)
{
	int nodes[MAX_RANGE], status[MAX_RANGE];
	void *pages[MAX_RANGE];
	unsigned long i;

	if (!has_node)
		return;
	for (i = 0; i < op->npages; i++) {
		pages[i] = addr_of(f, op->first + i);
		nodes[i] = op->value % 2;
	}
	if (syscall(SYS_move_pages, 0, op->npages, pages, nodes, status,
		    MPOL_MF_MOVE) < 0)
		differs(f, "move_pages: %s", strerror(errno));
}

/* Others who look */

static int fork_child(struct fuzzer *f)
{
	unsigned long i;

	for (i = 0; i < f->npages && !f->failed; i++) {
		if (f->page[i].access < READ)
			continue;
		cpu_read_page(f, i);
		if (f->page[i].access == WRITE)
			cpu_store(addr_of(f, i), ~0ULL, false);
	}
	return f->failed;
}

/* The child has its copy, whatever the parent's device does meanwhile. */
static void do_fork(struct fuzzer *f, const struct op *op)
{
	unsigned long i;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(fork_child(f));
	if (pid < 0) {
		differs(f, "fork: %s", strerror(errno));
		return;
	}
	for (i = 0; i < f->npages; i++)
		f->page[i].exclusive = NO;
	dev_add(f, op);
	waitpid(pid, &status, 0);
	if (status)
		differs(f, "the child says %#x", status);
}

static void do_clear_refs(struct fuzzer *f, const struct op *op)
{
	unsigned long i;

	expect(f, "clear_refs", hmm_write_file("/proc/self/clear_refs", "4"), 0);
	for (i = 0; i < f->npages; i++) {
		f->page[i].exclusive = NO;
		f->page[i].soft_dirty = false;
	}
}

/* KSM forgets soft-dirty where it merges; other threads clear it. */
static void check_pagemap(struct fuzzer *f, const struct op *op)
{
	unsigned long i;
	uint64_t entry;

	for (i = 0; i < op->npages; i++) {
		struct page *page = &f->page[op->first + i];

		entry = hmm_pagemap(addr_of(f, op->first + i));
		if (page->exclusive == YES && opt.threads == 1 &&
		    !(entry & HMM_PAGEMAP_SWAP))
			differs(f, "page %lu is exclusive, pagemap has %#llx",
				op->first + i, (unsigned long long)entry);
		if (page->soft_dirty && !page->mergeable && !page->migrated &&
		    opt.threads == 1 && !(entry & HMM_PAGEMAP_SOFT_DIRTY))
			differs(f, "page %lu has been written, pagemap has %#llx",
				op->first + i, (unsigned long long)entry);
	}
}

static void poke(struct fuzzer *f, const struct op *op, enum access need,
		 long ret, const char *who)
{
	struct page *page = &f->page[op->first];
	bool may = page->access >= need;
	bool done = ret == 8;

	if (done != may)
		differs(f, "%s: %ld", who, ret);
	if (done) {
		page->exclusive = NO;
		model_write(page, op->word, op->value);
	}
}

static void do_vm_writev(struct fuzzer *f, const struct op *op)
{
	uint64_t value = op->value;
	struct iovec local = { .iov_base = &value, .iov_len = 8 };
	struct iovec remote = {
		.iov_base = addr_of(f, op->first) + word_offset[op->word],
		.iov_len = 8,
	};

	poke(f, op, WRITE, process_vm_writev(getpid(), &local, 1, &remote, 1, 0),
	     "process_vm_writev");
}

/* As a debugger, which may write what the process itself may not */
static void do_proc_mem(struct fuzzer *f, const struct op *op)
{
	uint64_t value = op->value;
	off_t where = (uintptr_t)addr_of(f, op->first) + word_offset[op->word];

	poke(f, op, NONE, pwrite(f->mem, &value, 8, where), "/proc/self/mem");
}

/* Write-protected by userfaultfd, with nobody to ask: nothing for the device */
static void do_uffd_wp(struct fuzzer *f, const struct op *op)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	struct uffdio_register reg = {
		.range = {
			.start = (uintptr_t)addr_of(f, op->first),
			.len = op->npages * page_size,
		},
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = {
		.range = reg.range,
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	unsigned long i;
	int fd;

	if (leading(f, op, WRITE) < op->npages)
		return;
	/* Only what is there can be protected. */
	cpu_write(f, op);
	/* Half of them while a device has them */
	if (op->value % 2)
		dev_exclusive(f, op);
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg)) {
		close(fd);
		return;
	}
	/* It has to be one VMA. */
	if (ioctl(fd, UFFDIO_WRITEPROTECT, &wp)) {
		if (errno != ENOENT)
			differs(f, "write-protecting: %s", strerror(errno));
		close(fd);
		return;
	}
	for (i = 0; i < op->npages; i++)
		f->page[op->first + i].exclusive = NO;
	expect(f, "make exclusive what is write-protected",
	       hmm_make_exclusive(f->fd, addr_of(f, op->first), op->npages),
	       -EFAULT);
	cpu_read(f, op);
	wp.mode = 0;
	if (ioctl(fd, UFFDIO_WRITEPROTECT, &wp))
		differs(f, "ending write protection: %s", strerror(errno));
	dev_add(f, op);
	close(fd);
}

static const struct op_type types[] = {
	{ "CPU read", 6, cpu_read },
	{ "CPU write", 6, cpu_write },
	{ "CPU add", 6, cpu_add },
	{ "make exclusive", 10, dev_exclusive },
	{ "device add", 10, dev_add },
	{ "device read", 5, dev_read },
	{ "device write", 5, dev_write },
	{ "migrate to device", 3, dev_migrate, true },
	{ "mprotect", 5, do_mprotect, true },
	{ "munmap", 1, do_munmap, true },
	{ "mmap", 2, do_mmap, true },
	{ "map huge page", 1, map_huge, true },
	{ "mremap", 3, do_mremap, true },
	{ "MADV_DONTNEED", 2, do_dontneed, true },
	{ "MADV_FREE", 2, do_free, true },
	{ "MADV_PAGEOUT", 3, do_pageout, true },
	{ "MADV_COLD", 2, do_cold, true },
	{ "MADV_HUGEPAGE", 2, do_hugepage, true },
	{ "MADV_MERGEABLE", 2, do_mergeable, true },
	{ "mlock", 1, do_mlock, true },
	{ "munlock", 2, do_munlock, true },
	{ "move_pages", 3, do_move_pages, true },
	{ "fork", 1, do_fork, true },
	{ "clear_refs", 1, do_clear_refs },
	{ "pagemap", 3, check_pagemap },
	{ "process_vm_writev", 3, do_vm_writev },
	{ "/proc/self/mem", 3, do_proc_mem },
	{ "uffd-wp", 2, do_uffd_wp, true },
};

#define NR_TYPES	ARRAY_SIZE(types)

/* Half of the time where something has just been done, or where it is crowded */
static unsigned long random_page(struct fuzzer *f)
{
	unsigned long dice = hmm_rand(&f->random, 16);
	unsigned long page = hmm_rand(&f->random,
				      dice ? HOT_PAGES : f->npages);

	if (dice < 8)
		f->last = page;
	return f->last;
}

/* Always takes the same from the random numbers, whatever has happened. */
static struct op next_op(struct fuzzer *f)
{
	unsigned int weight = 0, i;
	struct op op = { .type = types };
	unsigned long max;

	for (i = 0; i < NR_TYPES; i++)
		weight += types[i].weight;
	weight = hmm_rand(&f->random, weight);
	while (weight >= op.type->weight)
		weight -= op.type++->weight;

	op.first = random_page(f);
	op.to = hmm_rand(&f->random, HOT_PAGES);
	max = hmm_rand(&f->random, 8) ? 4 : MAX_RANGE;
	op.npages = 1 + hmm_rand(&f->random, max);
	if (op.npages > f->npages - op.first)
		op.npages = f->npages - op.first;
	op.word = hmm_rand(&f->random, NR_WORDS);
	op.value = hmm_rand(&f->random, 1000000);
	return op;
}

/* Is what the device has what the model says? Runs of pages at a time. */
static void check_exclusive(struct fuzzer *f)
{
	unsigned long first, next;
	long have;

	for (first = 0; first < f->npages; first = next) {
		enum exclusive ought = f->page[first].exclusive;

		next = first + 1;
		while (next < f->npages && f->page[next].exclusive == ought)
			next++;
		/* What other threads do to the mm takes pages away, too. */
		if (ought == MAYBE || (ought == YES && opt.threads > 1))
			continue;
		have = hmm_count_exclusive(f->fd, addr_of(f, first),
					   next - first);
		if (have != (ought == YES ? (long)(next - first) : 0))
			differs(f, "the device has %ld of pages %lu to %lu, ought to have %s",
				have, first, next - 1,
				ought == YES ? "all" : "none");
	}
}

static void compare_all(struct fuzzer *f)
{
	unsigned long i;

	for (i = 0; i < f->npages && !f->failed; i++)
		if (f->page[i].access >= READ)
			cpu_read_page(f, i);
}

static void one_op(struct fuzzer *f)
{
	struct op op = next_op(f);
	char *line = f->history[f->nr_ops % HISTORY];

	snprintf(line, sizeof(f->history[0]),
		 "%s, page %lu, %lu pages, to %lu, word %u, value %llu",
		 op.type->name, op.first, op.npages, op.to,
		 op.word, (unsigned long long)op.value);
	if (opt.verbose)
		ksft_print_msg("%llu: %s\n", (unsigned long long)f->nr_ops, line);
	op.type->run(f, &op);
	if (op.type->shakes || scans)
		shake_all(f);
	check_exclusive(f);
	if (f->nr_ops % COMPARE_EVERY == COMPARE_EVERY - 1)
		compare_all(f);
}

static void *fuzz(void *arg)
{
	struct fuzzer *f = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (opt.ops && f->nr_ops >= opt.ops)
			break;
		one_op(f);
		if (f->failed)
			break;
		f->nr_ops++;
	}
	if (!f->failed)
		compare_all(f);
	return NULL;
}

static void setup(struct fuzzer *f, int nr)
{
	unsigned long size = TWOMEG + 2 * SMALL_PAGES * page_size;
	char *ptr;

	f->nr = nr;
	f->random = hmm_rand_seed(opt.seed, nr);
	f->fd = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);
	f->mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	f->npages = size / page_size;
	f->page = calloc(f->npages, sizeof(*f->page));
	f->buffer = malloc(MAX_RANGE * page_size);
	/* Kept from others by what is left around it. */
	ptr = mmap(NULL, size + 2 * TWOMEG, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->fd < 0 || f->mem < 0 || !f->page || !f->buffer ||
	    ptr == MAP_FAILED)
		ksft_exit_fail_msg("setting up: %s\n", strerror(errno));
	f->huge = SMALL_PAGES;
	f->base = (char *)ALIGN((uintptr_t)ptr + f->huge * page_size,
				(unsigned long)TWOMEG) - f->huge * page_size;
	map_fresh(f, 0, f->npages);
}

/* Threads of their own, so that this one can show that something is going on. */
static void run(struct fuzzer *fuzzers)
{
	time_t start = time(NULL), shown = start, now;
	uint64_t ops;
	int i;

	for (i = 0; i < opt.threads; i++)
		setup(&fuzzers[i], i);
	for (i = 0; i < opt.threads; i++)
		if (pthread_create(&fuzzers[i].thread, NULL, fuzz, &fuzzers[i]))
			ksft_exit_fail_msg("no thread\n");
	for (;;) {
		bool done = true;

		usleep(20000);
		now = time(NULL);
		for (ops = 0, i = 0; i < opt.threads; i++) {
			uint64_t n = __atomic_load_n(&fuzzers[i].nr_ops,
						     __ATOMIC_RELAXED);

			ops += n;
			done &= opt.ops && n >= opt.ops;
		}
		if (now - shown >= 5) {
			ksft_print_msg("%ld s: %llu operations\n",
				       (long)(now - start),
				       (unsigned long long)ops);
			shown = now;
		}
		if (opt.seconds && now - start >= opt.seconds)
			__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		if (done || __atomic_load_n(&stop, __ATOMIC_RELAXED))
			break;
	}
	for (i = 0; i < opt.threads; i++)
		pthread_join(fuzzers[i].thread, NULL);
}

static void show_usage(void)
{
	size_t i;

	fputs("usage: " PROGRAM " [OPTION...]\n"
	      "Do random operations on memory that a device takes exclusively now and then, and\n"
	      "compare with a model of it.\n"
	      "  --ops N      how many, of each thread; 0 for no end (10000)\n"
	      "  --seconds N  end after that time, even if there were not so many\n"
	      "  --seed N     which ones (the time)\n"
	      "  --threads N  threads with memory of their own (1)\n"
	      "  --verbose    say each operation before it is done\n"
	      "Operations:", stdout);
	for (i = 0; i < NR_TYPES; i++)
		printf("%s %s", i ? "," : "", types[i].name);
	printf("\n");
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'o' },
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "threads", required_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL }
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			opt.ops = hmm_number(PROGRAM, "ops", optarg, 0, ~0UL);
			break;
		case 's':
			opt.seconds = hmm_number(PROGRAM, "seconds", optarg, 1, 1000000000);
			break;
		case 'r':
			opt.seed = hmm_number(PROGRAM, "seed", optarg, 0, ~0UL);
			break;
		case 't':
			opt.threads = hmm_number(PROGRAM, "threads", optarg, 1, MAX_THREADS);
			break;
		case 'v':
			opt.verbose = true;
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
	if (!opt.ops && !opt.seconds)
		hmm_bad_argument(PROGRAM, "--ops 0 wants", "--seconds");
}

int main(int argc, char **argv)
{
	static struct fuzzer fuzzers[MAX_THREADS];
	struct sigaction action = { .sa_handler = segv };
	bool failed = false;
	uint64_t ops = 0;
	int i;

	page_size = sysconf(_SC_PAGESIZE);
	word_offset[1] = 8;
	word_offset[2] = page_size / 2;
	word_offset[3] = page_size - 8;
	opt.seed = time(NULL);
	parse(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);

	ksft_print_header();
	if (access("/dev/hmm_dmirror0", R_OK | W_OK))
		ksft_exit_skip("no /dev/hmm_dmirror0: load test_hmm, make its nodes\n");
	if (geteuid())
		ksft_exit_skip("needs to be root\n");
	has_node = !access("/sys/devices/system/node/node1", F_OK);
	scans = fault_window() != 1;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	ksft_set_plan(1);
	ksft_print_msg("--seed %lu\n", opt.seed);
	run(fuzzers);
	for (i = 0; i < opt.threads; i++) {
		failed |= fuzzers[i].failed;
		ops += fuzzers[i].nr_ops;
	}
	ksft_test_result(!failed, "--seed %lu --threads %d: %llu operations\n",
			 opt.seed, opt.threads, (unsigned long long)ops);
	ksft_exit(!failed);
}
