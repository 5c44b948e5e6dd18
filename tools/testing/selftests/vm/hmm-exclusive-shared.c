// SPDX-License-Identifier: GPL-2.0
/*
 * Device-exclusive memory that is shared: tmpfs, memfd, and MAP_SHARED with
 * MAP_ANONYMOUS. There are two processes, this one and its peer, and each has
 * a device of its own, a mirror. Whatever one does, the other's device has to be
 * told in time.
 *
 * Each page begins with a counter, which CPUs and devices add to. What is seen to
 * hold all along: no CPU has a mapping of a page that a device has exclusively.
 *
 * Needs root and the test device; some tests need swap, a second memory node or
 * hwpoison-inject. What takes a while or much memory is in hmm-exclusive-walkers.c,
 * beside the same for anonymous memory.
 */

#include "../kselftest_harness.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/falloc.h>
#include <linux/kernel-page-flags.h>
#include <linux/memfd.h>

#include "hmm_exclusive.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS		1033
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x0010
#endif
#ifndef MFD_ALLOW_SEALING
#define MFD_ALLOW_SEALING	0x0002U
#endif

/* Of those that the kernel keeps to itself in <linux/kernel-page-flags.h> */
#define KPF_MAPPEDTODISK	34

#define NPAGES		32

#define SHMEM_ENABLED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define CORRUPT_PFN	"/sys/kernel/debug/hwpoison/corrupt-pfn"
#define UNPOISON_PFN	"/sys/kernel/debug/hwpoison/unpoison-pfn"
#define SOFT_OFFLINE	"/sys/devices/system/memory/soft_offline_page"

static long page_size;

/* What a process has: memory, and a device that mirrors it */
struct side {
	char *map;
	int file;
	int mirror;
};

/* What the peer is asked to do */
enum op {
	OP_MAP, OP_UNMAP, OP_READ, OP_CPU_ADD, OP_MAKE, OP_COUNT, OP_DEVICE_ADD,
	OP_PRESENT, OP_RACE, OP_EXIT,
};

struct ask {
	enum op op;
	unsigned long first;
	unsigned long npages;
	int prot;
	int flags;
};

static uint64_t *counter(struct side *side, unsigned long page)
{
	return (uint64_t *)(side->map + page * page_size);
}

static void cpu_add(struct side *side, unsigned long first,
		    unsigned long npages)
{
	unsigned long i;

	for (i = first; i < first + npages; i++)
		__atomic_fetch_add(counter(side, i), 1, __ATOMIC_RELAXED);
}

static long device_add(struct side *side, unsigned long first,
		       unsigned long npages)
{
	return hmm_atomic_add(side->mirror, counter(side, first), npages, 1);
}

static long make(struct side *side, unsigned long first, unsigned long npages)
{
	return hmm_make_exclusive(side->mirror, counter(side, first), npages);
}

static long count(struct side *side, unsigned long first, unsigned long npages)
{
	return hmm_count_exclusive(side->mirror, counter(side, first), npages);
}

static long present(struct side *side, unsigned long first,
		    unsigned long npages)
{
	long n = 0;

	for (; npages; npages--)
		n += !!(hmm_pagemap(counter(side, first++)) &
			HMM_PAGEMAP_PRESENT);
	return n;
}

/* Of a page that is present */
static unsigned long pfn_of(struct side *side, unsigned long page)
{
	return hmm_pagemap(counter(side, page)) & HMM_PAGEMAP_PFN;
}

static bool page_has(unsigned long pfn, int flag)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t flags = 0;

	if (pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) < 0)
		flags = 0;
	close(fd);
	return flags & (1ULL << flag);
}

/* The flag that says to whoever maps the page that a device may have it */
static bool is_marked(unsigned long pfn)
{
	return page_has(pfn, KPF_MAPPEDTODISK) && page_has(pfn, KPF_SWAPBACKED);
}

static int write_number(const char *path, unsigned long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", number);
	return hmm_write_file(path, text);
}

/* CPU and device of one side, each adding 1 of its kind to each counter a round */
struct race {
	struct side *side;
	unsigned long npages;
	int rounds;
	bool down;
};

static void *race_cpu(void *data)
{
	struct race *race = data;
	unsigned long i, n = race->npages;
	int round;

	for (round = 0; round < race->rounds; round++)
		for (i = 0; i < n; i++)
			cpu_add(race->side, race->down ? n - 1 - i : i, 1);
	return NULL;
}

static long run_race(struct side *side, unsigned long npages, int rounds,
		     bool down)
{
	struct race race = {
		.side = side, .npages = npages, .rounds = rounds, .down = down,
	};
	pthread_t thread;
	long err = 0;
	int round;

	if (pthread_create(&thread, NULL, race_cpu, &race))
		return -EAGAIN;
	for (round = 0; round < rounds && !err; round++)
		err = device_add(side, 0, npages);
	pthread_join(thread, NULL);
	return err;
}

static long answer(struct side *side, const struct ask *ask)
{
	const unsigned long size = ask->npages * page_size;
	void *ptr;

	switch (ask->op) {
	case OP_MAP:
		ptr = mmap(NULL, size, ask->prot, ask->flags, side->file,
			   ask->first * page_size);
		if (ptr == MAP_FAILED)
			return -errno;
		side->map = ptr;
		return 0;
	case OP_UNMAP:
		return munmap(side->map, size);
	case OP_READ:
		return hmm_load(counter(side, ask->first));
	case OP_CPU_ADD:
		cpu_add(side, ask->first, ask->npages);
		return 0;
	case OP_MAKE:
		return make(side, ask->first, ask->npages);
	case OP_COUNT:
		return count(side, ask->first, ask->npages);
	case OP_DEVICE_ADD:
		return device_add(side, ask->first, ask->npages);
	case OP_PRESENT:
		return present(side, ask->first, ask->npages);
	case OP_RACE:
		return run_race(side, ask->npages, ask->first, ask->flags);
	default:
		return 0;
	}
}

static void peer_main(struct side *side, int in, int out)
{
	struct ask ask;
	long result;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	side->mirror = open("/dev/hmm_dmirror1", O_RDWR);
	while (read(in, &ask, sizeof(ask)) == sizeof(ask)) {
		result = answer(side, &ask);
		if (write(out, &result, sizeof(result)) != sizeof(result) ||
		    ask.op == OP_EXIT)
			break;
	}
	_exit(0);
}

FIXTURE(shared)
{
	struct side me, peer_side;
	pid_t pid;
	int to_peer, from_peer;
};

