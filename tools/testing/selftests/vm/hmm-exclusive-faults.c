// SPDX-License-Identifier: GPL-2.0
/*
 * Device-exclusive memory under fire from outside: arguments that make no
 * sense, a lack of memory, signals, a device that is slow, an owner that goes
 * away, and everybody else who can get at the pages of a process.
 *
 * Wants root, the test device, and for some tests debugfs and cgroup2. The
 * module is unloaded and loaded again if HMM_MODULE says where its file is.
 */
#include "../kselftest_harness.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/kernel-page-flags.h>

#include "hmm_exclusive.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_HWPOISON
#define MADV_HWPOISON		100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open		434
#endif
#ifndef __NR_pidfd_getfd
#define __NR_pidfd_getfd	438
#endif

#define HOLD_MS		"/sys/module/test_hmm/parameters/hold_ms"
#define FAILSLAB	"/sys/kernel/debug/failslab/"
#define FAIL_PAGE	"/sys/kernel/debug/fail_page_alloc/"
#define HWPOISON	"/sys/kernel/debug/hwpoison/"
#define EARLY_KILL	"/proc/sys/vm/memory_failure_early_kill"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"

/* What takes long on a slow machine: nothing here is meant to be fast. */
#define TEST_FAULTS(name)	TEST_F_TIMEOUT(faults, name, 900)

/* What pagemap says, besides linux/kernel-page-flags.h for kpageflags */
#define PM_SOFT_DIRTY		55
#define PM_PRESENT		63

static unsigned long page_size;

/* As in its stat file: D for a sleep that is not interrupted; 0: no such thread */
static char thread_state(pid_t tid)
{
	char path[64], line[256] = "", *after;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		line[0] = '\0';
	close(fd);
	after = strrchr(line, ')');
	return after ? after[2] : 0;
}

static int write_number(const char *path, unsigned long number)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%lx", number);
	return hmm_write_file(path, text);
}

static int hold_pages(unsigned int ms)
{
	return write_number(HOLD_MS, ms);
}

static int open_mirror(int unit)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/hmm_dmirror%d", unit);
	return open(path, O_RDWR);
}

static bool has(uint64_t flags, int flag)
{
	return flags >> flag & 1;
}

/* Entries of a file that has one for each page; 0 where there is nothing to read */
static void read_entries(const char *path, unsigned long first, unsigned long n,
			 uint64_t *entry)
{
	const size_t size = n * sizeof(*entry);
	int fd = open(path, O_RDONLY);

	if (pread(fd, entry, size, first * sizeof(*entry)) != (ssize_t)size)
		memset(entry, 0, size);
	close(fd);
}

static uint64_t pagemap_entry(const void *ptr)
{
	uint64_t entry;

	read_entries("/proc/self/pagemap", (uintptr_t)ptr / page_size, 1,
		     &entry);
	return entry;
}

/* Of pages that are mapped, to root. Returns whether all are. */
static bool pfns_of(const void *ptr, unsigned long npages, uint64_t *pfns)
{
	bool present = true;
	unsigned long i;

	read_entries("/proc/self/pagemap", (uintptr_t)ptr / page_size, npages,
		     pfns);
	for (i = 0; i < npages; i++) {
		present &= has(pfns[i], PM_PRESENT);
		pfns[i] = pfns[i] << 9 >> 9;
	}
	return present;
}

static uint64_t pfn_of(const void *ptr)
{
	uint64_t pfn;

	return pfns_of(ptr, 1, &pfn) ? pfn : 0;
}

static uint64_t page_flags(uint64_t pfn)
{
	uint64_t flags;

	read_entries("/proc/kpageflags", pfn, 1, &flags);
	return flags;
}

static void wait_until_locked(uint64_t pfn)
{
	while (!has(page_flags(pfn), KPF_LOCKED))
		usleep(1000);
}

/*
 * The number of pages, of those that nobody should have any more, which somebody
 * has locked or which are still there without being mapped. Others can have
 * got them meanwhile, which looks the same for a moment.
 */
static unsigned long pages_left(const uint64_t *pfns, unsigned long npages)
{
	int tries, fd = open("/proc/kpageflags", O_RDONLY);
	unsigned long i, left = 0;

	for (tries = 0; tries < 20; tries++) {
		/* Drains the lists on which pages wait to get on an LRU list. */
		if (hmm_write_file("/proc/sys/vm/compact_memory", "1"))
			return -1;
		for (i = left = 0; i < npages; i++) {
			uint64_t flags = ~0ULL;

			pread(fd, &flags, sizeof(flags),
			      pfns[i] * sizeof(flags));
			left += has(flags, KPF_LOCKED) ||
				(has(flags, KPF_ANON) && !has(flags, KPF_MMAP));
		}
		if (!left)
			break;
		usleep(100000);
	}
	close(fd);
	return left;
}

/*
 * The number of pages that the device can read or write, or so it is told, by
 * the entries that its page table has.
 */
static unsigned long device_reaches(int fd, char *ptr, unsigned long npages,
				    unsigned long request)
{
	struct hmm_dmirror_cmd cmd;
	unsigned long i, n = 0;
	char buf[page_size];

	memset(buf, 0xee, sizeof(buf));
	for (i = 0; i < npages; i++)
		if (!hmm_range_cmd(fd, request, ptr + i * page_size, 1, buf,
				   &cmd) && !cmd.faults)
			n++;
	return n;
}

static int device_reads(int fd, void *ptr, void *buf)
{
	struct hmm_dmirror_cmd cmd;

	return hmm_range_cmd(fd, HMM_DMIRROR_READ, ptr, 1, buf, &cmd);
}

static uint64_t *counter(void *ptr, unsigned long page)
{
	return ptr + page * page_size;
}

static unsigned long count_sums(void *ptr, unsigned long npages, uint64_t sum)
{
	unsigned long i, n = 0;

	for (i = 0; i < npages; i++)
		n += *counter(ptr, i) == sum;
	return n;
}

/* A thread that does one thing: what it has asked for, and what came of it */
struct job {
	pthread_t	thread;
	pid_t		tid;
	int		fd;
	void		*ptr;
	unsigned long	npages;
	unsigned long	request;
	void		*arg;
	struct hmm_dmirror_cmd cmd;
	uint64_t	count;
	bool		stop;
	int		ret;
};

static void *do_request(void *arg)
{
	struct job *job = arg;

	__atomic_store_n(&job->tid, syscall(__NR_gettid), __ATOMIC_RELEASE);
	job->ret = hmm_range_cmd(job->fd, job->request, job->ptr, job->npages,
				 job->arg, &job->cmd);
	return NULL;
}

static void *do_touch(void *arg)
{
	struct job *job = arg;

	__atomic_store_n(&job->tid, syscall(__NR_gettid), __ATOMIC_RELEASE);
	job->count = __atomic_load_n((uint64_t *)job->ptr, __ATOMIC_RELAXED);
	return NULL;
}

/* Add until told to stop: as the CPU does, as the device does. */
static void *do_cpu_adds(void *arg)
{
	struct job *job = arg;
	unsigned long i;

	while (!__atomic_load_n(&job->stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < job->npages; i++)
			__atomic_fetch_add(counter(job->ptr, i), 1,
					   __ATOMIC_RELAXED);
		job->count++;
		sched_yield();
	}
	return NULL;
}

static void *do_device_adds(void *arg)
{
	struct job *job = arg;

	while (!job->ret && !__atomic_load_n(&job->stop, __ATOMIC_RELAXED)) {
		job->ret = hmm_atomic_add(job->fd, job->ptr, job->npages, 1);
		if (!job->ret)
			job->count++;
	}
	return NULL;
}

static int start_job(struct job *job, void *(*func)(void *))
{
	job->tid = 0;
	return pthread_create(&job->thread, NULL, func, job);
}

static int end_job(struct job *job)
{
	__atomic_store_n(&job->stop, true, __ATOMIC_RELAXED);
	pthread_join(job->thread, NULL);
	return job->ret;
}

/*
 * Until it sleeps for something that has to happen in the kernel. Returns whether
 * it does, rather than having ended.
 */
static bool wait_until_blocked(struct job *job)
{
	char state = 0;
	pid_t tid;

	while (!(tid = __atomic_load_n(&job->tid, __ATOMIC_ACQUIRE)))
		usleep(1000);
	do {
		usleep(1000);
		state = thread_state(tid);
	} while (state && state != 'D');
	return state;
}

/* One of each device */
static bool open_mirrors(int *fd, int *other)
{
	page_size = sysconf(_SC_PAGE_SIZE);
	*fd = open_mirror(0);
	*other = open_mirror(1);
	return *fd >= 0 && *other >= 0 && !hold_pages(0);
}

FIXTURE(faults)
{
	int	fd;
	int	other;
};

FIXTURE_SETUP(faults)
{
	ASSERT_TRUE(open_mirrors(&self->fd, &self->other));
}

FIXTURE_TEARDOWN(faults)
{
	close(self->fd);
	close(self->other);
	hold_pages(0);
}

/*
 * Hostile arguments
 */

static int device_adds(int fd, void *ptr, unsigned long npages,
		       struct hmm_dmirror_atomic_add *add)
{
	struct hmm_dmirror_cmd cmd;

	return hmm_range_cmd(fd, HMM_DMIRROR_ATOMIC_ADD, ptr, npages, add,
			     &cmd);
}

