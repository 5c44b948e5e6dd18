// SPDX-License-Identifier: GPL-2.0
/*
 * Atomic operations on memory shared with a GPU, from end to end: nouveau's
 * fault handler and notifier, mm, and a GPU made of memory
 * (CONFIG_DRM_NOUVEAU_SVM_TEST_DEVICE).
 *
 * What the GPU calls an atomic operation is a read, a pause, and a write. It is
 * done only while the GPU's page table allows it. Where a CPU gets at the page
 * meanwhile, a sum comes out wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../../../../../drivers/gpu/drm/nouveau/nouveau_test_uapi.h"
#include "../../kselftest_harness.h"

#define DEVICE		"/dev/nouveau_test"
#define HOLD		"/sys/module/nouveau/parameters/svm_hold_us"
#define TWOMEG		(2UL << 20)

#define VALID		1
#define WRITABLE	2
#define ATOMICS		4
#define VRAM		16
#define FLAGS		7

/* The GPU adds to the upper half of a counter, the CPU to the lower. */
#define GPU_ONE		0x100000000ULL

#define PAGES		8
#define THREADS		2	/* on either side */
#define ROUNDS		400
#define BATCH		100	/* operations that the GPU does in one go */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static int gpu_access(int fd, int access, void *addr, uint64_t *value,
		      uint64_t *count)
{
	struct nouveau_test_access arg = {
		.addr = (uintptr_t)addr,
		.value = *value,
		.count = *count,
		.access = access,
	};
	int ret = ioctl(fd, NOUVEAU_TEST_IOC_ACCESS, &arg) ? -errno : 0;

	*value = arg.value;
	*count = arg.count;
	return ret;
}

static int gpu_read(int fd, void *addr, uint64_t *value)
{
	uint64_t count = 1;

	*value = 0;
	return gpu_access(fd, NOUVEAU_TEST_READ, addr, value, &count);
}

static int gpu_write(int fd, void *addr, uint64_t value)
{
	uint64_t count = 1;

	return gpu_access(fd, NOUVEAU_TEST_WRITE, addr, &value, &count);
}

static int gpu_add(int fd, void *addr, uint64_t value, uint64_t count)
{
	return gpu_access(fd, NOUVEAU_TEST_ATOMIC, addr, &value, &count);
}

static int gpu_flags(int fd, void *addr)
{
	struct nouveau_test_pte arg = { .addr = (uintptr_t)addr };

	return ioctl(fd, NOUVEAU_TEST_IOC_PTE, &arg) ? -1 :
	       arg.pte & (FLAGS | VRAM);
}

static int gpu_bind(int fd, void *addr, size_t size)
{
	struct nouveau_test_bind arg = {
		.addr = (uintptr_t)addr,
		.size = size,
	};

	return ioctl(fd, NOUVEAU_TEST_IOC_BIND, &arg) ? -errno : 0;
}

static bool set_hold(const char *us)
{
	int fd = open(HOLD, O_WRONLY);
	bool good = fd >= 0 && write(fd, us, strlen(us)) == strlen(us);

	close(fd);
	return good;
}

FIXTURE(svm)
{
	struct nouveau_test_stats before;
	long page_size;
	size_t size;
	char *mem;
	int fd;
};