static int start_peer(struct _test_data_shared *self)
{
	int to[2], from[2];

	/* A peer that has gone is no reason to go as well. */
	signal(SIGPIPE, SIG_IGN);
	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		return -1;
	self->pid = fork();
	if (!self->pid) {
		close(to[1]);
		close(from[0]);
		close(self->me.mirror);
		self->peer_side = self->me;
		peer_main(&self->peer_side, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	self->to_peer = to[1];
	self->from_peer = from[0];
	return self->pid < 0 ? -1 : 0;
}

/* For a test that wants both at the same time; peer_wait() for the result */
static void peer_start(struct _test_data_shared *self, struct ask ask)
{
	if (write(self->to_peer, &ask, sizeof(ask)) != sizeof(ask))
		return;
}

static long peer_wait(struct _test_data_shared *self)
{
	long result = -EPIPE;

	if (read(self->from_peer, &result, sizeof(result)) != sizeof(result))
		return -EPIPE;
	return result;
}

static long peer(struct _test_data_shared *self, enum op op, unsigned long first,
		 unsigned long npages)
{
	peer_start(self, (struct ask) {
		.op = op, .first = first, .npages = npages,
	});
	return peer_wait(self);
}

static long peer_map(struct _test_data_shared *self, unsigned long first,
		     unsigned long npages, int prot, int flags)
{
	peer_start(self, (struct ask) {
		.op = OP_MAP, .first = first, .npages = npages,
		.prot = prot, .flags = flags,
	});
	return peer_wait(self);
}

static int map_me(struct side *me, unsigned long npages, int prot, int flags)
{
	struct ask ask = {
		.op = OP_MAP, .npages = npages, .prot = prot, .flags = flags,
	};

	return answer(me, &ask);
}

FIXTURE_SETUP(shared)
{
	page_size = sysconf(_SC_PAGESIZE);
	self->me.mirror = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->me.mirror, 0);
	self->me.file = syscall(__NR_memfd_create, "shared", MFD_ALLOW_SEALING);
	ASSERT_GE(self->me.file, 0);
	ASSERT_EQ(ftruncate(self->me.file, 4 * TWOMEG), 0);
	ASSERT_EQ(map_me(&self->me, NPAGES, PROT_READ | PROT_WRITE, MAP_SHARED),
		  0);
	ASSERT_EQ(start_peer(self), 0);
}

FIXTURE_TEARDOWN(shared)
{
	peer(self, OP_EXIT, 0, 0);
	close(self->to_peer);
	close(self->from_peer);
	waitpid(self->pid, NULL, 0);
	close(self->me.mirror);
	close(self->me.file);
}

#define SHARED(name)	TEST_F_TIMEOUT(shared, name, 400)

#define PEER_MAPS	peer_map(self, 0, NPAGES, PROT_READ | PROT_WRITE, MAP_SHARED)

/* The peer has mapped all pages, this process' device has added to them. */
#define BEGIN_MAPPED()							\
do {									\
	ASSERT_EQ(PEER_MAPS, 0);					\
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, NPAGES), 0);		\
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);			\
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES);			\
	ASSERT_EQ(present(&self->me, 0, NPAGES), 0);			\
	ASSERT_EQ(peer(self, OP_PRESENT, 0, NPAGES), 0);		\
} while (0)

/* The device works on the whole mapping, and the CPU gets one page back. */
SHARED(one_process)
{
	cpu_add(&self->me, 0, NPAGES);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES);
	ASSERT_EQ(present(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 5)), DEVICE_ONE + 1);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(present(&self->me, 0, NPAGES), 1);
}

/* Nothing is mapped before the device asks. */
SHARED(device_first)
{
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE);
}

/* The other process has the pages mapped, and touches one. */
SHARED(peer_has_mapped)
{
	BEGIN_MAPPED();
	ASSERT_EQ(peer(self, OP_CPU_ADD, 3, 1), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(present(&self->me, 0, NPAGES), 1);
	ASSERT_EQ(peer(self, OP_PRESENT, 0, NPAGES), 1);
	ASSERT_EQ(hmm_load(counter(&self->me, 3)), DEVICE_ONE + 2);
}

/* This process touches it: the peer gets its mapping back with it. */
SHARED(owner_touches)
{
	BEGIN_MAPPED();
	cpu_add(&self->me, 3, 1);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(peer(self, OP_PRESENT, 0, NPAGES), 1);
	ASSERT_EQ(peer(self, OP_READ, 3, 1), DEVICE_ONE + 2);
}

/* The other process maps the memory for the first time: no entry to be met. */
SHARED(peer_maps_anew)
{
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 3, 1), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(present(&self->me, 0, NPAGES), 1);
	ASSERT_EQ(hmm_load(counter(&self->me, 3)), DEVICE_ONE + 1);
}

/* A read fault maps what lies around it: not what a device has. */
SHARED(fault_around)
{
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer_map(self, 0, NPAGES, PROT_READ, MAP_SHARED), 0);
	ASSERT_EQ(peer(self, OP_READ, 5, 1), DEVICE_ONE);
	ASSERT_EQ(peer(self, OP_PRESENT, 0, NPAGES), 1);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);

	/* And that there is a fault-around to test: */
	cpu_add(&self->me, 0, NPAGES);
	ASSERT_EQ(peer(self, OP_UNMAP, 0, NPAGES), 0);
	ASSERT_EQ(peer_map(self, 0, NPAGES, PROT_READ, MAP_SHARED), 0);
	ASSERT_EQ(peer(self, OP_READ, 5, 1), DEVICE_ONE + 1);
	ASSERT_GT(peer(self, OP_PRESENT, 0, NPAGES), 1);
}

/* A mapping that can only be read is taken away as well, and comes back so. */
SHARED(read_only_mapping)
{
	cpu_add(&self->me, 0, NPAGES);
	ASSERT_EQ(peer_map(self, 0, NPAGES, PROT_READ, MAP_SHARED), 0);
	ASSERT_EQ(peer(self, OP_READ, 0, 1), 1);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_PRESENT, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_READ, 0, 1), DEVICE_ONE + 1);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	/* Its device must not get more than the mapping allows. */
	ASSERT_EQ(peer(self, OP_MAKE, 0, 1), -EFAULT);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
}

/* The peer's device takes over, and no CPU sees the page in between. */
SHARED(takeover)
{
	BEGIN_MAPPED();
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 0, NPAGES), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_COUNT, 0, NPAGES), NPAGES);
	ASSERT_EQ(present(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_PRESENT, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 7)), 2 * DEVICE_ONE + 1);
	ASSERT_EQ(peer(self, OP_COUNT, 0, NPAGES), NPAGES - 1);
}

/* Not mapped there yet, taken over from here */
SHARED(takeover_unmapped)
{
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 0, NPAGES), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 7)), 2 * DEVICE_ONE);
}

/* Some other page of the file, and the same one at another place */
SHARED(other_offset)
{
	BEGIN_MAPPED();
	ASSERT_EQ(peer(self, OP_UNMAP, 0, NPAGES), 0);
	ASSERT_EQ(peer_map(self, 8, NPAGES, PROT_READ | PROT_WRITE, MAP_SHARED),
		  0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 2, 1), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(count(&self->me, 10, 1), 0);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 0, NPAGES), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), 8);
	ASSERT_EQ(hmm_load(counter(&self->me, 10)), 2 * DEVICE_ONE + 2);
}