/* Addresses that no process may touch, or that have no pages to give */
TEST_FAULTS(kernel_addresses)
{
	static const unsigned long addr[] = {
		0,				/* nothing is mapped there */
		0x7ffffffff000UL,		/* the last page and beyond */
		0x800000000000UL,		/* not canonical */
		0xffff888000000000UL,		/* the kernel's memory */
		0xffffffff81000000UL,		/* its code */
		0xffffffffff600000UL,		/* vsyscall */
	};
	unsigned int i;

	for (i = 0; i < sizeof(addr) / sizeof(*addr); i++) {
		struct hmm_dmirror_atomic_add add = { .value = 1, .count = 1 };
		void *ptr = (void *)addr[i];
		char buf[page_size];

		EXPECT_EQ(hmm_make_exclusive(self->fd, ptr, 1), -EFAULT);
		EXPECT_EQ(device_adds(self->fd, ptr, 1, &add), -EFAULT);
		EXPECT_EQ(add.done, 0);
		EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 0);
		EXPECT_LT(device_reads(self->fd, ptr, buf), 0);
	}
}

/* Ranges that are not, and additions that do not fit a page */
TEST_FAULTS(bad_arguments)
{
	static const unsigned long npages[] = { 0, ~0UL, 1UL << 52, 1UL << 63 };
	static const unsigned long request[] = {
		HMM_DMIRROR_EXCLUSIVE, HMM_DMIRROR_CHECK_EXCLUSIVE,
		HMM_DMIRROR_ATOMIC_ADD, HMM_DMIRROR_READ, HMM_DMIRROR_WRITE,
		HMM_DMIRROR_MIGRATE, HMM_DMIRROR_SNAPSHOT,
	};
	static const struct hmm_dmirror_atomic_add bad[] = {
		{ .count = 1, .offset = 1 },
		{ .count = 1, .offset = 4096 - 4 },
		{ .count = 1, .offset = -8 },
		{ .count = 1, .delay = HMM_DMIRROR_MAX_DELAY + 1 },
	};
	struct hmm_dmirror_atomic_add add = { .count = 1 };
	struct hmm_dmirror_cmd cmd;
	void *ptr = hmm_mmap(page_size);
	unsigned int i, j;

	ASSERT_NE(ptr, NULL);
	for (i = 0; i < sizeof(request) / sizeof(*request); i++) {
		EXPECT_EQ(hmm_range_cmd(self->fd, request[i], ptr + 8, 1, &add,
					&cmd), -EINVAL);
		for (j = 0; j < sizeof(npages) / sizeof(*npages); j++)
			EXPECT_EQ(hmm_range_cmd(self->fd, request[i], ptr,
						npages[j], &add, &cmd),
				  -EINVAL);
		EXPECT_EQ(ioctl(self->fd, request[i], NULL), -1);
		EXPECT_EQ(errno, EFAULT);
	}
	EXPECT_EQ(hmm_range_cmd(self->fd, HMM_DMIRROR_ATOMIC_ADD + 1, ptr, 1,
				&add, &cmd), -EINVAL);

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		add = bad[i];
		EXPECT_EQ(device_adds(self->fd, ptr, 1, &add), -EINVAL);
	}
	EXPECT_EQ(device_adds(self->fd, ptr, 1, NULL), -EFAULT);
	EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 0);
	EXPECT_TRUE(hmm_zero(ptr, page_size));
	munmap(ptr, page_size);
}

/* A range that is as long as can be: what is there is had, then it is an error. */
TEST_FAULTS(huge_range)
{
	struct hmm_dmirror_cmd cmd;
	char *ptr = hmm_mmap(9 * page_size);

	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(munmap(ptr + 8 * page_size, page_size), 0);
	EXPECT_EQ(hmm_range_cmd(self->fd, HMM_DMIRROR_EXCLUSIVE, ptr,
				(~0UL - (uintptr_t)ptr) / page_size, NULL,
				&cmd), -EFAULT);
	EXPECT_EQ(cmd.cpages, 8);
	EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, 8), 8);
	memset(ptr, 1, 8 * page_size);
	EXPECT_EQ(hmm_count_exclusive(self->fd, ptr, 8), 0);
	munmap(ptr, 8 * page_size);
}

/* The arguments themselves, and where results go, are in exclusive memory. */
TEST_FAULTS(arguments_in_exclusive_memory)
{
	char *ptr = hmm_mmap(4 * page_size);
	struct hmm_dmirror_cmd *cmd = (void *)ptr;
	struct hmm_dmirror_atomic_add *add = (void *)(ptr + page_size);

	ASSERT_NE(ptr, NULL);
	cmd->addr = (uintptr_t)ptr;
	cmd->ptr = (uintptr_t)add;
	cmd->npages = 4;
	add->value = 7;
	add->count = 1;
	add->offset = page_size / 2;
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, 4), 0);
	ASSERT_EQ(ioctl(self->fd, HMM_DMIRROR_ATOMIC_ADD, cmd), 0);
	ASSERT_EQ(cmd->cpages, 4);
	ASSERT_EQ(add->done, 4);
	ASSERT_EQ(*counter(ptr + page_size / 2, 0), 7);
	ASSERT_EQ(*counter(ptr + page_size / 2, 3), 7);

	/* What the device reads goes back to where it was read from. */
	cmd->ptr = (uintptr_t)ptr + page_size;
	cmd->addr = cmd->ptr;
	cmd->npages = 1;
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, 4), 0);
	ASSERT_EQ(ioctl(self->fd, HMM_DMIRROR_READ, cmd), 0);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 4), 2);
	ASSERT_EQ(add->value, 7);
	munmap(ptr, 4 * page_size);
}

/* Exclusive is what was made so, also if the result cannot be delivered. */
TEST_FAULTS(result_to_nowhere)
{
	struct hmm_dmirror_cmd cmd;
	void *ptr = hmm_mmap(2 * page_size);

	ASSERT_NE(ptr, NULL);
	hmm_fill(ptr, page_size);
	ASSERT_EQ(mprotect(ptr + page_size, page_size, PROT_READ), 0);
	ASSERT_EQ(hmm_range_cmd(self->fd, HMM_DMIRROR_EXCLUSIVE, ptr, 1,
				ptr + page_size, &cmd), -EFAULT);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 1);
	ASSERT_TRUE(hmm_filled(ptr, page_size));
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 0);
	munmap(ptr, 2 * page_size);
}

static int exit_status(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* With an inherited file a child reaches its parent's memory, never its own. */
TEST_FAULTS(inherited_file_is_for_the_owner)
{
	const unsigned long npages = 8;
	void *ptr = hmm_mmap(npages * page_size);
	pid_t pid;

	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		void *mine = hmm_mmap(page_size);

		if (hmm_make_exclusive(self->fd, mine, 1) != -EFAULT)
			_exit(1);
		if (hmm_atomic_add(self->fd, ptr, npages, 1))
			_exit(2);
		if (count_sums(ptr, npages, DEVICE_ONE) != npages)
			_exit(3);
		if (hmm_count_exclusive(self->fd, ptr, npages) != npages)
			_exit(4);
		_exit(0);
	}
	ASSERT_EQ(exit_status(pid), 0);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages), npages);
	ASSERT_EQ(count_sums(ptr, npages, 2 * DEVICE_ONE), npages);
	munmap(ptr, npages * page_size);
}

/*
 * What the device can reach
 */

TEST_FAULTS(nothing_left_after_munmap)
{
	const unsigned long npages = 100;
	char *ptr = hmm_mmap(npages * page_size);
	uint64_t pfns[npages];
	char buf[page_size];

	ASSERT_NE(ptr, NULL);
	hmm_fill(ptr, npages * page_size);
	ASSERT_TRUE(pfns_of(ptr, npages, pfns));
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, npages), 0);
	ASSERT_EQ(device_reaches(self->fd, ptr, npages, HMM_DMIRROR_WRITE),
		  npages);
	ASSERT_EQ(munmap(ptr, npages * page_size), 0);

	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);
	ASSERT_EQ(device_reaches(self->fd, ptr, npages, HMM_DMIRROR_READ), 0);
	ASSERT_EQ(device_reads(self->fd, ptr, buf), -EFAULT);
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, 1), -EFAULT);
	ASSERT_EQ(pages_left(pfns, npages), 0);
}

TEST_FAULTS(nothing_writable_left_after_mprotect)
{
	const unsigned long npages = 100;
	char *ptr = hmm_mmap(npages * page_size);
	struct hmm_dmirror_cmd cmd;
	char buf[page_size];

	ASSERT_NE(ptr, NULL);
	hmm_fill(ptr, npages * page_size);
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, npages), 0);
	ASSERT_EQ(device_reaches(self->fd, ptr, npages, HMM_DMIRROR_READ),
		  npages);
	ASSERT_EQ(mprotect(ptr, npages * page_size, PROT_READ), 0);

	ASSERT_EQ(device_reaches(self->fd, ptr, npages, HMM_DMIRROR_WRITE), 0);
	ASSERT_EQ(hmm_range_cmd(self->fd, HMM_DMIRROR_WRITE, ptr, 1, buf, &cmd),
		  -EPERM);
	/* Reading is allowed, but it has to ask first. */
	ASSERT_EQ(device_reaches(self->fd, ptr, npages, HMM_DMIRROR_READ), 0);
	ASSERT_EQ(device_reaches(self->fd, ptr, npages, HMM_DMIRROR_READ),
		  npages);
	ASSERT_EQ(device_reaches(self->fd, ptr, npages, HMM_DMIRROR_WRITE), 0);
	ASSERT_TRUE(hmm_filled(ptr, npages * page_size));
	munmap(ptr, npages * page_size);
}

