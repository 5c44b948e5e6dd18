// SPDX-License-Identifier: GPL-2.0
/*
 * Device-exclusive memory, and each part of mm that can come across it: for each
 * a test which is named after it.
 *
 * Every test starts with pages that belong to the test device, which has written
 * to them. Those named "pinned" have pinned them, too. /proc/self/pagemap says
 * what stands in the page table, and /proc/kpageflags what the pages are. The
 * counts of the mm are checked by the kernel when the process ends: "Bad
 * rss-counter", "Bad page state".
 *
 * Needs root. Tests that need swap, two memory nodes, or an option of the kernel
 * which is not there are skipped.
 */

#include "../kselftest_harness.h"

#include <pthread.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/kernel-page-flags.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "hmm_exclusive.h"

#ifndef MADV_COLD
#define MADV_COLD	20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

/* <linux/io_uring.h> does not go with <sys/mount.h>. Its parameters are zeroes. */
#define IORING_REGISTER_BUFFERS	0
#define IO_URING_PARAMS_SIZE	120

/* Not in the uapi header, and only for those who debug the kernel */
#define KPF_RESERVED	32
#define KPF_MLOCKED	33

/* Bits of a pagemap entry */
static const uint64_t PM_SOFT_DIRTY = 1ULL << 55;
static const uint64_t PM_EXCLUSIVE = 1ULL << 56;
static const uint64_t PM_FILE = 1ULL << 61;
static const uint64_t PM_SWAP = 1ULL << 62;
static const uint64_t PM_PRESENT = 1ULL << 63;

#define PM_FRAME(pm)	((pm) & (PM_SOFT_DIRTY - 1))
#define PM_TYPE_BITS	5
#define PM_TYPE(pm)	((pm) & ((1 << PM_TYPE_BITS) - 1))

#define NPAGES		64

/* The moments of a move at which is looked what another can do to it */
#define MOVED_ROUNDS	40

/* Half-seconds to wait for what a kernel thread does, however slow it is */
#define PATIENCE	500

#define WALKER(name)	TEST_F_TIMEOUT(walkers, name, 400)

static long page_size;

/* What the pagemap has as the type of a device-exclusive entry */
static unsigned int exclusive_type;

/* One of the 64-bit words in a file, which is kept open */
static uint64_t read_word(int *fd, const char *path, unsigned long index)
{
	uint64_t word = 0;

	if (!*fd)
		*fd = open(path, O_RDONLY);
	pread(*fd, &word, sizeof(word), index * sizeof(word));
	return word;
}

static uint64_t pm_of(const void *ptr)
{
	static int fd;

	return read_word(&fd, "/proc/self/pagemap",
			 (uintptr_t)ptr / page_size);
}

static bool is_present(const void *ptr)
{
	return pm_of(ptr) & PM_PRESENT;
}

static bool is_entry(const void *ptr)
{
	uint64_t pm = pm_of(ptr);

	return pm & PM_SWAP && PM_TYPE(pm) == exclusive_type;
}

static bool is_swapped(const void *ptr)
{
	uint64_t pm = pm_of(ptr);

	return pm & PM_SWAP && PM_TYPE(pm) != exclusive_type;
}

static bool is_soft_dirty(const void *ptr)
{
	return pm_of(ptr) & PM_SOFT_DIRTY;
}

static unsigned long count(const char *ptr, unsigned long npages,
			   bool (*is)(const void *ptr))
{
	unsigned long i, n = 0;

	for (i = 0; i < npages; i++)
		n += is(ptr + i * page_size);
	return n;
}

/* The page behind a present PTE or a device-exclusive entry */
static uint64_t pfn_of(const void *ptr)
{
	uint64_t pm = pm_of(ptr);

	return pm & PM_PRESENT ? PM_FRAME(pm) : PM_FRAME(pm) >> PM_TYPE_BITS;
}

static uint64_t page_flags(uint64_t pfn)
{
	static int fd;

	return read_word(&fd, "/proc/kpageflags", pfn);
}

static bool page_has(const void *ptr, int flag)
{
	return page_flags(pfn_of(ptr)) & (1ULL << flag);
}

static unsigned long count_flag(const char *ptr, unsigned long npages, int flag)
{
	unsigned long i, n = 0;

	for (i = 0; i < npages; i++)
		n += page_has(ptr + i * page_size, flag);
	return n;
}

/* Give each page contents of its own, and a counter of 0. */
static void fill_pages(void *ptr, unsigned long npages)
{
	const unsigned long words = page_size / sizeof(uint64_t);
	uint64_t *word = ptr;
	unsigned long i;

	for (i = 0; i < npages * words; i++)
		word[i] = i % words ? i : 0;
}

/* Has the device added that often, and is the rest as it was? */
static bool pages_filled(const void *ptr, unsigned long npages,
			 unsigned long adds)
{
	const unsigned long words = page_size / sizeof(uint64_t);
	const uint64_t *word = ptr;
	unsigned long i;

	for (i = 0; i < npages * words; i++)
		if (word[i] != (i % words ? i : adds * DEVICE_ONE))
			return false;
	return true;
}

static void read_text(const char *path, char *text, int size)
{
	int fd = open(path, O_RDONLY);
	int n = read(fd, text, size - 1);

	text[n > 0 ? n : 0] = 0;
	close(fd);
}

static long read_number(const char *path)
{
	return hmm_read_kb(path, NULL, "");
}

/* What the kernel is going to say */
static int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	lseek(fd, 0, SEEK_END);
	return fd;
}

/* Has it said that? */
static bool kmsg_close(int fd, const char *text)
{
	char line[1024];
	bool said = false;
	ssize_t n;

	/* EPIPE: it has said too much meanwhile. */
	do {
		errno = 0;
		n = read(fd, line, sizeof(line) - 1);
		line[n > 0 ? n : 0] = 0;
		said |= !!strstr(line, text);
	} while (n > 0 || errno == EPIPE);
	close(fd);
	return said;
}

/* Wait until a count in a file has gone up by @more. */
static bool wait_for_count(const char *path, long more)
{
	const long until = read_number(path) + more;
	int i;

	for (i = 0; i < PATIENCE && read_number(path) < until; i++)
		usleep(500000);
	return read_number(path) >= until;
}

/* The first swap area */
static bool swap_area(char *path)
{
	char text[1024];

	read_text("/proc/swaps", text, sizeof(text));
	return sscanf(text, "%*[^\n] %255s", path) == 1;
}

static bool have_swap(void)
{
	char path[256];

	return swap_area(path);
}

static bool two_nodes(void)
{
	return !access("/sys/devices/system/node/node1", F_OK);
}

static int node_of(void *ptr)
{
	int status = -1;

	syscall(__NR_move_pages, 0, 1UL, &ptr, NULL, &status, 0);
	return status;
}

static long move_to_node(char *ptr, unsigned long npages, int node, int *status)
{
	void *pages[npages];
	int nodes[npages];
	unsigned long i;

	for (i = 0; i < npages; i++) {
		pages[i] = ptr + i * page_size;
		nodes[i] = node;
	}
	return syscall(__NR_move_pages, 0, npages, pages, nodes, status,
		       MPOL_MF_MOVE);
}

static void pfns_of(const char *ptr, unsigned long npages, uint64_t *pfns)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfns[i] = pfn_of(ptr + i * page_size);
}

/* Pages that nobody maps any more: have they been let go? Some may be others'. */
static bool are_free(const uint64_t *pfns, unsigned long npages)
{
	unsigned long i, anon = 0;

	hmm_drain_lru();
	for (i = 0; i < npages; i++)
		anon += page_flags(pfns[i]) >> KPF_ANON & 1;
	return anon < npages / 2;
}

/* Memory control groups of version 1, which have more to play with */
#define MEMCG	"/tmp/hmm-memcg"

static int memcg_write(const char *group, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), MEMCG "/%s/%s", group, file);
	return hmm_write_file(path, text);
}

static long memcg_read(const char *group, const char *file, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), MEMCG "/%s/%s", group, file);
	return hmm_read_kb(path, NULL, name);
}

static int memcg_make(const char *group)
{
	char path[256];

	mkdir(MEMCG, 0755);
	if (access(MEMCG "/tasks", F_OK) &&
	    mount("cgroup", MEMCG, "cgroup", 0, "memory"))
		return -errno;
	snprintf(path, sizeof(path), MEMCG "/%s", group);
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

static int memcg_enter(const char *group)
{
	return memcg_write(group, "cgroup.procs", "0");
}

static void memcg_remove(const char *group)
{
	char path[256];

	memcg_enter("");
	snprintf(path, sizeof(path), MEMCG "/%s", group);
	rmdir(path);
}

FIXTURE(walkers)
{
	int		fd;
	unsigned long	size;
	char		*ptr;
};

/* Pages that the device has, and to which it has added once */
FIXTURE_SETUP(walkers)
{
	page_size = sysconf(_SC_PAGE_SIZE);
	self->size = NPAGES * page_size;
	self->fd = open("/dev/hmm_dmirror0", O_RDWR);
	ASSERT_GE(self->fd, 0);
	self->ptr = hmm_mmap(self->size);
	ASSERT_NE(self->ptr, NULL);
	fill_pages(self->ptr, NPAGES);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	exclusive_type = PM_TYPE(pm_of(self->ptr));
	ASSERT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES);
}

FIXTURE_TEARDOWN(walkers)
{
	munmap(self->ptr, self->size);
	close(self->fd);
}

/* Does the device still have all its pages, undisturbed? */
#define EXPECT_UNDISTURBED() do {					\
	EXPECT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES);		\
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), NPAGES); \
} while (0)

/* What the device wrote last comes back from swap, to CPU and device. */
WALKER(reclaim_pageout)
{
	const long kb = self->size >> 10;

	if (!have_swap())
		SKIP(return, "No swap");
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_PAGEOUT), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_swapped), NPAGES);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Rss:"), 0);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Swap:"), kb);

	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_UNDISTURBED();
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Rss:"), kb);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Swap:"), 0);
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_PAGEOUT), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_swapped), NPAGES);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

/* Nothing there: shared memory that is swapped out is known to its file only. */
static bool is_out(const void *ptr)
{
	return !is_present(ptr) && !is_entry(ptr);
}

/* Page after page, the device gets more than the group may have. */
static void exceed_memcg(struct __test_metadata *_metadata, int fd, int flags)
{
	const unsigned long npages = 768;
	const unsigned long size = npages * page_size;
	char *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 flags | MAP_ANONYMOUS, -1, 0);

	if (!have_swap())
		SKIP(return, "No swap");
	ASSERT_NE(ptr, MAP_FAILED);
	if (memcg_make("reclaim"))
		SKIP(return, "No memory control groups");
	ASSERT_EQ(memcg_enter("reclaim"), 0);
	ASSERT_EQ(memcg_write("reclaim", "memory.limit_in_bytes", "2M"), 0);
	fill_pages(ptr, npages);
	EXPECT_EQ(hmm_atomic_add(fd, ptr, npages, 1), 0);
	EXPECT_EQ(hmm_atomic_add(fd, ptr, npages, 1), 0);
	EXPECT_GE(count(ptr, npages, is_out), npages / 4);
	EXPECT_TRUE(pages_filled(ptr, npages, 2));
	memcg_remove("reclaim");
	munmap(ptr, size);
}

WALKER(reclaim_memcg)
{
	exceed_memcg(_metadata, self->fd, MAP_PRIVATE);
}

WALKER(reclaim_memcg_shared)
{
	exceed_memcg(_metadata, self->fd, MAP_SHARED);
}