/* The same file twice in one process */
SHARED(mapped_twice)
{
	struct side twin = self->me;

	ASSERT_EQ(map_me(&twin, NPAGES, PROT_READ | PROT_WRITE, MAP_SHARED), 0);
	cpu_add(&twin, 0, NPAGES);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(present(&twin, 0, NPAGES), 0);
	cpu_add(&twin, 1, 1);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(device_add(&twin, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 1)), 2 * DEVICE_ONE + 2);
	ASSERT_EQ(count(&twin, 0, NPAGES), NPAGES - 1);
}

/* A private mapping shows the page, and gets a copy when it is written. */
SHARED(private_mapping)
{
	cpu_add(&self->me, 0, NPAGES);
	ASSERT_EQ(peer_map(self, 0, NPAGES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE), 0);
	ASSERT_EQ(peer(self, OP_READ, 0, 1), 1);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_PRESENT, 0, NPAGES), 0);

	/* read, then written */
	ASSERT_EQ(peer(self, OP_READ, 0, 1), DEVICE_ONE + 1);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, 1), 0);
	ASSERT_EQ(peer(self, OP_READ, 0, 1), DEVICE_ONE + 2);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 1);

	/* written at once */
	ASSERT_EQ(peer(self, OP_CPU_ADD, 1, 1), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 2);
	ASSERT_EQ(peer(self, OP_READ, 1, 1), DEVICE_ONE + 2);
	ASSERT_EQ(hmm_load(counter(&self->me, 1)), DEVICE_ONE + 1);

	/* by the device of the private mapping */
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 0, 3), 0);
	ASSERT_EQ(peer(self, OP_READ, 2, 1), 2 * DEVICE_ONE + 1 + DEVICE_ONE);
	ASSERT_EQ(hmm_load(counter(&self->me, 2)), 2 * DEVICE_ONE + 1);
	ASSERT_EQ(peer(self, OP_READ, 0, 1), 2 * DEVICE_ONE + 2);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), 2 * DEVICE_ONE + 1);
}

/* The first touch of a private mapping is a write: what it copies is not the device's. */
SHARED(private_mapping_written)
{
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer_map(self, 0, NPAGES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE), 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, 1), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(peer(self, OP_READ, 0, 1), DEVICE_ONE + 1);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE);
}

/* A debugger's write to a private mapping goes to a copy, never to the file. */
SHARED(forced_write)
{
	struct side twin = self->me;
	uint64_t value = 42;
	int mem;

	cpu_add(&self->me, 0, 2);
	ASSERT_EQ(map_me(&twin, NPAGES, PROT_READ, MAP_PRIVATE), 0);
	ASSERT_EQ(hmm_load(counter(&twin, 0)), 1);
	ASSERT_EQ(hmm_load(counter(&twin, 1)), 1);
	ASSERT_EQ(device_add(&self->me, 0, 2), 0);
	/* One comes back before, and one by the write itself. */
	ASSERT_EQ(hmm_load(counter(&twin, 0)), DEVICE_ONE + 1);

	mem = open("/proc/self/mem", O_RDWR);
	ASSERT_GE(mem, 0);
	ASSERT_EQ(pwrite(mem, &value, 8, (uintptr_t)counter(&twin, 0)), 8);
	ASSERT_EQ(pwrite(mem, &value, 8, (uintptr_t)counter(&twin, 1)), 8);
	close(mem);
	ASSERT_EQ(hmm_load(counter(&twin, 0)), 42);
	ASSERT_EQ(hmm_load(counter(&twin, 1)), 42);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 1);
	ASSERT_EQ(hmm_load(counter(&self->me, 1)), DEVICE_ONE + 1);
}