/*
 * Another process, whose mirror this one has as well, so that there is somebody
 * to ask the device when the process is gone.
 */
struct owner {
	pid_t		pid;
	int		mirror;
	int		go;		/* written when it may go on */
	int		said;		/* read to hear from it */
	unsigned long	npages;
	struct {
		void		*ptr;
		int		fd;
		uint64_t	pfns[];
	} *shared;
};

static void owner_says(struct owner *owner)
{
	if (write(owner->said, "", 1) != 1)
		_exit(99);
}

/* Returns whether it has said something, rather than ended. */
static bool owner_has_said(struct owner *owner)
{
	char c;

	return read(owner->said, &c, 1) == 1;
}

static void owner_waits(struct owner *owner)
{
	char c;

	if (read(owner->go, &c, 1) < 0)
		_exit(98);
}

static void owner_is_to_go(struct owner *owner)
{
	close(owner->go);
}

/* Never returns. */
static void run_owner(struct owner *owner, void (*func)(struct owner *))
{
	unsigned long size = owner->npages * page_size;
	void *ptr = hmm_mmap(size);

	owner->mirror = open_mirror(0);
	if (!ptr || owner->mirror < 0)
		_exit(97);
	hmm_fill(ptr, size);
	if (!pfns_of(ptr, owner->npages, owner->shared->pfns))
		_exit(96);
	owner->shared->ptr = ptr;
	owner->shared->fd = owner->mirror;
	func(owner);
	_exit(0);
}

/* Started, and has said that it is where it is wanted */
static bool start_owner(struct owner *owner, unsigned long npages,
			void (*func)(struct owner *))
{
	size_t size = sizeof(*owner->shared) +
		      npages * sizeof(*owner->shared->pfns);
	int go[2], said[2], pidfd;

	owner->npages = npages;
	owner->shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (owner->shared == MAP_FAILED || pipe2(go, O_CLOEXEC) ||
	    pipe2(said, O_CLOEXEC))
		return false;
	owner->pid = fork();
	if (owner->pid < 0)
		return false;
	owner->go = owner->pid ? go[1] : go[0];
	owner->said = owner->pid ? said[0] : said[1];
	close(owner->pid ? go[0] : go[1]);
	close(owner->pid ? said[1] : said[0]);
	if (!owner->pid)
		run_owner(owner, func);

	if (!owner_has_said(owner))
		return false;
	pidfd = syscall(__NR_pidfd_open, owner->pid, 0);
	owner->mirror = syscall(__NR_pidfd_getfd, pidfd, owner->shared->fd, 0);
	close(pidfd);
	return owner->mirror >= 0;
}

static void forget_owner(struct owner *owner)
{
	close(owner->mirror);
	close(owner->said);
	munmap(owner->shared, sizeof(*owner->shared) +
	       owner->npages * sizeof(*owner->shared->pfns));
}

static void make_then_exec(struct owner *owner)
{
	if (hmm_make_exclusive(owner->mirror, owner->shared->ptr,
			       owner->npages))
		_exit(1);
	owner_says(owner);
	owner_waits(owner);
	execlp("sleep", "sleep", "1000", NULL);
}

static void make_then_exit(struct owner *owner)
{
	if (hmm_make_exclusive(owner->mirror, owner->shared->ptr,
			       owner->npages))
		_exit(1);
	owner_says(owner);
	owner_waits(owner);
}

/* Is there nothing that the device could do with the memory of this owner? */
static int out_of_reach(struct owner *owner)
{
	/* To ask for each page takes a while. */
	unsigned long npages = owner->npages < 100 ? owner->npages : 100;
	char *ptr = owner->shared->ptr;
	char buf[page_size];

	if (hmm_count_exclusive(owner->mirror, ptr, owner->npages))
		return 1;
	if (device_reaches(owner->mirror, ptr, npages, HMM_DMIRROR_READ))
		return 2;
	if (device_reads(owner->mirror, ptr, buf) != -ESRCH)
		return 3;
	if (hmm_make_exclusive(owner->mirror, ptr, 1) != -ESRCH)
		return 4;
	if (hmm_atomic_add(owner->mirror, ptr, 1, 1) != -ESRCH)
		return 5;
	if (pages_left(owner->shared->pfns, owner->npages))
		return 6;
	return 0;
}

TEST_FAULTS(nothing_left_after_exec)
{
	struct owner owner;

	ASSERT_TRUE(start_owner(&owner, 100, make_then_exec));
	ASSERT_EQ(device_reaches(owner.mirror, owner.shared->ptr, 100,
				 HMM_DMIRROR_READ), 100);
	owner_is_to_go(&owner);
	/* Its end of the pipe is closed by exec. */
	ASSERT_FALSE(owner_has_said(&owner));
	ASSERT_EQ(waitpid(owner.pid, NULL, WNOHANG), 0);
	ASSERT_EQ(out_of_reach(&owner), 0);
	ASSERT_EQ(kill(owner.pid, SIGKILL), 0);
	ASSERT_EQ(exit_status(owner.pid), -SIGKILL);
	forget_owner(&owner);
}

TEST_FAULTS(nothing_left_after_exit)
{
	struct owner owner;

	ASSERT_TRUE(start_owner(&owner, 100, make_then_exit));
	ASSERT_EQ(device_reaches(owner.mirror, owner.shared->ptr, 100,
				 HMM_DMIRROR_WRITE), 100);
	owner_is_to_go(&owner);
	ASSERT_EQ(exit_status(owner.pid), 0);
	ASSERT_EQ(out_of_reach(&owner), 0);
	forget_owner(&owner);
}

/*
 * Signals, and processes that end
 */

static void make_for_ever(struct owner *owner)
{
	owner_says(owner);
	for (;;)
		if (hmm_make_exclusive(owner->mirror, owner->shared->ptr,
				       owner->npages))
			_exit(1);
}

TEST_FAULTS(kill_in_a_large_make)
{
	struct owner owner;
	int i;

	/* Of 64 pages at a time, each for some time */
	ASSERT_EQ(hold_pages(5), 0);
	for (i = 0; i < 8; i++) {
		ASSERT_TRUE(start_owner(&owner, 4096, make_for_ever));
		usleep(i * 30000);
		ASSERT_EQ(kill(owner.pid, SIGKILL), 0);
		ASSERT_EQ(exit_status(owner.pid), -SIGKILL);
		ASSERT_EQ(out_of_reach(&owner), 0);
		forget_owner(&owner);
	}
}

/* A signal that is handled does not end what has been begun. */
static void on_signal(int sig)
{
}

TEST_FAULTS(signal_in_a_large_make)
{
	const unsigned long npages = 1024;
	struct sigaction action = { .sa_handler = on_signal };
	struct job job = {
		.fd = self->fd, .ptr = hmm_mmap(npages * page_size),
		.npages = npages, .request = HMM_DMIRROR_EXCLUSIVE,
	};
	int i;

	ASSERT_NE(job.ptr, NULL);
	hmm_fill(job.ptr, npages * page_size);
	sigaction(SIGUSR1, &action, NULL);
	ASSERT_EQ(hold_pages(5), 0);
	ASSERT_EQ(start_job(&job, do_request), 0);
	for (i = 0; i < 20; i++) {
		pthread_kill(job.thread, SIGUSR1);
		usleep(2000);
	}
	ASSERT_EQ(end_job(&job), 0);
	ASSERT_EQ(job.cmd.cpages, npages);
	ASSERT_EQ(hmm_count_exclusive(self->fd, job.ptr, npages), npages);
	ASSERT_TRUE(hmm_filled(job.ptr, npages * page_size));
	munmap(job.ptr, npages * page_size);
}

/* The owner exits or is killed, with thousands of pages, as the device asks. */
TEST_FAULTS(exit_while_the_device_asks)
{
	struct owner owner;
	int i;

	for (i = 0; i < 8; i++) {
		struct job job = { .npages = 4096 };

		ASSERT_TRUE(start_owner(&owner, job.npages, make_then_exit));
		job.fd = owner.mirror;
		job.ptr = owner.shared->ptr;
		ASSERT_EQ(start_job(&job, do_device_adds), 0);
		usleep(i * 10000);
		if (i & 1)
			kill(owner.pid, SIGKILL);
		else
			owner_is_to_go(&owner);
		ASSERT_EQ(exit_status(owner.pid), i & 1 ? -SIGKILL : 0);
		/* It ends by itself, since there is nothing to ask for. */
		pthread_join(job.thread, NULL);
		ASSERT_EQ(job.ret, -ESRCH);
		ASSERT_EQ(out_of_reach(&owner), 0);
		forget_owner(&owner);
	}
}

static const char *cgroup_root(void)
{
	static char root[128];
	char line[512], type[64];
	FILE *f = fopen("/proc/mounts", "r");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %127s %63s", root, type) == 2 &&
			!strcmp(type, "cgroup2");
	if (f)
		fclose(f);
	return found ? root : NULL;
}

static char *in_cgroup(const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/hmm-exclusive%s", cgroup_root(), file);
	return path;
}