/* Take memory until the pages at @ptr are in swap. */
static bool take_memory(const char *ptr)
{
	const unsigned long step = 8 << 20;
	unsigned long taken;

	for (taken = 0; taken < (4UL << 30); taken += step) {
		if (mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
			return false;
		if (count(ptr, NPAGES, is_swapped) == NPAGES)
			return true;
	}
	return false;
}

#define MIN_FREE	"/proc/sys/vm/min_free_kbytes"

/* It goes on for a while, and would take pages from the next test. */
static void wait_for_kswapd(void)
{
	long before, scanned = -1;

	do {
		before = scanned;
		usleep(200000);
		scanned = hmm_read_kb("/proc/vmstat", NULL,
				      "pgscan_kswapd ");
	} while (scanned != before);
}

/* Memory runs short, and kswapd has to find some. */
WALKER(reclaim_kswapd)
{
	char before[32], more[32];

	if (!have_swap())
		SKIP(return, "No swap");
	hmm_drain_lru();
	/* The sooner it does, the less there is to take. */
	read_text(MIN_FREE, before, sizeof(before));
	snprintf(more, sizeof(more), "%ld",
		 hmm_read_kb("/proc/meminfo", NULL, "MemFree:") / 2);
	ASSERT_EQ(hmm_write_file(MIN_FREE, more), 0);
	EXPECT_TRUE(take_memory(self->ptr));
	ASSERT_EQ(hmm_write_file(MIN_FREE, before), 0);
	wait_for_kswapd();
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

/* Have the kernel take the pages for used: twice, and from another side. */
static void activate(char *ptr, unsigned long npages)
{
	char buf[npages * page_size];
	struct iovec local = { buf, sizeof(buf) };
	struct iovec remote = { ptr, sizeof(buf) };

	hmm_drain_lru();
	process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	hmm_drain_lru();
}

WALKER(madvise_cold)
{
	activate(self->ptr, NPAGES);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	ASSERT_EQ(count_flag(self->ptr, NPAGES, KPF_ACTIVE), NPAGES);

	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_COLD), 0);
	hmm_drain_lru();
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_ACTIVE), 0);
	EXPECT_UNDISTURBED();
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

/* Like any page of MADV_FREE: gone when memory is short */
WALKER(madvise_free)
{
	if (!have_swap())
		SKIP(return, "No swap");
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_FREE), 0);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));

	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_FREE), 0);
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_PAGEOUT), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_swapped), 0);
	EXPECT_TRUE(hmm_zero(self->ptr, self->size));
}

/* What the device writes after MADV_FREE is there to stay. */
WALKER(madvise_free_then_device_writes)
{
	if (!have_swap())
		SKIP(return, "No swap");
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_FREE), 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_UNDISTURBED();
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_PAGEOUT), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

struct maker {
	int		fd;
	char		*ptr;
	unsigned long	npages;
	int		turn;
	int		done;
};

/* Have the device take the pages once a turn, until a turn without pages. */
static void *make_in_turns(void *arg)
{
	struct maker *maker = arg;
	int turn = 0;

	for (;;) {
		while (__atomic_load_n(&maker->turn, __ATOMIC_ACQUIRE) == turn)
			;
		if (!maker->npages)
			return NULL;
		turn++;
		hmm_make_exclusive(maker->fd, maker->ptr, maker->npages);
		__atomic_store_n(&maker->done, turn, __ATOMIC_RELEASE);
	}
}

static long microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Memory that goes while the device takes it: it has what there is, and no more. */
WALKER(madvise_dontneed_race)
{
	struct maker maker = { .fd = self->fd, .ptr = self->ptr, .npages = 8 };
	uint64_t state = hmm_rand_seed(1, 2);
	long begin, until, takes;
	pthread_t thread;
	int i, bad = 0;

	ASSERT_EQ(madvise(self->ptr, self->size, MADV_DONTNEED), 0);
	begin = microseconds();
	ASSERT_EQ(hmm_make_exclusive(self->fd, self->ptr, maker.npages), 0);
	takes = microseconds() - begin;
	ASSERT_EQ(pthread_create(&thread, NULL, make_in_turns, &maker), 0);
	for (i = 1; microseconds() - begin < 3000000; i++) {
		until = microseconds() + hmm_rand(&state, takes + 50);
		__atomic_store_n(&maker.turn, i, __ATOMIC_RELEASE);
		while (microseconds() < until)
			;
		madvise(self->ptr, self->size, MADV_DONTNEED);
		while (__atomic_load_n(&maker.done, __ATOMIC_ACQUIRE) != i)
			;
		bad += hmm_count_exclusive(self->fd, self->ptr, NPAGES) !=
		       count(self->ptr, NPAGES, is_entry);
	}
	EXPECT_EQ(bad, 0);
	maker.npages = 0;
	__atomic_store_n(&maker.turn, i, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
}

WALKER(madvise_willneed)
{
	int kmsg = kmsg_open();

	if (!have_swap())
		SKIP(return, "No swap");
	ASSERT_EQ(hmm_advise(self->ptr, self->size / 2, MADV_PAGEOUT), 0);
	ASSERT_EQ(madvise(self->ptr, self->size, MADV_WILLNEED), 0);
	EXPECT_FALSE(kmsg_close(kmsg, "Bad swap"));
	EXPECT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES / 2);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), NPAGES / 2);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
}

WALKER(madvise_dontneed)
{
	uint64_t pfns[NPAGES / 2];

	pfns_of(self->ptr, NPAGES / 2, pfns);
	ASSERT_EQ(madvise(self->ptr, self->size / 2, MADV_DONTNEED), 0);
	EXPECT_TRUE(are_free(pfns, NPAGES / 2));
	EXPECT_EQ(pm_of(self->ptr) & (PM_PRESENT | PM_SWAP), 0);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Rss:"), self->size >> 11);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), NPAGES / 2);
	EXPECT_TRUE(hmm_zero(self->ptr, self->size / 2));
}

WALKER(smaps)
{
	const long kb = self->size >> 10;

	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Rss:"), kb);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Pss:"), kb);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Anonymous:"), kb);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Private_Dirty:"), kb);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Swap:"), 0);
	EXPECT_UNDISTURBED();
}

WALKER(numa_maps)
{
	char line[256], start[32], pages[32], *found = NULL;
	FILE *f = fopen("/proc/self/numa_maps", "r");

	if (!f)
		SKIP(return, "No numa_maps");
	snprintf(start, sizeof(start), "%lx ", (unsigned long)self->ptr);
	while (!found && fgets(line, sizeof(line), f))
		if (!strncmp(line, start, strlen(start)))
			found = line;
	fclose(f);

	ASSERT_NE(found, NULL);
	snprintf(pages, sizeof(pages), " anon=%d ", NPAGES);
	EXPECT_NE(strstr(line, pages), NULL);
	snprintf(pages, sizeof(pages), " dirty=%d ", NPAGES);
	EXPECT_NE(strstr(line, pages), NULL);
	EXPECT_UNDISTURBED();
}

/* The pagemap has the page, as swap of a type that is none. */
WALKER(pagemap)
{
	uint64_t pfn, pm;

	EXPECT_EQ(self->ptr[page_size], 0);
	pfn = pfn_of(self->ptr + page_size);
	ASSERT_TRUE(is_present(self->ptr + page_size));
	ASSERT_EQ(hmm_make_exclusive(self->fd, self->ptr, NPAGES), 0);

	pm = pm_of(self->ptr + page_size);
	EXPECT_EQ(pm & PM_PRESENT, 0);
	EXPECT_EQ(pm & PM_FILE, 0);
	EXPECT_NE(pm & PM_SWAP, 0);
	EXPECT_NE(pm & PM_EXCLUSIVE, 0);
	EXPECT_NE(pm & PM_SOFT_DIRTY, 0);
	/* Beyond the types of real swap areas */
	EXPECT_GE(PM_TYPE(pm), 24);
	EXPECT_EQ(PM_FRAME(pm) >> PM_TYPE_BITS, pfn);
	EXPECT_UNDISTURBED();
}

WALKER(mincore)
{
	unsigned char vec[NPAGES];
	int i;

	ASSERT_EQ(mincore(self->ptr, self->size, vec), 0);
	for (i = 0; i < NPAGES; i++)
		EXPECT_EQ(vec[i] & 1, 1);
	EXPECT_UNDISTURBED();
}

/* The entries stay where they are, and only the device loses the pages. */
WALKER(mprotect_in_place)
{
	uint64_t pfn = pfn_of(self->ptr);

	ASSERT_EQ(mprotect(self->ptr, self->size, PROT_READ), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_EQ(hmm_try_write(self->ptr), -EFAULT);

	ASSERT_EQ(mprotect(self->ptr, self->size, PROT_READ | PROT_WRITE), 0);
	EXPECT_EQ(count(self->ptr + page_size, NPAGES - 1, is_entry),
		  NPAGES - 1);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_EQ(pfn_of(self->ptr), pfn);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

/* Write as a debugger does, without asking for permission. */
static int force_write(char *ptr, char c)
{
	int fd = open("/proc/self/mem", O_RDWR);
	int ret = pwrite(fd, &c, 1, (uintptr_t)ptr) == 1 ? 0 : -errno;

	close(fd);
	return ret;
}

/*
 * A mapping that comes back read-only comes back clean: a dirty one would tell
 * a forced write that it has a copy to write to.
 */
WALKER(forced_write_after_restore)
{
	const long size = 4 * page_size;
	int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	char *ptr, c = 0;

	ASSERT_GE(file, 0);
	ASSERT_EQ(ftruncate(file, size), 0);
	ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	ASSERT_NE(ptr, MAP_FAILED);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 3, 1), 0);
	ASSERT_EQ(mprotect(ptr, size, PROT_READ), 0);
	EXPECT_EQ(((uint64_t *)ptr)[0], DEVICE_ONE);
	EXPECT_EQ(force_write(ptr, 7), 0);
	EXPECT_EQ(force_write(ptr + page_size, 7), 0);
	EXPECT_EQ(force_write(ptr + 3 * page_size, 7), 0);
	EXPECT_EQ(((uint64_t *)ptr)[0], DEVICE_ONE + 7);
	EXPECT_EQ(ptr[page_size], 7);
	EXPECT_EQ(pread(file, &c, 1, 0), 1);
	EXPECT_EQ(c, 0);
	EXPECT_EQ(pread(file, &c, 1, page_size), 1);
	EXPECT_EQ(c, 0);
	munmap(ptr, size);
	close(file);
}

/* Entries move with their pages; the device has to ask at the new address. */
WALKER(mremap)
{
	char *to = hmm_mmap(self->size);
	uint64_t pfn = pfn_of(self->ptr);

	ASSERT_NE(to, NULL);
	ASSERT_EQ(mremap(self->ptr, self->size, self->size,
			 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	EXPECT_EQ(count(to, NPAGES, is_entry), NPAGES);
	EXPECT_EQ(count(to, NPAGES, is_soft_dirty), NPAGES);
	EXPECT_EQ(pfn_of(to), pfn);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_EQ(hmm_count_exclusive(self->fd, to, NPAGES), 0);

	ASSERT_EQ(hmm_atomic_add(self->fd, to, NPAGES, 1), 0);
	EXPECT_EQ(pfn_of(to), pfn);
	EXPECT_TRUE(pages_filled(to, NPAGES, 2));
	munmap(to, self->size);
}

/* Memory that is moved onto exclusive pages takes their place. */
WALKER(mremap_over)
{
	char *from = hmm_mmap(self->size);
	uint64_t pfns[NPAGES];

	ASSERT_NE(from, NULL);
	fill_pages(from, NPAGES);
	pfns_of(self->ptr, NPAGES, pfns);
	ASSERT_EQ(mremap(from, self->size, self->size,
			 MREMAP_MAYMOVE | MREMAP_FIXED, self->ptr), self->ptr);
	EXPECT_TRUE(are_free(pfns, NPAGES));
	EXPECT_EQ(count(self->ptr, NPAGES, is_present), NPAGES);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 0));
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
}

WALKER(munlock)
{
	ASSERT_EQ(mlock(self->ptr, self->size), 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	hmm_drain_lru();
	ASSERT_EQ(count_flag(self->ptr, NPAGES, KPF_MLOCKED), NPAGES);
	EXPECT_UNDISTURBED();

	ASSERT_EQ(munlock(self->ptr, self->size), 0);
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_MLOCKED), 0);
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_UNEVICTABLE), 0);
	EXPECT_UNDISTURBED();
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

/* Unmapping locked memory is another way to munlock it. */
WALKER(munlock_by_munmap)
{
	uint64_t pfns[NPAGES];

	ASSERT_EQ(mlock(self->ptr, self->size), 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	pfns_of(self->ptr, NPAGES, pfns);
	ASSERT_EQ(munmap(self->ptr, self->size), 0);
	EXPECT_EQ(page_flags(pfns[0]) & (1ULL << KPF_MLOCKED), 0);
	EXPECT_TRUE(are_free(pfns, NPAGES));
}

/* Locked memory is not reclaimed, whoever has it. */
WALKER(mlock_onfault)
{
	if (!have_swap())
		SKIP(return, "No swap");
	if (memcg_make("onfault"))
		SKIP(return, "No memory control groups");
	ASSERT_EQ(memcg_enter("onfault"), 0);
	munmap(self->ptr, self->size);
	self->ptr = hmm_mmap(self->size);
	ASSERT_NE(self->ptr, NULL);
	fill_pages(self->ptr, NPAGES);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);

	ASSERT_EQ(mlock2(self->ptr, self->size, MLOCK_ONFAULT), 0);
	EXPECT_UNDISTURBED();
	memcg_write("onfault", "memory.force_empty", "0");
	EXPECT_EQ(count(self->ptr, NPAGES, is_swapped), 0);
	EXPECT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));

	ASSERT_EQ(munlock(self->ptr, self->size), 0);
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_MLOCKED), 0);
	memcg_remove("onfault");
}