/* fork of a process which has the page in a private mapping that was written */
SHARED(fork_private)
{
	struct side twin = self->me;
	int status;
	pid_t pid;

	cpu_add(&self->me, 0, NPAGES);
	ASSERT_EQ(map_me(&twin, NPAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE), 0);
	ASSERT_EQ(hmm_load(counter(&twin, 0)), 1);
	cpu_add(&twin, 1, 1);
	/* An entry of anonymous memory beside those of the file's pages */
	ASSERT_EQ(make(&twin, 1, 1), 0);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(present(&twin, 0, 2), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		if (hmm_load(counter(&twin, 0)) != DEVICE_ONE + 1 ||
		    hmm_load(counter(&twin, 1)) != 2)
			_exit(1);
		cpu_add(&twin, 0, 1);
		_exit(hmm_load(counter(&self->me, 0)) != DEVICE_ONE + 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(count(&twin, 1, 1), 0);
	ASSERT_EQ(present(&twin, 1, 1), 1);
	ASSERT_EQ(hmm_load(counter(&twin, 0)), DEVICE_ONE + 1);
}

/* fork of a process which has shared memory: the child faults it in. */
SHARED(fork_shared)
{
	int status;
	pid_t pid;

	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		cpu_add(&self->me, 0, 1);
		_exit(hmm_load(counter(&self->me, 0)) != DEVICE_ONE + 1);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 1);
}

/* Without a file: the mapping is inherited. */
SHARED(anonymous)
{
	struct side anon = self->me;
	int status, go[2];
	char byte;
	pid_t pid;

	anon.file = -1;
	ASSERT_EQ(map_me(&anon, NPAGES, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS), 0);
	ASSERT_EQ(pipe(go), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		if (read(go[0], &byte, 1) != 1)
			_exit(1);
		cpu_add(&anon, 2, 1);
		_exit(0);
	}
	ASSERT_EQ(device_add(&anon, 0, NPAGES), 0);
	ASSERT_EQ(count(&anon, 0, NPAGES), NPAGES);
	ASSERT_EQ(write(go[1], "", 1), 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(count(&anon, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(hmm_load(counter(&anon, 2)), DEVICE_ONE + 1);
}

/* System V shared memory has its pages in tmpfs too. */
SHARED(sysv)
{
	struct side sysv = self->me, twin = self->me;
	int id = shmget(IPC_PRIVATE, NPAGES * page_size, IPC_CREAT | 0600);

	ASSERT_GE(id, 0);
	sysv.map = shmat(id, NULL, 0);
	twin.map = shmat(id, NULL, 0);
	ASSERT_EQ(shmctl(id, IPC_RMID, NULL), 0);
	ASSERT_NE(sysv.map, (void *)-1);
	ASSERT_NE(twin.map, (void *)-1);
	ASSERT_EQ(device_add(&sysv, 0, NPAGES), 0);
	cpu_add(&twin, 4, 1);
	ASSERT_EQ(count(&sysv, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(hmm_load(counter(&sysv, 4)), DEVICE_ONE + 1);
	shmdt(sysv.map);
	shmdt(twin.map);
}

/* A process that must not write gets no permission to, and takes none away. */
SHARED(sealed)
{
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(fcntl(self->me.file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	ASSERT_EQ(PEER_MAPS, -EPERM);
	ASSERT_EQ(peer_map(self, 0, NPAGES, PROT_READ, MAP_SHARED), 0);
	ASSERT_EQ(peer(self, OP_MAKE, 0, NPAGES), -EFAULT);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
}

/* With this seal no writable mapping is left, and what devices had is in the file. */
SHARED(sealed_for_good)
{
	uint64_t value;

	BEGIN_MAPPED();
	ASSERT_EQ(fcntl(self->me.file, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ASSERT_EQ(errno, EBUSY);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES);
	/* The peer exits, as it has what it inherited mapped, too. */
	ASSERT_EQ(peer(self, OP_EXIT, 0, 0), 0);
	ASSERT_EQ(waitpid(self->pid, NULL, 0), self->pid);
	ASSERT_EQ(munmap(self->me.map, NPAGES * page_size), 0);
	ASSERT_EQ(fcntl(self->me.file, F_ADD_SEALS, F_SEAL_WRITE), 0);

	ASSERT_EQ(map_me(&self->me, NPAGES, PROT_READ, MAP_SHARED), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 1);
	ASSERT_EQ(make(&self->me, 0, NPAGES), -EFAULT);
	ASSERT_EQ(mprotect(self->me.map, page_size, PROT_READ | PROT_WRITE), -1);

	/* A private mapping is as good as ever, and leaves the file alone. */
	ASSERT_EQ(map_me(&self->me, NPAGES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE), 0);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), 2 * DEVICE_ONE + 1);
	ASSERT_EQ(pread(self->me.file, &value, 8, 0), 8);
	ASSERT_EQ(value, DEVICE_ONE + 1);
}

/* The kernel goes through a mapping of the peer, which maps the page by that. */
SHARED(process_vm)
{
	struct iovec here, there = { .iov_len = 8 };
	uint64_t value = 0;

	here = (struct iovec) { .iov_base = &value, .iov_len = 8 };
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	/* The peer has the mapping from this process, at the same address. */
	there.iov_base = counter(&self->me, 3);
	ASSERT_EQ(process_vm_readv(self->pid, &here, 1, &there, 1, 0), 8);
	ASSERT_EQ(value, DEVICE_ONE);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);

	/* It is mapped by now, and taken away once more. */
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	value = 7;
	ASSERT_EQ(process_vm_writev(self->pid, &here, 1, &there, 1, 0), 8);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 3)), DEVICE_ONE + 7);
}

#define MOUNT	"/tmp/hmm-exclusive-shared"

static int mount_there(const char *type)
{
	mkdir("/tmp", 01777);
	mkdir(MOUNT, 0700);
	return mount("none", MOUNT, type, 0, NULL);
}

/* Other files are refused, before anything is written. */
SHARED(other_files)
{
	struct side file = self->me;

	if (mount_there("ramfs"))
		SKIP(return, "No other filesystem");
	file.file = open(MOUNT "/file", O_RDWR | O_CREAT, 0600);
	ASSERT_GE(file.file, 0);
	ASSERT_EQ(ftruncate(file.file, NPAGES * page_size), 0);
	ASSERT_EQ(map_me(&file, NPAGES, PROT_READ | PROT_WRITE, MAP_SHARED), 0);
	ASSERT_EQ(device_add(&file, 0, 1), -EOPNOTSUPP);
	ASSERT_EQ(present(&file, 0, 1), 0);
	close(file.file);
	munmap(file.map, NPAGES * page_size);
	ASSERT_EQ(umount(MOUNT), 0);
}

static bool all_zero(struct side *side)
{
	return hmm_zero(side->map, NPAGES * page_size);
}

SHARED(truncate)
{
	BEGIN_MAPPED();
	ASSERT_EQ(ftruncate(self->me.file, 0), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(make(&self->me, 0, 1), -EFAULT);
	ASSERT_EQ(ftruncate(self->me.file, NPAGES * page_size), 0);
	ASSERT_TRUE(all_zero(&self->me));
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_READ, 0, 1), DEVICE_ONE);
}

SHARED(punch_hole)
{
	BEGIN_MAPPED();
	ASSERT_EQ(fallocate(self->me.file,
			    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			    NPAGES * page_size), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), 0);
	ASSERT_TRUE(all_zero(&self->me));
	ASSERT_EQ(peer(self, OP_READ, 0, 1), 0);
}

SHARED(madvise_remove)
{
	BEGIN_MAPPED();
	ASSERT_EQ(madvise(self->me.map, NPAGES * page_size, MADV_REMOVE), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), 0);
	ASSERT_TRUE(all_zero(&self->me));
}

/* The mapping goes, what the device has written stays. */
SHARED(madvise_dontneed)
{
	BEGIN_MAPPED();
	ASSERT_EQ(madvise(self->me.map, NPAGES * page_size, MADV_DONTNEED), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), 0);
	/* Only the mark and the peer's entry are left now. */
	ASSERT_EQ(hmm_load(counter(&self->me, 1)), DEVICE_ONE + 1);
	ASSERT_EQ(peer(self, OP_READ, 1, 1), DEVICE_ONE + 1);
	ASSERT_EQ(peer(self, OP_READ, 2, 1), DEVICE_ONE + 1);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_READ, 2, 1), 2 * DEVICE_ONE + 1);
}

/* A mark without entries: all mappings have gone, and one comes anew. */
SHARED(all_unmapped)
{
	BEGIN_MAPPED();
	ASSERT_EQ(peer(self, OP_UNMAP, 0, NPAGES), 0);
	ASSERT_EQ(munmap(self->me.map, NPAGES * page_size), 0);
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_READ, 1, 1), DEVICE_ONE + 1);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_READ, 1, 1), 2 * DEVICE_ONE + 1);
	ASSERT_EQ(map_me(&self->me, NPAGES, PROT_READ | PROT_WRITE, MAP_SHARED),
		  0);
}

/* The process whose device has the pages is gone. */
SHARED(owner_exits)
{
	ASSERT_EQ(PEER_MAPS, 0);
	cpu_add(&self->me, 0, NPAGES);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 0, NPAGES), 0);
	ASSERT_EQ(present(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_EXIT, 0, 0), 0);
	ASSERT_EQ(waitpid(self->pid, NULL, 0), self->pid);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 1);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), 2 * DEVICE_ONE + 1);
}

/* One of the others is gone: the device keeps the pages. */
SHARED(sharer_exits)
{
	BEGIN_MAPPED();
	ASSERT_EQ(peer(self, OP_EXIT, 0, 0), 0);
	ASSERT_EQ(waitpid(self->pid, NULL, 0), self->pid);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 1);
}