static bool make_cgroup(const char *max)
{
	char path[256];

	if (!cgroup_root())
		return false;
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control",
		 cgroup_root());
	hmm_write_file(path, "+memory");
	mkdir(in_cgroup(""), 0755);
	hmm_write_file(in_cgroup("/memory.swap.max"), "0");
	return !hmm_write_file(in_cgroup("/memory.max"), max);
}

/* Does the kernel's log say so, from here on? */
static bool wait_for_log(int kmsg, const char *text)
{
	char record[2048];
	int tries;
	ssize_t n;

	for (tries = 0; tries < 100; tries++) {
		while ((n = read(kmsg, record, sizeof(record) - 1)) > 0 ||
		       (n < 0 && errno == EPIPE)) {
			record[n > 0 ? n : 0] = '\0';
			if (strstr(record, text))
				return true;
		}
		usleep(100000);
	}
	return false;
}

static void take_memory(void)
{
	const unsigned long size = 16 * page_size;
	void *ptr = hmm_mmap(size);

	if (!ptr)
		_exit(4);
	memset(ptr, 1, size);
}

/* How much more the control group may use */
static long memory_left(void)
{
	return hmm_read_kb(in_cgroup("/memory.max"), NULL, "") -
	       hmm_read_kb(in_cgroup("/memory.current"), NULL, "");
}

/*
 * Runs out of memory while the device has thousands of pages of it, adds to
 * them, and is about to get more: the thread that waits for that, uninterrupted,
 * is what keeps the address space there for the OOM reaper to come.
 */
static void run_out_of_memory(struct owner *owner)
{
	struct job adds = {
		.fd = owner->mirror, .ptr = owner->shared->ptr,
		.npages = owner->npages,
	};
	struct job makes = {
		.fd = open_mirror(1), .ptr = hmm_mmap(64 * page_size),
		.npages = 64, .request = HMM_DMIRROR_EXCLUSIVE,
	};

	if (hmm_make_exclusive(owner->mirror, adds.ptr, adds.npages) ||
	    !makes.ptr)
		_exit(1);
	memset(makes.ptr, 1, 64 * page_size);
	owner_says(owner);
	owner_waits(owner);
	/* Most of it before, so that the rest does not take long. */
	while (memory_left() > 1 << 20)
		take_memory();
	if (start_job(&adds, do_device_adds))
		_exit(2);
	/* The reaper leaves the victim two seconds. */
	hold_pages(10000);
	if (start_job(&makes, do_request) || !wait_until_blocked(&makes))
		_exit(3);
	for (;;)
		take_memory();
}

/*
 * Returns whether the process was not only killed but reaped, by what may not
 * sleep. It may be gone before that begins.
 */
static bool kill_by_oom(struct __test_metadata *_metadata, int kmsg)
{
	struct owner owner;
	char text[64];
	bool reaped;

	ASSERT_TRUE(start_owner(&owner, 4096, run_out_of_memory));
	snprintf(text, sizeof(text), "%d", owner.pid);
	ASSERT_EQ(hmm_write_file(in_cgroup("/cgroup.procs"), text), 0);
	lseek(kmsg, 0, SEEK_END);
	owner_is_to_go(&owner);
	ASSERT_EQ(exit_status(owner.pid), -SIGKILL);
	ASSERT_EQ(hold_pages(0), 0);

	snprintf(text, sizeof(text), "oom_reaper: reaped process %d ",
		 owner.pid);
	reaped = wait_for_log(kmsg, text);
	ASSERT_EQ(out_of_reach(&owner), 0);
	forget_owner(&owner);
	return reaped;
}

TEST_FAULTS(oom_kill_while_the_device_asks)
{
	int i, kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	ASSERT_GE(kmsg, 0);
	if (!make_cgroup("24M"))
		SKIP(return, "No memory controller in cgroup2");

	for (i = 0; i < 5; i++)
		if (kill_by_oom(_metadata, kmsg))
			break;
	EXPECT_LT(i, 5);
	rmdir(in_cgroup(""));
	close(kmsg);
}

/*
 * A slow device: pages are locked for a long time
 */

/*
 * Somebody waits for a page that a device has locked, by way of its entry, and
 * the page is unmapped and freed meanwhile. The wait must end well. Returns
 * whether there was a wait: a device on a slow machine may be done before.
 */
static bool waits_for_page_that_goes(struct __test_metadata *_metadata,
				     struct job *holder, struct job *waiter,
				     void *(*func)(void *))
{
	uint64_t pfn;
	bool blocked;
	void *ptr;

	ptr = hmm_mmap(page_size);
	ASSERT_NE(ptr, NULL);
	*(uint64_t *)ptr = 1;
	pfn = pfn_of(ptr);
	ASSERT_NE(pfn, 0);
	holder->ptr = ptr;
	waiter->ptr = ptr;

	ASSERT_EQ(hold_pages(500), 0);
	ASSERT_EQ(start_job(holder, do_request), 0);
	wait_until_locked(pfn);
	ASSERT_EQ(start_job(waiter, func), 0);
	blocked = wait_until_blocked(waiter);
	ASSERT_EQ(madvise(ptr, page_size, MADV_DONTNEED), 0);
	ASSERT_EQ(hold_pages(0), 0);
	ASSERT_EQ(end_job(holder), 0);
	/* The mirror gives up reading what does not hold still for a second. */
	ASSERT_TRUE(end_job(waiter) == 0 || waiter->ret == -EBUSY);
	ASSERT_EQ(*(uint64_t *)ptr, 0);
	ASSERT_EQ(munmap(ptr, page_size), 0);
	ASSERT_EQ(pages_left(&pfn, 1), 0);
	return blocked;
}

static void wait_for_page_that_goes(struct __test_metadata *_metadata, int fd,
				    struct job *waiter, void *(*func)(void *))
{
	struct job holder = {
		.fd = fd, .npages = 1, .request = HMM_DMIRROR_EXCLUSIVE,
	};
	int i, blocked = 0;

	waiter->npages = 1;
	for (i = 0; i < 20 && blocked < 3; i++)
		blocked += waits_for_page_that_goes(_metadata, &holder, waiter,
						    func);
	ASSERT_GT(blocked, 0);
}

/* The CPU's fault waits with a reference, and without mmap_lock. */
TEST_FAULTS(fault_waits_for_a_page_that_is_freed)
{
	struct job waiter = { .count = ~0UL };

	wait_for_page_that_goes(_metadata, self->fd, &waiter, do_touch);
	ASSERT_EQ(waiter.count, 0);
}

/* hmm_range_fault() keeps mmap_lock, and gets the page lock when it is free. */
TEST_FAULTS(hmm_fault_waits_for_a_page_that_is_freed)
{
	struct job waiter = {
		.fd = self->other, .request = HMM_DMIRROR_READ,
		.arg = malloc(page_size),
	};

	wait_for_page_that_goes(_metadata, self->fd, &waiter, do_request);
	ASSERT_TRUE(waiter.ret || hmm_zero(waiter.arg, page_size));
	free(waiter.arg);
}

/* Another driver waits in device_exclusive_make_range(). */
TEST_FAULTS(make_waits_for_a_page_that_is_freed)
{
	struct job waiter = {
		.fd = self->other, .request = HMM_DMIRROR_EXCLUSIVE,
	};

	wait_for_page_that_goes(_metadata, self->fd, &waiter, do_request);
}

/* A page that somebody has locked is waited for. It is no error. */
TEST_FAULTS(locked_page_is_no_error)
{
	const unsigned long npages = 8;
	struct job holder = {
		.fd = self->fd, .npages = npages,
		.request = HMM_DMIRROR_EXCLUSIVE,
	};
	void *thp = hmm_mmap_thp(TWOMEG);
	uint64_t pfn;
	int i;

	for (i = 0; i < 2; i++) {
		void *ptr = i ? thp : hmm_mmap(npages * page_size);
		void *part = ptr + 3 * page_size;

		if (!ptr)
			break;
		hmm_fill(ptr, npages * page_size);
		pfn = pfn_of(ptr);
		holder.ptr = ptr;
		ASSERT_EQ(hold_pages(300), 0);
		ASSERT_EQ(start_job(&holder, do_request), 0);
		wait_until_locked(pfn);
		/* Some pages out of the middle, and the CPU another one */
		ASSERT_EQ(hmm_make_exclusive(self->other, part, 3), 0);
		ASSERT_EQ(hmm_try_write(ptr + page_size - 1), 0);
		ASSERT_EQ(end_job(&holder), 0);
		ASSERT_EQ(hold_pages(0), 0);
		ASSERT_EQ(hmm_make_exclusive(self->other, part, 3), 0);
		ASSERT_EQ(hmm_count_exclusive(self->other, part, 3), 3);
	}
}

/*
 * The mm changes between device_exclusive_make_range() and the update of the
 * device's page table: the driver has to see that, and go round again.
 */
