// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on memory by the CPU, by mm calls, and by a device that has
 * some of it exclusively (lib/test_hmm.c), compared with a model, which knows
 * what each page holds and what the device may still touch.
 *
 * What an operation is depends on the seed alone, not on what came of those
 * before it, so a seed that fails does the same operations again. With several
 * threads each has pages of its own, and only the order among them is chance.
 *
 * With --shared the memory is that of a file, which several processes map, each
 * with a device of its own. They take turns: one does an operation, and all of
 * them look whether their devices have what they ought to have.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
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
#define PROCESSES	3
#define HISTORY		16
#define COMPARE_EVERY	256

#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

enum access { UNMAPPED, NONE, READ, WRITE };

/* Does the device have the page for atomic operations? */
enum exclusive { NO, MAYBE, YES };

/*
 * A page holds @word at some places, and zeros. After MADV_FREE, and until it is
 * seen which, it may as well hold @fresh, what has been written since then; while
 * @freed, nothing has been written, and the kernel may still drop it.
 *
 * Where a file is mapped, the words are those of a page of the file, until a
 * private mapping has been written to: then it is a copy.
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
	bool private;
	bool copied;
	struct page *file;
};

struct op;

/* What is done one after the other: by a thread, or by all processes together */
struct sequence {
	uint64_t random;
	unsigned long last;
	uint64_t nr_ops;
	char history[HISTORY][96];
	bool failed;
};