/* A process whose device has pages of a file that nobody finds any more goes. */
static int leave_mount(unsigned long *pfns)
{
	struct side side = {
		.mirror = open("/dev/hmm_dmirror0", O_RDWR),
		.file = open(MOUNT "/file", O_RDWR | O_CREAT, 0600),
	};
	unsigned long i;

	if (ftruncate(side.file, NPAGES * page_size) ||
	    map_me(&side, NPAGES, PROT_READ | PROT_WRITE, MAP_SHARED))
		return 1;
	cpu_add(&side, 0, NPAGES);
	for (i = 0; i < NPAGES; i++)
		pfns[i] = pfn_of(&side, i);
	if (device_add(&side, 0, NPAGES))
		return 2;
	if (!umount(MOUNT) || errno != EBUSY)
		return 3;
	if (umount2(MOUNT, MNT_DETACH) || close(side.file))
		return 4;
	if (count(&side, 0, NPAGES) != NPAGES)
		return 5;
	cpu_add(&side, 1, 1);
	if (count(&side, 0, NPAGES) != NPAGES - 1 ||
	    hmm_load(counter(&side, 1)) != DEVICE_ONE + 2)
		return 6;
	return device_add(&side, 0, NPAGES) ? 7 : 0;
}

SHARED(umount)
{
	unsigned long *pfns = mmap(NULL, page_size, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, i, left = 0;
	pid_t pid;

	ASSERT_NE(pfns, MAP_FAILED);
	ASSERT_EQ(mount_there("tmpfs"), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(leave_mount(pfns));
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(rmdir(MOUNT), 0);
	/* Some may be others' by now. */
	for (i = 0; i < NPAGES; i++) {
		ASSERT_NE(pfns[i], 0);
		ASSERT_FALSE(is_marked(pfns[i]));
		left += page_has(pfns[i], KPF_SWAPBACKED);
	}
	ASSERT_LT(left, NPAGES / 2);
}

/* mprotect of one mapping ends nothing for the other process. */
SHARED(mprotect)
{
	BEGIN_MAPPED();
	ASSERT_EQ(mprotect(self->me.map, NPAGES * page_size, PROT_READ), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(hmm_try_write(counter(&self->me, 0)), -EFAULT);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 1);
	ASSERT_EQ(hmm_try_write(counter(&self->me, 0)), -EFAULT);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 2);
}

/* An entry that has been moved is found by the peer's fault. */
SHARED(mremap)
{
	const size_t size = NPAGES * page_size;
	void *to;

	BEGIN_MAPPED();
	to = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(to, MAP_FAILED);
	ASSERT_EQ(mremap(self->me.map, size, size,
			 MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	self->me.map = to;
	/* The entries have moved, and are found where they are now. */
	ASSERT_EQ(present(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, 1), 0);
	ASSERT_EQ(present(&self->me, 0, 1), 1);
	ASSERT_EQ(present(&self->me, 1, NPAGES - 1), 0);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, 1), 0);
	ASSERT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), 2 * DEVICE_ONE + 3);
}

/* Every mapping follows the page to another node. */
SHARED(move_pages)
{
	void *pages[NPAGES];
	int nodes[NPAGES], status[NPAGES], i;
	unsigned long pfn;

	cpu_add(&self->me, 0, NPAGES);
	pfn = pfn_of(&self->me, 0);
	for (i = 0; i < NPAGES; i++)
		pages[i] = counter(&self->me, i);
	if (syscall(__NR_move_pages, 0, NPAGES, pages, NULL, status, 0))
		SKIP(return, "No move_pages()");
	for (i = 0; i < NPAGES; i++)
		nodes[i] = !status[i];
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, NPAGES), 0);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	/* MPOL_MF_MOVE_ALL: they are mapped by two. */
	if (syscall(__NR_move_pages, 0, NPAGES, pages, nodes, status, 4))
		SKIP(return, "No second memory node");
	for (i = 0; i < NPAGES; i++)
		if (status[i] == -ENODEV)
			SKIP(return, "No second memory node");
	ASSERT_EQ(count(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 2);
	ASSERT_NE(pfn_of(&self->me, 0), pfn);
	ASSERT_EQ(peer(self, OP_READ, 1, 1), DEVICE_ONE + 2);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, NPAGES), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), 2 * DEVICE_ONE + 3);
}

/*
 * A page that cannot be moved, as a pipe holds on to it: migration gives up, and
 * the mappings come back for a CPU that nobody keeps from writing.
 */
SHARED(failed_migration)
{
	void *page = counter(&self->me, 0);
	int node, status, pipefd[2];
	loff_t offset = 0;

	cpu_add(&self->me, 0, 1);
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, 1), 0);
	ASSERT_EQ(pipe(pipefd), 0);
	ASSERT_EQ(splice(self->me.file, &offset, pipefd[1], NULL, page_size, 0),
		  page_size);
	if (syscall(__NR_move_pages, 0, 1, &page, NULL, &status, 0))
		SKIP(return, "No move_pages()");
	node = !status;
	ASSERT_EQ(device_add(&self->me, 0, 1), 0);
	if (syscall(__NR_move_pages, 0, 1, &page, &node, &status, 4) < 0)
		SKIP(return, "No second memory node");
	if (present(&self->me, 0, 1) || peer(self, OP_PRESENT, 0, 1))
		ASSERT_EQ(count(&self->me, 0, 1), 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, 1), 0);
	ASSERT_EQ(count(&self->me, 0, 1), 0);
	ASSERT_EQ(device_add(&self->me, 0, 1), 0);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), 2 * DEVICE_ONE + 3);
	close(pipefd[0]);
	close(pipefd[1]);
}

/* Have all pages reclaimed. Returns how many are still there. */
static long page_out(struct side *side)
{
	long there;
	int tries;

	for (tries = 0; tries < 100; tries++) {
		madvise(side->map, NPAGES * page_size, MADV_PAGEOUT);
		there = present(side, 0, NPAGES) + count(side, 0, NPAGES);
		if (!there)
			break;
		usleep(50000);
	}
	return there;
}

/* Out to swap and back, with what the device has written */
SHARED(swap)
{
	if (hmm_read_kb("/proc/meminfo", NULL, "SwapTotal:") <= 0)
		SKIP(return, "No swap");
	BEGIN_MAPPED();
	ASSERT_EQ(peer(self, OP_UNMAP, 0, NPAGES), 0);
	ASSERT_EQ(page_out(&self->me), 0);
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_READ, 1, 1), DEVICE_ONE + 1);
	ASSERT_EQ(device_add(&self->me, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_READ, 1, 1), 2 * DEVICE_ONE + 1);
	ASSERT_EQ(hmm_load(counter(&self->me, NPAGES - 1)), 2 * DEVICE_ONE + 1);
}