/* It is found at once, and stays with the device. */
WALKER(mlock_onfault_at_once)
{
	hmm_drain_lru();
	ASSERT_EQ(mlock2(self->ptr, self->size, MLOCK_ONFAULT), 0);
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_MLOCKED), NPAGES);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Locked:"), self->size >> 10);
	EXPECT_UNDISTURBED();
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
	ASSERT_EQ(munlock(self->ptr, self->size), 0);
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_MLOCKED), 0);
}

static bool is_idle(const void *ptr)
{
	uint64_t pfn = pfn_of(ptr), bits = 0;
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);

	pread(fd, &bits, sizeof(bits), pfn / 64 * sizeof(bits));
	close(fd);
	return bits & (1ULL << (pfn % 64));
}

static int set_idle(const void *ptr)
{
	uint64_t pfn = pfn_of(ptr), bits = 1ULL << (pfn % 64);
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
	int ret = pwrite(fd, &bits, sizeof(bits), pfn / 64 * sizeof(bits));

	close(fd);
	return ret == sizeof(bits) ? 0 : -1;
}

/* Idle until the CPU touches it: there is nobody to tell of the device. */
WALKER(page_idle)
{
	if (access("/sys/kernel/mm/page_idle/bitmap", F_OK))
		SKIP(return, "No idle page tracking");
	hmm_drain_lru();
	ASSERT_EQ(set_idle(self->ptr), 0);
	EXPECT_TRUE(is_idle(self->ptr));
	EXPECT_TRUE(is_idle(self->ptr));
	EXPECT_UNDISTURBED();

	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
	EXPECT_FALSE(is_idle(self->ptr));
}

/* What the CPU has used last is not idle because a device has it now. */
WALKER(page_idle_keeps_what_the_cpu_did)
{
	if (access("/sys/kernel/mm/page_idle/bitmap", F_OK))
		SKIP(return, "No idle page tracking");
	hmm_drain_lru();
	ASSERT_EQ(set_idle(self->ptr), 0);
	ASSERT_TRUE(is_idle(self->ptr));
	EXPECT_EQ(*(uint64_t *)self->ptr, DEVICE_ONE);
	ASSERT_EQ(hmm_make_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_FALSE(is_idle(self->ptr));
	EXPECT_UNDISTURBED();
}

/* Used by the CPU before the device got them; then this is to be forgotten. */
WALKER(clear_refs_referenced)
{
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Referenced:"), self->size >> 10);
	ASSERT_EQ(hmm_write_file("/proc/self/clear_refs", "3"), 0);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Referenced:"), self->size >> 10);
	ASSERT_EQ(hmm_write_file("/proc/self/clear_refs", "1"), 0);
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Referenced:"), 0);
	EXPECT_UNDISTURBED();
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
	EXPECT_EQ(hmm_smaps_kb(self->ptr, "Referenced:"), self->size >> 10);
}

/* The same for the parts of a huge page */
WALKER(clear_refs_referenced_thp)
{
	char *ptr = hmm_mmap_thp(TWOMEG);

	if (!ptr)
		SKIP(return, "Huge page could not be allocated");
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, TWOMEG / page_size), 0);
	EXPECT_EQ(hmm_smaps_kb(ptr, "Referenced:"), TWOMEG >> 10);
	ASSERT_EQ(hmm_write_file("/proc/self/clear_refs", "2"), 0);
	EXPECT_EQ(hmm_smaps_kb(ptr, "Referenced:"), 0);
	munmap(ptr, TWOMEG);
}

static int clear_soft_dirty(void)
{
	return hmm_write_file("/proc/self/clear_refs", "4");
}

/*
 * Soft-dirty cleared while the device has the page: it loses it, and wherever
 * the page has been meanwhile, the next write by the CPU is seen.
 */
WALKER(soft_dirty_through_swap)
{
	if (!have_swap())
		SKIP(return, "No swap");
	ASSERT_EQ(clear_soft_dirty(), 0);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_PAGEOUT), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_swapped), NPAGES);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
	EXPECT_EQ(count(self->ptr, NPAGES, is_soft_dirty), 0);
	self->ptr[8] ^= 1;
	EXPECT_TRUE(is_soft_dirty(self->ptr));
}

#define SPLIT_HUGE_PAGES	"/sys/kernel/debug/split_huge_pages"

/* The same by way of a migration entry, which the split of a huge page makes */
WALKER(soft_dirty_through_migration)
{
	char *ptr = hmm_mmap_thp(TWOMEG);

	if (!ptr)
		SKIP(return, "Huge page could not be allocated");
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, NPAGES, 1), 0);
	ASSERT_EQ(clear_soft_dirty(), 0);
	ASSERT_EQ(count(ptr, NPAGES, is_entry), NPAGES);
	if (hmm_write_file(SPLIT_HUGE_PAGES, "1"))
		SKIP(return, "Huge pages cannot be split");
	EXPECT_EQ(count(ptr, NPAGES, is_present), NPAGES);
	EXPECT_EQ(count(ptr, NPAGES, is_soft_dirty), 0);
	ptr[8] ^= 1;
	EXPECT_TRUE(is_soft_dirty(ptr));
	EXPECT_EQ(count(ptr, NPAGES, is_soft_dirty), 1);
	munmap(ptr, TWOMEG);
}

static void *move_to_other_node(void *ptr)
{
	int status;

	move_to_node(ptr, 1, !node_of(ptr), &status);
	return NULL;
}

/*
 * Clear the soft-dirty bits a while after a move of the huge page has begun, and
 * write to each part of it when that is over. How many writes are not seen?
 */
static unsigned long count_unseen_writes(char *ptr, unsigned long usec)
{
	const unsigned long npages = TWOMEG / page_size;
	pthread_t thread;
	unsigned long i;

	pthread_create(&thread, NULL, move_to_other_node, ptr);
	usleep(usec);
	i = clear_soft_dirty();
	pthread_join(thread, NULL);
	if (i)
		return npages;
	for (i = 0; i < npages; i++)
		ptr[i * page_size + 8] ^= 1;
	return npages - count(ptr, npages, is_soft_dirty);
}

static unsigned long usec_of_a_move(char *ptr)
{
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	move_to_other_node(ptr);
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (end.tv_sec - begin.tv_sec) * 1000000 +
	       (end.tv_nsec - begin.tv_nsec) / 1000;
}

/*
 * The next write is seen also if a page is being moved when the bit is cleared.
 * That is tried at different moments of a move. @fd may be a device that takes the
 * page before each.
 */
static void write_while_moved(struct __test_metadata *_metadata, char *ptr,
			      int fd)
{
	const unsigned long usec = usec_of_a_move(ptr);
	unsigned long unseen = 0;
	int i;

	for (i = 0; i < MOVED_ROUNDS; i++) {
		if (fd >= 0)
			hmm_make_exclusive(fd, ptr, TWOMEG / page_size);
		unseen += count_unseen_writes(ptr, usec * i / MOVED_ROUNDS);
	}
	EXPECT_EQ(unseen, 0);
}

static char *huge_page_to_be_moved(void)
{
	return two_nodes() ? hmm_mmap_thp(TWOMEG) : NULL;
}

WALKER(soft_dirty_while_moved)
{
	char *ptr;

	ptr = huge_page_to_be_moved();
	if (!ptr)
		SKIP(return, "No huge page, or one node only");
	/* After that it is mapped by PTEs. */
	ASSERT_EQ(mprotect(ptr, page_size, PROT_READ), 0);
	ASSERT_EQ(mprotect(ptr, page_size, PROT_READ | PROT_WRITE), 0);
	write_while_moved(_metadata, ptr, -1);
	munmap(ptr, TWOMEG);
}

WALKER(soft_dirty_while_moved_from_device)
{
	char *ptr;

	ptr = huge_page_to_be_moved();
	if (!ptr)
		SKIP(return, "No huge page, or one node only");
	write_while_moved(_metadata, ptr, self->fd);
	munmap(ptr, TWOMEG);
}

WALKER(soft_dirty_while_moved_thp)
{
	char *ptr;

	ptr = huge_page_to_be_moved();
	if (!ptr)
		SKIP(return, "No huge page, or one node only");
	write_while_moved(_metadata, ptr, -1);
	munmap(ptr, TWOMEG);
}

struct uffd_write {
	char *ptr;
	pthread_t thread;
};

static void *uffd_write(void *arg)
{
	struct uffd_write *w = arg;

	__atomic_fetch_add((uint64_t *)w->ptr, 1, __ATOMIC_RELAXED);
	return NULL;
}

/*
 * Have a thread write there and see that it waits for the handler, which then
 * allows it. Returns whether it has been so.
 */
static bool write_waits_for_handler(int uffd, char *ptr)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffd_write w = { .ptr = ptr };
	struct uffd_msg msg;
	bool good;

	pthread_create(&w.thread, NULL, uffd_write, &w);
	good = poll(&pfd, 1, PATIENCE * 500) == 1 &&
	       read(uffd, &msg, sizeof(msg)) == sizeof(msg) &&
	       msg.event == UFFD_EVENT_PAGEFAULT &&
	       msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP &&
	       msg.arg.pagefault.address / page_size ==
	       (uintptr_t)ptr / page_size;
	hmm_write_protect(uffd, ptr, page_size, false);
	pthread_join(w.thread, NULL);
	return good;
}

/* Write protection that is set on an entry is there for the page's next owner. */
WALKER(uffd_wp)
{
	char *ptr[4];
	int uffd, i;

	uffd = hmm_userfaultfd(self->ptr, self->size, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	for (i = 0; i < 4; i++)
		ptr[i] = self->ptr + i * page_size;
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, true), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);

	/* The first touch, a touch after a look, after a move, and from swap */
	EXPECT_TRUE(write_waits_for_handler(uffd, ptr[0]));
	EXPECT_EQ(*(uint64_t *)ptr[1], DEVICE_ONE);
	EXPECT_TRUE(write_waits_for_handler(uffd, ptr[1]));
	if (two_nodes()) {
		int status = -1;

		EXPECT_EQ(move_to_node(ptr[2], 1, !node_of(ptr[2]), &status), 0);
		EXPECT_TRUE(is_present(ptr[2]));
	}
	EXPECT_TRUE(write_waits_for_handler(uffd, ptr[2]));
	hmm_advise(ptr[3], page_size, MADV_PAGEOUT);
	EXPECT_TRUE(write_waits_for_handler(uffd, ptr[3]));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(*(uint64_t *)ptr[i], DEVICE_ONE + 1);
	close(uffd);
}

/* Taken off again, it is as if it had never been there. */
WALKER(uffd_wp_and_back)
{
	int uffd = hmm_userfaultfd(self->ptr, self->size,
				   UFFDIO_REGISTER_MODE_WP);

	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, true), 0);
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, false), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES);
	ASSERT_EQ(hmm_try_write(self->ptr + 8), 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	self->ptr[8] = 1;
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
	close(uffd);
}

/*
 * Have a thread write there, and see that it does not wait for the handler. If
 * it does, let it go. Returns whether it has gone through.
 */
static bool write_goes_through(int uffd, char *ptr)
{
	struct uffd_write w = { .ptr = ptr };
	struct uffd_msg msg;
	bool waits = false;

	fcntl(uffd, F_SETFL, O_NONBLOCK);
	pthread_create(&w.thread, NULL, uffd_write, &w);
	while (pthread_tryjoin_np(w.thread, NULL)) {
		if (read(uffd, &msg, sizeof(msg)) == sizeof(msg)) {
			waits = true;
			hmm_write_protect(uffd, ptr, page_size, false);
		}
		usleep(100);
	}
	return !waits;
}

static int uffd_register(int uffd, void *ptr, unsigned long size,
			 unsigned long mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)ptr, .len = size },
		.mode = mode,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

static int uffd_unregister(int uffd, void *ptr, unsigned long size)
{
	struct uffdio_range range = { .start = (uintptr_t)ptr, .len = size };

	return ioctl(uffd, UFFDIO_UNREGISTER, &range) ? -errno : 0;
}