/* The part of the memory that a thread or a process has, and its model */
struct fuzzer {
	struct sequence *seq;
	pthread_t thread;
	int fd;
	int mem;
	int nr;
	char *base;
	unsigned long npages;
	unsigned long huge;	/* where a huge page fits */
	struct page *page;
	char *buffer;
	/* For a process only */
	pid_t pid;
	int ask;
	int answer;
	bool leaves;
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

/* Of memory */
enum kind { BOTH, ANONYMOUS, SHARED };

struct op_type {
	const char *name;
	unsigned int weight;
	void (*run)(struct fuzzer *f, const struct op *op);
	bool shakes;		/* pages beside those it is about, as well */
	enum kind kind;
};

static struct {
	unsigned long ops;
	long seconds;
	unsigned long seed;
	int threads;
	bool shared;
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

/* The file, what its pages hold, and what the driving process asks for next */
static struct {
	int fd;
	struct page *page;
	struct op op;
	bool huge;		/* some pages may be parts of huge ones */
} *shared;
static struct fuzzer *fuzzers;
static __thread sigjmp_buf fault;
static __thread bool may_fault;

static void __attribute__((__format__(printf, 2, 3)))
differs(struct fuzzer *f, const char *fmt, ...)
{
	struct sequence *seq = f->seq;
	uint64_t nr = seq->nr_ops < HISTORY ? 0 : seq->nr_ops - HISTORY + 1;
	char text[256];
	va_list args;

	if (seq->failed)
		return;
	seq->failed = true;
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ksft_print_msg("--seed %lu, %s %d, operation %llu: %s\n", opt.seed,
		       opt.shared ? "process" : "thread", f->nr,
		       (unsigned long long)seq->nr_ops, text);
	for (; nr <= seq->nr_ops; nr++)
		ksft_print_msg("%llu: %s\n", (unsigned long long)nr,
			       seq->history[nr % HISTORY]);
}

/* For the model, of which the processes that share memory have one */
static void *allocate(unsigned long size)
{
	int flags = MAP_ANONYMOUS | (opt.shared ? MAP_SHARED : MAP_PRIVATE);
	void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (ptr == MAP_FAILED)
		ksft_exit_fail_msg("no memory: %s\n", strerror(errno));
	return ptr;
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

/* Where the words of a page are */
static struct page *content(struct page *page)
{
	return page->file && !page->copied ? page->file : page;
}

/* Is a write about to make a copy of it? */
static bool is_shown(const struct page *page)
{
	return page->file && page->private && !page->copied;
}

/* Somebody writes a word. */
static void model_write(struct page *page, int word, uint64_t value)
{
	struct page *data = content(page);

	data->word[word] = value;
	data->fresh[word] = value;
	page->freed = false;
	page->soft_dirty = true;
}

static void model_add(struct page *page, int word, uint64_t value)
{
	struct page *data = content(page);

	data->word[word] += value;
	data->fresh[word] += value;
	page->freed = false;
	page->soft_dirty = true;
}

/*
 * Devices lose a page, or may lose it if not @sure, and the device of @keeper may
 * keep it. A page of the file is lost for all who map it. Who has a copy there may
 * be told of that, too.
 */
static void lose_page(struct page *page, struct fuzzer *keeper, bool sure)
{
	struct page *data = content(page);
	unsigned long i;
	int nr;

	if (data == page) {
		if (keeper || !sure)
			shake(page);
		else
			page->exclusive = NO;
		return;
	}
	for (nr = 0; nr < PROCESSES; nr++) {
		for (i = 0; i < fuzzers[nr].npages; i++) {
			struct page *other = &fuzzers[nr].page[i];

			if (other->file != data)
				continue;
			if (other->copied || &fuzzers[nr] == keeper || !sure)
				shake(other);
			else
				other->exclusive = NO;
			/* Not mapped any more, there is nothing to tell. */
			if (!other->copied && !sure)
				other->soft_dirty = false;
		}
	}
}

/* A CPU touches the page: no device has it. */
static void lose(struct page *page)
{
	lose_page(page, NULL, true);
}

/* A write: a private mapping gets a copy. */
static void lose_for_write(struct page *page)
{
	lose(page);
	if (is_shown(page)) {
		memcpy(page->word, page->file->word, sizeof(page->word));
		page->copied = true;
	}
}

/* The device of @f has read or written the page, or has it exclusively. */
static void take(struct fuzzer *f, struct page *page)
{
	lose_page(page, f, true);
}

static void take_for_write(struct fuzzer *f, struct page *page)
{
	if (is_shown(page))
		lose_for_write(page);
	take(f, page);
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
static void compare_words(struct fuzzer *f, struct page *page, unsigned long nr,
			  const char *data, const char *who)
{
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

static void compare(struct fuzzer *f, unsigned long nr, const char *data,
		    const char *who)
{
	compare_words(f, content(&f->page[nr]), nr, data, who);
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
	lose(page);
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
		lose_for_write(page);
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

		take_for_write(f, page);
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

		take_for_write(f, page);
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
		if (ret)
			lose_page(&f->page[op->first + i], NULL, false);
		else
			take(f, &f->page[op->first + i]);
		if (!ret)
			compare(f, op->first + i, f->buffer + i * page_size,
				"the device");
	}
}

static bool any_shown(struct fuzzer *f, const struct op *op)
{
	unsigned long i;

	for (i = 0; i < op->npages; i++)
		if (is_shown(&f->page[op->first + i]))
			return true;
	return false;
}

static void dev_write(struct fuzzer *f, const struct op *op)
{
	unsigned long i, good = leading(f, op, WRITE);
	bool may = good == op->npages;
	struct hmm_dmirror_cmd cmd;
	int ret, word;

	/* How far it got in making copies would not be known. */
	if (!may && any_shown(f, op))
		return;
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
	for (i = cmd.cpages; i < op->npages; i++)
		lose_page(&f->page[op->first + i], NULL, false);
	for (i = 0; i < cmd.cpages && i < good; i++) {
		struct page *page = &f->page[op->first + i];

		take_for_write(f, page);
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
		struct page old = *page;

		forget(page, old.access);
		page->mergeable = old.mergeable;
		page->private = old.private;
		page->file = old.file;
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

	/* Of what may be written it makes copies, as far as it gets. */
	if (any_shown(f, op))
		return;
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
		    opt.shared ? MPOL_MF_MOVE_ALL : MPOL_MF_MOVE) < 0)
		differs(f, "move_pages: %s", strerror(errno));
}

/* Others who look */

static int fork_child(struct fuzzer *f)
{
	unsigned long i;

	for (i = 0; i < f->npages && !f->seq->failed; i++) {
		if (f->page[i].access < READ)
			continue;
		cpu_read_page(f, i);
		if (f->page[i].access == WRITE)
			cpu_store(addr_of(f, i), ~0ULL, false);
	}
	return f->seq->failed;
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

/* Has a device of any process what the page shows? */
static bool any_exclusive(struct page *page)
{
	struct page *data = content(page);
	unsigned long i;
	int nr;

	for (nr = 0; nr < PROCESSES; nr++)
		for (i = 0; i < fuzzers[nr].npages; i++)
			if (content(&fuzzers[nr].page[i]) == data &&
			    fuzzers[nr].page[i].exclusive == YES)
				return true;
	return false;
}

/*
 * KSM forgets soft-dirty where it merges, a huge page of a file where its mapping
 * is split; other threads clear it.
 */
static bool tells_soft_dirty(const struct page *page)
{
	return opt.threads == 1 && page->soft_dirty && !page->mergeable &&
	       !page->migrated && !(opt.shared && shared->huge);
}

static void check_pagemap(struct fuzzer *f, const struct op *op)
{
	unsigned long i;
	uint64_t entry;

	for (i = 0; i < op->npages; i++) {
		struct page *page = &f->page[op->first + i];

		entry = hmm_pagemap(addr_of(f, op->first + i));
		if (opt.shared && entry & HMM_PAGEMAP_PRESENT &&
		    any_exclusive(page))
			differs(f, "a device has page %lu, pagemap has %#llx",
				op->first + i, (unsigned long long)entry);
		if (page->exclusive == YES && opt.threads == 1 &&
		    !(entry & HMM_PAGEMAP_SWAP))
			differs(f, "page %lu is exclusive, pagemap has %#llx",
				op->first + i, (unsigned long long)entry);
		if (tells_soft_dirty(page) && !(entry & HMM_PAGEMAP_SOFT_DIRTY))
			differs(f, "page %lu has been written, pagemap has %#llx",
				op->first + i, (unsigned long long)entry);
	}
}

static void poke(struct fuzzer *f, struct page *page, const struct op *op,
		 enum access need, long ret, const char *who)
{
	bool may = page->access >= need;
	bool done = ret == 8;

	if (done != may)
		differs(f, "%s: %ld", who, ret);
	if (done) {
		lose_for_write(page);
		model_write(page, op->word, op->value);
	}
}

/* A process that has the memory, too: any of them, this one among them */
static struct fuzzer *other(struct fuzzer *f, const struct op *op)
{
	return opt.shared ? &fuzzers[op->value % PROCESSES] : f;
}

static void do_vm_writev(struct fuzzer *f, const struct op *op)
{
	struct fuzzer *to = other(f, op);
	uint64_t value = op->value;
	struct iovec local = { .iov_base = &value, .iov_len = 8 };
	struct iovec remote = {
		.iov_base = addr_of(to, op->first) + word_offset[op->word],
		.iov_len = 8,
	};

	poke(f, &to->page[op->first], op, WRITE,
	     process_vm_writev(to->pid, &local, 1, &remote, 1, 0),
	     "process_vm_writev");
}

/* As a debugger, which may write what the process itself may not */
static void do_proc_mem(struct fuzzer *f, const struct op *op)
{
	struct page *page = &f->page[op->first];
	uint64_t value = op->value;
	off_t where = (uintptr_t)addr_of(f, op->first) + word_offset[op->word];
	/* There is no way to write to a file that is mapped read-only. */
	enum access need = page->file && !page->private ? WRITE : NONE;

	poke(f, page, op, need, pwrite(f->mem, &value, 8, where),
	     "/proc/self/mem");
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

/* Memory of a file, which several processes share */

static off_t offset_of(struct page *file)
{
	/* A huge page of the file fits where one of anonymous memory does. */
	return TWOMEG - SMALL_PAGES * page_size +
	       (file - shared->page) * page_size;
}

static void map_pages(struct fuzzer *f, unsigned long first,
		      unsigned long npages, struct page *file, bool private)
{
	char *ptr = addr_of(f, first);
	unsigned long i;

	if (mmap(ptr, npages * page_size, PROT_READ | PROT_WRITE,
		 MAP_FIXED | (private ? MAP_PRIVATE : MAP_SHARED), shared->fd,
		 offset_of(file)) != ptr)
		differs(f, "mmap of the file: %s", strerror(errno));
	for (i = 0; i < npages; i++) {
		struct page *page = &f->page[first + i];

		forget(page, WRITE);
		page->private = private;
		page->file = file + i;
	}
}

/* Where it was in the beginning, or elsewhere, and then maybe a second time */
static void map_file(struct fuzzer *f, const struct op *op)
{
	unsigned long to = op->value % 2 ? op->first : op->to;

	if (to > f->npages - op->npages)
		to = f->npages - op->npages;
	map_pages(f, op->first, op->npages, &shared->page[to],
		  op->value % 8 < 4);
}

/* These pages of the file are gone, and all mappings of them, maybe with copies. */
static void dropped(struct page *first, unsigned long npages, bool copies)
{
	unsigned long i;
	int nr;

	for (nr = 0; nr < PROCESSES; nr++) {
		for (i = 0; i < fuzzers[nr].npages; i++) {
			struct page *page = &fuzzers[nr].page[i];

			if (page->file < first || page->file >= first + npages)
				continue;
			page->exclusive = NO;
			page->soft_dirty = false;
			if (copies)
				page->copied = false;
		}
	}
	memset(first, 0, npages * sizeof(*first));
}

static void punch(struct fuzzer *f, struct page *first, unsigned long npages)
{
	expect(f, "punching a hole",
	       fallocate(shared->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 offset_of(first), npages * page_size), 0);
	dropped(first, npages, false);
}

static void do_hole(struct fuzzer *f, const struct op *op)
{
	unsigned long room = f->npages - op->to;

	punch(f, &shared->page[op->to], op->npages < room ? op->npages : room);
}

static void do_remove(struct fuzzer *f, const struct op *op)
{
	struct page *page = &f->page[op->first];
	long ret, ought = 0;

	if (page->access == UNMAPPED)
		ought = -ENOMEM;
	else if (page->locked)
		ought = -EINVAL;
	else if (page->private)
		ought = -EACCES;
	ret = madvise(addr_of(f, op->first), page_size, MADV_REMOVE) ?
	      -errno : 0;
	expect(f, "MADV_REMOVE", ret, ought);
	if (!ought)
		dropped(page->file, 1, false);
}

static void set_size(struct fuzzer *f, off_t size)
{
	expect(f, "ftruncate", ftruncate(shared->fd, size), 0);
}

/* Make the file end there, have a look, and make it as long as it was. */
static void do_truncate(struct fuzzer *f, const struct op *op)
{
	struct page *first = &shared->page[op->first];
	struct page *end = &shared->page[f->npages];
	char *ptr = addr_of(f, op->first);

	set_size(f, offset_of(first));
	dropped(first, end - first, true);
	/* What is left of a huge page may go on behind the end. */
	if (f->page[op->first].file >= first && !shared->huge) {
		expect(f, "reading behind the end", cpu_copy(f->buffer, ptr),
		       false);
		expect(f, "make exclusive what is behind the end",
		       hmm_make_exclusive(f->fd, ptr, 1), -EFAULT);
	}
	set_size(f, offset_of(end));
}

/* A file without pages, which gets huge ones from now on, or none any more */
static void do_huge_file(struct fuzzer *f, const struct op *op)
{
	bool huge = op->value % 2;

	if (hmm_write_file(SHMEM_ENABLED, huge ? "force" : "never"))
		return;
	/* With the part of a huge page that lies before the memory */
	set_size(f, 0);
	dropped(shared->page, f->npages, true);
	set_size(f, offset_of(&shared->page[f->npages]));
	shared->huge = huge;
}

/* These are no user mappings: whoever has the page keeps it, and sees it. */
static void do_pread(struct fuzzer *f, const struct op *op)
{
	expect(f, "pread", pread(shared->fd, f->buffer, page_size,
				 offset_of(&shared->page[op->to])), page_size);
	compare_words(f, &shared->page[op->to], op->to, f->buffer, "pread");
}

static void do_pwrite(struct fuzzer *f, const struct op *op)
{
	struct page *page = &shared->page[op->to];

	expect(f, "pwrite", pwrite(shared->fd, &op->value, 8, offset_of(page) +
				   word_offset[op->word]), 8);
	model_write(page, op->word, op->value);
}

/* What is written comes out of a mapping, and be it one of the same page. */
static void do_pwrite_from(struct fuzzer *f, const struct op *op)
{
	struct page *from = &f->page[op->first], *to = &shared->page[op->to];
	bool may = from->access >= READ;
	ssize_t ret;

	ret = pwrite(shared->fd, addr_of(f, op->first) + word_offset[op->word],
		     8, offset_of(to) + word_offset[op->word]);
	expect(f, "pwrite from there", ret < 0 ? -errno : ret, may ? 8 : -EFAULT);
	if (!may)
		return;
	lose(from);
	model_write(to, op->word, content(from)->word[op->word]);
}

static void do_vm_readv(struct fuzzer *f, const struct op *op)
{
	struct fuzzer *from = other(f, op);
	struct page *page = &from->page[op->first];
	struct iovec local = { .iov_base = f->buffer, .iov_len = page_size };
	struct iovec remote = {
		.iov_base = addr_of(from, op->first), .iov_len = page_size,
	};
	bool may = page->access >= READ;
	ssize_t ret;

	ret = process_vm_readv(from->pid, &local, 1, &remote, 1, 0);
	expect(f, "process_vm_readv", ret < 0 ? -errno : ret,
	       may ? (long)page_size : -EFAULT);
	if (!may)
		return;
	lose(page);
	compare_words(f, content(page), op->first, f->buffer,
		      "process_vm_readv");
}

/* It finds what the parent has, and changes only what is shared. */
static int shared_child(struct fuzzer *f, const struct op *op)
{
	unsigned long i;

	for (i = op->first; i < op->first + op->npages; i++) {
		struct page *page = &f->page[i];

		cpu_read_page(f, i);
		if (page->access < WRITE)
			continue;
		cpu_store(addr_of(f, i) + word_offset[op->word], op->value,
			  true);
		if (!page->private)
			page->file->word[op->word] += op->value;
	}
	return f->seq->failed;
}

/* Only what is private is copied, and for that taken from the device. */
static void do_shared_fork(struct fuzzer *f, const struct op *op)
{
	unsigned long i;
	int status;
	pid_t pid;

	for (i = 0; i < f->npages; i++)
		if (f->page[i].private)
			f->page[i].exclusive = NO;
	pid = fork();
	if (!pid)
		_exit(shared_child(f, op));
	if (pid < 0) {
		differs(f, "fork: %s", strerror(errno));
		return;
	}
	waitpid(pid, &status, 0);
	if (status)
		differs(f, "the child says %#x", status);
}

/* This process ends, and its device has some of the memory. */
static void do_exit(struct fuzzer *f, const struct op *op)
{
	dev_add(f, op);
	f->leaves = true;
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
	{ "mmap", 2, do_mmap, true, ANONYMOUS },
	{ "map huge page", 1, map_huge, true, ANONYMOUS },
	{ "mremap", 3, do_mremap, true },
	{ "MADV_DONTNEED", 2, do_dontneed, true },
	{ "MADV_FREE", 2, do_free, true, ANONYMOUS },
	{ "MADV_PAGEOUT", 3, do_pageout, true },
	{ "MADV_COLD", 2, do_cold, true },
	{ "MADV_HUGEPAGE", 2, do_hugepage, true, ANONYMOUS },
	{ "MADV_MERGEABLE", 2, do_mergeable, true, ANONYMOUS },
	{ "mlock", 1, do_mlock, true },
	{ "munlock", 2, do_munlock, true },
	{ "move_pages", 3, do_move_pages, true },
	{ "fork", 1, do_fork, true, ANONYMOUS },
	{ "clear_refs", 1, do_clear_refs },
	{ "pagemap", 3, check_pagemap },
	{ "process_vm_writev", 3, do_vm_writev },
	{ "/proc/self/mem", 3, do_proc_mem },
	{ "uffd-wp", 2, do_uffd_wp, true, ANONYMOUS },
	{ "mmap of the file", 6, map_file, true, SHARED },
	{ "huge file", 1, do_huge_file, false, SHARED },
	{ "fork that shares", 2, do_shared_fork, false, SHARED },
	{ "exit", 1, do_exit, false, SHARED },
	{ "hole", 1, do_hole, false, SHARED },
	{ "MADV_REMOVE", 1, do_remove, false, SHARED },
	{ "truncate", 1, do_truncate, false, SHARED },
	{ "pread", 3, do_pread, false, SHARED },
	{ "pwrite", 3, do_pwrite, false, SHARED },
	{ "pwrite from there", 2, do_pwrite_from, false, SHARED },
	{ "process_vm_readv", 3, do_vm_readv, false, SHARED },
};

#define NR_TYPES	ARRAY_SIZE(types)

/* Half of the time where something has just been done, or where it is crowded */
static unsigned long random_page(struct sequence *seq, unsigned long npages)
{
	unsigned long dice = hmm_rand(&seq->random, 16);
	unsigned long page = hmm_rand(&seq->random, dice ? HOT_PAGES : npages);

	if (dice < 8)
		seq->last = page;
	return seq->last;
}

static unsigned int weight_of(const struct op_type *type)
{
	return type->kind == (opt.shared ? ANONYMOUS : SHARED) ? 0 :
								 type->weight;
}

/* Always takes the same from the random numbers, whatever has happened. */
static struct op next_op(struct fuzzer *f)
{
	unsigned int weight = 0, i;
	struct sequence *seq = f->seq;
	struct op op = { .type = types };
	unsigned long max;

	for (i = 0; i < NR_TYPES; i++)
		weight += weight_of(&types[i]);
	weight = hmm_rand(&seq->random, weight);
	while (weight >= weight_of(op.type))
		weight -= weight_of(op.type++);

	op.first = random_page(seq, f->npages);
	op.to = hmm_rand(&seq->random, HOT_PAGES);
	max = hmm_rand(&seq->random, 8) ? 4 : MAX_RANGE;
	op.npages = 1 + hmm_rand(&seq->random, max);
	if (op.npages > f->npages - op.first)
		op.npages = f->npages - op.first;
	op.word = hmm_rand(&seq->random, NR_WORDS);
	op.value = hmm_rand(&seq->random, 1000000);
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

	for (i = 0; i < f->npages && !f->seq->failed; i++)
		if (f->page[i].access >= READ)
			cpu_read_page(f, i);
}

/* What the model does not follow: which pages are lost beside those it is about */
static void shake_beside(struct fuzzer *f, const struct op *op)
{
	bool all = opt.shared && (scans || shared->huge);
	unsigned long i;

	if (op->type->shakes || scans)
		shake_all(f);
	for (i = 0; all && i < PROCESSES; i++)
		shake_all(&fuzzers[i]);
	for (i = 0; opt.shared && op->type->shakes && i < op->npages; i++)
		lose_page(&f->page[op->first + i], NULL, false);
}

static void do_op(struct fuzzer *f, const struct op *op)
{
	op->type->run(f, op);
	shake_beside(f, op);
	check_exclusive(f);
	if (f->seq->nr_ops % COMPARE_EVERY == COMPARE_EVERY - 1)
		compare_all(f);
}

/* The processes that share memory. What they are asked is a byte in a pipe. */

enum { DO_OP, CHECK, COMPARE };

static void open_files(struct fuzzer *f)
{
	f->pid = getpid();
	f->fd = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);
	f->mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (f->fd < 0 || f->mem < 0)
		ksft_exit_fail_msg("setting up: %s\n", strerror(errno));
}

static void process_main(struct fuzzer *f, int ask, int answer)
{
	char what;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_files(f);
	map_pages(f, 0, f->npages, shared->page, false);
	while (read(ask, &what, 1) == 1) {
		if (what == DO_OP)
			do_op(f, &shared->op);
		else if (what == CHECK)
			check_exclusive(f);
		else
			compare_all(f);
		if (write(answer, &what, 1) != 1)
			break;
		if (f->leaves && shared->op.value % 2)
			kill(f->pid, SIGKILL);
		if (f->leaves)
			break;
	}
	_exit(0);
}

/* Returns when it is done; a process that is gone has failed. */
static void ask(struct fuzzer *f, char what)
{
	int status = 0;

	if (write(f->ask, &what, 1) == 1 && read(f->answer, &what, 1) == 1)
		return;
	if (f->pid > 0)
		waitpid(f->pid, &status, 0);
	f->pid = 0;
	differs(f, "the process has ended: %#x", status);
}

static void start_process(struct fuzzer *f)
{
	int to[2], from[2];
	pid_t pid;

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		ksft_exit_fail_msg("no pipe\n");
	f->leaves = false;
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_msg("no process\n");
	if (!pid) {
		close(to[1]);
		close(from[0]);
		process_main(f, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	f->pid = pid;
	f->ask = to[1];
	f->answer = from[0];
	/* The answer comes when it has its memory. */
	ask(f, CHECK);
}

static void end_process(struct fuzzer *f)
{
	close(f->ask);
	close(f->answer);
	if (f->pid > 0)
		waitpid(f->pid, NULL, 0);
}

static void take_turn(struct fuzzer *f, const struct op *op)
{
	int nr;

	shared->op = *op;
	ask(f, DO_OP);
	if (f->leaves) {
		end_process(f);
		start_process(f);
	}
	for (nr = 0; nr < PROCESSES; nr++)
		if (nr != f->nr)
			ask(&fuzzers[nr], CHECK);
}

static void end_processes(void)
{
	int nr;

	for (nr = 0; nr < PROCESSES; nr++)
		if (!fuzzers->seq->failed)
			ask(&fuzzers[nr], COMPARE);
	for (nr = 0; nr < PROCESSES; nr++) {
		if (fuzzers[nr].pid > 0)
			kill(fuzzers[nr].pid, SIGKILL);
		end_process(&fuzzers[nr]);
	}
}

static void one_op(struct fuzzer *f)
{
	struct op op = next_op(f);
	char *line = f->seq->history[f->seq->nr_ops % HISTORY];
	char who[16] = "";

	if (opt.shared) {
		f = &fuzzers[hmm_rand(&f->seq->random, PROCESSES)];
		snprintf(who, sizeof(who), "process %d: ", f->nr);
	}
	snprintf(line, sizeof(f->seq->history[0]),
		 "%s%s, page %lu, %lu pages, to %lu, word %u, value %llu", who,
		 op.type->name, op.first, op.npages, op.to,
		 op.word, (unsigned long long)op.value);
	if (opt.verbose)
		ksft_print_msg("%llu: %s\n",
			       (unsigned long long)f->seq->nr_ops, line);
	if (opt.shared)
		take_turn(f, &op);
	else
		do_op(f, &op);
}

static void *fuzz(void *arg)
{
	struct fuzzer *f = arg;
	struct sequence *seq = f->seq;
	int nr;

	for (nr = 0; opt.shared && nr < PROCESSES; nr++)
		start_process(&fuzzers[nr]);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) && !seq->failed) {
		if (opt.ops && seq->nr_ops >= opt.ops)
			break;
		one_op(f);
		if (seq->failed)
			break;
		seq->nr_ops++;
	}
	if (opt.shared)
		end_processes();
	else if (!seq->failed)
		compare_all(f);
	/* A process may have said so. */
	if (seq->failed)
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	return NULL;
}

static void setup(struct fuzzer *f, int nr)
{
	unsigned long size = TWOMEG + 2 * SMALL_PAGES * page_size;
	char *ptr;

	f->nr = nr;
	if (opt.shared && nr) {
		f->seq = fuzzers->seq;
	} else {
		f->seq = allocate(sizeof(*f->seq));
		f->seq->random = hmm_rand_seed(opt.seed, nr);
	}
	f->npages = size / page_size;
	f->page = allocate(f->npages * sizeof(*f->page));
	f->buffer = malloc(MAX_RANGE * page_size);
	/* Kept from others by what is left around it. */
	ptr = mmap(NULL, size + 2 * TWOMEG, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!f->buffer || ptr == MAP_FAILED)
		ksft_exit_fail_msg("setting up: %s\n", strerror(errno));
	f->huge = SMALL_PAGES;
	f->base = (char *)ALIGN((uintptr_t)ptr + f->huge * page_size,
				(unsigned long)TWOMEG) - f->huge * page_size;
	if (opt.shared)
		return;
	open_files(f);
	map_fresh(f, 0, f->npages);
}

static void setup_file(unsigned long npages)
{
	shared = allocate(sizeof(*shared));
	shared->page = allocate(npages * sizeof(*shared->page));
	shared->fd = syscall(SYS_memfd_create, PROGRAM, MFD_CLOEXEC);
	if (shared->fd < 0 ||
	    ftruncate(shared->fd, offset_of(&shared->page[npages])))
		ksft_exit_fail_msg("no file: %s\n", strerror(errno));
	/* What has become of a process says ask(). */
	signal(SIGPIPE, SIG_IGN);
}

/* Threads of their own, so that this one can show that something is going on. */
static void run(void)
{
	time_t start = time(NULL), shown = start, now;
	uint64_t ops;
	int i;

	for (i = 0; i < (opt.shared ? PROCESSES : opt.threads); i++)
		setup(&fuzzers[i], i);
	if (opt.shared)
		setup_file(fuzzers->npages);
	for (i = 0; i < opt.threads; i++)
		if (pthread_create(&fuzzers[i].thread, NULL, fuzz, &fuzzers[i]))
			ksft_exit_fail_msg("no thread\n");
	for (;;) {
		bool done = true;

		usleep(20000);
		now = time(NULL);
		for (ops = 0, i = 0; i < opt.threads; i++) {
			uint64_t n = __atomic_load_n(&fuzzers[i].seq->nr_ops,
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

static void show_types(enum kind kind)
{
	const char *comma = "";
	size_t i;

	for (i = 0; i < NR_TYPES; i++) {
		if (types[i].kind != BOTH && types[i].kind != kind)
			continue;
		printf("%s %s", comma, types[i].name);
		comma = ",";
	}
}

static void show_usage(void)
{
	fputs("usage: " PROGRAM " [OPTION...]\n"
	      "Do random operations on memory that a device takes exclusively now and then, and\n"
	      "compare with a model of it.\n"
	      "  --ops N      how many, of each thread; 0 for no end (10000)\n"
	      "  --seconds N  end after that time, even if there were not so many\n"
	      "  --seed N     which ones (the time)\n"
	      "  --threads N  threads with memory of their own (1)\n"
	      "  --shared     memory that is shared, by processes with devices of their own\n"
	      "  --verbose    say each operation before it is done\n"
	      "Operations:", stdout);
	show_types(ANONYMOUS);
	fputs("\nWith --shared:", stdout);
	show_types(SHARED);
	printf("\n");
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'o' },
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "threads", required_argument, NULL, 't' },
		{ "shared", no_argument, NULL, 'm' },
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
		case 'm':
			opt.shared = true;
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
	if (opt.shared && opt.threads > 1)
		hmm_bad_argument(PROGRAM, "--shared goes without", "--threads");
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = segv };
	char setting[64];
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
	fuzzers = allocate(MAX_THREADS * sizeof(*fuzzers));
	hmm_save_setting(SHMEM_ENABLED, setting, sizeof(setting));
	run();
	if (opt.shared)
		hmm_write_file(SHMEM_ENABLED, setting);
	for (i = 0; i < opt.threads; i++) {
		failed |= fuzzers[i].seq->failed;
		ops += fuzzers[i].seq->nr_ops;
	}
	if (opt.shared)
		ksft_test_result(!failed, "--seed %lu --shared: %llu operations\n",
				 opt.seed, (unsigned long long)ops);
	else
		ksft_test_result(!failed, "--seed %lu --threads %d: %llu operations\n",
				 opt.seed, opt.threads, (unsigned long long)ops);
	ksft_exit(!failed);
}