/* No CPU has written there, and no mapping tells reclaim what the device has. */
SHARED(swap_of_what_was_only_read)
{
	struct side *me = &self->me;
	int i;

	if (hmm_read_kb("/proc/meminfo", NULL, "SwapTotal:") <= 0)
		SKIP(return, "No swap");
	for (i = 0; i < NPAGES; i++)
		ASSERT_EQ(hmm_load(counter(me, i)), 0);
	ASSERT_EQ(device_add(me, 0, NPAGES), 0);
	ASSERT_EQ(munmap(me->map, NPAGES * page_size), 0);
	ASSERT_EQ(map_me(me, NPAGES, PROT_READ | PROT_WRITE, MAP_SHARED), 0);
	for (i = 0; i < NPAGES; i++)
		ASSERT_EQ(hmm_load(counter(me, i)), DEVICE_ONE);
	ASSERT_EQ(page_out(me), 0);
	for (i = 0; i < NPAGES; i++)
		ASSERT_EQ(hmm_load(counter(me, i)), DEVICE_ONE);
}

/* The page is lost, to both processes and to the device. */
SHARED(hwpoison)
{
	unsigned long pfn;
	int status;

	if (access(CORRUPT_PFN, W_OK))
		SKIP(return, "No hwpoison-inject");
	cpu_add(&self->me, 3, 1);
	pfn = pfn_of(&self->me, 3);
	BEGIN_MAPPED();
	ASSERT_EQ(write_number(CORRUPT_PFN, pfn), 0);
	EXPECT_EQ(count(&self->me, 0, NPAGES), NPAGES - 1);
	EXPECT_EQ(count(&self->me, 3, 1), 0);
	EXPECT_EQ(make(&self->me, 3, 1), -EFAULT);
	EXPECT_EQ(hmm_try_write(counter(&self->me, 3)), -EFAULT);
	EXPECT_EQ(peer(self, OP_READ, 4, 1), DEVICE_ONE + 1);
	EXPECT_EQ(peer(self, OP_READ, 3, 1), -EPIPE);
	EXPECT_EQ(waitpid(self->pid, &status, 0), self->pid);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	EXPECT_FALSE(is_marked(pfn));
	EXPECT_EQ(write_number(UNPOISON_PFN, pfn), 0);
}

/* The page is replaced, and nobody notices. */
SHARED(soft_offline)
{
	unsigned long pfn;

	if (access(UNPOISON_PFN, W_OK))
		SKIP(return, "No hwpoison-inject");
	cpu_add(&self->me, 3, 1);
	pfn = pfn_of(&self->me, 3);
	BEGIN_MAPPED();
	ASSERT_EQ(write_number(SOFT_OFFLINE, pfn * page_size), 0);
	EXPECT_EQ(count(&self->me, 3, 1), 0);
	EXPECT_EQ(peer(self, OP_READ, 3, 1), DEVICE_ONE + 2);
	EXPECT_NE(pfn_of(&self->me, 3), pfn);
	EXPECT_FALSE(is_marked(pfn_of(&self->me, 3)));
	EXPECT_EQ(device_add(&self->me, 0, NPAGES), 0);
	EXPECT_EQ(peer(self, OP_READ, 3, 1), 2 * DEVICE_ONE + 2);
	EXPECT_EQ(write_number(UNPOISON_PFN, pfn), 0);
}

/* What a handler would have to provide is refused, what the file has is not. */
SHARED(userfaultfd)
{
	int uffd;

	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, 4), 0);
	uffd = hmm_userfaultfd(self->me.map, NPAGES * page_size,
			       UFFDIO_REGISTER_MODE_MISSING);
	if (uffd < 0)
		SKIP(return, "No userfaultfd for shared memory");
	ASSERT_EQ(device_add(&self->me, 0, 4), 0);
	ASSERT_EQ(count(&self->me, 0, 4), 4);
	ASSERT_EQ(make(&self->me, 4, 1), -EFAULT);
	ASSERT_EQ(hmm_load(counter(&self->me, 0)), DEVICE_ONE + 1);
	close(uffd);
}

/* Map a huge page, the first of the file. */
static bool map_huge(struct _test_data_shared *self, struct side *side)
{
	void *area = mmap(NULL, 2 * TWOMEG, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (void *)ALIGN((uintptr_t)area, TWOMEG);

	*side = self->me;
	side->map = mmap(at, TWOMEG, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, side->file, 0);
	if (side->map != at || hmm_write_file(SHMEM_ENABLED, "force"))
		return false;
	*counter(side, 1) = 0;
	hmm_write_file(SHMEM_ENABLED, "never");
	return hmm_smaps_kb(side->map, "ShmemPmdMapped:") == TWOMEG >> 10;
}

/* A huge page is had page by page, and comes back whole. */
SHARED(huge_page)
{
	const unsigned long npages = TWOMEG / page_size;
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");

	/* The peer maps the huge page by PTEs. */
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, 4), 0);
	ASSERT_EQ(device_add(&huge, 3, 10), 0);
	ASSERT_EQ(count(&huge, 0, npages), 10);
	ASSERT_EQ(peer(self, OP_PRESENT, 3, 1), 0);
	/* What is not exclusive may be touched, and be mapped anew. */
	ASSERT_EQ(peer(self, OP_CPU_ADD, 2, 1), 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 20, 1), 0);
	ASSERT_EQ(count(&huge, 0, npages), 10);
	/* A page that is gives all of it back. */
	ASSERT_EQ(peer(self, OP_CPU_ADD, 5, 1), 0);
	ASSERT_EQ(count(&huge, 0, npages), 0);
	ASSERT_EQ(hmm_load(counter(&huge, 3)), DEVICE_ONE + 1);

	/* All of it, from a huge mapping elsewhere */
	ASSERT_EQ(device_add(&huge, 0, npages), 0);
	ASSERT_EQ(count(&huge, 0, npages), npages);
	ASSERT_EQ(peer(self, OP_PRESENT, 0, NPAGES), 0);
	ASSERT_EQ(peer(self, OP_READ, 3, 1), 2 * DEVICE_ONE + 1);
	ASSERT_EQ(count(&huge, 0, npages), 0);
	ASSERT_EQ(hmm_load(counter(&huge, npages - 1)), DEVICE_ONE);
}

/* A huge mapping of another process has to go. */
SHARED(huge_mapping)
{
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 3, 2), 0);
	ASSERT_EQ(present(&huge, 3, 2), 0);
	ASSERT_EQ(hmm_smaps_kb(huge.map, "ShmemPmdMapped:"), 0);
	/* A touch of what the device does not have takes nothing from it. */
	ASSERT_EQ(hmm_load(counter(&huge, 100)), 0);
	ASSERT_EQ(peer(self, OP_COUNT, 3, 2), 2);
	ASSERT_EQ(present(&huge, 100, 1), 1);
	/* Nor does a touch of what CPUs share. */
	ASSERT_EQ(hmm_load(counter(&huge, 20)), 0);
	ASSERT_EQ(peer(self, OP_READ, 20, 1), 0);
	ASSERT_EQ(peer(self, OP_COUNT, 3, 2), 2);
	ASSERT_EQ(present(&huge, 3, 2), 0);
	ASSERT_EQ(hmm_load(counter(&huge, 3)), DEVICE_ONE);
	ASSERT_EQ(peer(self, OP_COUNT, 3, 2), 0);
}