TEST_FAULTS(mprotect_between_make_and_map)
{
	struct job job = {
		.fd = self->fd, .npages = 4, .request = HMM_DMIRROR_EXCLUSIVE,
	};
	int i;

	/* On a machine that is very slow the device may be done by then. */
	for (i = 0; i < 20; i++) {
		uint64_t pfn;

		job.ptr = hmm_mmap(4 * page_size);
		ASSERT_NE(job.ptr, NULL);
		hmm_fill(job.ptr, 4 * page_size);
		pfn = pfn_of(job.ptr);
		ASSERT_EQ(hold_pages(500), 0);
		ASSERT_EQ(start_job(&job, do_request), 0);
		wait_until_locked(pfn);
		ASSERT_EQ(mprotect(job.ptr, 4 * page_size, PROT_READ), 0);
		ASSERT_EQ(hold_pages(0), 0);
		end_job(&job);
		ASSERT_EQ(hmm_count_exclusive(self->fd, job.ptr, 4), 0);
		ASSERT_EQ(device_reaches(self->fd, job.ptr, 4,
					 HMM_DMIRROR_WRITE), 0);
		ASSERT_TRUE(hmm_filled(job.ptr, 4 * page_size));
		munmap(job.ptr, 4 * page_size);
		if (job.ret)
			break;
	}
	ASSERT_EQ(job.ret, -EFAULT);
	ASSERT_EQ(job.cmd.cpages, 0);
	ASSERT_GE(job.cmd.faults, 2);
}

/* In the child: what it has is its own, and only it changes that. */
static int has_its_own_copy(void *ptr, unsigned long npages)
{
	uint64_t sum[npages];
	unsigned long i;

	for (i = 0; i < npages; i++)
		sum[i] = __atomic_load_n(counter(ptr, i), __ATOMIC_RELAXED);
	usleep(3000);
	for (i = 0; i < npages; i++)
		if (__atomic_fetch_add(counter(ptr, i), 1, __ATOMIC_RELAXED) !=
		    sum[i])
			return 1;
	usleep(3000);
	for (i = 0; i < npages; i++)
		if (*counter(ptr, i) != sum[i] + 1)
			return 2;
	return 0;
}

/*
 * Fork again and again while the device has the pages locked most of the time,
 * and device and CPU write. It never fails, and loses nothing.
 */
TEST_FAULTS(fork_while_pages_are_locked)
{
	const unsigned long npages = 4;
	void *ptr = hmm_mmap(npages * page_size);
	struct job device = { .fd = self->fd, .ptr = ptr, .npages = npages };
	struct job cpu = { .ptr = ptr, .npages = npages };
	int i;

	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(hold_pages(2), 0);
	ASSERT_EQ(start_job(&cpu, do_cpu_adds), 0);
	ASSERT_EQ(start_job(&device, do_device_adds), 0);
	for (i = 0; i < 50; i++) {
		pid_t pid = fork();

		ASSERT_GE(pid, 0);
		if (!pid)
			_exit(has_its_own_copy(ptr, npages));
		ASSERT_EQ(exit_status(pid), 0);
	}
	ASSERT_EQ(end_job(&device), 0);
	ASSERT_EQ(end_job(&cpu), 0);
	ASSERT_GT(device.count, 0);
	ASSERT_EQ(count_sums(ptr, npages, device.count * DEVICE_ONE +
			     cpu.count), npages);
	munmap(ptr, npages * page_size);
}

/*
 * Others who get at the pages
 */

/* From the debugfs file of mm/gup_benchmark.c, which has no header for this */
struct gup_benchmark {
	__u64 get_delta_usec;
	__u64 put_delta_usec;
	__u64 addr;
	__u64 size;
	__u32 nr_pages_per_call;
	__u32 flags;
	__u64 expansion[10];
};

static int get_user_pages(int kind, void *ptr, unsigned long npages, bool write)
{
	struct gup_benchmark gup = {
		.addr = (uintptr_t)ptr,
		.size = npages * page_size,
		.nr_pages_per_call = npages,
		.flags = write,
	};
	int fd = open("/sys/kernel/debug/gup_benchmark", O_RDWR);
	int ret;

	ret = ioctl(fd, _IOWR('g', kind, struct gup_benchmark), &gup) ?
	      -errno : 0;
	close(fd);
	return ret ?: gup.size == npages * page_size ? 0 : -ENODATA;
}

/* get_user_pages_fast, get_user_pages, and their pin_ and FOLL_LONGTERM kind */
TEST_FAULTS(get_user_pages)
{
	const unsigned long npages = 16;
	void *ptr = hmm_mmap(npages * page_size);
	int kind, write, n = 0;

	ASSERT_NE(ptr, NULL);
	if (access("/sys/kernel/debug/gup_benchmark", R_OK))
		SKIP(return, "No gup_benchmark");
	for (kind = 1; kind <= 5; kind++) {
		for (write = 0; write < 2; write++) {
			ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
			ASSERT_EQ(get_user_pages(kind, ptr, npages, write), 0);
			ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages),
				  0);
			n++;
		}
	}
	ASSERT_EQ(count_sums(ptr, npages, n * DEVICE_ONE), npages);
	munmap(ptr, npages * page_size);
}

TEST_FAULTS(process_vm_readv_and_writev)
{
	const unsigned long npages = 4;
	void *ptr = hmm_mmap(npages * page_size);
	void *buf = malloc(npages * page_size);
	struct iovec local = { buf, npages * page_size };
	struct iovec remote = { ptr, npages * page_size };

	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 3), 0);
	ASSERT_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0),
		  local.iov_len);
	ASSERT_EQ(count_sums(buf, npages, 3 * DEVICE_ONE), npages);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);

	hmm_fill(buf, local.iov_len);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 3), 0);
	ASSERT_EQ(process_vm_writev(getpid(), &local, 1, &remote, 1, 0),
		  local.iov_len);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);
	ASSERT_TRUE(hmm_filled(ptr, local.iov_len));
	free(buf);
	munmap(ptr, npages * page_size);
}

/*
 * Who holds a page by reference is no obstacle, and sees what it holds; it is not
 * promised when.
 */
TEST_FAULTS(vmsplice)
{
	const unsigned long npages = 4;
	void *ptr = hmm_mmap(npages * page_size);
	void *buf = malloc(npages * page_size);
	struct iovec iov = { ptr, npages * page_size };
	uint64_t pfns[npages];
	int fd[2];

	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(pipe(fd), 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
	ASSERT_EQ(vmsplice(fd[1], &iov, 1, 0), iov.iov_len);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);

	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
	ASSERT_EQ(count_sums(ptr, npages, 2 * DEVICE_ONE), npages);
	ASSERT_TRUE(pfns_of(ptr, npages, pfns));
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, npages), 0);
	ASSERT_EQ(munmap(ptr, iov.iov_len), 0);
	ASSERT_EQ(read(fd[0], buf, iov.iov_len), iov.iov_len);
	ASSERT_EQ(count_sums(buf, npages, 2 * DEVICE_ONE), npages);
	ASSERT_EQ(pages_left(pfns, npages), 0);
	close(fd[0]);
	close(fd[1]);
	free(buf);
}

static void stop_and_look(struct owner *owner)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	owner_says(owner);
	raise(SIGSTOP);
	_exit(count_sums(owner->shared->ptr, 1, DEVICE_ONE + 5) == 1 ? 0 : 1);
}

TEST_FAULTS(ptrace_peek_and_poke)
{
	struct owner owner;
	int status;
	void *ptr;

	ASSERT_TRUE(start_owner(&owner, 1, stop_and_look));
	ptr = owner.shared->ptr;
	ASSERT_EQ(waitpid(owner.pid, &status, 0), owner.pid);
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(ptrace(PTRACE_POKEDATA, owner.pid, ptr, 0), 0);
	ASSERT_EQ(hmm_atomic_add(owner.mirror, ptr, 1, 1), 0);
	ASSERT_EQ(ptrace(PTRACE_PEEKDATA, owner.pid, ptr, NULL), DEVICE_ONE);
	ASSERT_EQ(hmm_count_exclusive(owner.mirror, ptr, 1), 0);

	ASSERT_EQ(hmm_make_exclusive(owner.mirror, ptr, 1), 0);
	ASSERT_EQ(ptrace(PTRACE_POKEDATA, owner.pid, ptr, DEVICE_ONE + 5), 0);
	ASSERT_EQ(hmm_count_exclusive(owner.mirror, ptr, 1), 0);
	ASSERT_EQ(hmm_make_exclusive(owner.mirror, ptr, 1), 0);
	ASSERT_EQ(ptrace(PTRACE_DETACH, owner.pid, NULL, NULL), 0);
	ASSERT_EQ(exit_status(owner.pid), 0);
	forget_owner(&owner);
}

/* /proc/self/mem writes what is read-only too, by breaking COW if it has to. */
TEST_FAULTS(proc_mem)
{
	static const int prot[] = { PROT_READ | PROT_WRITE, PROT_READ };
	int mem = open("/proc/self/mem", O_RDWR);
	unsigned int i;

	ASSERT_GE(mem, 0);
	for (i = 0; i < 2; i++) {
		uint64_t val = 0, *ptr = hmm_mmap(page_size);
		off_t pos = (uintptr_t)ptr;

		ASSERT_NE(ptr, NULL);
		ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 1, 4), 0);
		ASSERT_EQ(mprotect(ptr, page_size, prot[i]), 0);
		ASSERT_EQ(pread(mem, &val, sizeof(val), pos), sizeof(val));
		ASSERT_EQ(val, 4 * DEVICE_ONE);
		ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 0);

		ASSERT_EQ(mprotect(ptr, page_size, PROT_READ | PROT_WRITE), 0);
		ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, 1), 0);
		ASSERT_EQ(mprotect(ptr, page_size, prot[i]), 0);
		val = 5 * DEVICE_ONE;
		ASSERT_EQ(pwrite(mem, &val, sizeof(val), pos), sizeof(val));
		ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 0);
		ASSERT_EQ(*ptr, val);
		ASSERT_EQ(hmm_try_write(ptr + 1), i ? -EFAULT : 0);
		munmap(ptr, page_size);
	}
	close(mem);
}

