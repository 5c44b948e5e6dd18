/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests of device-exclusive memory have in common: the test device of
 * lib/test_hmm.c, asked to make memory of this process exclusive to it, and
 * memory to do that with.
 */
#ifndef __HMM_EXCLUSIVE_H
#define __HMM_EXCLUSIVE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/userfaultfd.h>

#include "../../../../lib/test_hmm_uapi.h"

#define TWOMEG		(1 << 21)

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif

#define ALIGN(x, a) (((x) + (a - 1)) & (~((a) - 1)))

/* A counter at the start of a page, which CPU and device both add to. */
#define DEVICE_ONE	0x100000000ULL
#define CPU_SUM(x)	((x) % DEVICE_ONE)
#define DEVICE_SUM(x)	((x) / DEVICE_ONE)

static inline int hmm_range_cmd(int fd, unsigned long request, void *addr,
				unsigned long npages, void *arg,
				struct hmm_dmirror_cmd *cmd)
{
	memset(cmd, 0, sizeof(*cmd));
	cmd->addr = (uintptr_t)addr;
	cmd->ptr = (uintptr_t)arg;
	cmd->npages = npages;
	return ioctl(fd, request, cmd) ? -errno : 0;
}

static inline int hmm_make_exclusive(int fd, void *addr, unsigned long npages)
{
	struct hmm_dmirror_cmd cmd;

	return hmm_range_cmd(fd, HMM_DMIRROR_EXCLUSIVE, addr, npages, NULL,
			     &cmd);
}

/* The number of pages that the mirror has, or -1 if it contradicts itself. */
static inline long hmm_count_exclusive(int fd, void *addr, unsigned long npages)
{
	struct hmm_dmirror_cmd cmd;
	int ret;

	ret = hmm_range_cmd(fd, HMM_DMIRROR_CHECK_EXCLUSIVE, addr, npages, NULL,
			    &cmd);
	if (ret != (cmd.cpages ? -EPERM : 0))
		return -1;
	return cmd.cpages;
}

/* Have the device add DEVICE_ONE to the counter of each page, @count times. */
static inline int hmm_atomic_add(int fd, void *addr, unsigned long npages,
				 unsigned long count)
{
	struct hmm_dmirror_atomic_add add = {
		.value = DEVICE_ONE,
		.count = count,
	};
	struct hmm_dmirror_cmd cmd;

	return hmm_range_cmd(fd, HMM_DMIRROR_ATOMIC_ADD, addr, npages, &add,
			     &cmd);
}

static inline void *hmm_mmap(unsigned long size)
{
	void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (ptr == MAP_FAILED)
		return NULL;
	madvise(ptr, size, MADV_NOHUGEPAGE);
	/* For a run while KSM is at work: let it look at this memory. */
	if (getenv("HMM_BUSY"))
		madvise(ptr, size, MADV_MERGEABLE);
	return ptr;
}

static inline void hmm_fill(void *ptr, unsigned long size)
{
	uint32_t *word = ptr;
	unsigned long i;

	for (i = 0; i < size / sizeof(*word); i++)
		word[i] = i;
}

/* Are there the values that hmm_fill() has written? */
static inline bool hmm_filled(const void *ptr, unsigned long size)
{
	const uint32_t *word = ptr;
	unsigned long i;

	for (i = 0; i < size / sizeof(*word); i++)
		if (word[i] != i)
			return false;
	return true;
}

static inline bool hmm_zero(const void *ptr, unsigned long size)
{
	const char *byte = ptr;

	return !size || (!byte[0] && !memcmp(byte, byte + 1, size - 1));
}

/* Get pages out of the caches that each CPU has: moving pages does, even none. */
static inline void hmm_drain_lru(void)
{
	int node = 0;

	syscall(__NR_move_pages, 0, 0UL, NULL, &node, NULL, 0);
}

/*
 * madvise() of pages that it has to find on an LRU list: of the caches it empties
 * that of its own CPU only, and the process has run on others before.
 */
static inline int hmm_advise(void *ptr, unsigned long size, int advice)
{
	hmm_drain_lru();
	return madvise(ptr, size, advice);
}

/* Let the kernel write there as the CPU would. A fault is an error, no signal. */
static inline int hmm_try_write(void *ptr)
{
	int fd = open("/dev/zero", O_RDONLY);
	int ret = read(fd, ptr, 1) == 1 ? 0 : -errno;

	close(fd);
	return ret;
}