/* The ways in which a registration ends */
enum wp_end {
	WP_UNREGISTER,
	WP_CLOSE,
	WP_MOVE,
	WP_OTHER_MODE,
	NR_WP_ENDS
};

/*
 * End the registration at @uffd that way, and make a new one for the same
 * memory, which is at @to then if it moves. Returns the new descriptor.
 */
static int register_anew(int uffd, enum wp_end end, char **ptr, char *to,
			 unsigned long size)
{
	switch (end) {
	case WP_UNREGISTER:
		if (uffd_unregister(uffd, *ptr, size))
			return -1;
		break;
	case WP_MOVE:
		if (mremap(*ptr, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
			   to) != to)
			return -1;
		*ptr = to;
		break;
	case WP_OTHER_MODE:
		if (uffd_register(uffd, *ptr, size,
				  UFFDIO_REGISTER_MODE_MISSING) ||
		    uffd_register(uffd, *ptr, size, UFFDIO_REGISTER_MODE_WP))
			return -1;
		return uffd;
	default:
		break;
	}
	close(uffd);
	return hmm_userfaultfd(*ptr, size, UFFDIO_REGISTER_MODE_WP);
}

/* One page each, as a PTE that is protected can be found */
enum wp_kind {
	WP_PRESENT,
	WP_SWAPPED,
	WP_ON_DEVICE,
	WP_EXCLUSIVE,
	WP_RESTORED,
	NR_WP_KINDS
};

static int map_wp_kinds(int fd, char *ptr)
{
	struct hmm_dmirror_cmd cmd;
	char copy[page_size];
	int uffd, ret;

	fill_pages(ptr, NR_WP_KINDS);
	ret = hmm_range_cmd(fd, HMM_DMIRROR_MIGRATE,
			    ptr + WP_ON_DEVICE * page_size, 1, copy, &cmd) ?:
	      hmm_make_exclusive(fd, ptr + WP_EXCLUSIVE * page_size, 2);
	if (ret)
		return ret;
	uffd = hmm_userfaultfd(ptr, NR_WP_KINDS * page_size,
			       UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		return uffd;
	hmm_write_protect(uffd, ptr, NR_WP_KINDS * page_size, true);
	hmm_advise(ptr + WP_SWAPPED * page_size, page_size, MADV_PAGEOUT);
	hmm_load(ptr + WP_RESTORED * page_size);
	return uffd;
}

/*
 * Nothing is left of write protection when memory is registered anew, for CPU
 * or device. What is protected then still is.
 */
WALKER(uffd_wp_does_not_outlive_registration)
{
	const unsigned long size = NR_WP_KINDS * page_size;
	int uffd, i, end;
	char *ptr, *to;

	for (end = 0; end < 2 * NR_WP_ENDS; end++) {
		ptr = hmm_mmap(size);
		to = hmm_mmap(size);
		uffd = map_wp_kinds(self->fd, ptr);
		if (uffd < 0)
			SKIP(return, "No userfaultfd write protection");
		ASSERT_TRUE(is_present(ptr + WP_PRESENT * page_size));
		ASSERT_FALSE(is_present(ptr + WP_ON_DEVICE * page_size));
		ASSERT_TRUE(is_entry(ptr + WP_EXCLUSIVE * page_size));
		ASSERT_TRUE(is_present(ptr + WP_RESTORED * page_size));
		ASSERT_NE(have_swap(),
			  is_present(ptr + WP_SWAPPED * page_size));

		uffd = register_anew(uffd, end / 2, &ptr, to, size);
		ASSERT_GE(uffd, 0);
		for (i = 0; i < NR_WP_KINDS; i++) {
			char *page = ptr + i * page_size;

			EXPECT_TRUE(end % 2 ?
				    !hmm_atomic_add(self->fd, page, 1, 1) :
				    write_goes_through(uffd, page));
			hmm_write_protect(uffd, page, page_size, true);
			EXPECT_EQ(hmm_make_exclusive(self->fd, page, 1),
				  -EFAULT);
		}
		close(uffd);
		munmap(ptr, size);
	}
}

/* The same for huge pages: in one piece, and split */
WALKER(uffd_wp_of_huge_page_does_not_outlive_registration)
{
	char *ptr, *to;
	int uffd, end;

	for (end = 0; end < NR_WP_ENDS; end++) {
		ptr = hmm_mmap_thp(TWOMEG);
		to = hmm_mmap_thp(TWOMEG);
		if (!ptr || !to)
			SKIP(return, "No huge pages");
		uffd = hmm_userfaultfd(ptr, TWOMEG, UFFDIO_REGISTER_MODE_WP);
		if (uffd < 0)
			SKIP(return, "No userfaultfd write protection");
		ASSERT_EQ(hmm_write_protect(uffd, ptr, TWOMEG, true), 0);
		uffd = register_anew(uffd, end, &ptr, to, TWOMEG);
		ASSERT_GE(uffd, 0);
		EXPECT_EQ(hmm_smaps_kb(ptr, "AnonHugePages:"), TWOMEG >> 10);
		EXPECT_TRUE(write_goes_through(uffd, ptr));
		EXPECT_EQ(hmm_make_exclusive(self->fd, ptr + TWOMEG / 2, 1), 0);
		EXPECT_TRUE(write_goes_through(uffd, ptr + page_size));
		close(uffd);
		munmap(ptr, TWOMEG);
		munmap(to, TWOMEG);
	}
}

/* Move the pages from node to node. */
struct mover {
	pthread_t	thread;
	char		*ptr;
	unsigned long	npages;
	bool		stop;
	unsigned long	moved;
};

static void *move_on(void *arg)
{
	struct mover *m = arg;
	int status[m->npages], node = 0;

	while (!__atomic_load_n(&m->stop, __ATOMIC_RELAXED)) {
		node = !node;
		move_to_node(m->ptr, m->npages, node, status);
		m->moved += status[0] == node;
	}
	return NULL;
}

/* While the pages are moved, protection is neither lost nor left. */
static void protect_what_moves(struct __test_metadata *_metadata, char *ptr,
			       unsigned long npages, unsigned long step)
{
	const unsigned long size = npages * step;
	struct mover mover = { .ptr = ptr, .npages = step == page_size ?
						     npages : 1 };
	int uffd, i, round;

	if (!two_nodes())
		SKIP(return, "No other node");
	uffd = hmm_userfaultfd(ptr, size, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(pthread_create(&mover.thread, NULL, move_on, &mover), 0);
	for (round = 0; round < 30; round++) {
		ASSERT_EQ(hmm_write_protect(uffd, ptr, size, true), 0);
		for (i = 0; i < npages && !(round % 2); i++)
			EXPECT_FALSE(write_goes_through(uffd, ptr + i * step));
		ASSERT_EQ(hmm_write_protect(uffd, ptr, size, true), 0);
		ASSERT_EQ(uffd_unregister(uffd, ptr, size), 0);
		ASSERT_EQ(uffd_register(uffd, ptr, size,
					UFFDIO_REGISTER_MODE_WP), 0);
		for (i = 0; i < npages && !(round % 2); i++)
			EXPECT_TRUE(write_goes_through(uffd, ptr + i * step));
	}
	__atomic_store_n(&mover.stop, true, __ATOMIC_RELAXED);
	pthread_join(mover.thread, NULL);
	EXPECT_GT(mover.moved, 0);
	close(uffd);
}

WALKER(uffd_wp_while_pages_move)
{
	protect_what_moves(_metadata, self->ptr, 8, page_size);
}

WALKER(uffd_wp_while_huge_page_moves)
{
	char *ptr = hmm_mmap_thp(TWOMEG);

	if (!ptr)
		SKIP(return, "No huge pages");
	protect_what_moves(_metadata, ptr, 1, TWOMEG);
	munmap(ptr, TWOMEG);
}

/* A huge page that has moved is as protected as before. */
WALKER(uffd_wp_of_huge_page_that_has_moved)
{
	char *ptr = hmm_mmap_thp(TWOMEG);
	int status = -1;
	int uffd;

	if (!ptr || !two_nodes())
		SKIP(return, "No huge pages, or no other node");
	uffd = hmm_userfaultfd(ptr, TWOMEG, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_write_protect(uffd, ptr, TWOMEG, true), 0);
	ASSERT_EQ(move_to_node(ptr, 1, !node_of(ptr), &status), 0);
	ASSERT_GE(status, 0);
	EXPECT_EQ(hmm_smaps_kb(ptr, "AnonHugePages:"), TWOMEG >> 10);
	EXPECT_FALSE(write_goes_through(uffd, ptr));
	close(uffd);
	munmap(ptr, TWOMEG);
}

/* Hold a reference to each page. Returns the pipe's end to close, or an error. */
static int hold_pages(char *ptr, unsigned long npages)
{
	struct iovec iov = { ptr, npages * page_size };
	int fds[2];

	if (pipe(fds))
		return -errno;
	if (vmsplice(fds[1], &iov, 1, 0) != iov.iov_len)
		return -EIO;
	close(fds[1]);
	return fds[0];
}

/*
 * Whoever holds a page that is not protected goes on to see what is written
 * there: registering and resolving do not take the write bit away.
 */
WALKER(uffd_wp_resolve_leaves_others)
{
	char *ptr = hmm_mmap(self->size);
	uint64_t pfn[3];
	int uffd, held, i;

	fill_pages(ptr, 3);
	for (i = 0; i < 3; i++)
		pfn[i] = pfn_of(ptr + i * page_size);
	held = hold_pages(ptr, 3);
	ASSERT_GE(held, 0);
	uffd = hmm_userfaultfd(ptr, self->size, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ptr[0] = 1;
	EXPECT_EQ(pfn_of(ptr), pfn[0]);
	ASSERT_EQ(hmm_write_protect(uffd, ptr, self->size, false), 0);
	ptr[page_size] = 1;
	EXPECT_EQ(pfn_of(ptr + page_size), pfn[1]);
	close(uffd);
	uffd = hmm_userfaultfd(ptr, self->size, UFFDIO_REGISTER_MODE_WP);
	ptr[2 * page_size] = 1;
	EXPECT_EQ(pfn_of(ptr + 2 * page_size), pfn[2]);
	close(uffd);
	close(held);
	munmap(ptr, self->size);
}

static long minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* Nor from a huge page: the next write does not even fault. */
WALKER(uffd_wp_resolve_leaves_other_huge_pages)
{
	char *ptr = hmm_mmap_thp(TWOMEG);
	long faults = minor_faults();
	int uffd;

	if (!ptr)
		SKIP(return, "No huge pages");
	uffd = hmm_userfaultfd(ptr, TWOMEG, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_write_protect(uffd, ptr, TWOMEG, false), 0);
	faults = minor_faults();
	ptr[0] = 1;
	EXPECT_EQ(minor_faults(), faults);
	close(uffd);
	munmap(ptr, TWOMEG);
}

/* Written while nobody was registered: it stays writable then. */
WALKER(uffd_wp_written_between_registrations)
{
	char *ptr = hmm_mmap(page_size);
	int uffd, held;
	uint64_t pfn;

	*ptr = 1;
	uffd = hmm_userfaultfd(ptr, page_size, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_write_protect(uffd, ptr, page_size, true), 0);
	close(uffd);
	*ptr = 2;
	pfn = pfn_of(ptr);
	held = hold_pages(ptr, 1);
	ASSERT_GE(held, 0);
	uffd = hmm_userfaultfd(ptr, page_size, UFFDIO_REGISTER_MODE_WP);
	EXPECT_TRUE(write_goes_through(uffd, ptr));
	EXPECT_EQ(pfn_of(ptr), pfn);
	close(uffd);
	close(held);
	munmap(ptr, page_size);
}

static int uffd_copy(int uffd, char *to, char *from)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = page_size,
	};

	return ioctl(uffd, UFFDIO_COPY, &copy) ? -errno : 0;
}

static int uffd_zero(int uffd, char *to)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)to, .len = page_size },
	};

	return ioctl(uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

WALKER(uffd_copy)
{
	char *from = hmm_mmap(page_size);
	int uffd = hmm_userfaultfd(self->ptr, self->size,
				   UFFDIO_REGISTER_MODE_MISSING);

	if (uffd < 0)
		SKIP(return, "No userfaultfd");
	ASSERT_NE(from, NULL);
	*from = 1;
	EXPECT_EQ(uffd_copy(uffd, self->ptr, from), -EEXIST);
	EXPECT_EQ(uffd_zero(uffd, self->ptr), -EEXIST);
	EXPECT_UNDISTURBED();
	close(uffd);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
	munmap(from, page_size);
}

/* Another device that wants plain access gets it, this one loses its own. */
WALKER(hmm_range_fault)
{
	int fd = open("/dev/hmm_dmirror1", O_RDWR);
	char *mirror = malloc(self->size);
	struct hmm_dmirror_cmd cmd;

	ASSERT_GE(fd, 0);
	ASSERT_NE(mirror, NULL);
	EXPECT_EQ(hmm_range_cmd(fd, HMM_DMIRROR_READ, self->ptr, NPAGES, mirror,
				&cmd), 0);
	EXPECT_TRUE(pages_filled(mirror, NPAGES, 1));
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_present), NPAGES);

	ASSERT_EQ(hmm_make_exclusive(self->fd, self->ptr, NPAGES), 0);
	fill_pages(mirror, NPAGES);
	EXPECT_EQ(hmm_range_cmd(fd, HMM_DMIRROR_WRITE, self->ptr, NPAGES,
				mirror, &cmd), 0);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 0));
	free(mirror);
	close(fd);
}