/*
 * FOLL_FORCE on a private mapping of a file writes a copy. The page cache keeps
 * what it had, whatever the device had of that mapping before.
 */
TEST_FAULTS(proc_mem_of_a_file)
{
	int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	int mem = open("/proc/self/mem", O_RDWR);
	uint64_t *ptr, val = 0;

	ASSERT_GE(mem, 0);
	ASSERT_GE(file, 0);
	ASSERT_EQ(ftruncate(file, page_size), 0);
	ptr = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file,
		   0);
	ASSERT_NE(ptr, MAP_FAILED);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 1, 1), 0);
	ASSERT_EQ(mprotect(ptr, page_size, PROT_READ), 0);
	val = 3;
	ASSERT_EQ(pwrite(mem, &val, sizeof(val), (uintptr_t)ptr), sizeof(val));
	ASSERT_EQ(*ptr, 3);
	ASSERT_EQ(pread(file, &val, sizeof(val), 0), sizeof(val));
	ASSERT_EQ(val, 0);
	munmap(ptr, page_size);
	close(file);
	close(mem);
}

/* The number of pages in a file that begin with @sum */
static unsigned long count_sums_in_file(int fd, uint64_t sum)
{
	unsigned long n = 0;
	uint64_t word;
	off_t pos;

	for (pos = 0; pread(fd, &word, sizeof(word), pos) == sizeof(word);
	     pos += page_size)
		n += word == sum;
	return n;
}

static void add_and_abort(struct owner *owner)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	void *ptr = owner->shared->ptr;
	unsigned long i;

	for (i = 0; i < owner->npages; i++)
		*counter(ptr, i) = getpid();
	if (setrlimit(RLIMIT_CORE, &unlimited) ||
	    hmm_atomic_add(owner->mirror, ptr, owner->npages, 9))
		_exit(1);
	owner_says(owner);
	owner_waits(owner);
	abort();
}

/* A core dump has what the device wrote, and takes the pages from nobody. */
TEST_FAULTS(core_dump)
{
	const unsigned long npages = 16;
	char pattern[256] = "";
	struct owner owner;
	int fd;

	fd = open(CORE_PATTERN, O_RDONLY);
	if (fd < 0 || read(fd, pattern, sizeof(pattern) - 1) < 0)
		SKIP(return, "No core dumps");
	close(fd);
	ASSERT_EQ(hmm_write_file(CORE_PATTERN, "/tmp/hmm-exclusive-core"), 0);
	hmm_write_file("/proc/sys/kernel/core_uses_pid", "0");
	ASSERT_TRUE(start_owner(&owner, npages, add_and_abort));
	owner_is_to_go(&owner);
	ASSERT_EQ(exit_status(owner.pid), -SIGABRT);
	ASSERT_EQ(hmm_write_file(CORE_PATTERN, pattern), 0);

	fd = open("/tmp/hmm-exclusive-core", O_RDONLY);
	ASSERT_GE(fd, 0);
	unlink("/tmp/hmm-exclusive-core");
	ASSERT_EQ(count_sums_in_file(fd, owner.pid + 9 * DEVICE_ONE), npages);
	ASSERT_EQ(out_of_reach(&owner), 0);
	forget_owner(&owner);
	close(fd);
}

static unsigned long count_device_private(int fd, void *ptr,
					  unsigned long npages)
{
	struct hmm_dmirror_cmd cmd;
	unsigned char prot[npages];
	unsigned long i, n = 0;

	if (hmm_range_cmd(fd, HMM_DMIRROR_SNAPSHOT, ptr, npages, prot, &cmd))
		return -1;
	for (i = 0; i < npages; i++)
		n += !!(prot[i] & HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL);
	return n;
}

/* To the memory of the device that has the pages, or of another, and back */
TEST_FAULTS(device_memory_and_back)
{
	const unsigned long npages = 16;
	void *ptr = hmm_mmap(npages * page_size);
	void *buf = malloc(npages * page_size);
	struct hmm_dmirror_cmd cmd;
	int i;

	ASSERT_NE(ptr, NULL);
	for (i = 0; i < 4; i++) {
		int to = i & 1 ? self->other : self->fd;

		ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
		ASSERT_EQ(hmm_range_cmd(to, HMM_DMIRROR_MIGRATE, ptr, npages,
					buf, &cmd), 0);
		ASSERT_EQ(count_sums(buf, npages, (i + 1) * DEVICE_ONE),
			  npages);
		ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);
		ASSERT_EQ(count_device_private(to, ptr, npages), npages);
		/* By the CPU's fault; otherwise by the next addition */
		if (i & 2)
			ASSERT_EQ(count_sums(ptr, npages, (i + 1) * DEVICE_ONE),
				  npages);
	}
	ASSERT_EQ(count_sums(ptr, npages, 4 * DEVICE_ONE), npages);
	munmap(ptr, npages * page_size);
	free(buf);
}

/*
 * Memory that goes bad
 */

/* How the owner has been told, in its shared memory */
static struct owner *told;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	told->shared->pfns[1] = info->si_code;
	told->shared->pfns[2] = (uintptr_t)info->si_addr;
	_exit(50);
}

static void make_and_be_told(struct owner *owner)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO,
	};

	told = owner;
	sigaction(SIGBUS, &action, NULL);
	if (hmm_make_exclusive(owner->mirror, owner->shared->ptr,
			       owner->npages))
		_exit(1);
}

static void lose_memory(struct owner *owner)
{
	make_and_be_told(owner);
	owner_says(owner);
	owner_waits(owner);
	_exit(__atomic_load_n((char *)owner->shared->ptr, __ATOMIC_RELAXED));
}

static void lose_memory_early(struct owner *owner)
{
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	lose_memory(owner);
}

/* Whoever has the page is told at once, or when it touches the page. */
TEST_FAULTS(hwpoison)
{
	int early;

	if (access(HWPOISON "corrupt-pfn", W_OK))
		SKIP(return, "No hwpoison-inject");
	ASSERT_EQ(hmm_write_file(EARLY_KILL, "0"), 0);
	for (early = 0; early < 2; early++) {
		struct owner owner, next;
		uint64_t pfn;
		char buf[page_size];

		/* Somebody else, who has nothing to do with it */
		ASSERT_TRUE(start_owner(&next, 4, lose_memory_early));
		ASSERT_TRUE(start_owner(&owner, 4, early ? lose_memory_early :
							   lose_memory));
		pfn = owner.shared->pfns[0];
		ASSERT_EQ(write_number(HWPOISON "corrupt-pfn", pfn), 0);
		if (!early) {
			ASSERT_EQ(hmm_count_exclusive(owner.mirror,
						      owner.shared->ptr, 4), 3);
			ASSERT_EQ(device_reads(owner.mirror, owner.shared->ptr,
					       buf), -EFAULT);
			ASSERT_EQ(hmm_make_exclusive(owner.mirror,
						     owner.shared->ptr, 1),
				  -EFAULT);
		}
		owner_is_to_go(&owner);
		ASSERT_EQ(exit_status(owner.pid), 50);
		EXPECT_EQ(owner.shared->pfns[1], early ? BUS_MCEERR_AO :
							 BUS_MCEERR_AR);
		EXPECT_EQ(owner.shared->pfns[2], (uintptr_t)owner.shared->ptr);
		owner_is_to_go(&next);
		EXPECT_EQ(exit_status(next.pid), 0);
		EXPECT_EQ(write_number(HWPOISON "unpoison-pfn", pfn), 0);
		EXPECT_EQ(pages_left(&pfn, 1), 0);
		EXPECT_EQ(pages_left(owner.shared->pfns + 3, 1), 0);
		forget_owner(&owner);
		forget_owner(&next);
	}
}

static void poison_own_memory(struct owner *owner)
{
	void *ptr = owner->shared->ptr;
	char buf[page_size];

	make_and_be_told(owner);
	if (madvise(ptr, page_size, MADV_HWPOISON))
		_exit(2);
	if (hmm_count_exclusive(owner->mirror, ptr, owner->npages) !=
	    owner->npages - 1)
		_exit(3);
	if (device_reads(owner->mirror, ptr, buf) != -EFAULT)
		_exit(4);
	owner_says(owner);
	owner_waits(owner);
	_exit(__atomic_load_n((char *)ptr, __ATOMIC_RELAXED));
}

/* By its address, which takes the page back before it is given up. */
TEST_FAULTS(madvise_hwpoison)
{
	struct owner owner;
	uint64_t pfn;

	if (access(HWPOISON "unpoison-pfn", W_OK))
		SKIP(return, "No hwpoison-inject");
	ASSERT_EQ(hmm_write_file(EARLY_KILL, "0"), 0);
	ASSERT_TRUE(start_owner(&owner, 4, poison_own_memory));
	pfn = owner.shared->pfns[0];
	owner_is_to_go(&owner);
	ASSERT_EQ(exit_status(owner.pid), 50);
	EXPECT_EQ(owner.shared->pfns[1], BUS_MCEERR_AR);
	EXPECT_EQ(owner.shared->pfns[2], (uintptr_t)owner.shared->ptr);
	EXPECT_EQ(write_number(HWPOISON "unpoison-pfn", pfn), 0);
	EXPECT_EQ(pages_left(&pfn, 1), 0);
	EXPECT_EQ(pages_left(owner.shared->pfns + 3, 1), 0);
	forget_owner(&owner);
}