/*
 * Map the huge page anew: how many faults does it take to read the rest of it? -1
 * if it is not mapped by a PMD.
 */
static long faults_after_first(struct _test_data_shared *self, struct side *huge)
{
	const unsigned long npages = TWOMEG / page_size;
	struct rusage before, after;
	unsigned long i;

	if (!map_huge(self, huge))
		return -1;
	getrusage(RUSAGE_THREAD, &before);
	for (i = 0; i < npages; i++)
		hmm_load(counter(huge, i));
	getrusage(RUSAGE_THREAD, &after);
	return after.ru_minflt - before.ru_minflt;
}

#define ASSERT_WHOLE_AGAIN(huge)					\
do {									\
	struct side *_huge = (huge);					\
									\
	ASSERT_EQ(faults_after_first(self, _huge), 0);			\
	ASSERT_FALSE(is_marked(pfn_of(_huge, 0)));			\
} while (0)

/*
 * A device has had some of a huge page, and its process has let go of it. That is
 * over, whichever way it went.
 */
SHARED(huge_page_after_munmap)
{
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	ASSERT_EQ(device_add(&huge, 3, 1), 0);
	ASSERT_EQ(munmap(huge.map, TWOMEG), 0);
	ASSERT_WHOLE_AGAIN(&huge);
	ASSERT_EQ(hmm_load(counter(&huge, 3)), DEVICE_ONE);
}

SHARED(huge_page_after_dontneed)
{
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	ASSERT_EQ(device_add(&huge, 0, TWOMEG / page_size), 0);
	ASSERT_EQ(madvise(huge.map, TWOMEG, MADV_DONTNEED), 0);
	ASSERT_WHOLE_AGAIN(&huge);
	ASSERT_EQ(hmm_load(counter(&huge, 3)), DEVICE_ONE);
}

SHARED(huge_page_after_exit)
{
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 0, 1), 0);
	ASSERT_EQ(munmap(huge.map, TWOMEG), 0);
	ASSERT_EQ(kill(self->pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(self->pid, NULL, 0), self->pid);
	ASSERT_WHOLE_AGAIN(&huge);
	ASSERT_EQ(hmm_load(counter(&huge, 0)), DEVICE_ONE);
}

/* The page goes from under the mapping of the process that goes on. */
SHARED(huge_page_after_other_pages)
{
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_CPU_ADD, 0, NPAGES), 0);
	ASSERT_EQ(device_add(&huge, 3, 1), 0);
	/* What the peer has mapped of it are other pages. */
	ASSERT_EQ(munmap(huge.map, TWOMEG), 0);
	ASSERT_EQ(peer(self, OP_UNMAP, 0, 4), 0);
	ASSERT_WHOLE_AGAIN(&huge);
	ASSERT_EQ(hmm_load(counter(&huge, 3)), DEVICE_ONE + 1);
}

/* The first page is one among others, although it has the mark of all. */
SHARED(huge_page_first)
{
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 5, 1), 0);
	ASSERT_EQ(hmm_load(counter(&huge, 0)), 0);
	ASSERT_EQ(peer(self, OP_READ, 0, 1), 0);
	ASSERT_EQ(peer(self, OP_COUNT, 0, NPAGES), 1);

	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 0, 1), 0);
	ASSERT_EQ(hmm_load(counter(&huge, 6)), 0);
	ASSERT_EQ(peer(self, OP_COUNT, 0, NPAGES), 2);
	ASSERT_EQ(hmm_load(counter(&huge, 0)), DEVICE_ONE);
	ASSERT_EQ(peer(self, OP_COUNT, 0, NPAGES), 0);
}

/* What has been zapped is the CPU's when it is mapped anew, and stays so. */
SHARED(huge_page_in_part)
{
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	ASSERT_EQ(device_add(&huge, 3, 10), 0);
	ASSERT_EQ(madvise(counter(&huge, 4), page_size, MADV_DONTNEED), 0);
	ASSERT_EQ(count(&huge, 3, 10), 9);
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_READ, 4, 1), DEVICE_ONE);
	ASSERT_EQ(hmm_load(counter(&huge, 4)), DEVICE_ONE);
	ASSERT_EQ(count(&huge, 3, 10), 9);
	ASSERT_EQ(peer(self, OP_READ, 5, 1), DEVICE_ONE);
	ASSERT_EQ(count(&huge, 3, 10), 0);
}

/* Mapped a second time, where nothing has been touched and is to be split */
SHARED(huge_page_twice)
{
	struct side huge, twin;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &twin) || !map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	ASSERT_EQ(madvise(twin.map, TWOMEG, MADV_DONTNEED), 0);
	ASSERT_EQ(device_add(&huge, 3, 10), 0);
	ASSERT_EQ(device_add(&huge, 3, 10), 0);
	ASSERT_EQ(count(&huge, 3, 10), 10);
	ASSERT_EQ(hmm_load(counter(&twin, 4)), 2 * DEVICE_ONE);
	ASSERT_EQ(count(&huge, 3, 10), 0);
}

/* A huge page is split while a device has some of it. */
SHARED(huge_split)
{
	unsigned long head;
	struct side huge;

	munmap(self->me.map, NPAGES * page_size);
	if (!map_huge(self, &huge))
		SKIP(return, "No huge page to be had");
	head = pfn_of(&huge, 0);
	ASSERT_EQ(PEER_MAPS, 0);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 3, 10), 0);
	ASSERT_TRUE(is_marked(head));
	/* A hole in it splits it. */
	ASSERT_EQ(fallocate(self->me.file,
			    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    100 * page_size, page_size), 0);
	ASSERT_FALSE(is_marked(head));
	cpu_add(&huge, 3, 10);
	ASSERT_EQ(peer(self, OP_COUNT, 3, 10), 0);
	ASSERT_EQ(peer(self, OP_DEVICE_ADD, 3, 10), 0);
	ASSERT_EQ(hmm_load(counter(&huge, 4)), 2 * DEVICE_ONE + 1);
	ASSERT_EQ(hmm_load(counter(&huge, 100)), 0);
}

/*
 * CPUs and devices of both processes on the same pages, in opposite directions:
 * no addition is lost, and nobody waits for ever.
 */
SHARED(race)
{
	const int rounds = 100, npages = 8;
	long mine, peers;
	int i;

	ASSERT_EQ(PEER_MAPS, 0);
	peer_start(self, (struct ask) {
		.op = OP_RACE, .first = rounds, .npages = npages, .flags = true,
	});
	mine = run_race(&self->me, npages, rounds, false);
	peers = peer_wait(self);
	ASSERT_EQ(mine, 0);
	ASSERT_EQ(peers, 0);
	for (i = 0; i < npages; i++)
		ASSERT_EQ(hmm_load(counter(&self->me, i)),
			  2 * rounds * (DEVICE_ONE + 1));
}