/* A fault on an exclusive page is a minor one. */
WALKER(fault_is_minor)
{
	struct rusage before, after;

	/* What else this touches comes back from swap the first time. */
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
	ASSERT_EQ(hmm_make_exclusive(self->fd, self->ptr, NPAGES), 0);
	getrusage(RUSAGE_SELF, &before);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
	getrusage(RUSAGE_SELF, &after);
	EXPECT_EQ(after.ru_majflt, before.ru_majflt);
	EXPECT_GT(after.ru_minflt, before.ru_minflt);
}

#define WINDOW	"/sys/kernel/debug/device_exclusive_window"

/* How many pages does reading them all restore ahead of their fault? */
static long pages_ahead(int fd, char *ptr)
{
	static const char name[] = "device_exclusive_ahead ";
	long before = hmm_read_kb("/proc/vmstat", NULL, name);

	if (hmm_make_exclusive(fd, ptr, NPAGES) || !pages_filled(ptr, NPAGES, 1))
		return -1;
	return hmm_read_kb("/proc/vmstat", NULL, name) - before;
}

/* How many pages a fault restores can be set, within limits. */
WALKER(fault_window_file)
{
	static const char *const bad[] = { "0", "513", "-1", "many", NULL };
	char before[32];
	int i;

	if (access(WINDOW, W_OK))
		SKIP(return, "No debugfs");
	read_text(WINDOW, before, sizeof(before));
	for (i = 0; bad[i]; i++) {
		EXPECT_EQ(hmm_write_file(WINDOW, bad[i]), -EINVAL);
		EXPECT_EQ(read_number(WINDOW), atol(before));
	}
	EXPECT_EQ(hmm_write_file(WINDOW, "1"), 0);
	EXPECT_EQ(read_number(WINDOW), 1);
	EXPECT_EQ(pages_ahead(self->fd, self->ptr), 0);
	EXPECT_EQ(hmm_write_file(WINDOW, "512"), 0);
	EXPECT_GT(pages_ahead(self->fd, self->ptr), NPAGES / 2);
	EXPECT_EQ(hmm_write_file(WINDOW, before), 0);
}

/* To ask where pages are is not to move them. */
WALKER(move_pages_status)
{
	void *pages[NPAGES];
	int status[NPAGES];
	int i, here;

	for (i = 0; i < NPAGES; i++) {
		pages[i] = self->ptr + i * page_size;
		status[i] = -1;
	}
	ASSERT_EQ(syscall(__NR_move_pages, 0, (long)NPAGES, pages, NULL, status,
			  0), 0);
	EXPECT_UNDISTURBED();
	EXPECT_EQ(self->ptr[0], 0);
	here = node_of(self->ptr);
	EXPECT_EQ(status[0], here);
	for (i = 0; i < NPAGES; i++)
		EXPECT_GE(status[i], 0);
}

WALKER(move_pages)
{
	int status[NPAGES];
	int i, there;

	if (!two_nodes())
		SKIP(return, "One node only");
	there = !node_of(self->ptr);
	ASSERT_EQ(move_to_node(self->ptr, NPAGES, there, status), 0);
	for (i = 0; i < NPAGES; i++) {
		EXPECT_EQ(status[i], there);
		EXPECT_EQ(node_of(self->ptr + i * page_size), there);
	}
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_present), NPAGES);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

WALKER(mbind)
{
	unsigned long mask;
	int there;

	if (!two_nodes())
		SKIP(return, "One node only");
	there = !node_of(self->ptr);
	mask = 1UL << there;
	/* Strict: pages elsewhere are an error, so they have to be found. */
	EXPECT_EQ(syscall(__NR_mbind, self->ptr, self->size, MPOL_BIND, &mask,
			  8UL, MPOL_MF_STRICT), -1);
	EXPECT_EQ(errno, EIO);
	EXPECT_UNDISTURBED();
	EXPECT_EQ(syscall(__NR_mbind, self->ptr, self->size, MPOL_BIND, &mask,
			  8UL, MPOL_MF_STRICT | MPOL_MF_MOVE), 0);
	EXPECT_EQ(node_of(self->ptr), there);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

WALKER(migrate_pages)
{
	unsigned long from, to;
	int here;

	if (!two_nodes())
		SKIP(return, "One node only");
	here = node_of(self->ptr);
	from = 1UL << here;
	to = 1UL << !here;
	EXPECT_GE(syscall(__NR_migrate_pages, 0, 8UL, &from, &to), 0);
	EXPECT_EQ(node_of(self->ptr), !here);
	EXPECT_EQ(node_of(self->ptr + self->size - page_size), !here);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, NPAGES, 1), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 2));
}

/* A page here and there, which are in the way of anything large */
WALKER(compaction)
{
	const unsigned long npages = 4096, size = npages * page_size;
	char *ptr = hmm_mmap(size), *mine;
	unsigned long i, moved = 0;
	uint64_t *pfn;

	ASSERT_NE(ptr, NULL);
	pfn = malloc(npages * sizeof(*pfn));
	memset(ptr, 1, size);
	for (i = 0; i < npages; i++) {
		mine = ptr + i * page_size;
		if (i % 8) {
			madvise(mine, page_size, MADV_DONTNEED);
			continue;
		}
		fill_pages(mine, 1);
		ASSERT_EQ(hmm_atomic_add(self->fd, mine, 1, 1), 0);
		pfn[i] = pfn_of(mine);
	}
	hmm_drain_lru();
	if (hmm_write_file("/proc/sys/vm/compact_memory", "1"))
		SKIP(return, "No compaction");
	for (i = 0; i < npages; i += 8) {
		mine = ptr + i * page_size;
		if (pfn_of(mine) != pfn[i]) {
			moved++;
			EXPECT_TRUE(is_present(mine));
			EXPECT_EQ(hmm_count_exclusive(self->fd, mine, 1), 0);
		}
		EXPECT_TRUE(pages_filled(mine, 1, 1));
		ASSERT_EQ(hmm_atomic_add(self->fd, mine, 1, 1), 0);
		EXPECT_TRUE(pages_filled(mine, 1, 2));
	}
	TH_LOG("%lu of %lu pages moved", moved, npages / 8);
	EXPECT_GT(moved, 0);
	free(pfn);
	munmap(ptr, size);
}

#define MEMORY	"/sys/devices/system/memory/"

static int set_block(unsigned long block, const char *state)
{
	char path[128];

	snprintf(path, sizeof(path), MEMORY "memory%lu/state", block);
	return hmm_write_file(path, state);
}

/* Is it only for what can be moved, and has nothing else got into it at boot? */
static bool is_removable(unsigned long block, unsigned long npages)
{
	uint64_t flags[npages];
	char path[128], zones[64];
	unsigned long i;
	int fd;

	snprintf(path, sizeof(path), MEMORY "memory%lu/valid_zones", block);
	read_text(path, zones, sizeof(zones));
	if (strcmp(zones, "Movable\n"))
		return false;

	fd = open("/proc/kpageflags", O_RDONLY);
	i = pread(fd, flags, sizeof(flags), block * sizeof(flags));
	close(fd);
	if (i != sizeof(flags))
		return false;
	for (i = 0; i < npages; i++)
		if (flags[i] & (1ULL << KPF_RESERVED | 1ULL << KPF_NOPAGE))
			return false;
	return true;
}

/*
 * Take memory until there is a page from a block that can be taken away. Neighbours
 * are from the same block most of the time, and to look at a page takes time.
 */
static char *find_removable(unsigned long per_block, int flags,
			    unsigned long *block)
{
	const unsigned long step = 4 << 20, stride = 64 * page_size;
	unsigned long taken, i, not_this = ~0UL;

	for (taken = 0; taken < (384UL << 20); taken += step) {
		char *ptr = mmap(NULL, step, PROT_READ | PROT_WRITE,
				 flags | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		for (i = 0; ptr != MAP_FAILED && i < step; i += stride) {
			*block = pfn_of(ptr + i) / per_block;
			if (*block == not_this)
				continue;
			if (is_removable(*block, per_block))
				return ptr + i;
			not_this = *block;
		}
	}
	return NULL;
}

/* Memory can be taken away although a device has it exclusively. */
static void take_memory_away(struct __test_metadata *_metadata, int fd,
			     int flags)
{
	unsigned long block, per_block;
	char text[32], *mine, *twin;
	int err = -1, i;

	read_text(MEMORY "block_size_bytes", text, sizeof(text));
	per_block = strtoul(text, NULL, 16) / page_size;
	if (!per_block)
		SKIP(return, "No memory hotplug");
	mine = find_removable(per_block, flags, &block);
	if (!mine)
		SKIP(return, "No movable memory (boot with movablecore=)");
	fill_pages(mine, 1);
	twin = mine;
	/* This makes another mapping of what is shared. */
	if (flags == MAP_SHARED)
		twin = mremap(mine, 0, page_size, MREMAP_MAYMOVE);
	ASSERT_NE(twin, MAP_FAILED);
	ASSERT_TRUE(pages_filled(twin, 1, 0));
	ASSERT_EQ(hmm_atomic_add(fd, mine, 1, 1), 0);
	ASSERT_TRUE(is_entry(twin));
	ASSERT_EQ(pfn_of(mine) / per_block, block);

	/* Somebody may hold a page there for a moment. */
	for (i = 0; i < 10 && err; i++)
		err = set_block(block, "offline");
	ASSERT_EQ(err, 0);
	EXPECT_NE(pfn_of(mine) / per_block, block);
	EXPECT_EQ(pfn_of(twin), pfn_of(mine));
	EXPECT_EQ(hmm_count_exclusive(fd, mine, 1), 0);
	EXPECT_EQ(set_block(block, "online_movable"), 0);
	ASSERT_EQ(hmm_atomic_add(fd, mine, 1, 1), 0);
	EXPECT_TRUE(pages_filled(twin, 1, 2));
	EXPECT_TRUE(pages_filled(mine, 1, 2));
}

WALKER(memory_offline)
{
	take_memory_away(_metadata, self->fd, MAP_PRIVATE);
}

WALKER(memory_offline_shared)
{
	take_memory_away(_metadata, self->fd, MAP_SHARED);
}

/* A huge page of which a device has some is split, and all of it is there. */
WALKER(thp_split)
{
	const unsigned long npages = TWOMEG / page_size;
	char *ptr = hmm_mmap_thp(TWOMEG);

	if (!ptr)
		SKIP(return, "Huge page could not be allocated");
	fill_pages(ptr, npages);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages / 2, 1), 0);
	ASSERT_EQ(count(ptr, npages, is_entry), npages / 2);
	ASSERT_EQ(count_flag(ptr, npages, KPF_THP), npages);
	if (hmm_write_file(SPLIT_HUGE_PAGES, "1"))
		SKIP(return, "Huge pages cannot be split");
	EXPECT_EQ(count(ptr, npages, is_present), npages);
	EXPECT_EQ(count_flag(ptr, npages, KPF_THP), 0);
	EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);
	EXPECT_EQ(hmm_smaps_kb(ptr, "Rss:"), TWOMEG >> 10);
	EXPECT_TRUE(pages_filled(ptr, npages / 2, 1));

	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages / 2, 1), 0);
	EXPECT_TRUE(pages_filled(ptr, npages / 2, 2));
	munmap(ptr, TWOMEG);
}