FIXTURE_SETUP(svm)
{
	self->page_size = sysconf(_SC_PAGESIZE);
	self->size = PAGES * self->page_size;
	self->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	self->mem = mmap(NULL, self->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(self->mem, MAP_FAILED);
	ASSERT_EQ(ioctl(self->fd, NOUVEAU_TEST_IOC_STATS, &self->before), 0);
}

FIXTURE_TEARDOWN(svm)
{
	struct nouveau_test_stats stats;

	/* True of every test: no DMA mapping is lost, and no data. */
	ASSERT_EQ(ioctl(self->fd, NOUVEAU_TEST_IOC_STATS, &stats), 0);
	EXPECT_EQ(stats.overwritten, self->before.overwritten);
	EXPECT_EQ(stats.clean, self->before.clean);
	munmap(self->mem, self->size);
	close(self->fd);
}

TEST_F(svm, read_and_write)
{
	uint64_t *word = (uint64_t *)self->mem, value;

	*word = 42;
	ASSERT_EQ(gpu_read(self->fd, word, &value), 0);
	EXPECT_EQ(value, 42);
	ASSERT_EQ(gpu_write(self->fd, word, 43), 0);
	EXPECT_EQ(*word, 43);
	ASSERT_EQ(gpu_write(self->fd, self->mem + self->page_size, 44), 0);
	EXPECT_EQ(*(uint64_t *)(self->mem + self->page_size), 44);
}

TEST_F(svm, permission_follows_the_cpu)
{
	uint64_t *word = (uint64_t *)self->mem;

	*word = 1;
	ASSERT_EQ(gpu_add(self->fd, word, 1, 10), 0);
	EXPECT_EQ(gpu_flags(self->fd, word), VALID | WRITABLE | ATOMICS);
	EXPECT_EQ(__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST), 11);
	EXPECT_EQ(gpu_flags(self->fd, word), VALID | WRITABLE);
	ASSERT_EQ(gpu_write(self->fd, word, 5), 0);
	EXPECT_EQ(*word, 5);
	ASSERT_EQ(gpu_add(self->fd, word, 1, 1), 0);
	EXPECT_EQ(gpu_flags(self->fd, word), VALID | WRITABLE | ATOMICS);
	ASSERT_EQ(madvise(self->mem, self->page_size, MADV_DONTNEED), 0);
	EXPECT_EQ(gpu_flags(self->fd, word), 0);
	EXPECT_EQ(*word, 0);
}

TEST_F(svm, read_only)
{
	uint64_t *word = (uint64_t *)self->mem, value;

	*word = 7;
	ASSERT_EQ(gpu_add(self->fd, word, 1, 1), 0);
	ASSERT_EQ(mprotect(self->mem, self->page_size, PROT_READ), 0);
	EXPECT_EQ(gpu_flags(self->fd, word), 0);
	EXPECT_EQ(gpu_read(self->fd, word, &value), 0);
	EXPECT_EQ(value, 8);
	EXPECT_EQ(gpu_write(self->fd, word, 9), -EFAULT);
	EXPECT_EQ(gpu_add(self->fd, word, 1, 1), -EFAULT);
	EXPECT_EQ(*word, 8);
}

TEST_F(svm, unmapped)
{
	uint64_t value;

	ASSERT_EQ(munmap(self->mem, self->size), 0);
	EXPECT_EQ(gpu_read(self->fd, self->mem, &value), -EFAULT);
	EXPECT_EQ(gpu_add(self->fd, self->mem, 1, 1), -EFAULT);
}