/*
 * The peer has the pages at other addresses, and in another order: what is the
 * first page of a range for one comes later for the other.
 */
SHARED(race_of_ranges)
{
	const int rounds = 100, npages = 8, shift = 4;
	long mine, peers;
	int i;

	ASSERT_EQ(peer_map(self, shift, NPAGES, PROT_READ | PROT_WRITE,
			   MAP_SHARED), 0);
	peer_start(self, (struct ask) {
		.op = OP_RACE, .first = rounds, .npages = npages, .flags = true,
	});
	/* The second half of the file's pages comes before the first. */
	ASSERT_NE(mmap(self->me.map, npages * page_size,
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       self->me.file, npages * page_size), MAP_FAILED);
	ASSERT_NE(mmap(counter(&self->me, npages), npages * page_size,
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       self->me.file, 0), MAP_FAILED);
	mine = run_race(&self->me, 2 * npages, rounds, false);
	peers = peer_wait(self);
	ASSERT_EQ(mine, 0);
	ASSERT_EQ(peers, 0);
	for (i = 0; i < 2 * npages; i++) {
		int both = i >= shift && i < shift + npages;

		ASSERT_EQ(hmm_load(counter(&self->me, i ^ npages)),
			  (1 + both) * rounds * (DEVICE_ONE + 1));
	}
}

/* The same while a third one maps and unmaps the memory, and pages go away. */
SHARED(race_of_mappings)
{
	const int rounds = 100, npages = 8;
	long mine, peers;
	pid_t pid;
	int i;

	ASSERT_EQ(PEER_MAPS, 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		struct side third = self->me;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (i = 0; ; i++) {
			munmap(third.map, NPAGES * page_size);
			if (map_me(&third, NPAGES, PROT_READ | PROT_WRITE,
				   i & 1 ? MAP_SHARED : MAP_PRIVATE))
				_exit(1);
			/* A mapping by a read, by a write and by its copy */
			hmm_load(counter(&third, i % npages));
			__atomic_fetch_add(counter(&third, (i + 1) % npages), 0,
					   __ATOMIC_RELAXED);
			if (i % 3 == 0)
				madvise(third.map, npages * page_size,
					MADV_PAGEOUT);
		}
	}
	peer_start(self, (struct ask) {
		.op = OP_RACE, .first = rounds, .npages = npages, .flags = true,
	});
	mine = run_race(&self->me, npages, rounds, false);
	peers = peer_wait(self);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ASSERT_EQ(mine, 0);
	ASSERT_EQ(peers, 0);
	for (i = 0; i < npages; i++)
		ASSERT_EQ(hmm_load(counter(&self->me, i)),
			  2 * rounds * (DEVICE_ONE + 1));
}

/* The device goes on while a third one moves its mapping to and fro. */
SHARED(race_of_moves)
{
	const int rounds = 300, npages = 8;
	pid_t pid;
	int i;

	cpu_add(&self->me, 0, npages);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		const unsigned long size = npages * page_size;
		char *map = hmm_mmap(2 * size);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		mremap(self->me.map, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
		       map);
		for (i = 1; ; i ^= 1) {
			self->me.map = map + i * size;
			mremap(map + (i ^ 1) * size, size, size,
			       MREMAP_MAYMOVE | MREMAP_FIXED, self->me.map);
			hmm_load(counter(&self->me, 0));
			hmm_load(counter(&self->me, npages - 1));
		}
	}
	for (i = 0; i < rounds; i++)
		ASSERT_EQ(device_add(&self->me, 0, npages), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (i = 0; i < npages; i++)
		ASSERT_EQ(hmm_load(counter(&self->me, i)),
			  rounds * DEVICE_ONE + 1);
}

/*
 * Maps the first page of the file as often as it can within some seconds, for a
 * kernel that debugs looks at all VMAs each time, and drops it in its time.
 */
static void drop_mappings(struct side *side, int nr, int to_parent)
{
	char **maps = calloc(nr, sizeof(*maps));
	time_t end = time(NULL) + 10;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < nr && time(NULL) < end; i++) {
		maps[i] = mmap(NULL, page_size, PROT_READ, MAP_SHARED,
			       side->file, 0);
		if (maps[i] == MAP_FAILED)
			break;
		hmm_load(maps[i]);
	}
	if (write(to_parent, &i, sizeof(i)) != sizeof(i))
		_exit(1);
	while (i) {
		munmap(maps[--i], page_size);
		usleep(1000);
	}
	_exit(0);
}

/* How long mmap() of this process takes, at worst, for a while; in us */
static long worst_mmap(int seconds)
{
	struct timespec begin, before, after;
	long us, worst = 0;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		clock_gettime(CLOCK_MONOTONIC, &before);
		munmap(mmap(NULL, page_size, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), page_size);
		clock_gettime(CLOCK_MONOTONIC, &after);
		us = (after.tv_sec - before.tv_sec) * 1000000 +
		     (after.tv_nsec - before.tv_nsec) / 1000;
		if (us > worst)
			worst = us;
		usleep(100);
	} while (after.tv_sec < begin.tv_sec + seconds);
	return worst;
}

static bool stop_making;

static void *keep_making(void *data)
{
	struct side *me = data;
	long made = 0;

	while (!__atomic_load_n(&stop_making, __ATOMIC_RELAXED)) {
		if (make(me, 0, 1) == 0)
			made++;
		hmm_load(counter(me, 0));
	}
	return (void *)made;
}

/*
 * Another user maps the page very often, and drops one mapping after the other. It
 * can never be told if these are all mappings, and mmap_lock is not to be held for
 * as long as he has some left.
 */
SHARED(mappings_that_go)
{
	pthread_t thread;
	int n, fds[2];
	long worst;
	pid_t pid;

	cpu_add(&self->me, 0, 1);
	ASSERT_EQ(pipe(fds), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		drop_mappings(&self->me, 20000, fds[1]);
	ASSERT_EQ(read(fds[0], &n, sizeof(n)), sizeof(n));
	TH_LOG("%d mappings", n);
	ASSERT_GT(n, 100);
	ASSERT_EQ(pthread_create(&thread, NULL, keep_making, &self->me), 0);
	worst = worst_mmap(20);
	TH_LOG("mmap() took %ld ms at worst", worst / 1000);
	__atomic_store_n(&stop_making, true, __ATOMIC_RELAXED);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	pthread_join(thread, NULL);
	ASSERT_EQ(make(&self->me, 0, 1), 0);
	ASSERT_LT(worst, 4 * 1000 * 1000);
	close(fds[0]);
	close(fds[1]);
}

TEST_HARNESS_MAIN