WALKER(thp_pageout)
{
	const unsigned long npages = TWOMEG / page_size;
	char *ptr = hmm_mmap_thp(TWOMEG);

	if (!have_swap())
		SKIP(return, "No swap");
	if (!ptr)
		SKIP(return, "Huge page could not be allocated");
	fill_pages(ptr, npages);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
	ASSERT_EQ(count_flag(ptr, npages, KPF_THP), npages);
	ASSERT_EQ(hmm_advise(ptr, TWOMEG, MADV_PAGEOUT), 0);
	EXPECT_EQ(count(ptr, npages, is_swapped), npages);
	EXPECT_TRUE(pages_filled(ptr, npages, 1));
	munmap(ptr, TWOMEG);
}

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

/*
 * Nothing in the background takes a page from a device. @name is what smaps calls
 * huge pages of this kind.
 */
static void let_collapse(struct __test_metadata *_metadata, int fd, int flags,
			 const char *name)
{
	const unsigned long npages = TWOMEG / page_size;
	char *map = hmm_mmap(2 * TWOMEG);
	char *ptr = (char *)ALIGN((uintptr_t)map, TWOMEG);
	int i;

	ASSERT_NE(map, NULL);
	ASSERT_EQ(mmap(ptr, TWOMEG, PROT_READ | PROT_WRITE,
		       flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0), ptr);
	if (hmm_write_file(KHUGEPAGED "scan_sleep_millisecs", "0"))
		SKIP(return, "No huge pages");
	hmm_write_file(KHUGEPAGED "alloc_sleep_millisecs", "0");
	fill_pages(ptr, npages);
	ASSERT_EQ(hmm_make_exclusive(fd, ptr + 7 * page_size, 1), 0);
	/* Twice, for of tmpfs the first time only makes the VMA eligible. */
	for (i = 0; i < 2; i++)
		ASSERT_EQ(madvise(ptr, TWOMEG, MADV_HUGEPAGE), 0);
	EXPECT_TRUE(wait_for_count(KHUGEPAGED "full_scans", 3));
	EXPECT_EQ(hmm_smaps_kb(ptr, name), 0);
	EXPECT_EQ(hmm_count_exclusive(fd, ptr, npages), 1);
	EXPECT_TRUE(is_entry(ptr + 7 * page_size));

	/* When the CPU has it back, it is as good as the others. */
	EXPECT_TRUE(pages_filled(ptr, npages, 0));
	for (i = 0; i < PATIENCE; i++) {
		/* A huge page of a file is mapped by a fault. */
		hmm_load(ptr);
		if (hmm_smaps_kb(ptr, name) == TWOMEG >> 10)
			break;
		usleep(500000);
	}
	EXPECT_LT(i, PATIENCE);
	EXPECT_TRUE(pages_filled(ptr, npages, 0));
	hmm_write_file(KHUGEPAGED "scan_sleep_millisecs", "10000");
	munmap(map, 2 * TWOMEG);
}

WALKER(khugepaged)
{
	let_collapse(_metadata, self->fd, MAP_PRIVATE, "AnonHugePages:");
}

#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

WALKER(khugepaged_shared)
{
	if (hmm_write_file(SHMEM_ENABLED, "advise"))
		SKIP(return, "No huge pages");
	let_collapse(_metadata, self->fd, MAP_SHARED, "ShmemPmdMapped:");
	hmm_write_file(SHMEM_ENABLED, "never");
}

/*
 * khugepaged brings in what is swapped out some time after it has looked at the
 * rest. What a device has got meanwhile stays exclusive, though its driver may hear
 * of a huge page that does not come about.
 */
WALKER(khugepaged_race)
{
	/* As many as it brings in at most, and takes a while for */
	const unsigned long npages = TWOMEG / page_size, out = npages / 8;
	char *map = hmm_mmap(2 * TWOMEG);
	char *ptr = (char *)ALIGN((uintptr_t)map, TWOMEG);
	char *mine = ptr + out * page_size;
	uint64_t state = hmm_rand_seed(1, 1);
	int lost = 0;
	long begin;

	ASSERT_NE(map, NULL);
	if (!have_swap() ||
	    hmm_write_file(KHUGEPAGED "scan_sleep_millisecs", "0"))
		SKIP(return, "No swap, or no huge pages");
	hmm_write_file(KHUGEPAGED "alloc_sleep_millisecs", "0");
	fill_pages(ptr, npages);
	ASSERT_EQ(madvise(ptr, TWOMEG, MADV_HUGEPAGE), 0);
	begin = microseconds();
	while (microseconds() - begin < 4000000) {
		hmm_advise(ptr, out * page_size, MADV_PAGEOUT);
		/* Now it can be collapsed. */
		hmm_load(mine);
		usleep(hmm_rand(&state, 10000));
		ASSERT_EQ(hmm_make_exclusive(self->fd, mine, 1), 0);
		usleep(10000);
		lost += !is_entry(mine);
	}
	EXPECT_EQ(lost, 0);
	hmm_write_file(KHUGEPAGED "scan_sleep_millisecs", "10000");
	munmap(map, 2 * TWOMEG);
}

#define KSM	"/sys/kernel/mm/ksm/"

static int ksm_start(void)
{
	int ret = hmm_write_file(KSM "sleep_millisecs", "1");

	return ret ?: hmm_write_file(KSM "pages_to_scan", "1000") ?:
	       hmm_write_file(KSM "run", "1");
}

/* Unmerge, and stop. */
static void ksm_stop(void)
{
	hmm_write_file(KSM "run", "2");
	hmm_write_file(KSM "run", "0");
}

/* Equal pages are merged, but for those which a device has. */
WALKER(ksm)
{
	memset(self->ptr, 1, self->size);
	ASSERT_EQ(hmm_make_exclusive(self->fd, self->ptr, NPAGES / 2), 0);
	if (ksm_start())
		SKIP(return, "No KSM");
	ASSERT_EQ(madvise(self->ptr, self->size, MADV_MERGEABLE), 0);
	EXPECT_TRUE(wait_for_count(KSM "full_scans", 4));
	EXPECT_EQ(count_flag(self->ptr, NPAGES / 2, KPF_KSM), 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES / 2);
	EXPECT_EQ(count_flag(self->ptr + self->size / 2, NPAGES / 2, KPF_KSM),
		  NPAGES / 2);

	EXPECT_EQ(memcmp(self->ptr, self->ptr + self->size / 2, self->size / 2),
		  0);
	EXPECT_TRUE(wait_for_count(KSM "full_scans", 4));
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_KSM), NPAGES);

	/* A merged page is copied before the device gets it. */
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, 1, 1), 0);
	EXPECT_FALSE(page_has(self->ptr, KPF_KSM));
	EXPECT_EQ(*(uint64_t *)self->ptr, DEVICE_ONE + 0x0101010101010101ULL);
	EXPECT_EQ(*(uint64_t *)(self->ptr + page_size), 0x0101010101010101ULL);
	ksm_stop();
}

/*
 * The same with a page that the device takes while ksmd is about to merge it with
 * the one before. It has to see that; such a page would be refused to the device
 * the next time. Once a kind has been merged there is no such moment any more.
 */
WALKER(ksm_race)
{
	char *one = self->ptr, *other = self->ptr + page_size;
	int kind, i, merged = 0;

	if (ksm_start())
		SKIP(return, "No KSM");
	ASSERT_EQ(madvise(one, 2 * page_size, MADV_MERGEABLE), 0);
	for (kind = 1; kind <= 50; kind++) {
		memset(one, kind, 2 * page_size);
		for (i = 0; i < 4000; i++) {
			ASSERT_EQ(*other, kind);
			if (page_has(other, KPF_KSM))
				break;
			ASSERT_EQ(hmm_make_exclusive(self->fd, other, 1), 0);
			ASSERT_EQ(hmm_make_exclusive(self->fd, other, 1), 0);
		}
		merged += i < 4000;
		*other = 0;
		ASSERT_EQ(*one, kind);
		ASSERT_EQ(other[1], kind);
	}
	TH_LOG("%d of 50 pairs merged", merged);
	ksm_stop();
}

/* ksmd compares what it has merged, which it cannot do in a device's memory. */
WALKER(ksm_pages_stay_out_of_device_memory)
{
	struct hmm_dmirror_cmd cmd;
	char *mirror = malloc(self->size);

	ASSERT_NE(mirror, NULL);
	memset(self->ptr, 1, self->size);
	if (ksm_start())
		SKIP(return, "No KSM");
	ASSERT_EQ(madvise(self->ptr, self->size, MADV_MERGEABLE), 0);
	EXPECT_TRUE(wait_for_count(KSM "full_scans", 4));
	ASSERT_EQ(count_flag(self->ptr, NPAGES, KPF_KSM), NPAGES);
	/* One mapping: many in the range are too many. It gets nothing back. */
	ASSERT_EQ(hmm_range_cmd(self->fd, HMM_DMIRROR_MIGRATE, self->ptr, 1,
				mirror, &cmd), -ENOENT);
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_KSM), NPAGES);

	/* A new equal page makes it look at the merged one again. */
	memset(self->ptr, 2, page_size);
	memset(self->ptr, 1, page_size);
	EXPECT_TRUE(wait_for_count(KSM "full_scans", 4));
	EXPECT_EQ(count_flag(self->ptr, NPAGES, KPF_KSM), NPAGES);
	ksm_stop();
	free(mirror);
}

WALKER(memcg_charge_moves)
{
	const unsigned long npages = 512, size = npages * page_size;
	char *ptr = hmm_mmap(size);

	if (memcg_make("from") || memcg_make("to"))
		SKIP(return, "No memory control groups");
	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(memcg_enter("from"), 0);
	fill_pages(ptr, npages);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
	hmm_drain_lru();
	EXPECT_GE(memcg_read("from", "memory.usage_in_bytes", ""), size);
	ASSERT_EQ(memcg_write("to", "memory.move_charge_at_immigrate", "1"), 0);
	ASSERT_EQ(memcg_enter("to"), 0);
	EXPECT_GE(memcg_read("to", "memory.usage_in_bytes", ""), size);
	EXPECT_LT(memcg_read("from", "memory.usage_in_bytes", ""), size / 2);
	EXPECT_EQ(count(ptr, npages, is_entry), npages);
	EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, npages), npages);
	EXPECT_TRUE(pages_filled(ptr, npages, 1));
	memcg_remove("to");
	memcg_remove("from");
	munmap(ptr, size);
}

/* What is in swap comes back, what the device has stays there. */
WALKER(swapoff)
{
	char path[256];
	int ret;

	if (!swap_area(path))
		SKIP(return, "No swap");
	ASSERT_EQ(hmm_advise(self->ptr, self->size / 2, MADV_PAGEOUT), 0);
	ASSERT_EQ(count(self->ptr, NPAGES, is_swapped), NPAGES / 2);
	ret = swapoff(path);
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(count(self->ptr, NPAGES, is_present), NPAGES / 2);
	EXPECT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES / 2);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), NPAGES / 2);
	EXPECT_EQ(swapon(path, 0), 0);
	EXPECT_TRUE(pages_filled(self->ptr, NPAGES, 1));
}

/* Reading ahead from swap, around pages that the device has */
WALKER(swap_readahead)
{
	int kmsg = kmsg_open(), go[2], i;
	pid_t pid;
	char c;

	if (!have_swap())
		SKIP(return, "No swap");
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_PAGEOUT), 0);
	/* Pages in swap that are used twice are read through the swap cache. */
	ASSERT_EQ(pipe(go), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(go[1]);
		read(go[0], &c, 1);
		_exit(0);
	}
	for (i = 4; i < NPAGES; i += 8)
		ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr + i * page_size, 1,
					 1), 0);
	for (i = 0; i < NPAGES; i++)
		if (i % 8 != 4)
			EXPECT_EQ(*(uint64_t *)(self->ptr + i * page_size),
				  DEVICE_ONE);
	EXPECT_FALSE(kmsg_close(kmsg, "Bad swap"));
	EXPECT_EQ(count(self->ptr, NPAGES, is_entry), NPAGES / 8);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, NPAGES), NPAGES / 8);
	close(go[1]);
	waitpid(pid, NULL, 0);
	close(go[0]);
}

/* A private mapping of a file, in which the device has pages of its own */
static char *map_private_file(int *file, long npages)
{
	char *ptr;

	*file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	if (*file < 0 || ftruncate(*file, npages * page_size))
		return NULL;
	ptr = mmap(NULL, npages * page_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE, *file, 0);
	return ptr == MAP_FAILED ? NULL : ptr;
}