static int sysfs_soft_offline(void *ptr, uint64_t pfn)
{
	return write_number("/sys/devices/system/memory/soft_offline_page",
			    pfn * page_size);
}

static int madvise_soft_offline(void *ptr, uint64_t pfn)
{
	return madvise(ptr, page_size, MADV_SOFT_OFFLINE);
}

/* The page is replaced and nobody notices: what the device wrote is there. */
TEST_FAULTS(soft_offline)
{
	int (*const func[])(void *, uint64_t) = {
		sysfs_soft_offline, madvise_soft_offline,
	};
	unsigned int i;

	if (access(HWPOISON "unpoison-pfn", W_OK))
		SKIP(return, "No hwpoison-inject");
	for (i = 0; i < 2; i++) {
		uint64_t *ptr = hmm_mmap(page_size);
		uint64_t pfn;

		ASSERT_NE(ptr, NULL);
		*ptr = 1;
		pfn = pfn_of(ptr);
		ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 1, 1), 0);
		ASSERT_EQ(func[i](ptr, pfn), 0);
		ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 0);
		ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 1, 1), 0);
		ASSERT_EQ(*ptr, 2 * DEVICE_ONE + 1);
		ASSERT_NE(pfn_of(ptr), 0);
		ASSERT_NE(pfn_of(ptr), pfn);
		EXPECT_EQ(write_number(HWPOISON "unpoison-pfn", pfn), 0);
		EXPECT_EQ(pages_left(&pfn, 1), 0);
		munmap(ptr, page_size);
	}
}

/*
 * Entries that have changed since they were made, and are to be taken over
 */

TEST_FAULTS(takeover_of_what_is_read_only_now)
{
	const unsigned long npages = 4;
	struct hmm_dmirror_cmd cmd;
	void *ptr = hmm_mmap(npages * page_size);

	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
	ASSERT_EQ(mprotect(ptr + 2 * page_size, 2 * page_size, PROT_READ), 0);
	ASSERT_EQ(hmm_range_cmd(self->other, HMM_DMIRROR_EXCLUSIVE, ptr, npages,
				NULL, &cmd), -EFAULT);
	ASSERT_EQ(cmd.cpages, 2);
	ASSERT_EQ(hmm_count_exclusive(self->other, ptr, npages), 2);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);
	ASSERT_EQ(mprotect(ptr, npages * page_size, PROT_READ | PROT_WRITE), 0);
	ASSERT_EQ(hmm_atomic_add(self->other, ptr, npages, 1), 0);
	ASSERT_EQ(count_sums(ptr, npages, 2 * DEVICE_ONE), npages);
	munmap(ptr, npages * page_size);
}

TEST_FAULTS(takeover_of_what_is_uffd_wp_now)
{
	void *ptr = hmm_mmap(page_size);
	int uffd = hmm_userfaultfd(ptr, page_size, UFFDIO_REGISTER_MODE_WP);

	ASSERT_NE(ptr, NULL);
	if (uffd < 0)
		SKIP(return, "No userfaultfd write protection");
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 1, 1), 0);
	ASSERT_EQ(hmm_write_protect(uffd, ptr, page_size, true), 0);
	ASSERT_EQ(hmm_make_exclusive(self->other, ptr, 1), -EFAULT);
	ASSERT_EQ(hmm_count_exclusive(self->other, ptr, 1), 0);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 0);
	ASSERT_EQ(hmm_write_protect(uffd, ptr, page_size, false), 0);
	ASSERT_EQ(hmm_atomic_add(self->other, ptr, 1, 1), 0);
	ASSERT_EQ(count_sums(ptr, 1, 2 * DEVICE_ONE), 1);
	close(uffd);
	munmap(ptr, page_size);
}

TEST_FAULTS(takeover_of_what_is_not_soft_dirty_now)
{
	void *ptr = hmm_mmap(page_size);

	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 1, 1), 0);
	if (!has(pagemap_entry(ptr), PM_SOFT_DIRTY))
		SKIP(return, "No soft-dirty tracking");
	ASSERT_EQ(hmm_write_file("/proc/self/clear_refs", "4"), 0);
	ASSERT_FALSE(has(pagemap_entry(ptr), PM_SOFT_DIRTY));
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 1), 0);
	ASSERT_EQ(hmm_atomic_add(self->other, ptr, 1, 1), 0);
	ASSERT_TRUE(has(pagemap_entry(ptr), PM_SOFT_DIRTY));
	ASSERT_EQ(count_sums(ptr, 1, 2 * DEVICE_ONE), 1);
	ASSERT_TRUE(has(pagemap_entry(ptr), PM_SOFT_DIRTY));
	munmap(ptr, page_size);
}

/* Freed lazily: the kernel may drop it, unless a device has got it since. */
TEST_FAULTS(takeover_of_what_is_lazily_free_now)
{
	const unsigned long npages = 32;
	void *ptr = hmm_mmap(2 * npages * page_size);
	void *gone = ptr + npages * page_size;

	ASSERT_NE(ptr, NULL);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 2 * npages, 1), 0);
	ASSERT_EQ(hmm_advise(ptr, 2 * npages * page_size, MADV_FREE), 0);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 2 * npages), 0);
	ASSERT_EQ(hmm_atomic_add(self->other, ptr, npages, 1), 0);
	ASSERT_EQ(hmm_advise(ptr, 2 * npages * page_size, MADV_PAGEOUT), 0);
	ASSERT_EQ(count_sums(ptr, npages, 2 * DEVICE_ONE), npages);
	/* To see that those would have been dropped as well */
	ASSERT_GT(count_sums(gone, npages, 0), 0);
	munmap(ptr, 2 * npages * page_size);
}

/*
 * A lack of memory: each allocation on the way fails once
 */

static int fail_nth;

static bool can_inject(void)
{
	static const char *const wait[] = {
		FAILSLAB "ignore-gfp-wait", FAIL_PAGE "ignore-gfp-wait",
		FAIL_PAGE "ignore-gfp-highmem",
	};
	unsigned int i;

	for (i = 0; i < 3; i++)
		if (hmm_write_file(wait[i], "N"))
			return false;
	hmm_write_file(FAIL_PAGE "min-order", "0");
	hmm_write_file(FAIL_PAGE "verbose", "0");
	hmm_write_file(FAILSLAB "verbose", "0");
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	return fail_nth >= 0;
}

/* The allocation number @nr of this thread from here on is to fail. */
static void inject(int nr)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", nr);

	if (pwrite(fail_nth, text, n, 0) != n)
		exit(90);
}

/* Has it? */
static bool injected(void)
{
	char text[16] = "";

	if (pread(fail_nth, text, sizeof(text) - 1, 0) < 0)
		exit(91);
	inject(0);
	return !atoi(text);
}

static int try_make(int fd, int other, void *ptr)
{
	return hmm_make_exclusive(fd, ptr, 8);
}

static int try_takeover(int fd, int other, void *ptr)
{
	return hmm_make_exclusive(other, ptr, 8);
}

/* By a system call that only writes to memory, where a fault is an error */
static int try_touch(int fd, int other, void *ptr)
{
	int i;

	for (i = 0; i < 8; i++)
		if (syscall(__NR_getcpu, ptr + i * page_size + 8, NULL, NULL))
			return -errno;
	return 0;
}

static int try_fork(int fd, int other, void *ptr)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(count_sums(ptr, 8, DEVICE_ONE) != 8);
	return exit_status(pid);
}

static int try_unmap(int fd, int other, void *ptr)
{
	return madvise(ptr, 8 * page_size, MADV_DONTNEED) ? -errno : 0;
}

static int try_mprotect(int fd, int other, void *ptr)
{
	int ret = mprotect(ptr + page_size, page_size, PROT_READ) ? -errno : 0;

	/* It fails once at most. */
	while (mprotect(ptr, 8 * page_size, PROT_READ | PROT_WRITE))
		;
	return ret;
}

/* What does not get there stays where it is, which is no error here. */
static int try_migrate(int fd, int other, void *ptr)
{
	struct hmm_dmirror_cmd cmd;
	char buf[8 * page_size];
	int ret;

	ret = hmm_range_cmd(other, HMM_DMIRROR_MIGRATE, ptr, 8, buf, &cmd);
	return ret == -ENOENT ? -ENOMEM : ret;
}

FIXTURE(no_memory)
{
	int	fd;
	int	other;
};

FIXTURE_VARIANT(no_memory)
{
	int (*func)(int fd, int other, void *ptr);
	bool added;
	bool huge;
};

FIXTURE_SETUP(no_memory)
{
	ASSERT_TRUE(open_mirrors(&self->fd, &self->other));
}

FIXTURE_TEARDOWN(no_memory)
{
	close(self->fd);
	close(self->other);
}

/* Done to what the device has added to, once, or to what nobody has touched */
FIXTURE_VARIANT_ADD(no_memory, make)
{
	.func = try_make,
};

FIXTURE_VARIANT_ADD(no_memory, make_huge)
{
	.func = try_make, .huge = true,
};

FIXTURE_VARIANT_ADD(no_memory, takeover)
{
	.func = try_takeover, .added = true,
};

FIXTURE_VARIANT_ADD(no_memory, touch)
{
	.func = try_touch, .added = true,
};