/* Plain access to memory that cannot be exclusive, and atomics refused. */
TEST_F(svm, hugetlb)
{
	uint64_t *word, value;

	word = mmap(NULL, TWOMEG, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(word, MAP_FAILED);
	ASSERT_EQ(gpu_write(self->fd, word, 8), 0);
	ASSERT_EQ(gpu_read(self->fd, word, &value), 0);
	EXPECT_EQ(value, 8);
	EXPECT_EQ(gpu_add(self->fd, word, 1, 1), -EFAULT);
	EXPECT_EQ(*word, 8);
	munmap(word, TWOMEG);
}

/* A huge page is mapped as one, until an atomic operation wants a part of it. */
TEST_F(svm, huge_page)
{
	char *map, *mem;
	int i;

	map = mmap(NULL, 2 * TWOMEG, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(map, MAP_FAILED);
	mem = (char *)(((uintptr_t)map + TWOMEG - 1) & ~(TWOMEG - 1));
	madvise(mem, TWOMEG, MADV_HUGEPAGE);
	memset(mem, 0, TWOMEG);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(gpu_write(self->fd, mem + i * self->page_size, i), 0);
	ASSERT_EQ(gpu_add(self->fd, mem + self->page_size, 10, 1), 0);
	EXPECT_EQ(gpu_flags(self->fd, mem + self->page_size), FLAGS);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(*(uint64_t *)(mem + i * self->page_size),
			  i == 1 ? 11 : i);
	}
	EXPECT_EQ(gpu_flags(self->fd, mem + self->page_size), VALID | WRITABLE);
	munmap(map, 2 * TWOMEG);
}

/* In VRAM, until the CPU touches it. */
TEST_F(svm, vram)
{
	uint64_t *word = (uint64_t *)self->mem;

	*word = 1;
	ASSERT_EQ(gpu_bind(self->fd, self->mem, self->size), 0);
	EXPECT_EQ(gpu_flags(self->fd, word), FLAGS | VRAM);
	ASSERT_EQ(gpu_add(self->fd, word, 1, 10), 0);
	EXPECT_EQ(__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST), 11);
	EXPECT_EQ(gpu_flags(self->fd, word), 0);
	ASSERT_EQ(gpu_add(self->fd, word, 1, 1), 0);
	EXPECT_EQ(gpu_flags(self->fd, word), FLAGS);
	ASSERT_EQ(gpu_bind(self->fd, self->mem, self->size), 0);
	EXPECT_EQ(gpu_flags(self->fd, word), FLAGS | VRAM);
	EXPECT_EQ(*word, 13);
}