/* Pages of the file are mapped around the fault, not over an entry. */
WALKER(fault_around)
{
	const size_t around = 16 * page_size;
	char *map, *ptr, page[page_size];
	int file, i;

	map = map_private_file(&file, 32);
	ASSERT_NE(map, NULL);
	memset(page, 1, page_size);
	for (i = 0; i < 32; i++)
		ASSERT_EQ(write(file, page, page_size), page_size);
	/* A fault maps pages up to the next multiple of that. */
	ptr = (char *)ALIGN((uintptr_t)map, around);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr + 3 * page_size, 1, 1), 0);
	EXPECT_EQ(ptr[2 * page_size], 1);
	EXPECT_TRUE(is_present(ptr + 4 * page_size));
	EXPECT_TRUE(is_entry(ptr + 3 * page_size));
	EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, 16), 1);
	EXPECT_EQ(*(uint64_t *)(ptr + 3 * page_size),
		  DEVICE_ONE + 0x0101010101010101ULL);
	munmap(map, 2 * around);
	close(file);
}

/* A hole in the file leaves copies alone, the end of the file does not. */
WALKER(truncate_private_file)
{
	const int npages = 8;
	char *ptr;
	int file;

	ptr = map_private_file(&file, npages);
	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
	ASSERT_EQ(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			    npages * page_size), 0);
	EXPECT_EQ(count(ptr, npages, is_entry), npages);
	EXPECT_EQ(((uint64_t *)ptr)[0], DEVICE_ONE);
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, 1), 0);

	ASSERT_EQ(ftruncate(file, 0), 0);
	EXPECT_EQ(count(ptr, npages, is_entry), 0);
	EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);
	EXPECT_EQ(hmm_make_exclusive(self->fd, ptr, 1), -EFAULT);
	munmap(ptr, npages * page_size);
	close(file);
}

#define PINNED_PAGES	32

FIXTURE(pinned)
{
	int		fd, ring;
	unsigned long	size;
	char		*ptr;
	uint64_t	pfns[PINNED_PAGES];
};

/* Pin memory for as long as the file is open, as a buffer that io_uring may use. */
static int pin(void *ptr, unsigned long size)
{
	uint64_t params[IO_URING_PARAMS_SIZE / sizeof(uint64_t)] = { 0 };
	struct iovec buffer = { ptr, size };
	int ring = syscall(__NR_io_uring_setup, 1, params);

	if (ring >= 0 && syscall(__NR_io_uring_register, ring,
				 IORING_REGISTER_BUFFERS, &buffer, 1)) {
		close(ring);
		return -1;
	}
	return ring;
}

/* Memory that is pinned, and that the device has had once since then */
FIXTURE_SETUP(pinned)
{
	page_size = sysconf(_SC_PAGE_SIZE);
	self->size = PINNED_PAGES * page_size;
	self->fd = open("/dev/hmm_dmirror0", O_RDWR);
	ASSERT_GE(self->fd, 0);
	self->ptr = hmm_mmap(self->size);
	ASSERT_NE(self->ptr, NULL);
	fill_pages(self->ptr, PINNED_PAGES);
	self->ring = pin(self->ptr, self->size);
	pfns_of(self->ptr, PINNED_PAGES, self->pfns);
	ASSERT_EQ(hmm_atomic_add(self->fd, self->ptr, PINNED_PAGES, 1), 0);
	exclusive_type = PM_TYPE(pm_of(self->ptr));
	ASSERT_EQ(count(self->ptr, PINNED_PAGES, is_entry), PINNED_PAGES);
}

FIXTURE_TEARDOWN(pinned)
{
	munmap(self->ptr, self->size);
	close(self->ring);
	close(self->fd);
}

#define PINNED(name)							\
	static void try_##name(struct __test_metadata *_metadata,	\
			       struct _test_data_pinned *self);	\
	TEST_F_TIMEOUT(pinned, name, 400)				\
	{								\
		if (self->ring < 0)					\
			SKIP(return, "No io_uring");			\
		try_##name(_metadata, self);				\
	}								\
	static void try_##name(struct __test_metadata *_metadata,	\
			       struct _test_data_pinned *self)

/*
 * The CPU writes to each page, and has looked at some before. How many pages are
 * not those any more that are pinned?
 */
static int touch_and_count_lost(char *ptr, const uint64_t *pfns, int npages)
{
	int i, lost = 0;

	for (i = 0; i < npages; i++) {
		uint64_t *word = (uint64_t *)(ptr + i * page_size);

		if (i % 4 < 2)
			hmm_load(word + 1);
		word[1]++;
		lost += pfn_of(word) != pfns[i];
		word[1]--;
	}
	return lost;
}

/* What is pinned is what is mapped, and has what the device added. */
#define EXPECT_STILL_PINNED() do {					\
	EXPECT_EQ(touch_and_count_lost(self->ptr, self->pfns,		\
				       PINNED_PAGES), 0);		\
	EXPECT_TRUE(pages_filled(self->ptr, PINNED_PAGES, 1));		\
} while (0)

static int set_writable(char *ptr, unsigned long size, bool writable)
{
	return mprotect(ptr, size, PROT_READ | (writable ? PROT_WRITE : 0));
}

/* Fork; does the child see pages that are those of the parent, or copies? */
static bool fork_sees(const char *ptr, int npages)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(pages_filled(ptr, npages, 1) ? 0 : 1);
	waitpid(pid, &status, 0);
	return !status;
}

PINNED(clear_refs)
{
	ASSERT_EQ(clear_soft_dirty(), 0);
	EXPECT_EQ(count(self->ptr, PINNED_PAGES, is_entry), PINNED_PAGES);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, PINNED_PAGES), 0);
	EXPECT_STILL_PINNED();
}

/* Each of these would look at a soft-dirty bit that has been cleared. */
PINNED(clear_refs_fork)
{
	ASSERT_EQ(clear_soft_dirty(), 0);
	EXPECT_TRUE(fork_sees(self->ptr, PINNED_PAGES));
	EXPECT_STILL_PINNED();
}

PINNED(clear_refs_madvise_free)
{
	ASSERT_EQ(clear_soft_dirty(), 0);
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_FREE), 0);
	EXPECT_STILL_PINNED();
}

PINNED(clear_refs_move_pages)
{
	int status[PINNED_PAGES];

	if (!two_nodes())
		SKIP(return, "One node only");
	ASSERT_EQ(clear_soft_dirty(), 0);
	move_to_node(self->ptr, PINNED_PAGES, !node_of(self->ptr), status);
	EXPECT_STILL_PINNED();
}

PINNED(mprotect_and_back)
{
	ASSERT_EQ(set_writable(self->ptr, self->size, false), 0);
	ASSERT_EQ(set_writable(self->ptr, self->size, true), 0);
	EXPECT_STILL_PINNED();
}

/*
 * Between the two calls of mprotect() a mapping can only come back read-only. Who
 * can do without it must not bring it back.
 */
PINNED(mprotect_fork)
{
	ASSERT_EQ(set_writable(self->ptr, self->size, false), 0);
	EXPECT_TRUE(fork_sees(self->ptr, PINNED_PAGES));
	ASSERT_EQ(set_writable(self->ptr, self->size, true), 0);
	EXPECT_STILL_PINNED();
}

PINNED(mprotect_madvise_free)
{
	ASSERT_EQ(set_writable(self->ptr, self->size, false), 0);
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_FREE), 0);
	ASSERT_EQ(set_writable(self->ptr, self->size, true), 0);
	EXPECT_STILL_PINNED();
}

/* What MADV_FREE has been told of is unmapped even if it is pinned. */
PINNED(mprotect_pageout_of_free_pages)
{
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_FREE), 0);
	hmm_drain_lru();
	ASSERT_EQ(hmm_make_exclusive(self->fd, self->ptr, PINNED_PAGES), 0);
	ASSERT_EQ(set_writable(self->ptr, self->size, false), 0);
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_PAGEOUT), 0);
	ASSERT_EQ(set_writable(self->ptr, self->size, true), 0);
	EXPECT_STILL_PINNED();
}

PINNED(mprotect_move_pages)
{
	int status[PINNED_PAGES];

	if (!two_nodes())
		SKIP(return, "One node only");
	ASSERT_EQ(set_writable(self->ptr, self->size, false), 0);
	move_to_node(self->ptr, PINNED_PAGES, !node_of(self->ptr), status);
	ASSERT_EQ(set_writable(self->ptr, self->size, true), 0);
	EXPECT_STILL_PINNED();
}

PINNED(mprotect_migrate_to_device)
{
	struct hmm_dmirror_cmd cmd;
	char *mirror = malloc(self->size);

	ASSERT_NE(mirror, NULL);
	ASSERT_EQ(set_writable(self->ptr, self->size, false), 0);
	hmm_range_cmd(self->fd, HMM_DMIRROR_MIGRATE, self->ptr, PINNED_PAGES,
		      mirror, &cmd);
	ASSERT_EQ(set_writable(self->ptr, self->size, true), 0);
	EXPECT_STILL_PINNED();
	free(mirror);
}

/* A scan does not run ahead of what it reads. */
PINNED(mprotect_scan)
{
	const int read = 9;
	int i;

	ASSERT_EQ(set_writable(self->ptr, self->size, false), 0);
	for (i = 0; i < read; i++)
		hmm_load(self->ptr + i * page_size);
	EXPECT_EQ(count(self->ptr + read * page_size, PINNED_PAGES - read,
			is_entry), PINNED_PAGES - read);
	ASSERT_EQ(set_writable(self->ptr, self->size, true), 0);
	EXPECT_EQ(touch_and_count_lost(self->ptr + read * page_size,
				       self->pfns + read, PINNED_PAGES - read),
		  0);
	EXPECT_TRUE(pages_filled(self->ptr, PINNED_PAGES, 1));
}

PINNED(fork)
{
	EXPECT_TRUE(fork_sees(self->ptr, PINNED_PAGES));
	EXPECT_STILL_PINNED();
}

/* What the child gets is a page of its own. */
PINNED(fork_copies)
{
	int go[2], status = -1;
	pid_t pid;
	char c;

	ASSERT_EQ(pipe(go), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(go[1]);
		read(go[0], &c, 1);
		_exit(pages_filled(self->ptr, PINNED_PAGES, 1) ? 0 : 1);
	}
	EXPECT_EQ(hmm_atomic_add(self->fd, self->ptr, PINNED_PAGES, 1), 0);
	close(go[1]);
	waitpid(pid, &status, 0);
	close(go[0]);
	EXPECT_EQ(status, 0);
	EXPECT_TRUE(pages_filled(self->ptr, PINNED_PAGES, 2));
	EXPECT_EQ(touch_and_count_lost(self->ptr, self->pfns, PINNED_PAGES), 0);
}

PINNED(uffd_wp_and_back)
{
	int uffd;

	uffd = hmm_userfaultfd(self->ptr, self->size, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, true), 0);
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, false), 0);
	EXPECT_STILL_PINNED();
	close(uffd);
}

PINNED(uffd_wp_closed)
{
	int uffd;

	uffd = hmm_userfaultfd(self->ptr, self->size, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, true), 0);
	close(uffd);
	EXPECT_STILL_PINNED();
}

PINNED(uffd_wp_fork)
{
	int uffd;

	uffd = hmm_userfaultfd(self->ptr, self->size, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, true), 0);
	EXPECT_TRUE(fork_sees(self->ptr, PINNED_PAGES));
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, false), 0);
	EXPECT_STILL_PINNED();
	close(uffd);
}

PINNED(uffd_wp_move_pages)
{
	int uffd, status[PINNED_PAGES];

	if (!two_nodes())
		SKIP(return, "One node only");
	uffd = hmm_userfaultfd(self->ptr, self->size, UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_write_protect(uffd, self->ptr, self->size, true), 0);
	move_to_node(self->ptr, PINNED_PAGES, !node_of(self->ptr), status);
	close(uffd);
	EXPECT_STILL_PINNED();
}

PINNED(madvise_pageout)
{
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_PAGEOUT), 0);
	EXPECT_EQ(count(self->ptr, PINNED_PAGES, is_swapped), 0);
	EXPECT_STILL_PINNED();
}

PINNED(madvise_cold)
{
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_COLD), 0);
	EXPECT_STILL_PINNED();
}

PINNED(madvise_free)
{
	ASSERT_EQ(hmm_advise(self->ptr, self->size, MADV_FREE), 0);
	EXPECT_STILL_PINNED();
}

PINNED(move_pages)
{
	int status[PINNED_PAGES];

	if (!two_nodes())
		SKIP(return, "One node only");
	move_to_node(self->ptr, PINNED_PAGES, !node_of(self->ptr), status);
	EXPECT_STILL_PINNED();
}