FIXTURE_VARIANT_ADD(no_memory, fork)
{
	.func = try_fork, .added = true,
};

FIXTURE_VARIANT_ADD(no_memory, unmap)
{
	.func = try_unmap, .added = true,
};

FIXTURE_VARIANT_ADD(no_memory, mprotect)
{
	.func = try_mprotect, .added = true,
};

FIXTURE_VARIANT_ADD(no_memory, migrate)
{
	.func = try_migrate, .added = true,
};

/*
 * What is done to memory returns 0 or -ENOMEM, whichever of its allocations
 * fails; and whatever has become of it then, nothing is lost, and CPU and device
 * go on.
 */
TEST_F_TIMEOUT(no_memory, is_an_error_at_most, 900)
{
	const unsigned long npages = 8;
	const unsigned long size = variant->huge ? TWOMEG : npages * page_size;
	uint64_t pfns[npages];
	int nr, failed = 0;
	bool hit = true;

	if (!can_inject())
		SKIP(return, "No fault injection");
	for (nr = 0; hit; nr++) {
		void *ptr = variant->huge ? hmm_mmap_thp(size) : hmm_mmap(size);
		uint64_t sum;
		int ret;

		if (!ptr && variant->huge)
			SKIP(return, "No huge page to be had");
		ASSERT_NE(ptr, NULL);
		if (variant->huge)
			memset(ptr, 0, size);
		if (variant->added)
			ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
		inject(nr + 1);
		ret = variant->func(self->fd, self->other, ptr);
		hit = injected();
		ASSERT_TRUE(ret == 0 || (ret == -ENOMEM && hit)) {
			TH_LOG("allocation %d: %d", nr + 1, ret);
		}
		failed += !!ret;

		sum = *counter(ptr, 0);
		ASSERT_EQ(sum, variant->added && variant->func != try_unmap ?
			       DEVICE_ONE : 0);
		ASSERT_EQ(count_sums(ptr, npages, sum), npages);
		ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, npages), 0);
		ASSERT_EQ(hmm_count_exclusive(self->other, ptr, npages), 0);
		ASSERT_EQ(hmm_atomic_add(self->fd, ptr, npages, 1), 0);
		ASSERT_EQ(count_sums(ptr, npages, sum + DEVICE_ONE), npages);
		ASSERT_TRUE(pfns_of(ptr, npages, pfns));
		ASSERT_EQ(munmap(ptr, size), 0);
		ASSERT_EQ(pages_left(pfns, npages), 0);
	}
	TH_LOG("%d allocations, %d of them fatal", nr - 1, failed);
}

/* Opening a mirror */
TEST_FAULTS(no_memory_to_open)
{
	int nr;

	if (!can_inject())
		SKIP(return, "No fault injection");
	for (nr = 1; ; nr++) {
		void *ptr = hmm_mmap(page_size);
		bool hit;
		int fd, err;

		inject(nr);
		fd = open_mirror(0);
		err = errno;
		hit = injected();
		if (fd < 0) {
			ASSERT_TRUE(hit);
			ASSERT_EQ(err, ENOMEM);
		} else {
			ASSERT_EQ(hmm_atomic_add(fd, ptr, 1, 1), 0);
			ASSERT_EQ(close(fd), 0);
			ASSERT_EQ(*counter(ptr, 0), DEVICE_ONE);
		}
		munmap(ptr, page_size);
		if (!hit)
			break;
	}
}

/*
 * The module
 */

static int unload_module(void)
{
	return syscall(__NR_delete_module, "test_hmm", O_NONBLOCK) ? -errno : 0;
}

static int module_major(void)
{
	FILE *f = fopen("/proc/devices", "r");
	char line[128], name[64];
	int n, major = -ENODEV;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%d %63s", &n, name) == 2 &&
		    !strcmp(name, "HMM_DMIRROR"))
			major = n;
	if (f)
		fclose(f);
	return major;
}

static int load_module(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int i, ret = syscall(__NR_finit_module, fd, "", 0) ? -errno : 0;

	close(fd);
	for (i = 0; !ret && i < 2; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/dev/hmm_dmirror%d", i);
		unlink(path);
		ret = mknod(path, S_IFCHR | 0666, makedev(module_major(), i));
	}
	return ret;
}

/* Open, make exclusive, close, whether the module is there or not */
static void use_module_for_ever(void)
{
	void *ptr = hmm_mmap(16 * page_size);

	for (;;) {
		int fd = open_mirror(0);

		if (fd >= 0) {
			hmm_make_exclusive(fd, ptr, 16);
			close(fd);
		}
		memset(ptr, 1, 16 * page_size);
	}
}

/* A module that is in use stays; one that is not goes, whoever is just coming. */
TEST_FAULTS(module_unloaded_under_use)
{
	const char *file = getenv("HMM_MODULE");
	void *ptr = hmm_mmap(16 * page_size);
	pid_t pid;
	int i, n;

	if (!file)
		SKIP(return, "HMM_MODULE does not say where the module is");
	ASSERT_EQ(close(self->other), 0);
	ASSERT_EQ(hmm_make_exclusive(self->fd, ptr, 16), 0);
	ASSERT_EQ(unload_module(), -EAGAIN);
	ASSERT_EQ(hmm_count_exclusive(self->fd, ptr, 16), 16);
	ASSERT_EQ(close(self->fd), 0);

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		use_module_for_ever();
	for (i = 0; i < 10; i++) {
		for (n = 0; n < 100000 && unload_module(); n++)
			sched_yield();
		ASSERT_EQ(open_mirror(0), -1);
		ASSERT_EQ(load_module(file), 0);
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(exit_status(pid), -SIGKILL);

	/* The memory is still there, and is had again. */
	self->fd = open_mirror(0);
	self->other = open_mirror(1);
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(hmm_atomic_add(self->fd, ptr, 16, 1), 0);
	ASSERT_EQ(count_sums(ptr, 16, DEVICE_ONE), 16);
	munmap(ptr, 16 * page_size);
}

/* As unload_module(); if the kernel does not come back from it, -ETIMEDOUT */
static int try_unload_module(void)
{
	pid_t pid = fork();
	int i, status;

	if (!pid)
		_exit(-unload_module());
	for (i = 0; i < 1000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

/* It stays as well while there is memory on its devices, open or not. */
TEST_FAULTS(module_unloaded_with_device_memory)
{
	const char *file = getenv("HMM_MODULE");
	const unsigned long size = 16 * page_size;
	char *ptr = hmm_mmap(size), *mirror = malloc(size);
	struct hmm_dmirror_cmd cmd;

	if (!file)
		SKIP(return, "HMM_MODULE does not say where the module is");
	hmm_fill(ptr, size);
	ASSERT_EQ(hmm_range_cmd(self->fd, HMM_DMIRROR_MIGRATE, ptr, 16, mirror,
				&cmd), 0);
	ASSERT_EQ(close(self->fd), 0);
	ASSERT_EQ(close(self->other), 0);
	ASSERT_EQ(try_unload_module(), -EAGAIN);

	/* Some comes home, some is forgotten: there is none left. */
	EXPECT_TRUE(hmm_filled(ptr, 8 * page_size));
	EXPECT_EQ(try_unload_module(), -EAGAIN);
	ASSERT_EQ(munmap(ptr + 8 * page_size, 8 * page_size), 0);
	EXPECT_EQ(try_unload_module(), 0);
	EXPECT_TRUE(hmm_filled(ptr, 8 * page_size));

	ASSERT_EQ(load_module(file), 0);
	self->fd = open_mirror(0);
	self->other = open_mirror(1);
	ASSERT_GE(self->fd, 0);
	munmap(ptr, 8 * page_size);
	free(mirror);
}

/* A thread for each CPU touches what is on the device, to be there together. */
static void *touch_for_ever(void *ptr)
{
	for (;;)
		hmm_load(ptr);
	return NULL;
}

/* Many faults on one page, and the module goes as soon as it is home. */
TEST_FAULTS(module_unloaded_after_device_memory)
{
	const char *file = getenv("HMM_MODULE");
	struct hmm_dmirror_cmd cmd;
	char mirror[page_size];
	int i, n;
	pid_t pid;

	if (!file)
		SKIP(return, "HMM_MODULE does not say where the module is");
	ASSERT_EQ(close(self->other), 0);
	ASSERT_EQ(close(self->fd), 0);
	for (i = 0; i < 20; i++) {
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			char *ptr = hmm_mmap(page_size);
			int fd = open_mirror(0);
			pthread_t thread;

			*ptr = 1;
			for (n = 0; n < 3; n++)
				pthread_create(&thread, NULL, touch_for_ever,
					       ptr);
			while (!hmm_range_cmd(fd, HMM_DMIRROR_MIGRATE, ptr, 1,
					      mirror, &cmd) && n++ < 50)
				;
			close(fd);
			touch_for_ever(ptr);
		}
		/* Not before it has begun */
		usleep(5000);
		for (n = 0; n < 100000 && unload_module(); n++)
			sched_yield();
		ASSERT_LT(n, 100000);
		kill(pid, SIGKILL);
		ASSERT_EQ(exit_status(pid), -SIGKILL);
		ASSERT_EQ(load_module(file), 0);
	}
	self->fd = open_mirror(0);
	self->other = open_mirror(1);
	ASSERT_GE(self->fd, 0);
}

TEST_HARNESS_MAIN