/* A page in VRAM that is shared since a fork is copied when the GPU writes. */
TEST_F(svm, vram_copy_on_write)
{
	uint64_t *word = (uint64_t *)self->mem;
	int status, go[2];
	char byte;
	pid_t pid;

	*word = 1;
	ASSERT_EQ(pipe(go), 0);
	ASSERT_EQ(gpu_bind(self->fd, self->mem, self->size), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(read(go[0], &byte, 1) != 1 || *word != 1);
	EXPECT_EQ(gpu_write(self->fd, word, 2), 0);
	EXPECT_EQ(gpu_add(self->fd, word, 1, 1), 0);
	ASSERT_EQ(write(go[1], "", 1), 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(*word, 3);
}

/* Memory that goes away while it is moved to VRAM. */
struct mover {
	int fd;
	char *mem;
	size_t size;
	pthread_barrier_t start;
	bool stop;
	int errors;
};

static void *mover_thread(void *data)
{
	struct mover *mover = data;

	while (pthread_barrier_wait(&mover->start), !mover->stop) {
		if (gpu_bind(mover->fd, mover->mem, mover->size))
			mover->errors++;
		pthread_barrier_wait(&mover->start);
	}
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void wait_until(uint64_t ns)
{
	while (now_ns() < ns)
		;
}

/* Is there nothing at @addr, neither in memory nor in VRAM? */
static bool nothing_there(int pagemap, char *addr, long page_size)
{
	uint64_t entry = -1;

	return pread(pagemap, &entry, sizeof(entry), (uintptr_t)addr /
		     page_size * sizeof(entry)) == sizeof(entry) &&
	       !(entry >> 62);
}

/* The moment of MADV_DONTNEED goes through all of the time that a move takes. */
TEST_F_TIMEOUT(svm, vram_races_dontneed, 120)
{
	struct mover mover = { .fd = self->fd, .size = 64 * self->page_size };
	int pagemap = open("/proc/self/pagemap", O_RDONLY), i, round;
	uint64_t start, took = 1000000;
	int stale = 0, gone = 0;
	pthread_t thread;

	ASSERT_GE(pagemap, 0);
	mover.mem = mmap(NULL, mover.size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(mover.mem, MAP_FAILED);
	pthread_barrier_init(&mover.start, NULL, 2);
	pthread_create(&thread, NULL, mover_thread, &mover);
	for (round = 0; round < 300 && !stale; round++) {
		memset(mover.mem, 1, mover.size / 2);
		pthread_barrier_wait(&mover.start);
		start = now_ns();
		wait_until(start + took * (round % 100) / 100);
		madvise(mover.mem, mover.size, MADV_DONTNEED);
		pthread_barrier_wait(&mover.start);
		if (round % 100 == 0)
			took = now_ns() - start;
		for (i = 0; i < mover.size; i += self->page_size) {
			if (!nothing_there(pagemap, mover.mem + i,
					   self->page_size))
				continue;
			gone++;
			stale += !!gpu_flags(self->fd, mover.mem + i);
		}
		madvise(mover.mem, mover.size, MADV_DONTNEED);
	}
	mover.stop = true;
	pthread_barrier_wait(&mover.start);
	pthread_join(thread, NULL);
	TH_LOG("%d rounds, %llu ns each, %d pages gone", round,
	       (unsigned long long)took, gone);
	EXPECT_EQ(stale, 0);
	EXPECT_GT(gone, 0);
	EXPECT_EQ(mover.errors, 0);
	munmap(mover.mem, mover.size);
	close(pagemap);
}

/* Nobody would tell the GPU what becomes of another process's memory. */
TEST_F(svm, vram_not_for_others)
{
	int status;
	pid_t pid;

	self->mem[0] = 1;
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(gpu_bind(self->fd, self->mem, self->size) != -EINVAL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(gpu_flags(self->fd, self->mem), 0);
}

/* The file outlives the process that it is for. */
TEST_F(svm, dead_process)
{
	int pidfd, fd, ready[2];
	uint64_t value;
	char byte;
	pid_t pid;

	ASSERT_EQ(pipe(ready), 0);
	self->mem[0] = 1;
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		fd = open(DEVICE, O_RDWR);
		if (dup2(fd, 100) == 100 && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	ASSERT_EQ(read(ready[0], &byte, 1), 1);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	ASSERT_GE(pidfd, 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, 100, 0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(gpu_read(fd, self->mem, &value), 0);
	EXPECT_EQ(value, 1);
	EXPECT_EQ(gpu_add(fd, self->mem, 1, 1), 0);
	/* That was the child's memory and not ours. */
	EXPECT_EQ(self->mem[0], 1);
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	EXPECT_EQ(gpu_flags(fd, self->mem), 0);
	EXPECT_EQ(gpu_read(fd, self->mem, &value), -EFAULT);
	close(fd);
}

/* The driver is needed for as long as there is memory in VRAM. */
TEST(vram_keeps_the_module)
{
	size_t size = PAGES * sysconf(_SC_PAGESIZE);
	uint64_t *word;
	int fd;

	word = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(word, MAP_FAILED);
	*word = 1;
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(gpu_bind(fd, word, size), 0);
	ASSERT_EQ(gpu_add(fd, word, 1, 10), 0);
	close(fd);
	EXPECT_EQ(syscall(SYS_delete_module, "nouveau", O_NONBLOCK), -1);
	EXPECT_EQ(errno, EWOULDBLOCK);
	EXPECT_EQ(*word, 11);
	munmap(word, size);
}

/* CPU and GPU threads that add to one counter in each page, and a disturber. */
struct work {
	int fd;
	char *mem;
	long page_size;
	int pages;
	int threads;
	int rounds;
	int batch;
	atomic_bool stop;
	atomic_int errors;
	atomic_ullong cpu, gpu;
};

static uint64_t *counter(struct work *work, int page)
{
	return (uint64_t *)(work->mem + page * work->page_size);
}

static void *cpu_thread(void *data)
{
	struct work *work = data;
	int i;

	for (i = 0; work->rounds ? i < work->rounds : !work->stop; i++)
		__atomic_fetch_add(counter(work, i % work->pages), 1,
				   __ATOMIC_SEQ_CST);
	work->cpu += i;
	return NULL;
}

static void *gpu_thread(void *data)
{
	struct work *work = data;
	int i;

	for (i = 0; work->rounds ? i < work->rounds : !work->stop;
	     i += work->batch) {
		if (gpu_add(work->fd, counter(work, i % work->pages), GPU_ONE,
			    work->batch)) {
			work->errors++;
			break;
		}
	}
	work->gpu += i;
	return NULL;
}

static void *fork_thread(void *data)
{
	struct work *work = data;
	pid_t pid;
	int fd;

	while (!work->stop) {
		pid = fork();
		if (pid < 0) {
			work->errors++;
		} else if (!pid) {
			/* A GPU client of its own, that exits without a word. */
			fd = open(DEVICE, O_RDWR);
			_exit(gpu_add(fd, counter(work, 0), 1, 3));
		} else {
			int status;

			if (waitpid(pid, &status, 0) != pid || status)
				work->errors++;
		}
		usleep(1000);
	}
	return NULL;
}

static void *mprotect_thread(void *data)
{
	struct work *work = data;
	int prot = PROT_READ | PROT_WRITE;

	while (!work->stop) {
		prot ^= PROT_EXEC;
		if (mprotect(work->mem, work->pages * work->page_size, prot))
			work->errors++;
		usleep(1000);
	}
	return NULL;
}

static void *pageout_thread(void *data)
{
	struct work *work = data;

	while (!work->stop) {
		if (madvise(work->mem, work->pages * work->page_size,
			    MADV_PAGEOUT))
			work->errors++;
		usleep(1000);
	}
	return NULL;
}

/* From node to node; without a second one, pages are replaced by compaction. */
static void *migrate_thread(void *data)
{
	struct work *work = data;
	int nodes[PAGES], status[PAGES], node = 0, i;
	void *pages[PAGES];

	while (!work->stop) {
		node ^= 1;
		for (i = 0; i < work->pages; i++) {
			pages[i] = counter(work, i);
			nodes[i] = node;
		}
		syscall(SYS_move_pages, 0, work->pages, pages, nodes, status,
			2 /* MPOL_MF_MOVE */);
		usleep(1000);
	}
	return NULL;
}

static void *vram_thread(void *data)
{
	struct work *work = data;

	while (!work->stop) {
		if (gpu_bind(work->fd, work->mem, work->pages * work->page_size))
			work->errors++;
		usleep(1000);
	}
	return NULL;
}

static void contend(struct work *work, void *(*disturber)(void *data))
{
	pthread_t thread[2 * THREADS], other;
	int i;

	if (disturber)
		pthread_create(&other, NULL, disturber, work);
	for (i = 0; i < 2 * work->threads; i++)
		pthread_create(&thread[i], NULL,
			       i & 1 ? cpu_thread : gpu_thread, work);
	if (!work->rounds) {
		sleep(3);
		work->stop = true;
	}
	for (i = 0; i < 2 * work->threads; i++)
		pthread_join(thread[i], NULL);
	work->stop = true;
	if (disturber)
		pthread_join(other, NULL);
}

static uint64_t total(struct work *work)
{
	uint64_t sum = 0;
	int i;

	for (i = 0; i < work->pages; i++)
		sum += *counter(work, i);
	return sum;
}

FIXTURE(contended)
{
	struct work work;
};

FIXTURE_VARIANT(contended)
{
	void *(*disturber)(void *data);
	const char *hold;
};

FIXTURE_VARIANT_ADD(contended, alone)
{
	.hold = "0",
};

FIXTURE_VARIANT_ADD(contended, alone_held)
{
	.hold = "100",
};

FIXTURE_VARIANT_ADD(contended, fork)
{
	.disturber = fork_thread,
};

FIXTURE_VARIANT_ADD(contended, fork_held)
{
	.disturber = fork_thread,
	.hold = "100",
};

FIXTURE_VARIANT_ADD(contended, mprotect)
{
	.disturber = mprotect_thread,
};

FIXTURE_VARIANT_ADD(contended, pageout)
{
	.disturber = pageout_thread,
};

FIXTURE_VARIANT_ADD(contended, migrate)
{
	.disturber = migrate_thread,
};

FIXTURE_VARIANT_ADD(contended, migrate_held)
{
	.disturber = migrate_thread,
	.hold = "100",
};

FIXTURE_VARIANT_ADD(contended, vram)
{
	.disturber = vram_thread,
};

FIXTURE_SETUP(contended)
{
	struct work *work = &self->work;

	memset(work, 0, sizeof(*work));
	work->page_size = sysconf(_SC_PAGESIZE);
	work->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(work->fd, 0);
	work->pages = PAGES;
	work->threads = THREADS;
	work->rounds = ROUNDS;
	work->batch = 1;
	work->mem = mmap(NULL, PAGES * work->page_size, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	ASSERT_NE(work->mem, MAP_FAILED);
	ASSERT_TRUE(set_hold(variant->hold ? variant->hold : "0"));
}

FIXTURE_TEARDOWN(contended)
{
	set_hold("0");
	munmap(self->work.mem, PAGES * self->work.page_size);
	close(self->work.fd);
}

TEST_F_TIMEOUT(contended, sums_are_exact, 600)
{
	struct work *work = &self->work;

	contend(work, variant->disturber);
	EXPECT_EQ(work->errors, 0);
	EXPECT_EQ(total(work), THREADS * ROUNDS * (1 + GPU_ONE));
}

/* On one page, for some seconds: what either side gets. */
FIXTURE(progress)
{
	struct work work;
};

FIXTURE_VARIANT(progress)
{
	const char *hold;
};

FIXTURE_VARIANT_ADD(progress, not_held)
{
	.hold = "0",
};

FIXTURE_VARIANT_ADD(progress, held_100_us)
{
	.hold = "100",
};

FIXTURE_VARIANT_ADD(progress, held_1_ms)
{
	.hold = "1000",
};

FIXTURE_VARIANT_ADD(progress, held_10_ms)
{
	.hold = "10000",
};

FIXTURE_SETUP(progress)
{
	struct work *work = &self->work;

	memset(work, 0, sizeof(*work));
	work->page_size = sysconf(_SC_PAGESIZE);
	work->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(work->fd, 0);
	work->pages = 1;
	work->threads = 1;
	work->batch = BATCH;
	work->mem = mmap(NULL, work->page_size, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	ASSERT_NE(work->mem, MAP_FAILED);
	ASSERT_TRUE(set_hold(variant->hold));
}

FIXTURE_TEARDOWN(progress)
{
	set_hold("0");
	munmap(self->work.mem, self->work.page_size);
	close(self->work.fd);
}

TEST_F_TIMEOUT(progress, both_sides, 600)
{
	struct nouveau_test_stats before, after;
	struct work *work = &self->work;

	ASSERT_EQ(ioctl(work->fd, NOUVEAU_TEST_IOC_STATS, &before), 0);
	contend(work, NULL);
	ASSERT_EQ(ioctl(work->fd, NOUVEAU_TEST_IOC_STATS, &after), 0);
	TH_LOG("hold %s us: %llu by the CPU, %llu by the GPU, %.1f %%",
	       variant->hold, (unsigned long long)work->cpu,
	       (unsigned long long)work->gpu,
	       100.0 * work->gpu / (work->cpu + work->gpu));
	TH_LOG("%llu faults, mapped %llu times, taken back %llu times",
	       after.faults - before.faults, after.maps - before.maps,
	       after.demotions - before.demotions);
	EXPECT_EQ(work->errors, 0);
	EXPECT_EQ(total(work), work->cpu + work->gpu * GPU_ONE);
	EXPECT_GT(work->cpu, 0);
	if (strcmp(variant->hold, "0"))
		EXPECT_GT(work->gpu, 0);
}

TEST_HARNESS_MAIN