PINNED(migrate_to_device)
{
	struct hmm_dmirror_cmd cmd;
	char *mirror = malloc(self->size);

	ASSERT_NE(mirror, NULL);
	hmm_range_cmd(self->fd, HMM_DMIRROR_MIGRATE, self->ptr, PINNED_PAGES,
		      mirror, &cmd);
	EXPECT_STILL_PINNED();
	free(mirror);
}

PINNED(compaction)
{
	if (hmm_write_file("/proc/sys/vm/compact_memory", "1"))
		SKIP(return, "No compaction");
	EXPECT_STILL_PINNED();
}

/* Equal pages, which would be one without the pin */
PINNED(ksm)
{
	memset(self->ptr, 1, self->size);
	ASSERT_EQ(hmm_make_exclusive(self->fd, self->ptr, PINNED_PAGES / 2), 0);
	if (ksm_start())
		SKIP(return, "No KSM");
	ASSERT_EQ(madvise(self->ptr, self->size, MADV_MERGEABLE), 0);
	EXPECT_TRUE(wait_for_count(KSM "full_scans", 4));
	EXPECT_EQ(touch_and_count_lost(self->ptr, self->pfns, PINNED_PAGES), 0);
	ksm_stop();
}

PINNED(takeover)
{
	int fd = open("/dev/hmm_dmirror1", O_RDWR);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(clear_soft_dirty(), 0);
	ASSERT_EQ(hmm_make_exclusive(fd, self->ptr, PINNED_PAGES), 0);
	EXPECT_EQ(hmm_count_exclusive(self->fd, self->ptr, PINNED_PAGES), 0);
	EXPECT_STILL_PINNED();
	close(fd);
}

PINNED(mremap)
{
	char *to = hmm_mmap(self->size);

	ASSERT_NE(to, NULL);
	ASSERT_EQ(mremap(self->ptr, self->size, self->size,
			 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	self->ptr = to;
	EXPECT_STILL_PINNED();
}

#define TRACING	"/tmp/hmm-tracing"
#define TRACE	TRACING "/trace"
#define TRACE_EXCLUSIVE TRACING "/events/device_exclusive/enable"

/* Is there this file of tracefs? */
static bool have_tracing(const char *file)
{
	mkdir(TRACING, 0755);
	if (access(file, F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	return !access(file, F_OK);
}

/* The first number behind @key in the text, which may be NULL */
static unsigned long field(const char *text, const char *key, int base)
{
	const char *found = text ? strstr(text, key) : NULL;

	return found ? strtoul(found + strlen(key), NULL, base) : 0;
}

/* What stands in the trace after a page was made exclusive, read and refused */
WALKER(trace_events)
{
	unsigned long ptr = (unsigned long)self->ptr;
	const char *make, *back, *refused;
	char text[8192];

	if (!have_tracing(TRACE_EXCLUSIVE))
		SKIP(return, "No trace events");
	/* What the device has already, it does not ask for. */
	memset(self->ptr, 0, 4 * page_size);
	fclose(fopen(TRACE, "w"));
	ASSERT_EQ(hmm_write_file(TRACE_EXCLUSIVE, "1"), 0);
	EXPECT_EQ(hmm_atomic_add(self->fd, self->ptr, 4, 1), 0);
	EXPECT_EQ(*(uint64_t *)(self->ptr + page_size), DEVICE_ONE);
	ASSERT_EQ(mprotect(self->ptr, page_size, PROT_READ), 0);
	EXPECT_EQ(hmm_atomic_add(self->fd, self->ptr, 1, 1), -EFAULT);
	ASSERT_EQ(hmm_write_file(TRACE_EXCLUSIVE, "0"), 0);
	read_text(TRACE, text, sizeof(text));
	umount(TRACING);

	make = strstr(text, "device_exclusive_make: ");
	back = strstr(text, "device_exclusive_break: ");
	refused = strstr(text, "device_exclusive_refused: ");
	EXPECT_NE(field(make, "mm=", 16), 0);
	EXPECT_EQ(field(make, "start=", 16), ptr);
	EXPECT_EQ(field(make, "end=", 16), ptr + 4 * page_size);
	EXPECT_EQ(field(make, "npages=", 10), 4);
	EXPECT_NE(field(make, "owner=", 16), 0);

	EXPECT_EQ(field(back, "mm=", 16), field(make, "mm=", 16));
	EXPECT_EQ(field(back, "start=", 16), ptr + page_size);
	EXPECT_EQ(field(back, "npages=", 10), 1);

	EXPECT_EQ(field(refused, "mm=", 16), field(make, "mm=", 16));
	EXPECT_EQ(field(refused, "start=", 16), ptr);
	EXPECT_EQ(field(refused, "end=", 16), ptr + page_size);
	EXPECT_EQ((int)field(refused, "error=", 10), -EFAULT);
	EXPECT_EQ(field(refused, "owner=", 16), field(make, "owner=", 16));
}

#ifdef __x86_64__

#define EVENTS	TRACING "/uprobe_events"
#define ENABLE	TRACING "/events/uprobes/hmm_probe/enable"

/* nop; mov $42, %eax; ret */
static const char probed[] = "\x90\xb8\x2a\x00\x00\x00\xc3";

/* How often has the probe been hit? */
static int uprobe_hits(void)
{
	char text[256];
	int hits;

	read_text(TRACING "/uprobe_profile", text, sizeof(text));
	return sscanf(text, "%*s %*s %d", &hits) == 1 ? hits : -1;
}

/* A breakpoint is put into a page that a device has had up to now. */
WALKER(uprobe)
{
	int file = open("/tmp/hmm-probed", O_CREAT | O_TRUNC | O_RDWR, 0700);
	int (*func)(void);
	char *ptr;

	if (!have_tracing(EVENTS))
		SKIP(return, "No uprobes");
	ASSERT_EQ(ftruncate(file, page_size), 0);
	ASSERT_EQ(pwrite(file, probed, sizeof(probed), 64), sizeof(probed));
	ptr = mmap(NULL, page_size, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE, file, 0);
	ASSERT_NE(ptr, MAP_FAILED);
	func = (int (*)(void))(ptr + 64);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 1, 1), 0);
	/* No breakpoint where it could be written over */
	ASSERT_EQ(mprotect(ptr, page_size, PROT_READ | PROT_EXEC), 0);
	ASSERT_TRUE(is_entry(ptr));

	ASSERT_EQ(hmm_write_file(EVENTS, "p:hmm_probe /tmp/hmm-probed:64"), 0);
	ASSERT_EQ(hmm_write_file(ENABLE, "1"), 0);
	EXPECT_TRUE(is_present(ptr));
	EXPECT_EQ(func(), 42);
	EXPECT_EQ(uprobe_hits(), 1);
	EXPECT_EQ(*(uint64_t *)ptr, DEVICE_ONE);

	/* And taken out of a page that it has now */
	ASSERT_EQ(mprotect(ptr, page_size, PROT_READ | PROT_WRITE | PROT_EXEC),
		  0);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 1, 1), 0);
	EXPECT_EQ(hmm_write_file(ENABLE, "0"), 0);
	EXPECT_EQ(func(), 42);
	EXPECT_EQ(uprobe_hits(), 1);
	EXPECT_EQ(*(uint64_t *)ptr, 2 * DEVICE_ONE);
	EXPECT_EQ(memcmp(ptr + 64, probed, sizeof(probed)), 0);
	hmm_write_file(EVENTS, "-:hmm_probe");
	umount(TRACING);
	munmap(ptr, page_size);
	close(file);
	unlink("/tmp/hmm-probed");
}

#define SMALL	"/tmp/hmm-small"

/* A child whose device takes a page of the file again and again */
static pid_t start_taking(int file)
{
	pid_t pid = fork();
	char *ptr;
	int fd;

	if (pid)
		return pid;
	fd = open("/dev/hmm_dmirror1", O_RDWR);
	ptr = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	while (!hmm_atomic_add(fd, ptr, 1, 1))
		;
	_exit(1);
}

/* A breakpoint gets into each new mapping of a file that a device wants as well. */
WALKER(uprobe_of_a_contended_file)
{
	const int rounds = 200;
	char *ptr = self->ptr;
	int file, i;
	pid_t pid;

	if (!have_tracing(EVENTS))
		SKIP(return, "No uprobes");
	mkdir(SMALL, 0755);
	ASSERT_EQ(mount("tmpfs", SMALL, "tmpfs", 0, NULL), 0);
	file = open(SMALL "/probed", O_CREAT | O_RDWR, 0700);
	ASSERT_GE(file, 0);
	ASSERT_EQ(ftruncate(file, page_size), 0);
	ASSERT_EQ(pwrite(file, probed, sizeof(probed), 64), sizeof(probed));
	ASSERT_EQ(hmm_write_file(EVENTS, "p:hmm_probe " SMALL "/probed:64"), 0);
	ASSERT_EQ(hmm_write_file(ENABLE, "1"), 0);
	pid = start_taking(file);
	ASSERT_GE(pid, 0);
	for (i = 0; i < rounds; i++) {
		/* This puts it in. */
		ASSERT_EQ(mmap(ptr, page_size, PROT_READ | PROT_EXEC,
			       MAP_PRIVATE | MAP_FIXED, file, 0), ptr);
		EXPECT_EQ(((int (*)(void))(ptr + 64))(), 42);
	}
	EXPECT_EQ(uprobe_hits(), rounds);
	EXPECT_EQ(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(ptr, page_size);
	EXPECT_EQ(hmm_write_file(ENABLE, "0"), 0);
	hmm_write_file(EVENTS, "-:hmm_probe");
	close(file);
	umount(SMALL);
	umount(TRACING);
}

#define HUGE	"/tmp/hmm-huge"

/* A huge page of a tmpfs, with code to probe in it. Returns the open file. */
static int make_huge_file(void)
{
	char *page = calloc(1, page_size);
	int file, i;

	mkdir(HUGE, 0755);
	mount("tmpfs", HUGE, "tmpfs", 0, "huge=always");
	file = open(HUGE "/probed", O_CREAT | O_RDWR, 0700);
	memcpy(page + 64, probed, sizeof(probed));
	for (i = 0; i < TWOMEG / page_size; i++)
		if (write(file, page, page_size) != page_size)
			break;
	free(page);
	return file;
}

/*
 * Probe a private mapping of the file, and stop that: then the page-table page
 * can be given back, and the huge page be mapped as one. Returns what is mapped
 * so. @fd has had a copy of a page all the time if it is a device.
 */
static long probe_huge_file(int file, char *ptr, int fd)
{
	const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
	char *mine = ptr + 5 * page_size;

	if (mmap(ptr, TWOMEG, all, MAP_PRIVATE | MAP_FIXED, file, 0) != ptr)
		return -1;
	if (fd >= 0 && hmm_atomic_add(fd, mine, 1, 1))
		return -1;
	mprotect(ptr, TWOMEG, PROT_READ | PROT_EXEC);
	if (hmm_write_file(EVENTS, "p:hmm_probe " HUGE "/probed:64") ||
	    hmm_write_file(ENABLE, "1"))
		return -1;
	mprotect(ptr, TWOMEG, all);
	if (fd >= 0 && hmm_atomic_add(fd, mine, 1, 1))
		return -1;
	hmm_write_file(ENABLE, "0");
	hmm_write_file(EVENTS, "-:hmm_probe");
	if (ptr[9 * page_size])
		return -1;
	return hmm_smaps_kb(ptr, "ShmemPmdMapped:");
}

/* A page-table page with an entry in it is not given back. */
WALKER(collapse_pte_mapped_thp)
{
	char *map = hmm_mmap(2 * TWOMEG);
	char *ptr = (char *)ALIGN((uintptr_t)map, TWOMEG);
	int file;

	ASSERT_NE(map, NULL);
	if (!have_tracing(EVENTS))
		SKIP(return, "No uprobes");
	file = make_huge_file();
	ASSERT_GE(file, 0);
	if (probe_huge_file(file, ptr, -1) != TWOMEG >> 10)
		SKIP(return, "No huge pages in tmpfs");

	EXPECT_EQ(probe_huge_file(file, ptr, self->fd), 0);
	EXPECT_TRUE(is_entry(ptr + 5 * page_size));
	EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, TWOMEG / page_size), 1);
	EXPECT_EQ(*(uint64_t *)(ptr + 5 * page_size), 2 * DEVICE_ONE);
	munmap(map, 2 * TWOMEG);
	close(file);
	umount(HUGE);
	umount(TRACING);
}

#endif /* __x86_64__ */

TEST_HARNESS_MAIN