/* Write to a file as a shell would. Returns 0 or a negative errno. */
static inline int hmm_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* What a setting is. Of a list, the choice is in brackets. */
static inline void hmm_save_setting(const char *path, char *value, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, value, size - 1);
	char *choice;

	value[n > 0 ? n : 0] = '\0';
	close(fd);
	choice = strchr(value, '[');
	if (choice) {
		choice[strcspn(choice, "]")] = '\0';
		memmove(value, choice + 1, strlen(choice));
	}
}

/* The value, in kB, of a line in a file like /proc/meminfo; -1 if not there */
static inline long hmm_read_kb(const char *path, const char *section,
			       const char *name)
{
	char line[512];
	long kb = -1;
	FILE *f;

	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (section) {
			if (!strncmp(line, section, strlen(section)))
				section = NULL;
			continue;
		}
		if (!strncmp(line, name, strlen(name))) {
			kb = atol(line + strlen(name));
			break;
		}
	}
	fclose(f);
	return kb;
}

/* A line from /proc/self/smaps, of the VMA that starts at @ptr */
static inline long hmm_smaps_kb(const void *ptr, const char *name)
{
	char start[32];

	snprintf(start, sizeof(start), "%08lx-", (unsigned long)ptr);
	return hmm_read_kb("/proc/self/smaps", start, name);
}

/* Huge pages, or NULL if the kernel has none to give */
static inline void *hmm_mmap_thp(unsigned long size)
{
	unsigned long before, after;
	void *map, *ptr;

	map = mmap(NULL, size + TWOMEG, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	ptr = (void *)ALIGN((uintptr_t)map, TWOMEG);
	before = ptr - map;
	after = TWOMEG - before;
	if (before)
		munmap(map, before);
	if (after)
		munmap(ptr + size, after);

	if (madvise(ptr, size, MADV_HUGEPAGE))
		return NULL;
	hmm_fill(ptr, size);
	if (hmm_smaps_kb(ptr, "AnonHugePages:") != size >> 10)
		return NULL;
	return ptr;
}

static inline int hmm_userfaultfd(void *ptr, unsigned long size,
				  unsigned long mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)ptr, .len = size },
		.mode = mode,
	};
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = mode == UFFDIO_REGISTER_MODE_WP ?
			    UFFD_FEATURE_PAGEFAULT_FLAG_WP : 0,
	};
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg)) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline int hmm_write_protect(int uffd, void *ptr, unsigned long size,
				    bool wp)
{
	struct uffdio_writeprotect arg = {
		.range = { .start = (uintptr_t)ptr, .len = size },
		.mode = wp ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &arg);
}

/* A word that others may be writing */
static inline uint64_t hmm_load(const void *ptr)
{
	return __atomic_load_n((const uint64_t *)ptr, __ATOMIC_RELAXED);
}

/* A reproducible random number below @below. The state must not start as 0. */
static inline unsigned long hmm_rand(uint64_t *state, unsigned long below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return ((*state * 0x2545f4914f6cdd1dULL) >> 32) % below;
}

/* A state for hmm_rand(): another one for each @nr */
static inline uint64_t hmm_rand_seed(unsigned long seed, unsigned long nr)
{
	return (seed + 1) * 0x9e3779b97f4a7c15ULL ^
	       (nr + 1) * 0xbf58476d1ce4e5b9ULL;
}

/* What /proc/self/pagemap says of a page */
#define HMM_PAGEMAP_PFN		0x007fffffffffffffULL
#define HMM_PAGEMAP_SOFT_DIRTY	0x0080000000000000ULL
#define HMM_PAGEMAP_SWAP	0x4000000000000000ULL
#define HMM_PAGEMAP_PRESENT	0x8000000000000000ULL

static inline uint64_t hmm_pagemap(const void *ptr)
{
	unsigned long nr = (uintptr_t)ptr / sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), nr * 8) != 8)
		entry = 0;
	if (fd >= 0)
		close(fd);
	return entry;
}

/* Complain about the command line in a line, with the status of <sysexits.h>. */
static inline void __attribute__((noreturn))
hmm_bad_argument(const char *program, const char *what, const char *value)
{
	fprintf(stderr, "%s: %s %s (see --help)\n", program, what, value);
	exit(64);
}

static inline unsigned long hmm_number(const char *program, const char *name,
				       const char *text, unsigned long min,
				       unsigned long max)
{
	unsigned long value;
	char what[128], *end;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || *end || !*text || *text == '-' || value < min ||
	    value > max) {
		snprintf(what, sizeof(what), "--%s is from %lu to %lu, not",
			 name, min, max);
		hmm_bad_argument(program, what, text);
	}
	return value;
}

#endif /* __HMM_EXCLUSIVE_H */
